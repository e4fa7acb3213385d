//! A router in a temporary folder, served in this process, with a client for its control socket and one for its listener.

use std::net::SocketAddr;
use std::time::Duration;

use footplate_router::report::Report;
use footplate_router::table::{Endpoint, Route, Service, State, Version, WHOLE};
use footplate_router::{Config, Failure, Listener, Server, Table};
use footplate_testkit::wire::{self, Head, Reader};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything in these stories may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running router.
pub struct Site {
    pub folder: TempDir,
    pub addresses: Vec<SocketAddr>,
    pub metrics: Option<SocketAddr>,
    config: Config,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<bool, Failure>>>,
    elders: Vec<JoinHandle<Result<bool, Failure>>>,
    revision: u64,
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    pub head: Head,
    pub body: String,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

/// Returns the settings of a router with one worker on a free port.
pub fn config(folder: &TempDir) -> Config {
    let listener = Listener { address: ([127, 0, 0, 1], 0).into(), is_https: false };
    Config { workers: 2, ..Config::new(folder.path().join("router"), vec![listener]) }
}

impl Site {
    /// Starts a fresh router.
    pub async fn start() -> Site {
        Site::with(|_| {}).await
    }

    /// Starts a fresh router with other settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Site {
        let folder = TempDir::new().unwrap();
        let mut config = config(&folder);
        change(&mut config);
        Site::open(folder, config).await
    }

    /// Starts a router in a folder that one has been in before, perhaps.
    pub async fn open(folder: TempDir, config: Config) -> Site {
        let server = Server::open(config.clone()).await.unwrap_or_else(|failure| panic!("{failure}"));
        let (addresses, metrics) = (server.addresses().to_vec(), server.metrics_address());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async { drop(stopped.await) }));
        let (stop, running) = (Some(stop), Some(running));
        Site { folder, addresses, metrics, config, stop, running, elders: Vec::new(), revision: 0 }
    }

    /// Returns the settings of a router that could take over.
    pub fn config(&self) -> Config {
        let mut config = self.config.clone();
        config
            .listeners
            .iter_mut()
            .zip(&self.addresses)
            .for_each(|(listener, address)| listener.address = *address);
        config.metrics = self.metrics;
        config
    }

    /// Starts another router in the same folder, which takes over.
    pub async fn upgrade(&mut self) {
        let server = Server::open(self.config()).await.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(server.took_over_from(), Some(std::process::id()));
        let (stop, stopped) = oneshot::channel();
        // The former one's end must not be taken for an order to stop.
        std::mem::forget(self.stop.replace(stop));
        let running = tokio::spawn(server.run(async { drop(stopped.await) }));
        self.elders.extend(self.running.replace(running));
    }

    /// Waits until every router that was replaced has ended.
    pub async fn elders_end(&mut self) {
        for elder in self.elders.drain(..) {
            assert!(
                tokio::time::timeout(PATIENCE, elder).await.expect("it ends").unwrap().unwrap(),
                "it was replaced"
            );
        }
    }

    /// Returns where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Stops it in good order and gives its folder back.
    pub async fn stop(mut self) -> TempDir {
        self.stop.take().unwrap().send(()).unwrap();
        let running = self.running.take().unwrap();
        assert!(!tokio::time::timeout(PATIENCE, running).await.expect("it stops").unwrap().unwrap());
        self.folder
    }

    /// Asks at the control socket.
    pub async fn control(&self, method: &str, path: &str, body: &str) -> Reply {
        let socket = UnixStream::connect(self.folder.path().join("router/control.sock")).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        talk(socket, &request).await
    }

    /// Puts a service with the next revision into force, alone.
    pub async fn route(&mut self, service: Service) {
        self.revision += 1;
        let services = [("shop".to_owned(), service)].into();
        let table = Table { revision: self.revision, services };
        let reply = self.control("PUT", "/v1/table", &serde_json::to_string(&table).unwrap()).await;
        assert_eq!(reply.status(), 200, "{}", reply.body);
    }

    /// Returns what was counted.
    pub async fn report(&self) -> Report {
        serde_json::from_str(&self.control("GET", "/v1/counts", "").await.body).unwrap()
    }

    /// Returns what was counted, with what failed after this number and how busy clients are.
    pub async fn facts(&self, after: u64) -> Report {
        let path = format!("/v1/counts?failed_after={after}");
        serde_json::from_str(&self.control("GET", &path, "").await.body).unwrap()
    }

    /// Gets a path over a connection of its own.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: service.test\r\n\r\n")).await
    }

    /// Sends bytes over a connection of their own and reads one answer.
    pub async fn send(&self, request: &str) -> Reply {
        talk(TcpStream::connect(self.address()).await.unwrap(), request).await
    }
}

/// Sends a request and reads the answer.
pub async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    socket: S,
    request: &str,
) -> Reply {
    let mut reader = Reader::new(socket);
    reader.io().write_all(request.as_bytes()).await.unwrap();
    let method = request.split(' ').next().unwrap();
    read(&mut reader, method).await.expect("an answer")
}

/// Reads one answer; nothing when the connection ends before one.
pub async fn read<S: tokio::io::AsyncRead + Unpin>(reader: &mut Reader<S>, method: &str) -> Option<Reply> {
    let reading = async {
        let head = reader.head().await.ok()??;
        let mut body = Vec::new();
        reader.body(wire::of_answer(&head, method), |piece| body.extend_from_slice(piece)).await.ok()?;
        Some(Reply { head, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer in time")
}

/// Describes an endpoint that is ready.
pub fn endpoint(name: &str, version: &str, address: SocketAddr) -> Endpoint {
    Endpoint { name: name.into(), address, version: version.into(), state: State::Ready, weight: 100 }
}

/// Describes a service at every host and path, with these versions and endpoints.
pub fn service(versions: &[(&str, u32)], endpoints: Vec<Endpoint>) -> Service {
    let versions = versions.iter().map(|(name, share)| Version { name: (*name).into(), share: *share });
    Service {
        routes: vec![Route { host: "*".into(), path: "/".into() }],
        versions: versions.collect(),
        endpoints,
        ..Service::default()
    }
}

/// Describes a service with one version at one address.
pub fn single(address: SocketAddr) -> Service {
    service(&[("1", WHOLE)], vec![endpoint("a", "1", address)])
}
