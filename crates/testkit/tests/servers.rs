//! The kit's own promises: servers start, die with their owner, come back on the same data; the proxy does as told.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use footplate_testkit::{Access, Brood, Consul, ConsulSetup, Etcd, Proxy, eventually, process};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn client() -> Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap()
}

#[tokio::test]
async fn a_durable_consul_keeps_its_data_across_a_kill() {
    let consul = Consul::start(ConsulSetup { durable: true, access_control: false }).await.unwrap();
    consul.call(Method::PUT, "/v1/kv/a", json!("kept")).await.unwrap();
    consul.server().kill().unwrap();
    assert!(consul.call(Method::GET, "/v1/kv/a", Value::Null).await.is_err());
    consul.start_again().await.unwrap();
    let kept = consul.call(Method::GET, "/v1/kv/a?raw", Value::Null).await.unwrap();
    assert_eq!(kept, json!("kept"));
}

#[tokio::test]
async fn a_consul_with_access_control_obeys_its_policies() {
    let consul = Consul::start(ConsulSetup { durable: false, access_control: true }).await.unwrap();
    let token = consul.create_token("reader", "key_prefix \"a/\" { policy = \"read\" }").await.unwrap();
    let put = client().put(format!("{}/v1/kv/a/b", consul.url())).header("X-Consul-Token", token).body("1");
    assert_eq!(put.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_secured_etcd_wants_a_password_and_keeps_its_data_across_a_kill() {
    let etcd = Etcd::start_secured().await.unwrap();
    etcd.create_user("reader", "secret", &[(Access::Read, "a/")]).await.unwrap();
    assert!(etcd.call("kv/range", json!({ "key": "YQ==" })).await.is_err(), "no password, no answer");
    etcd.server().kill().unwrap();
    etcd.start_again().await.unwrap();
    etcd.call("auth/authenticate", json!({ "name": "reader", "password": "secret" })).await.unwrap();
}

#[tokio::test]
async fn the_proxy_counts_refuses_answers_and_clears() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let proxy = Proxy::start(consul.address()).await.unwrap();
    let client = client();
    let leader = format!("{}/v1/status/leader", proxy.url());
    for _ in 0..3 {
        assert!(client.get(&leader).send().await.unwrap().status().is_success());
    }
    assert_eq!((proxy.requests(), proxy.connections()), (3, 1));
    proxy.answer("500 Internal Server Error", &[], "No cluster leader");
    assert_eq!(client.get(&leader).send().await.unwrap().text().await.unwrap(), "No cluster leader");
    proxy.clear();
    proxy.refuse().await;
    assert!(client.get(&leader).send().await.is_err());
    proxy.accept().await.unwrap();
    assert!(client.get(&leader).send().await.unwrap().status().is_success());
    proxy.silence(true);
    let held = tokio::spawn(client.get(&leader).send());
    eventually("the request is on its way", SOON, || async { proxy.requests() == 6 }).await;
    assert!(!held.is_finished());
    proxy.silence(false);
    assert!(held.await.unwrap().unwrap().status().is_success());
    assert_eq!(proxy.take_request_lines()[0], "GET /v1/status/leader HTTP/1.1");
}

#[test]
fn whoever_carries_a_brood_is_gone_with_it_also_in_a_session_of_its_own_and_after_a_failure() {
    let (brood, other) = (Brood::default(), Brood::default());
    let start = |brood: &Brood| {
        let mut command = std::process::Command::new("sh");
        let (variable, mark) = brood.variable();
        command.args(["-c", "setsid sleep 600 & sleep 600; true"]).env(variable, mark).spawn().unwrap()
    };
    let mut children = [start(&brood), start(&other)];
    // A shell, and two that sleep.
    for brood in [&brood, &other] {
        process::eventually("all three live", || brood.living().len() == 3);
    }
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _brood = brood;
        panic!("as it should");
    }));
    assert!(failed.is_err() && !children[0].wait().unwrap().success());
    assert_eq!(other.living().len(), 3, "another test's are left alone");
    drop(other);
    children[1].wait().unwrap();
}
