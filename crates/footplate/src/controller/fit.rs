//! Whether the records of a rollout fit into the store, now and at its end.

use std::collections::BTreeMap;

use footplate_core::fleet::Current;
use footplate_core::name::{GroupName, Target, TargetName};
use footplate_core::record::{Key, check_size};
use footplate_core::rollout::{self, Rollout};
use footplate_core::target::Assignment;

use super::commit::too_large;
use super::site::encode;
use crate::api::Problem;

/// Refuses records that would not fit into the store, now or at the rollout's end, or whose orders would not.
pub(super) fn fit(current: &Current, rollout: &Rollout, what: &str) -> Result<(), Problem> {
    let sizes = [
        (Key::Current(current.path.clone()), encode(current).len()),
        (Key::Rollout(current.path.clone()), encode(rollout).len() + rollout.growth_bytes_max()),
    ];
    for (key, bytes) in sizes {
        check_size(&key.to_string(), bytes).map_err(|error| too_large(what, &error))?;
    }
    // The orders of a process group are the same on all hosts but for their sources, which are addresses.
    let orders = rollout::assignments(rollout);
    let one_each: BTreeMap<GroupName, (Target, Assignment)> =
        orders.into_iter().map(|(target, order)| (target.group.clone(), (target, order))).collect();
    for (group, (target, order)) in one_each {
        let name = TargetName { path: current.path.clone(), group };
        let key = Key::Assignment(target.host, name).to_string();
        check_size(&key, encode(&order).len() + SOURCES_BYTES_MAX)
            .map_err(|error| too_large(what, &error))?;
    }
    Ok(())
}

/// The room that an order needs for the addresses to fetch from.
const SOURCES_BYTES_MAX: usize = 4096;
