//! What controllers do, one step at a time: write what was decided, hold the lease, look and decide.

use std::time::Duration;

use rand::Rng;

use crate::controller::{Controller, lease};
use crate::promises::Fact;
use crate::store::{Author, Guard, Value, Write};
use crate::world::World;

impl World {
    pub fn controller_step(&mut self, number: usize) {
        let now = self.now();
        let knobs = self.knobs.clone();
        let away = Duration::from_secs(self.rng.random_range(1..40));
        let (killed, stopped) = (self.chance(knobs.controller_killed), self.chance(knobs.controller_stopped));
        let answers = self.store_answers();
        let controller = &mut self.controllers[number];
        if now < controller.down_until || now < controller.stopped_until {
            return;
        }
        if killed {
            *controller = Controller { down_until: now + away, ..Controller::default() };
            return self.note(|| format!("controller {number} is killed"));
        }
        if stopped {
            controller.stopped_until = now + away;
            return self.note(|| format!("controller {number} stops for a while"));
        }
        if !answers {
            return;
        }
        // What was decided is written before anybody asks whether the lease still holds: only the guards know.
        if let (Some(session), Some((guards, writes))) = (controller.session, controller.pending.pop_front())
        {
            if !self.write(&Author::Controller(session), &guards, &writes) {
                self.controllers[number].pending.clear();
            }
            return;
        }
        self.acquire(number);
        let controller = &mut self.controllers[number];
        let Some(session) = controller.session else { return };
        let store = &self.scene.store;
        let acting = store.entries.get(&lease()).is_some_and(|entry| entry.session == Some(session));
        let due = controller.look_again_at.is_some_and(|at| at <= now);
        if acting && (store.revision != controller.seen || due) {
            let decided = controller.decide(store, session, now, self.mutation);
            if let Some((seen, turn)) = decided {
                self.tell(&Fact::Decided { seen: &seen, turn: &turn });
            }
        }
    }

    fn acquire(&mut self, number: usize) {
        let end = self.session_end();
        let lives =
            self.controllers[number].session.filter(|session| self.scene.store.renew_session(*session, end));
        let session = lives.unwrap_or_else(|| self.scene.store.open_session(end));
        self.controllers[number].session = Some(session);
        let write = Write { key: lease(), value: Some(Value::Lease), session: Some(session) };
        self.write(&Author::Controller(session), &[Guard::Absent(lease())], &[write]);
    }
}
