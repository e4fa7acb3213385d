//! Whether a release is worse than the one before: evidence that adds up, with a stated rate of false alarms.
//!
//! Invariants: under "not worse" the evidence is a supermartingale that begins at 1, so the chance that it *ever* reaches 1/α is α at most,
//! however often anybody looks; all KPIs share one α; evidence is kept when the share changes; a source that is silent is never healthy;
//! the same readings give the same verdict, bit by bit. Decision 0013 says why, and each formula names its source.
//! Read [`share`] first, then [`judge`].

mod evidence;

pub mod share;

pub mod rate;

pub mod sign;

pub mod cause;

pub mod reading;

pub mod kpi;

pub mod source;

pub mod judging;

pub mod interval;

pub mod curve;

pub mod cuts;

mod window;

mod drawing;

mod blocks;

mod events;

mod number;

pub mod judge;

pub mod power;

pub mod afterwards;

mod words;

pub mod finding;

pub mod recording;

#[cfg(test)]
mod tests;

pub use cause::{Cause, Drawn};
pub use cuts::Cuts;
pub use evidence::Evidence;
pub use finding::{Basis, Finding, KpiVerdict, Lack, Verdict};
pub use judge::{Judge, OutOfOrder, Standing};
pub use judging::{Judging, OnUnknown};
pub use kpi::{Factor, Kpi, Measure, Plan};
pub use reading::{KpiName, Number, Reading, Said, Side, Split};
pub use recording::Recording;
pub use source::Source;
