//! A host's folder of services, with footplate's real keepers.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use footplate_core::release::service::{Limits, Listen, Logs, Ports, Restart, Stop, StopSignal};
use footplate_drivers::service::keeper::Keepers;
use footplate_drivers::service::{Order, Phase, PortRegister, ServiceName, Status, Supervisor, tail};
use tempfile::TempDir;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// One host. Whatever runs on it is ended when it is dropped.
pub struct Site {
    folder: TempDir,
    pub keepers: Keepers,
    pub ports: PortRegister,
    /// Its own by all odds: a port whose service is being restarted looks free to others.
    range: Ports,
}

impl Site {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let services = folder.path().join("services");
        let ports = PortRegister::open(&services).expect("open");
        let first = 23_000 + 50 * (RandomState::new().hash_one(0) % 180) as u16;
        let range = Ports { first, last: first + 49 };
        Self { keepers: keepers(&services), ports, range, folder }
    }

    /// Returns a host where no control group may be written.
    pub fn without_groups() -> Self {
        let mut site = Self::new();
        site.keepers = keepers(&site.services()).without_groups();
        site
    }

    pub fn services(&self) -> PathBuf {
        self.folder.path().join("services")
    }

    /// Returns a supervisor like that of another agent process: it knows the folder and nothing else.
    pub fn another(&self) -> Keepers {
        keepers(&self.services())
    }

    /// Returns an order for a worker that is ended and restarted quickly.
    pub fn worker(&self, release: &str, command: &str) -> Order {
        Order {
            name: name(release),
            command: command.to_owned(),
            directory: self.folder.path().to_owned(),
            environment: BTreeMap::from([("RELEASE".to_owned(), release.to_owned())]),
            user: None,
            port: None,
            listen: Listen::Port,
            notifies: false,
            schedule: None,
            stop: Stop { signal: StopSignal::Term, grace: Duration::from_secs(20) },
            restart: Restart {
                delay_min: Duration::from_millis(20),
                delay_max: Duration::from_millis(200),
                calm_after: Duration::from_secs(60),
            },
            limits: Limits::default(),
            logs: Logs::default(),
        }
    }

    /// Returns an order for a web service with a port of its own, run by the example `service`.
    pub fn web(&self, release: &str, arguments: &str) -> Order {
        let port = self.ports.take(&name(release), self.range).expect("a free port");
        let mut order = self.worker(release, &format!("exec {} {arguments}", program().display()));
        order.environment.insert("PORT".to_owned(), port.to_string());
        Order { port: Some(port), ..order }
    }

    pub async fn status(&self, release: &str) -> Status {
        let list = self.another().list().await.expect("listed");
        list.into_iter().find(|status| status.name == name(release)).expect("there is such a service")
    }

    /// Waits until the service stands so.
    pub async fn eventually(&self, release: &str, claim: impl Fn(&Status) -> bool) -> Status {
        let begun = Instant::now();
        loop {
            let status = self.status(release).await;
            if claim(&status) {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "{status:#?}\n{}", self.log(release));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn log(&self, release: &str) -> String {
        tail(&self.folder_of(release).join("output.log"), 8192).expect("read")
    }

    pub fn folder_of(&self, release: &str) -> PathBuf {
        self.services().join(name(release).to_string())
    }

    /// Returns the process id of a service's keeper: whoever was started with its folder.
    pub fn keeper_of(&self, release: &str) -> Option<i32> {
        let folder = self.folder_of(release);
        let of = |pid: &i32| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut arguments = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            is_alive(*pid)
                && arguments.clone().any(|word| word == "--stay")
                && arguments.any(|word| Path::new(&*word) == folder)
        };
        pids().find(of)
    }

    /// Lists the living processes whose working folder or arguments are below this site.
    pub fn processes(&self) -> Vec<i32> {
        let place = self.folder.path();
        let here = |pid: &i32| {
            let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_named = String::from_utf8_lossy(&arguments).contains(&*place.to_string_lossy());
            is_alive(*pid) && (folder.starts_with(place) || is_named)
        };
        pids().filter(here).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let keepers = self.another();
        let end = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                for (name, _) in keepers.look().await.unwrap_or_default() {
                    drop(keepers.stop(&name).await);
                }
            });
        };
        drop(std::thread::spawn(end).join());
    }
}

fn keepers(services: &Path) -> Keepers {
    Keepers::new(services, PathBuf::from(env!("CARGO_BIN_EXE_footplate")))
}

/// Returns the example `service`, which cargo builds beside the tests.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("we run");
    let build = test.ancestors().nth(2).expect("tests lie in `deps`").to_owned();
    build.join("examples/service")
}

pub fn name(release: &str) -> ServiceName {
    format!("production.shop.web.{release}").parse().expect("a name")
}

pub fn pid(status: &Status) -> i32 {
    match status.phase {
        Phase::Running { pid, .. } => pid,
        _ => panic!("it does not run: {status:?}"),
    }
}

pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").expect("proc is mounted");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Waits until `claim` holds.
pub async fn eventually(what: &str, claim: impl Fn() -> bool) {
    let begun = Instant::now();
    while !claim() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks a service over HTTP and returns what it says; nothing when it does not answer.
pub fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let mut body = String::new();
    reader.read_to_string(&mut body).ok()?;
    Some(body)
}
