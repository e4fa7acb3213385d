//! What an agent remembers of one target across its own death. Pure: `state` writes it to the disk.
//!
//! Invariants: the generation never goes back; a release counts as running only when its activation ran to the end.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::ReleaseId;
use footplate_core::target::{Assignment, Failure, Lapse, OUTPUT_TAIL_BYTES_MAX, Report, Up, Verb};
use footplate_drivers::workload::Observed;
use serde::{Deserialize, Serialize};

use super::services::Failed;

/// For how long it is told that a service crashed, which runs again, or that one had to be killed, which is gone.
const TOLD: Duration = Duration::from_secs(10 * 60);
/// How many of its last lines are told of a service that had to be killed.
const LAST_LINES_MAX: usize = 5;

/// What an agent remembers of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The highest generation obeyed.
    pub generation: Generation,
    /// The order it obeys; nothing once the target was taken from this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// The highest generation the app's barrier was seen at since this order was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier: Option<Generation>,
    /// What failed and has not succeeded since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<ReleaseId, Failure>,
}

/// What an offered order is to an agent that remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The order it obeys already.
    Known,
    /// An order to obey from now on.
    Newer,
    /// An order older than one it has obeyed; never obeyed.
    Older,
}

impl Memory {
    /// Tells what `offer` is: newer, known, or too old to be obeyed.
    ///
    /// An equal generation with other contents is obeyed: the controller repeats an order with other artifact sources.
    pub fn judge(&self, offer: &Assignment) -> Heard {
        if offer.generation < self.generation {
            Heard::Older
        } else if self.assignment.as_ref() == Some(offer) {
            Heard::Known
        } else {
            Heard::Newer
        }
    }

    /// Takes a newer order. Failures of an older one are forgotten, as a new order is tried at once, but for crashes of what
    /// runs on and for how something had to be ended; so is the barrier, because one remembered from before a store was restored could open an order that nobody opened.
    pub fn obey(&mut self, offer: Assignment) {
        if offer.generation > self.generation {
            self.failed.retain(|_, failure| is_crash(failure) || failure.verb == Verb::Stop);
            self.barrier = None;
        }
        self.generation = offer.generation;
        self.assignment = Some(offer);
    }

    /// Notes the barrier as seen; it never goes back.
    pub fn note_barrier(&mut self, reached: Option<Generation>) {
        self.barrier = self.barrier.max(reached);
    }

    /// Notes that `verb` succeeded on `release`; tells whether that made an earlier failure forgotten.
    pub fn note_success(&mut self, verb: Verb, release: &ReleaseId) -> bool {
        let stays = |failure: &Failure| match failure.verb {
            Verb::Activate => verb == Verb::Prepare,
            // How it ended is told on, whatever becomes of its files.
            Verb::Stop => !matches!(verb, Verb::Start | Verb::Stop),
            _ => is_crash(failure) && verb != Verb::Start,
        };
        let is_forgotten = self.failed.get(release).is_some_and(|failure| !stays(failure));
        is_forgotten && self.failed.remove(release).is_some()
    }

    /// Notes that `verb` failed on `release`, and counts the attempts.
    pub fn note_failure(&mut self, verb: Verb, release: &ReleaseId, failed: Failed, now: Moment) {
        let Failed { why: reason, lapse, output } = failed;
        let before = self.failed.get(release).filter(|failure| failure.verb == verb);
        let attempts = before.map_or(0, |failure| failure.attempts).saturating_add(1);
        let failure = Failure { verb, generation: self.generation, reason, output, lapse, attempts, at: now };
        self.failed.insert(release.clone(), failure);
    }

    /// Notes that a service had to be killed to stop it: it is stopped, and its last lines say more.
    pub fn note_unwilling(&mut self, release: &ReleaseId, why: String, output: &str, now: Moment) {
        let lines: Vec<&str> = output.trim_end().lines().collect();
        let output = lines[lines.len().saturating_sub(LAST_LINES_MAX)..].join("\n");
        self.failed.remove(release);
        let output = tail(&output).to_owned();
        self.note_failure(Verb::Stop, release, Failed { why, lapse: None, output }, now);
    }

    /// Forgets crashes of services that are gone, or have run well for long enough since, and what had to be killed long ago.
    pub fn forget_old(&mut self, up: &BTreeMap<ReleaseId, Up>, now: Moment) -> bool {
        let is_recent = |failure: &Failure| now.since(failure.at) < TOLD;
        let before = self.failed.len();
        self.failed.retain(|release, failure| match (is_crash(failure), failure.verb) {
            (true, _) => up.contains_key(release) && is_recent(failure),
            (false, Verb::Stop) => up.contains_key(release) || is_recent(failure),
            (false, _) => true,
        });
        self.failed.len() < before
    }

