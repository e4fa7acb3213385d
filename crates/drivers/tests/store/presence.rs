//! Keys that live with their process: they come back after every loss, and only one of two rivals holds one.

use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::memory::{Memory, Weather};
use footplate_drivers::store::{
    Guard, Hold, Keys, Patient, Presence, Scope, SessionId, Store, Transaction, WATCH_PATIENCE, Watch, Write,
};
use footplate_testkit::eventually;

use crate::site::{SOON, Site, poll_rate, put, see};

const TTL: Duration = Duration::from_secs(10);

fn alive(value: &str) -> Keys {
    Keys::from([("a/alive".to_owned(), value.as_bytes().to_vec())])
}

fn start(patient: &Arc<Patient>, keys: Keys) -> Presence {
    Presence::start(Arc::clone(patient), "test", TTL, keys).unwrap()
}

async fn held(presence: &Presence) -> SessionId {
    let mut hold = presence.hold();
    let heard = hold.wait_for(|hold| matches!(hold, Hold::Held(_)));
    let heard = tokio::time::timeout(SOON * 2, heard).await.expect("held soon").unwrap().clone();
    let Hold::Held(session) = heard else { unreachable!("waited for it") };
    session
}

async fn comes_back(site: Site) {
    let mut watch =
        Watch::start(Arc::clone(&site.patient), Scope::Prefix("a/".to_owned()), Duration::from_secs(2));
    let presence = start(&site.patient, alive("1"));
    let first = held(&presence).await;
    let seen = see(&mut watch, "a/alive", Some("1")).await;
    assert_eq!(seen.entries["a/alive"].session, Some(first.clone()));

    presence.set("a/alive", b"2".to_vec()).unwrap();
    see(&mut watch, "a/alive", Some("2")).await;

    // The session is ended behind its back.
    let mut hold = presence.hold();
    site.direct.close_session(&first).await.unwrap();
    see(&mut watch, "a/alive", None).await;
    see(&mut watch, "a/alive", Some("2")).await;
    hold.wait_for(|hold| matches!(hold, Hold::Held(session) if *session != first)).await.unwrap();

    // Somebody deletes the key by hand.
    let delete = vec![Write::Delete("a/alive".to_owned())];
    site.direct.apply(&Transaction { guards: Vec::new(), writes: delete }).await.unwrap();
    see(&mut watch, "a/alive", Some("2")).await;

    // The server crashes and comes back.
    site.real.server().kill().unwrap();
    site.real.start_again().await;
    presence.set("a/alive", b"3".to_vec()).unwrap();
    see(&mut watch, "a/alive", Some("3")).await;

    presence.stop(Duration::from_secs(5)).await;
    see(&mut watch, "a/alive", None).await;
}

#[tokio::test]
async fn presence_on_consul_comes_back_after_every_loss() {
    comes_back(Site::consul().await).await;
}

#[tokio::test]
async fn presence_on_etcd_comes_back_after_every_loss() {
    comes_back(Site::etcd().await).await;
}

#[tokio::test]
async fn a_session_that_expires_during_an_outage_is_replaced() {
    let site = Site::etcd().await;
    let mut watch = Watch::start(
        Patient::new(Arc::clone(&site.direct), 1),
        Scope::Prefix("a/".to_owned()),
        WATCH_PATIENCE,
    );
    let presence = start(&site.patient, alive("1"));
    let first = held(&presence).await;
    see(&mut watch, "a/alive", Some("1")).await;
    site.proxy.refuse().await;
    see(&mut watch, "a/alive", None).await;
    assert!(
        !matches!(&*presence.hold().borrow(), Hold::Held(_)),
        "who could not renew for a whole life says so"
    );
    site.proxy.accept().await.unwrap();
    see(&mut watch, "a/alive", Some("1")).await;
    assert_ne!(held(&presence).await, first);
}

async fn only_one_holds(one: Arc<Patient>, other: Arc<Patient>) {
    let lease = |value: &str| Keys::from([("lanes/main/lease".to_owned(), value.as_bytes().to_vec())]);
    let first = start(&one, lease("one"));
    let session = held(&first).await;
    let second = start(&other, lease("other"));
    let mut rival = second.hold();
    rival.wait_for(|hold| *hold == Hold::Contested).await.unwrap();
    let fenced = |session: &SessionId| Transaction {
        guards: vec![Guard::HeldBy("lanes/main/lease".to_owned(), session.clone())],
        writes: vec![Write::Put("lanes/main/by".to_owned(), session.0.clone().into_bytes())],
    };
    assert_eq!(one.apply(&fenced(&session)).await.unwrap(), footplate_drivers::store::Applied::Yes);
    first.stop(Duration::from_secs(5)).await;
    let heir = held(&second).await;
    assert_eq!(one.apply(&fenced(&session)).await.unwrap(), footplate_drivers::store::Applied::No);
    assert_eq!(other.apply(&fenced(&heir)).await.unwrap(), footplate_drivers::store::Applied::Yes);
}

#[tokio::test]
async fn of_two_rivals_one_holds_and_the_other_inherits_at_once() {
    let memory: Arc<dyn Store> = Arc::new(Memory::default());
    only_one_holds(Patient::new(Arc::clone(&memory), 1), Patient::new(memory, 2)).await;
    let consul = Site::consul().await;
    only_one_holds(Patient::new(Arc::clone(&consul.direct), 1), Arc::clone(&consul.patient)).await;
    let etcd = Site::etcd().await;
    only_one_holds(Patient::new(Arc::clone(&etcd.direct), 1), Arc::clone(&etcd.patient)).await;
}

#[tokio::test]
async fn an_outage_is_waited_out_quietly_and_idling_costs_little() {
    let memory = Arc::new(Memory::default());
    let store: Arc<dyn Store> = Arc::clone(&memory) as _;
    let patient = Patient::new(Arc::clone(&store), 1);
    let presence = start(&patient, alive("1"));
    let mut watch = Watch::start(Arc::clone(&patient), Scope::Prefix("a/".to_owned()), WATCH_PATIENCE);
    held(&presence).await;
    watch.next().await;
    for weather in [Weather::Unreachable, Weather::Unavailable, Weather::Denied] {
        memory.set_weather(weather);
        let asked = poll_rate(Duration::from_secs(3), || memory.requests()).await;
        assert!((1..=24).contains(&asked), "{asked} calls in 3 s without a store");
        assert!(patient.trouble().is_some());
        memory.set_weather(Weather::Fair);
        put(&store, "a/k", &format!("{weather:?}")).await;
        see(&mut watch, "a/k", Some(&format!("{weather:?}"))).await;
        eventually("all is well again", SOON, async || patient.trouble().is_none()).await;
        held(&presence).await;
    }
    let asked = poll_rate(Duration::from_secs(6), || memory.requests()).await;
    assert!(asked <= 3, "{asked} calls in 6 idle seconds");
}
