//! The router before a site: started, replaced, told where it is; whichever it is.

use std::net::SocketAddr;
use std::path::Path;

use footplate_testkit::free_port;
use footplate_testkit::process::Process;

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
