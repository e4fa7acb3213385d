//! A real server behind a proxy, with a client on either side of it.

use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::{
    Applied, Config, Scope, Snapshot, Store, Transaction, Troubles, Watch, Write, open,
};
use footplate_testkit::{Certificates, Consul, ConsulSetup, Etcd, Proxy, Server};
use tokio::sync::watch;
use tokio::task::AbortHandle;

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
    pub store: Arc<dyn Store>,
    /// What those who follow it bear.
    pub troubles: Troubles,
}

/// Follows `a/` in a task of its own, as the roles do.
pub struct Follower {
    latest: watch::Receiver<Option<Arc<Snapshot>>>,
    task: AbortHandle,
}

impl Follower {
    pub fn start(store: &Arc<dyn Store>, troubles: &Troubles, patience: Duration) -> Follower {
        let scope = Scope::Prefix("a/".to_owned());
        let mut watch = Watch::new(Arc::clone(store), scope, patience, troubles, "follow a/");
        let (tell, latest) = watch::channel(None);
        let follow = async move { while tell.send(Some(watch.next().await)).is_ok() {} };
        Follower { latest, task: tokio::spawn(follow).abort_handle() }
    }

    pub async fn next(&mut self) -> Arc<Snapshot> {
        self.latest.changed().await.unwrap();
        self.latest().unwrap()
    }

    pub fn latest(&mut self) -> Option<Arc<Snapshot>> {
        self.latest.borrow_and_update().clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
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
        let store = store(format!("{}://{}", real.scheme(), proxy.address()));
        Site { real, proxy, direct, store, troubles: Troubles::default() }
    }

    /// Follows `a/` through the proxy.
    pub fn watch(&self, patience: Duration) -> Follower {
        Follower::start(&self.store, &self.troubles, patience)
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

/// Counts what `counter` counts during a time: a rate has no condition to wait for, only a length to measure over.
pub async fn poll_rate(length: Duration, counter: impl Fn() -> u64) -> u64 {
    let before = counter();
    tokio::time::sleep(length).await;
    counter() - before
}

/// Waits until the watch shows this value at this key, or no such key.
pub async fn see(watch: &mut Follower, key: &str, value: Option<&str>) -> Arc<Snapshot> {
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

/// The embedded server in this process, on a free port; stopped on drop.
pub struct Embedded {
    pub address: std::net::SocketAddr,
    pub root_token: Option<String>,
    /// The authority to trust, when it speaks TLS.
    pub ca_file: Option<std::path::PathBuf>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    _folder: tempfile::TempDir,
}

impl Embedded {
    pub async fn start(tokens: bool) -> Embedded {
        Embedded::start_with(tokens, None, tempfile::tempdir().unwrap()).await
    }

    /// Starts one that speaks TLS only and wants tokens, as every address but loopback demands.
    pub async fn start_secured() -> Embedded {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::write(folder.path()).unwrap();
        Embedded::start_with(true, Some(certificates), folder).await
    }

    async fn start_with(
        tokens: bool,
        certificates: Option<Certificates>,
        folder: tempfile::TempDir,
    ) -> Embedded {
        let mut config = footplate_kv::Config::loopback(folder.path().join("data"));
        config.listen = ([127, 0, 0, 1], footplate_testkit::free_port()).into();
        config.tokens = tokens;
        config.tls = certificates.as_ref().map(|files| footplate_kv::Tls {
            certificate: files.certificate_file.clone(),
            key: files.key_file.clone(),
        });
        let ca_file = certificates.map(|files| files.ca_file);
        let token_file = config.data_dir.join("root.token");
        let server = footplate_kv::Server::open(config).await.unwrap();
        let listener = server.bind().await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or(()) };
            server.serve(listener, shutdown).await.unwrap();
            server.close().await;
        });
        let root_token = tokens.then(|| std::fs::read_to_string(token_file).unwrap().trim().to_owned());
        Embedded { address, root_token, ca_file, stop: Some(stop), _folder: folder }
    }

    pub fn url(&self) -> String {
        let scheme = if self.ca_file.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Makes a token with these rights (JSON) and returns it.
    pub async fn create_token(&self, name: &str, rights: &str) -> String {
        let rights: serde_json::Value = serde_json::from_str(rights).unwrap();
        let body = serde_json::json!({ "kind": "client", "name": name, "rights": rights });
        rustls::crypto::ring::default_provider().install_default().ok();
        let request =
            reqwest::Client::new().post(format!("{}/v1/acl/token", self.url())).body(body.to_string());
        let response =
            request.header("X-Consul-Token", self.root_token.as_ref().unwrap()).send().await.unwrap();
        let text = response.text().await.unwrap();
        let token: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("no token: {text}"));
        token["token"].as_str().unwrap_or_else(|| panic!("no token: {text}")).to_owned()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
    }
}
