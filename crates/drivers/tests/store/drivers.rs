//! The contract, held by each driver.

use std::sync::Arc;

use footplate_drivers::store::memory::Memory;
use footplate_drivers::store::policy::{Dialect, Role, policy};
use footplate_drivers::store::{Config, Credentials, Scope, Secret, Store, StoreError, open};
use footplate_testkit::{Certificates, Consul, ConsulSetup, Etcd};

use crate::contract::{Clients, hold};
use crate::site::Embedded;

/// Opens two clients of the same store.
fn two(config: &Config) -> Clients {
    Clients { one: open(config).unwrap(), other: open(config).unwrap() }
}

#[tokio::test]
async fn memory_holds_the_contract() {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    hold(Clients { one: Arc::clone(&store), other: store }).await;
}

#[tokio::test]
async fn the_embedded_server_holds_the_contract() {
    let embedded = Embedded::start(false).await;
    hold(two(&Config::new(&embedded.url()).unwrap())).await;
}

#[tokio::test]
async fn the_embedded_server_with_a_token_over_tls_holds_the_contract() {
    let embedded = Embedded::start_secured().await;
    let mut config = Config::new(&embedded.url()).unwrap();
    config.credentials = Credentials::Token(Secret::new(embedded.root_token.clone().unwrap()));
    config.ca_file = embedded.ca_file.clone();
    hold(two(&config)).await;
    config.ca_file = None;
    let untrusted = open(&config).unwrap().read(&Scope::Key("a".to_owned())).await;
    assert!(matches!(untrusted, Err(StoreError::Unreachable { .. })), "an unknown authority: {untrusted:?}");
}

#[tokio::test]
async fn consul_holds_the_contract() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    hold(two(&Config::new(&consul.url()).unwrap())).await;
}

#[tokio::test]
async fn consul_with_a_token_holds_the_contract() {
    let consul = Consul::start(ConsulSetup { durable: false, access_control: true }).await.unwrap();
    let rules = policy("team/one/", Dialect::Consul, &Role::Controller);
    let token = consul.create_token("contract", &rules).await.unwrap();
    let mut config = Config::new(&consul.url()).unwrap();
    config.root = "team/one/".to_owned();
    config.credentials = Credentials::Token(Secret::new(token));
    config.datacenter = Some("dc1".to_owned());
    hold(two(&config)).await;
}

#[tokio::test]
async fn consul_with_a_token_over_tls_holds_the_contract() {
    let consul = Consul::start_secured().await.unwrap();
    let rules = policy("footplate/", Dialect::Consul, &Role::Controller);
    let token = consul.create_token("contract", &rules).await.unwrap();
    let mut config = Config::new(&consul.url()).unwrap();
    config.credentials = Credentials::Token(Secret::new(token));
    config.ca_file = consul.ca_file().map(std::path::Path::to_owned);
    hold(two(&config)).await;
}

/// The system's authorities do not know ours, another one of ours is not it, and a file may hold none or be absent.
#[tokio::test]
async fn an_authority_that_is_not_the_servers_gets_a_clear_error() {
    let consul = Consul::start_secured().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = Certificates::write(folder.path()).unwrap().ca_file;
    let mut config = Config::new(&consul.url()).unwrap();
    for ca_file in [None, Some(other)] {
        config.ca_file = ca_file;
        let error = open(&config).unwrap().read(&Scope::Key("a".to_owned())).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        let said = footplate_drivers::chain(&error);
        assert!(
            said.contains("cannot reach the store at 127.0.0.1:") && said.contains("certificate"),
            "{said}"
        );
    }
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (file, because) in
        [(empty, "it holds no certificate"), (folder.path().join("absent.pem"), "No such file")]
    {
        config.ca_file = Some(file.clone());
        let said = footplate_drivers::chain(&open(&config).err().expect("it is refused"));
        assert!(said.contains(&file.display().to_string()) && said.contains(because), "{said}");
    }
}

#[tokio::test]
async fn etcd_holds_the_contract() {
    let etcd = Etcd::start().await.unwrap();
    hold(two(&Config::new(&format!("etcd+{}", etcd.url())).unwrap())).await;
}

#[tokio::test]
async fn etcd_with_a_user_over_tls_holds_the_contract() {
    let etcd = Etcd::start_secured().await.unwrap();
    etcd.create_user("contract", "secret", &[(footplate_testkit::Access::ReadWrite, "team/one/")])
        .await
        .unwrap();
    let mut config = Config::new(&format!("etcd+{}", etcd.url())).unwrap();
    config.root = "team/one/".to_owned();
    config.ca_file = etcd.ca_file().map(std::path::Path::to_owned);
    config.credentials =
        Credentials::Password { user: "contract".to_owned(), password: Secret::new("secret") };
    hold(two(&config)).await;
}
