//! What a target runs: an artifact and what to do with it. Immutable once written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::moment::Moment;
use crate::name::{AppName, EnvironmentName, GroupName, ReleaseId, Version};

mod entrance;
mod requests;
mod schedule;
pub mod service;

pub use entrance::{Entrance, NotAnEntrance, Reach, Sticky};
pub use requests::Requests;
pub use schedule::{Calendar, NotACalendar, Schedule};
pub use service::{Service, Variables};

/// The requests that belong to each process group.
pub type Routes = BTreeMap<GroupName, BTreeSet<Entrance>>;

/// What a target runs. Two releases with one id are equal for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Names the release within its app.
    pub id: ReleaseId,
    /// The app it belongs to.
    pub app: AppName,
    /// The code it holds.
    pub version: Version,
    /// The full commit id the code was built from, when it came from git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The commit's first line, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The files; a workload of commands alone has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactRef>,
    /// What prepare, activate and clean mean for it.
    pub workload: Workload,
    /// Plain variables by environment, for services, hooks and scripts alike.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<EnvironmentName, Variables>,
    /// The requests that its services answer in an environment that says so itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<EnvironmentName, Routes>,
    /// When it was pushed.
    pub created_at: Moment,
    /// A signature over the other fields. Always absent today; the field is in the first format so that
    /// older agents do not trip over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Release {
    /// Returns the release that bears its version's name: without files, and without a commit it was built from.
    pub fn new(app: AppName, version: Version, workload: Workload, created_at: Moment) -> Self {
        Self {
            id: ReleaseId::from(&version),
            app,
            version,
            commit: None,
            summary: None,
            artifact: None,
            workload,
            variables: BTreeMap::new(),
            routes: BTreeMap::new(),
            created_at,
            signature: None,
        }
    }

    /// Returns what this process group runs; `None` when it is files or scripts, or unknown to this release.
    pub fn service(&self, group: &GroupName) -> Option<&Service> {
        match &self.workload {
            Workload::Service { services, .. } => services.get(group),
            Workload::Command(_) | Workload::ReleaseDir(_) => None,
        }
    }

    /// Tells whether this process group of it runs a process. One that it has not is its files alone.
    pub fn serves(&self, group: &GroupName) -> bool {
        self.service(group).is_some()
    }

    /// Tells whether it runs processes, rather than files or scripts alone.
    pub fn has_services(&self) -> bool {
        matches!(self.workload, Workload::Service { .. })
    }

    /// Returns the requests that each of its services answers in this environment, and by what clients stay with a version.
    /// A service without a port answers none, and one that does not say which, any.
    pub fn reaches(&self, environment: &EnvironmentName) -> BTreeMap<GroupName, Reach> {
        let Workload::Service { services, .. } = &self.workload else { return BTreeMap::new() };
        let here = self.routes.get(environment);
        let reach = |(group, service): (&GroupName, &Service)| {
            let own = here.and_then(|here| here.get(group)).or(service.routes.as_ref());
            let entrances = own.cloned().unwrap_or_else(|| BTreeSet::from([Entrance::any()]));
            let (sticky, requests) = (service.sticky.clone(), service.requests.clone());
            (group.clone(), Reach { entrances, sticky, requests })
        };
        services.iter().filter(|(_, service)| service.takes_connections()).map(reach).collect()
    }

    /// Tells whether this service says itself which requests it answers in this environment.
    pub fn names_routes(&self, environment: &EnvironmentName, group: &GroupName) -> bool {
        self.routes.get(environment).is_some_and(|here| here.contains_key(group))
            || self.service(group).is_some_and(|service| service.routes.is_some())
    }

    /// Returns the plain variables of this environment.
    pub fn variables_in(&self, environment: &EnvironmentName) -> impl Iterator<Item = (&str, &str)> {
        let here = self.variables.get(environment).into_iter().flatten();
        here.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// How a target prepares, activates and cleans a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Workload {
    /// Depro's way: three lists of shell lines.
    Command(Scripts),
    /// Yola's way: unpacked under `versions/RELEASE`, a `live` symlink, and hooks.
    ReleaseDir(Hooks),
    /// Files as in a release directory, and a process for each process group.
    Service {
        /// The hooks of the files; each target runs them for itself.
        hooks: Hooks,
        /// What each process group runs; at least one.
        services: BTreeMap<GroupName, Service>,
    },
}

/// Depro's three script lists. Each list is one script: variables and `cd` carry over from line to line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripts {
    /// The program that runs them; `bash` or `sh`.
    pub shell: String,
    /// Prepares the release.
    pub deploy: Vec<String>,
    /// Activates the release.
    pub rollout: Vec<String>,
    /// Runs before the release's folder is removed; its exit status does not matter.
    pub clean: Vec<String>,
    /// How long each script may run.
    #[serde(with = "duration_millis")]
    pub deadline: Duration,
}

/// The hooks of a release directory; run with the release's folder as working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Runs after unpacking; a failure leaves `live` as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Hook>,
    /// Runs after `live` was switched; a failure fails the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated: Option<Hook>,
}

/// One command line, run by `sh -c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The command line.
    pub command: String,
    /// How long it may run before it and all its children are killed.
    #[serde(with = "duration_millis")]
    pub deadline: Duration,
}

/// Durations as whole milliseconds, the same in every record.
pub mod duration_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a duration as its milliseconds.
    pub fn serialize<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads a duration from its milliseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
