//! The promises of `plan`, as stories and as random histories.

use super::*;
use proptest::prelude::*;

fn version(text: &str) -> Version {
    text.parse().expect("a valid version")
}

fn tree(versions: &[&str], current: Option<&str>) -> Tree {
    Tree { versions: versions.iter().map(|v| version(v)).collect(), current: current.map(version) }
}

fn local(copies: &[(&str, Copy)]) -> Local {
    let copies = copies.iter().map(|(v, copy)| (version(v), *copy)).collect();
    Local { copies, ..Local::default() }
}

fn live(mut local: Local, v: &str) -> Local {
    local.rolled_out(&version(v), true);
    local
}

#[test]
fn current_is_a_wish_that_waits_for_the_deploy() {
    let mut here = local(&[]);
    assert_eq!(next(&tree(&["1"], Some("1")), &here), [Action::Deploy(version("1"))]);
    here.begin(&Action::Deploy(version("1")));
    assert_eq!(next(&tree(&["1"], Some("1")), &here), []);
    here.deployed(&version("1"), true);
    assert_eq!(next(&tree(&["1"], Some("1")), &here), [Action::Rollout(version("1"))]);
}

#[test]
fn a_failed_deploy_is_not_rolled_out() {
    let here = local(&[("1", Copy::Failed { again: false })]);
    assert_eq!(next(&tree(&["1"], Some("1")), &here), []);
    assert_eq!(here.stuck(&tree(&["1"], Some("1"))), Some(&version("1")));
}

#[test]
fn a_rollback_waits_behind_no_deploy() {
    let here = live(local(&[("1", Copy::Complete), ("2", Copy::Complete), ("3", Copy::Deploying)]), "2");
    assert_eq!(next(&tree(&["1", "2", "3"], Some("1")), &here), [Action::Rollout(version("1"))]);
}

#[test]
fn the_wished_version_is_deployed_beside_another() {
    let here = local(&[("1", Copy::Deploying)]);
    assert_eq!(next(&tree(&["1", "2", "3"], Some("3")), &here), [Action::Deploy(version("3"))]);
    assert_eq!(next(&tree(&["1", "2", "3"], None), &here), [], "the others go one after another");
}

#[test]
fn a_removed_version_is_cleaned_and_its_running_deploy_stopped() {
    let here = live(local(&[("1", Copy::Complete), ("2", Copy::Deploying), ("3", Copy::Complete)]), "3");
    assert_eq!(
        next(&tree(&["3"], Some("3")), &here),
        [Action::Clean(version("1")), Action::Stop(version("2"))]
    );
}

#[test]
fn what_serves_is_kept_until_another_serves() {
    let here = live(local(&[("1", Copy::Complete), ("2", Copy::Deploying)]), "1");
    assert_eq!(next(&tree(&["2"], Some("2")), &here), []);
    let here = live(local(&[("1", Copy::Complete), ("2", Copy::Complete)]), "2");
    assert_eq!(next(&tree(&["2"], Some("2")), &here), [Action::Clean(version("1"))]);
}

#[test]
fn an_empty_tree_cleans_nothing() {
    let here = live(local(&[("1", Copy::Complete), ("2", Copy::Complete)]), "2");
    assert_eq!(next(&Tree::default(), &here), []);
}

#[test]
fn the_current_version_is_kept_when_its_folder_is_removed() {
    let here = live(local(&[("1", Copy::Complete)]), "1");
    let torn = tree(&[], Some("1"));
    assert_eq!(next(&torn, &here), []);
    assert_eq!(here.states(&torn), BTreeMap::from([(version("1"), State::Active)]), "and is said again");
}

#[test]
fn a_failed_rollout_is_tried_again_only_when_wished_anew() {
    let mut here = local(&[("1", Copy::Complete), ("2", Copy::Complete)]);
    let wish = tree(&["1", "2"], Some("2"));
    here.begin(&Action::Rollout(version("2")));
    here.rolled_out(&version("2"), false);
    here.observe(&wish, &wish);
    assert_eq!(next(&wish, &here), []);
    assert_eq!(here.states(&wish)[&version("2")], State::Failed);
    let torn = tree(&["1"], Some("2"));
    here.observe(&wish, &torn);
    assert_eq!(next(&torn, &here), [Action::Rollout(version("2"))]);
}

#[test]
fn a_version_stays_active_until_the_next_one_is() {
    let mut here = live(local(&[("1", Copy::Complete), ("2", Copy::Complete)]), "1");
    let wish = tree(&["1", "2"], Some("2"));
    here.begin(&Action::Rollout(version("2")));
    assert_eq!(here.states(&wish).into_values().collect::<Vec<_>>(), [State::Active, State::Starting]);
    here.rolled_out(&version("2"), true);
    assert_eq!(here.states(&wish).into_values().collect::<Vec<_>>(), [State::Available, State::Active]);
    here.begin(&Action::Rollout(version("1")));
    here.rolled_out(&version("1"), false);
    assert_eq!(here.states(&wish).into_values().collect::<Vec<_>>(), [State::Failed, State::Available]);
}

