//! Stories of a service's health, one letter a second, and what holds for any of them.

use proptest::prelude::*;

use super::*;
use crate::release::service::Check;

fn at(seconds: u64) -> Moment {
    Moment::from_millis(1_000_000 + seconds * 1000)
}

/// Start-up and readiness after two good answers, liveness bad after three; 60 s to start, 10 s unready, 3 crashes in 100 s.
fn health() -> Health {
    let probe = |healthy_after| Probe { healthy_after, ..Probe::new(Check::Tcp) };
    Health {
        startup: Some(probe(2)),
        readiness: Some(probe(2)),
        liveness: Some(probe(1)),
        start_deadline: Duration::from_secs(60),
        healthy_time_min: Duration::from_secs(5),
        unready_deadline: Duration::from_secs(10),
        crashes_max: 3,
        crash_window: Duration::from_secs(100),
    }
}

/// Tells a story: `s` started, `c` crashed, `u`/`U` start-up good/bad, `r`/`R` readiness, `l`/`L` liveness, `.` nothing; one
/// second each. Returns where it ended, and `!` for each restart that was asked for.
fn tell(health: &Health, story: &str) -> (Condition, String) {
    let mut condition = Condition::begin(health, at(0));
    let mut restarts = String::new();
    for (second, letter) in story.chars().enumerate() {
        let step = condition.step(health, &event(letter), at(second as u64 + 1));
        restarts.extend(step.restart.map(|_| '!'));
        condition = step.next;
    }
    (condition, restarts)
}

fn event(letter: char) -> Event {
    match letter {
        's' => Event::Started,
        'c' => Event::Crashed("it ended with status 1".to_owned()),
        'u' => Event::Good(Question::Startup),
        'r' => Event::Good(Question::Readiness),
        'l' => Event::Good(Question::Liveness),
        'U' => Event::Bad(Question::Startup, "refused".to_owned()),
        'R' => Event::Bad(Question::Readiness, "it answered 500".to_owned()),
        'L' => Event::Bad(Question::Liveness, "no answer".to_owned()),
        _ => Event::Tick,
    }
}

fn word(condition: &Condition) -> &str {
    match &condition.phase {
        Phase::Starting { .. } => "starting",
        Phase::Ready { .. } => "ready",
        Phase::Unready { .. } => "unready",
        Phase::Failed { why } => why,
    }
}

#[test]
fn a_service_becomes_ready_step_by_step() {
    for (story, expected) in [
        ("", "starting"),
        ("uu", "starting"),
        ("rrrr", "starting"),
        ("uurr", "ready"),
        ("uurUr", "ready"),
        ("uurRrr", "ready"),
        ("uurrRR", "ready"),
        ("uurrRRR", "unready"),
        ("uurrRRRr", "unready"),
        ("uurrRRRrr", "ready"),
        ("uurrc", "unready"),
        ("uurrcsrr", "unready"),
        ("uurrcsuurr", "ready"),
    ] {
        let (condition, restarts) = tell(&health(), story);
        assert_eq!((word(&condition), &*restarts), (expected, ""), "{story}");
    }
}

#[test]
fn a_service_without_probes_is_ready_while_it_runs() {
    let health = Health { startup: None, readiness: None, liveness: None, ..health() };
    for (story, expected) in [("", "ready"), ("c", "unready"), ("cs", "ready")] {
        assert_eq!(word(&tell(&health, story).0), expected, "{story}");
    }
}

#[test]
fn a_service_that_never_comes_up_fails_by_its_deadline_and_says_what_it_answered() {
    let (condition, _) = tell(&health(), &"U".repeat(60));
    assert_eq!(word(&condition), "it did not become ready within 1 min: refused");
    let (condition, _) = tell(&health(), &".".repeat(60));
    assert_eq!(word(&condition), "it did not become ready within 1 min: it never answered");
    assert_eq!(word(&tell(&health(), &".".repeat(59)).0), "starting");
}

#[test]
fn a_service_that_stays_unready_fails_and_the_failure_stays_on_record() {
    let (condition, _) = tell(&health(), "uurrRRR..........");
    assert_eq!(word(&condition), "it was not ready for 10 s: it answered 500");
    let (condition, _) = tell(&health(), "uurrRRR..........rr.......");
    assert_eq!(word(&condition), "ready");
    assert!(!condition.is_settled(&health(), at(99)), "it failed on the way");
    assert_eq!(condition.failure.expect("on record").at, at(17));
}

