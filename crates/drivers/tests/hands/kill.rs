//! Processes that die in the middle: at every failpoint, and by `kill -9` while a hook runs.
//!
//! The tests run themselves once more as a child process, which dies; the parent then takes over as the next agent would.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use footplate_core::release::{Hooks, Release};
use footplate_drivers::artifact::Directory;
use footplate_drivers::failpoint;
use footplate_drivers::workload::{self, Settings, Workload};
use tokio_util::sync::CancellationToken;

use crate::support::{Place, eventually, hook, listing, placement, release, scripts};

/// Names the folder that the dying process works in; set only there.
const VARIABLE: &str = "FOOTPLATE_KILL_TEST";

/// The process that dies. Run by itself, without its variable, it has nothing to do.
#[tokio::test]
async fn dying_process() {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let releases: Vec<Release> =
        serde_json::from_slice(&fs::read(folder.join("releases.json")).unwrap()).unwrap();
    let artifacts = Directory::open(&folder.join("artifacts")).unwrap();
    let target = workload::open(placement(&folder.join("root")), Settings::default()).await.unwrap();
    go_on(&target, &artifacts, &releases).await;
}

/// Prepares and activates the second release, whatever of it is done, and cleans the third.
async fn go_on(target: &Arc<dyn Workload>, artifacts: &Directory, releases: &[Release]) {
    let go_on = CancellationToken::new();
    let next = &releases[1];
    target.prepare(next, artifacts, &go_on).await.unwrap();
    let seen = target.observe().await.unwrap();
    if seen.live.as_ref() != Some(&next.id) || seen.unfinished.is_some() {
        target.activate(next, &go_on).await.unwrap();
    }
    target.clean(&releases[2].id, Some(&releases[2]), &go_on).await.unwrap();
}

fn run_and_die(folder: &Path, releases: &[Release], failpoint: &str) -> ExitStatus {
    fs::write(folder.join("releases.json"), serde_json::to_vec(releases).unwrap()).unwrap();
    let mut child = dying(folder);
    child.env(failpoint::VARIABLE, failpoint).stdout(Stdio::null()).stderr(Stdio::null());
    child.status().unwrap()
}

fn dying(folder: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "kill::dying_process", "--test-threads=1"]).env(VARIABLE, folder);
    child
}

/// Lets the child die at `failpoint`, checks what it left, and finishes its work. Returns whether it died.
async fn dies_and_is_repaired(place: &Place, releases: &[Release], failpoint: &str) -> bool {
    let first = place.open().await;
    for release in [&releases[0], &releases[2]] {
        first.prepare(release, &place.artifacts, &CancellationToken::new()).await.unwrap();
    }
    first.activate(&releases[0], &CancellationToken::new()).await.unwrap();
    drop(first);

    let status = run_and_die(place.folder.path(), releases, failpoint);
    let died = status.signal() == Some(6);
    assert!(died || status.success(), "{failpoint}: {status}");
    let live = place.live("index").unwrap_or_default();
    assert!(live == "one" || live == "two", "{failpoint}: `live` holds {live:?}");

    let next = place.open().await;
    let seen = next.observe().await.unwrap();
    for id in &seen.prepared {
        let folder = place.target().join("versions").join(id.as_str());
        assert_eq!(listing(&folder).len(), 2, "{failpoint}: release {id} is marked and not whole");
    }
    assert!(seen.prepared.contains(&releases[0].id), "{failpoint}: the release before stays prepared");
    go_on(&next, &place.artifacts, releases).await;
    let seen = next.observe().await.unwrap();
    assert_eq!((seen.live.as_ref(), seen.unfinished), (Some(&releases[1].id), None), "{failpoint}");
    assert_eq!(seen.prepared, [releases[0].id.clone(), releases[1].id.clone()].into(), "{failpoint}");
    assert_eq!(place.live("index").as_deref(), Some("two"));
    let ran = fs::read_to_string(place.folder.path().join("activated")).unwrap_or_default();
    assert!(ran.contains("2"), "{failpoint}: what follows the switch was run for the new release");
    died
}

fn names() -> impl Iterator<Item = &'static str> {
    let verbs = ["prepare.", "activate.", "clean."];
    failpoint::NAMES.into_iter().filter(move |name| verbs.iter().any(|verb| name.starts_with(verb)))
}

#[tokio::test]
async fn a_release_directory_survives_an_agent_that_dies_at_any_failpoint() {
    for name in names() {
        let place = Place::new();
        let log = place.folder.path().join("activated");
        let prepare = hook("echo built > built");
        let hooks = Hooks { prepare, activated: hook(&format!("echo $RELEASE >> {}", log.display())) };
        let releases = [
            place.release("1", &[("index", "one")], hooks.clone()).await,
            place.release("2", &[("index", "two")], hooks.clone()).await,
            place.release("3", &[("index", "three")], hooks).await,
        ];
        assert!(dies_and_is_repaired(&place, &releases, name).await, "{name} is never passed");
    }
}

#[tokio::test]
async fn a_command_release_survives_an_agent_that_dies_at_any_failpoint() {
    for name in names() {
        let place = Place::new();
        let line = format!("echo $RELEASE >> {}", place.folder.path().join("activated").display());
        let mut releases = Vec::new();
        for (id, text) in [("1", "one"), ("2", "two"), ("3", "three")] {
            let artifact = place.artifact(&[("index", text)]).await;
            releases.push(release(id, Some(artifact), scripts(&["echo built > built"], &[&line], &["true"])));
        }
        let died = dies_and_is_repaired(&place, &releases, name).await;
        assert_eq!(died, name != "activate.pending_marked", "{name}: only hooks need that mark");
    }
}

#[tokio::test]
async fn a_hook_does_not_outlive_the_next_agent() {
    let place = Place::new();
    let folder = place.folder.path().display().to_string();
    let hang = format!(
        "[ -e {folder}/again ] && exit 0; (sleep 1000 & echo $! > {folder}/child; wait) & echo $$ > {folder}/hook; wait"
    );
    let hooks = Hooks { prepare: hook(&hang), activated: hook(&format!("echo 2 >> {folder}/activated")) };
    let releases = [
        place.release("1", &[("index", "one")], Hooks::default()).await,
        place.release("2", &[("index", "two")], hooks).await,
        place.release("3", &[("index", "three")], Hooks::default()).await,
    ];
    fs::write(place.folder.path().join("releases.json"), serde_json::to_vec(&releases).unwrap()).unwrap();
    let mut child = dying(place.folder.path()).stdout(Stdio::null()).spawn().unwrap();
    eventually("the hook runs", || place.folder.path().join("child").exists()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let is_alive = |name: &str| {
        let process = fs::read_to_string(place.folder.path().join(name)).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    assert!(is_alive("hook") && is_alive("child"), "kill -9 of the agent leaves its hook running");
    let next = place.open().await;
    assert!(!is_alive("hook") && !is_alive("child"), "the next agent has ended it");
    fs::write(place.folder.path().join("again"), "").unwrap();
    go_on(&next, &place.artifacts, &releases).await;
    assert_eq!(place.live("index").as_deref(), Some("two"));
}