    /// Returns the report of what the disk shows, as other roles read it.
    ///
    /// A release whose activation was cut short, and will be run again, does not stand in it as `live`; one whose
    /// activation failed does, beside the failure.
    pub fn report(&self, seen: &Observed) -> Report {
        let failed =
            |id: &ReleaseId| self.failed.get(id).is_some_and(|failure| failure.verb == Verb::Activate);
        let live = seen.live.clone().filter(|live| seen.unfinished.is_none() || failed(live));
        Report {
            generation: self.generation,
            live_since: live.as_ref().and(seen.live_since),
            live,
            prepared: seen.prepared.clone(),
            up: BTreeMap::new(),
            failed: self.failed.clone(),
            drift: seen.drift.clone(),
            waiting: None,
        }
    }

    /// Returns the report that the next step is planned from: `live` stands in it only when its activation ran to the
    /// end, so that one cut short is done again.
    pub fn report_to_plan(&self, seen: &Observed) -> Report {
        let whole = seen.live.clone().filter(|_| seen.unfinished.is_none());
        Report { live: whole, ..self.report(seen) }
    }

    /// Tells whether the barrier must be read before anything is planned: it decides what must run, this memory does
    /// not hold it open, and `live` is not what runs before the switch. So is a host that joins after the switch, or
    /// whose agent was killed between the switch and its own notes; neither may pass through the old release.
    pub fn must_read_barrier(&self, seen: &Observed) -> bool {
        let Some(assignment) = &self.assignment else { return false };
        let Some(switch) = &assignment.switch else { return false };
        let open = self.barrier.is_some_and(|reached| reached >= switch.barrier);
        !open && seen.live != assignment.run
    }
}

/// Tells whether it is of a service that crashed and was started again.
fn is_crash(failure: &Failure) -> bool {
    matches!(failure.lapse, Some(Lapse::Crashed(_)))
}

/// Says what somebody else changed between two looks; nothing when nothing was.
pub fn drift(before: &Observed, now: &Observed) -> Option<String> {
    let name = |live: &Option<ReleaseId>| live.as_ref().map_or("nothing".to_owned(), |id| format!("`{id}`"));
    if now.drift.is_some() {
        return now.drift.clone();
    }
    if before.live != now.live {
        return Some(format!("`live` was moved from {} to {}", name(&before.live), name(&now.live)));
    }
    let gone: Vec<String> = before.prepared.difference(&now.prepared).map(|id| format!("`{id}`")).collect();
    (!gone.is_empty()).then(|| format!("the completion mark of {} is gone", gone.join(", ")))
}

