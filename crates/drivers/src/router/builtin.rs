//! Footplate's own router, told over the socket in its folder. The contract is docs/reference/router-api.md.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use footplate_core::name::TargetName;
use footplate_core::release::{Entrance, Requests, Sticky};
use footplate_core::traffic::counts::{Counts, Histogram, Tally};
use footplate_core::traffic::{self as pool, Member, Pool};
use footplate_router::control::{self, client};
use footplate_router::count::{Counts as Counted, Encoded};
use footplate_router::report::{self, Report};
use footplate_router::table::{
    Endpoint, Hold, Limits, Retries, Route, Service, State, Stickiness, Table, Timeouts, Version, WHOLE,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::{After, EndpointName, Facts, Router, RouterError, told};

const TABLE: &str = "http://router/v1/table";
/// The version of a pool without endpoints; no release is called so.
const NOBODY: &str = "(none)";
const COUNTS: &str = "http://router/v1/counts";

/// Footplate's own router.
pub struct Builtin {
    folder: PathBuf,
    socket: PathBuf,
    told: Mutex<Told>,
}

/// What it was told last, by us.
#[derive(Default)]
struct Told {
    /// The revision of the table.
    revision: u64,
    /// Whether all of it has taken that table: also the routers before it, which finish what they have.
    is_taken: bool,
}

impl Builtin {
    /// Makes the driver of the router in this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), socket: control::socket(folder), told: Mutex::default() }
    }

    async fn ask(&self, method: Method, uri: &str, body: Bytes) -> Result<Bytes, RouterError> {
        let silent = |source| RouterError::Silent { router: self.describe(), source };
        let (status, body) = client::ask(&self.socket, method, uri, body).await.map_err(silent)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(self.refused(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))),
        }
    }

    async fn read<T: DeserializeOwned>(&self, uri: &str) -> Result<T, RouterError> {
        let body = self.ask(Method::GET, uri, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|error| self.refused(error.to_string()))
    }

    fn refused(&self, said: String) -> RouterError {
        RouterError::Refused { router: self.describe(), said }
    }
}

#[async_trait]
impl Router for Builtin {
    fn describe(&self) -> String {
        format!("the router in {}", self.folder.display())
    }

    /// Its table's revision only rises; what it has from before, from us or another, is read first. The same table is told again
    /// until all of it has taken it: it may stand in the router's file and be unknown to an elder.
    async fn follow(&self, pools: &[Pool]) -> Result<(), RouterError> {
        let mut told = self.told.lock().await;
        let mut table = table(pools).map_err(|said| self.refused(said))?;
        let stands: Table = self.read(TABLE).await?;
        table.revision = stands.revision;
        let is_new = stands != table;
        table.revision += u64::from(is_new);
        if is_new || !told.is_taken {
            told.is_taken = false;
            let text = serde_json::to_vec(&table).expect("a table has only text and numbers");
            self.ask(Method::PUT, TABLE, text.into()).await?;
        }
        *told = Told { revision: table.revision, is_taken: true };
        Ok(())
    }

    async fn in_flight(&self) -> Result<Option<BTreeSet<EndpointName>>, RouterError> {
        let told = self.told.lock().await.revision;
        let report: Report = self.read(COUNTS).await?;
        if report.revision < told {
            self.told.lock().await.is_taken = false;
            return Ok(None);
        }
        let mut busy = BTreeSet::new();
        for (service, counts) in &report.services {
            let with = counts.endpoints.iter().filter(|endpoint| endpoint.counts.in_flight > 0);
            busy.extend(
                with.map(|endpoint| EndpointName {
                    service: service.clone(),
                    endpoint: endpoint.name.clone(),
                }),
            );
        }
        Ok(Some(busy))
    }

    async fn facts(&self, after: &After) -> Result<Option<Facts>, RouterError> {
        let After { line, number } = after;
        // The line is the router's own word; one that cannot stand in an address is none of this router's.
        let is_plain = line.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let number = if is_plain { *number } else { 0 };
        let uri = format!("{COUNTS}?failed_after={number}&instance={}", if is_plain { line } else { "" });
        Ok(Some(facts(self.read(&uri).await?)))
    }
}

