//! What a target does next: a table of cases, and the promises over drawn orders and disks.

use proptest::prelude::*;

use super::*;
use crate::name::Version;
use crate::release::{Hooks, Workload};

const NOW: Moment = Moment::from_millis(1_000_000);

fn plan(want: &Assignment, barrier: Option<Generation>, have: &Report, now: Moment) -> Plan {
    super::plan(&"web".parse().unwrap(), want, barrier, have, now)
}

fn id(text: &str) -> ReleaseId {
    text.parse().unwrap()
}

fn release(text: &str) -> Release {
    let version: Version = text.parse().unwrap();
    Release::new("shop".parse().unwrap(), version, Workload::ReleaseDir(Hooks::default()), Moment::default())
}

/// `run 1, switch 2 at 5, keep 2 1`: an order of generation 0.5.
fn order(text: &str) -> Assignment {
    let mut order = Assignment::to_run(Generation::new(0, 5), None, Vec::new());
    for part in text.split(", ") {
        let words: Vec<&str> = part.split(' ').collect();
        match words.as_slice() {
            ["run", release] => order.run = Some(id(release)),
            ["switch", to, "at", counter] => {
                let barrier = Generation::new(0, counter.parse().unwrap());
                order.switch = Some(Switch { to: id(to), barrier });
            }
            ["keep", releases @ ..] => order.keep = releases.iter().map(|text| release(text)).collect(),
            other => panic!("no such part of an order: {other:?}"),
        }
    }
    order
}

/// `live 1, prepared 1 2, failed prepare 3`: a report; failures were tried once, just now, for generation 0.5.
fn report(text: &str) -> Report {
    let mut report = Report { generation: Generation::new(0, 5), ..Report::default() };
    for part in text.split(", ").filter(|part| !part.is_empty()) {
        let words: Vec<&str> = part.split(' ').collect();
        match words.as_slice() {
            ["live", release] => report.live = Some(id(release)),
            ["prepared", releases @ ..] => report.prepared = releases.iter().map(|text| id(text)).collect(),
            ["failed", verb, release] => {
                let verb = [Verb::Prepare, Verb::Activate, Verb::Clean]
                    .into_iter()
                    .find(|known| known.to_string() == *verb)
                    .unwrap();
                report.failed.insert(id(release), failure(verb, report.generation, NOW));
            }
            other => panic!("no such part of a report: {other:?}"),
        }
    }
    report
}

fn failure(verb: Verb, generation: Generation, at: Moment) -> Failure {
    Failure {
        verb,
        generation,
        reason: "it broke".to_owned(),
        output: String::new(),
        lapse: None,
        attempts: 1,
        at,
    }
}

fn check(order_text: &str, barrier: Option<u64>, report_text: &str, expected: &str) {
    let barrier = barrier.map(|counter| Generation::new(0, counter));
    let plan = plan(&order(order_text), barrier, &report(report_text), NOW);
    let words = |action: &Action| {
        let (verb, release) = action.parts();
        format!("{verb} {release}")
    };
    let mut found: Vec<String> = plan.actions.iter().map(words).collect();
    found.extend(plan.barrier.map(|barrier| format!("watch {barrier}")));
    found.extend(plan.retry_at.map(|at| format!("retry in {} s", at.since(NOW).as_secs())));
    assert_eq!(
        found.join(", "),
        expected,
        "order: {order_text}; barrier: {barrier:?}; report: {report_text}"
    );
}

