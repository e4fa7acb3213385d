//! A watch survives whatever the network and the servers do, says so once, and never spins.

use std::cell::RefCell;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use footplate_drivers::store::memory::{Memory, Weather};
use footplate_drivers::store::{
    Config, Credentials, Scope, Secret, Store, StoreError, Transaction, Troubles, WATCH_PATIENCE, Write, open,
};
use footplate_testkit::{Consul, ConsulSetup, Etcd, eventually};
use reqwest::Method;
use serde_json::json;

use crate::site::{Follower, Real, SOON, Site, poll_rate, put, see};

thread_local! {
    /// What the test on this thread said; each test has a thread of its own.
    static SAID: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the thread that speaks.
struct Lines;

impl Lines {
    /// Collects from here on what every thread says, each for itself.
    ///
    /// One subscriber serves the whole process: with one for each test, a place that speaks first on a thread without
    /// any stays mute for all of them.
    fn collect() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::INFO)
                .with_ansi(false)
                .with_writer(|| Self)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            tracing::callsite::rebuild_interest_cache();
        });
    }

    fn holding(words: &str) -> usize {
        SAID.with_borrow(|said| {
            String::from_utf8_lossy(said).lines().filter(|line| line.contains(words)).count()
        })
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        SAID.with_borrow_mut(|said| said.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn trouble(site: &Site, words: &str) {
    eventually(words, SOON, async || site.troubles.first().is_some_and(|said| said.contains(words))).await;
}

async fn no_trouble(site: &Site) {
    eventually("all is well again", SOON, async || site.troubles.first().is_none()).await;
}

async fn survives_refused_connections(site: Site) {
    Lines::collect();
    site.proxy.refuse().await;
    site.put("a/k", "1").await;
    let mut watches: Vec<Follower> = (0..5).map(|_| site.watch(WATCH_PATIENCE)).collect();
    trouble(&site, "refused").await;
    site.proxy.accept().await.unwrap();
    for watch in &mut watches {
        see(watch, "a/k", Some("1")).await;
    }
    no_trouble(&site).await;
    site.proxy.refuse().await;
    trouble(&site, "cannot reach").await;
    site.put("a/k", "2").await;
    site.proxy.accept().await.unwrap();
    for watch in &mut watches {
        see(watch, "a/k", Some("2")).await;
    }
    no_trouble(&site).await;
    assert_eq!(Lines::holding("we keep trying"), 2, "once for each outage, not for each watch or try");
    assert_eq!(Lines::holding("the store answers again"), 2);
}

#[tokio::test]
async fn a_watch_on_consul_survives_refused_connections_at_the_start_and_later() {
    survives_refused_connections(Site::consul().await).await;
}

#[tokio::test]
async fn a_watch_on_etcd_survives_refused_connections_at_the_start_and_later() {
    survives_refused_connections(Site::etcd().await).await;
}

async fn survives_cut_connections(site: Site) {
    let mut watch = site.watch(WATCH_PATIENCE);
    for round in 0..5 {
        site.put("a/k", &format!("{round}")).await;
        see(&mut watch, "a/k", Some(&format!("{round}"))).await;
        site.proxy.cut().await;
    }
}

#[tokio::test]
async fn a_watch_survives_cut_connections() {
    tokio::join!(async { survives_cut_connections(Site::consul().await).await }, async {
        survives_cut_connections(Site::etcd().await).await
    },);
}

/// No leader, a redirect, a body that is too large for some proxy on the way, one that is no Consul at all, an overload.
#[tokio::test]
async fn a_watch_survives_every_wrong_answer_and_does_not_spin() {
    let site = Site::consul().await;
    let mut watch = site.watch(Duration::from_millis(200));
    site.put("a/k", "0").await;
    see(&mut watch, "a/k", Some("0")).await;
    let answers: [(&str, &[&str], &str, &str); 6] = [
        ("500 Internal Server Error", &[], "No cluster leader", "No cluster leader"),
        ("301 Moved Permanently", &["Location: /v1/kv/elsewhere"], "", "elsewhere, and we do not follow"),
        ("413 Request Entity Too Large", &[], "too large", "too large"),
        ("429 Too Many Requests", &[], "slow down", "slow down"),
        ("200 OK", &["X-Consul-Index: 7"], "<html>a login page</html>", "login page"),
        ("200 OK", &[], "[]", "is this a Consul?"),
    ];
    for (round, (status, headers, body, words)) in answers.into_iter().enumerate() {
        site.proxy.answer(status, headers, body);
        trouble(&site, words).await;
        let asked = poll_rate(Duration::from_millis(1_500), || site.proxy.requests()).await;
        assert!(asked <= 9, "{asked} requests in 1.5 s of {status}");
        let value = format!("after {round}");
        site.put("a/k", &value).await;
        site.proxy.clear();
        see(&mut watch, "a/k", Some(&value)).await;
        no_trouble(&site).await;
    }
}

#[tokio::test]
async fn a_server_that_answers_at_once_without_news_does_not_make_a_watch_spin() {
    let site = Site::consul().await;
    site.proxy.answer("200 OK", &["X-Consul-Index: 7"], "[]");
    let mut watch = site.watch(WATCH_PATIENCE);
    watch.next().await;
    let asked = poll_rate(Duration::from_secs(2), || site.proxy.requests()).await;
    assert!(asked <= 8, "{asked} requests in 2 s");
}

#[tokio::test]
async fn writes_elsewhere_cost_a_waiter_for_an_absent_key_little() {
    let site = Site::consul().await;
    let (scope, store) = (Scope::Prefix("a/".to_owned()), &site.store);
    let seen = store.read(&scope).await.unwrap().revision;
    let (before, started) = (site.proxy.requests(), Instant::now());
    let writes = async {
        for number in 0..300 {
            site.put(&format!("b/{number}"), "1").await;
        }
        site.put("a/k", "1").await;
    };
    let (heard, ()) = tokio::join!(store.wait(&scope, seen, SOON), writes);
    let heard = heard.unwrap().expect("the key appears");
    assert_eq!(heard.entries["a/k"].value, b"1");
    let asked = site.proxy.requests() - before;
    // Five while the pause grows; from then on it is a quarter of a second at least.
    let allowed = 6 + 4 * (started.elapsed().as_secs() + 1);
    assert!(asked <= allowed, "{asked} requests during 300 writes elsewhere, of {allowed}");
    // A delete is news, also when it leaves nothing.
    let delete = vec![Write::Delete("a/k".to_owned())];
    site.direct.apply(&Transaction { guards: Vec::new(), writes: delete }).await.unwrap();
    let gone = store.wait(&scope, heard.revision, SOON).await.unwrap().expect("a delete is news");
    assert!(gone.entries.is_empty());
}

async fn survives_a_restored_server(site: Site, restored: Site) {
    for number in 0..50 {
        site.put("a/k", &number.to_string()).await;
    }
    restored.put("a/k", "restored").await;
    let mut watch = site.watch(WATCH_PATIENCE);
    see(&mut watch, "a/k", Some("49")).await;
    let before = watch.latest().unwrap().revision;
    site.proxy.retarget(restored.real.address());
    site.proxy.cut().await;
    let seen = see(&mut watch, "a/k", Some("restored")).await;
    assert!(seen.revision < before, "the index fell");
    restored.put("a/k", "later").await;
    see(&mut watch, "a/k", Some("later")).await;
}

#[tokio::test]
async fn a_watch_survives_an_index_that_goes_back() {
    tokio::join!(
        async { survives_a_restored_server(Site::consul().await, Site::consul().await).await },
        async { survives_a_restored_server(Site::etcd().await, Site::etcd().await).await },
    );
}

#[tokio::test]
async fn a_watch_survives_the_compaction_of_what_it_waited_for() {
    let site = Site::etcd().await;
    let mut watch = site.watch(WATCH_PATIENCE);
    site.put("a/k", "1").await;
    let seen = see(&mut watch, "a/k", Some("1")).await;
    site.proxy.refuse().await;
    for number in 0..20 {
        site.put("b/k", &number.to_string()).await;
    }
    site.put("a/k", "2").await;
    let Real::Etcd(etcd) = &site.real else { unreachable!("this site is etcd") };
    etcd.compact(seen.revision.0 + 15).await.unwrap();
    site.proxy.accept().await.unwrap();
    see(&mut watch, "a/k", Some("2")).await;
    for scope in [Scope::Prefix("a/".to_owned()), Scope::Key("a/k".to_owned())] {
        let waited = site.direct.wait(&scope, seen.revision, SOON).await.unwrap();
        let read = waited.expect("a wait from before the compaction reads again");
        assert_eq!(read.entries["a/k"].value, b"2");
    }
}

async fn survives_slow_answers(site: Site) {
    site.put("a/k", "1").await;
    site.proxy.delay(Duration::from_millis(400));
    let mut watch = site.watch(WATCH_PATIENCE);
    see(&mut watch, "a/k", Some("1")).await;
    site.put("a/k", "2").await;
    see(&mut watch, "a/k", Some("2")).await;
    site.proxy.clear();
    // A connection that dies without a word: nothing is lost but time.
    let mut watch = site.watch(Duration::from_secs(2));
    see(&mut watch, "a/k", Some("2")).await;
    site.proxy.silence(true);
    site.put("a/k", "3").await;
    let read = site.store.read(&Scope::Key("a/k".to_owned())).await;
    assert!(matches!(read, Err(StoreError::Unreachable { .. })), "a read has a deadline: {read:?}");
    site.proxy.clear();
    see(&mut watch, "a/k", Some("3")).await;
}

#[tokio::test]
async fn a_watch_survives_slow_and_silent_connections() {
    tokio::join!(async { survives_slow_answers(Site::consul().await).await }, async {
        survives_slow_answers(Site::etcd().await).await
    },);
}

async fn survives_a_crash_and_a_pause(site: Site) {
    let mut watch = site.watch(Duration::from_secs(2));
    site.put("a/k", "1").await;
    see(&mut watch, "a/k", Some("1")).await;
    site.real.server().kill().unwrap();
    trouble(&site, "cannot reach").await;
    site.real.start_again().await;
    no_trouble(&site).await;
    assert_eq!(watch.latest().unwrap().entries["a/k"].value, b"1", "kept on disk");
    site.put("a/k", "2").await;
    see(&mut watch, "a/k", Some("2")).await;
    site.real.server().pause().unwrap();
    let read = site.store.read(&Scope::Key("a/k".to_owned())).await;
    assert!(
        matches!(read, Err(StoreError::Unreachable { .. })),
        "a paused server does not hold us: {read:?}"
    );
    site.real.server().resume().unwrap();
    site.put("a/k", "3").await;
    see(&mut watch, "a/k", Some("3")).await;
}

#[tokio::test]
async fn a_watch_on_consul_survives_kill_nine_and_a_pause_of_the_server() {
    survives_a_crash_and_a_pause(Site::consul().await).await;
}

#[tokio::test]
async fn a_watch_on_etcd_survives_kill_nine_and_a_pause_of_the_server() {
    survives_a_crash_and_a_pause(Site::etcd().await).await;
}

#[tokio::test]
async fn who_is_denied_waits_until_somebody_grants_it() {
    const TOKEN: &str = "5ca1ab1e-0000-4000-8000-000000000002";
    let consul = Consul::start(ConsulSetup { durable: false, access_control: true }).await.unwrap();
    let mut config = Config::new(&consul.url()).unwrap();
    config.credentials = Credentials::Token(Secret::new(TOKEN));
    let store = open(&config).unwrap();
    let troubles = Troubles::default();
    let mut watch = Follower::start(&store, &troubles, WATCH_PATIENCE);
    eventually("we are denied", SOON, async || {
        troubles.first().is_some_and(|said| said.contains("refuses our credentials"))
    })
    .await;
    let rules = r#"key_prefix "footplate/" { policy = "write" }"#;
    consul.call(Method::PUT, "/v1/acl/policy", json!({ "Name": "late", "Rules": rules })).await.unwrap();
    let token = json!({ "SecretID": TOKEN, "Policies": [{ "Name": "late" }] });
    consul.call(Method::PUT, "/v1/acl/token", token).await.unwrap();
    watch.next().await;
    put(&store, "a/k", "1").await;
    see(&mut watch, "a/k", Some("1")).await;
}

#[tokio::test]
async fn a_login_to_etcd_that_ends_is_made_again() {
    let etcd = Etcd::start_secured().await.unwrap();
    let (user, password) = etcd.root_user().unwrap();
    let mut config = Config::new(&format!("etcd+{}", etcd.url())).unwrap();
    config.ca_file = etcd.ca_file().map(std::path::Path::to_owned);
    config.credentials = Credentials::Password { user: user.to_owned(), password: Secret::new(password) };
    let store = open(&config).unwrap();
    let mut watch = Follower::start(&store, &Troubles::default(), Duration::from_secs(2));
    put(&store, "a/k", "1").await;
    see(&mut watch, "a/k", Some("1")).await;
    // A restarted etcd knows none of the tokens it gave out; this client hears of it by nothing but the refusal.
    let alone = open(&config).unwrap();
    put(&alone, "a/other", "1").await;
    etcd.server().kill().unwrap();
    etcd.start_again().await.unwrap();
    put(&alone, "a/other", "2").await;
    put(&store, "a/k", "2").await;
    see(&mut watch, "a/k", Some("2")).await;
    config.credentials = Credentials::Password { user: user.to_owned(), password: Secret::new("wrong") };
    let denied = open(&config).unwrap().read(&Scope::Key("a/k".to_owned())).await;
    assert!(matches!(denied, Err(StoreError::Denied { .. })), "{denied:?}");
    config.ca_file = None;
    let untrusted = open(&config).unwrap().read(&Scope::Key("a/k".to_owned())).await;
    assert!(matches!(untrusted, Err(StoreError::Unreachable { .. })), "an unknown authority: {untrusted:?}");
}

#[tokio::test]
async fn an_outage_is_waited_out_quietly_and_waiting_costs_little() {
    let memory = Arc::new(Memory::default());
    let (store, troubles): (Arc<dyn Store>, _) = (Arc::clone(&memory) as _, Troubles::default());
    let mut watch = Follower::start(&store, &troubles, WATCH_PATIENCE);
    watch.next().await;
    for weather in [Weather::Unreachable, Weather::Unavailable, Weather::Denied] {
        memory.set_weather(weather);
        let asked = poll_rate(Duration::from_secs(3), || memory.requests()).await;
        assert!((1..=12).contains(&asked), "{asked} calls in 3 s without a store");
        assert!(troubles.first().is_some());
        memory.set_weather(Weather::Fair);
        put(&store, "a/k", &format!("{weather:?}")).await;
        see(&mut watch, "a/k", Some(&format!("{weather:?}"))).await;
        eventually("all is well again", SOON, async || troubles.first().is_none()).await;
    }
    let asked = poll_rate(Duration::from_secs(2), || memory.requests()).await;
    assert_eq!(asked, 0, "calls in 2 idle seconds");
}
