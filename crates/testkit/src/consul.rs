//! A real Consul server, alone, on loopback.

use std::io::{Error, Result};
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificate::Certificates;
use crate::etcd::trusting;
use crate::port::free_port;
use crate::server::{Server, cached_program, open_files_max};

const PROGRAM: &str = "consul/usr/bin/consul";
const ROOT_TOKEN: &str = "5ca1ab1e-0000-4000-8000-000000000001";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How a Consul is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsulSetup {
    /// Keeps its data on disk, so that it can be killed and started again; starts some seconds slower.
    pub durable: bool,
    /// Denies everything without a token.
    pub access_control: bool,
}

/// A running Consul server; killed on drop.
pub struct Consul {
    server: Server,
    http_port: u16,
    setup: ConsulSetup,
    certificates: Option<Certificates>,
    client: Client,
    _folder: TempDir,
}

impl Consul {
    /// Starts a server and waits until it takes writes and sessions.
    pub async fn start(setup: ConsulSetup) -> Result<Consul> {
        Consul::start_with(setup, None, tempfile::tempdir()?).await
    }

    /// Starts a server that speaks TLS only and denies everything without a token.
    pub async fn start_secured() -> Result<Consul> {
        let folder = tempfile::tempdir()?;
        let certificates = Certificates::write(folder.path())?;
        let setup = ConsulSetup { durable: false, access_control: true };
        Consul::start_with(setup, Some(certificates), folder).await
    }

    async fn start_with(
        setup: ConsulSetup,
        certificates: Option<Certificates>,
        folder: TempDir,
    ) -> Result<Consul> {
        let program = cached_program(PROGRAM)?;
        let [http_port, server_port, serf_port] = [free_port(), free_port(), free_port()];
        let file = folder.path().join("consul.json");
        let mut settings = configuration(setup, http_port, server_port, serf_port);
        let mut roots = RootCertStore::empty();
        if let Some(files) = &certificates {
            settings["ports"]["https"] = json!(http_port);
            settings["ports"]["http"] = json!(-1);
            settings["cert_file"] = json!(files.certificate_file);
            settings["key_file"] = json!(files.key_file);
            let authority = CertificateDer::from_pem_file(&files.ca_file).map_err(Error::other)?;
            roots.add(authority).map_err(Error::other)?;
        }
        std::fs::write(&file, settings.to_string())?;
        let mut arguments = vec!["agent".to_owned(), format!("-config-file={}", file.display())];
        if setup.durable {
            arguments.push("-server".to_owned());
            arguments.push("-bootstrap-expect=1".to_owned());
            arguments.push(format!("-data-dir={}", folder.path().join("data").display()));
        } else {
            arguments.push("-dev".to_owned());
        }
        let server = Server::start(program, arguments, folder.path().join("consul.log"))?;
        let client = Client::builder().tls_backend_preconfigured(trusting(roots)).no_proxy().build();
        let client = client.map_err(Error::other)?;
        let consul = Consul { server, http_port, setup, certificates, client, _folder: folder };
        consul.become_ready().await?;
        Ok(consul)
    }

    /// Returns `http://127.0.0.1:PORT`, or `https://…` when secured.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.http_port)
    }

    /// Returns the file of the authority to trust, when secured.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificates.as_ref().map(|files| files.ca_file.as_path())
    }

    /// Returns host and port of the HTTP interface, for a [`crate::Proxy`].
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.http_port).into()
    }

    /// Returns the all-powerful token, when access control is on.
    pub fn root_token(&self) -> Option<&'static str> {
        self.setup.access_control.then_some(ROOT_TOKEN)
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

    /// Creates a policy with these rules (HCL) and returns a new token that has it.
    pub async fn create_token(&self, name: &str, rules: &str) -> Result<String> {
        self.call(Method::PUT, "/v1/acl/policy", json!({ "Name": name, "Rules": rules })).await?;
        let token =
            self.call(Method::PUT, "/v1/acl/token", json!({ "Policies": [{ "Name": name }] })).await?;
        let secret = token["SecretID"].as_str().map(str::to_owned);
        secret.ok_or_else(|| Error::other(format!("no token in {token}")))
    }

    /// Sends a request as root; returns the JSON answer, or an error with what Consul said.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url()));
        request = request.timeout(Duration::from_secs(10)).body(body.to_string());
        if let Some(token) = self.root_token() {
            request = request.header("X-Consul-Token", token);
        }
        let response = request.send().await.map_err(Error::other)?;
        let status = response.status();
        let text = response.text().await.map_err(Error::other)?;
        if status != StatusCode::OK {
            return Err(Error::other(format!("{path}: {status} {text}")));
        }
        serde_json::from_str(&text).map_err(Error::other)
    }

    /// A session needs a leader and a registered node, which come last.
    async fn become_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let attempt = self.call(Method::PUT, "/v1/session/create", json!({ "Checks": [] })).await;
            match attempt {
                Ok(session) => {
                    let id = session["ID"].as_str().unwrap_or_default();
                    self.call(Method::PUT, &format!("/v1/session/destroy/{id}"), Value::Null).await?;
                    return Ok(());
                }
                Err(error) if self.server.has_ended() || Instant::now() > deadline => {
                    return Err(Error::other(format!("consul: {error}\n{}", self.server.log_tail())));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

fn configuration(setup: ConsulSetup, http_port: u16, server_port: u16, serf_port: u16) -> Value {
    // Consul refuses to start when this comes near the number of files it may open.
    let connections = open_files_max().saturating_sub(200).min(100_000);
    let mut configuration = json!({
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": { "http": http_port, "server": server_port, "serf_lan": serf_port, "serf_wan": -1, "dns": -1, "grpc": -1 },
        "limits": { "http_max_conns_per_client": connections },
        "performance": { "raft_multiplier": 1 },
        "log_level": "warn",
        "disable_update_check": true,
    });
    if setup.access_control {
        configuration["acl"] = json!({
            "enabled": true,
            "default_policy": "deny",
            "tokens": { "master": ROOT_TOKEN, "agent": ROOT_TOKEN },
        });
    }
    configuration
}