/// Returns the end of a script's output that fits into a report, cut at a line's beginning where there is one.
pub fn tail(output: &str) -> &str {
    if output.len() <= OUTPUT_TAIL_BYTES_MAX {
        return output;
    }
    let mut from = output.len() - OUTPUT_TAIL_BYTES_MAX;
    while !output.is_char_boundary(from) {
        from += 1;
    }
    let tail = &output[from..];
    tail.split_once('\n').filter(|(_, rest)| !rest.is_empty()).map_or(tail, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use footplate_core::target::{self, Action, Plan, Readiness, Switch};

    fn id(text: &str) -> ReleaseId {
        text.parse().expect("a release's name")
    }

    fn plan(want: &Assignment, barrier: Option<Generation>, have: &Report, now: Moment) -> Plan {
        target::plan(&"web".parse().expect("a name"), want, barrier, have, now)
    }

    fn order(counter: u64) -> Assignment {
        let switch = Switch { to: id("2"), barrier: Generation::new(1, counter) };
        let generation = Generation::new(1, counter);
        Assignment { switch: Some(switch), ..Assignment::to_run(generation, Some(id("1")), Vec::new()) }
    }

    fn seen(live: &str) -> Observed {
        Observed { live: Some(id(live)), prepared: [id("1"), id("2")].into(), ..Observed::default() }
    }

    #[test]
    fn an_older_order_is_never_obeyed() {
        let mut memory = Memory::default();
        assert_eq!(memory.judge(&order(4)), Heard::Newer);
        memory.obey(order(4));
        assert_eq!(memory.judge(&order(4)), Heard::Known);
        assert_eq!(memory.judge(&order(3)), Heard::Older);
        memory.assignment = None;
        assert_eq!(memory.judge(&order(3)), Heard::Older, "also after the target was taken away");
        assert_eq!(memory.judge(&order(4)), Heard::Newer, "and given back");
    }

    #[test]
    fn an_activation_that_was_cut_short_is_planned_again() {
        let mut memory = Memory::default();
        memory.obey(order(4));
        memory.note_barrier(Some(Generation::new(1, 4)));
        let now = Moment::from_millis(0);
        let cut = Observed { unfinished: Some(id("2")), ..seen("2") };
        let next = plan(&order(4), memory.barrier, &memory.report_to_plan(&cut), now);
        assert_eq!(next.actions, [Action::Activate(id("2"))], "`live` moved, but its hook never ended");
        assert_eq!(memory.report(&cut).live, None, "and nobody is told that it runs");
        let next = plan(&order(4), memory.barrier, &memory.report_to_plan(&seen("2")), now);
        assert_eq!(next.actions.first(), None);
    }

    #[test]
    fn a_failed_activation_is_planned_again_after_its_delay() {
        let mut memory = Memory::default();
        memory.obey(Assignment { run: Some(id("2")), switch: None, ..order(5) });
        let at = Moment::from_millis(1000);
        let failed = Failed { why: "exit 1".to_owned(), lapse: None, output: String::new() };
        memory.note_failure(Verb::Activate, &id("2"), failed.clone(), at);
        let want = memory.assignment.clone().expect("just obeyed");
        let next = plan(&want, None, &memory.report_to_plan(&seen("2")), at);
        assert_eq!((next.actions.len(), next.retry_at), (0, Some(Moment::from_millis(6000))));
        memory.note_failure(Verb::Activate, &id("2"), failed.clone(), at);
        assert_eq!(memory.failed[&id("2")].attempts, 2);
        memory.obey(Assignment { run: Some(id("2")), switch: None, ..order(6) });
        assert!(memory.failed.is_empty(), "a new order is tried at once");
    }

    #[test]
    fn a_crash_is_told_under_newer_orders_too_until_it_is_old() {
        let mut memory = Memory::default();
        memory.obey(order(5));
        let at = Moment::from_millis(1000);
        let crashed =
            Failed { why: "it crashed".to_owned(), lapse: Some(Lapse::Crashed(1)), output: String::new() };
        memory.note_failure(Verb::Start, &id("2"), crashed, at);
        memory.obey(order(6));
        assert!(!memory.note_success(Verb::Accept, &id("2")), "what else goes well says nothing of it");
        let failure = &memory.failed[&id("2")];
        assert_eq!(failure.generation, Generation::new(1, 5), "it happened under the older order");
        let up = BTreeMap::from([(
            id("2"),
            Up { readiness: Readiness::Ready, address: None, since: at, accepted: 0 },
        )]);
        assert!(!memory.forget_old(&up, at + TOLD / 2));
        assert!(memory.forget_old(&up, at + TOLD));
        assert!(memory.failed.is_empty());
    }

    #[test]
    fn what_had_to_be_killed_is_told_with_its_last_lines_until_it_is_old_or_started_again() {
        let at = Moment::from_millis(1000);
        let killed = || {
            let mut memory = Memory::default();
            memory.obey(order(5));
            memory.note_unwilling(&id("2"), "it was killed".to_owned(), "1\n2\n3\n4\n5\n6\n", at);
            memory
        };
        let mut memory = killed();
        memory.obey(order(6));
        assert!(!memory.note_success(Verb::Clean, &id("2")), "its files say nothing of it");
        let failure = &memory.failed[&id("2")];
        assert_eq!((failure.verb, failure.output.as_str()), (Verb::Stop, "2\n3\n4\n5\n6"));
        assert!(!memory.forget_old(&BTreeMap::new(), at + TOLD / 2));
        assert!(memory.forget_old(&BTreeMap::new(), at + TOLD));
        assert!(killed().note_success(Verb::Start, &id("2")), "another life");
    }

    #[test]
    fn the_barrier_is_read_first_when_live_already_moved() {
        let mut memory = Memory::default();
        memory.obey(order(4));
        assert!(!memory.must_read_barrier(&seen("1")));
        assert!(memory.must_read_barrier(&seen("2")));
        memory.note_barrier(Some(Generation::new(1, 4)));
        memory.note_barrier(None);
        assert!(!memory.must_read_barrier(&seen("2")));
        memory.obey(order(5));
        assert!(
            memory.must_read_barrier(&seen("2")),
            "a barrier from before the order says nothing about it"
        );
    }

    #[test]
    fn drift_is_told_in_a_sentence() {
        assert_eq!(drift(&seen("1"), &seen("1")), None);
        assert_eq!(drift(&seen("1"), &seen("2")).as_deref(), Some("`live` was moved from `1` to `2`"));
        let bare = Observed { prepared: [id("1")].into(), ..seen("1") };
        assert_eq!(drift(&seen("1"), &bare).as_deref(), Some("the completion mark of `2` is gone"));
        let more = Observed { prepared: [id("1"), id("2"), id("3")].into(), ..seen("1") };
        assert_eq!(drift(&seen("1"), &more), None, "more than before is no drift");
    }

    #[test]
    fn the_tail_of_an_output_begins_with_a_line() {
        assert_eq!(tail("short\n"), "short\n");
        let long = "é".repeat(3000) + "\nlast line\n";
        assert_eq!(tail(&long), "last line\n");
        assert_eq!(tail(&"x".repeat(5000)).len(), OUTPUT_TAIL_BYTES_MAX);
    }
}
