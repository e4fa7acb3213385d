//! What one thread waits for: the events of all its sockets, and a moment.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::Failed;

/// The event of the moment, which nobody gets to see.
const MOMENT: u64 = u64::MAX - 1;

/// Sockets that are watched, and what was heard of them last.
pub struct Watch {
    /// Where sockets are added, each with a number of its own.
    pub poll: OwnedFd,
    /// Wakes at a moment exactly: the time that waiting itself takes is rounded up to milliseconds.
    alarm: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Result<Watch, Failed> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        // A moment that has come is told once: setting the next one is enough, and it need not be read.
        epoll::add(&poll, &alarm, EventData::new_u64(MOMENT), EventFlags::IN | EventFlags::ET)?;
        Ok(Watch { poll, alarm, events: Vec::with_capacity(256) })
    }

    /// Waits for events, for less than a second when a time is given; returns their numbers.
    pub fn wait(&mut self, time_max: Option<Duration>) -> Result<Vec<u64>, Failed> {
        let immediately = Timespec { tv_sec: 0, tv_nsec: 0 };
        if let Some(time) = time_max {
            let at = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
            let once = Itimerspec { it_interval: immediately, it_value: at };
            timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &once)?;
        }
        let only_look = time_max.is_some_and(|time| time.is_zero());
        self.events.clear();
        let waiting = only_look.then_some(&immediately);
        epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut self.events), waiting)?;
        let numbers = self.events.iter().map(|event| event.data.u64());
        Ok(numbers.filter(|number| *number != MOMENT).collect())
    }
}
