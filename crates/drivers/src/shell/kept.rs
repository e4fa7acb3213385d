//! A process that is kept: started behind a gate, watched by its keeper, found again by the next keeper.
//!
//! Invariants: nothing of the service runs before its number and start time are on the disk (the gate is opened after that); a
//! process is recognised by number and start time, so a number that went to somebody else is never hit; the leader's
//! output goes to a pipe with a name, which the process itself keeps open: it survives its keeper, and at worst waits.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{End, User, census};

/// A process, told from every other one that had or will have its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number; also that of its process group.
    pub pid: i32,
    /// When it was started, in the kernel's ticks since the boot.
    pub started: u64,
}

/// What to start.
#[derive(Debug)]
pub struct Launch {
    /// The command line, run by `sh -c`.
    pub command: String,
    /// The working directory.
    pub directory: PathBuf,
    /// All of its variables.
    pub environment: Vec<(OsString, OsString)>,
    /// Who it runs as; ourselves when absent.
    pub user: Option<User>,
    /// The most private writable memory of each process, in bytes.
    pub data_bytes_max: Option<u64>,
    /// The most open files of each process.
    pub files_max: u64,
    /// A listening socket to hand over as descriptor 3.
    pub socket: Option<OwnedFd>,
    /// Where it writes what it says, to both outputs.
    pub output: File,
}

/// A living process of a service: a handle that signals nobody else, whatever becomes of its number.
pub type Member = OwnedFd;

/// A kept process. Dropping it ends nothing.
#[derive(Debug)]
pub struct Kept {
    identity: Identity,
    handle: OwnedFd,
    /// Whether we started it, so that its end can be waited for.
    is_ours: bool,
    gate: Option<io::PipeWriter>,
}

impl Kept {
    /// Starts a process that waits at its gate, as [`super::launched`] of this same program.
    pub fn start(launch: Launch) -> io::Result<Self> {
        let (reader, gate) = io::pipe()?;
        let mut command = Command::new("/proc/self/exe");
        command.args(["keeper", "--launch"]).arg(format!("--files={}", launch.files_max));
        command.args(launch.data_bytes_max.map(|bytes| format!("--bytes={bytes}")));
        command.args(launch.socket.is_some().then_some("--socket")).arg("--").arg(&launch.command);
        command.env_clear().envs(launch.environment).current_dir(&launch.directory).process_group(0);
        command
            .stdin(launch.socket.map_or_else(Stdio::null, Stdio::from))
            .stdout(reader)
            .stderr(launch.output);
        if let Some(user) = &launch.user {
            command.uid(user.uid).gid(user.gid);
        }
        let child = command.spawn()?;
        drop(command);
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        let started = census::started(pid)?;
        let identity = Identity { pid: pid.as_raw_nonzero().get(), started };
        Ok(Self { identity, handle, is_ours: true, gate: Some(gate) })
    }

    /// Lets the process begin. One that is gone already says so by its end.
    pub fn open_gate(&mut self) {
        use io::Write as _;
        if let Some(mut gate) = self.gate.take()
            && let Err(error) = gate.write_all(b"!")
        {
            tracing::warn!(process = self.identity.pid, %error, "a service ended before it began");
        }
    }

    /// Finds a process that another keeper started; `None` when it is gone.
    pub fn adopt(identity: Identity) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(identity.pid) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            other => other?,
        };
        // Looked at only now: the handle and the number belong together as long as this process lives.
        let is_it = census::started(pid).is_ok_and(|started| started == identity.started);
        let is_alive = is_it && !census::is_zombie(pid);
        Ok(is_alive.then_some(Self { identity, handle, is_ours: false, gate: None }))
    }

    /// Returns its number and start time.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns a descriptor that is readable once the process has ended.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Signals the process, and everybody in its group.
    ///
    /// The group is signalled only while its leader is there, so that its number is still its own.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, Signal::CONT) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            other => other?,
        }
        let group = Pid::from_raw(self.identity.pid).expect("a process has a number");
        match rustix::process::kill_process_group(group, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the socket that was handed over to it, if it was one and is still open: after the death of the keeper that held it.
    pub fn socket(&self) -> Option<OwnedFd> {
        let socket =
            rustix::process::pidfd_getfd(&self.handle, 3, rustix::process::PidfdGetfdFlags::empty()).ok()?;
        rustix::net::sockopt::socket_acceptconn(&socket).is_ok_and(|listens| listens).then_some(socket)
    }

    /// Lists who of the service lives: by group, by descent from it or from us, and by the id that `run_id` names.
    ///
    /// Any one of these can be escaped (by `setsid`, by a second fork, by writing over the environment).
    pub fn members(&self, run_id: &str) -> io::Result<Vec<Member>> {
        let leader = Pid::from_raw(self.identity.pid).expect("a process has a number");
        census::members(leader, &format!("{}={run_id}", super::RUN_VARIABLE))
    }

    /// Kills all of the service and waits until nobody lives, for at most `patience`. Returns whether all are gone.
    pub fn end(&self, run_id: &str, patience: Duration) -> io::Result<bool> {
        let begun = Instant::now();
        self.signal(Signal::KILL)?;
        loop {
            let members = self.members(run_id)?;
            if members.is_empty() {
                return Ok(true);
            }
            for member in members {
                match pidfd_send_signal(&member, Signal::KILL) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if begun.elapsed() > patience {
                return Ok(false);
            }
            // A killed process needs a moment to vanish, and a fork may have escaped the last round.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns how it ended, once its handle is readable; `None` when only its former keeper could have learnt that.
    pub fn reap(&self) -> io::Result<Option<End>> {
        if !self.is_ours {
            return Ok(None);
        }
        let status = rustix::process::waitpid(Pid::from_raw(self.identity.pid), WaitOptions::empty())?;
        Ok(status.and_then(|(_, status)| {
            status.exit_status().map(End::Exited).or(status.terminating_signal().map(End::Signalled))
        }))
    }
}

/// Starts this same program with these arguments as a process of its own, which outlives us, and waits until it says on
/// its standard output that it is ready. What it prints to standard error goes to `errors`.
///
/// # Errors
/// When it cannot be started, or ends without a word.
pub fn detach<A: AsRef<OsStr>>(arguments: &[A], errors: File) -> io::Result<()> {
    keep_descriptors()?;
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(errors);
    command.spawn()?;
    drop(command);
    reader.read_exact(&mut [0]).map_err(|_| io::Error::other("it ended before it was ready"))
}

/// Keeps what we have open to ourselves: who outlives us must not hold a pipe of ours, or of whoever started us, open.
fn keep_descriptors() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|number| number.parse::<i32>().ok()) else {
            continue;
        };
        if number <= 2 {
            continue;
        }
        #[allow(unsafe_code, reason = "descriptors that we inherited have nothing but a number")]
        // SAFETY: it is borrowed for one call that changes a flag; one that is closed already makes the call fail.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        match rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC) {
            Ok(()) | Err(rustix::io::Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reaps children that came to us when their parents ended: all but `leader`, which [`Kept::reap`] takes.
pub fn reap_others(leader: Option<Identity>) -> io::Result<()> {
    for pid in census::children_of_ours()? {
        if leader.is_some_and(|leader| leader.pid == pid.as_raw_nonzero().get()) {
            continue;
        }
        match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(_) | Err(rustix::io::Errno::CHILD) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
