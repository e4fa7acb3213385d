//! Services as systemd units: `footplate-ENVIRONMENT.APP.GROUP.RELEASE.service`, written, enabled, started by `systemctl`.
//!
//! Invariants: what was started is enabled, so that a boot starts it before any agent; what is stopped is disabled. Needs
//! root and systemd 247 or newer. The log is cut when it is looked at ([`Supervisor::look`]), since systemd only adds to it.

mod show;
mod unit;

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use footplate_core::moment::Moment;
use footplate_core::release::service::{Listen, StopSignal};
use tokio_util::sync::CancellationToken;

use super::folders::Folders;
use super::{
    Enforcement, Folder, Look, Order, ServiceError, ServiceName, State, Status, Supervisor, forsaken, logs,
    revived,
};
use crate::disk::{self, DiskError};
use crate::shell::{self, End, Script, User};
use show::Shown;

/// Where units of this machine's administrators lie.
const UNITS: &str = "/etc/systemd/system";
/// How long systemd may take, beyond what its order takes by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells whether systemd runs this machine. Source: sd_booted(3).
pub fn runs_this_machine() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The services of this host as systemd's units.
#[derive(Debug)]
pub struct Systemd {
    folders: Folders,
    /// Two starts of one service would write one unit at once.
    starts: tokio::sync::Mutex<()>,
    version: tokio::sync::OnceCell<u32>,
}

impl Systemd {
    /// Keeps orders and logs below `folder`, and units where systemd looks for them.
    pub fn new(folder: &Path) -> Self {
        Self {
            folders: Folders::new(folder),
            starts: tokio::sync::Mutex::default(),
            version: tokio::sync::OnceCell::new(),
        }
    }

    /// Runs `systemctl` and returns what it printed.
    async fn systemctl(
        &self,
        what: &'static str,
        name: &ServiceName,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<String, ServiceError> {
        let script = Script::new("systemctl", "/").arguments(arguments).deadline(patience);
        let finished = shell::run(&script, &CancellationToken::new()).await?;
        match finished.end {
            End::Exited(0) => Ok(finished.output),
            end => {
                let said = format!("`systemctl {}`: {end}; {}", arguments.join(" "), finished.output.trim());
                Err(ServiceError::Refused { what, name: Box::new(name.clone()), said })
            }
        }
    }

    /// Returns systemd's version: `systemd 252 (…)`.
    async fn version(&self, name: &ServiceName) -> Result<u32, ServiceError> {
        let ask = || async {
            let said = self.systemctl("start", name, &["--version"], PATIENCE).await?;
            Ok::<_, ServiceError>(
                said.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0),
            )
        };
        self.version.get_or_try_init(ask).await.copied()
    }

    async fn show(&self, name: &ServiceName, end: &str) -> Result<Shown, ServiceError> {
        let unit = format!("{}.{end}", unit::name(name));
        let asked = ["show", "--timestamp=unix", "--property", show::PROPERTIES, "--", &unit];
        self.systemctl("look at", name, &asked, PATIENCE).await.map(|text| Shown::parse(&text))
    }

    async fn stand(&self, order: &Order) -> Result<Status, ServiceError> {
        let name = &order.name;
        let shown = self.show(name, "service").await?;
        let timer = match order.schedule {
            Some(_) => Some(self.show(name, "timer").await?),
            None => None,
        };
        let (folder, order) = (self.folders.of(name), order.clone());
        Ok(crate::blocking(move || {
            cut_log(&folder, &order)?;
            let ended = read_ended(&folder)?;
            let state = State {
                restarts: shown.restarts(),
                last_exit: show::exit(&ended, order.limits.memory_bytes >> 20),
                enforced: enforced(shown.get("ControlGroup")),
                ..State::default()
            };
            let phase = shown.phase(&order, timer.as_ref(), folder.is_stopped(), now());
            Ok::<_, DiskError>(folder.status(&order, &state, phase))
        })
        .await?)
    }

    /// Returns what is enabled, started and stopped: the timer or the socket of a service that has one, else the service.
    fn handle(&self, order: &Order) -> String {
        let units = unit::units(order, &self.folders.of(&order.name), 0);
        format!("{}.{}", unit::name(&order.name), units.last().expect("a service has a unit").0)
    }
}

#[async_trait]
impl Supervisor for Systemd {
    async fn start(&self, order: &Order) -> Result<Status, ServiceError> {
        let _alone = self.starts.lock().await;
        let (folder, wanted, version) =
            (self.folders.of(&order.name), order.clone(), self.version(&order.name).await?);
        let was_written = crate::blocking(move || write(&folder, &wanted, version)).await?;
        let name = &order.name;
        if was_written {
            self.systemctl("start", name, &["daemon-reload"], PATIENCE).await?;
        }
        let handle = self.handle(order);
        self.systemctl("start", name, &["enable", "--quiet", &handle], PATIENCE).await?;
        // Not waited for: a service that ends at once is started, and ended. That is for `status` to say.
        self.systemctl("start", name, &["start", "--no-block", &handle], PATIENCE).await?;
        // Its socket alone would start it with the first connection, and nobody would be sent there before it is healthy.
        if order.port.is_some() && order.listen == Listen::Socket {
            let service = format!("{}.service", unit::name(name));
            self.systemctl("start", name, &["start", "--no-block", &service], PATIENCE).await?;
        }
        self.stand(order).await
    }

