//! `footplate store export|import`: moves a site from one store to another.
//!
//! Invariants: the destination must be empty; nothing is overwritten; the end is verified by reading both sides.

use std::fmt;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::cli::Operator;
use crate::config::mistake::Mistakes;
use crate::config::role;
use crate::config::store::StoreSettings;
use crate::config::table::{self, Findings};
use crate::failure::{Exit, Failure};
use crate::stores::{self, CopyError};

/// The other store of a move.
#[derive(Args, Debug)]
pub struct TransferArgs {
    /// Other store: an address, or a file NAME.toml with the keys of [store] in agent.toml
    other: String,
    #[command(flatten)]
    store: StoreSettings,
}

/// Which way a site moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From our store to the other one.
    Export,
    /// From the other store to ours.
    Import,
}

/// Moves a site.
pub async fn transfer(operator: &Operator, args: &TransferArgs, direction: Direction) -> Result<(), Failure> {
    let (ours, other) = (args.store.open()?, other(&args.other)?.open()?);
    let (from, to) = match direction {
        Direction::Export => (ours, other),
        Direction::Import => (other, ours),
    };
    let copied = stores::copy(from.as_ref(), to.as_ref(), "").await.map_err(|error| failed(&error))?;
    operator.ui.show(&Answer {
        from: from.describe(),
        to: to.describe(),
        keys: copied.keys,
        bytes: copied.bytes,
        left_out: copied.left_out,
    })
}

fn other(text: &str) -> Result<StoreSettings, Failure> {
    if Path::new(text).extension().is_none_or(|extension| extension != "toml") {
        return Ok(StoreSettings { address: Some(text.to_owned()), ..StoreSettings::default() });
    }
    role::read(Some(Path::new(text)), text, parse)
}

fn parse(path: &str, text: &str, folder: &Path) -> Result<StoreSettings, Mistakes> {
    table::parse(path, text, &Findings::default(), |root| Some(StoreSettings::read_keys(root, folder)))
}

fn failed(error: &CopyError) -> Failure {
    let (exit, next) = match error {
        CopyError::Store { .. } => (Exit::Unreachable, "see that both stores answer, and try again"),
        CopyError::NotEmpty { .. } => {
            (Exit::Refused, "empty the destination, or choose another root with `--store-root`")
        }
        CopyError::Disturbed { .. } | CopyError::Different { .. } => (
            Exit::Failed,
            "stop every controller, agent and script that writes, empty the destination, and try again",
        ),
    };
    Failure::new(exit, "cannot move the site").because(error).next(next)
}

#[derive(Serialize)]
struct Answer {
    from: String,
    to: String,
    keys: usize,
    bytes: usize,
    left_out: usize,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "copied {} keys ({} bytes) from {} to {}", self.keys, self.bytes, self.from, self.to)?;
        writeln!(
            f,
            "left out {} keys that live with a session; their owners announce themselves again",
            self.left_out
        )?;
        writeln!(f, "next: start controller and agents with the new store")
    }
}
