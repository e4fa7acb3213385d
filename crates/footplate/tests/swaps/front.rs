//! The router before a site: started, replaced, told where it is; whichever it is.

use std::net::SocketAddr;
use std::path::Path;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use footplate_testkit::process::{Process, eventually};
use footplate_testkit::{Server, free_port, haproxy};

use crate::site;

/// A router that runs as a process, with an agent beside it.
pub trait Front: Sized {
    /// Starts it with a folder of its own below the site's; the site ends it.
    fn start(site: &Path) -> Self;

    /// Where clients come in.
    fn address(&self) -> SocketAddr;

    /// The table `[router]` of the agent beside it.
    fn settings(&self) -> String;

    /// Replaces it by another process of the same kind, as an upgrade does, and returns when the new one is in charge.
    fn upgrade(&mut self);

    /// Waits until processes that were replaced have ended by themselves.
    fn elders_end(&mut self);
}

/// Footplate's own router.
pub struct Builtin {
    site: std::path::PathBuf,
    address: SocketAddr,
    process: Process,
    elders: Vec<Process>,
}

impl Builtin {
    const FOLDER: &str = "router";

    fn process(site: &Path, address: SocketAddr) -> Process {
        let listen = address.to_string();
        let arguments = ["router", "--listen", &listen, "--folder", Self::FOLDER, "--workers", "2"];
        let mut process = Process::start("the router", site::program(site, &arguments));
        process.wait_for("The router serves at");
        process
    }
}

impl Front for Builtin {
    fn start(site: &Path) -> Self {
        let address = ([127, 0, 0, 1], free_port()).into();
        let process = Self::process(site, address);
        Self { site: site.to_owned(), address, process, elders: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn settings(&self) -> String {
        format!("folder = {:?}", self.site.join(Self::FOLDER))
    }

    fn upgrade(&mut self) {
        let fresh = Self::process(&self.site, self.address);
        self.elders.push(std::mem::replace(&mut self.process, fresh));
    }

    fn elders_end(&mut self) {
        for mut elder in self.elders.drain(..) {
            assert!(elder.wait().success(), "{}", elder.said());
        }
    }
}

/// HAProxy, started as a system would: with the file that the agent leaves for it, empty at first.
pub struct Haproxy {
    folder: std::path::PathBuf,
    address: SocketAddr,
    _server: Server,
}

impl Haproxy {
    fn say(&self, line: &str) -> std::io::Result<String> {
        let mut socket = UnixStream::connect(self.folder.join("master.sock"))?;
        socket.write_all(format!("{line}\n").as_bytes())?;
        socket.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map(|_| answer)
    }

    /// Returns the ids of its processes, the one that takes connections first.
    fn workers(&self) -> Vec<String> {
        let told = self.say("show proc").unwrap_or_default();
        let lines = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.filter(|words| words.get(1) == Some(&"worker")).map(|words| words[0].to_owned()).collect()
    }
}

impl Front for Haproxy {
    fn start(site: &Path) -> Self {
        let folder = site.join("haproxy");
        std::fs::create_dir_all(&folder).expect("room");
        let program = haproxy(&folder).expect("HAProxy");
        // Without anything to listen on it would end at once.
        let empty = format!(
            "frontend nobody\n    mode http\n    timeout client 1s\n    bind 127.0.0.1:{}\n",
            free_port()
        );
        std::fs::write(folder.join("footplate.cfg"), empty).expect("room");
        let master = format!("{},mode,600", folder.join("master.sock").display());
        let configuration = folder.join("footplate.cfg").display().to_string();
        let arguments = ["-W", "-S", &master, "-f", &configuration].map(str::to_owned);
        let server = Server::start(program, arguments.into(), folder.join("log")).expect("it starts");
        let front = Self { folder, address: ([127, 0, 0, 1], free_port()).into(), _server: server };
        eventually("HAProxy answers", || !front.workers().is_empty());
        front
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn settings(&self) -> String {
        let Self { folder, address, .. } = self;
        format!(
            "kind = \"haproxy\"\nfolder = {folder:?}\nmaster = {:?}\nprogram = {:?}\nlisten = [\"{address}\"]\n",
            folder.join("master.sock"),
            folder.join("haproxy"),
        )
    }

    fn upgrade(&mut self) {
        let before = self.workers();
        // The master replaces itself, and may close before it answers.
        drop(self.say("reload"));
        eventually("another process takes connections", || {
            self.workers().first().is_some_and(|first| !before.contains(first))
        });
    }

    fn elders_end(&mut self) {
        eventually("old processes have ended", || self.workers().len() == 1);
    }
}
