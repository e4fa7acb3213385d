//! `[service.NAME]` of a `footplate.toml`: one process group's command, limits, health and end.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use footplate_core::name::{GroupName, InvalidName};
use footplate_core::release::service::{
    Check, Health, Kind, Limits, Listen, Logs, Ports, Probe, Restart, Service, Stop, StopSignal, Variables,
};
use footplate_core::release::{Calendar, Schedule};

use super::app::FILES;
use super::reach;
use super::requests;
use super::table::{Table, TextOrTable};

/// The process group that takes connections unless it says otherwise.
const WEB: &str = "web";
/// A service that runs more often than this is a worker with a pause of its own.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Reads all of them, by process group.
pub(super) fn read_all(root: &mut Table) -> BTreeMap<GroupName, Service> {
    let mut services = BTreeMap::new();
    for (name, mut table) in root.named_tables("service") {
        let service = read(&mut table, &name.value);
        let parsed: Result<GroupName, InvalidName> = name.value.parse();
        match (parsed, service) {
            (Err(error), _) => {
                table.mistake(name.span.clone(), "this is no process group's name", error.to_string())
            }
            (Ok(group), _) if group.as_str() == FILES => {
                let right = "an app without services has it; call it `web`, `worker`, or what it does";
                table.mistake(name.span.clone(), format!("`{FILES}` is no service's name"), right);
            }
            (Ok(group), Some(service)) => {
                services.insert(group, service);
                reach::check_claims(&services, &name, &table);
            }
            (Ok(_), None) => {}
        }
        table.finish();
    }
    services
}

fn read(table: &mut Table, name: &str) -> Option<Service> {
    let command = table.text("command");
    if !table.has("command") {
        let right = "say what to run: command = \"node server.js\"";
        table.mistake(table.span(), format!("`service.{name}.command` is missing"), right);
    }
    let directory = read_directory(table);
    let health = read_health(table);
    let kind = read_kind(table, name, &health);
    check_health(table, &kind, &health);
    let (routes, sticky) = (reach::read_routes(table), reach::read_sticky(table));
    let requests = requests::read(table);
    if !matches!(kind, Kind::Web { .. }) && (routes.is_some() || sticky.is_some() || requests.is_some()) {
        let right = "take `routes`, `sticky` and `requests` out, or give it a port: kind = \"web\"";
        table.mistake(table.span(), "a service without a port answers no requests", right);
    }
    let base = Service::new(command.map(|found| found.value).unwrap_or_default(), kind);
    let service = Service {
        directory,
        user: table.text("user").map(|found| found.value),
        env: read_env(table),
        routes,
        sticky,
        requests: requests.unwrap_or_default(),
        health,
        drain: table.duration("drain").unwrap_or(base.drain),
        stop: read_stop(table),
        restart: read_restart(table),
        limits: read_limits(table),
        logs: read_logs(table),
        ..base
    };
    (!service.command.is_empty()).then_some(service)
}

/// Reads `env`: plain variables, none of which may be one that Footplate sets.
pub(super) fn read_env(table: &mut Table) -> Variables {
    let span = table.span();
    let variables = table.named_texts("env");
    for name in variables.keys() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
            table.mistake(
                span.clone(),
                format!("`{}` is no variable's name", name.escape_debug()),
                "use letters, digits and `_`",
            );
        }
        if let "PORT" | "HEARTBEAT" | "NOTIFY_SOCKET" | "RELEASE" | "LISTEN_FDS" | "LISTEN_PID" =
            name.as_str()
        {
            table.mistake(
                span.clone(),
                format!("`{name}` is set by footplate"),
                "take it out, or choose another name",
            );
        }
    }
    variables
}

fn read_directory(table: &mut Table) -> String {
    let Some(found) = table.text("directory") else { return String::new() };
    if found.value.starts_with('/') || found.value.split('/').any(|part| part == "..") {
        table.mistake(
            found.span,
            "the directory is not in the release",
            "expected a folder below the release's, such as \"app\"",
        );
    }
    found.value
}

