//! What `/proc` says about processes: who is whose child, since when, and what they use. Blocking.
//!
//! Source: proc(5). A process that ends while it is looked at counts as gone.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// What a process and its descendants use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Memory in bytes. Shared pages count once for each process, so this is at least what is really used.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub tasks: u64,
}

/// Returns when a process was started, in the kernel's ticks since the boot.
pub fn started(pid: Pid) -> io::Result<u64> {
    let stat = stat(pid)?;
    field(&stat, 22).ok_or_else(|| io::Error::other("the kernel does not say when it was started"))
}

/// Tells whether a process has ended and was not reaped yet.
pub(super) fn is_zombie(pid: Pid) -> bool {
    stat(pid).is_ok_and(|stat| after_name(&stat).starts_with(['Z', 'X']))
}

/// Returns the name of this boot of the machine: process numbers and start times mean nothing in another one.
pub fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Lists our own children.
pub(super) fn children_of_ours() -> io::Result<Vec<Pid>> {
    children(rustix::process::getpid())
}

/// Lists the living processes that are in the group of `leader`, descend from it or from us, or carry `marker` among
/// their variables; not ourselves.
pub(super) fn members(leader: Pid, marker: &str) -> io::Result<Vec<OwnedFd>> {
    let family = descendants(&[rustix::process::getpid(), leader]);
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else { continue };
        // The handle comes first: what is read afterwards is about the process that it belongs to.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let Ok(stat) = stat(pid) else { continue };
        let is_alive = !after_name(&stat).starts_with(['Z', 'X']);
        let is_in_group = field(&stat, 5) == Some(leader.as_raw_nonzero().get());
        if is_alive && (is_in_group || family.contains(&pid) || carries(pid, marker)) {
            members.push(handle);
        }
    }
    Ok(members)
}

fn carries(pid: Pid, marker: &str) -> bool {
    // Another user's process, which we may not look into, is none of ours.
    let environment = fs::read(folder(pid).join("environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
}

/// Sums up what the descendants of `ancestors` use, and what those of them use that are not ourselves.
pub fn used(ancestors: &[Pid]) -> Use {
    let members = descendants(ancestors);
    let page = rustix::param::page_size() as u64;
    let each = members.iter().filter_map(|pid| stat(*pid).ok());
    each.fold(Use::default(), |sum, stat| Use {
        memory_bytes: sum.memory_bytes + field::<u64>(&stat, 24).unwrap_or(0) * page,
        tasks: sum.tasks + field::<u64>(&stat, 20).unwrap_or(1),
    })
}

/// Sums up the memory of the descendants of `ancestors` with each shared page divided among those who share it.
///
/// Dear: the kernel walks all their pages.
pub fn used_exactly(ancestors: &[Pid]) -> u64 {
    let kibibytes = descendants(ancestors).into_iter().filter_map(|pid| {
        let rollup = fs::read_to_string(folder(pid).join("smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().split(' ').next()?.parse::<u64>().ok()
    });
    kibibytes.sum::<u64>() * 1024
}

/// Lists `ancestors` without ourselves, and all below them.
fn descendants(ancestors: &[Pid]) -> Vec<Pid> {
    let mut found: Vec<Pid> = Vec::new();
    let mut open: Vec<Pid> = ancestors.to_vec();
    let own = rustix::process::getpid();
    while let Some(pid) = open.pop() {
        if found.contains(&pid) {
            continue;
        }
        open.extend(children(pid).unwrap_or_default());
        if pid != own {
            found.push(pid);
        }
    }
    found
}

fn children(pid: Pid) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for task in fs::read_dir(folder(pid).join("task"))? {
        // A thread that ended meanwhile has given its children to another one.
        let Ok(list) = fs::read_to_string(task?.path().join("children")) else { continue };
        children.extend(list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    Ok(children)
}

fn folder(pid: Pid) -> std::path::PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().get().to_string())
}

fn stat(pid: Pid) -> io::Result<String> {
    fs::read_to_string(folder(pid).join("stat"))
}

/// Returns what follows the name, which may hold anything: it ends at the last parenthesis.
fn after_name(stat: &str) -> &str {
    stat.rsplit_once(") ").map_or("", |(_, rest)| rest)
}

/// Returns a field by its number in proc(5); those after the name only.
fn field<T: std::str::FromStr>(stat: &str, number: usize) -> Option<T> {
    after_name(stat).split(' ').nth(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let stat = "7 (a) b) ) S 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 3 0 1234 99 55 18446744073709551615";
        assert_eq!(field(stat, 22), Some(1234_u64));
        assert_eq!(field(stat, 20), Some(3_u64));
        assert_eq!(field(stat, 24), Some(55_u64));
    }
}
