//! Services outlive whoever started them, and their keepers too.

use footplate_core::release::service::Listen;
use footplate_drivers::disk::HeldFolder;
use footplate_drivers::service::{Order, Phase, Status, Supervisor};
use rustix::process::{Pid, Signal};

use crate::site::{Site, eventually, get, is_alive, kill, name, pid};

/// Starts a service from a process of its own, which is then killed with its whole group.
#[tokio::test]
async fn a_service_survives_the_death_of_whoever_started_it_and_is_found_again() {
    let site = Site::new();
    let order = site.worker("1", "echo up; exec sleep 1000");
    let folder = footplate_drivers::service::Folder::of(&site.services(), &order.name);
    folder.create().expect("made");
    folder.write_order(&order).expect("written");
    let script = "\"$0\" keeper --folder \"$1\" && echo started && exec sleep 1000";
    let mut starter = std::process::Command::new("/bin/sh");
    starter.args(["-c", script, env!("CARGO_BIN_EXE_footplate")]).arg(folder.path());
    std::os::unix::process::CommandExt::process_group(&mut starter, 0);
    let mut starter = starter.stdout(std::process::Stdio::piped()).spawn().expect("started");
    let mut said = std::io::BufReader::new(starter.stdout.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("read");
    assert_eq!(line, "started\n");
    let before = site.status("1").await;
    let group = Pid::from_raw(starter.id().cast_signed()).expect("a process");
    rustix::process::kill_process_group(group, Signal::KILL).expect("killed");
    starter.wait().expect("reaped");
    assert!(is_alive(pid(&before)));
    let found = site.another().start(&order).await.expect("as it is");
    assert_eq!(pid(&found), pid(&before), "another agent finds the same process");
    site.another().stop(&order.name).await.expect("stopped");
    eventually("nothing is left", || site.processes().is_empty()).await;
}

#[tokio::test]
async fn a_keeper_that_stands_still_or_a_file_that_cannot_be_read_hides_no_other_service() {
    let site = Site::new();
    for release in ["1", "2", "3"] {
        let order = site.worker(release, "exec sleep 1000");
        site.keepers.start(&order).await.expect("started");
        site.eventually(release, |status| status.is_running()).await;
    }
    let file = site.folder_of("1").join("order.json");
    let order = std::fs::read(&file).expect("its order");
    std::fs::write(&file, "{").expect("written");
    let still = Pid::from_raw(site.keeper_of("2").expect("it has a keeper")).expect("a process");
    rustix::process::kill_process(still, Signal::STOP).expect("stopped");
    let looks = site.another().look().await.expect("looked");
    let words: Vec<_> = looks
        .iter()
        .map(|(_, looked)| looked.as_ref().map(Status::is_running).map_err(ToString::to_string))
        .collect();
    assert!(words[0].as_ref().is_err_and(|said| said.contains("order.json")), "{words:?}");
    assert!(words[1].as_ref().is_err_and(|said| said.contains("does not answer")), "{words:?}");
    assert_eq!(words[2], Ok(true));
    assert!(site.another().list().await.is_err(), "not all are known");
    kill(site.keeper_of("3").expect("it has a keeper"));
    let forsaken = async || {
        let third = site.another().status(&name("3")).await.expect("it can be read");
        third.is_some_and(|status| status.phase == Phase::Forsaken)
    };
    while !forsaken().await {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.another().revive().await.expect("revived"), [name("3")], "whatever the others do");
    rustix::process::kill_process(still, Signal::CONT).expect("goes on");
    std::fs::write(&file, order).expect("written");
    assert_eq!(site.another().list().await.expect("all can be looked at again").len(), 3);
}

#[tokio::test]
async fn a_killed_keeper_is_replaced_and_its_service_does_not_notice() {
    let site = Site::new();
    let order = site.web("1", "web");
    site.keepers.start(&order).await.expect("started");
    let port = order.port.expect("it has one");
    eventually("it answers", || get(port).is_some()).await;
    let before = site.status("1").await;
    for _ in 0..3 {
        kill(site.keeper_of("1").expect("it has a keeper"));
        let forsaken = site.eventually("1", |status| status.phase == Phase::Forsaken).await;
        assert_eq!(forsaken.restarts, 0);
        assert!(get(port).is_some(), "it goes on");
        assert_eq!(site.another().revive().await.expect("revived"), [name("1")]);
        assert_eq!(pid(&site.status("1").await), pid(&before), "the same process");
    }
    assert!(site.another().revive().await.expect("looked").is_empty(), "nothing more to do");
    kill(pid(&before));
    let after = site.eventually("1", |status| status.restarts == 1 && status.is_running()).await;
    assert_ne!(pid(&after), pid(&before), "the new keeper restarts it like the old one");
    eventually("it answers again", || get(port).is_some()).await;
    assert_eq!(site.status("1").await.restarts, 1, "it finds its port free: {}", site.log("1"));
}

#[tokio::test]
async fn a_service_that_talks_while_it_has_no_keeper_waits_and_loses_nothing() {
    let site = Site::new();
    let talk = "echo up; while [ ! -e go ]; do sleep 0.01; done; i=0; while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); done; \
                echo enough; exec sleep 1000";
    let before = site.keepers.start(&site.worker("1", talk)).await.expect("started");
    eventually("it is up", || site.log("1").contains("up\n")).await;
    kill(site.keeper_of("1").expect("it has a keeper"));
    std::fs::write(site.folder_of("1").join("../../go"), "").expect("written");
    site.eventually("1", |status| status.phase == Phase::Forsaken).await;
    site.keepers.revive().await.expect("revived");
    assert_eq!(pid(&site.status("1").await), pid(&before), "it did not even notice");
    eventually("all is said", || site.log("1").contains("enough")).await;
    let log = std::fs::read_to_string(site.folder_of("1").join("output.log")).expect("read");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines.len(), 20_000);
    assert_eq!(lines.last(), Some(&"line 19999"));
}

