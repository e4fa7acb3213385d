//! What agents do, one step at a time: keep their session, take orders, work, report; and what happens to their hosts.

use std::time::Duration;

use footplate_core::generation::Generation;
use footplate_core::name::{GroupName, HostName, ReleaseId};
use footplate_core::record::{Key, Writer};
use footplate_core::target::{Action, Verb};
use rand::Rng;

use crate::controller::{path, target_name};
use crate::machine::{Disk, Machine, Work};
use crate::promises::Fact;
use crate::service::Process;
use crate::store::{Author, Guard, Store, Value, Write};
use crate::world::World;

impl World {
    pub fn agent_step(&mut self, host: &HostName) {
        let now = self.now();
        if self.agent_misfortune(host) {
            return;
        }
        let machine = self.scene.machines.get_mut(host).expect("it was listed");
        if now < machine.down_until || now < machine.slow_until {
            return;
        }
        let Some(agent) = &mut machine.agent else {
            return machine.boot(now);
        };
        agent.stage = (agent.stage + 1) % 4;
        let reaches = now >= machine.cut_off_until && now >= self.down_until;
        match agent.stage {
            0 if reaches => self.keep_session(host),
            1 if reaches => self.take_orders(host),
            2 => self.work(host),
            3 if reaches => self.report(host),
            _ => {}
        }
    }

    /// Returns whether something happened to the host that ends its step.
    fn agent_misfortune(&mut self, host: &HostName) -> bool {
        let now = self.now();
        let knobs = self.knobs.clone();
        let away = Duration::from_secs(self.rng.random_range(1..60));
        let (killed, reimaged) = (self.chance(knobs.agent_killed), self.chance(knobs.host_reimaged));
        let rebooted = self.knobs.services && self.chance(knobs.host_reboots);
        let (slow, cut, tampered) = (
            self.chance(knobs.host_slow),
            self.chance(knobs.host_cut_off),
            self.chance(knobs.live_changed_by_hand),
        );
        let relabelled = self.chance(knobs.host_relabelled);
        let machine = self.scene.machines.get_mut(host).expect("it was listed");
        if relabelled {
            machine.matches = !machine.matches;
        }
        if killed || relabelled {
            machine.agent = None;
            machine.down_until = now + away;
        }
        if rebooted {
            machine.reboot(now);
            machine.down_until = now + away;
        }
        if reimaged {
            machine.reimage(now);
            machine.down_until = now + away;
        }
        if slow {
            machine.slow_until = now + away;
        }
        if cut {
            machine.cut_off_until = now + away;
        }
        if tampered {
            machine.incident_at = Some(now);
            for disk in
                machine.disks.values_mut().filter(|disk| disk.activating.is_none() && disk.live.is_some())
            {
                disk.live = disk.prepared.iter().next().cloned();
            }
        }
        for (happened, what) in [
            (killed, "is killed"),
            (rebooted, "reboots"),
            (reimaged, "is re-imaged"),
            (slow, "is slow"),
            (cut, "is cut off"),
            (tampered, "is changed by hand"),
            (relabelled, "gets other labels"),
        ] {
            if happened {
                self.note(|| format!("{host} {what}"));
            }
        }
        self.sicken(host, away);
        killed || rebooted || reimaged || relabelled
    }

    /// Takes the health of a service away for a while.
    fn sicken(&mut self, host: &HostName, away: Duration) {
        let now = self.now();
        let (dies, unready) = (self.knobs.service_dies, self.knobs.service_unready);
        let (dies, unready) = (self.chance(dies), self.chance(unready));
        if !dies && !unready {
            return;
        }
        let machine = self.scene.machines.get_mut(host).expect("it was listed");
        let mut all: Vec<(&ReleaseId, &mut Process)> =
            machine.disks.values_mut().flat_map(|disk| &mut disk.up).collect();
        if all.is_empty() {
            return;
        }
        let which = self.rng.random_range(0..all.len());
        let (id, process) = &mut all[which];
        process.sicken(now, now + away, dies);
        let id = id.clone();
        self.note(|| format!("{id} on {host} is sick for {away:?}"));
    }

