//! The story of one fleet, for people.

use footplate_core::gate::Gate;
use footplate_core::name::ReleaseId;

use crate::store::Value;

/// Says in a line what a value holds.
pub fn brief(value: Option<&Value>) -> String {
    let id = |id: Option<&ReleaseId>| id.map_or("nothing".to_owned(), ToString::to_string);
    match value {
        None => "nothing".to_owned(),
        Some(Value::Rollout(r)) => {
            let positions = r.course.iter().flat_map(|course| &course.positions);
            let at: Vec<String> = positions.map(|(host, p)| format!("{host} {:?}", p.at)).collect();
            format!(
                "{} {:?} to {} at {}: {:?} {}",
                r.number,
                r.kind,
                r.to.id,
                r.generation,
                r.phase,
                at.join(" ")
            )
        }
        Some(Value::Current(c)) => format!(
            "runs {} at {}, orders {}",
            id(c.track.release.as_ref().map(|release| &release.id)),
            c.generation,
            c.orders
        ),
        Some(Value::Assignment(a)) => format!(
            "{} run {}{}{}, switch to {:?}, keep {:?}",
            a.generation,
            id(a.run.as_ref()),
            a.beside.as_ref().map_or(String::new(), |beside| format!(" beside {beside}")),
            if a.alone { " alone" } else { "" },
            a.switch.as_ref().map(|switch| switch.to.to_string()),
            a.keep.iter().map(|release| release.id.to_string()).collect::<Vec<_>>()
        ),
        Some(Value::Report(r)) => format!(
            "{} live {}, up {:?}, prepared {:?}, failed {:?}",
            r.generation,
            id(r.live.as_ref()),
            r.up.iter().map(|(id, up)| format!("{id} {:?}", up.readiness)).collect::<Vec<_>>(),
            r.prepared.iter().map(ToString::to_string).collect::<Vec<_>>(),
            r.failed.iter().map(|(id, f)| format!("{} {id} at {}", f.verb, f.generation)).collect::<Vec<_>>()
        ),
        Some(Value::Barrier(generation)) => generation.to_string(),
        Some(Value::Route(route)) => {
            let endpoints = route.endpoints.iter();
            let told: Vec<String> =
                endpoints.map(|(id, endpoint)| format!("{id} {:?}", endpoint.state)).collect();
            told.join(", ")
        }
        Some(Value::Traffic(traffic)) => format!(
            "{}{}",
            traffic.revision,
            traffic.canary.as_ref().map_or(String::new(), |c| format!(", {} gets {}", c.release, c.share))
        ),
        Some(Value::Router(report)) => report.apps.first().map_or(String::new(), |following| {
            let busy = following.followed.busy.iter().map(|busy| format!("{} {}", busy.target, busy.release));
            format!("follows {}, busy {:?}", following.followed.revision, busy.collect::<Vec<_>>())
        }),
        Some(Value::Gate(gate)) => closed(gate),
        Some(other) => format!("{:.20}", format!("{other:?}")),
    }
}

fn closed(gate: &Gate) -> String {
    format!(
        "halted by {:?}, locked by {:?}, frozen {:?}",
        gate.halted.as_ref().map(|halted| halted.rollout),
        gate.locks.iter().map(|lock| lock.owner.to_string()).collect::<Vec<_>>(),
        gate.freezes.iter().map(|freeze| freeze.since.as_millis()).collect::<Vec<_>>()
    )
}
