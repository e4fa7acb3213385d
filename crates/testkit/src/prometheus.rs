//! A real Prometheus server, alone, on loopback, which looks at its targets every second.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;

use crate::certificate::Certificates;
use crate::etcd::trusting;
use crate::port::free_port;
use crate::server::{Server, cached_program};

const PROGRAM: &str = "prometheus/usr/bin/prometheus";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running Prometheus; killed on drop.
pub struct Prometheus {
    server: Server,
    port: u16,
    certificates: Option<Certificates>,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts a server that looks at `/metrics` of these addresses, over TLS alone when `is_secured`, and waits until it answers.
    pub async fn start(targets: &[SocketAddr], is_secured: bool) -> Result<Prometheus> {
        let program = cached_program(PROGRAM)?;
        let (folder, port) = (tempfile::tempdir()?, free_port());
        let path = |name: &str| folder.path().join(name);
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        // JSON is YAML.
        let configuration = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [{ "job_name": "app", "static_configs": [{ "targets": targets }] }],
        });
        std::fs::write(path("prometheus.yml"), configuration.to_string())?;
        let mut arguments = vec![
            format!("--config.file={}", path("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", path("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.console.templates=".to_owned(),
            "--web.console.libraries=".to_owned(),
            "--log.level=warn".to_owned(),
        ];
        let mut roots = RootCertStore::empty();
        let certificates = is_secured.then(|| Certificates::write(folder.path())).transpose()?;
        if let Some(files) = &certificates {
            let web = json!({
                "tls_server_config": { "cert_file": files.certificate_file, "key_file": files.key_file },
            });
            std::fs::write(path("web.yml"), web.to_string())?;
            arguments.push(format!("--web.config.file={}", path("web.yml").display()));
            let authority = CertificateDer::from_pem_file(&files.ca_file).map_err(Error::other)?;
            roots.add(authority).map_err(Error::other)?;
        }
        let server = Server::start(program, arguments, path("prometheus.log"))?;
        let prometheus = Prometheus { server, port, certificates, _folder: folder };
        let client = Client::builder().tls_backend_preconfigured(trusting(roots)).no_proxy().build();
        prometheus.become_ready(&client.map_err(Error::other)?).await?;
        Ok(prometheus)
    }

    /// Returns `http://127.0.0.1:PORT`, or `https://…` when secured.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Returns the file of the authority to trust, when secured.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificates.as_ref().map(|files| files.ca_file.as_path())
    }

    /// Returns the process, to pause it or kill it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    async fn become_ready(&self, client: &Client) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = client.get(format!("{}/-/ready", self.url())).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                _ if self.server.has_ended() || Instant::now() > deadline => {
                    return Err(Error::other(format!("prometheus: {}", self.server.log_tail())));
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}
