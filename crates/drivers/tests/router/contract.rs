//! What every router that draws for itself promises to the agent beside it.

use std::collections::BTreeMap;

use crate::site::Site;

/// Runs each story once for each router.
macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        mod builtin {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::site::Site::builtin().await).await;
            })*
        }
        mod haproxy {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::site::Site::haproxy().await).await;
            })*
        }
    };
}
pub(crate) use stories;

stories!(
    requests_are_drawn_by_share_and_then_by_weight,
    who_drains_gets_no_new_request_and_finishes_the_old_ones,
    what_is_told_of_no_more_is_in_flight_until_it_is_done,
    thirty_releases_follow_one_another_without_a_failed_request,
    a_share_of_nothing_is_no_request,
    an_address_that_is_none_is_refused_and_changes_nothing,
);

/// Asserts that a part of all requests came to each, within six standard deviations.
#[track_caller]
pub fn assert_parts(answers: &BTreeMap<String, u64>, expected: &[(&str, f64)]) {
    let all = answers.values().sum::<u64>() as f64;
    for (name, part) in expected {
        let (seen, mean) = (answers.get(*name).copied().unwrap_or(0) as f64, all * part);
        let deviation = (all * part * (1.0 - part)).sqrt();
        assert!(
            (seen - mean).abs() <= 6.0 * deviation,
            "{name}: {seen} of {all}, expected {mean}: {answers:?}"
        );
    }
    assert!(answers.len() <= expected.len(), "{answers:?}");
}

async fn requests_are_drawn_by_share_and_then_by_weight(mut site: Site) {
    site.follow("a/1 b/1", "1:100").await;
    assert_parts(&site.answers(600).await, &[("a/1", 0.5), ("b/1", 0.5)]);
    site.follow("a/1 a/2 b/1", "1:90 2:10").await;
    assert_parts(&site.answers(3000).await, &[("a/1", 0.45), ("b/1", 0.45), ("a/2", 0.1)]);
    site.follow("a/1 a/2 a/3 b/1", "1:0.5 2:49.5 3:50").await;
    let mut answers = site.answers(4000).await;
    let first = ["a/1", "b/1"].map(|name| answers.remove(name).unwrap_or(0)).iter().sum();
    answers.insert("1".to_owned(), first);
    assert_parts(&answers, &[("1", 0.005), ("a/2", 0.495), ("a/3", 0.5)]);
}

async fn who_drains_gets_no_new_request_and_finishes_the_old_ones(mut site: Site) {
    site.follow("a/1", "1:100").await;
    assert_eq!(site.busy().await, Some(vec![]));
    let slow = site.begin("/stream/30/100", "a/1").await;
    site.until_busy(&["a/1"]).await;
    site.follow("a/1 drains a/2", "1:0 2:100").await;
    let answers = site.answers(200).await;
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["a/2"]);
    assert_eq!(site.busy().await, Some(vec!["a/1".to_owned()]), "the old request is still in flight");
    let answer = slow.await.unwrap().unwrap();
    assert!(
        answer.matches("piece").count() == 30 && answer.ends_with("0\r\n\r\n"),
        "it was cut off: {answer}"
    );
    site.until_busy(&[]).await;
}

async fn what_is_told_of_no_more_is_in_flight_until_it_is_done(mut site: Site) {
    site.follow("a/1 b/1", "1:100").await;
    let mut slow = vec![site.begin_anywhere("/slow/2000").await, site.begin_anywhere("/slow/2000").await];
    while site.busy().await.is_some_and(|busy| busy.len() < 2) {
        slow.push(site.begin_anywhere("/slow/2000").await);
    }
    site.follow("c/2", "2:100").await;
    assert_eq!(site.busy().await, Some(vec!["a/1".to_owned(), "b/1".to_owned()]));
    for slow in slow {
        let answer = slow.await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    site.until_busy(&[]).await;
    assert_eq!(site.answers(20).await.keys().collect::<Vec<_>>(), ["c/2"]);
}

async fn thirty_releases_follow_one_another_without_a_failed_request(mut site: Site) {
    site.follow("a/1 b/1", "1:100").await;
    let loads = [true, false].map(|keep_alive| {
        let load = footplate_testkit::load::Load::new(site.address, 2);
        footplate_testkit::load::Load { keep_alive, ..load }.start()
    });
    for release in 2..=30 {
        let old = release - 1;
        for (members, shares) in [
            (format!("a/{release} a/{old} b/{old}"), format!("{release}:10 {old}:90")),
            (format!("a/{release} a/{old} drains b/{old}"), format!("{release}:50 {old}:50")),
            (
                format!("a/{release} a/{old} drains b/{release} b/{old} drains"),
                format!("{release}:100 {old}:0"),
            ),
        ] {
            site.follow(&members, &shares).await;
        }
        site.until_busy_only(&format!("/{release}")).await;
        site.follow(&format!("a/{release} b/{release}"), &format!("{release}:100")).await;
        for host in ["a", "b"] {
            site.backends.remove(&format!("{host}/{old}")).unwrap().kill().await;
        }
    }
    for load in loads {
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "of {}: {:?}", outcome.requests, outcome.failures);
        assert!(outcome.requests > 100, "{}", outcome.requests);
    }
}

async fn a_share_of_nothing_is_no_request(mut site: Site) {
    site.follow("a/1 a/2", "1:100 2:0").await;
    assert_eq!(site.answers(300).await.keys().collect::<Vec<_>>(), ["a/1"]);
    site.follow("a/1 a/2", "1:0 2:100").await;
    assert_eq!(site.answers(300).await.keys().collect::<Vec<_>>(), ["a/2"]);
}

async fn an_address_that_is_none_is_refused_and_changes_nothing(mut site: Site) {
    site.follow("a/1", "1:100").await;
    let mut pool = site.pool("a/2", "2:100").await;
    pool.members[0].address = "somewhere".to_owned();
    let said = site.router.follow(&[pool]).await.unwrap_err();
    assert!(said.to_string().contains("`somewhere` is no address"), "{said}");
    assert_eq!(site.answers(20).await.keys().collect::<Vec<_>>(), ["a/1"]);
}
