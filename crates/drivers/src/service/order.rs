//! What to run: a release's service on this host, with everything filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use footplate_core::name::{HostName, InvalidName, ReleaseId, TargetName};
use footplate_core::release::service::{Kind, Limits, Listen, Logs, Restart, Service, Stop};
use footplate_core::release::{Release, Schedule};
use serde::{Deserialize, Serialize};

/// The variable that names the file which a service touches to show that it works.
pub const HEARTBEAT: &str = "HEARTBEAT";

/// The variable that names the socket to which a service says that it is ready. Source: sd_notify(3).
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// One release of a process group on this host: `ENVIRONMENT.APP.GROUP.RELEASE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// The target.
    pub target: TargetName,
    /// Its release.
    pub release: ReleaseId,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.target, self.release)
    }
}

impl FromStr for ServiceName {
    type Err = InvalidName;

    /// Parses what `Display` writes: only the release may have dots.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let at = text.match_indices('.').nth(2).map_or(text.len(), |(at, _)| at);
        let (target, release) = text.split_at(at);
        Ok(Self { target: target.parse()?, release: release.trim_start_matches('.').parse()? })
    }
}

impl Serialize for ServiceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What to run. It is kept in the service's folder, so that a boot needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which service.
    pub name: ServiceName,
    /// The command line, run by `sh -c`.
    pub command: String,
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// Its variables, beyond `PATH` and the user's own.
    pub environment: BTreeMap<String, String>,
    /// Who it runs as; ourselves when absent.
    pub user: Option<String>,
    /// Its port, when it takes connections.
    pub port: Option<u16>,
    /// Who opens the port.
    pub listen: Listen,
    /// Whether it says by itself that it is ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notifies: bool,
    /// When it runs, if not always.
    pub schedule: Option<Schedule>,
    /// How it is asked to end.
    pub stop: Stop,
    /// When it is started again.
    pub restart: Restart,
    /// What it may use.
    pub limits: Limits,
    /// How much of what it prints is kept.
    pub logs: Logs,
}

/// A release that says nothing about a process group, or a service that needs a port and got none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("release {release} does not say what {target} runs")]
pub struct NotAService {
    /// The release.
    pub release: ReleaseId,
    /// The target.
    pub target: TargetName,
}

impl Order {
    /// Returns what to run of `release` on this target: `folder` holds its files, `port` is its port when it has one.
    ///
    /// Its variables, later ones winning: the service's own, the environment's, then `RELEASE`, `VERSION`, `COMMIT` (when
    /// known), `APP`, `ENVIRONMENT`, `GROUP`, `HOST`, `RELEASE_DIR`, and `PORT`.
    pub fn of(
        host: &HostName,
        target: &TargetName,
        release: &Release,
        folder: &Path,
        user: Option<&str>,
        port: Option<u16>,
    ) -> Result<Self, NotAService> {
        let missing = || NotAService { release: release.id.clone(), target: target.clone() };
        let service = release.service(&target.group).ok_or_else(missing)?;
        let (listen, schedule) = match &service.kind {
            Kind::Web { listen, .. } => (*listen, None),
            Kind::Worker => (Listen::Port, None),
            Kind::Scheduled { schedule } => (Listen::Port, Some(schedule.clone())),
        };
        Ok(Self {
            name: ServiceName { target: target.clone(), release: release.id.clone() },
            command: service.command.clone(),
            directory: folder.join(&service.directory),
            environment: environment(host, target, release, service, folder, port),
            user: service.user.clone().or(user.map(str::to_owned)),
            port: port.filter(|_| service.takes_connections()),
            listen,
            notifies: service.health.is_told(),
            schedule,
            stop: service.stop,
            restart: service.restart,
            limits: service.limits,
            logs: service.logs,
        })
    }
}

fn environment(
    host: &HostName,
    target: &TargetName,
    release: &Release,
    service: &Service,
    folder: &Path,
    port: Option<u16>,
) -> BTreeMap<String, String> {
    let given = release.variables_in(&target.path.environment);
    let mut variables = service.env.clone();
    variables.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let own = [
        ("RELEASE", release.id.to_string()),
        ("VERSION", release.version.to_string()),
        ("APP", release.app.to_string()),
        ("ENVIRONMENT", target.path.environment.to_string()),
        ("GROUP", target.group.to_string()),
        ("HOST", host.to_string()),
        ("RELEASE_DIR", folder.display().to_string()),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
    variables.extend(release.commit.clone().map(|commit| ("COMMIT".to_owned(), commit)));
    variables.extend(port.map(|port| ("PORT".to_owned(), port.to_string())));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_name_comes_back_with_all_its_dots() {
        for text in ["production.shop.web.1", "production.shop.web.1.4.2+3", "a.b.c.2f1acc6c3a60"] {
            assert_eq!(text.parse::<ServiceName>().expect(text).to_string(), text);
        }
        for text in ["production.shop.web", "production.shop.web.", "production", "a.b.c./etc"] {
            assert!(text.parse::<ServiceName>().is_err(), "{text}");
        }
    }
}
