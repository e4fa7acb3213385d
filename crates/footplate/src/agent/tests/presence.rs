//! A host's name on real stores: it comes back after every loss, and vanishes with a goodbye.

use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::{
    self, Config, Scope, SessionId, Store, Transaction, Troubles, WATCH_PATIENCE, Watch, Write,
};
use footplate_testkit::{Consul, ConsulSetup, Etcd, Proxy};

use super::site::{Site, order, release};
use crate::agent::Access;

/// The agent renews every 15 s, and a server may take twice the session's life to notice that it is gone.
const SOON: Duration = Duration::from_secs(90);
const ALIVE: &str = "agents/web-1/alive";

fn opened(scheme: &str, address: impl std::fmt::Display) -> Arc<dyn Store> {
    store::open(&Config::new(&format!("{scheme}://{address}")).expect("an address")).expect("a store")
}

/// Waits until the name is held, or is not, and not by `former`.
async fn until(watch: &mut Watch, held: bool, former: Option<&SessionId>) -> Option<SessionId> {
    let search = async {
        loop {
            let seen = watch.next().await;
            let holder =
                seen.entries.get(ALIVE).map(|entry| entry.session.clone().expect("bound to a session"));
            if holder.is_some() == held && (holder.is_none() || holder.as_ref() != former) {
                return holder;
            }
        }
    };
    tokio::time::timeout(SOON, search).await.unwrap_or_else(|_| panic!("held = {held} not seen in time"))
}

/// `expires` too: it takes longest, and Consul may take twice the session's life.
async fn comes_back(scheme: &str, proxy: &Proxy, direct: Arc<dyn Store>, expires: bool) {
    let site = Site::new();
    let troubles = Troubles::default();
    let scope = Scope::Key(ALIVE.to_owned());
    let mut watch = Watch::new(Arc::clone(&direct), scope, WATCH_PATIENCE, &troubles, "see the host");
    // It begins without a store.
    proxy.refuse().await;
    let agent = site.start_with("web-1", "web-1", Access::Open(opened(scheme, proxy.address())));
    proxy.accept().await.expect("its port is free");
    let first = until(&mut watch, true, None).await.expect("held");

    // The session is ended behind its back.
    direct.close_session(&first).await.expect("the store answers");
    until(&mut watch, false, None).await;
    let second = until(&mut watch, true, Some(&first)).await.expect("held");

    // Somebody deletes the key by hand, and the agent has something to report.
    let writes = |write| Transaction { guards: vec![], writes: vec![write] };
    direct.apply(&writes(Write::Delete(ALIVE.to_owned()))).await.expect("the store answers");
    until(&mut watch, false, None).await;
    let order = order(1, Some("1"), &[release("1", "", "")]);
    let value = serde_json::to_vec(&footplate_core::record::Written(&order)).expect("plain data");
    let key = "hosts/web-1/production.shop.files".to_owned();
    direct.apply(&writes(Write::Put(key, value))).await.expect("the store answers");
    let third = until(&mut watch, true, Some(&second)).await.expect("held");

    // It is cut off until its session is dead.
    if expires {
        proxy.refuse().await;
        until(&mut watch, false, None).await;
        proxy.accept().await.expect("its port is free");
        until(&mut watch, true, Some(&third)).await;
    }

    agent.end().await;
    until(&mut watch, false, None).await;
}

#[tokio::test]
async fn the_name_comes_back_after_every_loss_on_consul() {
    let setup = ConsulSetup { durable: true, access_control: false };
    let consul = Consul::start(setup).await.expect("a Consul");
    let proxy = Proxy::start(consul.address()).await.expect("a proxy");
    comes_back("http", &proxy, opened("http", consul.address()), false).await;
}

#[tokio::test]
async fn the_name_comes_back_after_every_loss_on_etcd() {
    let etcd = Etcd::start().await.expect("an etcd");
    let proxy = Proxy::start(etcd.address()).await.expect("a proxy");
    comes_back("etcd+http", &proxy, opened("etcd+http", etcd.address()), true).await;
}