    /// Renews the session, or writes all reports, and then, in a later step, the presence.
    fn keep_session(&mut self, host: &HostName) {
        let end = self.session_end();
        let machine = &self.scene.machines[host];
        let session = machine.agent.as_ref().and_then(|agent| agent.session);
        if let Some(session) = session {
            if self.scene.store.renew_session(session, end) {
                return;
            }
            self.scene
                .machines
                .get_mut(host)
                .expect("it is there")
                .agent
                .as_mut()
                .expect("it runs")
                .session = None;
            return;
        }
        let unsaid = self.unsaid(host, true);
        if !unsaid.is_empty() {
            self.write(&Author::Agent(Writer::Agent(host.clone())), &[], &unsaid);
            return;
        }
        let machine = &self.scene.machines[host];
        let key = Key::Presence(host.clone());
        if machine.agent.as_ref().is_some_and(|agent| agent.works.values().any(activates))
            || self.scene.store.get(&key).is_some()
        {
            return;
        }
        let presence = Value::Presence(machine.presence());
        let session = self.scene.store.open_session(end);
        let write = Write { key: key.clone(), value: Some(presence), session: Some(session) };
        self.write(&Author::Agent(Writer::Agent(host.clone())), &[Guard::Absent(key)], &[write]);
        self.scene.machines.get_mut(host).expect("it is there").agent.as_mut().expect("it runs").session =
            Some(session);
    }

    fn take_orders(&mut self, host: &HostName) {
        let now = self.now();
        let (lost, repeated) = (self.knobs.wake_lost, self.knobs.wake_repeated);
        let (lost, repeated) = (self.chance(lost), self.chance(repeated));
        let (groups, mut has_read_all) = (self.groups.clone(), true);
        for group in groups {
            let store = &self.scene.store;
            let machine = self.scene.machines.get_mut(host).expect("it is there");
            let target = machine.target(&group);
            let (instance, agent) = (machine.instance, machine.agent.as_mut().expect("it runs"));
            if lost || (agent.seen == store.revision && !repeated && !self.calm) {
                return;
            }
            let work = agent.works.entry(group.clone()).or_default();
            if activates(work) {
                has_read_all = false;
                continue;
            }
            let disk = machine.disks.get_mut(&group).expect("every group has a disk");
            let before = disk.obeyed;
            let order = match store.get(&Key::Assignment(host.clone(), target_name(&group))) {
                Some(Value::Assignment(order)) => Some(order),
                _ => None,
            };
            let changed = order.filter(|order| disk.order.as_ref() != Some(*order));
            let taken = changed.is_some_and(|order| disk.offer(order, self.mutation));
            if taken {
                // What the new order wants first as well goes on; the barrier is read anew.
                (work.barrier, work.barrier_was_read) = (None, false);
                let next = disk.next(&group, None, now, self.mutation);
                work.busy.take_if(|(action, _)| next.as_ref() != Some(action));
            }
            if disk.order.as_ref().is_some_and(|order| order.switch.is_some()) {
                (work.barrier, work.barrier_was_read) = (barrier(store), true);
            }
            let after = disk.obeyed;
            if taken {
                self.note(|| format!("{target} obeys {after}"));
                self.tell(&Fact::Obeyed { target: &target, instance, before, after });
            }
        }
        if !has_read_all {
            return;
        }
        let revision = self.scene.store.revision;
        self.scene.machines.get_mut(host).expect("it is there").agent.as_mut().expect("it runs").seen =
            revision;
    }

    fn work(&mut self, host: &HostName) {
        for group in self.groups.clone() {
            let machine = self.scene.machines.get_mut(host).expect("it is there");
            let (work, disk) = workplace(machine, &group);
            disk.look(self.scene.now);
            match work.busy.clone() {
                Some((action, until)) if until <= self.scene.now => self.finish(host, &group, &action),
                Some(_) => {}
                None if disk.must_read_barrier(work) => {}
                None => {
                    if let Some(action) = disk.next(&group, work.barrier, self.scene.now, self.mutation) {
                        self.begin(host, &group, action);
                    }
                }
            }
        }
    }

