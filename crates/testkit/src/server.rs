//! One child process that a test owns: started, killed, paused and started again on the same data.
//!
//! Invariant: it never outlives the test: dropping kills it, and the kernel kills it when the test process dies.

use std::fs::File;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Returns the path of a real server's program in the tests' cache folder, such as `consul/usr/bin/consul`.
///
/// The folder is `$FOOTPLATE_TEST_CACHE`, else `~/.cache/footplate-tests`.
pub fn cached_program(relative: &str) -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/footplate-tests"));
    let folder = std::env::var_os("FOOTPLATE_TEST_CACHE").map(PathBuf::from).or_else(home);
    let folder = folder.ok_or_else(|| Error::other("neither FOOTPLATE_TEST_CACHE nor HOME is set"))?;
    let program = folder.join(relative);
    if program.is_file() {
        return Ok(program);
    }
    Err(Error::other(format!(
        "cannot start a real server\n  because: {} is not there\n  next: run `cargo xtask test`, which installs it",
        program.display()
    )))
}

/// A child process that dies with the test.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// Starts `program`; what it prints is appended to the file `log`.
    pub fn start(program: PathBuf, arguments: Vec<String>, log: PathBuf) -> Result<Server> {
        let server = Server { program, arguments, log, child: Mutex::new(None) };
        server.start_again()?;
        Ok(server)
    }

    /// Starts the same command line again; it must not be running.
    pub fn start_again(&self) -> Result<()> {
        let mut child = self.child.lock().expect("nothing panics while it holds this lock");
        assert!(child.is_none(), "the server is running already");
        *child = Some(spawn_for_ever(self.command()?)?);
        Ok(())
    }

    /// Kills it with signal 9, as a crash would, and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().expect("nothing panics while it holds this lock");
        match child.take() {
            Some(mut running) => running.kill().and_then(|()| running.wait()).map(drop),
            None => Ok(()),
        }
    }

    /// Asks it to end, and waits until it has: one that has children ends them first. Fails when that takes longer than `patience`.
    pub fn end(&self, patience: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        let begun = Instant::now();
        while !self.has_ended() {
            if begun.elapsed() > patience {
                return Err(Error::other(format!("it does not end; it said\n{}", self.log_tail())));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops it in its tracks: it keeps its connections and answers nothing, until [`Server::resume`].
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Returns the process's id, or `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child.lock().expect("nothing panics while it holds this lock").as_ref().map(Child::id)
    }

    /// Tells whether it has ended by itself, for whoever waits for it to become ready.
    pub fn has_ended(&self) -> bool {
        let mut child = self.child.lock().expect("nothing panics while it holds this lock");
        child.as_mut().is_none_or(|running| !matches!(running.try_wait(), Ok(None)))
    }

    /// Returns the last lines it printed, for a failure's message.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(4000)..]).into_owned()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.ok_or_else(|| Error::other("the server does not run"))?, signal)?;
        Ok(())
    }

    /// As many open files as the system allows, because one test may hold thousands of connections; and a wish to be
    /// killed with the thread that starts it. Both are small programs of util-linux that replace themselves.
    fn command(&self) -> Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let files = open_files_max();
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}:{files}")).args(["setpriv", "--pdeathsig", "KILL", "--"]);
        command.arg(&self.program).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill().expect("a child that we own can be killed");
    }
}

/// Returns how many files a process may open at most (the hard limit).
pub(crate) fn open_files_max() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(4)?.parse().ok()).unwrap_or(1024)
}

type Order = (Command, Sender<Result<Child>>);

/// Starts a process from a thread that lives as long as this process: the wish to die with the parent means the
/// parent *thread*, and a test's own thread may end before the server should.
fn spawn_for_ever(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn()).expect("whoever ordered it waits for the answer");
            }
        });
        Mutex::new(orders)
    });
    let (answer, outcome) = channel();
    let order = spawner.lock().expect("nothing panics while it holds this lock").send((command, answer));
    order.map_err(|_| Error::other("the spawning thread has ended"))?;
    outcome.recv().map_err(Error::other)?
}
