//! The text of a service's units. Pure.
//!
//! Source: systemd.unit(5), systemd.service(5), systemd.resource-control(5), systemd.timer(5), systemd.time(7).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use footplate_core::release::service::{Listen, StopSignal};
use footplate_core::release::{Calendar, Schedule};

use super::super::{Folder, HEARTBEAT, Order, ServiceName};

/// The first version of systemd that makes delays grow.
const GROWING_DELAYS: u32 = 254;

/// The units of one service: their file names' ends and texts. The last one is what is enabled.
pub(super) type Units = Vec<(&'static str, String)>;

/// Returns the name of a service's units, without the end.
pub(super) fn name(service: &ServiceName) -> String {
    // The only character of our names that a unit's name may not have; written as systemd-escape(1) does.
    format!("footplate-{service}").replace('+', "\\x2b")
}

/// Returns the script that runs when the service's process has ended: it writes down how, for us and for people.
pub(super) fn ended_script(folder: &Folder) -> String {
    let place = folder.path().display();
    format!(
        "# Written by footplate. systemd says in these variables how the process ended.\n\
         echo \"$(date +%s%3N) $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS\" > '{place}/ended.new' && mv '{place}/ended.new' '{place}/ended'\n\
         echo \"footplate: it ended: $SERVICE_RESULT, $EXIT_CODE $EXIT_STATUS\" >> '{place}/output.log'\n"
    )
}

/// Returns the units of a service, for this version of systemd.
pub(super) fn units(order: &Order, folder: &Folder, version: u32) -> Units {
    let mut units = vec![("service", service(order, folder, version))];
    if let (Some(port), Listen::Socket) = (order.port, order.listen) {
        units.push(("socket", socket(order, port)));
    }
    if let Some(schedule) = &order.schedule {
        units.push(("timer", timer(order, schedule)));
    }
    units
}

fn service(order: &Order, folder: &Folder, version: u32) -> String {
    let mut text = head(order);
    // Whatever happens, it is tried again: `core::health` says when enough is enough.
    let kind = if order.notifies { "notify" } else { "exec" };
    text.push_str(&format!("StartLimitIntervalSec=0\n\n[Service]\nType={kind}\n"));
    let mut line = |key: &str, value: &str| writeln!(text, "{key}={value}").expect("a text takes everything");
    line("ExecStartPre", &format!("+/usr/bin/touch {}", quoted_path(&folder.heartbeat())));
    if order.notifies {
        // How long it may take is ours to judge. What follows its start does so once it has said that it is ready.
        line("NotifyAccess", "all");
        line("TimeoutStartSec", "infinity");
        line("ExecStartPre", &format!("+/bin/rm -f {}", quoted_path(&folder.notified())));
        line("ExecStartPost", &format!("+/usr/bin/touch {}", quoted_path(&folder.notified())));
    }
    line("ExecStart", &format!("/bin/sh -c {}", quoted(&order.command).replace('$', "$$")));
    line("ExecStopPost", &format!("+/bin/sh {}", quoted_path(&folder.path().join("ended.sh"))));
    line("WorkingDirectory", &escaped(&order.directory.display().to_string()));
    if let Some(user) = &order.user {
        line("User", &escaped(user));
    }
    for (name, value) in &order.environment {
        line("Environment", &quoted(&format!("{name}={value}")));
    }
    line("Environment", &quoted(&format!("{HEARTBEAT}={}", folder.heartbeat().display())));
    line("StandardOutput", &format!("append:{}", escaped(&folder.log().display().to_string())));
    line("StandardError", "inherit");
    line("KillMode", "control-group");
    limits(order, &mut line);
    if order.schedule.is_none() {
        restart(order, version, &mut line);
    }
    if order.schedule.is_none() && !(order.port.is_some() && order.listen == Listen::Socket) {
        text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    }
    text
}

fn limits(order: &Order, line: &mut impl FnMut(&str, &str)) {
    let limits = order.limits;
    line("KillSignal", signal(order.stop.signal));
    line("TimeoutStopSec", &format!("{}ms", order.stop.grace.as_millis()));
    line("MemoryMax", &limits.memory_bytes.to_string());
    line("MemorySwapMax", "0");
    line("CPUQuota", &format!("{}%", limits.cpu_millis.div_ceil(10)));
    line("TasksMax", &limits.tasks_max.to_string());
    line("LimitNOFILE", &limits.files_max.to_string());
    line("LimitCORE", "0");
    line("OOMPolicy", "kill");
}

fn restart(order: &Order, version: u32, line: &mut impl FnMut(&str, &str)) {
    let restart = order.restart;
    line("Restart", "always");
    line("RestartSec", &format!("{}ms", restart.delay_min.as_millis()));
    // An older one cannot make the delay grow.
    if version >= GROWING_DELAYS {
        line("RestartSteps", "6");
        line("RestartMaxDelaySec", &format!("{}ms", restart.delay_max.as_millis()));
    }
}

fn socket(order: &Order, port: u16) -> String {
    format!("{}\n[Socket]\nListenStream=0.0.0.0:{port}\n\n[Install]\nWantedBy=sockets.target\n", head(order))
}

fn timer(order: &Order, schedule: &Schedule) -> String {
    let when = match schedule {
        Schedule::Every(interval) => {
            format!("OnActiveSec=0\nOnUnitActiveSec={}ms\nAccuracySec=1ms", interval.as_millis())
        }
        Schedule::Calendar(calendar) => format!("OnCalendar={}\nAccuracySec=1s", on_calendar(calendar)),
    };
    format!("{}\n[Timer]\n{when}\n\n[Install]\nWantedBy=timers.target\n", head(order))
}

fn head(order: &Order) -> String {
    format!("# Written by footplate; changes are lost.\n[Unit]\nDescription=footplate: {}\n", order.name)
}

/// Returns a calendar in systemd's words.
fn on_calendar(calendar: &Calendar) -> String {
    let [minutes, hours, days, months, weekdays] = calendar.fields();
    let list = |numbers: &BTreeSet<u8>, all: usize| match numbers.len() {
        count if count == all => "*".to_owned(),
        _ => numbers.iter().map(|number| format!("{number:02}")).collect::<Vec<_>>().join(","),
    };
    const NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let names: Vec<&str> = weekdays.iter().map(|day| NAMES[usize::from(*day)]).collect();
    let weekdays = if names.len() == 7 { String::new() } else { names.join(",") + " " };
    let (days, months) = (list(days, 31), list(months, 12));
    format!("{weekdays}*-{months}-{days} {}:{}:00 UTC", list(hours, 24), list(minutes, 60))
}

/// Returns the signal's name.
pub(super) fn signal(which: StopSignal) -> &'static str {
    match which {
        StopSignal::Term => "SIGTERM",
        StopSignal::Int => "SIGINT",
        StopSignal::Quit => "SIGQUIT",
        StopSignal::Hup => "SIGHUP",
        StopSignal::Usr1 => "SIGUSR1",
        StopSignal::Usr2 => "SIGUSR2",
        StopSignal::Winch => "SIGWINCH",
    }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string()).replace('$', "$$")
}

/// Returns a text as one word of a unit's line.
fn quoted(text: &str) -> String {
    let mut word = String::from('"');
    for c in escaped(text).chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '\n' => word.push_str("\\n"),
            c if c.is_control() => word.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => word.push(c),
        }
    }
    word.push('"');
    word
}

/// Returns a text that means itself where `%` means something else.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_is_told_in_systemds_words() {
        for (cron, ours) in [
            ("* * * * *", "*-*-* *:*:00 UTC"),
            ("30 3 * * *", "*-*-* 03:30:00 UTC"),
            ("0,30 0 1 1,7 *", "*-01,07-01 00:00,30:00 UTC"),
            ("5 4 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 04:05:00 UTC"),
            ("5 4 * * 7", "Sun *-*-* 04:05:00 UTC"),
        ] {
            assert_eq!(on_calendar(&cron.parse().expect(cron)), ours);
        }
    }

    #[test]
    fn a_word_means_itself() {
        assert_eq!(quoted("100% \"quoted\" \\ \n"), r#""100%% \"quoted\" \\ \n""#);
    }
}
