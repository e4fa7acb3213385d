//! Who passes a gate, and what those are told who do not.

use super::*;

fn at(second: u64) -> Moment {
    Moment::from_millis(second * 1000)
}

fn path() -> AppPath {
    AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() }
}

fn actor(name: &str) -> Actor {
    name.parse().unwrap()
}

fn halted() -> Halted {
    Halted {
        rollout: 7,
        release: "2".parse().unwrap(),
        since: at(0),
        sentence: "web-1/web crashed".to_owned(),
        output: String::new(),
        is_judged: true,
        fixed_by: None,
    }
}

fn lock(owner: &str, until: u64) -> Lock {
    Lock { owner: actor(owner), reason: "the sale".to_owned(), since: at(0), until: at(until) }
}

fn frozen(until: u64) -> Frozen {
    Frozen { window: "weekend".parse().unwrap(), reason: "nobody is there".to_owned(), until: at(until) }
}

fn door(halted: Option<Halted>, locks: Vec<Lock>, frozen: Vec<Frozen>) -> Door {
    Door { gate: Gate { halted, locks, ..Gate::default() }, frozen }
}

/// Returns `passes`, or the three parts of the refusal, a line each.
fn passes(door: &Door, who: &str, fix: Option<Fix>) -> String {
    match door.pass(&path(), &"3".parse().unwrap(), (&actor(who), fix.as_ref()), at(60)) {
        Ok(()) => "passes".to_owned(),
        Err(Refusal { what, because, next }) => format!("{what}\n{because}\n{next}"),
    }
}

fn fix() -> Option<Fix> {
    Some(Fix::default())
}

fn despite() -> Option<Fix> {
    Some(Fix { despite: Some("customers wait".to_owned()) })
}

fn opening(whys: &[&str], test: Test) -> Opening {
    Opening { by: actor("ann"), at: at(90), whys: whys.iter().map(|why| (*why).to_owned()).collect(), test }
}

#[test]
fn an_open_gate_lets_everybody_pass() {
    assert_eq!(passes(&Door::default(), "ann", None), "passes");
}

#[test]
fn a_halted_gate_lets_the_fix_pass_and_tells_others_what_leads_on() {
    let door = door(Some(halted()), Vec::new(), Vec::new());
    assert_eq!(passes(&door, "ann", fix()), "passes");
    assert_eq!(
        passes(&door, "ann", None),
        "cannot deploy `3` of `production.shop`\n\
         its gate is closed: it is halted since 1 min: rollout 7 to `2` was taken back: web-1/web crashed\n\
         see the evidence with `footplate verdict shop 7` and open the gate with `footplate gate open shop`, \
         or bring what mends it with `footplate deploy shop --fix`"
    );
}

#[test]
fn what_halted_it_is_not_its_own_fix_and_an_empty_reason_passes_nothing() {
    let mut door = Door { gate: Gate::default().halt(halted()), ..Door::default() };
    door.gate.halted.as_mut().unwrap().release = "3".parse().unwrap();
    let refused = passes(&door, "ann", fix());
    assert!(refused.contains("it is what halted the gate, and not what mends it"), "{refused}");
    let empty = Some(Fix { despite: Some(" ".to_owned()) });
    let door = Door { gate: Gate::default().halt(halted()), ..Door::default() };
    assert!(passes(&door, "ann", empty).contains("the reason"), "{}", passes(&door, "ann", fix()));
}

#[test]
fn the_cause_of_one_halt_does_not_open_another() {
    let gate = Gate::default().halt(halted());
    let test = Test::Impossible("no such machine here".to_owned());
    let refused = gate.open(&path(), Some(99), opening(&["a"], test.clone())).unwrap_err();
    assert!(
        refused.because.contains("another deployment has halted it since: rollout 7"),
        "{}",
        refused.because
    );
    assert!(gate.open(&path(), Some(7), opening(&["a"], test)).is_ok());
}

