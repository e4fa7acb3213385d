//! The keys of the store, below its root, and who writes each.

use std::fmt;
use std::str::FromStr;

use crate::name::{
    AppName, AppPath, HostName, LaneName, ReleaseId, TargetName, from_key_segment, key_segment,
};

/// One key. The first segment says the writer, so that a prefix is a permission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `hosts/<host>/<env>.<app>.<group>`: an [`Assignment`](crate::target::Assignment).
    Assignment(HostName, TargetName),
    /// `barriers/<env>.<app>`: a [`Barrier`](super::Barrier).
    Barrier(AppPath),
    /// `agents/<host>/alive`: a [`Presence`](crate::fleet::Presence).
    Presence(HostName),
    /// `agents/<host>/<env>.<app>.<group>`: a [`Report`](crate::target::Report).
    Report(HostName, TargetName),
    /// `apps/<env>/<app>/current`: a [`Current`](crate::fleet::Current).
    Current(AppPath),
    /// `apps/<env>/<app>/rollout`: a [`Rollout`](crate::rollout::Rollout).
    Rollout(AppPath),
    /// `apps/<env>/<app>/gate`: a [`Gate`](crate::gate::Gate).
    Gate(AppPath),
    /// `traffic/<env>.<app>`: a [`Traffic`](crate::traffic::Traffic).
    Traffic(AppPath),
    /// `routes/<env>.<app>.<group>/<host>`: a [`Route`](crate::traffic::Route).
    Route(TargetName, HostName),
    /// `agents/<host>/router`: a [`RouterReport`](crate::traffic::RouterReport).
    Router(HostName),
    /// `agents/<host>/discovery`: a [`DiscoveryReport`](crate::traffic::DiscoveryReport).
    Discovery(HostName),
    /// `hosts/<host>/router`: a [`RouterOrder`](crate::traffic::RouterOrder).
    RouterOrder(HostName),
    /// `fleet/<host>`: a [`HostState`](crate::fleet::HostState).
    HostState(HostName),
    /// `releases/<app>.<release>`: a [`Pushed`](crate::fleet::Pushed).
    Release(AppName, ReleaseId),
    /// `lanes/<lane>/lease`: a [`Lease`](super::Lease).
    Lease(LaneName),
}

/// Who may write a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The acting controller.
    Controller,
    /// The agent of this host.
    Agent(HostName),
}

/// A text that is no key of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a key of footplate's", .0.escape_debug())]
pub struct NotAKey(pub String);

impl Key {
    /// The prefix of all orders; an agent's is [`Key::assignments_of`].
    pub const ASSIGNMENTS: &'static str = "hosts/";
    /// The prefix of all presences and reports.
    pub const AGENTS: &'static str = "agents/";
    /// The prefix of all apps' records and rollouts.
    pub const APPS: &'static str = "apps/";
    /// The prefix of all barriers.
    pub const BARRIERS: &'static str = "barriers/";
    /// The prefix of all hosts' states.
    pub const FLEET: &'static str = "fleet/";
    /// The prefix of all releases.
    pub const RELEASES: &'static str = "releases/";
    /// The prefix of all routes; those of one process group are below [`Key::routes_of`].
    pub const ROUTES: &'static str = "routes/";
    /// The prefix of how all apps' traffic is divided.
    pub const TRAFFIC: &'static str = "traffic/";
    /// The prefix of all lanes' leases.
    pub const LANES: &'static str = "lanes/";

    /// Returns the prefix of one host's orders: the agent's one long poll.
    pub fn assignments_of(host: &HostName) -> String {
        format!("{}{}/", Self::ASSIGNMENTS, key_segment(host.as_str()))
    }

    /// Returns the prefix of the routes of one process group: all that a router reads besides the traffic's division.
    pub fn routes_of(target: &TargetName) -> String {
        format!("{}{}/", Self::ROUTES, key_segment(&target.to_string()))
    }

    /// Returns the prefix of all that one host's agent writes.
    pub fn agent_of(host: &HostName) -> String {
        format!("{}{}/", Self::AGENTS, key_segment(host.as_str()))
    }

