//! A program that a benchmark has started: it ends with the benchmark, whatever happens, and its talk goes to a file.

use crate::failure::Failure;
use crate::program;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output in `log`.
    pub fn start(command: Command, log: &Path) -> Result<Process, Failure> {
        Process::start_reading(command, log, Stdio::null())
    }

    /// Starts a program that is told more in lines; see [`Process::tell`].
    pub fn start_listening(command: Command, log: &Path) -> Result<Process, Failure> {
        Process::start_reading(command, log, Stdio::piped())
    }

    fn start_reading(mut command: Command, log: &Path, input: Stdio) -> Result<Process, Failure> {
        let name = program::render(&command);
        let failure = |error: std::io::Error| {
            Failure::new(format!("cannot start `{name}`"), error, "build it, or install it")
        };
        let out = File::create(log).map_err(failure)?;
        let talk = out.try_clone().map_err(failure)?;
        let child = command.stdin(input).stdout(out).stderr(talk).spawn().map_err(failure)?;
        Ok(Process { child, name, log: log.to_path_buf() })
    }

    /// Tells a program that listens a line.
    pub fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let told = self.child.stdin.as_mut().map_or(Ok(()), |input| writeln!(input, "{line}"));
        told.map_err(|error| self.failure(error.to_string()))
    }

    /// Returns the program's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of the log when the program has ended by itself.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failure(status.to_string())),
            Err(error) => Err(self.failure(error.to_string())),
        }
    }

    /// Waits until the program has ended well.
    pub fn wait(&mut self, deadline: Duration) -> Result<(), Failure> {
        let what = format!("`{}` to end", self.name);
        let status = poll(&what, deadline, || {
            self.child.try_wait().map_err(|error| Failure::new(&what, error, "run it again"))
        })?;
        if status.success() { Ok(()) } else { Err(self.failure(status.to_string())) }
    }

    /// Returns the resident memory in bytes, the program's own code included.
    pub fn memory(&self) -> Option<u64> {
        memory_of(self.id())
    }

    /// Returns the resident memory in bytes that is this process's alone: no code, which all processes of the program
    /// share and the kernel can drop.
    pub fn own_memory(&self) -> Option<u64> {
        status_bytes(self.id(), "RssAnon:")
    }

    fn failure(&self, because: String) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n    ");
        Failure::new(
            format!("`{}` ended early", self.name),
            format!("{because}\n    {end}"),
            "read its talk above",
        )
    }
}

/// Returns the resident memory of a process in bytes, its program's code included.
pub fn memory_of(process: u32) -> Option<u64> {
    status_bytes(process, "VmRSS:")
}

fn status_bytes(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before; then there is nobody to end and nothing to wait for.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Looks every 2 ms until `look` finds something. Fails with `what` at the deadline.
pub fn poll<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > deadline {
            let because = format!("nothing after {} s", deadline.as_secs());
            return Err(Failure::new(
                format!("waited in vain for {what}"),
                because,
                "run it again with fewer agents",
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
