//! The state machine against a naive model of it, and the promises about indexes that blocked readers rest on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_kv::command::{Answer, Command, Content, Operation};
use footplate_kv::entry::{Behavior, Session};
use footplate_kv::machine::{Machine, Now};
use footplate_kv::state::{Indexes, State};
use proptest::prelude::*;

const KEYS: [&str; 7] = ["a", "a/", "a/b", "a/b/c", "a/bc", "ab", "b"];
const PREFIXES: [&str; 8] = ["", "a", "a/", "a/b", "a/b/", "ab", "b", "c"];
const SESSIONS: usize = 3;

/// An entry of the model: value, flags, holder, lock index, create index, modify index.
type Row = (u8, u64, Option<usize>, u64, u64, u64);

/// What the store should be, written as plainly as possible.
#[derive(Clone, Debug, Default)]
struct Model {
    index: u64,
    rows: BTreeMap<&'static str, Row>,
    /// Living sessions with their deadlines, whether their keys are deleted, and their lock-delay.
    sessions: BTreeMap<usize, (u64, bool, u64)>,
    delayed: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Verb),
    Transact(Vec<Verb>),
    Open { session: usize, ttl: u64, deletes: bool, delay: u64 },
    Renew(usize),
    End(usize),
    Pass(u64),
}

/// An operation on a key, with everything it might need. `back` picks an index that was seen before.
#[derive(Clone, Debug)]
struct Verb {
    kind: u8,
    key: usize,
    value: u8,
    session: usize,
    back: u64,
}

