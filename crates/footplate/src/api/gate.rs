//! The gate of an app: how it is, and what people do to it.

use footplate_core::gate::{Closure, Gate, Test, Window};
use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppPath, WindowName};
use serde::{Deserialize, Serialize};

use super::{By, WaitingStatus};

/// The gate of an app; answer to `GET /v1/gate` and to every order for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatus {
    /// Whose.
    pub path: AppPath,
    /// When it was looked at.
    pub at: Moment,
    /// Whether nothing but a fix passes.
    pub is_closed: bool,
    /// Why it is closed, each reason apart.
    pub closures: Vec<Closure>,
    /// The same in sentences.
    pub sentences: Vec<String>,
    /// The freeze windows that come with what is deployed.
    pub windows: Vec<Window>,
    /// All that is kept of it.
    pub gate: Gate,
    /// The deployment that waits until it opens, when one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingStatus>,
}

/// An order for a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateOrder {
    /// Whose.
    pub path: AppPath,
    /// What.
    pub change: GateChange,
    /// Who orders it; for a lock also why.
    #[serde(flatten)]
    pub by: By,
}

/// What people do to a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum GateChange {
    /// End its halt.
    Open {
        /// Why it happened, why that did, and so on.
        whys: Vec<String>,
        /// The test that was written, or why there is none.
        test: Test,
        /// Which rollout's halt it is that is explained; whichever it is now when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<u64>,
    },
    /// Keep others out for a while.
    Lock {
        /// When that ends by itself.
        until: Moment,
    },
    /// End a lock.
    Unlock {
        /// Whose; one's own when absent.
        #[serde(default)]
        owner: Option<Actor>,
    },
    /// Set a freeze window.
    Freeze {
        /// Which.
        window: Window,
    },
    /// End one that was set by hand.
    Unfreeze {
        /// Which.
        name: WindowName,
    },
}