#[tokio::test]
async fn a_service_that_ends_while_it_has_no_keeper_is_started_again_by_the_next() {
    let site = Site::without_groups();
    let first = site.keepers.start(&site.worker("1", "sleep 1001 & exec sleep 1000")).await.expect("started");
    eventually("its child is there", || site.processes().len() == 3).await;
    let before = site.processes();
    kill(site.keeper_of("1").expect("it has a keeper"));
    kill(pid(&first));
    site.eventually("1", |status| status.phase == Phase::Forsaken).await;
    site.keepers.revive().await.expect("revived");
    let second = site.eventually("1", |status| status.is_running()).await;
    assert_ne!(pid(&first), pid(&second));
    assert_eq!(second.restarts, 1);
    let why = second.last_exit.expect("it ended").why;
    assert!(why.contains("no keeper of its own watched"), "{why}");
    // What the first process left behind was ended before the second one began.
    assert!(!before.iter().any(|pid| is_alive(*pid)), "an orphan lives");
}

#[tokio::test]
async fn a_stop_ends_a_service_whose_keeper_was_killed() {
    let site = Site::new();
    let status =
        site.keepers.start(&site.worker("1", "sleep 1001 & exec sleep 1000")).await.expect("started");
    kill(site.keeper_of("1").expect("it has a keeper"));
    site.keepers.stop(&name("1")).await.expect("stopped");
    assert!(!is_alive(pid(&status)));
    eventually("nothing is left", || site.processes().is_empty()).await;
    assert_eq!(site.status("1").await.phase, Phase::Stopped);
}

