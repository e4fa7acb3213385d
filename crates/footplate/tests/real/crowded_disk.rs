//! A disk that is full in the middle of a deployment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::site::Site;
use footplate_testkit::process::eventually;

/// A small disk in memory; gone when dropped. Needs the right to mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> SmallDisk {
        fs::create_dir_all(at).expect("room");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(at).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a disk, which needs root");
        SmallDisk(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_fails_the_rollout_and_leaves_what_runs() {
    let mut site = Site::start();
    site.kill_agent("h2");
    let aside = site.folder().join("h2.aside");
    fs::rename(site.folder().join("h2"), &aside).expect("nobody uses it");
    let disk = SmallDisk::mount(&site.folder().join("h2"), "size=64m");
    let copied = Command::new("cp").arg("-a").arg(format!("{}/.", aside.display())).arg(&disk.0).status();
    assert!(copied.is_ok_and(|status| status.success()));
    site.start_agent("h2", None);
    site.push_with("2", "cp page prepared; dd if=/dev/zero of=filler bs=1M count=100", "cp page activated");
    let mut rollout = site.deploy("2");
    eventually("the rollout ends", || !rollout.goes_on());
    assert!(rollout.said().contains("h2"), "it names the host: {}", rollout.said());
    site.all_are("1", "1");
    let filler = disk.0.join("filler");
    let full =
        Command::new("dd").args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", filler.display())).output();
    assert!(!full.expect("dd runs").status.success(), "the disk is full");
    site.push("3");
    let mut rollout = site.deploy("3");
    eventually("the rollout ends", || !rollout.goes_on());
    assert!(rollout.said().contains("h2"), "it names the host: {}", rollout.said());
    site.all_are("1", "1");
    fs::remove_file(&filler).expect("it is there");
    site.deploy("3").must_be_done();
    site.all_run("3");
    // The agent works on the disk; it has to go first.
    site.kill_agent("h2");
}
