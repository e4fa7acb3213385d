//! The three proxies, each with one thread, one service behind it and connections kept open on both sides.

use super::Ground;
use crate::bench::process::{Process, poll};
use crate::failure::Failure;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Router,
    Haproxy,
    Nginx,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Router, Kind::Haproxy, Kind::Nginx];

    /// Returns its name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Router => "router",
            Kind::Haproxy => "HAProxy",
            Kind::Nginx => "nginx",
        }
    }
}

/// A proxy that runs; it is killed when dropped.
pub struct Proxy {
    pub kind: Kind,
    pub address: String,
    process: Process,
}

impl Proxy {
    /// Starts it before a service and waits until it answers.
    pub fn start(ground: &Ground, kind: Kind, service: &str) -> Result<Proxy, Failure> {
        let address = free_address()?;
        let process = match kind {
            Kind::Router => router(ground, &address, service)?,
            Kind::Haproxy => haproxy(ground, &address, service)?,
            Kind::Nginx => nginx(ground, &address, service)?,
        };
        let mut proxy = Proxy { kind, address, process };
        poll(&format!("{} to answer", kind.name()), Duration::from_secs(10), || {
            proxy.process.check()?;
            Ok(answers(&proxy.address).then_some(()))
        })?;
        Ok(proxy)
    }

    /// Returns the CPU time of its processes so far, in seconds.
    pub fn cpu(&self) -> f64 {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let all = children.split_whitespace().filter_map(|child| child.parse().ok()).chain([id]);
        all.map(cpu_of).sum()
    }
}

/// Reads the user and system time of a process. They are counted in hundredths of a second on Linux.
fn cpu_of(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is a name in parentheses, which may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Returns an address of loopback where nobody listens.
pub fn free_address() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let found = listener.map(|address| address.to_string());
    found.map_err(|error| Failure::new("cannot find a free port", error, "free some"))
}

fn answers(address: &str) -> bool {
    let ask = || {
        let mut client = TcpStream::connect(address)?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).map(|_| answer)
    };
    ask().is_ok_and(|answer: String| answer.starts_with("HTTP/1.1 200"))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text)
        .map_err(|error| Failure::new(format!("cannot write {}", path.display()), error, "check the disk"))
}

/// Starts the router with one worker and tells it its table.
fn router(ground: &Ground, address: &str, service: &str) -> Result<Process, Failure> {
    let folder = ground.folder.path().join("router");
    let process = start_router(ground, &folder, address, "router")?;
    put_table(&folder, 1, "1", service)?;
    Ok(process)
}

/// Starts a router in a folder and waits for its control socket.
pub fn start_router(ground: &Ground, folder: &Path, address: &str, name: &str) -> Result<Process, Failure> {
    let place = folder.display().to_string();
    let arguments = ["router", "--listen", address, "--folder", &place, "--workers", "1"];
    let mut process = ground.start(name, ground.cores.0, &ground.router, &arguments, &[])?;
    poll("the router's control socket", Duration::from_secs(10), || {
        process.check()?;
        Ok(UnixStream::connect(folder.join("control.sock")).is_ok().then_some(()))
    })?;
    Ok(process)
}

/// Puts a table with one version at one address into force.
pub fn put_table(folder: &Path, revision: u64, version: &str, service: &str) -> Result<(), Failure> {
    let table = format!(
        "{{\"revision\":{revision},\"services\":{{\"a\":{{\"routes\":[{{}}],\"versions\":[{{\"name\":\"{version}\",\"share\":1000000}}],\
         \"endpoints\":[{{\"name\":\"{version}\",\"address\":\"{service}\",\"version\":\"{version}\"}}]}}}}}}"
    );
    let request = format!(
        "PUT /v1/table HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{table}",
        table.len()
    );
    let put = || {
        let mut socket = UnixStream::connect(folder.join("control.sock"))?;
        socket.write_all(request.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map(|_| answer)
    };
    match put() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(answer) => {
            Err(Failure::new("the router took no table", answer, "see docs/reference/router-api.md"))
        }
        Err(error) => {
            Err(Failure::new("the router's control socket does not answer", error, "read its talk"))
        }
    }
}

fn haproxy(ground: &Ground, address: &str, service: &str) -> Result<Process, Failure> {
    let config = ground.folder.path().join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
         http-reuse always\n  option forwardfor\nfrontend front\n  bind {address}\n  default_backend back\nbackend back\n  server one {service}\n"
    );
    write(&config, &text)?;
    let root = ground.cache.join("haproxy");
    let libraries: PathBuf = root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let arguments = ["-db", "-f", &config.display().to_string()];
    ground.start(
        "haproxy",
        ground.cores.0,
        &root.join("usr/sbin/haproxy"),
        &arguments,
        &[("LD_LIBRARY_PATH", libraries)],
    )
}

fn nginx(ground: &Ground, address: &str, service: &str) -> Result<Process, Failure> {
    let (config, place) = (ground.folder.path().join("nginx.conf"), ground.folder.path().display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {place}/nginx-{kind};\n"))
        .collect();
    let text = format!(
        "master_process off;\ndaemon off;\npid {place}/nginx.pid;\nevents {{ worker_connections 4096; }}\nhttp {{\n  access_log off;\n{temporary}  \
         keepalive_requests 1000000000;\n  upstream back {{ server {service}; keepalive 256; keepalive_requests 1000000000; }}\n  \
         server {{ listen {address}; location / {{ proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }} }}\n}}\n"
    );
    write(&config, &text)?;
    let log = ground.folder.path().join("nginx-errors.log").display().to_string();
    let arguments = ["-c", &config.display().to_string(), "-e", &log];
    ground.start("nginx", ground.cores.0, &ground.cache.join("nginx/usr/sbin/nginx"), &arguments, &[])
}
