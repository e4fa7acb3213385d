//! A router that runs, with services behind it and the driver that tells it where requests go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use footplate_core::traffic::{Member, Pool, Share};
use footplate_drivers::router::haproxy::Settings;
use footplate_drivers::router::{Config, EndpointName, Router, RouterError, open};
use footplate_router::{Listener, Server};
use footplate_testkit::backend::Backend;
use footplate_testkit::load::Load;
use footplate_testkit::{eventually, free_port, start_haproxy, wait_for_haproxy};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A router and the services behind it.
pub struct Site {
    pub folder: TempDir,
    pub router: Arc<dyn Router>,
    pub address: SocketAddr,
    pub backends: BTreeMap<String, Backend>,
    pub haproxy: Option<footplate_testkit::Server>,
    /// What HAProxy listens on besides `address`.
    pub listen: Vec<String>,
    _builtin: Option<oneshot::Sender<()>>,
}

impl Site {
    pub async fn builtin() -> Self {
        Self::builtin_in(TempDir::new().unwrap()).await
    }

    /// Starts the built-in router in a folder that may have something in it.
    pub async fn builtin_in(folder: TempDir) -> Self {
        let listener = Listener { address: ([127, 0, 0, 1], 0).into(), is_https: false };
        let config = footplate_router::Config {
            workers: 1,
            ..footplate_router::Config::new(folder.path(), vec![listener])
        };
        let server = Server::open(config).await.unwrap_or_else(|failure| panic!("{failure}"));
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async { drop(stopped.await) }));
        let router = open(&Config::Builtin(folder.path().to_owned()));
        Self {
            folder,
            router,
            address,
            backends: BTreeMap::new(),
            haproxy: None,
            listen: Vec::new(),
            _builtin: Some(stop),
        }
    }

    /// Starts HAProxy as a system would: on the configuration that the driver leaves at its first try.
    pub async fn haproxy() -> Self {
        let mut site = Self::haproxy_to_come();
        site.start_haproxy().await;
        site
    }

    /// Starts it with what the settings say by now.
    pub async fn start_haproxy(&mut self) {
        self.open_again();
        let said = self.router.follow(&[]).await.unwrap_err();
        assert!(matches!(said, RouterError::Silent { .. }), "{said}");
        let settings = self.settings();
        let started =
            start_haproxy(&settings.program, &settings.configuration_file(), &settings.master).await;
        self.haproxy = Some(started.unwrap());
        self.router.follow(&[]).await.unwrap();
    }

    /// HAProxy's driver, and no HAProxy.
    pub fn haproxy_to_come() -> Self {
        let folder = TempDir::new().unwrap();
        footplate_testkit::haproxy(folder.path()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut site = Self {
            folder,
            router: open(&Config::Builtin(PathBuf::new())),
            address,
            backends: BTreeMap::new(),
            haproxy: None,
            listen: Vec::new(),
            _builtin: None,
        };
        site.open_again();
        site
    }

    /// A folder, an address and no router yet.
    pub fn builtin_to_come() -> Self {
        let (folder, address) = (TempDir::new().unwrap(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let router = open(&Config::Builtin(folder.path().to_owned()));
        Self {
            folder,
            router,
            address,
            backends: BTreeMap::new(),
            haproxy: None,
            listen: Vec::new(),
            _builtin: None,
        }
    }

    pub fn settings(&self) -> Settings {
        let folder = self.folder.path();
        Settings {
            master: folder.join("master.sock"),
            program: folder.join("haproxy"),
            listen: std::iter::once(self.address.to_string()).chain(self.listen.clone()).collect(),
            extend: Some(folder.join("extend")),
            ..Settings::new(folder.join("generated"))
        }
    }

    /// Forgets the driver and makes a new one, as an agent that restarts does.
    pub fn open_again(&mut self) {
        self.router = open(&Config::Haproxy(self.settings()));
    }

    pub async fn wait_for_haproxy(&self) {
        let server = self.haproxy.as_ref().unwrap();
        wait_for_haproxy(server, &self.settings().master).await.unwrap();
    }

    /// Returns a pool of `web-1/1 web-2/1 drains`, with the shares `1:100`; each endpoint is a service of its own.
    pub async fn pool(&mut self, members: &str, shares: &str) -> Pool {
        self.pool_of("production.shop.web", members, shares).await
    }

    pub async fn pool_of(&mut self, target: &str, members: &str, shares: &str) -> Pool {
        let mut list: Vec<Member> = Vec::new();
        for word in members.split_whitespace() {
            let Some((host, release)) = word.split_once('/') else {
                list.last_mut().unwrap().is_draining = true;
                continue;
            };
            if !self.backends.contains_key(word) {
                self.backends.insert(word.to_owned(), Backend::start(word).await);
            }
            list.push(Member {
                host: host.parse().unwrap(),
                release: release.parse().unwrap(),
                address: self.backends[word].address.to_string(),
                weight: 100,
                is_draining: false,
            });
        }
        let shares = shares.split_whitespace().map(|pair| {
            let (release, percent) = pair.split_once(':').unwrap();
            (release.parse().unwrap(), format!("{percent}%").parse::<Share>().unwrap())
        });
        let entrances = if target.contains(".shop.") { "*/".to_owned() } else { format!("{target}/") };
        Pool {
            target: target.parse().unwrap(),
            entrances: [entrances.parse().unwrap()].into(),
            stickiness: None,
            requests: footplate_core::release::Requests::default(),
            shares: shares.collect(),
            members: list,
        }
    }

    /// Tells the router, and panics when it does not follow.
    pub async fn follow(&mut self, members: &str, shares: &str) {
        let pool = self.pool(members, shares).await;
        self.router
            .follow(&[pool])
            .await
            .unwrap_or_else(|error| panic!("{}", footplate_drivers::chain(&error)));
    }

    /// Asks so many times and returns who answered how often; panics when a request fails.
    pub async fn answers(&self, number: u64) -> BTreeMap<String, u64> {
        let load = Load::new(self.address, 4).start();
        eventually("the requests are done", PATIENCE, async || load.done() >= number).await;
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
        outcome.served_by
    }

    /// Returns the names of the endpoints with requests in flight: `web-1/1`.
    pub async fn busy(&self) -> Option<Vec<String>> {
        let busy = self.router.in_flight().await.unwrap()?;
        Some(busy.into_iter().map(|EndpointName { endpoint, .. }| endpoint).collect())
    }

    pub async fn until_busy(&self, expected: &[&str]) {
        let what = format!("in flight: {expected:?}");
        eventually(&what, PATIENCE, async || self.busy().await.is_some_and(|busy| busy == expected)).await;
    }

    /// Waits until nothing is in flight but on endpoints whose names end so.
    pub async fn until_busy_only(&self, end: &str) {
        let is_done =
            async || self.busy().await.is_some_and(|busy| busy.iter().all(|name| name.ends_with(end)));
        eventually(&format!("in flight only on {end}"), PATIENCE, is_done).await;
    }

    /// Begins a request whose answer takes its time, and waits until its service has it.
    pub async fn begin(&self, path: &str, service: &str) -> JoinHandle<std::io::Result<String>> {
        let before = self.backends[service].requests();
        let request = self.send(path);
        eventually("it has the request", PATIENCE, async || self.backends[service].requests() > before).await;
        request
    }

    /// The same, whichever service has it.
    pub async fn begin_anywhere(&self, path: &str) -> JoinHandle<std::io::Result<String>> {
        let all = || self.backends.values().map(Backend::requests).sum::<u64>();
        let before = all();
        let request = self.send(path);
        eventually("a service has the request", PATIENCE, async || all() > before).await;
        request
    }

    /// Waits until one endpoint has had a request in flight for a while, and returns its name.
    pub async fn busy_for_long(&self) -> String {
        let mut common: Option<Vec<String>> = None;
        for _ in 0..20 {
            let busy = self.busy().await.unwrap();
            let common = common.get_or_insert_with(|| busy.clone());
            common.retain(|name| busy.contains(name));
        }
        common.unwrap().first().expect("something takes long").clone()
    }

    fn send(&self, path: &str) -> JoinHandle<std::io::Result<String>> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        tokio::spawn(ask(self.address, head))
    }
}

/// Sends a request and returns everything that comes until the connection ends.
pub async fn ask(address: SocketAddr, request: String) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}
