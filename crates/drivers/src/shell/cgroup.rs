//! A control group for one service, where we may write one: limits that the kernel holds, and a kill that nobody escapes.
//!
//! Source: the kernel's "Control Group v2". Only the second version is spoken. Ours lie below `footplate` in the root of the
//! hierarchy, and only where systemd does not run the machine: the hierarchy has one master.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use footplate_core::release::service::Limits;

/// The time over which processor time is measured out, in microseconds.
const PERIOD: u64 = 100_000;
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// A service's own group.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    controllers: Vec<String>,
}

impl Group {
    /// Makes the group of a service, or finds it again, and sets its limits; `None` where there is no hierarchy for us.
    pub fn open(name: &str, limits: &Limits) -> Option<Self> {
        if Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        let root = root()?;
        match Self::open_in(&root, name, limits) {
            Ok(group) => Some(group),
            Err(error) => {
                tracing::debug!(%error, "no control group for a service");
                None
            }
        }
    }

    fn open_in(root: &Path, name: &str, limits: &Limits) -> io::Result<Self> {
        let parent = root.join("footplate");
        let folder = parent.join(name);
        fs::create_dir_all(&parent)?;
        let mut controllers = Vec::new();
        for controller in CONTROLLERS {
            let order = format!("+{controller}");
            let both = [root, &parent].map(|folder| fs::write(folder.join("cgroup.subtree_control"), &order));
            if both.iter().all(Result::is_ok) {
                controllers.push(controller.to_owned());
            }
        }
        fs::create_dir_all(&folder)?;
        let group = Self { folder, controllers };
        group.limit(limits)?;
        Ok(group)
    }

    fn limit(&self, limits: &Limits) -> io::Result<()> {
        if self.holds("memory") {
            self.write("memory.max", &limits.memory_bytes.to_string())?;
            self.write("memory.oom.group", "1")?;
            // A kernel without swap has no such file.
            if self.folder.join("memory.swap.max").exists() {
                self.write("memory.swap.max", "0")?;
            }
        }
        if self.holds("cpu") {
            self.write("cpu.max", &format!("{} {PERIOD}", u64::from(limits.cpu_millis) * PERIOD / 1000))?;
        }
        if self.holds("pids") {
            self.write("pids.max", &limits.tasks_max.to_string())?;
        }
        Ok(())
    }

    /// Tells whether the kernel holds this limit here: `memory`, `cpu` or `pids`.
    pub fn holds(&self, controller: &str) -> bool {
        self.controllers.iter().any(|held| held == controller)
    }

    /// Moves a process into the group; what it starts is born there.
    pub fn take(&self, pid: i32) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Kills everybody in the group. Nobody there is fine.
    pub fn kill(&self) -> io::Result<()> {
        match self.write("cgroup.kill", "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Returns how often the kernel killed somebody here for want of memory.
    pub fn memory_kills(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let line = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Removes the group when nobody is in it; else the next keeper does.
    pub fn remove(&self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            tracing::debug!(%error, "a control group stays for a while");
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.folder.join(file), text)
    }
}

/// Finds where the hierarchy of the second version is mounted.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut fields = mounts.lines().map(|line| line.split(' '));
    let mut mount = fields.find_map(|mut fields| {
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then_some(place)
    });
    mount.take().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_in_the_kernels_words() {
        let root = tempfile::tempdir().expect("a folder");
        let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 1500, tasks_max: 20, files_max: 10 };
        let group = Group::open_in(root.path(), "shop", &limits).expect("made");
        let read =
            |file: &str| fs::read_to_string(root.path().join("footplate/shop").join(file)).expect(file);
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(read("pids.max"), "20");
        group.take(7).expect("written");
        assert_eq!(read("cgroup.procs"), "7");
        fs::write(root.path().join("footplate/shop/memory.events"), "low 0\noom 3\noom_kill 2\n")
            .expect("written");
        assert_eq!(group.memory_kills(), 2);
    }
}
