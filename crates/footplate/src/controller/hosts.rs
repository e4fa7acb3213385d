//! Orders about hosts: cordon, uncordon, drain, remove.

use footplate_core::fleet::{HostState, Restriction};
use footplate_core::name::HostName;
use footplate_core::record::Key;
use footplate_drivers::store::Write;

use super::act::Worker;
use super::commit::put;
use super::orders::{Answer, named};
use super::site::encode;
use super::status;
use crate::api::{self, Problem, ProblemKind};
use crate::clock;

/// Sets a host aside, takes it back, or forgets one that is gone.
pub(super) async fn set_host(
    worker: &Worker<'_>,
    host: HostName,
    order: api::HostOrder,
    what: &str,
) -> Result<Answer, Problem> {
    let (is_known, is_alive) = {
        let site = worker.shared.site();
        (site.known_hosts().contains(&host), site.presences.contains_key(&host))
    };
    if !is_known {
        let next = "see the hosts with `footplate hosts list`";
        return Err(Problem::new(ProblemKind::Unknown, what, "no such host is known", next));
    }
    let actor = named(order.by.actor.as_ref());
    let state = |restriction| HostState {
        restriction,
        actor: actor.clone(),
        reason: order.by.reason.clone(),
        since: clock::now(),
    };
    let key = Key::HostState(host.clone());
    let writes = match order.verb {
        api::HostVerb::Cordon => vec![put(&key, encode(&state(Restriction::Cordoned)))],
        api::HostVerb::Drain => vec![put(&key, encode(&state(Restriction::Drained)))],
        api::HostVerb::Uncordon => vec![Write::Delete(key.to_string())],
        api::HostVerb::Remove if is_alive => {
            let next = "stop its agent first; cordon it if it shall only rest";
            return Err(Problem::new(ProblemKind::Refused, what, "its agent is alive", next));
        }
        api::HostVerb::Remove => vec![
            Write::Delete(key.to_string()),
            Write::DeletePrefix(Key::assignments_of(&host)),
            Write::DeletePrefix(Key::agent_of(&host)),
        ],
    };
    worker.write_together(writes).await.map_err(|trip| trip.problem(what))?;
    let verb = format!("{:?}", order.verb).to_lowercase();
    let text = format!("{actor} ordered `{verb}` for host `{host}`{}", order.by.because());
    worker.shared.journal.note(None, None, &verb, &actor, &text);
    Ok(Answer::Host(status::host(&worker.shared.site(), &host)))
}
