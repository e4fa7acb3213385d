//! The ordinary life of a service.

use std::time::{Duration, Instant};

use footplate_core::release::Schedule;
use footplate_core::release::service::{Listen, Logs, StopSignal};
use footplate_drivers::service::{Order, Phase, Supervisor};

use crate::site::{Site, eventually, get, is_alive, name, pid};

#[tokio::test]
async fn two_releases_run_side_by_side_and_each_ends_alone() {
    let site = Site::new();
    let (old, new) = (site.web("1", "web"), site.web("2", "web"));
    assert_ne!(old.port, new.port);
    for order in [&old, &new] {
        site.keepers.start(order).await.expect("started");
    }
    let asks = |order: &Order| get(order.port.expect("it has one"));
    eventually("both answer", || asks(&old).is_some() && asks(&new).is_some()).await;
    assert!(asks(&old).expect("it answers").starts_with("1 by"));
    assert!(asks(&new).expect("it answers").starts_with("2 by"));
    site.keepers.stop(&old.name).await.expect("stopped");
    assert_eq!(asks(&old), None);
    assert!(asks(&new).is_some(), "the other one does not notice");
    assert_eq!(site.status("1").await.phase, Phase::Stopped);
    assert!(site.log("1").contains("listening on"), "what it said is kept");
}

