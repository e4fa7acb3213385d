//! A site moves between stores whole, or not at all.

use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::{
    Applied, Config, Copied, CopyError, Scope, Store, Transaction, VALUE_BYTES_MAX, Write, copy, open,
};
use footplate_testkit::{Consul, ConsulSetup, Etcd};

use crate::site::{Embedded, put};

/// As a site might look: small records, some at the limit, unicode, empty values, presence bound to a session.
async fn fill(store: &Arc<dyn Store>) -> Copied {
    let mut copied = Copied { keys: 0, bytes: 0, left_out: 1 };
    let mut writes = Vec::new();
    for number in 0..400 {
        let value = format!("{{\"format\":1,\"text\":\"{number} — größer 🚀\"}}").into_bytes();
        writes.push((format!("hosts/web-{number}/production.shop.web"), value));
    }
    for number in 0..3 {
        writes.push((format!("apps/production/big-{number}/rollout"), vec![number; VALUE_BYTES_MAX]));
    }
    writes.push(("barriers/production.shop".to_owned(), Vec::new()));
    for (key, value) in writes {
        (copied.keys, copied.bytes) = (copied.keys + 1, copied.bytes + value.len());
        let writes = vec![Write::Put(key, value)];
        let applied = store.apply(&Transaction { guards: Vec::new(), writes }).await.unwrap();
        assert_eq!(applied, Applied::Yes);
    }
    let session = store.open_session("alive", Duration::from_secs(60)).await.unwrap();
    let alive = vec![Write::PutEphemeral("agents/web-1/alive".to_owned(), b"1".to_vec(), session)];
    store.apply(&Transaction { guards: Vec::new(), writes: alive }).await.unwrap();
    copied
}

fn at(address: &str) -> Arc<dyn Store> {
    open(&Config::new(address).unwrap()).unwrap()
}

async fn values(store: &Arc<dyn Store>) -> Vec<(String, Vec<u8>)> {
    let entries = store.read(&Scope::Prefix(String::new())).await.unwrap().entries;
    entries.into_iter().filter(|(_, e)| e.session.is_none()).map(|(key, e)| (key, e.value)).collect()
}

async fn there_and_back(other: Arc<dyn Store>) {
    let (here, back) = (Embedded::start(false).await, Embedded::start(false).await);
    let (from, home) = (at(&here.url()), at(&back.url()));
    let expected = fill(&from).await;
    assert_eq!(copy(&*from, &*other, "").await.unwrap(), expected);
    assert_eq!(copy(&*other, &*home, "").await.unwrap(), Copied { left_out: 0, ..expected });
    assert_eq!(values(&from).await, values(&home).await);

    let again = copy(&*from, &*other, "").await;
    assert!(matches!(again, Err(CopyError::NotEmpty { keys: 404, .. })), "{again:?}");
    put(&other, "hosts/web-7/production.shop.web", "changed").await;
    let part = copy(&*other, &*home, "nothing/here/").await.unwrap();
    assert_eq!(part, Copied::default());
}

#[tokio::test]
async fn a_site_moves_from_the_embedded_server_to_consul_and_back() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    there_and_back(at(&consul.url())).await;
}

#[tokio::test]
async fn a_site_moves_from_the_embedded_server_to_etcd_and_back() {
    let etcd = Etcd::start().await.unwrap();
    there_and_back(at(&format!("etcd+{}", etcd.url()))).await;
}
