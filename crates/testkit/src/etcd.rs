//! A real etcd server, alone, on loopback; plain, or with users over TLS.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use reqwest::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificate::Certificates;
use crate::port::free_port;
use crate::server::{Server, cached_program};

const PROGRAM: &str = "etcd/usr/bin/etcd";
const ROOT: &str = "root";
const ROOT_PASSWORD: &str = "swordfish";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a role may do with the keys that begin with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
}

/// A running etcd; killed on drop.
pub struct Etcd {
    server: Server,
    client_port: u16,
    certificates: Option<Certificates>,
    client: Client,
    _folder: TempDir,
}

impl Etcd {
    /// Starts a server without users or TLS and waits until it is ready.
    pub async fn start() -> Result<Etcd> {
        Self::start_with(None, tempfile::tempdir()?).await
    }

    /// Starts a server that speaks TLS only and asks for user and password.
    pub async fn start_secured() -> Result<Etcd> {
        let folder = tempfile::tempdir()?;
        let etcd = Self::start_with(Some(Certificates::write(folder.path())?), folder).await?;
        etcd.call("auth/user/add", json!({ "name": ROOT, "password": ROOT_PASSWORD })).await?;
        etcd.call("auth/user/grant", json!({ "user": ROOT, "role": ROOT })).await?;
        etcd.call("auth/enable", json!({})).await?;
        Ok(etcd)
    }

    /// Returns `http://127.0.0.1:PORT`, or `https://…` when secured.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    /// Returns host and port, for a [`crate::Proxy`].
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.client_port).into()
    }

    /// Returns the file of the authority to trust, when secured.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificates.as_ref().map(|files| files.ca_file.as_path())
    }

    /// Returns the all-powerful user and its password, when secured.
    pub fn root_user(&self) -> Option<(&'static str, &'static str)> {
        self.certificates.as_ref().map(|_| (ROOT, ROOT_PASSWORD))
    }

    /// Returns the process, to pause it or kill it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Starts a killed server again on the same ports and data, and waits until it is ready.
    pub async fn start_again(&self) -> Result<()> {
        self.server.start_again()?;
        self.become_ready().await
    }

    /// Creates a user whose one role may do just this.
    pub async fn create_user(&self, name: &str, password: &str, grants: &[(Access, &str)]) -> Result<()> {
        let token = self.root_login().await?;
        let token = Some(token.as_str());
        self.call_as(token, "auth/role/add", json!({ "name": name })).await?;
        for (access, prefix) in grants {
            let kind = if *access == Access::Read { "READ" } else { "READWRITE" };
            let permission = json!({ "permType": kind, "key": BASE64.encode(prefix), "range_end": BASE64.encode(range_end(prefix)) });
            self.call_as(token, "auth/role/grant", json!({ "name": name, "perm": permission })).await?;
        }
        self.call_as(token, "auth/user/add", json!({ "name": name, "password": password })).await?;
        self.call_as(token, "auth/user/grant", json!({ "user": name, "role": name })).await?;
        Ok(())
    }

    /// Forgets the history up to this revision.
    pub async fn compact(&self, revision: u64) -> Result<()> {
        self.call("kv/compaction", json!({ "revision": revision.to_string(), "physical": true }))
            .await
            .map(drop)
    }

    /// Posts to `/v3/PATH` without a token; returns the JSON answer, or an error with what etcd said.
    pub async fn call(&self, path: &str, body: Value) -> Result<Value> {
        self.call_as(None, path, body).await
    }

    async fn start_with(certificates: Option<Certificates>, folder: TempDir) -> Result<Etcd> {
        let program = cached_program(PROGRAM)?;
        let [client_port, peer_port] = [free_port(), free_port()];
        let data = folder.path().join("data");
        let mut roots = RootCertStore::empty();
        let mut scheme = "http";
        let mut arguments = vec![format!("--data-dir={}", data.display()), "--log-level=warn".to_owned()];
        arguments.extend(["--logger=zap", "--log-outputs=stderr", "--name=test"].map(str::to_owned));
        if let Some(files) = &certificates {
            scheme = "https";
            roots
                .add(CertificateDer::from_pem_file(&files.ca_file).map_err(Error::other)?)
                .map_err(Error::other)?;
            arguments.push(format!("--cert-file={}", files.certificate_file.display()));
            arguments.push(format!("--key-file={}", files.key_file.display()));
        }
        let client_url = format!("{scheme}://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        arguments.push(format!("--listen-client-urls={client_url}"));
        arguments.push(format!("--advertise-client-urls={client_url}"));
        arguments.push(format!("--listen-peer-urls={peer_url}"));
        arguments.push(format!("--initial-advertise-peer-urls={peer_url}"));
        arguments.push(format!("--initial-cluster=test={peer_url}"));
        let server = Server::start(program, arguments, folder.path().join("etcd.log"))?;
        let client = Client::builder().tls_backend_preconfigured(trusting(roots)).no_proxy().build();
        let client = client.map_err(Error::other)?;
        let etcd = Etcd { server, client_port, certificates, client, _folder: folder };
        etcd.become_ready().await?;
        Ok(etcd)
    }

    async fn root_login(&self) -> Result<String> {
        let login = json!({ "name": ROOT, "password": ROOT_PASSWORD });
        let answer = self.call("auth/authenticate", login).await?;
        answer["token"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::other(format!("no token in {answer}")))
    }

    async fn call_as(&self, token: Option<&str>, path: &str, body: Value) -> Result<Value> {
        let mut request = self.client.post(format!("{}/v3/{path}", self.url())).body(body.to_string());
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let response = request.timeout(Duration::from_secs(10)).send().await.map_err(Error::other)?;
        let status = response.status();
        let text = response.text().await.map_err(Error::other)?;
        if !status.is_success() {
            return Err(Error::other(format!("{path}: {status} {text}")));
        }
        serde_json::from_str(&text).map_err(Error::other)
    }

    async fn become_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let health = self.client.get(format!("{}/health", self.url())).timeout(Duration::from_secs(5));
            let ready = health.send().await.is_ok_and(|response| response.status().is_success());
            if ready {
                return Ok(());
            }
            if self.server.has_ended() || Instant::now() > deadline {
                return Err(Error::other(format!("etcd is not ready\n{}", self.server.log_tail())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Returns a TLS configuration that trusts these roots and nobody else, on ring.
pub(crate) fn trusting(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.expect("ring speaks the default versions").with_root_certificates(roots).with_no_client_auth()
}

/// Returns the first key after all that begin with `prefix`: its last byte plus one.
fn range_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
