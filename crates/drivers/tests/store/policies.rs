//! What `policy` prints is enough for its role and no more, on the real servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::policy::{Access, Dialect, Role, grants, policy};
use footplate_drivers::store::{
    Applied, Config, Credentials, Revision, Scope, Secret, Store, StoreError, Transaction, Write, open,
};
use footplate_testkit::{Consul, ConsulSetup, Etcd};

use crate::site::Embedded;

const ROOT: &str = "team/one/";

fn agent() -> Role {
    Role::Agent("web-1".parse().unwrap())
}

fn with(address: &str, credentials: Credentials, ca_file: Option<&Path>) -> Arc<dyn Store> {
    let mut config = Config::new(address).unwrap();
    config.root = ROOT.to_owned();
    config.credentials = credentials;
    config.ca_file = ca_file.map(Path::to_owned);
    open(&config).unwrap()
}

fn token(text: impl Into<String>) -> Credentials {
    Credentials::Token(Secret::new(text))
}

async fn write(store: &Arc<dyn Store>, write: Write) -> Result<Applied, StoreError> {
    store.apply(&Transaction { guards: Vec::new(), writes: vec![write] }).await
}

fn put(key: &str) -> Write {
    Write::Put(key.to_owned(), b"1".to_vec())
}

/// Plays an agent's life, then its mischief.
async fn an_agent_can_do_its_work_and_nothing_else(controller: Arc<dyn Store>, agent: Arc<dyn Store>) {
    for key in ["hosts/web-1/a", "hosts/web-2/a", "barriers/production.shop", "agents/web-2/alive"] {
        assert_eq!(write(&controller, put(key)).await.unwrap(), Applied::Yes);
    }
    let orders = Scope::Prefix("hosts/web-1/".to_owned());
    let seen = agent.wait(&orders, Revision(0), Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!(seen.entries.keys().collect::<Vec<_>>(), ["hosts/web-1/a"]);
    assert_eq!(agent.wait(&orders, seen.revision, Duration::from_millis(200)).await.unwrap(), None);
    let barrier = Scope::Key("barriers/production.shop".to_owned());
    assert_eq!(agent.read(&barrier).await.unwrap().entries.len(), 1);
    let session = agent.open_session("web-1", Duration::from_secs(30)).await.unwrap();
    let alive = Write::PutEphemeral("agents/web-1/alive".to_owned(), b"1".to_vec(), session.clone());
    assert_eq!(write(&agent, alive.clone()).await.unwrap(), Applied::Yes);
    assert_eq!(write(&agent, alive).await.unwrap(), Applied::Yes);
    assert_eq!(write(&agent, put("agents/web-1/production.shop.web")).await.unwrap(), Applied::Yes);
    assert_eq!(write(&agent, Write::Delete("agents/web-1/old".to_owned())).await.unwrap(), Applied::Yes);
    agent.renew_session(&session).await.unwrap();

    let mischief = [
        put("hosts/web-1/a"),
        put("hosts/web-2/a"),
        put("barriers/production.shop"),
        put("agents/web-2/alive"),
        put("agents/web-10/alive"),
        put("lanes/main/lease"),
        Write::PutEphemeral("lanes/main/lease".to_owned(), b"1".to_vec(), session.clone()),
        Write::Delete("agents/web-2/alive".to_owned()),
        Write::DeletePrefix("agents/".to_owned()),
        Write::DeletePrefix("hosts/web-1/".to_owned()),
    ];
    for attempt in mischief {
        let outcome = write(&agent, attempt.clone()).await;
        assert!(matches!(outcome, Err(StoreError::Denied { .. })), "{attempt:?}: {outcome:?}");
    }
    let others = agent.read(&Scope::Prefix("hosts/web-2/".to_owned())).await;
    // Consul leaves out what we may not see; the others refuse.
    assert!(
        matches!(&others, Err(StoreError::Denied { .. }))
            || others.as_ref().is_ok_and(|s| s.entries.is_empty())
    );
    let before = controller.read(&Scope::Prefix(String::new())).await.unwrap();
    assert_eq!(before.entries.len(), 6, "{:?}", before.entries.keys());
    agent.close_session(&session).await.unwrap();
    let after = controller.read(&Scope::Prefix("agents/".to_owned())).await.unwrap();
    assert_eq!(
        after.entries.keys().collect::<Vec<_>>(),
        ["agents/web-1/production.shop.web", "agents/web-2/alive"]
    );
}

/// Orders hold a token of the controller's; whoever only looks has no use for it.
async fn a_reader_sees_all_but_orders_and_writes_nothing(controller: Arc<dyn Store>, reader: Arc<dyn Store>) {
    for key in ["hosts/web-1/a", "fleet/web-1", "releases/shop.1"] {
        assert_eq!(write(&controller, put(key)).await.unwrap(), Applied::Yes);
    }
    for prefix in ["agents/", "apps/", "barriers/", "fleet/", "lanes/", "releases/", "routes/", "traffic/"] {
        let seen = reader.read(&Scope::Prefix(prefix.to_owned())).await.unwrap();
        let all = controller.read(&Scope::Prefix(prefix.to_owned())).await.unwrap();
        assert_eq!(seen.entries, all.entries, "{prefix}");
    }
    for scope in [Scope::Prefix("hosts/".to_owned()), Scope::Key("hosts/web-1/a".to_owned())] {
        let orders = reader.read(&scope).await;
        assert!(
            matches!(&orders, Err(StoreError::Denied { .. }))
                || orders.as_ref().is_ok_and(|seen| seen.entries.is_empty()),
            "{orders:?}"
        );
    }
    let outcome = write(&reader, put("fleet/web-1")).await;
    assert!(matches!(outcome, Err(StoreError::Denied { .. })), "{outcome:?}");
}

#[tokio::test]
async fn consul_grants_an_agent_what_it_needs_and_no_more() {
    let consul = Consul::start(ConsulSetup { durable: false, access_control: true }).await.unwrap();
    let mut stores = Vec::new();
    for (name, role) in [("controller", Role::Controller), ("agent", agent()), ("reader", Role::Reader)] {
        let secret = consul.create_token(name, &policy(ROOT, Dialect::Consul, &role)).await.unwrap();
        stores.push(with(&consul.url(), token(secret), None));
    }
    an_agent_can_do_its_work_and_nothing_else(Arc::clone(&stores[0]), Arc::clone(&stores[1])).await;
    a_reader_sees_all_but_orders_and_writes_nothing(Arc::clone(&stores[0]), Arc::clone(&stores[2])).await;
}

#[tokio::test]
async fn etcd_grants_an_agent_what_it_needs_and_no_more() {
    let etcd = Etcd::start_secured().await.unwrap();
    let address = format!("etcd+{}", etcd.url());
    let mut stores = Vec::new();
    for (name, role) in [("controller", Role::Controller), ("agent", agent()), ("reader", Role::Reader)] {
        let granted = grants(ROOT, &role);
        let access = |access| match access {
            Access::Read => footplate_testkit::Access::Read,
            Access::Write => footplate_testkit::Access::ReadWrite,
        };
        let granted: Vec<_> =
            granted.iter().map(|grant| (access(grant.access), grant.prefix.as_str())).collect();
        etcd.create_user(name, "secret", &granted).await.unwrap();
        let login = Credentials::Password { user: name.to_owned(), password: Secret::new("secret") };
        stores.push(with(&address, login, etcd.ca_file()));
    }
    an_agent_can_do_its_work_and_nothing_else(Arc::clone(&stores[0]), Arc::clone(&stores[1])).await;
    a_reader_sees_all_but_orders_and_writes_nothing(Arc::clone(&stores[0]), Arc::clone(&stores[2])).await;
}

#[tokio::test]
async fn the_embedded_server_grants_an_agent_what_it_needs_and_no_more() {
    let embedded = Embedded::start(true).await;
    let mut stores = Vec::new();
    for (name, role) in [("controller", Role::Controller), ("agent", agent()), ("reader", Role::Reader)] {
        let secret = embedded.create_token(name, &policy(ROOT, Dialect::Embedded, &role)).await;
        stores.push(with(&embedded.url(), token(secret), None));
    }
    an_agent_can_do_its_work_and_nothing_else(Arc::clone(&stores[0]), Arc::clone(&stores[1])).await;
    a_reader_sees_all_but_orders_and_writes_nothing(Arc::clone(&stores[0]), Arc::clone(&stores[2])).await;
    let nobody = with(&embedded.url(), Credentials::None, None).read(&Scope::Key("a".to_owned())).await;
    assert!(matches!(nobody, Err(StoreError::Denied { .. })), "{nobody:?}");
}
