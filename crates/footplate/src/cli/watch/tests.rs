//! What somebody gets who waits for a rollout.

use footplate_core::rollout::{Leaving, Outcome, Phase, Why};

use super::ending::{aftermath, exit};
use super::*;
use crate::api::Stage;
use crate::cli::fixture::{NOW, app, release, rollout, target, traffic};

fn groups(names: &[&str]) -> BTreeSet<GroupName> {
    names.iter().map(|name| name.parse().expect("a group")).collect()
}

/// What a person gets who waits for rollout 8, to release 3.
fn waited_for(app: &AppStatus) -> Result<Option<u64>, String> {
    waited_for_some(app, &[])
}

fn waited_for_some(app: &AppStatus, chosen: &[&str]) -> Result<Option<u64>, String> {
    let (to, chosen) = ("3".parse().expect("a release"), groups(chosen));
    let expected = Expected { number: 8, kind: Kind::Deploy, to, chosen, is_taken_back: false };
    let begun = begun(app, &expected).map_err(|failure| failure.render());
    begun.map(|begun| begun.map(|rollout| rollout.record.number))
}

fn waiting(to: &str) -> Option<WaitingStatus> {
    let (actor, to) = ("bob".parse().expect("an actor"), to.parse().expect("a release"));
    Some(WaitingStatus { to, groups: groups(&[]), actor, since: NOW, sentence: String::new() })
}

fn latest(number: u64, to: &str) -> AppStatus {
    let mut latest = rollout(&[], "");
    latest.record.number = number;
    latest.record.to.id = to.parse().expect("a release");
    app(Vec::new(), Some(latest))
}

#[test]
fn what_waits_is_known_by_its_release_and_not_by_the_number_that_it_may_get() {
    assert_eq!(waited_for(&latest(7, "2")), Ok(None), "the answer may be older than the order");
    assert_eq!(waited_for(&AppStatus { waiting: waiting("3"), ..latest(7, "2") }), Ok(None));
    assert_eq!(waited_for(&latest(8, "3")), Ok(Some(8)));
    let told = waited_for(&AppStatus { waiting: waiting("4"), ..latest(7, "2") }).unwrap_err();
    assert!(told.contains("bob's `4` waits in its place"), "{told}");
    let told = waited_for(&latest(8, "4")).unwrap_err();
    assert!(told.contains("the deployment of `3` of `shop` did not begin"), "{told}");
    assert!(told.contains("ada began the one of shop to `4` in its place"), "{told}");
    let mut back = latest(8, "3");
    back.rollout.as_mut().expect("there is one").record.kind = Kind::Rollback;
    assert!(waited_for(&back).is_err());
    let mut over = latest(7, "2");
    over.rollout.as_mut().expect("there is one").ended = true;
    assert!(waited_for(&over).unwrap_err().contains("did not arrive"));
    assert!(waited_for(&latest(9, "4")).unwrap_err().contains("overtaken"));
}

#[test]
fn what_waits_for_some_process_groups_is_told_from_the_same_release_for_others() {
    let waits = |names: &[&str]| {
        let waiting = waiting("3").map(|waiting| WaitingStatus { groups: groups(names), ..waiting });
        AppStatus { waiting, ..latest(7, "2") }
    };
    assert_eq!(waited_for_some(&waits(&["web"]), &["web"]), Ok(None));
    for (waits, chosen) in
        [(waits(&["web"]), &["worker"][..]), (waits(&[]), &["web"]), (waits(&["web"]), &[])]
    {
        assert!(waited_for_some(&waits, chosen).unwrap_err().contains("waits in its place"), "{chosen:?}");
    }
    let mut of_web = latest(8, "3");
    let record = &mut of_web.rollout.as_mut().expect("there is one").record;
    (record.groups, record.is_partial) = (groups(&["web"]), true);
    assert_eq!(waited_for_some(&of_web, &["web"]), Ok(Some(8)));
    assert_eq!(waited_for_some(&of_web, &["web", "worker"]), Ok(Some(8)), "the worker runs it already");
    let told = waited_for_some(&of_web, &["worker"]).unwrap_err();
    assert!(told.contains("ada began the one of web of shop to `3` in its place"), "{told}");
    assert!(waited_for(&of_web).is_err());
    assert!(waited_for_some(&latest(8, "3"), &["web"]).is_err());
}

#[test]
fn a_rollout_that_failed_tells_of_its_own_process_groups_alone() {
    let told_of = |group: &str| {
        let mut record = rollout(&[], "").record;
        record.groups = groups(&[group]);
        aftermath(&app(Vec::new(), None), &record, Some(&traffic()))
    };
    assert_eq!(told_of("web"), "`2` of web got 4120 requests, and failed 3 of them");
    assert_eq!(told_of("worker"), "");
}

#[test]
fn what_is_back_is_counted_where_something_ran_before() {
    let of = |group: &str, live: &str| {
        let mut target = target("web-1", live, &["1", "2"], Stage::Steady);
        target.target.group = group.parse().expect("a group");
        target
    };
    let targets = vec![of("poller", "2"), of("web", "1")];
    let mut record = rollout(&targets, "").record;
    record.groups = groups(&["poller", "web"]);
    let nothing = Leaving { from: None, keep: vec![release("1")] };
    record.apart.insert("poller".parse().expect("a group"), nothing);
    let why = Why::from("it broke".to_owned());
    record.phase =
        Phase::Ended { at: NOW, outcome: Outcome::TurnedBack { why, missing: BTreeSet::new(), more: 0 } };
    assert_eq!(aftermath(&app(targets, None), &record, None), "undone: 1 of 1 targets run `1` again");
}

#[test]
fn what_was_only_brought_is_counted_where_it_is_gone() {
    let targets = [target("web-1", "1", &["1"], Stage::Steady), target("web-2", "1", &["1"], Stage::Steady)];
    let mut record = rollout(&targets, "").record;
    (record.from, record.joins, record.groups) = (None, true, groups(&["poller"]));
    let missing = record.required().take(1).collect();
    let why = Why::from("it broke".to_owned());
    record.phase = Phase::Ended { at: NOW, outcome: Outcome::TurnedBack { why, missing, more: 0 } };
    assert_eq!(aftermath(&app(Vec::new(), None), &record, None), "undone: `2` is gone from 1 of 2 targets");
}

#[test]
fn a_rollout_that_somebody_takes_back_ends_well_when_nothing_is_left_of_it() {
    let targets = [target("web-1", "1", &["1"], Stage::Steady), target("web-2", "1", &["1"], Stage::Steady)];
    let mut rollout = rollout(&targets, "");
    let mut exits = |outcome: Outcome| {
        rollout.exit_code = Some(outcome.class().exit_code());
        rollout.record.phase = Phase::Ended { at: NOW, outcome };
        (exit(&rollout, true), exit(&rollout, false))
    };
    let why = || Why::from("ada rolled back".to_owned());
    let back = |missing| Outcome::TurnedBack { why: why(), missing, more: 0 };
    assert_eq!(exits(back(BTreeSet::new())), (Exit::Done, Exit::Failed));
    assert_eq!(exits(Outcome::Aborted { by: "ada".parse().expect("an actor") }), (Exit::Done, Exit::Failed));
    assert_eq!(exits(back(BTreeSet::from([targets[0].target.clone()]))), (Exit::Failed, Exit::Failed));
    assert_eq!(exits(Outcome::Done), (Exit::Failed, Exit::Done), "it arrived before the order");
    assert_eq!(exits(Outcome::LeftAsIs { why: why() }), (Exit::Failed, Exit::Failed));
}
