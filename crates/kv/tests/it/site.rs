//! A store in a temporary directory, served in this process, and a client for it.

use std::sync::Arc;
use std::time::Duration;

use footplate_kv::{Config, Server};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running store.
pub struct Site {
    pub directory: TempDir,
    pub address: String,
    pub client: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub index: Option<u64>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Site {
    /// Starts a fresh store.
    pub async fn start() -> Site {
        Site::start_in(TempDir::new().unwrap()).await
    }

    /// Starts a store in a directory.
    pub async fn start_in(directory: TempDir) -> Site {
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::loopback(directory.path()) };
        Site::start_with(directory, config).await
    }

    /// Starts a store with these settings.
    pub async fn start_with(directory: TempDir, config: Config) -> Site {
        let server = Server::open(config).await.unwrap();
        let listener = server.bind().await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            server.serve(listener, async { drop(stopped.await) }).await.unwrap();
            server.close().await;
        });
        Site { directory, address, client: client(), stop, running }
    }

    /// Stops it in good order and gives its directory back.
    pub async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.running).await.expect("it stops").unwrap();
        self.directory
    }

    /// Makes a request and reads all of the answer.
    pub async fn ask(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        ask(&self.client, &self.address, method, path, body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, "").await
    }

    pub async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        self.ask(Method::PUT, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.ask(Method::DELETE, path, "").await
    }
}

/// A client that follows no redirects and speaks plain HTTP only: reading the system's certificates takes long.
pub fn client() -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let no_tls = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    client_with(no_tls)
}

/// A client with these ideas of TLS.
pub fn client_with(tls: rustls::ClientConfig) -> Client {
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    builder.tls_backend_preconfigured(tls).build().unwrap()
}

/// Makes a request and reads all of the answer.
pub async fn ask(
    client: &Client,
    address: &str,
    method: Method,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> Reply {
    let response = client.request(method, format!("{address}{path}")).body(body).send().await.unwrap();
    let status = response.status();
    let header = response.headers().get("x-consul-index");
    let index = header.map(|value| value.to_str().unwrap().parse().unwrap());
    Reply { status, index, body: response.text().await.unwrap() }
}