#[test]
fn a_version_that_failed_and_came_back_starts_from_nothing() {
    let mut here = local(&[("1", Copy::Failed { again: false })]);
    here.observe(&tree(&["1"], None), &tree(&["2"], None));
    here.observe(&tree(&["2"], None), &tree(&["1", "2"], None));
    let both = tree(&["1", "2"], None);
    assert_eq!(
        here.states(&both)[&version("1")],
        State::Registered,
        "an old failure is not shown as a new one"
    );
    assert_eq!(next(&both, &here), [Action::Deploy(version("1"))]);
}

/// What may happen to a node between two turns.
#[derive(Clone, Debug)]
enum Event {
    Added(u8),
    Removed(u8),
    Wished(Option<u8>),
    ScriptEnded { pick: u8, well: bool },
    Restarted,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..5u8).prop_map(Event::Added),
        (0..5u8).prop_map(Event::Removed),
        proptest::option::weighted(0.9, 0..5u8).prop_map(Event::Wished),
        (any::<u8>(), proptest::bool::weighted(0.8))
            .prop_map(|(pick, well)| Event::ScriptEnded { pick, well }),
        (any::<u8>(), proptest::bool::weighted(0.8))
            .prop_map(|(pick, well)| Event::ScriptEnded { pick, well }),
        Just(Event::Restarted),
    ]
}

#[derive(Default)]
struct Node {
    tree: Tree,
    local: Local,
    running: Vec<Action>,
}

impl Node {
    fn change(&mut self, change: impl FnOnce(&mut Tree)) {
        let before = self.tree.clone();
        change(&mut self.tree);
        self.local.observe(&before, &self.tree);
    }

    fn happen(&mut self, event: &Event) {
        let name = |n: &u8| version(&n.to_string());
        match event {
            Event::Added(n) => self.change(|tree| {
                tree.versions.insert(name(n));
            }),
            Event::Removed(n) => self.change(|tree| {
                tree.versions.remove(&name(n));
            }),
            Event::Wished(n) => self.change(|tree| tree.current = n.as_ref().map(name)),
            Event::ScriptEnded { pick, well } if !self.running.is_empty() => {
                let at = usize::from(*pick) % self.running.len();
                let ended = self.running.remove(at);
                self.end(&ended, *well);
            }
            Event::ScriptEnded { .. } => {}
            Event::Restarted => self.restart(),
        }
    }

    fn end(&mut self, action: &Action, well: bool) {
        match action {
            Action::Deploy(version) => self.local.deployed(version, well),
            Action::Rollout(version) => self.local.rolled_out(version, well),
            Action::Clean(version) => self.local.cleaned(version, true),
            Action::Stop(_) => unreachable!("a stop is not a script"),
        }
    }

    /// What the directories' marks bring back: see `directory.rs`.
    fn restart(&mut self) {
        self.running.clear();
        for copy in self.local.copies.values_mut() {
            if *copy != Copy::Complete {
                *copy = Copy::Failed { again: true };
            }
        }
        if !matches!(self.local.rollout, Rollout::Live(_)) {
            self.local.rollout = Rollout::Unknown;
        }
    }

    /// Starts all that is due, checking the promises of this module on the way.
    fn turn(&mut self) {
        for action in next(&self.tree, &self.local) {
            match &action {
                Action::Deploy(version) => {
                    assert!(self.tree.wants(version));
                    let wished = self.tree.current.as_ref() == Some(version);
                    let busy = self.local.copies.iter().any(|(other, copy)| {
                        *copy == Copy::Deploying && self.tree.current.as_ref() != Some(other)
                    });
                    assert!(wished || !busy, "a second deploy script for a version nobody waits for");
                    assert!(!matches!(self.local.copies.get(version), Some(Copy::Complete | Copy::Cleaning)));
                }
                Action::Rollout(version) => {
                    assert_eq!(self.tree.current.as_ref(), Some(version));
                    assert_eq!(self.local.copies.get(version), Some(&Copy::Complete), "only whole versions");
                }
                Action::Clean(version) => {
                    assert!(!self.tree.wants(version) && self.local.served.as_ref() != Some(version));
                    assert!(!self.tree.is_empty());
                }
                Action::Stop(version) => assert!(!self.tree.wants(version)),
            }
            self.local.begin(&action);
            if !matches!(action, Action::Stop(_)) {
                self.running.push(action);
            }
        }
        assert_eq!(next(&self.tree, &self.local), [], "what has begun is not begun again");
        let rollouts = self.running.iter().filter(|action| matches!(action, Action::Rollout(_))).count();
        assert!(rollouts <= 1, "two rollout scripts at once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_a_promise_and_every_history_converges(events in proptest::collection::vec(event(), 1..60)) {
        let mut node = Node::default();
        for event in &events {
            node.happen(event);
            node.turn();
        }
        node.restart();
        for _ in 0..100 {
            node.turn();
            node.happen(&Event::ScriptEnded { pick: 0, well: true });
        }
        prop_assert!(node.running.is_empty());
        for wanted in node.tree.wanted() {
            prop_assert_eq!(node.local.copies.get(&wanted), Some(&Copy::Complete));
        }
        if let Some(current) = &node.tree.current {
            prop_assert_eq!(&node.local.rollout, &Rollout::Live(current.clone()));
        }
        for kept in node.local.copies.keys() {
            let needed = node.tree.wants(kept) || node.local.served.as_ref() == Some(kept);
            prop_assert!(needed || node.tree.is_empty(), "{} is left over", kept);
        }
    }
}
