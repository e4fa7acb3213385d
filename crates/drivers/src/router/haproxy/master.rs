//! The socket of HAProxy's master process: through it every process of HAProxy is asked and told by its id, also one
//! that was replaced and finishes its requests. The protocol is HAProxy's, management guide section 9.4.
//!
//! Invariant: what is said to one process never reaches another, however many reloads happen meanwhile.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a line of commands may be, in bytes; HAProxy's own bound is its buffer of 16 KiB.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// The master process.
#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) socket: PathBuf,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Processes {
    /// The process that takes connections.
    pub(super) current: Option<u32>,
    /// Those that finish what they began before a reload.
    pub(super) old: Vec<u32>,
    /// How often a configuration could not be loaded since one last was.
    pub(super) failed_reloads: u32,
}

impl Master {
    /// Lists the processes.
    pub(super) async fn processes(&self) -> io::Result<Processes> {
        parse_processes(&self.say("show proc").await?)
            .ok_or_else(|| io::Error::other("its master process lists no processes"))
    }

    /// Asks one process; an answer of nothing may mean that it has ended.
    pub(super) async fn ask(&self, process: u32, command: &str) -> io::Result<String> {
        self.say(&format!("@!{process} {command}")).await
    }

    /// Tells one process, and returns what it said to it all.
    pub(super) async fn tell(&self, process: u32, commands: &[String]) -> io::Result<String> {
        let mut said = String::new();
        let mut line = String::new();
        for command in commands {
            if line.len() + command.len() > LINE_BYTES_MAX {
                said += &self.say(&std::mem::take(&mut line)).await?;
            }
            line += &format!("@!{process} {command};");
        }
        if !line.is_empty() {
            said += &self.say(&line).await?;
        }
        Ok(said)
    }

    /// Has it load its configuration anew. It answers nothing: whether it did shows in the processes.
    pub(super) async fn reload(&self) -> io::Result<()> {
        match self.say("reload").await {
            // The master replaces itself at once.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            said => said.map(drop),
        }
    }

    /// Its side ends when ours has: else it waits for more.
    async fn say(&self, line: &str) -> io::Result<String> {
        let talk = async {
            let mut socket = UnixStream::connect(&self.socket).await?;
            socket.write_all(format!("{line}\n").as_bytes()).await?;
            socket.shutdown().await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in 5 s"));
        tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(late)
    }
}

fn parse_processes(text: &str) -> Option<Processes> {
    let mut processes = Processes::default();
    let mut is_old = false;
    let mut has_master = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            is_old = title.starts_with("old");
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(id), Some(kind)) = (words.first().and_then(|id| id.parse().ok()), words.get(1)) else {
            continue;
        };
        match (*kind, is_old) {
            ("master", _) => {
                has_master = true;
                let failed =
                    words.iter().position(|word| *word == "[failed:").and_then(|at| words.get(at + 1));
                let failed = failed.and_then(|number| number.trim_end_matches(']').parse().ok());
                processes.failed_reloads = failed.unwrap_or(0);
            }
            ("worker", false) => processes.current = Some(id),
            ("worker", true) => processes.old.push(id),
            _ => {}
        }
    }
    has_master.then_some(processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processes_are_told_apart() {
        let text = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
            19779           master          2 [failed: 1]   0d00h00m31s     2.6.12-1+deb12u3\n# workers\n\
            20582           worker          0               0d00h00m01s     2.6.12-1+deb12u3\n# old workers\n\
            19780           worker          1               0d00h00m31s     2.6.12-1+deb12u3\n# programs\n\n";
        let expected = Processes { current: Some(20582), old: vec![19780], failed_reloads: 1 };
        assert_eq!(parse_processes(text), Some(expected));
        assert_eq!(parse_processes("Unknown command\n"), None);
    }
}
