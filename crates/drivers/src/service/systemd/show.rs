//! What `systemctl show` says of a service, in our words. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::moment::Moment;

use super::super::{Exit, Order, Phase};
use footplate_core::release::Schedule;

/// The properties that are asked for.
pub(super) const PROPERTIES: &str =
    "ActiveState,SubState,MainPID,NRestarts,ExecMainStartTimestamp,ControlGroup";

/// Properties as `systemctl show` prints them, a line each.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeMap<String, String>);

impl Shown {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.get("NRestarts").parse().unwrap_or(0)
    }

    /// Returns what the process does. `timer` is what is shown of the service's timer, when it has one.
    pub(super) fn phase(&self, order: &Order, timer: Option<&Shown>, is_stopped: bool, now: Moment) -> Phase {
        let since = moment(self.get("ExecMainStartTimestamp")).unwrap_or(now);
        let pid = self.get("MainPID").parse().unwrap_or(0);
        match (self.get("ActiveState"), self.get("SubState")) {
            ("active" | "reloading", _) | ("activating", "start") if pid > 0 => Phase::Running { pid, since },
            ("activating", "auto-restart") => Phase::Waiting { until: now + order.restart.delay_min },
            ("activating", _) => Phase::Waiting { until: now },
            ("deactivating", _) => Phase::Stopping { until: now + order.stop.grace },
            _ if is_stopped => Phase::Stopped,
            _ => match (timer, &order.schedule) {
                (Some(timer), Some(schedule)) if timer.get("ActiveState") == "active" => {
                    Phase::Resting { until: next(schedule, since, now) }
                }
                _ => Phase::Forsaken,
            },
        }
    }
}

fn next(schedule: &Schedule, last: Moment, now: Moment) -> Moment {
    match schedule {
        Schedule::Every(_) => schedule.next(last).max(now),
        Schedule::Calendar(_) => schedule.next(now),
    }
}

/// Reads `@1795219200`, as `--timestamp=unix` prints a time.
fn moment(text: &str) -> Option<Moment> {
    let seconds: u64 = text.strip_prefix('@')?.parse().ok()?;
    Some(Moment::default() + Duration::from_secs(seconds))
}

/// Reads the line that the script at the process's end wrote: when, systemd's result, how, and the status.
pub(super) fn exit(line: &str, memory_mebibytes: u64) -> Option<Exit> {
    let mut words = line.split_whitespace();
    let at = Moment::from_millis(words.next()?.parse().ok()?);
    let (result, code, status) = (words.next()?, words.next().unwrap_or(""), words.next().unwrap_or(""));
    let why = match (result, code) {
        ("oom-kill", _) => format!("it used more than its {memory_mebibytes} MiB of memory and was killed"),
        ("timeout", _) => Exit::UNWILLING.to_owned(),
        (_, "killed" | "dumped") => format!("it was killed by signal {status}"),
        (_, "exited") => format!("it ended with status {status}"),
        _ => format!("it ended: {result}"),
    };
    Some(Exit { why, is_fine: result == "success", at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_a_keeper_tells_it() {
        for (line, why, is_fine) in [
            ("1795219200123 exit-code exited 3", "it ended with status 3", false),
            ("1795219200123 success exited 0", "it ended with status 0", true),
            ("1795219200123 signal killed KILL", "it was killed by signal KILL", false),
            (
                "1795219200123 oom-kill killed KILL",
                "it used more than its 64 MiB of memory and was killed",
                false,
            ),
            ("1795219200123 timeout killed KILL", "it did not end within its grace and was killed", false),
            ("1795219200123 resources", "it ended: resources", false),
        ] {
            let exit = exit(line, 64).expect(line);
            assert_eq!((exit.why.as_str(), exit.is_fine), (why, is_fine), "{line}");
        }
        assert_eq!(exit("half a", 64), None);
    }
}
