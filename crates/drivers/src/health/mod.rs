//! Asks a service whether it works: over HTTP, by a connection, by a command, by its heartbeat, or by what it says of itself.
//!
//! Invariants: every question ends within its probe's time; a bad answer says why in a few words; nothing is concluded
//! here, `core::health` does that.

mod acceptance;

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use footplate_core::release::service::{Check, Probe};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::shell::{self, End, Script, User};
use crate::trust;

pub use acceptance::Tried;

/// The most of what a service said that goes into a reason.
const SAID_CHARS_MAX: usize = 200;

/// Where a service is to be found.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Its port on this machine, when it takes connections.
    pub port: Option<u16>,
    /// The file that it touches.
    pub heartbeat: PathBuf,
    /// The file that is there once it has said that it is ready.
    pub notified: PathBuf,
    /// Where commands run: its working directory.
    pub directory: PathBuf,
    /// The variables of commands: the service's own.
    pub environment: Vec<(String, OsString)>,
    /// Who commands run as; ourselves when absent.
    pub user: Option<User>,
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is well.
    Good,
    /// It is not: why, in a few words that begin with `it` or with what was asked.
    Bad(String),
}

/// Asks services of this machine.
#[derive(Clone, Debug)]
pub struct Asker {
    client: reqwest::Client,
}

impl Asker {
    /// Returns one that follows no redirection and knows no proxy.
    pub fn new() -> Self {
        let client = trust::client(Some(rustls::RootCertStore::empty())).pool_max_idle_per_host(0).build();
        Self { client: client.expect("a client without certificates and proxies can always be made") }
    }

    /// Asks once.
    pub async fn ask(&self, probe: &Probe, place: &Place) -> Answer {
        let asked = async {
            match &probe.check {
                Check::Http { path } => self.http(path, place).await,
                Check::Tcp => tcp(place).await,
                Check::Command { command } => run(command, probe.timeout, place).await,
                Check::Heartbeat { within } => heartbeat(*within, place).await,
                Check::Notify => notified(place).await,
            }
        };
        // A command has the time to be killed beyond its own.
        let patience = match probe.check {
            Check::Command { .. } => probe.timeout + shell::GRACE + Duration::from_secs(5),
            _ => probe.timeout,
        };
        let late = || Answer::Bad(format!("it did not answer within {} ms", probe.timeout.as_millis()));
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(())) => Answer::Good,
            Ok(Err(why)) => Answer::Bad(why),
            Err(_) => late(),
        }
    }

    async fn http(&self, path: &str, place: &Place) -> Result<(), String> {
        let address = format!("http://{}:{}{path}", Ipv4Addr::LOCALHOST, port(place)?);
        let answer = self.client.get(address).send().await.map_err(|error| refused(&error))?;
        let status = answer.status();
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        let said = first_line(answer).await;
        let colon = if said.is_empty() { "" } else { ": " };
        Err(format!("it answered {} to {path}{colon}{said}", status.as_u16()))
    }
}

impl Default for Asker {
    fn default() -> Self {
        Self::new()
    }
}

fn port(place: &Place) -> Result<u16, String> {
    place.port.ok_or_else(|| "it has no port".to_owned())
}

fn refused(error: &reqwest::Error) -> String {
    let causes = crate::chain(error);
    let last = causes.rsplit(": ").next().unwrap_or_default();
    if error.is_connect() {
        format!("it takes no connections: {last}")
    } else {
        format!("it did not answer: {last}")
    }
}

/// Reads as much of a bad answer as a person wants to see.
async fn first_line(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < 4 * SAID_CHARS_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            // What it said is talk; its status is the answer.
            Ok(None) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    last_words(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

async fn tcp(place: &Place) -> Result<(), String> {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port(place)?)).await;
    connected.map(drop).map_err(|error| format!("it takes no connections: {error}"))
}

async fn run(command: &str, timeout: Duration, place: &Place) -> Result<(), String> {
    let mut script = Script::new("/bin/sh", &place.directory).arguments(["-c", command]).deadline(timeout);
    script.environment.clone_from(&place.environment);
    script.user.clone_from(&place.user);
    script.grace = Duration::ZERO;
    script.output_bytes_max = 4096;
    let finished =
        shell::run(&script, &CancellationToken::new()).await.map_err(|error| crate::chain(&error))?;
    if finished.end == End::Exited(0) {
        return Ok(());
    }
    let said =
        last_words(finished.output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default());
    let colon = if said.is_empty() { "" } else { ": " };
    Err(format!("the check `{}` failed: {}{colon}{said}", last_words(command), finished.end))
}

async fn heartbeat(within: Duration, place: &Place) -> Result<(), String> {
    let touched = tokio::fs::metadata(&place.heartbeat).await.and_then(|found| found.modified());
    let touched = touched.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "it has not touched its heartbeat yet".to_owned(),
        _ => format!("its heartbeat cannot be read: {error}"),
    })?;
    // A touch in the future is a clock that was set back: as good as one of now.
    let age = SystemTime::now().duration_since(touched).unwrap_or_default();
    if age <= within {
        return Ok(());
    }
    Err(format!("it last touched its heartbeat {} s ago", age.as_secs()))
}

async fn notified(place: &Place) -> Result<(), String> {
    match tokio::fs::try_exists(&place.notified).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("it has not said READY=1 to its NOTIFY_SOCKET".to_owned()),
        Err(error) => Err(format!("it is not known what it said to its NOTIFY_SOCKET: {error}")),
    }
}

fn last_words(text: &str) -> String {
    let plain = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(SAID_CHARS_MAX).collect()
}
