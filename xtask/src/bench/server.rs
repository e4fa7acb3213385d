//! The store servers that a benchmark starts: our own, Consul and etcd, each alone on loopback with a folder of its own.

use super::process::{Process, poll};
use crate::failure::Failure;
use crate::packages;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Which server holds the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Embedded,
    Consul,
    Etcd,
}

impl Kind {
    /// Returns the word that names it in rows and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Embedded => "embedded",
            Kind::Consul => "consul",
            Kind::Etcd => "etcd",
        }
    }

    /// Returns the address agents and controllers are given, as if the server stood at `address`.
    pub fn url(self, address: SocketAddr) -> String {
        match self {
            Kind::Embedded | Kind::Consul => format!("http://{address}"),
            Kind::Etcd => format!("etcd+http://{address}"),
        }
    }
}

/// A running server; it ends when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    /// Ends the server when it is dropped.
    _process: Process,
}

impl Server {
    /// Starts a server with its data in `folder` and waits until it takes writes.
    pub fn start(kind: Kind, binary: &Path, folder: &Path) -> Result<Server, Failure> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::new("cannot make the store's folder", error, "check the disk"))?;
        let address = free_address()?;
        let command = match kind {
            Kind::Embedded => embedded(binary, address, folder),
            Kind::Consul => consul(address, folder)?,
            Kind::Etcd => etcd(address, folder)?,
        };
        let mut process = Process::start(command, &folder.join("log"))?;
        poll("the store to be ready", Duration::from_secs(60), || {
            process.check()?;
            // Refused connections are what a server that is starting looks like.
            Ok(match kind {
                Kind::Embedded | Kind::Consul => {
                    request(address, "PUT", "/v1/session/create", "{\"Checks\":[]}")
                }
                Kind::Etcd => request(address, "GET", "/health", ""),
            }
            .ok()
            .filter(|answer| answer.status == 200)
            .map(drop))
        })?;
        Ok(Server { address, _process: process })
    }
}

fn embedded(binary: &Path, address: SocketAddr, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["store", "serve", "--listen", &address.to_string(), "--folder"]).arg(folder.join("data"));
    command
}

fn consul(address: SocketAddr, folder: &Path) -> Result<Command, Failure> {
    let [server, serf] = [free_address()?.port(), free_address()?.port()];
    let settings = serde_json::json!({
        "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "log_level": "warn", "disable_update_check": true,
        "ports": { "http": address.port(), "server": server, "serf_lan": serf, "serf_wan": -1, "dns": -1, "grpc": -1 },
        // All agents share one address here; Consul's own bound is 200.
        "limits": { "http_max_conns_per_client": 10_000 },
        "performance": { "raft_multiplier": 1 },
    });
    let file = folder.join("consul.json");
    std::fs::write(&file, settings.to_string())
        .map_err(|error| Failure::new("cannot write Consul's configuration", error, "check the disk"))?;
    let mut command = Command::new(packages::cache_folder()?.join("consul/usr/bin/consul"));
    command.args(["agent", "-dev"]).arg(format!("-config-file={}", file.display()));
    Ok(command)
}

fn etcd(address: SocketAddr, folder: &Path) -> Result<Command, Failure> {
    let (client, peer) = (format!("http://{address}"), format!("http://{}", free_address()?));
    let mut command = Command::new(packages::cache_folder()?.join("etcd/usr/bin/etcd"));
    command.arg("--data-dir").arg(folder.join("data")).args([
        "--name",
        "bench",
        "--log-level",
        "warn",
        "--logger",
        "zap",
    ]);
    for (flag, value) in [
        ("--listen-client-urls", &client),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &peer),
        ("--initial-advertise-peer-urls", &peer),
        ("--initial-cluster", &format!("bench={peer}")),
    ] {
        command.arg(flag).arg(value);
    }
    Ok(command)
}

/// Returns a loopback address whose port nobody listens on at the moment, another one each time: what is handed out may
/// not be listened on yet when the next one is asked for.
pub fn free_address() -> Result<SocketAddr, Failure> {
    static HANDED_OUT: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let free = free.map_err(|error| {
            Failure::new("cannot find a free port", error, "stop other servers on this machine")
        })?;
        if handed_out.insert(free) {
            return Ok(free);
        }
    }
}

/// The answer to a small request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends one small request and reads the answer to its end.
pub fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("not an HTTP answer"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_status_and_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0u8];
                client.read_exact(&mut byte).unwrap();
                question.extend(byte);
            }
            client.write_all(b"HTTP/1.0 503 No\r\nA: b\r\n\r\nbody").unwrap();
        });
        let answer = request(address, "GET", "/health", "").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "body"));
        assert!(answer.head.ends_with("A: b"), "{answer:?}");
        server.join().unwrap();
    }
}
