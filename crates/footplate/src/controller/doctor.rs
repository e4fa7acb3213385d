//! The controller's own view of its set-up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::{Shared, lease, problem};
use crate::api::Check;

/// `GET`: the store, the lease, the disk, and the versions of footplate on the hosts.
pub(super) async fn checks(State(shared): State<Arc<Shared>>) -> Json<Vec<Check>> {
    let mut checks = vec![store(&shared).await, acting(&shared), disk(&shared)];
    checks.push(versions(&shared));
    checks.push(readable(&shared));
    Json(checks)
}

fn check(name: &str, result: Result<String, (String, &str)>) -> Check {
    match result {
        Ok(found) => Check { name: name.to_owned(), ok: true, found, next: None },
        Err((found, next)) => Check { name: name.to_owned(), ok: false, found, next: Some(next.to_owned()) },
    }
}

async fn store(shared: &Shared) -> Check {
    let answer = lease::read(&shared.store, &shared.config.lane).await;
    check(
        "store",
        match answer {
            Ok(_) => Ok(format!("{} answers", shared.store.describe())),
            Err(error) => Err((
                problem::causes(&error).join(": "),
                "start the store, or correct its address and token in controller.toml",
            )),
        },
    )
}

/// A lease that is held was written, so it also proves that the store takes writes.
fn acting(shared: &Shared) -> Check {
    let holder = shared.site().lease.as_ref().map(|lease| lease.holder.clone());
    check(
        "lease",
        match (shared.view.borrow().is_acting, holder) {
            (true, _) => Ok("this controller holds it and may write to the store".to_owned()),
            (false, Some(other)) => Ok(format!("{other} holds it; this controller stands by")),
            (false, None) => {
                Err(("nobody holds it".to_owned(), "see the controller's log; the store may refuse writes"))
            }
        },
    )
}

fn disk(shared: &Shared) -> Check {
    const FREE_BYTES_MIN: u64 = 1 << 30;
    let free = rustix::fs::statvfs(&shared.config.data).map(|stats| stats.f_bavail * stats.f_frsize);
    check(
        "controller's disk",
        match free {
            Ok(free) if free >= FREE_BYTES_MIN => Ok(format!("{} MiB free", free >> 20)),
            Ok(free) => Err((
                format!("{} MiB free", free >> 20),
                "remove old releases with `footplate clean`, or give it more room",
            )),
            Err(error) => Err((error.to_string(), "check the controller's data folder")),
        },
    )
}

fn versions(shared: &Shared) -> Check {
    let site = shared.site();
    let others: Vec<String> = site
        .presences
        .iter()
        .filter(|(_, presence)| presence.version != crate::VERSION)
        .map(|(host, presence)| format!("{host} has {}", presence.version))
        .collect();
    check(
        "versions of footplate",
        match others.as_slice() {
            [] => Ok(format!("all {} hosts have {}", site.presences.len(), crate::VERSION)),
            others => Err((
                format!("this controller has {}, {}", crate::VERSION, others.join(", ")),
                "one minor version apart works; bring them together soon",
            )),
        },
    )
}

fn readable(shared: &Shared) -> Check {
    let site = shared.site();
    check(
        "records",
        match site.unreadable.iter().next() {
            None => Ok("every record in the store can be read".to_owned()),
            Some((key, why)) => Err((
                format!("{} cannot be read, the first is `{key}`: {why}", site.unreadable.len()),
                "upgrade this footplate, or remove the key if nobody needs it",
            )),
        },
    )
}
