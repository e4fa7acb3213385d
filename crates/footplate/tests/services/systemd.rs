//! Services as units of a real systemd, in a machine that is booted for it, and booted again.

use std::time::{Duration, Instant};

use footplate_core::release::Schedule;
use footplate_core::release::service::{Limits, Listen, Stop, StopSignal};
use footplate_drivers::service::Order;

use crate::machine::Machine;
use crate::site::{Site, get, name, program};

const SERVICES: &str = "/srv/services";

/// One machine and the orders that a site outside makes for it.
struct Host {
    machine: Machine,
    site: Site,
}

impl Host {
    fn supervise(&self, call: &str, argument: &str) -> Result<String, String> {
        let supervise = program().with_file_name("supervise");
        let arguments = [SERVICES, call, argument];
        self.machine.run(supervise, if argument.is_empty() { &arguments[..2] } else { &arguments })
    }

    fn start(&self, order: &Order) -> String {
        let order = Order { directory: "/srv".into(), ..order.clone() };
        let path = format!("/srv/{}.json", order.name.release);
        std::fs::write(self.machine.file(&path), serde_json::to_vec(&order).expect("JSON")).expect("written");
        self.supervise("start", &path).expect("started")
    }

    fn status(&self, release: &str) -> String {
        let list = self.supervise("list", "").expect("listed");
        let line = list.lines().find(|line| line.starts_with(&format!("{}\t", name(release))));
        line.unwrap_or_else(|| panic!("no {release} in {list}")).to_owned()
    }

