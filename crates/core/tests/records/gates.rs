//! The records of gates, and what of a gate travels in other records.

use footplate_core::gate::{
    Days, Fix, Fixed, Freeze, Gate, Halt, Halted, Lock, Opened, Opening, Test, Weekday, Window,
};

use super::*;

#[test]
fn the_records_of_gates_keep_their_stored_form() {
    let halted = Halted {
        rollout: 7,
        release: id("2"),
        since: at(1),
        sentence: why().sentence,
        output: why().output,
        is_judged: true,
        fixed_by: Some(Fixed { rollout: 8, release: id("3") }),
    };
    let window = |name: &str, days: Days| Window {
        name: name.parse().unwrap(),
        days,
        from: "18:00".parse().unwrap(),
        to: "08:00".parse().unwrap(),
        zone: "Europe/Berlin".parse().unwrap(),
        reason: "nobody is there".to_owned(),
    };
    let freeze = |window| Freeze { window, owner: "ann".parse().unwrap(), since: at(3) };
    let dates = Days::Dates { first: "2026-12-24".parse().unwrap(), last: "2027-01-01".parse().unwrap() };
    let opening = |test| Opening {
        by: "ann".parse().unwrap(),
        at: at(0),
        whys: vec!["the basket was empty".to_owned(), "nobody tried".to_owned()],
        test,
    };
    let written = opening(Test::Written("tests/basket.rs".to_owned()));
    let owner = "bob".parse().unwrap();
    let before = Halted { output: String::new(), fixed_by: None, ..halted.clone() };
    check("gate-open-v1", Gate::default());
    check(
        "gate-v1",
        Gate {
            halted: Some(halted),
            locks: vec![Lock { owner, reason: "the sale".to_owned(), since: at(2), until: at(900) }],
            freezes: vec![
                freeze(window("nights", Days::Days([Weekday::Friday, Weekday::Sunday].into()))),
                freeze(window("holidays", dates)),
            ],
            opened: Some(Opened { halted: before.clone(), opening: written }),
        },
    );
    let opening = opening(Test::Impossible("a disk broke".to_owned()));
    check("gate-opened-v1", Gate { opened: Some(Opened { halted: before, opening }), ..Gate::default() });
    let fix = Some(Fix { despite: Some("customers wait".to_owned()) });
    check("rollout-fix-v1", Rollout { fix, ..rollout(Phase::Preparing { until: at(600) }) });
    let policy = Policy { halt: Halt::Always, ..Policy::default() };
    let freezes = vec![window("nights", Days::Days([Weekday::Friday].into()))];
    let delivery = Delivery { policy, freezes, ..delivery("role=web") };
    check("current-gated-v1", Current::new(path(), delivery, Generation::default()));
}
