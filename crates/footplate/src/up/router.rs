//! The router of `footplate up`: a process of its own under a keeper, told where requests go by the first host's agent.
//!
//! Invariants: it stands where it stood the last time, if nobody else does; one that was left running by an `up` that was killed
//! goes on as it is; it is there only once it has answered and takes connections, else it is stopped.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::release::service::Service;
use footplate_drivers::service::{self, Order, Phase, ServiceError, ServiceName, Status, Supervisor, tail};
use footplate_router::control::{self, client};
use reqwest::Method;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::agent;
use crate::failure::{Exit, Failure};

/// Its name among services.
const NAME: &str = "up.footplate.router.1";
/// How many seconds requests have to finish when it ends.
const DRAIN_SECONDS: u64 = 5;
/// How long it may take to serve, and how often it is looked at meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The most of its last words that are shown when it does not.
const LAST_WORDS_BYTES_MAX: usize = 2 << 10;

/// The router of this `up`.
pub struct OwnRouter {
    keepers: Arc<dyn Supervisor>,
    folder: PathBuf,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl OwnRouter {
    /// Starts it below `data`, at `wanted` or else at a free port of the same address, or finds it running. Prometheus reads its counts
    /// at `metrics`; one that runs goes on as it was started.
    pub async fn start(
        data: &Path,
        wanted: SocketAddr,
        metrics: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let keepers = service::open_keepers(&data.join("router").join("kept"), agent::program());
        let keepers = keepers.map_err(|error| failed("keep", &error))?;
        let before = status(keepers.as_ref()).await?;
        let is_up = before.as_ref().is_some_and(|status| status.phase != Phase::Stopped);
        let port_before = before.as_ref().and_then(|status| status.port);
        let address = match port_before {
            Some(port) if is_up => SocketAddr::new(wanted.ip(), port),
            _ => free(wanted, port_before).map_err(|error| {
                let what = format!("cannot start the router at {wanted}");
                Failure::new(Exit::Failed, what).because(&error).next("give another address with `--router`")
            })?,
        };
        // One that runs has a port that nobody remembers here.
        let metrics = metrics.filter(|wanted| !is_up || wanted.port() != 0);
        let metrics = metrics.map(|wanted| match wanted.port() {
            0 => free(wanted, None),
            _ => Ok(wanted),
        });
        let metrics = metrics.transpose().map_err(|error| {
            let failure = Failure::new(Exit::Failed, "cannot find a port for `--metrics`").because(&error);
            failure.next("give an address of this machine, such as 127.0.0.1:9180")
        })?;
        let router = Self { keepers, folder: data.join("router"), address, metrics };
        let order = router.order();
        router.keepers.start(&order).await.map_err(|error| failed("start", &error))?;
        match router.until_it_serves(before.as_ref()).await {
            Ok(()) => Ok(router),
            Err(failure) => {
                router.stop().await;
                Err(failure)
            }
        }
    }

    /// Waits until it serves; fails when it ended since it stood as `before`.
    async fn until_it_serves(&self, before: Option<&Status>) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(silence) = self.answers().await {
            let now = status(self.keepers.as_ref()).await?;
            let ended = now.as_ref().and_then(|now| now.last_exit.as_ref()).filter(|exit| {
                !exit.is_fine && before.and_then(|before| before.last_exit.as_ref()) != Some(*exit)
            });
            if let (Some(now), Some(exit)) = (&now, ended) {
                return Err(self.unserved(exit.why.clone(), now));
            }
            if let Some(now) = now.filter(|_| Instant::now() > deadline) {
                return Err(self.unserved(format!("it takes no connections: {silence}"), &now));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Asks it for a word, as somebody else may sit at its address, and for a connection there and where its counts are read.
    async fn answers(&self) -> std::io::Result<()> {
        let socket = control::socket(&self.folder);
        client::ask(&socket, Method::GET, "http://router/v1/health", Vec::new().into()).await?;
        for address in [Some(self.address), self.metrics].into_iter().flatten() {
            let refused = |error| std::io::Error::other(format!("{address}: {error}"));
            TcpStream::connect(address).await.map_err(refused)?;
        }
        Ok(())
    }

    fn unserved(&self, because: String, status: &Status) -> Failure {
        let said = tail(&status.log, LAST_WORDS_BYTES_MAX).unwrap_or_default();
        let failure = Failure::new(Exit::Failed, format!("cannot start the router at {}", self.address));
        let failure = failure.because_of(because).details(last_run(&said));
        failure.next("mend what it says, or give another address with `--router`")
    }

    /// Returns its folder, where it is told what to do.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where Prometheus reads its counts.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Stops it when it has answered what it has.
    pub async fn stop(self) {
        if let Err(error) = self.keepers.stop(&name()).await {
            tracing::error!("cannot stop the router: {}", footplate_drivers::chain(&error));
        }
    }

    fn order(&self) -> Order {
        let usual = Service::worker("");
        let mut stop = usual.stop;
        stop.grace = Duration::from_secs(DRAIN_SECONDS + 1);
        let command = "exec \"$PROGRAM\" router --listen \"$LISTEN\" --folder \"$FOLDER\" --drain \"$DRAIN\" \
            ${METRICS:+--metrics \"$METRICS\"}";
        let environment = [
            ("PROGRAM", agent::program().display().to_string()),
            ("LISTEN", self.address.to_string()),
            ("FOLDER", self.folder.display().to_string()),
            ("DRAIN", DRAIN_SECONDS.to_string()),
            ("METRICS", self.metrics.map_or_else(String::new, |address| address.to_string())),
        ];
        Order {
            name: name(),
            command: command.to_owned(),
            directory: self.folder.clone(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            user: None,
            port: Some(self.address.port()),
            listen: footplate_core::release::service::Listen::Port,
            notifies: false,
            schedule: None,
            stop,
            restart: usual.restart,
            limits: usual.limits,
            logs: usual.logs,
        }
    }
}

fn name() -> ServiceName {
    NAME.parse().expect("a service's name")
}

async fn status(keepers: &dyn Supervisor) -> Result<Option<Status>, Failure> {
    keepers.status(&name()).await.map_err(|error| failed("find", &error))
}

/// Returns what its last process said, without its keeper's own lines.
fn last_run(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let begun = lines.iter().rposition(|line| line.starts_with("footplate: started")).map_or(0, |at| at + 1);
    let said = lines[begun..].iter().filter(|line| !line.starts_with("footplate: "));
    said.copied().collect::<Vec<_>>().join("\n")
}

/// Returns where to listen: where it did before or is wanted, if nobody else does, and else at any port.
fn free(wanted: SocketAddr, port_before: Option<u16>) -> std::io::Result<SocketAddr> {
    let before = port_before.filter(|_| wanted.port() == 0).map(|port| SocketAddr::new(wanted.ip(), port));
    let any = SocketAddr::new(wanted.ip(), 0);
    let candidates = before.into_iter().chain([wanted]);
    let taken =
        candidates.map(TcpListener::bind).find_map(Result::ok).map_or_else(|| TcpListener::bind(any), Ok);
    taken?.local_addr()
}

fn failed(what: &str, error: &ServiceError) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {what} the router")).because(error).next(error.next())
}