#[test]
fn a_source_does_not_print_its_token() {
    let source = Source { base: "http://controller".to_owned(), token: Some("hunter2".to_owned()) };
    assert_eq!(format!("{source:?}"), r#"Source { base: "http://controller", token: Some("hidden") }"#);
}

#[test]
fn a_target_switches_then_prepares_then_cleans() {
    for (order, barrier, report, expected) in [
        ("run 1, keep 1", None, "", "prepare 1"),
        ("run 1, keep 1", None, "prepared 1", "activate 1"),
        ("run 1, keep 1", None, "live 1, prepared 1", ""),
        ("run 1, keep 1", None, "live 1, prepared 1 0", "clean 0"),
        ("run 1, keep 2 1", None, "", "prepare 1, prepare 2"),
        ("run 1, keep 2 1", None, "prepared 1 0", "activate 1"),
        ("run 1, switch 2 at 5, keep 2 1", None, "live 1, prepared 1 0", "prepare 2"),
        ("run 1, switch 2 at 5, keep 2 1", None, "live 1, prepared 1 2 0", "watch 0.5"),
        ("run 1, switch 2 at 5, keep 2 1", Some(4), "live 1, prepared 1 2", "watch 0.5"),
        ("run 1, switch 2 at 5, keep 2 1", Some(5), "live 1, prepared 1 2", "activate 2"),
        ("run 1, switch 2 at 5, keep 2 1", Some(5), "live 1, prepared 1", "prepare 2"),
        ("run 1, switch 2 at 5, keep 2 1", Some(5), "live 2, prepared 1 2 0", "clean 0"),
        ("switch 1 at 5, keep 1", None, "", "prepare 1"),
        ("switch 1 at 5, keep 1", None, "prepared 1", "watch 0.5"),
        ("switch 1 at 5, keep 1", Some(5), "prepared 1", "activate 1"),
    ] {
        check(order, barrier, report, expected);
    }
}

#[test]
fn an_order_that_a_later_barrier_passed_changes_nothing() {
    check("run 1, switch 2 at 5, keep 2 1", Some(6), "live 1, prepared 1 2 0", "");
    check("run 1, switch 2 at 5, keep 2 1", Some(6), "live 2, prepared 1 2 0", "");
    check("run 1, switch 2 at 5, keep 2 1", Some(6), "live 1, prepared 1", "prepare 2");
}

#[test]
fn the_barrier_is_watched_while_other_releases_are_still_prepared() {
    check("run 1, switch 2 at 5, keep 2 1 0", None, "live 1, prepared 1 2", "prepare 0, watch 0.5");
}

#[test]
fn a_failure_is_tried_again_later_and_holds_nothing_else_up() {
    check("run 1, keep 1 2", None, "failed prepare 1", "prepare 2, retry in 5 s");
    check("run 1, keep 1", None, "prepared 1, failed activate 1", "retry in 5 s");
    check("run 1, keep 1", None, "live 1, prepared 1 0, failed clean 0", "retry in 5 s");
    check(
        "run 1, switch 2 at 5, keep 2 1",
        None,
        "live 0, prepared 0 2, failed prepare 1",
        "watch 0.5, retry in 5 s",
    );
}

#[test]
fn a_release_that_is_live_and_failed_its_hook_is_not_settled() {
    check("run 1, keep 1", None, "live 1, prepared 1 0, failed activate 1", "retry in 5 s");
    check("run 1, keep 1", None, "live 1, prepared 1, failed prepare 1", "");
}

#[test]
fn a_newer_order_tries_again_at_once() {
    let mut have = report("live 1, prepared 1");
    have.failed.insert(id("2"), failure(Verb::Prepare, Generation::new(0, 4), NOW));
    let plan = plan(&order("run 1, switch 2 at 5, keep 2 1"), None, &have, NOW);
    assert_eq!(plan.actions, [Action::Prepare(id("2"))]);
}

#[test]
fn a_failure_waits_twice_as_long_each_time_and_five_minutes_at_most() {
    let seconds: Vec<u64> = (0..10).map(|attempts| retry_delay(attempts).as_secs()).collect();
    assert_eq!(seconds, [5, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
}

fn any_release() -> impl Strategy<Value = ReleaseId> {
    (1..6u8).prop_map(|number| id(&number.to_string()))
}

fn any_order() -> impl Strategy<Value = Assignment> {
    let switch = proptest::option::of((any_release(), 1..9u64));
    (proptest::option::of(any_release()), switch, proptest::collection::vec(any_release(), 0..4)).prop_map(
        |(run, switch, others)| {
            let switch = switch.map(|(to, at)| Switch { to, barrier: Generation::new(0, at) });
            let ids = switch.iter().map(|switch| switch.to.clone()).chain(run.clone()).chain(others);
            let mut keep: Vec<Release> = ids.map(|id| release(id.as_str())).collect();
            keep.dedup_by(|a, b| a.id == b.id);
            Assignment { run, switch, keep, ..order("run 1") }
        },
    )
}

fn any_report() -> impl Strategy<Value = Report> {
    let verb = prop_oneof![Just(Verb::Prepare), Just(Verb::Activate), Just(Verb::Clean)];
    let failed = proptest::collection::btree_map(any_release(), (verb, 0..9u64, 0..20u64), 0..3);
    let prepared = proptest::collection::btree_set(any_release(), 0..5);
    (proptest::option::of(any_release()), prepared, failed).prop_map(|(live, prepared, failed)| {
        let failed = failed.into_iter().map(|(release, (verb, counter, ago))| {
            let at = NOW - Duration::from_secs(ago);
            (release, failure(verb, Generation::new(0, counter), at))
        });
        Report { live, prepared, failed: failed.collect(), ..Report::default() }
    })
}

fn any_barrier() -> impl Strategy<Value = Option<Generation>> {
    proptest::option::of((0..9u64).prop_map(|counter| Generation::new(0, counter)))
}

proptest! {
    #[test]
    fn only_what_is_prepared_is_activated_and_nothing_needed_is_cleaned(
        want in any_order(), have in any_report(), barrier in any_barrier(),
    ) {
        let opened = want.switch.as_ref().is_some_and(|switch| barrier == Some(switch.barrier));
        for action in plan(&want, barrier, &have, NOW).actions {
            match action {
                Action::Activate(release) => {
                    prop_assert!(have.prepared.contains(&release));
                    let switched = want.switch.as_ref().filter(|_| opened).map(|switch| &switch.to);
                    prop_assert_eq!(Some(&release), switched.or(want.run.as_ref()), "only what is wanted now");
                }
                Action::Prepare(release) => {
                    prop_assert!(want.release(&release).is_some() && !have.prepared.contains(&release));
                }
                Action::Clean(release) => {
                    prop_assert!(want.release(&release).is_none(), "what is kept stays");
                    prop_assert_ne!(Some(&release), have.live.as_ref(), "what is live stays");
                    prop_assert!(barrier.is_some() || want.switch.is_none(), "nothing goes before the switch");
                }
                Action::Start(_) | Action::Accept(_) | Action::Stop(_) => prop_assert!(false, "files have no service"),
            }
        }
    }

    /// Every action that succeeds brings the target nearer: it ends settled, with exactly what is kept.
    #[test]
    fn a_target_whose_actions_succeed_comes_to_rest_as_ordered(
        want in any_order(), have in any_report(), barrier in any_barrier(),
    ) {
        let (mut have, mut now) = (have, NOW);
        for _ in 0..40 {
            let plan = plan(&want, barrier, &have, now);
            match plan.actions.first() {
                Some(Action::Activate(release)) => {
                    have.failed.remove(release);
                    have.live = Some(release.clone());
                }
                Some(Action::Prepare(release)) => {
                    have.failed.remove(release);
                    have.prepared.insert(release.clone());
                }
                Some(Action::Clean(release)) => {
                    have.prepared.remove(release);
                }
                Some(Action::Start(_) | Action::Accept(_) | Action::Stop(_)) => {
                    prop_assert!(false, "files have no service");
                }
                None => match plan.retry_at {
                    Some(at) => now = at,
                    None => break,
                },
            }
        }
        prop_assert!(plan(&want, barrier, &have, now).actions.is_empty(), "it goes on for ever");
        if let Some(wanted) = want.wanted(barrier) {
            prop_assert!(have.runs(wanted));
        }
        let kept: BTreeSet<ReleaseId> = want.keep.iter().map(|release| release.id.clone()).collect();
        prop_assert!(kept.is_subset(&have.prepared));
    }
}
