//! The router before the benchmark's site: started as its users start it, on a core of its own with the clients.

use crate::bench::process::{Process, poll};
use crate::bench::router::{Ground, free_address, start_router};
use crate::failure::Failure;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const START_DEADLINE: Duration = Duration::from_secs(10);

/// Which router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Router,
    Haproxy,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Router, Kind::Haproxy];

    /// Returns its name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Router => "router",
            Kind::Haproxy => "HAProxy",
        }
    }
}

/// A router that runs; it is killed when dropped.
pub struct Front {
    /// Where clients come in.
    pub address: String,
    /// The table `[router]` of the agent beside it.
    pub settings: String,
    process: Process,
}

impl Front {
    /// Starts it in a folder of its own below the site's.
    pub fn start(ground: &Ground, kind: Kind, site: &Path) -> Result<Front, Failure> {
        let address = free_address()?;
        let folder = site.join("router");
        match kind {
            Kind::Router => {
                let process = start_router(ground, &folder, &address, "site-router")?;
                Ok(Front { address, settings: format!("folder = {folder:?}"), process })
            }
            Kind::Haproxy => haproxy(ground, address, &folder),
        }
    }

    /// Returns the resident memory of all its processes in bytes.
    pub fn memory(&self) -> u64 {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        children.chain([id]).filter_map(crate::bench::process::memory_of).sum()
    }
}

/// Starts HAProxy with the file that the agent leaves for it, in which stands nothing yet.
fn haproxy(ground: &Ground, address: String, folder: &Path) -> Result<Front, Failure> {
    let cannot_write = |error| Failure::new("cannot write HAProxy's folder", error, "free some space");
    fs::create_dir_all(folder).map_err(cannot_write)?;
    let program = folder.join("haproxy");
    fs::write(&program, with_libraries(&ground.cache.join("haproxy"))).map_err(cannot_write)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(cannot_write)?;
    let configuration = folder.join("footplate.cfg");
    // Without anything to listen on it would end at once.
    let nobody =
        format!("frontend nobody\n    mode http\n    timeout client 1s\n    bind {}\n", free_address()?);
    fs::write(&configuration, nobody).map_err(cannot_write)?;
    let master = folder.join("master.sock");
    let (socket, file) = (format!("{},mode,600", master.display()), configuration.display().to_string());
    let mut process =
        ground.start("site-haproxy", ground.cores.0, &program, &["-W", "-S", &socket, "-f", &file], &[])?;
    poll("HAProxy's master socket", START_DEADLINE, || {
        process.check()?;
        Ok(UnixStream::connect(&master).is_ok().then_some(()))
    })?;
    let settings = format!(
        "kind = \"haproxy\"\nfolder = {folder:?}\nmaster = {master:?}\nprogram = {program:?}\nlisten = [\"{address}\"]"
    );
    Ok(Front { address, settings, process })
}

/// Returns a script that is HAProxy with the libraries that were unpacked beside it.
fn with_libraries(root: &Path) -> String {
    let libraries: PathBuf = root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let program = root.join("usr/sbin/haproxy");
    format!("#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n", libraries.display(), program.display())
}
