//! Disks that are full or read-only: a file system of its own, made for the test in a mount namespace of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use footplate_core::release::{Hooks, Release};
use footplate_drivers::artifact::Directory;
use footplate_drivers::workload::{self, Settings, WorkloadError};
use tokio_util::sync::CancellationToken;

use crate::support::{Place, hook, listing, placement};

/// Names the folder of the test; set only in the process on the small disk.
const VARIABLE: &str = "FOOTPLATE_FULL_TEST";

/// The process on the small disk. Run by itself, without its variable, it has nothing to do.
#[tokio::test]
async fn process_on_a_small_disk() {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let releases: Vec<Release> =
        serde_json::from_slice(&fs::read(folder.join("releases.json")).unwrap()).unwrap();
    let [small, next, unfolds, big, writes] = &releases[..] else { panic!("five releases") };
    let artifacts = Directory::open(&folder.join("artifacts")).unwrap();
    let root = folder.join("root");
    let placement = placement(&root);
    let versions = placement.folder().join("versions");
    let target = workload::open(placement, Settings::default()).await.unwrap();
    let go_on = CancellationToken::new();
    target.prepare(small, &artifacts, &go_on).await.unwrap();
    target.activate(small, &go_on).await.unwrap();
    let before = listing(&versions);

    let error = target.prepare(unfolds, &artifacts, &go_on).await.unwrap_err();
    let said = footplate_drivers::chain(&error);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(error.next().contains("free some space on the disk"), "{}", error.next());
    assert_eq!(listing(&versions), before, "nothing of it is left");
    let error = target.prepare(big, &artifacts, &go_on).await.unwrap_err();
    assert!(matches!(error, WorkloadError::NoRoom { .. }), "{error}");
    let error = target.prepare(writes, &artifacts, &go_on).await.unwrap_err();
    assert!(error.output().unwrap().text.contains("No space left"), "{error}");
    assert_eq!(listing(&versions), before, "nothing of it is left");
    target.prepare(next, &artifacts, &go_on).await.unwrap();

    let remount = |how: &str| {
        let mounted = Command::new("mount").args(["-o", how]).arg(&root).status().unwrap();
        assert!(mounted.success());
    };
    remount("remount,ro");
    let error = target.activate(next, &go_on).await.unwrap_err();
    assert!(footplate_drivers::chain(&error).contains("Read-only file system"), "{error}");
    assert!(error.next().starts_with("mount the disk of "), "{}", error.next());
    assert_eq!(target.observe().await.unwrap().live, Some(small.id.clone()));
    assert!(target.clean(&next.id, None, &go_on).await.is_err());
    remount("remount,rw");
    target.activate(next, &go_on).await.unwrap();
    assert_eq!(target.observe().await.unwrap().live, Some(next.id.clone()));
    fs::write(folder.join("over"), "").unwrap();
}

#[tokio::test]
async fn a_full_or_read_only_disk_changes_nothing_and_is_said_so() {
    let place = Place::new();
    let zeros = "\0".repeat(60 << 20);
    let noise: String =
        (0..2 << 20).map(|_| uuid::Uuid::new_v4().simple().to_string()).take(6 << 15).collect();
    let fills = Hooks { prepare: hook("head -c 60000000 /dev/zero > fill"), activated: None };
    let releases = [
        place.release("small", &[("index", "one")], Hooks::default()).await,
        place.release("next", &[("index", "two")], Hooks::default()).await,
        place.release("unfolds", &[("zeros", &zeros)], Hooks::default()).await,
        place.release("big", &[("noise", &noise)], Hooks::default()).await,
        place.release("writes", &[("index", "five")], fills).await,
    ];
    let folder = place.folder.path();
    fs::write(folder.join("releases.json"), serde_json::to_vec(&releases).unwrap()).unwrap();
    fs::create_dir(folder.join("root")).unwrap();
    let mut unshare = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=24m footplate \"$0\" && exec \"$@\""]);
    unshare.arg(folder.join("root")).arg(std::env::current_exe().unwrap());
    unshare.args(["--exact", "full::process_on_a_small_disk", "--test-threads=1"]).env(VARIABLE, folder);
    let played = unshare.output().expect("unshare is a part of util-linux, which every Debian has");
    let said =
        format!("{}{}", String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
    assert!(played.status.success() && folder.join("over").exists(), "{said}");
}
