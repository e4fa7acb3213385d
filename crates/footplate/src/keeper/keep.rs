//! The keeper's loop: wait for what comes first (output, an end, an order, a time), and do what follows from it.
//!
//! Invariant: the state is on the disk before anything depends on it; a full disk loses words of the service, never the
//! service.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::release::service::Listen;
use footplate_drivers::service::{Enforcement, Exit, Folder, Log, Order, Phase, State};
use footplate_drivers::shell::{self, Kept, User, census, cgroup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::notices::Notices;
use super::run::VANISH;
use super::{Fatal, make_pipe, post};
use crate::clock;

/// How often memory and tasks are looked at where the kernel does not hold the limits.
const LOOK: Duration = Duration::from_millis(500);
/// How often a service that was asked to end is looked at once its leader is gone.
const LAST_LOOK: Duration = Duration::from_millis(50);
/// How often children that came to us are reaped, at least.
const REAP: Duration = Duration::from_secs(5);
/// The most that is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// One service's keeper.
pub(super) struct Keeper {
    pub(super) folder: Folder,
    pub(super) order: Order,
    pub(super) user: Option<User>,
    pub(super) state: State,
    pub(super) run_id: String,
    pub(super) log: Log,
    pub(super) kept: Option<Kept>,
    pub(super) group: Option<cgroup::Group>,
    /// What becomes of the service once its process has ended.
    pub(super) then: Then,
    /// Why the keeper killed it, until it has ended.
    pub(super) killed_for: Option<String>,
    /// How often the kernel had killed for want of memory when the process was started.
    pub(super) memory_kills: u64,
    /// The service's socket, when it asked for one: ours, so that connections wait while it is started again.
    pub(super) socket: Option<OwnedFd>,
    /// Where it says that it is ready, when its health is asked so.
    pub(super) notices: Option<Notices>,
    /// Who waits for the end of a stop or a restart.
    pub(super) waiting: Vec<UnixStream>,
    /// The service's output; we and the service itself keep it open for writing too, so it never ends.
    pipe: File,
    posts: UnixListener,
    lost_bytes: u64,
}

/// What becomes of a service once its process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// As its restart rules or its schedule say.
    Again,
    /// It is started at once: somebody asked for a restart.
    AtOnce,
    /// It stays ended.
    End,
}

impl Keeper {
    /// Takes a service over: what a former keeper left running goes on, else it is started when its time has come.
    pub(super) fn open(folder: Folder, has_groups: bool) -> Result<Self, Fatal> {
        let order = folder.order()?.ok_or("nothing is ordered in this folder")?;
        let state = folder.state()?;
        // Made anew in every life: what a former one left in it belongs to nobody who could still be asked.
        let posts = post::open(&folder)?;
        let user = order.user.as_deref().map(User::named).transpose()?;
        make_pipe(&folder, user.as_ref())?;
        let mut options = File::options();
        options.read(true).write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        let run_id = folder.run_id()?;
        let mut keeper = Self {
            log: Log::open(&folder.log(), order.logs)?,
            pipe: options.open(folder.pipe())?,
            // Two agents of one machine may each have a service of this name.
            group: has_groups
                .then(|| cgroup::Group::open(&format!("{}.{}", order.name, &run_id[..8]), &order.limits))
                .flatten(),
            run_id,
            then: if folder.is_stopped() { Then::End } else { Then::Again },
            killed_for: None,
            memory_kills: 0,
            waiting: Vec::new(),
            lost_bytes: 0,
            socket: None,
            notices: order.notifies.then(|| Notices::open(&folder, user.as_ref())).transpose()?,
            kept: None,
            posts,
            folder,
            order,
            user,
            state,
        };
        keeper.take_over()?;
        Ok(keeper)
    }

    fn take_over(&mut self) -> Result<(), Fatal> {
        let is_this_boot = self.state.boot == census::boot()?;
        let process = self.state.process.filter(|_| is_this_boot);
        self.kept = process.map(Kept::adopt).transpose()?.flatten();
        self.state.enforced = match &self.group {
            Some(group) if group.holds("memory") && group.holds("cpu") => Enforcement::Kernel,
            _ => Enforcement::Sampled,
        };
        self.memory_kills = self.group.as_ref().map_or(0, cgroup::Group::memory_kills);
        match (&self.kept, process) {
            (Some(kept), _) => {
                let pid = kept.identity().pid;
                // One that opens its port itself may well have that at the same number.
                self.socket = (self.order.listen == Listen::Socket).then(|| kept.socket()).flatten();
                self.note(&format!("a new keeper has found process {pid} running"));
            }
            // It ended while nobody watched; or the machine was booted since.
            (None, Some(_)) => self.bury()?,
            (None, None) => self.rest_or_start()?,
        }
        if self.then == Then::End {
            self.stop()?;
        }
        Ok(())
    }

    /// Ends what a process left behind that ended while nobody watched, or in another boot, and goes on from there.
    fn bury(&mut self) -> Result<(), Fatal> {
        if let Some(group) = &self.group {
            group.kill()?;
        }
        shell::end_all(&self.run_id, VANISH)?;
        self.ended(None)
    }

    /// Looks after the service until it is told to end it.
    pub(super) fn stay(&mut self) -> Result<(), Fatal> {
        while !(self.then == Then::End && self.kept.is_none()) {
            self.wait()?;
            self.read_output();
            self.read_notices();
            self.look_at_the_process()?;
            self.take_posts()?;
            self.look_at_the_clock()?;
            shell::reap_others(self.kept.as_ref().map(Kept::identity))?;
        }
        self.state.phase = Some(Phase::Stopped);
        self.folder.write_state(&self.state)?;
        if let Some(group) = &self.group {
            group.remove();
        }
        self.answer_waiting();
        Ok(())
    }