/// Waits until release 1 has said something so many times.
async fn eventually_said(site: &Site, word: &str, times: usize) {
    let begun = Instant::now();
    while site.log("1").matches(word).count() < times {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never said so: {}", site.log("1"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(site.log("1").matches(word).count(), times);
}

#[tokio::test]
async fn starting_and_stopping_may_be_repeated() {
    let site = Site::new();
    let order = site.worker("1", "echo begun; exec sleep 1000");
    let first = site.keepers.start(&order).await.expect("started");
    let again = site.keepers.start(&order).await.expect("as it is");
    assert_eq!(pid(&first), pid(&again));
    eventually_said(&site, "begun", 1).await;
    site.keepers.stop(&order.name).await.expect("stopped");
    site.keepers.stop(&order.name).await.expect("stays so");
    assert!(!is_alive(pid(&first)));
    let new = site.keepers.start(&order).await.expect("started anew");
    assert_ne!(pid(&first), pid(&new));
    eventually_said(&site, "begun", 2).await;
    site.keepers.forget(&order.name).await.expect("forgotten");
    assert!(site.keepers.list().await.expect("listed").is_empty());
    assert!(!site.folder_of("1").exists());
    eventually("its keeper has gone too", || site.processes().is_empty()).await;
}

#[tokio::test]
async fn a_stop_ends_every_process_also_those_that_hide() {
    for site in [Site::new(), Site::without_groups()] {
        stop_those_that_hide(&site).await;
    }
}

async fn stop_those_that_hide(site: &Site) {
    let hidden = "setsid sh -c 'sleep 1001; true' & (setsid sh -c 'sleep 1002; true' &) ; \
                  env -i setsid sh -c 'sleep 1003; true' & exec sleep 1004";
    site.keepers.start(&site.worker("1", hidden)).await.expect("started");
    // The keeper, the leader, three shells and what they run.
    eventually("all are there", || site.processes().len() == 8).await;
    site.keepers.stop(&name("1")).await.expect("stopped");
    eventually("all are gone", || site.processes().is_empty()).await;
}

#[tokio::test]
async fn a_service_that_drains_has_its_grace_though_its_shell_does_not_wait() {
    let site = Site::new();
    let drains = "sh -c 'trap \"echo draining; while [ ! -e go ]; do sleep 0.01; done; echo drained; exit 0\" TERM; \
                  echo up; while :; do sleep 0.01; done'; echo never";
    site.keepers.start(&site.worker("1", drains)).await.expect("started");
    eventually("it is up", || site.log("1").contains("up\n")).await;
    let another = site.another();
    let stopping = tokio::spawn(async move { another.stop(&name("1")).await });
    eventually("it drains", || site.log("1").contains("draining")).await;
    assert!(matches!(site.status("1").await.phase, Phase::Stopping { .. }));
    std::fs::write(site.folder_of("1").join("../../go"), "").expect("written");
    stopping.await.expect("no panic").expect("stopped");
    assert!(site.log("1").contains("drained"), "{}", site.log("1"));
}

#[tokio::test]
async fn a_signal_reaches_the_service() {
    let site = Site::new();
    site.keepers
        .start(&site.worker("1", "trap 'echo heard' USR1; echo up; while :; do sleep 0.01; done"))
        .await
        .expect("started");
    eventually("it is up", || site.log("1").contains("up\n")).await;
    site.keepers.signal(&name("1"), StopSignal::Usr1).await.expect("sent");
    eventually("it heard", || site.log("1").contains("heard\n")).await;
}

#[tokio::test]
async fn a_restart_begins_another_process_at_once() {
    let site = Site::new();
    let first = site.keepers.start(&site.worker("1", "exec sleep 1000")).await.expect("started");
    site.keepers.restart(&name("1")).await.expect("restarted");
    let second = site.status("1").await;
    assert_ne!(pid(&first), pid(&second));
    assert_eq!(second.restarts, 1);
    assert!(second.last_exit.expect("it ended").is_fine);
}

#[tokio::test]
async fn a_log_is_bounded_however_much_is_said() {
    let site = Site::new();
    let logs = Logs { file_bytes_max: 256 * 1024, files_max: 3 };
    let talk = "i=0; while [ $i -lt 64 ]; do head -c 65536 /dev/zero | tr '\\0' x; i=$((i+1)); done; echo; echo enough; exec sleep 1000";
    site.keepers.start(&Order { logs, ..site.worker("1", talk) }).await.expect("started");
    eventually("it has said all", || site.log("1").contains("enough")).await;
    let files = std::fs::read_dir(site.folder_of("1")).expect("read").map(|entry| entry.expect("read"));
    let logs: Vec<_> =
        files.filter(|file| file.file_name().to_string_lossy().starts_with("output.log")).collect();
    let bytes: u64 = logs.iter().map(|file| file.metadata().expect("there").len()).sum();
    assert_eq!(logs.len(), 3);
    assert!(bytes <= 3 * 256 * 1024, "{bytes}");
}

#[tokio::test]
async fn a_scheduled_service_runs_again_and_again_and_its_end_is_no_crash() {
    let site = Site::new();
    let schedule = Some(Schedule::Every(Duration::from_millis(50)));
    site.keepers.start(&Order { schedule, ..site.worker("1", "echo ran") }).await.expect("started");
    eventually("it ran thrice", || site.log("1").matches("\nran").count() >= 3).await;
    let status = site.status("1").await;
    assert_eq!(status.restarts, 0);
    assert!(status.last_exit.expect("it ended").is_fine);
}

#[tokio::test]
async fn a_service_of_the_calendar_rests_until_its_minute() {
    let site = Site::new();
    // 29 February: whenever this runs, it is later than now by more than the test takes.
    let schedule = Some(Schedule::Calendar("0 0 29 2 *".parse().expect("a calendar")));
    site.keepers.start(&Order { schedule, ..site.worker("1", "echo ran") }).await.expect("started");
    assert!(matches!(site.status("1").await.phase, Phase::Resting { .. }));
    assert!(!site.log("1").contains("ran\n"));
}

#[tokio::test]
async fn a_handed_over_socket_keeps_connections_while_the_service_is_restarted() {
    let site = Site::new();
    let order = Order { listen: Listen::Socket, ..site.web("1", "web") };
    let port = order.port.expect("it has one");
    site.keepers.start(&order).await.expect("started");
    eventually("it answers", || get(port).is_some()).await;
    let asking = tokio::task::spawn_blocking(move || (0..200).filter(|_| get(port).is_none()).count());
    for _ in 0..5 {
        site.keepers.restart(&order.name).await.expect("restarted");
    }
    let refused = asking.await.expect("no panic");
    // A request that a process had begun when it was ended is lost; nobody is refused for want of a listener.
    assert!(refused <= 5, "{refused} of 200 were lost");
}

#[tokio::test]
async fn a_service_inherits_no_descriptor_but_its_three() {
    let site = Site::new();
    // What is open in whoever starts it, and not marked, as in a shell: it must reach neither the keeper nor the service.
    let stray = rustix::io::dup(std::fs::File::open("/dev/zero").expect("open")).expect("a copy");
    let status = site.keepers.start(&site.worker("1", "echo up; exec sleep 1000")).await.expect("started");
    eventually("it is up", || site.log("1").contains("up\n")).await;
    let open = |pid: i32| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("read");
        entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect::<Vec<_>>()
    };
    let keeper = open(site.keeper_of("1").expect("it has a keeper"));
    assert!(!keeper.iter().any(|file| file.as_os_str() == "/dev/zero"), "{keeper:?}");
    assert_eq!(open(pid(&status)).len(), 3);
    drop(stray);
}