#[test]
fn a_fix_that_arrived_does_not_open_the_gate_and_is_told() {
    let gate = Gate::default().halt(halted());
    let later = gate.fixed(Fixed { rollout: 8, release: "3".parse().unwrap() });
    let earlier = gate.fixed(Fixed { rollout: 6, release: "1".parse().unwrap() });
    assert_eq!(earlier, gate, "what came before is no fix of it");
    let told = passes(&Door { gate: later, frozen: Vec::new() }, "ann", None);
    assert!(told.contains("web-1/web crashed, and the fix has arrived (rollout 8 to `3`)"), "{told}");
    assert!(!told.contains("--fix"), "{told}");
}

#[test]
fn a_lock_holds_for_all_but_its_owner_until_its_time_is_over() {
    let locked = door(None, vec![lock("bob", 3660)], Vec::new());
    assert_eq!(
        passes(&locked, "ann", None),
        "cannot deploy `3` of `production.shop`\n\
         its gate is closed: bob locked it for another 1 h: the sale\n\
         ask bob, take the lock off with `footplate gate unlock shop --owner 'bob'`, or wait"
    );
    assert!(passes(&locked, "ann", fix()).contains("--fix --despite"), "{}", passes(&locked, "ann", fix()));
    assert_eq!(passes(&locked, "ann", despite()), "passes");
    assert_eq!(passes(&locked, "bob", None), "passes");
    assert_eq!(passes(&door(None, vec![lock("bob", 60)], Vec::new()), "ann", None), "passes");
}

#[test]
fn a_window_holds_for_everybody_but_a_fix_that_says_why() {
    let door = door(None, Vec::new(), vec![frozen(3660)]);
    let told = passes(&door, "ann", None);
    assert!(told.contains("`weekend` freezes it for another 1 h: nobody is there"), "{told}");
    assert_ne!(passes(&door, "ann", fix()), "passes");
    assert_eq!(passes(&door, "ann", despite()), "passes");
}

#[test]
fn all_reasons_are_told_at_once_and_the_first_end_is_known() {
    let door = door(Some(halted()), vec![lock("bob", 600), lock("cleo", 300)], vec![frozen(900)]);
    let closures = door.closures(at(60));
    assert_eq!(closures.len(), 4);
    assert_eq!(ends_at(&closures), Some(at(300)));
    assert_eq!(ends_at(&closures[..1]), None, "a halt never ends by itself");
}

#[test]
fn commands_for_another_environment_name_it() {
    let path = AppPath { environment: "staging".parse().unwrap(), ..path() };
    assert_eq!(halted().way_open(&path), "footplate gate open shop --environment staging");
}

#[test]
fn a_halted_gate_asks_for_a_cause_and_a_test() {
    let gate = Gate::default().halt(halted());
    let refused = |whys: &[&str], test: Test| {
        gate.open(&path(), None, opening(whys, test)).map_err(|refusal| refusal.because).unwrap_err()
    };
    let test = || Test::Written("tests/basket.rs".to_owned());
    assert_eq!(refused(&[], test()), "nobody has said yet why it happened");
    assert_eq!(refused(&["a"; 6], test()), "6 answers were given, and 5 are the most");
    assert_eq!(refused(&[" "], test()), "an answer is empty");
    assert_eq!(refused(&["a"], Test::Impossible(String::new())), "why no test is possible is empty");
    assert_eq!(
        refused(&["a"], Test::Written("x".repeat(1001))),
        "the test has 1001 characters, and 1000 are the most"
    );
    let opened =
        gate.open(&path(), Some(7), opening(&["the basket was empty", "nobody tried"], test())).unwrap();
    assert_eq!(opened.halted, None);
    let kept = opened.opened.as_ref().unwrap();
    assert_eq!(
        kept.opening.to_string(),
        "why 1: the basket was empty; why 2: nobody tried; test: tests/basket.rs"
    );
    assert_eq!(kept.halted, halted());
    let again = opened.open(&path(), None, opening(&["a"], test())).unwrap_err();
    assert_eq!(again.because, "it is not halted");
}

