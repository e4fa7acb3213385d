//! A full disk: writes are refused with a clear text, reads go on, nothing acknowledged is lost, and when there is
//! room again the server goes on. The disk is a small memory file system, which only root can mount.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use footplate_kv::Config;
use tempfile::TempDir;

use crate::site::Site;

/// A mounted file system of three megabytes.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(at: &Path) -> SmallDisk {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "footplate-test"]).arg(at).output();
        let output = mounted.expect("the program mount runs");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "this test mounts a small disk and must run as root: {why}");
        SmallDisk { at: at.to_owned() }
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.at.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0; 1]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failed test may still have the database open.
        let done = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_loses_nothing_and_goes_on_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let disk = SmallDisk::mount(folder.path());
    let data = folder.path().join("data");
    let config = || Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::loopback(&data) };
    let mut acknowledged = BTreeMap::new();
    let site = Site::start_with(TempDir::new().unwrap(), config()).await;
    for number in 0..20 {
        let (key, value) = (format!("before/{number}"), format!("{number}").repeat(100));
        assert_eq!(site.put(&format!("/v1/kv/{key}"), value.clone()).await.status, 200);
        acknowledged.insert(key, value);
    }
    disk.fill();
    // What has room in the log's file may still pass; then it is over.
    let mut refused = None;
    for number in 0..200 {
        let (key, value) = (format!("during/{number}"), "x".repeat(60_000));
        let reply = site.put(&format!("/v1/kv/{key}"), value.clone()).await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
        acknowledged.insert(key, value);
    }
    let refused = refused.expect("a full disk refuses a write some time");
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(refused.body.contains("full") && refused.body.contains("free the disk"), "{refused:?}");
    check(&site, &acknowledged).await;
    let seen = site.get("/v1/kv/before/?recurse").await.index.unwrap();
    disk.free();
    footplate_testkit::eventually("writes pass again", Duration::from_secs(30), || async {
        site.put("/v1/kv/after", "1").await.status == 200
    })
    .await;
    acknowledged.insert("after".into(), "1".into());
    check(&site, &acknowledged).await;
    site.stop().await;
    let site = Site::start_with(TempDir::new().unwrap(), config()).await;
    check(&site, &acknowledged).await;
    assert!(site.get("/v1/kv/after").await.index.unwrap() > seen);
    site.stop().await;
}

async fn check(site: &Site, acknowledged: &BTreeMap<String, String>) {
    for (key, value) in acknowledged {
        let reply = site.get(&format!("/v1/kv/{key}?raw")).await;
        assert!(reply.body == *value, "{key} is lost: {}", reply.status);
    }
}
