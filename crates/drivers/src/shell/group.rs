//! A process group that we started: its leader, its output, the signals to all of it.
//!
//! Invariants: the leader is reaped only here and only once, and no signal is sent to the group afterwards, so that a
//! number that went to somebody else is never hit. A group that is dropped before it was reaped is killed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;

use super::leftover::RunFile;
use super::{Base, End, RUN_VARIABLE, Script};

/// Where programs are looked for when we have no `PATH` ourselves.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CLEAN: [&str; 6] = ["HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"];

pub(super) struct Group {
    /// The leader; gone once it was reaped.
    child: Option<Child>,
    leader: Pid,
    /// Readable once the leader has ended.
    pub(super) handle: AsyncFd<OwnedFd>,
    /// What the script says; gone once everybody closed it.
    pub(super) pipe: Option<Receiver>,
}

impl Group {
    /// Starts a script. Nothing here needs code between fork and exec, so the fast `posix_spawn` is used
    /// (but for another user, where the standard library forks).
    pub(super) fn start(script: &Script, run_file: Option<&RunFile>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let environment = environment(script, run_file);
        let mut command = Command::new(find(&script.program, &environment));
        command.args(&script.arguments).current_dir(&script.directory).env_clear().envs(environment);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        if let Some(user) = &script.user {
            command.uid(user.uid).gid(user.gid);
        }
        let mut child = command.spawn()?;
        drop(command);
        match watch(&child, reader.into()) {
            Ok((leader, handle, pipe)) => Ok(Self { child: Some(child), leader, handle, pipe: Some(pipe) }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Returns the leader's process id, which is the group's number too.
    pub(super) fn id(&self) -> i32 {
        self.leader.as_raw_nonzero().get()
    }

    /// Signals everybody in the group. A group without living members is fine.
    ///
    /// # Panics
    /// When the leader was reaped: its number may belong to somebody else.
    pub(super) fn signal(&self, which: Signal) -> io::Result<()> {
        assert!(self.child.is_some(), "a reaped group is never signalled");
        signal(self.leader, which)
    }

    /// Waits until the leader has ended, without reaping it.
    pub(super) async fn exited(&self) -> io::Result<()> {
        exited(&self.handle).await
    }

    /// Takes the ended leader's status.
    pub(super) fn reap(&mut self) -> io::Result<End> {
        let mut child = self.child.take().expect("a group is reaped once");
        let status = child.wait()?;
        Ok(status.code().map_or_else(|| End::Signalled(status.signal().unwrap_or(0)), End::Exited))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Err(error) = signal(self.leader, Signal::KILL) {
            tracing::warn!(process = self.id(), %error, "cannot kill a script");
        }
        // Reaping may take a while, and a destructor must not. A thread that cannot start leaves a zombie, no more.
        let reaper = std::thread::Builder::new().spawn(move || child.wait());
        if let Err(error) = reaper {
            tracing::warn!(process = self.id(), %error, "cannot reap a killed script");
        }
    }
}

fn signal(leader: Pid, signal: Signal) -> io::Result<()> {
    match kill_process_group(leader, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the process behind a pidfd has ended.
pub(super) async fn exited(handle: &AsyncFd<OwnedFd>) -> io::Result<()> {
    handle.readable().await.map(|mut guard| guard.retain_ready())
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe; what is asked there, an `OwnedFd` gives: it owns its descriptor"
)]
fn watch(child: &Child, reader: OwnedFd) -> io::Result<(Pid, AsyncFd<OwnedFd>, Receiver)> {
    let leader = Pid::from_child(child);
    let handle = pidfd_open(leader, PidfdFlags::NONBLOCK)?;
    let handle = AsyncFd::with_interest(handle, Interest::READABLE)?;
    Ok((leader, handle, Receiver::from_owned_fd(reader)?))
}

fn environment(script: &Script, run_file: Option<&RunFile>) -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let mut environment = vec![("PATH".into(), path)];
    match script.base {
        Base::Clean => environment
            .extend(CLEAN.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))),
        Base::Own => environment.extend(std::env::vars_os().filter(|(name, _)| !is_ours(name))),
    }
    if let Some(user) = &script.user {
        let own = [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)];
        environment.extend(own.map(|(name, value)| (name.into(), value.into())));
    }
    environment.extend(script.environment.iter().map(|(name, value)| (name.into(), value.clone())));
    environment.extend(run_file.map(|file| (RUN_VARIABLE.into(), file.id().into())));
    environment
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"FOOTPLATE_")
}

/// Returns the program's path. The standard library would look it up as well, but only after a slow fork.
fn find(program: &OsStr, environment: &[(OsString, OsString)]) -> PathBuf {
    let given = Path::new(program);
    if given.components().count() != 1 || program.as_encoded_bytes().contains(&b'/') {
        return given.to_owned();
    }
    let path = environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let is_executable =
        |file: &PathBuf| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    let folders = std::env::split_paths(path.unwrap_or(OsStr::new(PATH_DEFAULT)));
    folders.map(|folder| folder.join(given)).find(is_executable).unwrap_or_else(|| given.to_owned())
}
