//! Bad services judged as an agent judges them: supervisor, questions and the state machine together.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use footplate_core::health::{Condition, Event, Question};
use footplate_core::moment::Moment;
use footplate_core::release::service::{Check, Health, Probe};
use footplate_drivers::health::{Answer, Asker, Place};
use footplate_drivers::service::{Order, Status, Supervisor, tail};

use crate::site::Site;

fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Moment::from_millis(u64::try_from(since.as_millis()).expect("before the end of time"))
}

/// One second to start, half a second unready, three crashes; asked every 20 ms.
fn health(readiness: Check, liveness: Option<Check>) -> Health {
    let probe = |check| Probe { interval: Duration::from_millis(20), ..Probe::new(check) };
    Health {
        readiness: Some(probe(readiness)),
        liveness: liveness.map(probe),
        start_deadline: Duration::from_secs(3),
        healthy_time_min: Duration::from_millis(100),
        unready_deadline: Duration::from_millis(500),
        ..Health::default()
    }
}

fn http() -> Check {
    Check::Http { path: "/health".to_owned() }
}

/// Starts a service and watches it until `enough`; returns its condition and its last words.
async fn poll_judgement(
    site: &Site,
    order: &Order,
    health: &Health,
    enough: impl Fn(&Condition) -> bool,
) -> (Condition, String) {
    let asker = Asker::new();
    let mut before: Status = site.keepers.start(order).await.expect("started");
    let mut condition = Condition::begin(health, now());
    let place = Place {
        port: order.port,
        heartbeat: before.heartbeat.clone(),
        notified: before.notified.clone(),
        directory: order.directory.clone(),
        ..Place::default()
    };
    let begun = Instant::now();
    while !enough(&condition) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{condition:?}");
        let status = site.status(order.name.release.as_str()).await;
        let mut events = status.since(&before);
        for (question, probe) in condition.questions(health) {
            events.push(match asker.ask(probe, &place).await {
                Answer::Good => Event::Good(question),
                Answer::Bad(why) => Event::Bad(question, why),
            });
        }
        events.push(Event::Tick);
        for event in &events {
            let step = condition.step(health, event, now());
            condition = step.next;
            if step.restart.is_some() {
                assert!(matches!(event, Event::Bad(Question::Liveness, _)));
                site.keepers.restart(&order.name).await.expect("restarted");
            }
        }
        before = status;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (condition, tail(&before.log, 2048).expect("read"))
}

fn why(condition: &Condition) -> &str {
    condition.failure.as_ref().map_or("", |failure| &failure.why)
}

fn has_failed(condition: &Condition) -> bool {
    condition.failure.is_some()
}

#[tokio::test]
async fn a_good_service_settles() {
    let site = Site::new();
    let rules = health(http(), Some(Check::Tcp));
    let (condition, said) =
        poll_judgement(&site, &site.web("1", "web"), &rules, |condition| condition.is_settled(&rules, now()))
            .await;
    assert!(condition.is_ready() && said.contains("listening on"), "{said}");
}

#[tokio::test]
async fn one_that_never_listens_fails_by_its_deadline_with_its_last_words() {
    let site = Site::new();
    let order = Order {
        command: "echo 'waiting for the licence server'; exec sleep 1000".to_owned(),
        ..site.web("1", "")
    };
    let (condition, said) = poll_judgement(&site, &order, &health(http(), None), has_failed).await;
    let why = why(&condition);
    assert!(why.starts_with("it did not become ready within 3 s: it takes no connections"), "{why}");
    assert!(said.ends_with("waiting for the licence server\n"), "{said}");
}

#[tokio::test]
async fn one_that_answers_500_fails_by_its_deadline_and_is_quoted() {
    let site = Site::new();
    let (condition, _) =
        poll_judgement(&site, &site.web("1", "web 500"), &health(http(), None), has_failed).await;
    assert!(
        why(&condition).starts_with("it did not become ready within 3 s: it answered 500 to /health: 1 by"),
        "{}",
        why(&condition)
    );
}

#[tokio::test]
async fn one_that_crashes_after_a_while_fails_though_it_was_ready() {
    let site = Site::new();
    let beat = Check::Heartbeat { within: Duration::from_secs(60) };
    let order = site.worker("1", "echo serving; sleep 0.2; echo 'lost the database' >&2; exit 3");
    let (condition, said) = poll_judgement(&site, &order, &health(beat, None), has_failed).await;
    let why = why(&condition);
    assert!(why.starts_with("it crashed 3 times within 10 min, the last time "), "{why}");
    assert!(why.ends_with(" after its start: it ended with status 3"), "{why}");
    assert!(said.contains("lost the database\nfootplate: it ended with status 3"), "{said}");
}

#[tokio::test]
async fn one_that_hangs_is_restarted_for_its_liveness_and_fails_when_that_does_not_help() {
    let site = Site::new();
    let alive = Check::Command { command: "test -e alive".to_owned() };
    let ready = Check::Command { command: "true".to_owned() };
    let rules = health(ready, Some(alive));
    let order = site.worker("1", "exec sleep 1000");
    let (condition, _) = poll_judgement(&site, &order, &rules, has_failed).await;
    assert!(
        why(&condition).starts_with("it hung 3 times within 10 min, the last time ")
            && why(&condition).contains(" after its start: its liveness check failed"),
        "{}",
        why(&condition)
    );
    assert!(site.status("1").await.restarts >= 2);
}
