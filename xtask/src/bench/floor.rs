//! The floor: what the machine itself needs for the same scripts or renames, with no deployer at all.
//!
//! As many workers as there are cores start the scripts one after another, the prepare scripts of all hosts first, then the
//! activation scripts: the least that any deployer with a barrier must do.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Runs a prepare and an activation script for each of `hosts` in folders below `place`; returns the time for all.
pub fn scripts(
    place: &Path,
    hosts: usize,
    shell: &str,
    prepare: &str,
    activate: &str,
) -> io::Result<Duration> {
    make_folders(place, hosts)?;
    let start = Instant::now();
    for script in [prepare, activate] {
        on_all_cores(hosts, |host| {
            let mut command = Command::new(shell);
            command.arg("-c").arg(script).current_dir(place.join(host.to_string())).env("VERSION", "floor");
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
            if status.success() {
                Ok(())
            } else {
                Err(io::Error::other(format!("`{script}` ended with {status}")))
            }
        })?;
    }
    Ok(start.elapsed())
}

/// Makes a link and renames it over `live` for each of `hosts`; returns the time for all.
pub fn renames(place: &Path, hosts: usize) -> io::Result<Duration> {
    make_folders(place, hosts)?;
    let start = Instant::now();
    on_all_cores(hosts, |host| {
        let folder = place.join(host.to_string());
        symlink("versions/floor", folder.join("next"))?;
        fs::rename(folder.join("next"), folder.join("live"))
    })?;
    Ok(start.elapsed())
}

fn make_folders(place: &Path, hosts: usize) -> io::Result<()> {
    (0..hosts).try_for_each(|host| fs::create_dir_all(place.join(host.to_string())))
}

/// Does the work of every host, on as many workers as there are cores.
fn on_all_cores(hosts: usize, work: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || loop {
        match next.fetch_add(1, Ordering::Relaxed) {
            host if host < hosts => work(host)?,
            _ => return Ok(()),
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_ran_both_scripts() {
        let place = tempfile::tempdir().unwrap();
        scripts(place.path(), 3, "sh", "true", "ln -sfn $VERSION live").unwrap();
        for host in 0..3 {
            assert_eq!(fs::read_link(place.path().join(format!("{host}/live"))).unwrap(), Path::new("floor"));
        }
        assert!(scripts(place.path(), 1, "sh", "false", "true").is_err());
    }

    #[test]
    fn every_host_was_renamed() {
        let place = tempfile::tempdir().unwrap();
        renames(place.path(), 2).unwrap();
        assert!(fs::symlink_metadata(place.path().join("1/live")).unwrap().is_symlink());
    }
}
