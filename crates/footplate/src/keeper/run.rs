//! One run of a service: how it is started, ended, and what follows.

use std::ffi::OsString;
use std::fs::{File, FileTimes};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime};

use footplate_core::health;
use footplate_core::moment::Moment;
use footplate_core::release::service::{Limits, Listen, StopSignal};
use footplate_drivers::service::keeper::Request;
use footplate_drivers::service::{Exit, HEARTBEAT, NOTIFY_SOCKET, Phase};
use footplate_drivers::shell::{End, Kept, Launch, RUN_VARIABLE, census, cgroup};
use rustix::process::Signal;

use super::keep::{Keeper, Then};
use super::notices::Notices;
use super::{Fatal, post};
use crate::clock;

/// How long killed processes have to vanish.
pub(super) const VANISH: Duration = Duration::from_secs(10);
/// Where programs are looked for when we have no `PATH` ourselves.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Keeper {
    /// Does as it was told by `stream`, who is answered when it is done.
    pub(super) fn obey(&mut self, stream: UnixStream, request: Request) -> Result<(), Fatal> {
        match request {
            Request::Status => post::answer(stream, Ok(&self.state)),
            Request::Signal { signal: which } => {
                let sent = self.kept.as_ref().map_or(Ok(()), |kept| kept.signal(signal(which)));
                post::answer(stream, sent.map(|()| &self.state).map_err(|error| error.to_string()));
            }
            Request::Stop => {
                self.waiting.push(stream);
                self.then = Then::End;
                self.stop()?;
            }
            Request::Restart => {
                self.waiting.push(stream);
                self.then = if self.then == Then::End { Then::End } else { Then::AtOnce };
                match self.kept {
                    Some(_) => self.stop()?,
                    None => self.start()?,
                }
            }
        }
        Ok(())
    }

    /// Starts the service, or rests until its hour.
    pub(super) fn rest_or_start(&mut self) -> Result<(), Fatal> {
        match (&self.order.schedule, &self.state.phase) {
            _ if self.then == Then::End => Ok(()),
            (Some(_), Some(Phase::Resting { .. })) => Ok(()),
            (Some(schedule @ footplate_core::release::Schedule::Calendar(_)), None) => {
                let until = schedule.next(clock::now());
                self.become_phase(Phase::Resting { until })
            }
            _ => self.start(),
        }
    }

    /// Starts the service's process. One that cannot be started counts as one that ended at once.
    pub(super) fn start(&mut self) -> Result<(), Fatal> {
        let is_first = self.state.last_exit.is_none() && self.state.restarts == 0;
        if !is_first && self.order.schedule.is_none() {
            self.state.restarts += 1;
        }
        self.then = Then::Again;
        match self.launch() {
            Ok(kept) => self.begin(kept),
            Err(error) => {
                self.state.process = None;
                self.has_ended(format!("it could not be started: {error}"), false)
            }
        }
    }

    fn launch(&mut self) -> std::io::Result<Kept> {
        let (heartbeat, limits) = (self.folder.heartbeat(), self.order.limits);
        let beat = File::options().append(true).create(true).open(&heartbeat)?;
        // A start counts as a beat: what an earlier process touched says nothing about this one.
        beat.set_times(FileTimes::new().set_modified(SystemTime::now()))?;
        if let Some(user) = &self.user {
            std::os::unix::fs::fchown(&beat, Some(user.uid), Some(user.gid))?;
        }
        self.notices.as_ref().map_or(Ok(()), Notices::forget)?;
        Kept::start(Launch {
            command: self.order.command.clone(),
            directory: self.order.directory.clone(),
            environment: self.environment(),
            user: self.user.clone(),
            data_bytes_max: Some(limits.memory_bytes.saturating_mul(4).max(limits.memory_bytes + (1 << 30))),
            files_max: limits.files_max.into(),
            socket: self.socket()?,
            output: self.output()?,
        })
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(OsString, OsString)> =
            vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into()))];
        let passed = ["HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"];
        variables.extend(passed.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))));
        if let Some(user) = &self.user {
            let own = [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)];
            variables.extend(own.map(|(name, value)| (name.into(), value.into())));
        }
        variables.extend(self.order.environment.iter().map(|(name, value)| (name.into(), value.into())));
        variables.push((HEARTBEAT.into(), self.folder.heartbeat().into()));
        let notices = self.notices.as_ref().map(|notices| (NOTIFY_SOCKET.into(), notices.path().into()));
        variables.extend(notices);
        variables.push((RUN_VARIABLE.into(), (&self.run_id).into()));
        variables
    }

    /// Returns the service's socket, when it asked for one; it is opened for the first run and stays.
    fn socket(&mut self) -> std::io::Result<Option<OwnedFd>> {
        let Some(port) = self.order.port.filter(|_| self.order.listen == Listen::Socket) else {
            return Ok(None);
        };
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?.into(),
        };
        self.socket.insert(socket).try_clone().map(Some)
    }

    fn begin(&mut self, mut kept: Kept) -> Result<(), Fatal> {
        let identity = kept.identity();
        self.state.boot = census::boot()?;
        self.state.process = Some(identity);
        self.become_phase(Phase::Running { pid: identity.pid, since: clock::now() })?;
        if let Some(group) = &self.group {
            self.memory_kills = group.memory_kills();
            group.take(identity.pid)?;
        }
        self.note(&format!("started process {}", identity.pid));
        kept.open_gate();
        self.kept = Some(kept);
        self.answer_waiting();
        Ok(())
    }

    /// Asks the service to end. One that does not run is over at once.
    pub(super) fn stop(&mut self) -> Result<(), Fatal> {
        let Some(kept) = &self.kept else { return Ok(()) };
        if matches!(self.state.phase, Some(Phase::Stopping { .. })) {
            return Ok(());
        }
        kept.signal(signal(self.order.stop.signal))?;
        self.note("asked to end");
        self.become_phase(Phase::Stopping { until: clock::now() + self.order.stop.grace })
    }

    /// Kills all of the service for a reason.
    pub(super) fn kill(&mut self, why: &str) -> Result<(), Fatal> {
        self.killed_for.get_or_insert_with(|| why.to_owned());
        let Some(kept) = self.kept.take() else { return Ok(()) };
        let is_gone = self.end_all(&kept);
        self.kept = Some(kept);
        is_gone
    }

    /// Kills what lives of a service, by its control group too where it has one.
    pub(super) fn end_all(&mut self, kept: &Kept) -> Result<(), Fatal> {
        if let Some(group) = &self.group {
            group.kill()?;
        }
        if !kept.end(&self.run_id, VANISH)? {
            self.note("some of its processes were killed and do not end: see what they wait for");
        }
        Ok(())
    }

    /// Takes note of the end of the process; `None` when it ended while nobody watched.
    pub(super) fn ended(&mut self, end: Option<Option<End>>) -> Result<(), Fatal> {
        let starved = self.group.as_ref().map_or(0, cgroup::Group::memory_kills) > self.memory_kills;
        let was_asked = matches!(self.state.phase, Some(Phase::Stopping { .. }));
        let (why, was_well) = match (self.killed_for.take(), end.flatten()) {
            (Some(why), _) => (why, false),
            (None, _) if starved => (over_memory(&self.order.limits), false),
            (None, Some(end)) => (end.to_string(), end == End::Exited(0)),
            (None, None) => ("it ended while no keeper of its own watched it".to_owned(), false),
        };
        self.state.process = None;
        let is_fine = was_asked || (was_well && self.order.schedule.is_some());
        self.has_ended(why, is_fine)
    }

    fn has_ended(&mut self, why: String, is_fine: bool) -> Result<(), Fatal> {
        let now = clock::now();
        let begun = match self.state.phase {
            Some(Phase::Running { since, .. }) => since,
            _ => now,
        };
        self.note(&why);
        self.state.last_exit = Some(Exit { why, is_fine, at: now });
        let was_short = now.since(begun) < self.order.restart.calm_after;
        self.state.short_runs = if was_short { self.state.short_runs.saturating_add(1) } else { 1 };
        match self.then {
            Then::End => self.become_phase(Phase::Stopped),
            Then::AtOnce => self.start(),
            Then::Again => self.wait_for_next(begun, now),
        }
    }

    fn wait_for_next(&mut self, begun: Moment, now: Moment) -> Result<(), Fatal> {
        match &self.order.schedule {
            Some(schedule) => self.become_phase(Phase::Resting { until: schedule.next(begun).max(now) }),
            None => {
                let delay = health::restart_delay(&self.order.restart, self.state.short_runs);
                self.become_phase(Phase::Waiting { until: now + delay })
            }
        }
    }

    fn become_phase(&mut self, phase: Phase) -> Result<(), Fatal> {
        self.state.phase = Some(phase);
        // A disk that takes nothing must not end a service that runs: the next change is written whole again.
        if let Err(error) = self.folder.write_state(&self.state) {
            eprintln!("{error}: {}", error.source);
        }
        Ok(())
    }
}

/// Says that a service used too much memory.
pub(super) fn over_memory(limits: &Limits) -> String {
    format!("it used more than its {} MiB of memory and was killed", limits.memory_bytes >> 20)
}

fn signal(which: StopSignal) -> Signal {
    match which {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
        StopSignal::Winch => Signal::WINCH,
    }
}
