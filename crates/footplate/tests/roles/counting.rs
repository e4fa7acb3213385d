//! What routers counted, as the controller knows it: exactly what clients sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use footplate::api::{AppTraffic, ReleaseTraffic};
use footplate_core::rollout::{Portion, Strategy};
use footplate_core::traffic::counts::{FailedRequest, How};
use footplate_testkit::load::Load;

use crate::serving::builtin;
use crate::site::{Site, path, within};

const OVER: Duration = Duration::from_secs(60);

impl Site {
    async fn traffic(&self) -> AppTraffic {
        let mut apps = self.client.traffic(Some(&path()), OVER).await.unwrap();
        apps.pop().expect("an app with endpoints")
    }

    /// Waits until the controller knows as much of each release as this, and never more: requests and errors.
    async fn until_counted(&self, expected: &BTreeMap<&str, (u64, u64)>) -> AppTraffic {
        let equal = async {
            loop {
                let traffic = self.traffic().await;
                let told = |release: &ReleaseTraffic| {
                    (release.release.to_string(), (release.requests_total, release.errors_total))
                };
                let told: BTreeMap<String, (u64, u64)> =
                    traffic.groups[0].releases.iter().map(told).collect();
                let known = |release: &str| told.get(release).copied().unwrap_or_default();
                for (release, (requests, errors)) in expected {
                    let known = known(release);
                    assert!(
                        known.0 <= *requests && known.1 <= *errors,
                        "{release}: {known:?} of {expected:?}"
                    );
                }
                if expected.iter().all(|(release, counts)| known(release) == *counts) {
                    return traffic;
                }
            }
        };
        within("the controller knows what clients sent", equal).await
    }

    /// Waits until the controller knows so many requests of all releases together, and never more.
    async fn until_all_are_counted(&self, sent: u64) -> AppTraffic {
        let all = async {
            loop {
                let traffic = self.traffic().await;
                let known: u64 =
                    traffic.groups[0].releases.iter().map(|release| release.requests_total).sum();
                assert!(known <= sent, "{known} of {sent}");
                if known == sent {
                    return traffic;
                }
            }
        };
        within("every request is known", all).await
    }
}

/// Asks for a path so many times, and returns how often each release answered.
async fn ask(address: SocketAddr, path: &str, number: usize) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for _ in 0..number {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap().text().await.unwrap();
        let release = answer.split(' ').next().unwrap_or_default().to_owned();
        *answers.entry(release).or_default() += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_knows_exactly_what_clients_of_two_routers_sent() {
    let mut site = Site::with_hosts(&["web-1", "web-2"]).await;
    let routers = [
        builtin(site.folder.path().join("router-1")).await,
        builtin(site.folder.path().join("router-2")).await,
    ];
    for (number, router) in (1..).zip(&routers) {
        site.start_agent_beside(&format!("edge-{number}"), "edge", Some(router.config.clone()));
    }
    let rolling = || Strategy::Rolling { batch: Portion::Count(1) };
    site.ship_service("1", "web", rolling(), 0).await;
    let mut expected = BTreeMap::from([("1", (0, 0)), ("2", (0, 0))]);
    for router in &routers {
        let follows = async {
            let answer =
                || async { reqwest::get(format!("http://{}/", router.address)).await.unwrap().status() };
            while answer().await != 200 {}
        };
        within("the first release answers", follows).await;
        expected.get_mut("1").unwrap().0 += 1;
    }
    let traffic = site.until_counted(&expected).await;
    assert_eq!(traffic.routers.len(), 2, "{traffic:?}");
    assert!(traffic.routers.iter().all(|router| !router.is_silent && router.told.is_some()), "{traffic:?}");

    // While a swap goes on and both routers are asked, not one request is lost or counted twice.
    let loads: Vec<_> = routers
        .iter()
        .map(|router| {
            let load =
                Load { keep_alive: false, pause: Duration::from_millis(5), ..Load::new(router.address, 2) };
            load.start()
        })
        .collect();
    site.ship_service("2", "web", rolling(), 0).await;
    let mut sent = 0;
    for load in loads {
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
        sent += outcome.requests;
    }
    let traffic = site.until_all_are_counted(sent + 2).await;
    for release in &traffic.groups[0].releases {
        expected.insert(if release.release.as_str() == "1" { "1" } else { "2" }, (release.requests_total, 0));
    }

    // Errors are counted before anything is tried again, and both routers are added up.
    for router in &routers {
        assert_eq!(ask(router.address, "/status/503", 10).await, [("2".to_owned(), 10)].into());
        let two = expected.get_mut("2").unwrap();
        *two = (two.0 + 10, two.1 + 10);
    }
    let traffic = site.until_counted(&expected).await;
    let two = traffic.groups[0].releases.iter().find(|release| release.release.as_str() == "2").unwrap();
    let measured = two.measured.as_ref().expect("two routers tell");
    assert_eq!((two.endpoints.ready, two.wanted.to_string().as_str()), (2, "100%"));
    assert!(measured.errors_per_second > 0.0 && measured.requests_per_second > measured.errors_per_second);
    assert!(measured.p50_us.is_some() && measured.p50_us <= measured.p99_us, "{measured:?}");
    // A few of them are told: four a second of one client at each router.
    assert!(traffic.failed.len() >= 8, "{:?}", traffic.failed);
    let is_one = |failed: &FailedRequest| {
        (failed.path.as_str(), failed.release.as_str(), failed.how) == ("/status/503", "2", How::Status(503))
    };
    assert!(traffic.failed.iter().all(is_one), "{:?}", traffic.failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_router_or_controller_loses_no_count_and_makes_none_negative() {
    let mut site = Site::with_hosts(&["web-1"]).await;
    let folder = site.folder.path().join("router");
    let first = builtin(folder.clone()).await;
    site.start_agent_beside("edge", "edge", Some(first.config.clone()));
    site.ship_service("1", "web", Strategy::BlueGreen, 0).await;
    let answered =
        async { while reqwest::get(format!("http://{}/", first.address)).await.unwrap().status() != 200 {} };
    within("the release answers", answered).await;
    ask(first.address, "/", 19).await;
    site.until_counted(&[("1", (20, 0))].into()).await;

    site.restart_controller().await;
    ask(first.address, "/", 5).await;
    site.until_counted(&[("1", (25, 0))].into()).await;

    drop(first);
    let socket = footplate_router::control::socket(&folder);
    let ended = async { while tokio::net::UnixStream::connect(&socket).await.is_ok() {} };
    within("the router has ended", ended).await;
    let second = builtin(folder).await;
    ask(second.address, "/", 7).await;
    let anew = async {
        loop {
            let traffic = site.traffic().await;
            let one = &traffic.groups[0].releases[0];
            let rate = one.measured.as_ref().map_or(0.0, |measured| measured.requests_per_second);
            assert!(rate >= 0.0, "{traffic:?}");
            if one.requests_total == 7 {
                return;
            }
        }
    };
    within("the new router's counts are known", anew).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_services_use_is_known_without_a_router() {
    let site = Site::with_hosts(&["web-1", "web-2"]).await;
    site.ship_service("1", "web", Strategy::BlueGreen, 0).await;
    let all_tell = async {
        loop {
            let usage = site.client.usage(&path(), OVER).await.unwrap();
            let Some(group) = usage.groups.first() else { continue };
            let one = &group.releases[&"1".parse().unwrap()];
            if one.services == 2 {
                return *one;
            }
        }
    };
    let told = within("both hosts tell", all_tell).await;
    assert!(told.memory_bytes.is_some_and(|bytes| bytes > 100_000) && told.restarts == 0, "{told:?}");
}