fn read_kind(table: &mut Table, name: &str, health: &Health) -> Kind {
    let given = table.choice("kind", &[("web", true), ("worker", false)]);
    let ports = table.parsed::<PortRange>("ports").map(|range| range.0);
    let listen = table.choice("listen", &[("port", Listen::Port), ("socket", Listen::Socket)]);
    let every = table.duration("every");
    let calendar = table.parsed::<Calendar>("calendar");
    let asks_a_port = probes(health).any(|probe| needs_a_port(&probe.check));
    let has_port = given.unwrap_or(ports.is_some() || listen.is_some());
    let is_web = given.unwrap_or(has_port || name == WEB || asks_a_port);
    let schedule = match (every, calendar) {
        (Some(_), Some(_)) => {
            table.mistake(table.span(), "`every` and `calendar` exclude each other", "take one out");
            None
        }
        (Some(every), None) if every < EVERY_MIN => {
            table.mistake(
                table.span(),
                "`every` is less than a second",
                "write a worker that pauses by itself",
            );
            None
        }
        (Some(every), None) => Some(Schedule::Every(every)),
        (None, calendar) => calendar.map(Schedule::Calendar),
    };
    match schedule {
        Some(_) if has_port => {
            table.mistake(
                table.span(),
                "a scheduled service takes no connections",
                "take the port or the schedule out",
            );
            Kind::Worker
        }
        Some(schedule) => Kind::Scheduled { schedule },
        None if is_web => {
            Kind::Web { ports: ports.unwrap_or_default(), listen: listen.unwrap_or(Listen::Port) }
        }
        None => Kind::Worker,
    }
}

/// Finds checks that can never be good: of a port that is not there, of the process of a service that rests.
fn check_health(table: &Table, kind: &Kind, health: &Health) {
    if !matches!(kind, Kind::Web { .. }) && probes(health).any(|probe| needs_a_port(&probe.check)) {
        let right = "ask it by `command` or `heartbeat`, or give it a port: kind = \"web\"";
        table.mistake(table.span(), "a service without a port is asked over the network", right);
    }
    if matches!(kind, Kind::Scheduled { .. }) && health.is_told() {
        let right = "take `notify` out: a run that ends well is well";
        table.mistake(table.span(), "a scheduled service says to nobody that it is ready", right);
    }
}

fn probes(health: &Health) -> impl Iterator<Item = &Probe> {
    [&health.startup, &health.readiness, &health.liveness].into_iter().flatten()
}

fn needs_a_port(check: &Check) -> bool {
    matches!(check, Check::Http { .. } | Check::Tcp)
}

/// What a service that comes up may be asked by.
const COMING_UP: &str = "path, tcp, command, heartbeat and notify";
/// What it may be asked by from then on.
const LATER: &str = "path, tcp, command and heartbeat";

fn read_health(table: &mut Table) -> Health {
    let mut health = Health::default();
    match table.text_or_table("health") {
        None => {}
        Some(TextOrTable::Text(path)) => {
            health.readiness = Some(Probe::new(Check::Http { path: path.value.clone() }));
            check_path(table, &path.value, path.span);
        }
        Some(TextOrTable::Table(mut long)) => {
            health.readiness = read_probe(&mut long, COMING_UP);
            health.startup = long.table("startup").and_then(|table| read_own_probe(table, COMING_UP));
            health.liveness = long.table("liveness").and_then(|table| read_own_probe(table, LATER));
            set(&mut health.start_deadline, long.duration("start_deadline"));
            set(&mut health.healthy_time_min, long.duration("healthy_time"));
            set(&mut health.unready_deadline, long.duration("unready_deadline"));
            set(&mut health.crashes_max, long.count("crashes").map(|count| count.max(1)));
            set(&mut health.crash_window, long.duration("crash_window"));
            long.finish();
        }
    }
    health
}

fn read_own_probe(mut table: Table, what: &str) -> Option<Probe> {
    let probe = read_probe(&mut table, what);
    if probe.is_none() {
        table.mistake(table.span(), "it does not say what to ask", format!("say one of {what}"));
    }
    table.finish();
    probe
}

fn read_probe(table: &mut Table, what: &str) -> Option<Probe> {
    let path = table.text("path");
    if let Some(path) = &path {
        check_path(table, &path.value, path.span.clone());
    }
    let tcp = table.flag("tcp").filter(|asked| *asked);
    let command = table.text("command");
    let heartbeat = table.duration("heartbeat");
    // What it said when it came up does not tell whether it is alive.
    let notify = (what == COMING_UP).then(|| table.flag("notify")).flatten().filter(|asked| *asked);
    let checks = [
        path.map(|path| Check::Http { path: path.value }),
        tcp.map(|_| Check::Tcp),
        command.map(|command| Check::Command { command: command.value }),
        heartbeat.map(|within| Check::Heartbeat { within }),
        notify.map(|_| Check::Notify),
    ];
    let checks: Vec<Check> = checks.into_iter().flatten().collect();
    if checks.len() > 1 {
        table.mistake(table.span(), "a check asks one thing", format!("keep one of {what}"));
    }
    let (interval, timeout) = (table.duration("interval"), table.duration("timeout"));
    let (good, bad) = (table.count("healthy_after"), table.count("unhealthy_after"));
    let mut probe = Probe::new(checks.into_iter().next()?);
    set(&mut probe.interval, interval.map(|length| length.max(Duration::from_millis(10))));
    set(&mut probe.timeout, timeout);
    set(&mut probe.healthy_after, good);
    set(&mut probe.unhealthy_after, bad);
    Some(probe)
}