    async fn stop(&self, name: &ServiceName) -> Result<(), ServiceError> {
        let Some(order) = self.folders.order(name).await? else { return Ok(()) };
        let folder = self.folders.of(name);
        crate::blocking(move || folder.set_stopped(true)).await?;
        let patience = order.stop.grace + PATIENCE;
        self.systemctl("stop", name, &["disable", "--now", "--quiet", &self.handle(&order)], patience)
            .await?;
        let service = format!("{}.service", unit::name(name));
        self.systemctl("stop", name, &["stop", &service], patience).await.map(drop)
    }

    async fn restart(&self, name: &ServiceName) -> Result<(), ServiceError> {
        let Some(order) = self.folders.order(name).await? else { return Ok(()) };
        let service = format!("{}.service", unit::name(name));
        // systemd would wait until it says that it is ready, which it may never do.
        let arguments = ["restart", "--no-block", &service];
        let arguments = if order.notifies { &arguments[..] } else { &["restart", &service] };
        self.systemctl("restart", name, arguments, order.stop.grace + PATIENCE).await.map(drop)
    }

    async fn signal(&self, name: &ServiceName, signal: StopSignal) -> Result<(), ServiceError> {
        let Some(order) = self.folders.order(name).await? else { return Ok(()) };
        if !self.stand(&order).await?.is_running() {
            return Ok(());
        }
        let which = format!("--signal={}", unit::signal(signal));
        let service = format!("{}.service", unit::name(name));
        self.systemctl("signal", name, &["kill", &which, &service], PATIENCE).await.map(drop)
    }

    async fn look(&self) -> Result<Vec<Look>, ServiceError> {
        let mut looks = Vec::new();
        for name in self.folders.names().await? {
            let looked = self.status(&name).await.transpose();
            looks.extend(looked.map(|status| (name, status)));
        }
        Ok(looks)
    }

    async fn status(&self, name: &ServiceName) -> Result<Option<Status>, ServiceError> {
        match self.folders.order(name).await? {
            Some(order) => self.stand(&order).await.map(Some),
            None => Ok(None),
        }
    }

    async fn revive(&self) -> Result<Vec<ServiceName>, ServiceError> {
        let mut taken_up = Vec::new();
        for name in forsaken(self.look().await?) {
            let again = async {
                match self.folders.order(&name).await? {
                    Some(order) => self.start(&order).await.map(drop),
                    None => Ok(()),
                }
            };
            let done = again.await;
            taken_up.extend(revived(name, done));
        }
        Ok(taken_up)
    }

    async fn forget(&self, name: &ServiceName) -> Result<(), ServiceError> {
        self.stop(name).await?;
        let (folder, unit) = (self.folders.of(name), unit::name(name));
        crate::blocking(move || {
            for end in ["service", "socket", "timer"] {
                disk::remove_file(&Path::new(UNITS).join(format!("{unit}.{end}")))?;
            }
            disk::remove_tree(folder.path())
        })
        .await?;
        self.systemctl("forget", name, &["daemon-reload"], PATIENCE).await.map(drop)
    }
}

/// Writes all that systemd reads; returns whether a unit changed.
fn write(folder: &Folder, order: &Order, version: u32) -> Result<bool, DiskError> {
    folder.create()?;
    folder.write_order(order)?;
    disk::write_atomically(&folder.path().join("ended.sh"), unit::ended_script(folder).as_bytes())?;
    give_heartbeat(folder, order)?;
    let mut changed = false;
    for (end, text) in unit::units(order, folder, version) {
        let path = Path::new(UNITS).join(format!("{}.{end}", unit::name(&order.name)));
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            continue;
        }
        disk::write_atomically(&path, text.as_bytes())?;
        changed = true;
    }
    folder.set_stopped(false)?;
    Ok(changed)
}

/// Makes the file that the service's own user touches.
fn give_heartbeat(folder: &Folder, order: &Order) -> Result<(), DiskError> {
    let path = folder.heartbeat();
    let made = fs::OpenOptions::new().append(true).create(true).open(&path);
    let file = made.map_err(disk::failed("create", &path))?;
    let user =
        order.user.as_deref().map(User::named).transpose().map_err(disk::failed("give away", &path))?;
    let given = user.map(|user| std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid)));
    given.unwrap_or(Ok(())).map_err(disk::failed("give away", &path))
}

/// Begins the log anew at its size. What is said between the copy and the cut is lost: systemd cannot be told to reopen it.
fn cut_log(folder: &Folder, order: &Order) -> Result<(), DiskError> {
    let log = folder.log();
    if !fs::metadata(&log).is_ok_and(|found| found.len() > order.logs.file_bytes_max) {
        return Ok(());
    }
    let copy = disk::with_suffix(&log, ".copy");
    let cut = || {
        fs::copy(&log, &copy)?;
        fs::OpenOptions::new().write(true).open(&log)?.set_len(0)?;
        logs::shift_older(&log, order.logs.files_max)?;
        match order.logs.files_max {
            0 | 1 => fs::remove_file(&copy),
            _ => fs::rename(&copy, disk::with_suffix(&log, ".1")),
        }
    };
    cut().map_err(disk::failed("cut", &log))
}

fn read_ended(folder: &Folder) -> Result<String, DiskError> {
    let path = folder.path().join("ended");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(disk::failed("read", &path)),
    }
}

/// Says who holds a unit's limits: the kernel where the unit's control group has the files for it, of either version.
fn enforced(group: &str) -> Enforcement {
    let group = group.trim_start_matches('/');
    let of = |root: &str, file: &str| Path::new(root).join(group).join(file).exists();
    let second = of("/sys/fs/cgroup", "memory.max") && of("/sys/fs/cgroup", "cpu.max");
    let first =
        of("/sys/fs/cgroup/memory", "memory.limit_in_bytes") && of("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us");
    if !group.is_empty() && (first || second) { Enforcement::Kernel } else { Enforcement::Nobody }
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
