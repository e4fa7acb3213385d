//! The only place that starts processes: scripts, hooks, builds, git.
//!
//! Invariants: every script has its own process group, empty standard input, a deadline and a bound on what is kept of
//! its output. When the deadline passes, the stop token fires or the future is dropped, the whole group is killed.
//! What a script leaves running after it ended by itself is left alone: `./server &` is a way to start a service.
//! A child that calls `setsid` leaves the group; nothing but a cgroup could follow it there.

mod capture;
pub mod census;
pub mod cgroup;
mod group;
mod kept;
mod launched;
mod leftover;
mod user;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use capture::{Capture, Lines};
use group::Group;
pub use kept::{Identity, Kept, Launch, Member, detach, reap_others};
pub use launched::launched;
pub use leftover::{RUN_VARIABLE, end_all, end_leftovers};
pub use user::User;

/// How long a script has between the polite signal and the one it cannot ignore, unless it says otherwise.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long we still read after the script ended, when something it started keeps the pipe open.
const DRAIN: Duration = Duration::from_millis(100);
/// How long a killed script may need to vanish; longer means that the kernel cannot end it.
const VANISH: Duration = Duration::from_secs(5);

/// One program to run, with all its limits.
#[derive(Clone, Debug)]
pub struct Script {
    /// A path, or a name to be found in the `PATH` of the environment.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working directory.
    pub directory: PathBuf,
    /// The variables it starts from.
    pub base: Base,
    /// Further variables; they win over the base.
    pub environment: Vec<(String, OsString)>,
    /// How long it may run.
    pub deadline: Duration,
    /// How long it has to end by itself once it was told to.
    pub grace: Duration,
    /// How many bytes of its output are kept: half from the beginning, half from the end.
    pub output_bytes_max: usize,
    /// Who it runs as; ourselves when absent. Needs root. Supplementary groups are dropped.
    pub user: Option<User>,
    /// A file that exists while it runs, so that a restarted agent finds it and ends it ([`end_leftovers`]).
    pub run_file: Option<PathBuf>,
}

/// The variables a script starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `PATH`, `HOME`, `USER`, `LOGNAME`, `LANG`, `TZ` and `TMPDIR`, as far as we have them.
    Clean,
    /// Everything we have ourselves but what begins with `FOOTPLATE_`: our tokens are nobody's business.
    Own,
}

/// How a script ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// Standard output and standard error, in the order written; bytes that are not UTF-8 are replaced.
    pub output: String,
    /// How many bytes in the middle of the output were dropped.
    pub omitted_bytes: u64,
    /// How long it ran.
    pub elapsed: Duration,
}

impl Finished {
    /// Tells whether it ended by itself with status 0.
    pub fn succeeded(&self) -> bool {
        self.end == End::Exited(0)
    }
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that did not come from us.
    Signalled(i32),
    /// By us, because its time was over.
    DeadlinePassed,
    /// By us, because we were told to stop.
    Stopped,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exited(status) => write!(f, "it ended with status {status}"),
            End::Signalled(signal) => write!(f, "it was killed by signal {signal}"),
            End::DeadlinePassed => f.write_str("it did not end before its deadline and was killed"),
            End::Stopped => f.write_str("it was stopped"),
        }
    }
}

/// A script that could not be run at all, or could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The program does not exist or may not be executed, or the working directory is gone.
    #[error("cannot start `{program}` in {}", .directory.display())]
    Start {
        /// The program as given.
        program: String,
        /// The working directory.
        directory: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The script runs, but we lost sight of it. It was killed.
    #[error("cannot watch `{program}`")]
    Watch {
        /// The program as given.
        program: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The script was killed and is still there: the kernel is waiting for a device or a network file system.
    #[error("`{program}` (process {process}) was killed and does not end")]
    Undead {
        /// The program as given.
        program: String,
        /// Its process id.
        process: i32,
    },
}

impl ShellError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            ShellError::Start { source, .. } if source.kind() == std::io::ErrorKind::ArgumentListTooLong => {
                "put the script into a file of the release and run that: Linux takes 128 KiB at once"
                    .to_owned()
            }
            ShellError::Start { program, directory, .. } => {
                format!(
                    "check that `{program}` is installed and executable, and that {} exists",
                    directory.display()
                )
            }
            ShellError::Watch { .. } => "look at the system's log; it is tried again by itself".to_owned(),
            ShellError::Undead { process, .. } => {
                format!(
                    "see what process {process} waits for (`cat /proc/{process}/stack`), most often a lost disk"
                )
            }
        }
    }
}

