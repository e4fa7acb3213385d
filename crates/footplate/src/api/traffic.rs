//! What routers counted lately, as people and programs are told.

use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, GroupName, HostName, ReleaseId};
use footplate_core::release::duration_millis;
use footplate_core::traffic::Share;
use footplate_core::traffic::counts::FailedRequest;
use serde::{Deserialize, Serialize};

/// How often an agent tells what its router counted when nothing changes; every second when something does.
pub const COUNTS_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// The traffic of one app in one environment; answer to `GET /v1/traffic`, one for each app with endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppTraffic {
    /// Which app.
    pub path: AppPath,
    /// When this was so, by the controller's clock.
    pub at: Moment,
    /// The rollout that is under way, in a line.
    #[serde(default)]
    pub rollout: Option<String>,
    /// Why its gate is closed, in a line; nothing while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The routers that route to it, and whether they tell.
    pub routers: Vec<RouterTraffic>,
    /// Its process groups with endpoints.
    pub groups: Vec<GroupTraffic>,
    /// Requests that failed in the last minute, the newest first: a few of them.
    #[serde(default)]
    pub failed: Vec<FailedRequest>,
}

/// One router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterTraffic {
    /// The host that it runs on.
    pub host: HostName,
    /// When it told last what it counted, by the controller's clock; nothing when it has not told this controller yet.
    pub told: Option<Moment>,
    /// Whether that is too long ago: what it counts now is not known, and not in the numbers.
    pub is_silent: bool,
}

/// One process group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupTraffic {
    /// Which.
    pub group: GroupName,
    /// Every release that has endpoints or was asked lately, by name.
    pub releases: Vec<ReleaseTraffic>,
}

/// One release of one process group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseTraffic {
    /// Which.
    pub release: ReleaseId,
    /// The part of the requests that it should get, in millionths.
    pub wanted: Share,
    /// Its endpoints.
    pub endpoints: Endpoints,
    /// What all routers together counted over the last while; nothing when none of them tells.
    pub measured: Option<Measured>,
    /// How many requests all routers counted since each began.
    pub requests_total: u64,
    /// How many attempts of those failed.
    pub errors_total: u64,
}

/// The endpoints of a release, by what they may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// They take requests.
    pub ready: usize,
    /// They finish what they have.
    pub draining: usize,
    /// They are up and have yet to be let in.
    pub standby: usize,
}

/// What was counted over the last while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How long that while was, in milliseconds.
    #[serde(with = "duration_millis")]
    pub over: Duration,
    /// Its part of its group's requests, in millionths; nothing when there were none.
    pub share: Option<Share>,
    /// Requests that began, a second.
    pub requests_per_second: f64,
    /// Attempts that failed, a second: answers 5xx, and no answer by the release's fault, each before it was tried again.
    pub errors_per_second: f64,
    /// The part of all attempts that ended which failed, in millionths; nothing when none ended.
    pub errors: Option<Share>,
    /// Half of the answers' heads came within this time, in microseconds; nothing without answers.
    pub p50_us: Option<u64>,
    /// 99 of 100 did.
    pub p99_us: Option<u64>,
    /// Requests under way now.
    pub in_flight: u64,
}

#[cfg(test)]
mod tests {
    use footplate_core::traffic::counts::How;

    use super::*;

    #[test]
    fn the_documented_answer_is_the_real_one() {
        let measured = Measured {
            over: Duration::from_millis(10_012),
            share: Some(Share::from_millionths(49_210)),
            requests_per_second: 5.5,
            errors_per_second: 0.1,
            errors: Some(Share::from_millionths(18_182)),
            p50_us: Some(1_204),
            p99_us: Some(20_511),
            in_flight: 1,
        };
        let release = ReleaseTraffic {
            release: "1.4.2".parse().expect("a release"),
            wanted: Share::from_millionths(50_000),
            endpoints: Endpoints { ready: 2, ..Endpoints::default() },
            measured: Some(measured),
            requests_total: 412,
            errors_total: 3,
        };
        let failed = FailedRequest {
            number: 812,
            at: Moment::from_millis(1_789_999_999_700),
            target: "production.shop.web".parse().expect("a target"),
            release: release.release.clone(),
            key: 0x5529_b42c_b4b0_d639,
            method: "GET".to_owned(),
            path: "/cart".to_owned(),
            how: How::Status(502),
            time: Duration::from_micros(1_204),
        };
        let told = Some(Moment::from_millis(1_790_000_000_000));
        let host = "edge-1".parse().expect("a host");
        let environment = "production".parse().expect("an environment");
        let traffic = AppTraffic {
            path: AppPath { environment, app: "shop".parse().expect("an app") },
            at: Moment::from_millis(1_790_000_000_400),
            rollout: None,
            gate: None,
            routers: vec![RouterTraffic { host, told, is_silent: false }],
            groups: vec![GroupTraffic { group: "web".parse().expect("a group"), releases: vec![release] }],
            failed: vec![failed],
        };
        let written = serde_json::to_string_pretty(&[&traffic]).expect("plain data");
        let page = include_str!("../../../../docs/reference/traffic.md");
        assert!(page.contains(&format!("```json\n{written}\n```")), "{written}");
        let read: Vec<AppTraffic> = serde_json::from_str(&written).expect("it reads back");
        assert_eq!(read, [traffic]);
    }
}