    fn poll(&self, release: &str, claim: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let status = self.status(release);
            if claim(&status) {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{status}\n{}", self.log(release));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn poll_log(&self, release: &str, words: &str) {
        let begun = Instant::now();
        while !self.log(release).contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {words:?} in {}", self.log(release));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self, release: &str) -> String {
        let path = format!("{SERVICES}/{}/output.log", name(release));
        std::fs::read_to_string(self.machine.file(&path)).unwrap_or_default()
    }

    fn poll_port(&self, port: u16) -> String {
        let begun = Instant::now();
        loop {
            if let Some(said) = get(port) {
                return said;
            }
            let said = || {
                self.machine.run(
                    "sh",
                    &["-c", "systemctl status 'footplate-*'; tail -n 20 /srv/services/*/output.log"],
                )
            };
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody answers on {port}: {:?}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One story, since a machine takes a while to boot.
#[test]
fn systemd_keeps_services_across_agents_crashes_and_boots() {
    let mut host = Host { machine: Machine::boot(), site: Site::new() };
    a_service_runs_bounded_and_is_found_by_every_agent(&host);
    one_that_crashes_is_started_again_and_says_how_it_ended(&host);
    one_that_ignores_term_is_killed_with_all_it_started(&host);
    one_that_leaks_ends_by_whoever_holds_its_limit(&host);
    one_runs_as_its_own_user_and_touches_its_heartbeat(&host);
    one_finds_its_socket_and_one_runs_by_the_clock(&host);
    one_is_ready_when_it_says_so(&host);
    a_boot_starts_what_ran_and_nothing_else(&mut host);
    what_is_forgotten_leaves_nothing(&host);
}

fn a_service_runs_bounded_and_is_found_by_every_agent(host: &Host) {
    let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 500, tasks_max: 20, ..Limits::default() };
    let order = Order { limits, ..host.site.web("1.0+1", "web") };
    host.start(&order);
    let first = host.poll("1.0+1", |status| status.contains("\"is\":\"running\""));
    assert!(host.poll_port(order.port.expect("it has one")).starts_with("1.0+1 by"));
    let again = host.start(&order);
    assert_eq!(first.split('\t').nth(1), again.split('\t').nth(1), "as it is");
    assert!(host.log("1.0+1").contains("listening on"));
    let unit = "footplate-production.shop.web.1.0\\x2b1.service";
    let bounds = ["MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "UnitFileState"];
    let shown = bounds
        .map(|key| host.machine.run("systemctl", &["show", "--value", "-p", key, unit]).expect("shown"));
    assert_eq!(shown.map(|value| value.trim().to_owned()), ["67108864", "500ms", "20", "enabled"]);
}

fn one_that_crashes_is_started_again_and_says_how_it_ended(host: &Host) {
    host.start(&host.site.worker("2", "echo \"100% 'broken' \\\"$RELEASE\\\"\"; exit 3"));
    let status = host.poll("2", |status| {
        status.split('\t').nth(2).is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count >= 2))
    });
    assert!(status.ends_with("it ended with status 3 (false)"), "{status}");
    assert!(host.log("2").contains("100% 'broken' \"2\"\n"), "{}", host.log("2"));
    host.supervise("stop", &name("2").to_string()).expect("stopped");
    assert!(host.status("2").contains("\"is\":\"stopped\""));
}

fn one_that_ignores_term_is_killed_with_all_it_started(host: &Host) {
    let stop = Stop { signal: StopSignal::Term, grace: Duration::from_millis(300) };
    let deaf = "trap '' TERM; setsid sh -c \"trap '' TERM; echo hidden; sleep 1001\" & echo up; while :; do sleep 0.05; done";
    host.start(&Order { stop, ..host.site.worker("3", deaf) });
    host.poll_log("3", "hidden");
    host.supervise("stop", &name("3").to_string()).expect("stopped");
    let status = host.status("3");
    assert!(status.contains("it did not end within its grace and was killed"), "{status}");
    assert!(
        host.machine.run("sh", &["-c", "! grep -ls '[1]001' /proc/[0-9]*/cmdline"]).is_ok(),
        "nobody hides"
    );
}

fn one_that_leaks_ends_by_whoever_holds_its_limit(host: &Host) {
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    // Where systemd was given no controller for memory nobody holds the limit, which is said; then it ends at half a GiB by itself.
    let leak = format!("ulimit -d 524288; exec {} leak", program().display());
    host.start(&Order { limits, ..host.site.worker("7", &leak) });
    let status = host.poll("7", |status| status.split('\t').nth(4).is_some_and(|end| !end.is_empty()));
    let why = match status.split('\t').nth(3) {
        Some("\"kernel\"") => "it used more than its 64 MiB of memory and was killed",
        _ => "it was killed by signal ABRT",
    };
    assert!(status.ends_with(&format!("{why} (false)")), "{status}");
    assert!(host.log("7").contains("32 MiB taken"), "{}", host.log("7"));
    host.supervise("stop", &name("7").to_string()).expect("stopped");
}

fn one_runs_as_its_own_user_and_touches_its_heartbeat(host: &Host) {
    let command =
        "id -un; touch \"$HEARTBEAT\" && echo touched; trap 'echo heard' HUP; while :; do sleep 0.05; done";
    host.start(&Order { user: Some("nobody".to_owned()), ..host.site.worker("4", command) });
    host.poll_log("4", "nobody\ntouched\n");
    host.supervise("hangup", &name("4").to_string()).expect("sent");
    host.poll_log("4", "heard");
}

fn one_finds_its_socket_and_one_runs_by_the_clock(host: &Host) {
    let order = Order { listen: Listen::Socket, ..host.site.web("5", "web") };
    host.start(&order);
    assert!(host.poll_port(order.port.expect("it has one")).starts_with("5 by"));
    let schedule = Some(Schedule::Every(Duration::from_millis(200)));
    host.start(&Order { schedule, ..host.site.worker("6", "echo ran") });
    let begun = Instant::now();
    while host.log("6").matches("ran\n").count() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", host.log("6"));
        host.poll("6", |status| status.ends_with("it ended with status 0 (true)"));
    }
    host.supervise("stop", &name("6").to_string()).expect("stopped");
}

fn one_is_ready_when_it_says_so(host: &Host) {
    let command =
        "until [ -e /srv/go ]; do sleep 0.05; done; systemd-notify --ready; echo ready; exec sleep 1000";
    host.start(&Order { notifies: true, ..host.site.worker("8", command) });
    host.poll("8", |status| status.contains("\"is\":\"running\""));
    let notified = host.machine.file(&format!("{SERVICES}/{}/notified", name("8")));
    assert!(!notified.exists(), "it has said nothing yet");
    std::fs::write(host.machine.file("/srv/go"), "").expect("written");
    host.poll_log("8", "ready");
    host.poll("8", |_| notified.exists());
    std::fs::remove_file(host.machine.file("/srv/go")).expect("removed");
    host.supervise("restart", &name("8").to_string()).expect("told");
    host.poll("8", |status| status.contains("\"is\":\"running\"") && !notified.exists());
    host.supervise("stop", &name("8").to_string()).expect("stopped");
    host.supervise("forget", &name("8").to_string()).expect("forgotten");
}

fn a_boot_starts_what_ran_and_nothing_else(host: &mut Host) {
    host.machine.reboot();
    for (release, phase) in [
        ("1.0+1", "running"),
        ("2", "stopped"),
        ("3", "stopped"),
        ("4", "running"),
        ("5", "running"),
        ("6", "stopped"),
        ("7", "stopped"),
    ] {
        if release == "5" {
            // The socket alone is started by a boot; the service comes with the first connection.
            host.poll_port(host.site.web("5", "web").port.expect("it has one"));
        }
        host.poll(release, |status| status.contains(&format!("\"is\":\"{phase}\"")));
    }
    assert_eq!(host.supervise("revive", "").expect("looked"), "", "there is nothing left to do");
}

fn what_is_forgotten_leaves_nothing(host: &Host) {
    for release in ["1.0+1", "2", "3", "4", "5", "6", "7"] {
        host.supervise("forget", &name(release).to_string()).expect("forgotten");
    }
    assert_eq!(host.supervise("list", "").expect("listed"), "");
    let left = host
        .machine
        .run("sh", &["-c", "find /etc/systemd -name 'footplate-*'; ls /srv/services"])
        .expect("listed");
    assert_eq!(left, "");
}