    /// Returns who may write it.
    pub fn writer(&self) -> Writer {
        match self {
            Key::Presence(host) | Key::Report(host, _) | Key::Router(host) | Key::Discovery(host) => {
                Writer::Agent(host.clone())
            }
            Key::Assignment(..)
            | Key::RouterOrder(_)
            | Key::Barrier(_)
            | Key::Current(_)
            | Key::Rollout(_)
            | Key::Gate(_)
            | Key::Traffic(_)
            | Key::Route(..)
            | Key::HostState(_)
            | Key::Release(..)
            | Key::Lease(_) => Writer::Controller,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = |text: &dyn fmt::Display| key_segment(&text.to_string());
        match self {
            Key::Assignment(host, target) => write!(f, "hosts/{}/{}", segment(host), segment(target)),
            Key::Barrier(path) => write!(f, "barriers/{}", segment(path)),
            Key::Presence(host) => write!(f, "agents/{}/alive", segment(host)),
            Key::Report(host, target) => write!(f, "agents/{}/{}", segment(host), segment(target)),
            Key::Current(path) => {
                write!(f, "apps/{}/{}/current", segment(&path.environment), segment(&path.app))
            }
            Key::Rollout(path) => {
                write!(f, "apps/{}/{}/rollout", segment(&path.environment), segment(&path.app))
            }
            Key::Gate(path) => write!(f, "apps/{}/{}/gate", segment(&path.environment), segment(&path.app)),
            Key::Traffic(path) => write!(f, "traffic/{}", segment(path)),
            Key::Route(target, host) => write!(f, "routes/{}/{}", segment(target), segment(host)),
            Key::Router(host) => write!(f, "agents/{}/router", segment(host)),
            Key::Discovery(host) => write!(f, "agents/{}/discovery", segment(host)),
            Key::RouterOrder(host) => write!(f, "hosts/{}/router", segment(host)),
            Key::HostState(host) => write!(f, "fleet/{}", segment(host)),
            Key::Release(app, release) => write!(f, "releases/{}.{}", segment(app), segment(release)),
            Key::Lease(lane) => write!(f, "lanes/{}/lease", segment(lane)),
        }
    }
}

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let segments: Vec<&str> = text.split('/').collect();
        parse(&segments).filter(|key| key.to_string() == text).ok_or_else(|| NotAKey(text.to_owned()))
    }
}

fn parse(segments: &[&str]) -> Option<Key> {
    Some(match segments {
        ["hosts", host, "router"] => Key::RouterOrder(name(host)?),
        ["hosts", host, target] => Key::Assignment(name(host)?, name(target)?),
        ["barriers", path] => Key::Barrier(app_path(path)?),
        ["agents", host, "alive"] => Key::Presence(name(host)?),
        ["agents", host, "router"] => Key::Router(name(host)?),
        ["agents", host, "discovery"] => Key::Discovery(name(host)?),
        ["agents", host, target] => Key::Report(name(host)?, name(target)?),
        ["apps", environment, app, "current"] => Key::Current(joined(environment, app)?),
        ["apps", environment, app, "rollout"] => Key::Rollout(joined(environment, app)?),
        ["apps", environment, app, "gate"] => Key::Gate(joined(environment, app)?),
        ["traffic", path] => Key::Traffic(app_path(path)?),
        ["routes", target, host] => Key::Route(name(target)?, name(host)?),
        ["fleet", host] => Key::HostState(name(host)?),
        ["releases", release] => {
            let (app, release) = release.split_once('.')?;
            Key::Release(name(app)?, name(release)?)
        }
        ["lanes", lane, "lease"] => Key::Lease(name(lane)?),
        _ => return None,
    })
}

fn name<T: FromStr>(segment: &str) -> Option<T> {
    from_key_segment(segment)?.parse().ok()
}

fn app_path(segment: &str) -> Option<AppPath> {
    let (environment, app) = segment.split_once('.')?;
    joined(environment, app)
}

fn joined(environment: &str, app: &str) -> Option<AppPath> {
    Some(AppPath { environment: name(environment)?, app: name(app)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back_and_has_one_writer() {
        for (text, writer) in [
            ("hosts/web-1/production.shop.web", "controller"),
            ("hosts/web-1/router", "controller"),
            ("agents/web-1/router", "web-1"),
            ("agents/web-1/discovery", "web-1"),
            ("barriers/production.shop", "controller"),
            ("agents/web-1/alive", "web-1"),
            ("agents/web-1/production.shop.web", "web-1"),
            ("apps/production/shop/current", "controller"),
            ("apps/production/shop/rollout", "controller"),
            ("apps/production/shop/gate", "controller"),
            ("fleet/web-1.example", "controller"),
            ("releases/shop.1.2~2B3", "controller"),
            ("lanes/main/lease", "controller"),
        ] {
            let key: Key = text.parse().expect(text);
            assert_eq!(key.to_string(), text);
            let found = match key.writer() {
                Writer::Controller => "controller".to_owned(),
                Writer::Agent(host) => host.to_string(),
            };
            assert_eq!(found, writer, "{text}");
        }
    }

    #[test]
    fn what_no_footplate_writes_is_no_key() {
        for text in [
            "",
            "hosts/web-1",
            "hosts/../x.y.z",
            "hosts/web-1/alive",
            "releases/shop",
            "agents/~77eb-1/alive",
            "apps/p/s/other",
        ] {
            assert_eq!(text.parse::<Key>(), Err(NotAKey(text.to_owned())), "{text}");
        }
    }
}
