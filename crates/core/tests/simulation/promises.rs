//! The promises, one file each, and the facts they judge by. A promise keeps its own memory and trusts no decision.

use std::collections::BTreeMap;

use footplate_core::fleet::{Seen, Turn};
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{HostName, Target};
use footplate_core::target::Action;

use crate::machine::{Disk, Machine};
use crate::routers::Router;
use crate::store::{Author, Store, Value, Write};

mod apart;
mod barrier;
mod capacity;
mod converged;
mod deadlines;
mod delivered;
mod gated;
mod generations;
mod judged;
mod kept;
mod observed;
mod one_controller;
mod one_release;
mod prepared_first;
mod readiness;
mod repaired;
mod requests;
mod whole;

/// What everybody can see.
pub struct Scene {
    pub now: Moment,
    pub store: Store,
    pub machines: BTreeMap<HostName, Machine>,
    pub routers: Vec<Router>,
    /// Whether neither the store nor the routers have misfortunes: then no request may be lost.
    pub in_order: bool,
}

/// One thing that happened.
pub enum Fact<'a> {
    /// An agent began an action; the disk is as it was before.
    Begun { target: &'a Target, action: &'a Action, disk: &'a Disk },
    /// An agent took an order.
    Obeyed { target: &'a Target, instance: u64, before: Generation, after: Generation },
    /// Something was written; `before` is what stood there.
    Wrote { author: &'a Author, write: &'a Write, before: Option<&'a Value> },
    /// A controller looked and decided; nothing of it is written yet.
    Decided { seen: &'a Seen, turn: &'a Turn },
    /// Somebody's step is over.
    Passed,
    /// The store was replaced by an older copy of itself.
    Restored,
    /// Nothing goes wrong any more, and everybody had time enough.
    Ended,
}

/// One promise of the design.
pub trait Promise {
    fn name(&self) -> &'static str;
    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String>;
}

pub fn all() -> Vec<Box<dyn Promise>> {
    vec![
        Box::new(prepared_first::PreparedFirst),
        Box::new(barrier::Barrier::default()),
        Box::new(whole::Whole::default()),
        Box::new(generations::Generations::default()),
        Box::new(one_controller::OneController),
        Box::new(kept::Kept::default()),
        Box::new(deadlines::Deadlines),
        Box::new(delivered::Delivered),
        Box::new(converged::Converged),
        Box::new(repaired::Repaired),
        Box::new(observed::Observed::default()),
        Box::new(requests::Requests::default()),
        Box::new(readiness::Readiness::default()),
        Box::new(capacity::Capacity::default()),
        Box::new(one_release::OneRelease),
        Box::new(apart::Apart::default()),
        Box::new(gated::Gated),
        Box::new(judged::Obeyed::default()),
    ]
}

/// Turns a condition into a judgement.
pub fn hold(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}
