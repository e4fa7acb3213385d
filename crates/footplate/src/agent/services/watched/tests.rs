//! Crashes that nobody saw, or that nobody could tell of in time.

use footplate_core::release::service::Check;
use footplate_drivers::service::{Enforcement, Exit};

use super::*;

/// A process that runs since then, and how the one before it ended.
fn status(pid: i32, since: Moment, crashed: Option<Moment>) -> Status {
    let exit = |at| Exit { why: "it ended with status 3".to_owned(), is_fine: false, at };
    Status {
        name: "production.shop.web.1".parse().expect("a name"),
        phase: Phase::Running { pid, since },
        restarts: u64::from(crashed.is_some()),
        last_exit: crashed.map(exit),
        port: None,
        enforced: Enforcement::default(),
        log: PathBuf::new(),
        heartbeat: PathBuf::new(),
        notified: PathBuf::new(),
    }
}

/// Begins to watch a service that is ready as soon as it runs.
fn begin(folder: &Path, status: &Status, resumed: bool) -> Watched {
    let health = Health {
        startup: None,
        readiness: None,
        liveness: None,
        healthy_time_min: Duration::ZERO,
        ..Health::default()
    };
    let place = Place::new([127, 0, 0, 1].into(), status, None, None, folder);
    Watched::begin(&health, place, status, resumed)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join(FOLDER)).expect("room");
    folder
}

fn told(watched: &Watched) -> Option<(Option<Lapse>, String)> {
    watched.crash().map(|failed| (failed.lapse, failed.why))
}

#[test]
fn a_crash_while_no_agent_was_there_is_found_by_the_next_one() {
    let (folder, now) = (folder(), clock::now());
    let first = status(7, now, None);
    drop(begin(folder.path(), &first, false));
    assert_eq!(told(&begin(folder.path(), &first, true)), None, "the same process");
    let later = now + Duration::from_secs(1);
    let again = status(8, later, Some(later));
    let (lapse, why) = told(&begin(folder.path(), &again, true)).expect("found");
    assert_eq!(lapse, Some(Lapse::Crashed(1)));
    assert!(why.starts_with("it crashed ") && why.ends_with(": it ended with status 3"), "{why}");
}

#[test]
fn a_crash_is_told_until_it_is_known_to_be_on_the_disk_and_then_no_more() {
    let (folder, now) = (folder(), clock::now());
    let watched = begin(folder.path(), &status(7, now, None), false);
    let again = status(8, now, Some(now));
    assert!(watched.see(&again), "others should know");
    assert!(!watched.see(&again), "it happened once");
    let crashed = told(&watched);
    assert!(crashed.is_some());
    drop(watched);
    let watched = begin(folder.path(), &again, true);
    assert_eq!(told(&watched), crashed, "whoever was told of it may have been killed");
    watched.is_told(1);
    assert_eq!(told(&watched), None);
    assert_eq!(told(&begin(folder.path(), &again, true)), None);
}

#[test]
fn a_process_that_goes_on_without_its_keeper_was_not_started_again() {
    let (folder, now) = (folder(), clock::now());
    let runs = status(7, now, None);
    drop(begin(folder.path(), &runs, false));
    let watched = begin(folder.path(), &Status { phase: Phase::Forsaken, ..runs.clone() }, true);
    assert!(!watched.see(&runs));
    assert_eq!(watched.up().readiness, Readiness::Ready);
}

#[test]
fn nobody_is_asked_at_its_port_while_it_waits_to_be_started_again() {
    let (folder, now) = (folder(), clock::now());
    let runs = status(7, now, None);
    let health = Health { startup: Some(Probe::new(Check::Tcp)), ..Health::default() };
    let place = Place::new([127, 0, 0, 1].into(), &runs, None, None, folder.path());
    let watched = Watched::begin(&health, place, &runs, false);
    assert_eq!(watched.questions().len(), 1);
    watched.see(&Status { phase: Phase::Waiting { until: now }, ..status(7, now, Some(now)) });
    assert_eq!(watched.questions(), []);
    watched.see(&status(8, now, Some(now)));
    assert_eq!(watched.questions().len(), 1);
}
