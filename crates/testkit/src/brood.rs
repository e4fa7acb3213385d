//! All that a test starts, and all that this starts in turn: found by a mark in the environment, ended with the test.
//!
//! Invariants: who belongs is told by a mark that no other test has, never by a name; signals go through handles, so that a number
//! that went to somebody else is never hit; once it was dropped, also after a failed assertion, nobody is left. Not found: a
//! process that was started with an empty environment.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

const VARIABLE: &str = "TEST_BROOD";
/// How long a killed process may take to vanish.
const VANISH: Duration = Duration::from_secs(20);

/// The processes that carry one mark.
#[derive(Debug)]
pub struct Brood {
    mark: String,
}

impl Default for Brood {
    fn default() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is not 1970 any more");
        Self { mark: format!("{}.{count}.{}", std::process::id(), since.as_nanos()) }
    }
}

impl Brood {
    /// Returns the variable that a process needs in its environment to belong, with its children, and its value.
    pub fn variable(&self) -> (&'static str, &str) {
        (VARIABLE, &self.mark)
    }

    /// Lists those who live, by their process ids.
    pub fn living(&self) -> Vec<i32> {
        self.each(|_| {})
    }

    /// Kills all and waits until they are gone; a fork may escape one round, but not the next.
    fn end(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let left = self.each(|handle| {
                // It may have ended just now.
                pidfd_send_signal(handle, Signal::KILL).ok();
            });
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > VANISH {
                return Err(format!("processes {left:?} of this test were killed and do not end"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn each(&self, visit: impl Fn(&OwnedFd)) -> Vec<i32> {
        let wanted = format!("{VARIABLE}={}", self.mark);
        let names = fs::read_dir("/proc")
            .expect("/proc is there")
            .map(|entry| entry.expect("it is read").file_name());
        let numbers = names.filter_map(|name| name.to_str().and_then(|name| name.parse().ok()));
        let carries = |number: &i32| {
            // The handle comes first: what is read afterwards is about the process that it belongs to. One that has ended says nothing.
            let handle = pidfd_open(Pid::from_raw(*number)?, PidfdFlags::empty()).ok()?;
            let environment = fs::read(Path::new("/proc").join(number.to_string()).join("environ")).ok()?;
            let is_ours = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
            is_ours.then_some(handle)
        };
        numbers.filter(|number| carries(number).inspect(&visit).is_some()).collect()
    }
}

impl Drop for Brood {
    fn drop(&mut self) {
        if let Err(left) = self.end() {
            // A second panic would hide the first.
            assert!(thread::panicking(), "{left}");
            eprintln!("{left}");
        }
    }
}