fn check_path(table: &Table, path: &str, span: std::ops::Range<usize>) {
    if !path.starts_with('/') || path.chars().any(|c| c.is_control() || c == ' ') {
        table.mistake(span, "this is no path", "begin it with a slash: \"/health\"");
    }
}

fn read_stop(table: &mut Table) -> Stop {
    let mut stop = Stop::default();
    let Some(mut table) = table.table("stop") else { return stop };
    let signals = [
        ("TERM", StopSignal::Term),
        ("INT", StopSignal::Int),
        ("QUIT", StopSignal::Quit),
        ("HUP", StopSignal::Hup),
        ("USR1", StopSignal::Usr1),
        ("USR2", StopSignal::Usr2),
        ("WINCH", StopSignal::Winch),
    ];
    set(&mut stop.signal, table.choice("signal", &signals));
    set(&mut stop.grace, table.duration("grace"));
    table.finish();
    stop
}

fn read_restart(table: &mut Table) -> Restart {
    let mut restart = Restart::default();
    let Some(mut table) = table.table("restart") else { return restart };
    set(&mut restart.delay_min, table.duration("delay"));
    set(&mut restart.delay_max, table.duration("delay_max"));
    set(&mut restart.calm_after, table.duration("calm_after"));
    restart.delay_max = restart.delay_max.max(restart.delay_min);
    table.finish();
    restart
}

fn read_limits(table: &mut Table) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits.memory_bytes, table.parsed::<Bytes>("memory").map(|bytes| bytes.0));
    set(&mut limits.cpu_millis, table.parsed::<Percent>("cpu").map(|percent| percent.0 * 10));
    set(&mut limits.tasks_max, table.count("tasks").map(|count| count.max(1)));
    set(&mut limits.files_max, table.count("files").map(|count| count.max(16)));
    limits
}

fn read_logs(table: &mut Table) -> Logs {
    let mut logs = Logs::default();
    let Some(mut table) = table.table("logs") else { return logs };
    set(&mut logs.file_bytes_max, table.parsed::<Bytes>("size").map(|bytes| bytes.0));
    set(&mut logs.files_max, table.count("files").map(|count| count.max(1)));
    table.finish();
    logs
}

fn set<T>(rule: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *rule = given;
    }
}

/// An amount of memory or disk: `512MiB`.
struct Bytes(u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "expected an amount such as \"64MiB\" or \"2GiB\", of a mebibyte at least".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim() {
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(expected()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.filter(|bytes| *bytes >= 1 << 20).map(Bytes).ok_or_else(expected)
    }
}

/// A share of one processor: `50%`, or `200%` for two.
struct Percent(u32);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
        number.filter(|number| (1..=100_000).contains(number)).map(Percent).ok_or_else(|| {
            "expected a share of one processor, such as \"50%\", or \"200%\" for two".to_owned()
        })
    }
}

/// `20000-29999`.
struct PortRange(Ports);

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected two ports and what lies between, such as \"20000-20099\": two at least, for the old and the new release".to_owned()
        };
        let (first, last) = text.split_once('-').ok_or_else(expected)?;
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 0 < first && first < last => Ok(Self(Ports { first, last })),
            _ => Err(expected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, bytes) in
            [("1MiB", 1 << 20), ("512 MiB", 512 << 20), ("2GiB", 2 << 30), ("2048KiB", 2 << 20)]
        {
            assert_eq!(text.parse::<Bytes>().map(|bytes| bytes.0), Ok(bytes), "{text}");
        }
        for text in ["", "512", "1KiB", "-1MiB", "1MB", "99999999999999999GiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?}");
        }
        assert_eq!("150%".parse::<Percent>().map(|percent| percent.0), Ok(150));
        assert!("0%".parse::<Percent>().is_err() && "1.5".parse::<Percent>().is_err());
        assert!("80-80".parse::<PortRange>().is_err() && "9-8".parse::<PortRange>().is_err());
    }
}
