//! The story of one fleet, for people.

use footplate_core::name::ReleaseId;

use crate::store::Value;

/// Says in a line what a value holds.
pub fn brief(value: Option<&Value>) -> String {
    let id = |id: Option<&ReleaseId>| id.map_or("nothing".to_owned(), ToString::to_string);
    match value {
        None => "nothing".to_owned(),
        Some(Value::Rollout(r)) => {
            format!("{} {:?} to {} at {}: {:?}", r.number, r.kind, r.to.id, r.generation, r.phase)
        }
        Some(Value::Current(c)) => format!(
            "runs {} at {}, orders {}",
            id(c.release.as_ref().map(|release| &release.id)),
            c.generation,
            c.orders
        ),
        Some(Value::Assignment(a)) => format!(
            "{} run {}, switch to {:?}, keep {:?}",
            a.generation,
            id(a.run.as_ref()),
            a.switch.as_ref().map(|switch| switch.to.to_string()),
            a.keep.iter().map(|release| release.id.to_string()).collect::<Vec<_>>()
        ),
        Some(Value::Report(r)) => format!(
            "{} live {}, prepared {:?}, failed {:?}",
            r.generation,
            id(r.live.as_ref()),
            r.prepared.iter().map(ToString::to_string).collect::<Vec<_>>(),
            r.failed.iter().map(|(id, f)| format!("{} {id} at {}", f.verb, f.generation)).collect::<Vec<_>>()
        ),
        Some(Value::Barrier(generation)) => generation.to_string(),
        Some(other) => format!("{:.20}", format!("{other:?}")),
    }
}