impl Script {
    /// Returns a script without arguments, with a clean environment, ten minutes of time and 64 KiB of kept output.
    pub fn new(program: impl Into<OsString>, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            directory: directory.into(),
            base: Base::Clean,
            environment: Vec::new(),
            deadline: Duration::from_secs(600),
            grace: GRACE,
            output_bytes_max: 64 * 1024,
            user: None,
            run_file: None,
        }
    }

    /// Returns the script with these further arguments.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Returns the script with one more variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the script with this deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn name(&self) -> String {
        Path::new(&self.program).display().to_string()
    }
}

/// Runs a script to its end and returns how it ended and what it said.
///
/// # Errors
/// Only when it could not be started, watched or ended; a bad exit status is a [`Finished`] like any other.
pub async fn run(script: &Script, stop: &CancellationToken) -> Result<Finished, ShellError> {
    run_streaming(script, stop, &mut |_| {}).await
}

/// Like [`run`], and hands over each line of the output as it comes, without its line end.
pub async fn run_streaming(
    script: &Script,
    stop: &CancellationToken,
    each_line: &mut (dyn FnMut(&str) + Send),
) -> Result<Finished, ShellError> {
    let begun = Instant::now();
    let run_file = script.run_file.as_deref().map(leftover::RunFile::create).transpose();
    let run_file = run_file.map_err(|source| start_error(script, source))?;
    let group = Group::start(script, run_file.as_ref()).map_err(|source| start_error(script, source))?;
    let mut watch =
        Watch { group, capture: Capture::new(script.output_bytes_max), lines: Lines::default(), each_line };
    let end = watch.until_the_end(script, stop).await?;
    watch.lines.finish(watch.each_line);
    let (output, omitted_bytes) = watch.capture.finish();
    Ok(Finished { end, output, omitted_bytes, elapsed: begun.elapsed() })
}

fn start_error(script: &Script, source: std::io::Error) -> ShellError {
    ShellError::Start { program: script.name(), directory: script.directory.clone(), source }
}

struct Watch<'a> {
    group: Group,
    capture: Capture,
    lines: Lines,
    each_line: &'a mut (dyn FnMut(&str) + Send),
}

impl Watch<'_> {
    async fn until_the_end(&mut self, script: &Script, stop: &CancellationToken) -> Result<End, ShellError> {
        let lost = |source| ShellError::Watch { program: script.name(), source };
        let cut = tokio::select! {
            biased;
            () = stop.cancelled() => Some(End::Stopped),
            () = tokio::time::sleep(script.deadline) => Some(End::DeadlinePassed),
            ended = self.read_until_exit() => { ended.map_err(lost)?; None }
        };
        if cut.is_some() {
            self.kill(script).await.map_err(lost)?;
        }
        let last_words = tokio::time::timeout(DRAIN, self.read_until_closed());
        if let Ok(Err(source)) = last_words.await {
            return Err(lost(source));
        }
        let process = self.group.id();
        let undead = || ShellError::Undead { program: script.name(), process };
        if cut.is_some() && tokio::time::timeout(VANISH, self.group.exited()).await.is_err() {
            return Err(undead());
        }
        let end = self.group.reap().map_err(lost)?;
        Ok(cut.unwrap_or(end))
    }

    /// Asks the whole group to end, waits out the grace, then ends it. Its leader is still unreaped,
    /// so the group's number cannot have gone to anybody else.
    async fn kill(&mut self, script: &Script) -> std::io::Result<()> {
        self.group.signal(rustix::process::Signal::TERM)?;
        if let Ok(ended) = tokio::time::timeout(script.grace, self.read_until_exit()).await {
            ended?;
        }
        self.group.signal(rustix::process::Signal::KILL)
    }

    async fn read_until_exit(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 8192];
        loop {
            let Some(pipe) = self.group.pipe.as_mut() else { return self.group.exited().await };
            // Not biased: a child that never stops talking must not hide that the script has ended.
            let bytes = tokio::select! {
                read = pipe.read(&mut buffer) => read?,
                exited = group::exited(&self.group.handle) => return exited,
            };
            self.take(&buffer[..bytes]);
        }
    }

    async fn read_until_closed(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 8192];
        while let Some(pipe) = self.group.pipe.as_mut() {
            let bytes = pipe.read(&mut buffer).await?;
            self.take(&buffer[..bytes]);
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.group.pipe = None;
        }
        self.capture.push(bytes);
        self.lines.push(bytes, self.each_line);
    }
}