    fn begin(&mut self, host: &HostName, group: &GroupName, action: Action) {
        let machine = &self.scene.machines[host];
        let (target, disk) = (machine.target(group), machine.disks[group].clone());
        self.note(|| format!("{target} begins to {action:?}"));
        self.tell(&Fact::Begun { target: &target, action: &action, disk: &disk });
        let length = if self.calm { 0 } else { self.rng.random_range(0..4000) };
        let until = self.now() + Duration::from_millis(length);
        let mutation = self.mutation;
        let (work, disk) = workplace(self.scene.machines.get_mut(host).expect("it is there"), group);
        disk.begin(&action, mutation);
        work.busy = Some((action, until));
    }

    fn finish(&mut self, host: &HostName, group: &GroupName, action: &Action) {
        let chance = match action.parts().0 {
            Verb::Prepare => self.knobs.prepare_fails,
            Verb::Activate => self.knobs.activate_fails,
            Verb::Start => self.knobs.start_fails,
            Verb::Accept => self.knobs.accept_fails,
            Verb::Clean | Verb::Stop => 0.0,
        };
        let fails = self.chance(chance);
        if let Action::Start(release) = action {
            return self.start(host, group, release, fails);
        }
        let now = self.now();
        self.note(|| format!("{host}/{group} finishes {action:?}{}", if fails { " badly" } else { "" }));
        let (work, disk) = workplace(self.scene.machines.get_mut(host).expect("it is there"), group);
        work.busy = None;
        disk.finish(action, fails, now);
    }

    /// Starts a service: it is healthy after a while, or after far too long, or ends at once.
    fn start(&mut self, host: &HostName, group: &GroupName, release: &ReleaseId, fails: bool) {
        let now = self.now();
        let ends = fails && self.rng.random_bool(0.5);
        let after = match (self.calm, fails) {
            (true, _) => 0,
            (false, true) => self.rng.random_range(20_000..120_000),
            (false, false) => self.rng.random_range(0..5_000),
        };
        let address = (group.as_str() == "web").then(|| format!("{host}:{release}"));
        let (work, disk) = workplace(self.scene.machines.get_mut(host).expect("it is there"), group);
        work.busy = None;
        disk.finish(&Action::Start(release.clone()), ends, now);
        if !ends {
            disk.up.insert(release.clone(), Process::start(now, now + Duration::from_millis(after), address));
        }
        let word = if fails { " badly" } else { "" };
        self.note(|| format!("{host}/{group} starts {release}{word}"));
    }

    fn report(&mut self, host: &HostName) {
        let unsaid = self.unsaid(host, false);
        if let Some(write) = unsaid.into_iter().next() {
            self.write(&Author::Agent(Writer::Agent(host.clone())), &[], &[write]);
        }
    }

    /// Lists the reports that differ from the store's; a new agent's first ones replace whatever stood there.
    fn unsaid(&self, host: &HostName, first: bool) -> Vec<Write> {
        let machine = &self.scene.machines[host];
        let Some(agent) = &machine.agent else { return Vec::new() };
        let mut unsaid = Vec::new();
        for (group, disk) in &machine.disks {
            let key = Key::Report(host.clone(), target_name(group));
            let stands = self.scene.store.get(&key);
            let report = Value::Report(disk.report());
            let busy = agent.works.get(group).is_some_and(activates);
            let known = disk.order.is_some() || (first && stands.is_some());
            if known && !busy && stands != Some(&report) {
                unsaid.push(Write::put(key, report));
            }
        }
        unsaid
    }
}

fn activates(work: &Work) -> bool {
    matches!(work.busy, Some((Action::Activate(_), _)))
}

fn workplace<'a>(machine: &'a mut Machine, group: &GroupName) -> (&'a mut Work, &'a mut Disk) {
    let agent = machine.agent.as_mut().expect("only a running agent works");
    let disk = machine.disks.get_mut(group).expect("every group has a disk");
    (agent.works.entry(group.clone()).or_default(), disk)
}

fn barrier(store: &Store) -> Option<Generation> {
    match store.get(&Key::Barrier(path())) {
        Some(Value::Barrier(generation)) => Some(*generation),
        _ => None,
    }
}
