//! The last step before a kept process: limits, the handed-over socket, the gate, and then its command in our place.
//!
//! Invariant: this runs first in a process of its own, on its only thread; nothing else has opened a descriptor yet.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The first descriptor of handed-over sockets. Source: sd_listen_fds(3).
const FIRST_SOCKET: i32 = 3;

/// Becomes the command: standard input is the socket or nothing, standard output the gate, standard error the output.
///
/// Returns only when it failed. A gate that is closed without a word means that the keeper is gone: then it ends at once.
pub fn launched(command: &str, data_bytes_max: Option<u64>, files_max: u64, has_socket: bool) -> io::Error {
    match prepare(command, data_bytes_max, files_max, has_socket) {
        Ok(mut ready) => ready.exec(),
        Err(error) => error,
    }
}

fn prepare(
    command: &str,
    data_bytes_max: Option<u64>,
    files_max: u64,
    has_socket: bool,
) -> io::Result<Command> {
    let mut ready = Command::new("/bin/sh");
    ready.args(["-c", command]);
    if has_socket {
        let socket = fcntl_dupfd_cloexec(io::stdin(), FIRST_SOCKET)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&socket);
        if number != FIRST_SOCKET {
            return Err(io::Error::other(format!(
                "descriptor {FIRST_SOCKET} is taken; the socket got {number}"
            )));
        }
        fcntl_setfd(&socket, FdFlags::empty())?;
        // It lives on in the command that takes our place.
        std::mem::forget(socket);
        ready.env("LISTEN_FDS", "1").env("LISTEN_PID", std::process::id().to_string());
    }
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, files_max)?;
    data_bytes_max.map_or(Ok(()), |bytes| limit(Resource::Data, bytes))?;
    wait_at_the_gate()?;
    let output = io::stderr().as_fd().try_clone_to_owned()?;
    ready.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    Ok(ready)
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let maximum = Some(now.maximum.map_or(most, |given| given.min(most)));
    Ok(setrlimit(resource, Rlimit { current: maximum, maximum })?)
}

fn wait_at_the_gate() -> io::Result<()> {
    let mut gate = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    gate.read_exact(&mut [0]).map_err(|_| io::Error::other("its keeper is gone"))
}
