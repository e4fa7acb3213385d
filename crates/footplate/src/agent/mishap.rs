//! What remains to be done when a worker panicked: say so, report it, and find out what the disk remembers.
//!
//! Invariant: a fault in the work on one target ends neither the agent nor the work on another.

use std::any::Any;

use footplate_core::name::TargetName;
use footplate_core::record::{Key, Stored, Written};
use footplate_core::target::{Assignment, Failure, Report, Verb};
use footplate_drivers::chain;

use super::memory::Memory;
use super::worker::Shared;
use crate::clock;

/// Tells people and the controller that the worker of `target` panicked; returns what its successor goes on from.
pub fn recover(shared: &Shared, target: &TargetName, panic: &(dyn Any + Send)) -> Memory {
    let because = words(panic);
    tracing::error!(
        host = %shared.host,
        app = %target,
        "the work on this app ended early\n  because: footplate has a fault: {because}\n  next: report the fault; it is \
         tried again in {:?}, and other apps are not touched",
        shared.look_every
    );
    let memory = remembered(shared, target);
    let key = Key::Report(shared.host.clone(), target.clone()).to_string();
    match shared.reporter.published(&key) {
        Some(report) => {
            if let Some(order) = &memory.assignment {
                blame(shared, &key, &report, order, because);
            }
        }
        None => shared.reporter.first_report_is_in(),
    }
    memory
}

/// Every order is on the disk before it is obeyed, so this is what a restarted agent would go on from.
fn remembered(shared: &Shared, target: &TargetName) -> Memory {
    shared.state.read_target(target, clock::now()).unwrap_or_else(|error| {
        tracing::error!(host = %shared.host, app = %target, "cannot read what is remembered: {}", chain(&error));
        Memory::default()
    })
}

/// Adds the fault to the last report, as a failure of what the order asks for: a rollout must not wait for its deadline.
fn blame(shared: &Shared, key: &str, report: &[u8], order: &Assignment, because: &str) {
    let Ok(Stored::Known::<Report>(mut report)) = serde_json::from_slice(report) else { return };
    let asked = order.switch.as_ref().map(|switch| &switch.to).or(order.run.as_ref());
    let Some(asked) = asked else { return };
    let verb = if report.prepared.contains(asked) { Verb::Activate } else { Verb::Prepare };
    let failure = Failure {
        verb,
        generation: order.generation,
        reason: format!("footplate has a fault: {because}"),
        output: String::new(),
        lapse: None,
        attempts: report.failure(asked, verb).map_or(0, |before| before.attempts).saturating_add(1),
        at: clock::now(),
    };
    report.generation = order.generation;
    report.failed.insert(asked.clone(), failure);
    let value = serde_json::to_vec(&Written(&report)).expect("a report is names, numbers and text");
    shared.reporter.publish(key, value);
}

/// Returns what a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it panicked without a word")
}