fn verb() -> impl Strategy<Value = Verb> {
    (0..8u8, 0..KEYS.len(), 0..3u8, 0..SESSIONS, 0..4u64).prop_map(|(kind, key, value, session, back)| Verb {
        kind,
        key,
        value,
        session,
        back,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => verb().prop_map(Step::Write),
        3 => prop::collection::vec(verb(), 1..4).prop_map(Step::Transact),
        2 => (0..SESSIONS, 10..30u64, any::<bool>(), 0..20u64)
            .prop_map(|(session, ttl, deletes, delay)| Step::Open { session, ttl, deletes, delay }),
        1 => (0..SESSIONS).prop_map(Step::Renew),
        1 => (0..SESSIONS).prop_map(Step::End),
        1 => (1..40u64).prop_map(Step::Pass),
    ]
}

fn id(session: usize) -> String {
    format!("00000000-0000-4000-8000-{session:012}")
}

impl Model {
    /// Does one operation; returns whether it was done.
    fn perform(&mut self, verb: &Verb, wanted: u64, next: u64, now: u64) -> bool {
        let key = KEYS[verb.key];
        let row = self.rows.get(key).copied();
        let current = row.map_or(0, |row| row.5);
        match verb.kind {
            0 => self.put(key, verb.value, row.and_then(|row| row.2), 0, next),
            1 if current != wanted => return false,
            1 => self.put(key, verb.value, row.and_then(|row| row.2), 0, next),
            2 => {
                let delayed = self.delayed.get(key).is_some_and(|until| *until > now);
                let free = row.is_none_or(|row| row.2.is_none_or(|holder| holder == verb.session));
                if delayed || !free || !self.sessions.contains_key(&verb.session) {
                    return false;
                }
                let before = row.map_or(0, |row| row.3);
                let fresh = row.is_none_or(|row| row.2.is_none());
                self.put(key, verb.value, Some(verb.session), before + u64::from(fresh), next);
            }
            3 => match row {
                Some(row) if row.2 == Some(verb.session) => self.put(key, verb.value, None, row.3, next),
                _ => return false,
            },
            4 => {
                self.rows.remove(key);
            }
            5 => self.rows.retain(|other, _| !other.starts_with(key)),
            6 if row.is_none() => {}
            6 if current != wanted => return false,
            6 => {
                self.rows.remove(key);
            }
            _ => return row.is_none(),
        }
        true
    }

    /// Picks the index that a conditional operation names: the key's own, or one close to it.
    fn wanted(&self, verb: &Verb) -> u64 {
        let current = self.rows.get(KEYS[verb.key]).map_or(0, |row| row.5);
        if verb.back == 0 { current } else { self.index.saturating_sub(verb.back) }
    }

    fn put(&mut self, key: &'static str, value: u8, holder: Option<usize>, lock: u64, next: u64) {
        let flags = u64::from(value);
        let before = self.rows.get(key).copied();
        let same = before.is_some_and(|row| (row.0, row.1, row.2, row.3) == (value, flags, holder, lock));
        if !same {
            let create = before.map_or(next, |row| row.4);
            self.rows.insert(key, (value, flags, holder, lock, create, next));
        }
    }

    fn end(&mut self, session: usize, next: u64, now: u64) {
        let Some((_, deletes, delay)) = self.sessions.remove(&session) else { return };
        let held: Vec<&'static str> =
            self.rows.iter().filter(|row| row.1.2 == Some(session)).map(|row| *row.0).collect();
        for key in held {
            if delay > 0 {
                self.delayed.insert(key, now + delay);
            }
            if deletes {
                self.rows.remove(key);
            } else {
                let row = self.rows[key];
                self.put(key, row.0, None, row.3, next);
            }
        }
    }
}

fn operation(model: &Model, verb: &Verb) -> Operation {
    let key = KEYS[verb.key];
    let content = || Content { key: key.into(), value: vec![verb.value].into(), flags: verb.value.into() };
    let wanted = model.wanted(verb);
    match verb.kind {
        0 => Operation::Set(content()),
        1 => Operation::Cas(content(), wanted),
        2 => Operation::Lock(content(), id(verb.session)),
        3 => Operation::Unlock(content(), id(verb.session)),
        4 => Operation::Delete(key.into()),
        5 => Operation::DeleteTree(key.into()),
        6 => Operation::DeleteCas(key.into(), wanted),
        _ => Operation::CheckNotExists(key.into()),
    }
}

fn session(number: usize, ttl: u64, deletes: bool, delay: u64) -> Session {
    Session {
        id: id(number),
        name: String::new(),
        node: String::new(),
        lock_delay: i64::try_from(delay * 1_000_000_000).unwrap(),
        behavior: if deletes { Behavior::Delete } else { Behavior::Release },
        ttl: format!("{ttl}s"),
        ttl_parsed: Some(Duration::from_secs(ttl)),
        node_checks: Vec::new(),
        owner: None,
        create_index: 0,
    }
}

fn rows(state: &State) -> BTreeMap<&str, Row> {
    let row = |entry: &std::sync::Arc<footplate_kv::entry::Entry>| {
        let holder = entry.session.as_ref().map(|session| session[24..].parse().unwrap());
        (entry.value[0], entry.flags, holder, entry.lock_index, entry.create_index, entry.modify_index)
    };
    let key = |entry: &std::sync::Arc<footplate_kv::entry::Entry>| {
        *KEYS.iter().find(|key| ***key == *entry.key).expect("no other key")
    };
    state.tree("").map(|entry| (key(entry), row(entry))).collect()
}

/// What a reader of each prefix and key saw last: the indexes, and what was there.
fn looks(state: &State) -> Vec<(Indexes, Vec<(String, u64)>)> {
    let below = |prefix: &str| state.tree(prefix).map(|e| (e.key.to_string(), e.modify_index)).collect();
    let prefixes = PREFIXES.iter().map(|prefix| (state.prefix_indexes(prefix), below(prefix)));
    let keys = KEYS.iter().map(|key| {
        let found = state.entry(key).map(|entry| (entry.key.to_string(), entry.modify_index));
        (state.key_indexes(key), found.into_iter().collect())
    });
    prefixes.chain(keys).collect()
}

/// Does a step on the model; returns whether the answer should be yes.
fn model_step(model: &mut Model, step: &Step, now: u64, next: u64) -> bool {
    match step {
        Step::Write(verb) => model.perform(verb, model.wanted(verb), next, now),
        Step::Transact(verbs) => {
            let mut draft = model.clone();
            // Every operation is tried, also after a failure, and locks are checked for delay before all.
            let delayed = |verb: &&Verb| {
                verb.kind == 2 && model.delayed.get(KEYS[verb.key]).is_some_and(|until| *until > now)
            };
            let done = verbs.iter().find(delayed).is_none()
                && verbs.iter().filter(|verb| !draft.perform(verb, model.wanted(verb), next, now)).count()
                    == 0;
            if done {
                *model = draft;
            }
            done
        }
        Step::Open { session, ttl, deletes, delay } => {
            model.sessions.insert(*session, (now + 2 * ttl, *deletes, *delay));
            true
        }
        Step::Renew(session) => model.sessions.contains_key(session),
        Step::End(session) => {
            model.end(*session, next, now);
            true
        }
        Step::Pass(_) => {
            let due: BTreeSet<usize> =
                model.sessions.iter().filter(|row| row.1.0 <= now).map(|row| *row.0).collect();
            due.iter().for_each(|session| model.end(*session, next, now));
            !due.is_empty()
        }
    }
}

fn command(model: &Model, step: &Step) -> Command {
    match step {
        // A condition alone is no write; it is asked as a transaction.
        Step::Write(verb) if verb.kind == 7 => Command::Transact(vec![operation(model, verb)]),
        Step::Write(verb) => Command::Write(operation(model, verb)),
        Step::Transact(verbs) => Command::Transact(verbs.iter().map(|verb| operation(model, verb)).collect()),
        Step::Open { session: number, ttl, deletes, delay } => {
            Command::OpenSession(session(*number, *ttl, *deletes, *delay))
        }
        Step::Renew(session) => Command::RenewSession(id(*session)),
        Step::End(session) => Command::EndSession(id(*session)),
        Step::Pass(_) => Command::ExpireSessions,
    }
}

fn yes(answer: &Answer) -> bool {
    match answer {
        Answer::Applied(done) => *done,
        Answer::Transacted(_) | Answer::Session(_) => true,
        Answer::Conflicted(_) | Answer::NoSession | Answer::Refused(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_does_what_the_naive_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut machine = Machine::default();
        let mut copy = State::default();
        let mut model = Model::default();
        let mut now = 0;
        for step in &steps {
            if let Step::Pass(seconds) = step {
                now += seconds;
            }
            // A living session is not opened twice under one id.
            if matches!(step, Step::Open { session, .. } if model.sessions.contains_key(session)) {
                continue;
            }
            let command = command(&model, step);
            let before = looks(machine.state());
            let (answer, changes) = machine.apply(command, Now { steady: Duration::from_secs(now), wall: 0 });
            let next = model.index.max(1) + 1;
            prop_assert_eq!(yes(&answer), model_step(&mut model, step, now, next), "{:?} {:?}", step, answer);
            if let (Step::Renew(session), Answer::Session(found)) = (step, &answer) {
                let ttl = found.ttl_parsed.unwrap().as_secs();
                model.sessions.get_mut(session).unwrap().0 = now + 2 * ttl;
            }
            model.index = machine.state().counters.index;
            prop_assert!(changes.list.is_empty() || changes.index == next);
            prop_assert_eq!(&rows(machine.state()), &model.rows);
            copy.absorb(&changes);
            prop_assert_eq!(rows(&copy), rows(machine.state()));
            prop_assert_eq!(looks(&copy), looks(machine.state()));
            prop_assert_eq!(copy.counters, machine.state().counters);
            for ((was, had), (is, has)) in before.into_iter().zip(looks(machine.state())) {
                prop_assert!(is.shown >= was.shown, "an index fell from {} to {}", was.shown, is.shown);
                prop_assert!(is.changed <= is.shown, "a reader would not block on what it has just seen");
                prop_assert!(had == has || is.changed > was.shown, "a change from {had:?} to {has:?} wakes nobody");
                // A transaction may put and delete a key at once, which counts as a change of nothing.
                let quiet = had == has && !matches!(step, Step::Transact(_));
                prop_assert!(!quiet || is.changed <= was.shown.max(was.changed), "woken by nothing: {has:?}");
            }
        }
    }
}

#[test]
fn the_index_of_a_prefix_does_not_fall_when_tombstones_are_reaped() {
    use footplate_kv::state::TOMBSTONES_MAX;
    let mut machine = Machine::default();
    let now = Now::default();
    let content = |key: String| Content { key: key.as_str().into(), value: "".into(), flags: 0 };
    let write = |machine: &mut Machine, operation| machine.apply(Command::Write(operation), now).1;
    write(&mut machine, Operation::Set(content("old/kept".into())));
    write(&mut machine, Operation::Set(content("old/gone".into())));
    write(&mut machine, Operation::Delete("old/gone".into()));
    let before = machine.state().prefix_indexes("old/");
    let mut reaped = false;
    for number in 0..=TOMBSTONES_MAX {
        write(&mut machine, Operation::Set(content(format!("new/{number}"))));
        let changes = write(&mut machine, Operation::Delete(format!("new/{number}")));
        reaped |= changes.list.iter().any(|change| matches!(change, footplate_kv::state::Change::Reaped(_)));
    }
    let state = machine.state();
    assert!(reaped && state.tombstones().len() < TOMBSTONES_MAX, "nothing was reaped");
    assert!(!state.tombstones().contains_key("old/gone"), "the oldest goes first");
    assert!(state.prefix_indexes("old/").shown >= before.shown);
    assert!(state.prefix_indexes("old/").changed >= before.changed);
    assert!(state.key_indexes("old/gone").changed >= before.changed);
}