/// Returns what is told of our process groups; a service or a version that somebody else named is left out.
fn facts(report: Report) -> Facts {
    let mut facts =
        Facts { counts: Counts { line: report.instance, ..Counts::default() }, ..Facts::default() };
    facts.failed = report.failed.into_iter().filter_map(told::failed).collect();
    for (service, said) in report.services {
        let Ok(target) = service.parse::<TargetName>() else { continue };
        if let Some(busiest) = said.busiest {
            facts.busiest.insert(target.clone(), told::busiest(busiest));
        }
        let versions =
            said.versions.into_iter().filter_map(|(name, version)| Some((name.parse().ok()?, version)));
        let tallies = versions.map(|(release, version)| (release, tally(version))).collect();
        facts.counts.targets.insert(target, tallies);
    }
    facts
}

fn tally(version: report::Version) -> Tally {
    let Counted { requests, retries, answers, faults, left, cut, in_flight } = version.counts;
    let times = version.times.iter().map(|Encoded { class, pairs }| {
        (*class, pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect::<Histogram>())
    });
    let faults = faults.into_iter().map(|(fault, number)| (told::kind(fault), number)).collect();
    Tally { requests, retries, answers, faults, left, cut, in_flight, times: times.collect() }
}

/// Returns the router's table of these pools, or why it cannot be made. A pool that answers no request is not in it.
fn table(pools: &[Pool]) -> Result<Table, String> {
    let mut table = Table::default();
    for pool in pools.iter().filter(|pool| !pool.entrances.is_empty()) {
        let endpoints: Result<Vec<Endpoint>, String> = pool.members.iter().map(endpoint).collect();
        let versions = pool
            .shares
            .iter()
            .map(|(release, share)| Version { name: release.to_string(), share: share.millionths() });
        // Nothing of it is ready: the router knows it all the same, and holds its requests.
        let nobody = pool.shares.is_empty().then(|| Version { name: NOBODY.to_owned(), share: WHOLE });
        let service = Service {
            routes: pool.entrances.iter().map(route).collect(),
            stickiness: stickiness(pool.stickiness.as_ref()),
            versions: versions.chain(nobody).collect(),
            endpoints: endpoints?,
            ..bounded(&pool.requests)
        };
        table.services.insert(pool.target.to_string(), service);
    }
    Ok(table)
}

/// Returns a service with these bounds and nothing else. No limit is 0 in the table as well.
fn bounded(requests: &Requests) -> Service {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let usual = Service::default();
    Service {
        limits: Limits { body_bytes: requests.body_bytes_max.unwrap_or_default() },
        retries: Retries { attempts: requests.retries },
        hold: Hold { time_ms: millis(requests.hold), ..usual.hold },
        timeouts: Timeouts {
            answer_ms: millis(requests.answer),
            body_ms: millis(requests.silence),
            tunnel_ms: millis(requests.tunnel),
            ..usual.timeouts
        },
        ..usual
    }
}

fn route(entrance: &Entrance) -> Route {
    Route { host: entrance.host().to_owned(), path: entrance.path().to_owned() }
}

fn stickiness(wanted: Option<&pool::Stickiness>) -> Stickiness {
    let Some(pool::Stickiness { by, salt }) = wanted else { return Stickiness::None };
    let salt = salt.clone();
    match by {
        Sticky::Cookie { name, give } => Stickiness::Cookie { name: name.clone(), salt, give: *give },
        Sticky::Header { name } => Stickiness::Header { name: name.clone(), salt },
        Sticky::Address => Stickiness::Address { salt },
    }
}

fn endpoint(member: &Member) -> Result<Endpoint, String> {
    let address = member.address.parse().map_err(|_| format!("`{}` is no address", member.address))?;
    Ok(Endpoint {
        name: format!("{}/{}", member.host, member.release),
        address,
        version: member.release.to_string(),
        state: if member.is_draining { State::Draining } else { State::Ready },
        weight: member.weight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_says_of_requests_is_what_a_table_without_it_means() {
        assert_eq!(bounded(&Requests::default()), Service::default());
    }
}