#[test]
fn late_crashes_count_until_they_are_old() {
    let story = "uurr".to_owned() + &"csuurr".repeat(2);
    assert_eq!(word(&tell(&health(), &story).0), "ready", "twice is forgiven");
    let (condition, _) = tell(&health(), &(story.clone() + "c"));
    assert_eq!(
        word(&condition),
        "it crashed 3 times within 1 min 40 s, the last time 5 s after its start: it ended with status 1"
    );
    assert_eq!(word(&tell(&health(), &(story + &".".repeat(100) + "c")).0), "unready", "the window is over");
}

#[test]
fn a_crash_of_what_had_settled_is_told_each_time() {
    let crashed = |story: &str| tell(&health(), story).0.crashed.map(|crashed| (crashed.times, crashed.why));
    assert_eq!(crashed("csuurrcsuurr"), None, "it was never ready for long enough");
    assert_eq!(
        crashed("uurr.....c"),
        Some((1, "it crashed 10 s after its start: it ended with status 1".to_owned()))
    );
    let (times, why) = crashed("uurr.....csuurrLLL").expect("told");
    assert_eq!(times, 2);
    assert!(why.starts_with("it hung twice, the last time 7 s after its start: its liveness"), "{why}");
}

#[test]
fn bad_liveness_asks_for_a_restart_once_in_a_while() {
    assert_eq!(tell(&health(), "LLLLL").1, "", "it is not asked before it came up");
    assert_eq!(tell(&health(), "uurrLLlLL").1, "", "not in a row");
    let (condition, restarts) = tell(&health(), "uurrLLLL");
    assert_eq!((word(&condition), &*restarts), ("unready", "!"));
    let (condition, restarts) = tell(&health(), "uurrLLLsuurrLLLsuurrLLL");
    let why = "it hung 3 times within 1 min 40 s, the last time 7 s after its start: its liveness check failed 3 times: no answer";
    assert_eq!((word(&condition), &*restarts), (why, "!!!"), "it does not hang for ever");
}

#[test]
fn a_service_is_settled_only_after_its_time() {
    let (condition, _) = tell(&health(), "uurr");
    assert!(!condition.is_settled(&health(), at(8)));
    assert!(condition.is_settled(&health(), at(9)));
    assert_eq!(condition.wakes_at(&health()), Some(at(9)));
}

#[test]
fn the_delay_doubles_up_to_its_most() {
    let restart = Restart::default();
    let delays: Vec<u64> = (0..9).map(|runs| restart_delay(&restart, runs).as_secs()).collect();
    assert_eq!(delays, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
}

fn stories() -> impl Strategy<Value = String> {
    let letters = prop::sample::select("scurlURL...".chars().collect::<Vec<_>>());
    prop::collection::vec(letters, 0..200).prop_map(|letters| letters.into_iter().collect())
}

proptest! {
    #[test]
    fn nothing_is_ready_without_enough_good_answers_since_its_start(story in stories()) {
        let (condition, _) = tell(&health(), &story);
        if condition.is_ready() {
            let start = story.rfind(['c', 's']).map_or(0, |at| at + 1);
            let since = &story[start..];
            // What is not asked yet does not count, and what breaks a row does.
            let readiness: String = since.chars().filter(|letter| "rR".contains(*letter)).collect();
            prop_assert!(since.matches('u').count() >= 2, "{story}");
            prop_assert!(readiness.contains("rr"), "{story}");
        }
    }

    #[test]
    fn every_waiting_state_is_left_by_its_deadline(story in stories()) {
        let health = health();
        let (condition, _) = tell(&health, &story);
        let waits = matches!(condition.phase, Phase::Starting { .. } | Phase::Unready { .. });
        if let (true, Some(until)) = (waits, condition.wakes_at(&health)) {
            let after = condition.step(&health, &Event::Tick, until).next;
            prop_assert!(matches!(after.phase, Phase::Failed { .. }), "{story}");
        }
    }

    #[test]
    fn a_failure_is_never_forgotten_and_memory_is_bounded(story in stories(), more in stories()) {
        let (before, _) = tell(&health(), &story);
        let (after, _) = tell(&health(), &(story + &more));
        if before.failure.is_some() {
            prop_assert_eq!(&before.failure, &after.failure);
        }
        prop_assert!(after.crashes.len() < 3);
    }

    #[test]
    fn so_many_crashes_within_the_window_always_fail(story in stories()) {
        let crashes: Vec<usize> = story.match_indices('c').map(|(second, _)| second).collect();
        let often = crashes.windows(3).any(|three| three[2] - three[0] < 100);
        let (condition, _) = tell(&health(), &story);
        prop_assert!(!often || condition.failure.is_some(), "{story}");
    }
}