#[test]
fn several_locks_stand_and_each_ends_by_its_owner() {
    let gate = Gate::default().lock(&path(), lock("bob", 600)).unwrap();
    let gate = gate.lock(&path(), lock("cleo", 700)).unwrap();
    let gate = gate.lock(&path(), lock("bob", 800)).unwrap();
    let owners = |gate: &Gate| gate.locks.iter().map(|lock| lock.owner.to_string()).collect::<Vec<_>>();
    assert_eq!(owners(&gate), ["cleo", "bob"], "the newer one takes the place of the older");
    let refused = gate.unlock(&path(), &actor("ann"), at(60)).unwrap_err();
    assert_eq!(refused.next, "name an owner with `--owner`: `cleo`, `bob`");
    assert_eq!(owners(&gate.unlock(&path(), &actor("bob"), at(60)).unwrap()), ["cleo"]);
    assert!(gate.unlock(&path(), &actor("cleo"), at(700)).is_err(), "it is over by itself");
    assert!(gate.lock(&path(), Lock { until: at(0), ..lock("dan", 1) }).is_err());
    assert!(gate.lock(&path(), Lock { reason: String::new(), ..lock("dan", 1) }).is_err());
}

#[test]
fn locks_and_windows_are_bounded() {
    let many = |gate: &Gate, number: usize| gate.lock(&path(), lock(&format!("person{number}"), 600));
    let full = (0..ENTRIES_MAX).fold(Gate::default(), |gate, number| many(&gate, number).unwrap());
    assert_eq!(many(&full, ENTRIES_MAX).unwrap_err().because, "32 locks are on it");
}

#[test]
fn a_window_by_hand_is_set_and_ended_by_its_name() {
    let window = Window {
        name: "weekend".parse().unwrap(),
        days: Days::Days([Weekday::Saturday, Weekday::Sunday].into()),
        from: TimeOfDay::MIDNIGHT,
        to: TimeOfDay::END,
        zone: "Europe/Berlin".parse().unwrap(),
        reason: "nobody is there".to_owned(),
    };
    assert_eq!(
        window.to_string(),
        "`weekend`: saturday, sunday 00:00 to 24:00 Europe/Berlin: nobody is there"
    );
    let freeze = Freeze { window, owner: actor("ann"), since: at(0) };
    let gate = Gate::default().freeze(&path(), freeze.clone()).unwrap();
    let gate = gate.freeze(&path(), freeze).unwrap();
    assert_eq!(gate.freezes.len(), 1);
    assert!(gate.unfreeze(&path(), &"sale".parse().unwrap()).is_err());
    assert_eq!(gate.unfreeze(&path(), &"weekend".parse().unwrap()).unwrap(), Gate::default());
}

#[test]
fn days_times_and_zones_read_as_people_write_them() {
    for good in ["2026-12-24", "2024-02-29"] {
        assert_eq!(good.parse::<Date>().map(|date| date.to_string()), Ok(good.to_owned()));
    }
    for bad in ["2026-02-29", "2026-13-01", "2026-1-1", "24.12.2026", "2026-12-24-1", ""] {
        assert!(bad.parse::<Date>().is_err(), "{bad:?} must be refused");
    }
    for good in ["00:00", "18:30", "24:00"] {
        assert_eq!(good.parse::<TimeOfDay>().map(|time| time.to_string()), Ok(good.to_owned()));
    }
    for bad in ["24:01", "7:00", "18:60", "18", "6pm", "+1:00"] {
        assert!(bad.parse::<TimeOfDay>().is_err(), "{bad:?} must be refused");
    }
    assert!("Europe/Berlin".parse::<ZoneName>().is_ok());
    assert!("Europe Berlin".parse::<ZoneName>().is_err());
    assert!("freitag".parse::<Weekday>().is_err());
}
