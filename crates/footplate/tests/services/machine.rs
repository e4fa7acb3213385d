//! A machine that systemd runs: Debian's root, copied, booted by systemd-nspawn, entered by nsenter.
//!
//! The root comes from `cargo xtask test`, which puts it into the test cache as `debian/`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(90);

/// A booted machine. It is ended when dropped.
pub struct Machine {
    folder: TempDir,
    nspawn: Child,
    leader: i32,
}

impl Machine {
    /// Copies Debian's root and boots it.
    pub fn boot() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = cached_root();
        assert!(
            root.join("usr/bin/systemctl").exists(),
            "no Debian root in {}: run `cargo xtask test`",
            root.display()
        );
        let copied = Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(root)
            .arg(folder.path().join("root"))
            .status();
        assert!(copied.expect("cp runs").success());
        let (nspawn, leader) = start(folder.path());
        let machine = Self { folder, nspawn, leader };
        machine.poll_until_booted();
        machine
    }

    /// Cuts the power and boots again from the same disk.
    pub fn reboot(&mut self) {
        self.cut_power();
        (self.nspawn, self.leader) = start(self.folder.path());
        self.poll_until_booted();
    }

    /// Returns a file of the machine as we see it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Runs a program inside and returns what it printed.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.leader.to_string(), "-m", "-u", "-i", "-p", "--wd=/", "--"]).arg(program);
        let output = command.args(arguments).stdin(Stdio::null()).output().expect("nsenter runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) }
    }

    fn poll_until_booted(&self) {
        let begun = Instant::now();
        // `degraded` is up too: a container lacks a device or two.
        while !["running", "degraded"].contains(&self.state().trim()) {
            assert!(begun.elapsed() < DEADLINE, "it does not boot: {}\n{}", self.state(), self.console());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn state(&self) -> String {
        self.run("systemctl", &["is-system-running"]).unwrap_or_else(|said| said)
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("console")).unwrap_or_default()
    }

    fn cut_power(&mut self) {
        // Killing the machine's first process ends all others with it.
        if let Some(leader) = rustix::process::Pid::from_raw(self.leader) {
            rustix::process::kill_process(leader, rustix::process::Signal::KILL).ok();
        }
        drop(self.nspawn.wait());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut_power();
    }
}

fn cached_root() -> PathBuf {
    let cache = std::env::var_os("FOOTPLATE_TEST_CACHE").map(PathBuf::from);
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/footplate-tests");
    cache.unwrap_or_else(home).join("debian")
}

fn start(folder: &Path) -> (Child, i32) {
    let build =
        crate::site::program().ancestors().nth(2).expect("examples lie in the build folder").to_owned();
    let console = File::create(folder.join("console")).expect("made");
    let mut command = Command::new("systemd-nspawn");
    command.args([
        "--boot",
        "--register=no",
        "--keep-unit",
        "--quiet",
        "--link-journal=no",
        "--console=read-only",
    ]);
    command.arg("-D").arg(folder.join("root")).arg(format!("--bind-ro={}", build.display()));
    command.stdin(Stdio::null()).stdout(console.try_clone().expect("cloned")).stderr(console);
    let mut nspawn = command.spawn().expect("systemd-nspawn is installed");
    let begun = Instant::now();
    loop {
        if let Some(leader) = poll_leader(nspawn.id()) {
            return (nspawn, leader);
        }
        let ended = nspawn.try_wait().expect("it is our child");
        let said = || std::fs::read_to_string(folder.join("console")).unwrap_or_default();
        assert!(ended.is_none() && begun.elapsed() < DEADLINE, "systemd-nspawn does not start: {}", said());
    }
}

/// Returns the machine's first process: the child of nspawn that has become systemd.
fn poll_leader(nspawn: u32) -> Option<i32> {
    std::thread::sleep(Duration::from_millis(20));
    let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_systemd = |pid: &&str| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
    };
    children.split_whitespace().find(is_systemd)?.parse().ok()
}
