//! A program that a test runs as a process: started, listened to, killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How long the last words of a process may take, where somebody else holds its pipes open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A process that is killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listeners: Vec<JoinHandle<()>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; what matters is that it is gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    /// Starts a program; what it says is kept.
    pub fn start(name: &str, mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("stdout is piped")),
            Box::new(child.stderr.take().expect("stderr is piped")),
        ];
        let listen = |pipe| {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    said.lock().expect("nobody panics while he writes down").push(line);
                }
            })
        };
        let listeners = pipes.into_iter().map(listen).collect();
        Process { name: name.to_owned(), child, said, listeners }
    }

    /// Returns everything it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics while he writes down").join("\n")
    }

    /// Waits until it says something with `sign` in it.
    pub fn wait_for(&mut self, sign: &str) {
        let begun = Instant::now();
        while !self.said().contains(sign) {
            let ended = self.child.try_wait().expect("it is our child");
            assert!(
                ended.is_none() && begun.elapsed() < DEADLINE,
                "{} does not say {sign:?} ({ended:?}):\n{}",
                self.name,
                self.said()
            );
            poll_pause();
        }
    }

    /// Waits until it has ended by itself and all that it said is written down.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().expect("it is our child") {
                self.hear_out();
                return ended;
            }
            assert!(begun.elapsed() < DEADLINE, "{} does not end:\n{}", self.name, self.said());
            poll_pause();
        }
    }

    /// Waits for the last words of a process that has ended. What it left behind may hold its pipes open for ever.
    fn hear_out(&self) {
        let begun = Instant::now();
        while !self.listeners.iter().all(JoinHandle::is_finished) && begun.elapsed() < LAST_WORDS {
            poll_pause();
        }
    }

    /// Tells whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Kills it with a signal that cannot be caught.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }

    /// Tells it to end, and waits until it has.
    pub fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        self.wait();
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// Waits until `claim` holds.
pub fn eventually(what: &str, mut claim: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !claim() {
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
        poll_pause();
    }
}

/// The pause between two looks.
pub fn poll_pause() {
    std::thread::sleep(Duration::from_millis(5));
}
