//! A real server behind a proxy, with a client on either side of it.

use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::{
    Applied, Config, Patient, Scope, Snapshot, Store, Transaction, Watch, Write, open,
};
use footplate_testkit::{Consul, ConsulSetup, Etcd, Proxy, Server};

/// Long enough that only a lost wake-up reaches it.
pub const SOON: Duration = Duration::from_secs(40);

/// The server itself.
pub enum Real {
    Consul(Consul),
    Etcd(Etcd),
}

impl Real {
    pub fn server(&self) -> &Server {
        match self {
            Real::Consul(consul) => consul.server(),
            Real::Etcd(etcd) => etcd.server(),
        }
    }

    pub async fn start_again(&self) {
        match self {
            Real::Consul(consul) => consul.start_again().await.unwrap(),
            Real::Etcd(etcd) => etcd.start_again().await.unwrap(),
        }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        match self {
            Real::Consul(consul) => consul.address(),
            Real::Etcd(etcd) => etcd.address(),
        }
    }

    fn scheme(&self) -> &'static str {
        match self {
            Real::Consul(_) => "http",
            Real::Etcd(_) => "etcd+http",
        }
    }
}

/// A server, the proxy before it, and its clients.
pub struct Site {
    pub real: Real,
    pub proxy: Proxy,
    /// Speaks to the server past the proxy.
    pub direct: Arc<dyn Store>,
    /// Speaks through the proxy.
    pub patient: Arc<Patient>,
}

impl Site {
    pub async fn consul() -> Site {
        Site::of(Real::Consul(
            Consul::start(ConsulSetup { durable: true, access_control: false }).await.unwrap(),
        ))
        .await
    }

    pub async fn etcd() -> Site {
        Site::of(Real::Etcd(Etcd::start().await.unwrap())).await
    }

    pub async fn of(real: Real) -> Site {
        let proxy = Proxy::start(real.address()).await.unwrap();
        let store = |address: String| open(&Config::new(&address).unwrap()).unwrap();
        let direct = store(format!("{}://{}", real.scheme(), real.address()));
        let patient = Patient::new(store(format!("{}://{}", real.scheme(), proxy.address())), 7);
        Site { real, proxy, direct, patient }
    }

    /// Follows `a/` through the proxy.
    pub fn watch(&self, patience: Duration) -> Watch {
        Watch::start(Arc::clone(&self.patient), Scope::Prefix("a/".to_owned()), patience)
    }

    /// Writes past the proxy.
    pub async fn put(&self, key: &str, value: &str) {
        put(&self.direct, key, value).await;
    }
}

pub async fn put(store: &Arc<dyn Store>, key: &str, value: &str) {
    let writes = vec![Write::Put(key.to_owned(), value.as_bytes().to_vec())];
    let applied = store.apply(&Transaction { guards: Vec::new(), writes }).await.unwrap();
    assert_eq!(applied, Applied::Yes);
}

/// Waits until the watch shows this value at this key, or no such key.
pub async fn see(watch: &mut Watch, key: &str, value: Option<&str>) -> Arc<Snapshot> {
    let shows = |snapshot: &Snapshot| {
        snapshot.entries.get(key).map(|e| e.value.as_slice()) == value.map(str::as_bytes)
    };
    let heard = async {
        loop {
            let snapshot = watch.next().await;
            if shows(&snapshot) {
                return snapshot;
            }
        }
    };
    match tokio::time::timeout(SOON, heard).await {
        Ok(snapshot) => snapshot,
        Err(_) => panic!("not seen within {SOON:?}: {key} = {value:?}"),
    }
}
