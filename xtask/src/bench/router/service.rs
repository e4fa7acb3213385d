//! The service behind the proxies, with the clients on its own thread: neither waits for the other's turn on a core.

use super::{CLIENTS, CLIENTS_OPEN, Ground, NEXT, Seen};
use crate::bench::process::{Process, poll};
use crate::failure::Failure;
use std::process::Command;
use std::time::Duration;

/// How long the clients may take longer than they were told.
const PATIENCE: Duration = Duration::from_secs(10);

/// A service that answers with a small body, and asks where it is told to.
pub struct Service {
    process: Process,
    name: String,
    /// Where it listens.
    pub address: String,
    /// How many lines it has said.
    lines: usize,
}

impl Service {
    /// Starts it on the core of all that is no proxy.
    pub fn start(ground: &Ground, name: &str) -> Result<Service, Failure> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &ground.cores.1.to_string()]).arg(&ground.load);
        command.args(["serve", "127.0.0.1:0", "100"]);
        let log = ground.folder.path().join(format!("{name}.log"));
        let process = Process::start_listening(command, &log)?;
        let mut service = Service { process, name: name.to_owned(), address: String::new(), lines: 0 };
        service.address = service.next_line(ground, "the service", PATIENCE)?;
        Ok(service)
    }

    /// Asks at an address: as fast as it answers, or at a rate. `cpu` tells the CPU time of whoever is measured.
    pub fn ask(
        &mut self,
        ground: &Ground,
        address: &str,
        seconds: u64,
        rate: Option<f64>,
        cpu: impl Fn() -> f64,
    ) -> Result<Seen, Failure> {
        let line = match rate {
            None => format!("closed {address} {CLIENTS} {seconds}"),
            Some(rate) => format!("open {address} {CLIENTS_OPEN} {seconds} {rate:.0}"),
        };
        let before = cpu();
        self.process.tell(&line)?;
        let said = self.next_line(ground, "the clients", Duration::from_secs(seconds) + PATIENCE)?;
        let cpu = cpu() - before;
        let seen: Seen = serde_json::from_str(&said)
            .map_err(|error| Failure::new("the clients said nothing sensible", error, NEXT))?;
        if seen.failed > 0 {
            let because = format!("{} requests at {address}", seen.failed);
            return Err(Failure::new("a proxy failed under load", because, NEXT));
        }
        Ok(Seen { cpu, whole: seconds as f64, ..seen })
    }

    fn next_line(&mut self, ground: &Ground, what: &str, deadline: Duration) -> Result<String, Failure> {
        let line = poll(what, deadline, || {
            self.process.check()?;
            let said = ground.said(&self.name);
            Ok(said
                .split_inclusive('\n')
                .nth(self.lines)
                .filter(|line| line.ends_with('\n'))
                .map(str::to_owned))
        })?;
        self.lines += 1;
        Ok(line.trim_end().to_owned())
    }
}
