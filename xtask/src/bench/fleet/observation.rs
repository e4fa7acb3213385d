//! What one deployment looked like, read from the hosts' folders after it: file times do not depend on whoever reports.
//!
//! A link that was renamed over `live` has the time of the rename as its change time; a completion mark has the time of
//! its writing. Both clocks are the kernel's, so they can be compared with each other and with the barrier's.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When one host had a release prepared and when it went live, if it did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    pub prepared: Option<SystemTime>,
    pub activated: Option<SystemTime>,
}

/// The figures of one deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deployment {
    /// From the start of the command to the last host's activation.
    pub to_last: Duration,
    /// From the write of the barrier to the last host's activation, when the barrier was seen.
    pub switch: Option<Duration>,
    /// Hosts that were not prepared when the barrier was written, or never.
    pub unfinished: usize,
    /// Hosts that activated before the last host was prepared, or not at all.
    pub early: usize,
}

/// The kernel's clock for file times goes in steps of up to 4 ms.
const GRAIN: Duration = Duration::from_millis(4);

impl Host {
    /// Reads the times of one host: of the file that says a release is prepared, and of the link to what is live.
    pub fn read(mark: &Path, live: &Path, release: &str) -> io::Result<Host> {
        let prepared = std::fs::symlink_metadata(mark).and_then(|mark| mark.modified()).ok();
        let is_live = std::fs::read_link(live).is_ok_and(|target| target.ends_with(release));
        Ok(Host { prepared, activated: if is_live { Some(change_time(live)?) } else { None } })
    }
}

/// Returns when the name or the rights of a file last changed.
fn change_time(path: &Path) -> io::Result<SystemTime> {
    let data = std::fs::symlink_metadata(path)?;
    let whole = u64::try_from(data.ctime()).map_err(io::Error::other)?;
    let part = u32::try_from(data.ctime_nsec()).map_err(io::Error::other)?;
    Ok(UNIX_EPOCH + Duration::new(whole, part))
}

impl Deployment {
    /// Sums up the hosts. `barrier` is when the switch was written, if that could be seen; else the first activation
    /// stands for it.
    pub fn of(start: SystemTime, barrier: Option<SystemTime>, hosts: &[Host]) -> Deployment {
        let activations = || hosts.iter().filter_map(|host| host.activated);
        let last = activations().max().unwrap_or(start);
        // A busy store may wake the agents before the one who watches for us.
        let barrier = barrier.map(|seen| activations().min().map_or(seen, |first| first.min(seen)));
        let opened = barrier.or(activations().min()).unwrap_or(start);
        let all_prepared = hosts.iter().filter_map(|host| host.prepared).max().unwrap_or(start);
        let since = |earlier: SystemTime| last.duration_since(earlier).unwrap_or_default();
        let is_unfinished = |host: &&Host| host.prepared.is_none_or(|prepared| prepared > opened + GRAIN);
        let is_early = |host: &&Host| host.activated.is_none_or(|activated| activated + GRAIN < all_prepared);
        Deployment {
            to_last: since(start),
            switch: barrier.map(since),
            unfinished: hosts.iter().filter(is_unfinished).count(),
            early: hosts.iter().filter(is_early).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn host(prepared: u64, activated: u64) -> Host {
        Host { prepared: Some(at(prepared)), activated: Some(at(activated)) }
    }

    #[test]
    fn the_last_host_decides() {
        let found = Deployment::of(at(10), Some(at(14)), &[host(11, 15), host(13, 17)]);
        let (to_last, switch) = (Duration::from_secs(7), Some(Duration::from_secs(3)));
        assert_eq!(found, Deployment { to_last, switch, unfinished: 0, early: 0 });
    }

    #[test]
    fn a_host_that_was_not_ready_at_the_switch_is_counted() {
        let late = Deployment::of(at(10), Some(at(12)), &[host(11, 16), host(14, 15)]);
        assert_eq!((late.unfinished, late.early), (1, 0));
        let early = Deployment::of(at(10), None, &[host(11, 13), host(14, 15)]);
        assert_eq!((early.unfinished, early.early), (1, 1));
        let never = Deployment::of(at(10), Some(at(14)), &[Host { prepared: None, activated: None }]);
        assert_eq!((never.unfinished, never.early), (1, 1));
    }

    #[test]
    fn a_hosts_folder_tells_both_times() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, live) = (folder.path().join(".2.complete"), folder.path().join("live"));
        assert_eq!(Host::read(&mark, &live, "2").unwrap(), Host { prepared: None, activated: None });
        std::fs::write(&mark, "").unwrap();
        std::os::unix::fs::symlink("versions/2", &live).unwrap();
        let host = Host::read(&mark, &live, "2").unwrap();
        assert!(host.prepared.is_some() && host.activated >= host.prepared, "{host:?}");
        assert!(Host::read(&mark, &live, "1").unwrap().activated.is_none());
    }
}