    fn wait(&self) -> Result<(), Fatal> {
        let mut fds = vec![PollFd::new(&self.posts, PollFlags::IN), PollFd::new(&self.pipe, PollFlags::IN)];
        fds.extend(self.notices.as_ref().map(|notices| PollFd::new(&notices.socket, PollFlags::IN)));
        let handle = self.kept.as_ref().map(Kept::handle);
        // An ended leader stays readable: from then on only the clock is waited for.
        if let Some(handle) = handle.as_ref().filter(|_| !self.leader_has_ended()) {
            fds.push(PollFd::new(handle, PollFlags::IN));
        }
        let patience = Timespec::try_from(self.patience())?;
        match poll(&mut fds, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns how long nothing has to be done if nothing happens.
    fn patience(&self) -> Duration {
        let until = |moment: Moment| moment.since(clock::now());
        let next = match self.state.phase {
            Some(Phase::Waiting { until: at } | Phase::Resting { until: at }) => until(at),
            Some(Phase::Stopping { .. }) if self.leader_has_ended() => LAST_LOOK,
            Some(Phase::Stopping { until: at }) => until(at),
            Some(Phase::Running { .. }) if self.state.enforced == Enforcement::Sampled => LOOK,
            _ => REAP,
        };
        next.min(REAP)
    }

    /// Tells whether the leader is gone, whether or not it was reaped.
    fn leader_has_ended(&self) -> bool {
        let Some(kept) = &self.kept else { return false };
        let handle = kept.handle();
        let mut fds = [PollFd::new(&handle, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    }

    /// Moves what the service said into its log.
    pub(super) fn read_output(&mut self) {
        let mut piece = [0; PIECE_BYTES];
        // Bounded, so that a service that never stops talking cannot keep us from orders.
        for _ in 0..16 {
            match self.pipe.read(&mut piece) {
                Ok(0) => return,
                Ok(bytes) => self.keep(&piece[..bytes]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn read_notices(&mut self) {
        if let Some(Err(error)) = self.notices.as_ref().map(Notices::read) {
            self.note(&format!("it is not noted what it said of itself: {error}"));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.lost_bytes > 0
            && self.log.note(&format!("{} bytes are lost: the disk took no more", self.lost_bytes)).is_ok()
        {
            self.lost_bytes = 0;
        }
        if self.log.write(bytes).is_err() {
            self.lost_bytes += bytes.len() as u64;
        }
    }

    /// Adds a line of our own to the log.
    pub(super) fn note(&mut self, line: &str) {
        if self.log.note(line).is_err() {
            self.lost_bytes += line.len() as u64;
        }
    }

    fn look_at_the_process(&mut self) -> Result<(), Fatal> {
        if !self.leader_has_ended() {
            return Ok(());
        }
        let kept = self.kept.as_ref().expect("its leader has ended");
        // Asked to end, all of its processes have their grace, not its leader alone.
        if let Some(Phase::Stopping { until }) = self.state.phase
            && clock::now() < until
            && !kept.members(&self.run_id)?.is_empty()
        {
            return Ok(());
        }
        let kept = self.kept.take().expect("looked at a moment ago");
        self.end_all(&kept)?;
        let end = kept.reap()?;
        self.read_output();
        self.ended(Some(end))
    }

    fn look_at_the_clock(&mut self) -> Result<(), Fatal> {
        let now = clock::now();
        match self.state.phase {
            // It was told to end in the instant in which it was due.
            Some(Phase::Waiting { .. } | Phase::Resting { .. }) if self.then == Then::End => Ok(()),
            Some(Phase::Waiting { until } | Phase::Resting { until }) if now >= until => self.start(),
            // The clock was set back: nobody waits for longer than his rules say.
            Some(Phase::Waiting { until }) if until.since(now) > self.order.restart.delay_max => self.start(),
            Some(Phase::Stopping { until }) if now >= until => self.kill(Exit::UNWILLING),
            Some(Phase::Running { .. }) if self.state.enforced == Enforcement::Sampled => {
                self.look_at_its_use()
            }
            _ => Ok(()),
        }
    }

    fn look_at_its_use(&mut self) -> Result<(), Fatal> {
        let Some(leader) = self.kept.as_ref().and_then(|kept| Pid::from_raw(kept.identity().pid)) else {
            return Ok(());
        };
        let family = [rustix::process::getpid(), leader];
        let used = census::used(&family);
        let most = self.order.limits;
        if used.memory_bytes > most.memory_bytes && census::used_exactly(&family) > most.memory_bytes {
            return self.kill(&super::run::over_memory(&most));
        }
        if used.tasks > u64::from(most.tasks_max) {
            return self.kill(&format!(
                "it had more than its {} processes and threads and was killed",
                most.tasks_max
            ));
        }
        Ok(())
    }

    fn take_posts(&mut self) -> Result<(), Fatal> {
        while let Some((stream, request)) = post::take(&self.posts) {
            self.obey(stream, request)?;
        }
        Ok(())
    }

    /// Answers everybody who waits for the end of what he asked for.
    pub(super) fn answer_waiting(&mut self) {
        for stream in std::mem::take(&mut self.waiting) {
            post::answer(stream, Ok(&self.state));
        }
    }

    /// Returns a descriptor of the pipe for the service: one of its own, which waits where ours does not.
    pub(super) fn output(&self) -> std::io::Result<File> {
        File::options().read(true).write(true).open(self.folder.pipe())
    }
}
