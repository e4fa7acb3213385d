//! What services use, told by the agents beside them, and added up for whoever judges or asks.
//!
//! Invariants: it is in memory alone and bounded: hosts that the store knows, ten minutes of each; of a host that does not tell nothing
//! is known, never zero.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use footplate_core::name::{AppName, AppPath, EnvironmentName, HostName, ReleaseId, TargetName};
use footplate_core::usage::{Summary, Trend, UsageHeard, UsageLook};
use serde::Deserialize;

use super::Told;
use crate::api::{AppUsage, GroupUsage, Problem, ProblemKind};
use crate::controller::Shared;
use crate::controller::extract::{Asked, Named, Sent};

/// How long a host may say nothing until it counts as silent: three looks.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// The while that is told when nobody says which.
const OVER_DEFAULT: Duration = Duration::from_secs(60);

/// One host that tells.
pub(super) struct Host {
    heard: UsageHeard,
    came: Instant,
}

impl Told {
    /// Takes what an agent tells of the services on its host.
    fn hear_usage(
        &self,
        host: HostName,
        look: UsageLook,
        known: impl Fn(&HostName) -> bool,
    ) -> Result<(), Problem> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|host, _| known(host));
        if !known(&host) {
            let what = format!("cannot take what the services on `{host}` use");
            let because = "the store knows no agent there";
            return Err(Problem::new(ProblemKind::Unknown, what, because, "its agent tries again by itself"));
        }
        let begun = || Host { heard: UsageHeard::default(), came: Instant::now() };
        let teller = hosts.entry(host).or_insert_with(begun);
        teller.heard.hear(look);
        teller.came = Instant::now();
        Ok(())
    }

    /// Returns what the services of an app's releases use now, and how they did over the last `over` (ten minutes at most): all hosts that tell,
    /// added up. What no host tells of is not in it.
    pub(in crate::controller) fn services(
        &self,
        path: &AppPath,
        over: Duration,
    ) -> BTreeMap<TargetName, BTreeMap<ReleaseId, Summary>> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trends: BTreeMap<TargetName, BTreeMap<ReleaseId, Vec<Trend>>> = BTreeMap::new();
        for host in hosts.values().filter(|host| host.came.elapsed() <= SILENT_AFTER) {
            for (target, release, trend) in host.heard.trends(path, over) {
                let of_target = trends.entry(target.clone()).or_default();
                of_target.entry(release.clone()).or_default().push(trend);
            }
        }
        let summary = |(release, trends): (ReleaseId, Vec<Trend>)| (release, Summary::of(&trends, over));
        let of_target = |(target, releases): (TargetName, BTreeMap<ReleaseId, Vec<Trend>>)| {
            (target, releases.into_iter().map(summary).collect())
        };
        trends.into_iter().map(of_target).collect()
    }
}

/// `POST /HOST`: an agent tells what the services beside it use.
pub(in crate::controller) async fn hear(
    State(shared): State<Arc<Shared>>,
    Named(host): Named<HostName>,
    Sent(look): Sent<UsageLook>,
) -> Result<StatusCode, Problem> {
    let site = shared.site();
    shared.told.hear_usage(host, look, |host| site.presences.contains_key(host))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose services are asked about.
#[derive(Deserialize)]
pub(in crate::controller) struct UsageQuery {
    environment: EnvironmentName,
    app: AppName,
    over_ms: Option<u64>,
}

/// `GET`: what the services of one app use.
pub(in crate::controller) async fn read(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<UsageQuery>,
) -> Result<Json<AppUsage>, Problem> {
    let path = AppPath { environment: query.environment, app: query.app };
    let over = query.over_ms.map_or(OVER_DEFAULT, Duration::from_millis).min(footplate_core::usage::KEPT);
    let groups = shared.told.services(&path, over);
    let group = |(target, releases): (TargetName, _)| GroupUsage { group: target.group, releases };
    Ok(Json(AppUsage { groups: groups.into_iter().map(group).collect(), path }))
}

#[cfg(test)]
mod tests {
    use footplate_core::moment::Moment;
    use footplate_core::usage::Usage;

    use super::*;

    fn look(at_ms: u64, memory: u64) -> UsageLook {
        let usage = Usage { restarts: 2, memory_bytes: Some(memory) };
        let target: TargetName = "production.shop.worker".parse().expect("a name");
        let services = [(target, [("1".parse().expect("a release"), usage)].into())].into();
        UsageLook { at: Moment::from_millis(at_ms), services }
    }

    #[test]
    fn hosts_are_added_up_and_of_a_silent_or_unknown_one_nothing_is_known() {
        let (told, path) =
            (Told::default(), "production.shop.worker".parse::<TargetName>().expect("a name").path);
        let host = |name: &str| name.parse::<HostName>().expect("a host");
        let known = |host: &HostName| host.as_str() != "x";
        for second in 0..6 {
            told.hear_usage(host("a"), look(second * 5_000, 1_000 + second * 50), known)
                .expect("it is known");
        }
        told.hear_usage(host("b"), look(0, 3_250), known).expect("it is known");
        let refused = told.hear_usage(host("x"), look(0, 1), known).expect_err("nobody knows it");
        assert_eq!(refused.kind, ProblemKind::Unknown);
        let only = |told: &Told| {
            let of_target = told.services(&path, OVER_DEFAULT).into_values().next()?;
            of_target.into_values().next()
        };
        let expected = Summary {
            services: 2,
            restarts: 0,
            memory_bytes: Some(2_250),
            slope: Some(10.0),
            over: OVER_DEFAULT,
        };
        assert_eq!(only(&told), Some(expected));
        let past = Instant::now().checked_sub(SILENT_AFTER * 2).expect("this machine is up longer");
        told.hosts.lock().expect("nothing panicked").values_mut().for_each(|host| host.came = past);
        assert_eq!(only(&told), None);
    }
}