#[tokio::test]
async fn what_a_killed_keeper_still_holds_for_an_instant_keeps_nobody_from_its_service() {
    let site = Site::new();
    site.keepers.start(&site.worker("1", "exec sleep 1000")).await.expect("started");
    kill(site.keeper_of("1").expect("it has a keeper"));
    site.eventually("1", |status| status.phase == Phase::Forsaken).await;
    let last_hold = || HeldFolder::take(&site.folder_of("1")).expect("a folder");
    let mut lock = last_hold();
    while lock.is_none() {
        lock = last_hold();
    }
    let keepers = site.another();
    let stop = tokio::spawn(async move { keepers.stop(&name("1")).await });
    let is_at_it = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--end")
    };
    eventually("somebody comes to end it", || site.processes().iter().any(is_at_it)).await;
    drop(lock);
    stop.await.expect("no panic").expect("stopped");
    eventually("nothing is left", || site.processes().is_empty()).await;
}

#[tokio::test]
async fn after_a_boot_runs_what_was_running_and_nothing_else() {
    let site = Site::new();
    let first = site.keepers.start(&site.worker("1", "exec sleep 1000")).await.expect("started");
    let second = site.keepers.start(&site.worker("2", "exec sleep 1000")).await.expect("started");
    site.keepers.stop(&name("2")).await.expect("stopped");
    // A boot, as far as the disk can tell: nobody runs, and the boot's name is another one.
    kill(site.keeper_of("1").expect("it has a keeper"));
    kill(pid(&first));
    let state = site.folder_of("1").join("state.json");
    let text = std::fs::read_to_string(&state).expect("read");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read");
    // The number in it now belongs to somebody else, who must not be touched.
    let text = text
        .replace(boot.trim(), "an-earlier-boot")
        .replace(&pid(&first).to_string(), &std::process::id().to_string());
    std::fs::write(&state, text).expect("written");
    assert_eq!(site.another().revive().await.expect("revived"), [name("1")]);
    let revived = site.eventually("1", |status| status.is_running()).await;
    assert!(pid(&revived) != std::process::id().cast_signed() && revived.restarts == 0, "a boot is no crash");
    assert_eq!(site.status("2").await.phase, Phase::Stopped);
    assert!(!is_alive(pid(&second)));
}

#[tokio::test]
async fn a_number_that_went_to_somebody_else_is_not_adopted() {
    let site = Site::new();
    let first = site.keepers.start(&site.worker("1", "exec sleep 1000")).await.expect("started");
    kill(site.keeper_of("1").expect("it has a keeper"));
    kill(pid(&first));
    let state = site.folder_of("1").join("state.json");
    let text = std::fs::read_to_string(&state).expect("read");
    std::fs::write(&state, text.replace(&pid(&first).to_string(), &std::process::id().to_string()))
        .expect("written");
    site.keepers.revive().await.expect("revived");
    let second = site.eventually("1", |status| status.is_running()).await;
    assert_ne!(pid(&second), std::process::id().cast_signed());
}

#[tokio::test]
async fn a_successor_takes_over_the_socket_as_well() {
    let site = Site::new();
    let order = Order { listen: Listen::Socket, ..site.web("1", "web") };
    let port = order.port.expect("it has one");
    site.keepers.start(&order).await.expect("started");
    eventually("it answers", || get(port).is_some()).await;
    kill(site.keeper_of("1").expect("it has a keeper"));
    site.eventually("1", |status| status.phase == Phase::Forsaken).await;
    site.keepers.revive().await.expect("revived");
    site.keepers.restart(&order.name).await.expect("restarted");
    assert!(get(port).is_some(), "the same socket: {}", site.log("1"));
}

#[tokio::test]
async fn twenty_starts_at_once_make_one_keeper() {
    let site = Site::new();
    let order = site.worker("1", "echo begun; exec sleep 1000");
    let keepers = std::sync::Arc::new(site.another());
    let starts = (0..20).map(|_| {
        let (keepers, order) = (std::sync::Arc::clone(&keepers), order.clone());
        tokio::spawn(async move { keepers.start(&order).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.expect("no panic").expect("started");
    }
    assert_eq!(site.processes().len(), 2, "one keeper, one process");
    eventually("it has begun", || site.log("1").contains("begun")).await;
    assert_eq!(site.log("1").matches("begun").count(), 1);
}
