//! Services in the real Consul's catalog, as whoever asks it sees them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use footplate_drivers::discovery::{
    self, Catalog, Config, Instance, InstanceName, NAME_DEFAULT, Reason, Standing, consul, service_name,
};
use footplate_testkit::{Consul, ConsulSetup};
use reqwest::Method;
use serde_json::Value;

const SWITCHES: u64 = 100;

fn catalog(consul: &Consul) -> Arc<dyn Catalog> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let settings = consul::Settings {
        url: consul.url(),
        token: None,
        ca_file: None,
        name: NAME_DEFAULT.to_owned(),
        tags: Vec::new(),
        site: "footplate/".to_owned(),
    };
    let config = Config { consul: settings, ttl: Duration::from_secs(60), drain: Duration::ZERO };
    discovery::open(&config, &"web-1".parse().unwrap()).unwrap()
}

fn instance(target: &str, release: &str) -> InstanceName {
    InstanceName { target: target.parse().unwrap(), release: release.parse().unwrap() }
}

fn at(port: u16, standing: Standing) -> Instance {
    Instance { address: ([127, 0, 0, 1], port).into(), standing }
}

/// Returns the ports of those of a service that take requests.
async fn passing(consul: &Consul, service: &str) -> BTreeSet<u64> {
    let path = format!("/v1/health/service/{service}?passing");
    let told = consul.call(Method::GET, &path, Value::Null).await.unwrap();
    told.as_array().unwrap().iter().map(|one| one["Service"]["Port"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn process_groups_whose_names_run_together_are_services_of_their_own() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let catalog = catalog(&consul);
    catalog.announce().await.unwrap();
    let targets = ["a.b.c-d", "a.b-c.d", "a-b.c.d", "a.b.c_d", "a.b_c.d", "a.b.c"];
    for (target, port) in targets.into_iter().zip(1..) {
        catalog.enter(&instance(target, "1"), &at(port, Standing::Serving(1000))).await.unwrap();
    }
    for (target, port) in targets.into_iter().zip(1..) {
        let name = service_name(NAME_DEFAULT, &target.parse().unwrap());
        let own = async || passing(&consul, &name).await == [port].into();
        footplate_testkit::eventually(&format!("{name} is {target}"), Duration::from_secs(20), own).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_finds_the_new_one_before_the_old_one_is_gone() {
    let consul = Arc::new(Consul::start(ConsulSetup::default()).await.unwrap());
    let catalog = catalog(&consul);
    catalog.announce().await.unwrap();
    let name = |release: u64| instance("production.shop.web", &release.to_string());
    let serving = |release: u64| at(u16::try_from(release).unwrap(), Standing::Serving(1000));
    catalog.enter(&name(1), &serving(1)).await.unwrap();
    let first = async || !passing(&consul, "production-shop-web").await.is_empty();
    footplate_testkit::eventually("it stands there", Duration::from_secs(20), first).await;
    let (stop, looks, empty) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let look = async || {
        while !stop.load(Ordering::Relaxed) {
            let seen = passing(&consul, "production-shop-web").await;
            looks.fetch_add(1, Ordering::Relaxed);
            empty.fetch_add(u64::from(seen.is_empty()), Ordering::Relaxed);
        }
    };
    let switch = async {
        for old in 1..=SWITCHES {
            catalog.enter(&name(old + 1), &serving(old + 1)).await.unwrap();
            let out = Instance { standing: Standing::Out(Reason::Draining), ..serving(old) };
            catalog.enter(&name(old), &out).await.unwrap();
            catalog.remove(&catalog.id(&name(old))).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(switch, look(), look(), look());
    let (looks, empty) = (looks.into_inner(), empty.into_inner());
    assert_eq!(empty, 0, "of {looks} looks found nobody, in {SWITCHES} switches");
}
