//! Bad services: each is contained, and explained with its last words.

use std::time::Duration;

use footplate_core::release::service::{Limits, Restart, Stop, StopSignal};
use footplate_drivers::service::{Enforcement, Order, Phase, Supervisor};

use crate::site::{Site, eventually, is_alive, name, pid};

#[tokio::test]
async fn a_service_that_crashes_is_started_again_with_longer_and_longer_pauses() {
    let site = Site::new();
    let crash = "echo \"the database is gone\" >&2; exit 3";
    site.keepers.start(&site.worker("1", crash)).await.expect("started");
    let status = site.eventually("1", |status| status.restarts >= 4).await;
    let exit = status.last_exit.expect("it ended");
    assert_eq!((exit.why.as_str(), exit.is_fine), ("it ended with status 3", false));
    let log = site.log("1");
    assert!(log.contains("the database is gone\nfootplate: it ended with status 3\n"), "{log}");
    assert!(site.status("1").await.restarts < 50, "20, 40, 80, 160, 200 ms: it does not spin");
}

#[tokio::test]
async fn a_long_run_begins_the_pauses_anew() {
    let site = Site::new();
    let restart = Restart {
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_secs(3600),
        calm_after: Duration::from_millis(1),
    };
    // Every run lasts longer than a millisecond: thirty doublings would be weeks.
    site.keepers.start(&Order { restart, ..site.worker("1", "sleep 0.01; exit 1") }).await.expect("started");
    site.eventually("1", |status| status.restarts >= 30).await;
}

#[tokio::test]
async fn a_service_that_ignores_term_is_killed_after_its_grace() {
    let site = Site::new();
    let stop = Stop { signal: StopSignal::Term, grace: Duration::from_millis(300) };
    let deaf =
        "trap '' TERM; (trap '' TERM; while :; do sleep 0.05; done) & echo up; while :; do sleep 0.05; done";
    let status = site.keepers.start(&Order { stop, ..site.worker("1", deaf) }).await.expect("started");
    eventually("it is up", || site.log("1").contains("up\n")).await;
    site.keepers.stop(&name("1")).await.expect("stopped");
    assert!(!is_alive(pid(&status)));
    let exit = site.status("1").await.last_exit.expect("it ended");
    assert_eq!(exit.why, "it did not end within its grace and was killed");
    eventually("its child is gone too", || site.processes().is_empty()).await;
}

#[tokio::test]
async fn a_service_that_leaks_is_killed_and_says_why() {
    let site = Site::new();
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let order = Order { limits, ..site.worker("1", &format!("{} leak", crate::site::program().display())) };
    site.keepers.start(&order).await.expect("started");
    let status = site.eventually("1", |status| status.restarts >= 1).await;
    let exit = status.last_exit.expect("it ended");
    assert_eq!(exit.why, "it used more than its 64 MiB of memory and was killed");
    assert!(site.log("1").contains("32 MiB taken"), "{}", site.log("1"));
    let known = [Enforcement::Kernel, Enforcement::Sampled];
    assert!(known.contains(&status.enforced));
}

#[tokio::test]
async fn what_no_look_from_outside_would_stop_in_time_the_kernel_refuses_and_the_service_says_so() {
    let site = Site::new();
    // Its data may have a GiB more than its memory: two at once are too many.
    let memory = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let greedy = "exec dd if=/dev/zero of=/dev/null bs=2G count=1";
    let files = Limits { files_max: 32, ..Limits::default() };
    let hoarder = "exec python3 -c 'all = [open(\"/dev/null\") for _ in range(40)]'";
    let stories = [("1", memory, greedy, "memory exhausted"), ("2", files, hoarder, "Too many open files")];
    for (release, limits, command, words) in stories {
        site.keepers.start(&Order { limits, ..site.worker(release, command) }).await.expect("started");
        let status = site.eventually(release, |status| status.restarts >= 1).await;
        assert_eq!(status.last_exit.expect("it ended").why, "it ended with status 1");
        assert!(site.log(release).contains(words), "{}", site.log(release));
    }
}

#[tokio::test]
async fn memory_that_children_share_counts_once() {
    let site = Site::new();
    let limits = Limits { memory_bytes: 96 << 20, ..Limits::default() };
    // A page cache of a mapped file is not asked for here: the shell's own pages are shared by 40 children.
    let many = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; echo up; wait";
    site.keepers.start(&Order { limits, ..site.worker("1", many) }).await.expect("started");
    eventually("it is up", || site.log("1").contains("up\n")).await;
    assert_eq!(site.status("1").await.restarts, 0, "{}", site.log("1"));
}

#[tokio::test]
async fn a_service_that_forks_without_end_is_killed() {
    let site = Site::new();
    let limits = Limits { tasks_max: 20, ..Limits::default() };
    let many = "while :; do sleep 1000 & sleep 0.01; done";
    site.keepers.start(&Order { limits, ..site.worker("1", many) }).await.expect("started");
    let status = site.eventually("1", |status| status.restarts >= 1).await;
    let why = status.last_exit.expect("it ended").why;
    assert!(why.contains("more than its 20 processes"), "{why}");
}

#[tokio::test]
async fn a_service_that_cannot_be_started_says_so() {
    let site = Site::new();
    let nowhere = Order { directory: "/nowhere/at/all".into(), ..site.worker("1", "true") };
    site.keepers.start(&nowhere).await.expect("its keeper started");
    let status = site.eventually("1", |status| status.last_exit.is_some()).await;
    let why = status.last_exit.expect("it ended").why;
    assert!(why.starts_with("it could not be started: No such file"), "{why}");
    site.keepers.start(&site.worker("2", "no-such-program-anywhere")).await.expect("its keeper started");
    site.eventually("2", |status| {
        status.last_exit.as_ref().is_some_and(|exit| exit.why == "it ended with status 127")
    })
    .await;
    assert!(site.log("2").contains("no-such-program-anywhere"), "{}", site.log("2"));
    let unknown = Order { user: Some("no-such-user".to_owned()), ..site.worker("3", "true") };
    let refused = site.keepers.start(&unknown).await.expect_err("there is no such user").to_string();
    assert!(refused.contains("there is no user `no-such-user`"), "{refused}");
}

#[tokio::test]
async fn a_service_leaves_no_zombies_of_its_own_orphans() {
    let site = Site::new();
    // Each turn leaves an orphan that ends by itself and that nobody but the keeper can reap.
    let orphans = "i=0; while [ $i -lt 50 ]; do (sleep 0.01 &); i=$((i+1)); done; echo done; exec sleep 1000";
    site.keepers.start(&site.worker("1", orphans)).await.expect("started");
    eventually("all were started", || site.log("1").contains("done\n")).await;
    let keeper = site.keeper_of("1").expect("it has a keeper");
    let children =
        || std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap_or_default();
    eventually("the keeper has one child", || children().split_whitespace().count() == 1).await;
}

#[tokio::test]
async fn a_stopped_service_stays_stopped_though_it_crashes_on_the_way() {
    let site = Site::new();
    site.keepers.start(&site.worker("1", "exit 1")).await.expect("started");
    site.eventually("1", |status| status.restarts >= 1).await;
    site.keepers.stop(&name("1")).await.expect("stopped");
    assert_eq!(site.status("1").await.phase, Phase::Stopped);
    eventually("its keeper is gone", || site.processes().is_empty()).await;
}
