//! Stories of whole judgements: what is heard, and what is said of it.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::moment::Moment;
use crate::traffic::Share;
use crate::verdict::kpi::{Alternatives, Bound, Counting, Silence, Then, Tolerance};

const SECOND: Duration = Duration::from_secs(1);

fn at(second: u64) -> Moment {
    Moment::from_millis(second * 1000)
}

fn name(name: &str) -> KpiName {
    name.parse().unwrap()
}

/// A source of numbers from 0 to 1 (SplitMix64), so that a seed is a whole run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn happens(&mut self, part: f64) -> bool {
        self.part() < part
    }
}

fn split(canary: (u64, u64), baseline: (u64, u64)) -> Split {
    let side = |(of, events)| Side { of, events };
    Split { canary: side(canary), baseline: side(baseline), ..Split::default() }
}

/// Gives each event a client of its own.
fn with_causes(split: Split, random: &mut Random) -> Split {
    let mut cause = |is_canarys| Cause { key: random.next(), is_canarys };
    let causes = (0..split.canary.events).map(|_| true).chain((0..split.baseline.events).map(|_| false));
    Split { causes: Some(causes.map(&mut cause).collect()), ..split }
}

fn reading(second: u64, share: &str, said: &[(&str, Said)]) -> Reading {
    let kpis = said.iter().map(|(kpi, said)| (name(kpi), said.clone())).collect();
    Reading { at: at(second), over: SECOND, share: Some(share.parse().unwrap()), kpis }
}

/// A second of 100 requests, of which so many parts fail.
fn second(random: &mut Random, share: f64, errors: (f64, f64)) -> Split {
    let mut sides = [(0, 0), (0, 0)];
    for _ in 0..100 {
        let (side, part) =
            if random.happens(share) { (&mut sides[0], errors.1) } else { (&mut sides[1], errors.0) };
        side.0 += 1;
        side.1 += u64::from(random.happens(part));
    }
    with_causes(split(sides[0], sides[1]), random)
}

/// Only errors, with the whole budget.
fn errors_alone() -> Plan {
    let mut plan = Plan::of_requests(Drawn::Request);
    plan.kpis.retain(|kpi, _| kpi.as_str() == "errors");
    plan
}

fn change(plan: &mut Plan, kpi: &str, change: impl Fn(&mut Tolerance)) {
    let Measure::Events(tolerance) = &mut plan.kpis.get_mut(&name(kpi)).unwrap().measure else {
        panic!("it counts events")
    };
    change(tolerance);
}

fn judge(plan: Plan) -> Judge {
    Judge::new(plan, at(0)).unwrap()
}

/// Hears so many seconds of errors by a ramp of (from when on, share), and says what stood at the end and when it was decided.
fn run(plan: &Plan, seed: u64, seconds: u64, ramp: &[(u64, &str)], errors: (f64, f64)) -> Judge {
    let (mut random, mut judge) = (Random(seed), judge(plan.clone()));
    for now in 1..=seconds {
        let share = ramp.iter().rev().find(|(from, _)| *from < now).unwrap().1;
        let part = share.parse::<Share>().unwrap().part();
        let said = Said::Events(second(&mut random, part, errors));
        judge.hear(&reading(now, share, &[("errors", said)])).unwrap();
    }
    judge
}

#[test]
fn a_release_that_fails_ten_times_as_often_is_worse_within_seconds_and_the_verdict_says_why() {
    let judge = run(&errors_alone(), 7, 60, &[(0, "10%")], (0.005, 0.05));
    let verdict = judge.verdict(at(60));
    let Finding::Worse { kpi, since } = &verdict.finding else { panic!("{}", verdict.sentence) };
    assert_eq!(kpi, &name("errors"));
    assert!(*since < at(40), "{since:?}");
    let said = "worse: `errors` is worse: 5.22% (29 of 556) beside 0.514% (28 of 5444), 3.83 to 22.4 times as often; \
                a release that is not worse is called worse in at most 1% of deployments";
    assert_eq!(verdict.sentence, said);
    assert!(verdict.evidence >= verdict.enough && verdict.kpis[kpi].p_value <= 0.01);
}

#[test]
fn what_was_worse_stays_worse_whatever_comes_later() {
    let mut judge = run(&errors_alone(), 7, 60, &[(0, "10%")], (0.005, 0.05));
    let decided = judge.decided(at(60)).unwrap();
    let mut random = Random(1);
    for now in 61..2_000 {
        let said = Said::Events(second(&mut random, 0.1, (0.05, 0.0)));
        assert_eq!(judge.hear(&reading(now, "10%", &[("errors", said)])).unwrap(), Standing::Worse);
    }
    assert_eq!(judge.decided(at(2_000)), Some(decided));
}

#[test]
fn a_release_like_the_one_before_is_proved_not_to_be_worse() {
    let judge = run(&errors_alone(), 3, 600, &[(0, "50%")], (0.005, 0.005));
    assert_eq!(judge.standing(at(600)), Standing::NotWorse);
    let said = "not worse: proved for `errors`; a release that is as bad as what was excluded passes at most 5% of the time";
    assert_eq!(judge.verdict(at(600)).sentence, said);
}

/// The mean of what a bet has become is at most 1, and it reaches a hundredfold at most once in a hundred times: by simulation.
#[test]
fn without_a_difference_evidence_is_a_supermartingale_and_alarms_keep_to_their_rate() {
    let seed = 20_261_122;
    let runs = 1_000;
    let (mut sum, mut alarms) = (0.0, 0);
    for run_number in 0..runs {
        let judge = run(&errors_alone(), seed + run_number, 200, &[(0, "10%")], (0.02, 0.02));
        // Heavy tails: bets that have won a lot are cut down, which only lowers the mean.
        sum += judge.evidence().ln().exp().min(50.0);
        alarms += u32::from(judge.decided(at(200)).is_some());
    }
    let mean = sum / runs as f64;
    assert!(mean < 1.3, "seed {seed}: the mean bet became {mean}");
    // 10 are allowed on average; 21 or more happen twice in a thousand times.
    assert!(alarms < 21, "seed {seed}: {alarms} of {runs} false alarms");
}

#[test]
fn evidence_of_earlier_steps_is_kept_when_the_share_changes() {
    let ramp = [(0, "5%"), (100, "25%")];
    let whole = run(&errors_alone(), 11, 200, &ramp, (0.005, 0.012));
    let before = run(&errors_alone(), 11, 100, &ramp, (0.005, 0.012));
    let (early, late) = (before.evidence().ln(), whole.evidence().ln());
    // Only the later part, judged alone.
    let mut random = Random(11);
    (0..100).for_each(|_| drop(second(&mut random, 0.05, (0.005, 0.012))));
    let mut alone = judge(errors_alone());
    for now in 101..=200 {
        let said = Said::Events(second(&mut random, 0.25, (0.005, 0.012)));
        alone.hear(&reading(now, "25%", &[("errors", said)])).unwrap();
    }
    assert!(early > 0.0, "the first step gave something: {early}");
    assert!(late > alone.evidence().ln() + early / 2.0, "{late} is not more than {:?}", alone.evidence());
}

#[test]
fn evidence_is_kept_when_the_sign_test_takes_over_and_nothing_is_counted_twice() {
    let (mut random, mut judge) = (Random(5), judge(errors_alone()));
    let mut kept = Evidence::NONE;
    for now in 1..=60 {
        let mut said = second(&mut random, 0.1, (0.005, 0.02));
        said.causes = said.causes.filter(|_| now <= 30);
        judge.hear(&reading(now, "10%", &[("errors", Said::Events(said))])).unwrap();
        match now {
            30 => kept = judge.evidence(),
            31..=35 => assert_eq!(judge.evidence(), kept, "its first window is not over"),
            _ => {}
        }
    }
    assert!(kept.ln() > 0.5, "there was something to keep: {kept:?}");
    assert_ne!(judge.evidence(), kept, "and the sign test goes on from there");
}

#[test]
fn kpis_share_one_error_budget_and_their_evidence_adds_up() {
    let mut plan = Plan::of_requests(Drawn::Request);
    plan.kpis.retain(|kpi, _| ["errors", "latency.p50"].contains(&kpi.as_str()));
    plan.kpis.values_mut().for_each(|kpi| kpi.weight = 1);
    change(&mut plan, "latency.p50", |it| {
        *it = Tolerance { counting: Counting::Causes, alternatives: Alternatives::Worse, ..it.clone() };
    });
    let evidence = |said: &[(&str, Said)]| {
        let mut judge = judge(plan.clone());
        judge.hear(&reading(1, "50%", said)).unwrap();
        judge.evidence().ln().exp()
    };
    let bad = || Said::Events(with_causes(split((50, 6), (50, 0)), &mut Random(1)));
    let quiet = || Said::Events(with_causes(split((50, 0), (50, 0)), &mut Random(1)));
    let one = evidence(&[("errors", bad()), ("latency.p50", quiet())]);
    let both = evidence(&[("errors", bad()), ("latency.p50", bad())]);
    // A bet of one half each: what one has become and the other half, unchanged.
    assert!((one - f64::midpoint(both, 1.0)).abs() < 1e-9, "{one} {both}");
}

#[test]
fn without_traffic_nothing_is_known_and_the_missing_amount_is_said() {
    let mut silent = judge(errors_alone());
    for now in 1..=600 {
        let said = Said::Events(Split { causes: Some(Vec::new()), ..split((0, 0), (0, 0)) });
        assert_eq!(silent.hear(&reading(now, "10%", &[("errors", said)])).unwrap(), Standing::Unknown);
    }
    let said = "unknown: `errors` needs about 5073 requests of the canary, and there are none";
    assert_eq!(silent.verdict(at(600)).sentence, said);
    let little = run(&errors_alone(), 5, 30, &[(0, "10%")], (0.005, 0.005));
    let said = "unknown: `errors` needs about 3157 more requests of the canary, 5 min 19 s as it goes now";
    assert_eq!(little.verdict(at(30)).sentence, said);
    let mut plan = errors_alone();
    change(&mut plan, "errors", |it| it.fine_below = None);
    let nothing = run(&plan, 5, 30, &[(0, "10%")], (0.0, 0.0));
    let said = "unknown: `errors` has nothing to compare: it has not happened yet; `fine_below` says below which part it is fine";
    assert_eq!(nothing.verdict(at(30)).sentence, said);
}

#[test]
fn a_share_by_which_no_request_comes_proves_nothing() {
    // All requests go to one version, as the other has no endpoint that is ready.
    let found = |of_canary: bool, drawn: Drawn| {
        let mut random = Random(5);
        let mut judge = judge(Plan::of_requests(drawn));
        let side =
            |events| if of_canary { split((100, events), (0, 0)) } else { split((0, 0), (100, events)) };
        let heard = (1..=120).map(|second| {
            let errors = with_causes(side(1), &mut random);
            let kpis = [
                ("errors", errors),
                ("latency.p50", side(50)),
                ("latency.p90", side(10)),
                ("latency.p99", side(1)),
            ];
            let kpis = kpis.map(|(name, split)| (name, Said::Events(split)));
            judge.hear(&reading(second, "10%", &kpis)).unwrap()
        });
        heard.last().expect("it heard something")
    };
    for drawn in [Drawn::Request, Drawn::Client] {
        assert_eq!(found(false, drawn), Standing::Unknown, "a canary without requests is not good");
        assert_ne!(found(true, drawn), Standing::Worse, "one that takes all of them is not bad");
    }
}

#[test]
fn two_errors_are_never_enough_however_unlikely_they_were() {
    let mut judge = judge(errors_alone());
    let mut random = Random(1);
    for (now, errors) in [(1, 1), (2, 0), (3, 1)] {
        let said = Said::Events(with_causes(split((1, errors), (999, 0)), &mut random));
        assert_eq!(judge.hear(&reading(now, "0.1%", &[("errors", said)])).unwrap(), Standing::Unknown);
    }
    let third = Said::Events(with_causes(split((1, 1), (999, 0)), &mut random));
    assert_eq!(judge.hear(&reading(4, "0.1%", &[("errors", third)])).unwrap(), Standing::Worse);
}

#[test]
fn a_source_that_is_silent_is_never_healthy() {
    let ending = |then, said: Said| {
        let mut plan = errors_alone();
        let bound = Bound { worse_than: None, limit: Number::new(10.0), is_low_bad: false, is_part: false };
        let silence = Silence { patience: Duration::from_secs(30), then };
        let kpi = Kpi { weight: 1, measure: Measure::Number(bound), silence, warm_up: Duration::ZERO };
        plan.kpis.insert(name("queue"), kpi);
        let mut judge = judge(plan);
        let mut random = Random(3);
        for now in 1..=600 {
            let mut kpis = vec![("errors", Said::Events(second(&mut random, 0.5, (0.005, 0.005))))];
            if now < 500 {
                kpis.push(("queue", Said::Numbers { canary: Number::new(1.0).unwrap(), baseline: None }));
            } else {
                kpis.push(("queue", said.clone()));
            }
            judge.hear(&reading(now, "50%", &kpis)).unwrap();
        }
        judge.verdict(at(600))
    };
    let nothing = || Said::Nothing("no answer from the queue within 2 s".into());
    let unknown = ending(Then::Unknown, nothing());
    assert_eq!(unknown.sentence, "unknown: `queue` is silent: no answer from the queue within 2 s");
    assert!(matches!(unknown.finding, Finding::Unknown(_)));
    let worse = ending(Then::Worse, nothing());
    assert!(
        matches!(&worse.finding, Finding::Worse { kpi, since } if kpi == &name("queue") && *since == at(530))
    );
    let without = ending(Then::GoOn, nothing());
    assert_eq!(without.finding, Finding::NotWorse);
    assert!(without.kpis[&name("queue")].sentence.contains("is silent, and the verdict goes on without it"));
    assert!(!without.sentence.contains("queue"), "it is not among what was proved: {}", without.sentence);
    let confused = ending(Then::Unknown, Said::Events(split((1, 0), (1, 0))));
    assert!(confused.sentence.contains("it said events, and a number is judged"), "{}", confused.sentence);
}

#[test]
fn whoever_said_nothing_at_all_is_silent_once_its_patience_is_over() {
    let judge = judge(errors_alone());
    assert!(judge.verdict(at(10)).sentence.contains("and there are none"));
    assert_eq!(judge.verdict(at(11)).sentence, "unknown: `errors` has said nothing yet");
}

/// One address carries everything: each request is drawn, errors are rare and the same on both.
fn one_address(seed: u64, canary: f64) -> Judge {
    let (mut random, mut judge) = (Random(seed), judge(errors_alone()));
    for now in 1..=600 {
        let mut said = second(&mut random, 0.1, (0.02, canary));
        let causes = said.causes.take().unwrap();
        let first = causes.first().map(|_| {
            let place = random.next() % (said.canary.events + said.baseline.events);
            Cause { key: 1, is_canarys: place < said.canary.events }
        });
        (said.causes, said.busiest) = (Some(first.into_iter().collect()), Some(100));
        judge.hear(&reading(now, "10%", &[("errors", Said::Events(said))])).unwrap();
    }
    judge
}

#[test]
fn one_address_that_carries_everything_is_no_reason_to_take_a_release_back() {
    let alarms =
        (0..100).filter(|seed| one_address(*seed, 0.02).standing(at(600)) == Standing::Worse).count();
    assert!(alarms <= 5, "{alarms} of 100 with seeds from 0 on");
    let verdict = one_address(1, 0.2).verdict(at(600));
    assert!(matches!(verdict.finding, Finding::Worse { .. }), "{}", verdict.sentence);
    let said = "a few clients carry most of the traffic, so the sign test judges";
    assert!(verdict.sentence.contains(said), "{}", verdict.sentence);
}

#[test]
fn without_client_keys_the_sign_test_judges_and_twenty_errors_of_one_client_are_no_alarm() {
    let alarms = (0..100_u64).filter(|seed| {
        let (mut random, mut judge) = (Random(*seed), judge(errors_alone()));
        for now in 1..=600 {
            let mut said = split((10, 0), (90, 0));
            if random.happens(0.025) {
                let side = if random.happens(0.1) { &mut said.canary } else { &mut said.baseline };
                *side = Side { of: side.of + 20, events: 20 };
            }
            judge.hear(&reading(now, "10%", &[("errors", Said::Events(said))])).unwrap();
        }
        judge.decided(at(600)).is_some()
    });
    let alarms = alarms.count();
    assert!(alarms <= 5, "{alarms} of 100 with seeds from 0 on");
}

#[test]
fn what_is_tolerated_is_not_found() {
    let alarms = |worse_than: u32, canary: f64| {
        let mut plan = errors_alone();
        change(&mut plan, "errors", |it| {
            it.worse_than = Some(Factor::from_thousandths(worse_than));
            it.not_worse_than = Factor::from_thousandths(worse_than * 2);
        });
        (0..40)
            .filter(|seed| run(&plan, *seed, 300, &[(0, "25%")], (0.01, canary)).decided(at(300)).is_some())
            .count()
    };
    assert!(alarms(1000, 0.02) >= 30, "a doubling is found at 1x");
    assert!(alarms(2500, 0.02) <= 2, "and tolerated at 2.5x");
}

#[test]
fn an_absolute_limit_needs_no_baseline_and_tolerates_what_is_below_it() {
    let mut plan = errors_alone();
    change(&mut plan, "errors", |it| {
        (it.worse_than, it.worse_above, it.fine_below) = (None, Some("5%".parse().unwrap()), None);
    });
    let found = |canary| run(&plan, 3, 120, &[(0, "50%")], (0.0, canary)).standing(at(120));
    assert_eq!((found(0.12), found(0.03)), (Standing::Worse, Standing::NotWorse));
    change(&mut plan, "errors", |it| it.worse_than = Some(Factor::ONE));
    let both =
        |baseline, canary| run(&plan, 3, 120, &[(0, "50%")], (baseline, canary)).decided(at(120)).is_some();
    assert_eq!(
        (both(0.001, 0.12), both(0.001, 0.02), both(0.2, 0.2)),
        (true, false, false),
        "worse by both, or it is not"
    );
}

#[test]
fn while_a_new_process_warms_up_nothing_is_counted() {
    let mut plan = errors_alone();
    plan.kpis.get_mut(&name("errors")).unwrap().warm_up = Duration::from_secs(10);
    let mut judge = judge(plan);
    let mut random = Random(1);
    for now in 1..=30 {
        let of = if now <= 5 { 0 } else { 10 };
        let bad = if (6..=15).contains(&now) { 5 } else { 0 };
        let said = Said::Events(with_causes(split((of, bad), (90, 0)), &mut random));
        judge.hear(&reading(now, "10%", &[("errors", said)])).unwrap();
    }
    assert_eq!(judge.evidence(), Evidence::NONE, "the canary's first request was at 5 s");
}

#[test]
fn a_reading_that_was_heard_already_is_refused_and_counts_nothing() {
    let mut judge = run(&errors_alone(), 7, 20, &[(0, "10%")], (0.005, 0.05));
    let before = judge.clone();
    let said = Said::Events(split((10, 10), (90, 0)));
    for second in [20, 3] {
        let refused = judge.hear(&reading(second, "10%", &[("errors", said.clone())]));
        assert_eq!(refused, Err(OutOfOrder { at: at(second), latest: at(20) }));
    }
    assert_eq!(judge, before);
}

#[test]
fn kpis_that_are_not_in_the_plan_change_nothing() {
    let mut judge = judge(errors_alone());
    judge.hear(&reading(1, "10%", &[("other", Said::Events(split((10, 10), (90, 0))))])).unwrap();
    assert_eq!(judge.evidence(), Evidence::NONE);
    assert_eq!(judge.verdict(at(1)).kpis.len(), 1);
}

/// Readings of everything that a source can say.
fn readings() -> impl Strategy<Value = Vec<Reading>> {
    let side =
        (0..200_u64).prop_flat_map(|of| (Just(of), 0..=of)).prop_map(|(of, events)| Side { of, events });
    let cause = (0..50_u64, any::<bool>()).prop_map(|(key, is_canarys)| Cause { key, is_canarys });
    let causes = prop::option::of(prop::collection::vec(cause, 0..20));
    let events = (side.clone(), side, causes, prop::option::of(0..400_u64)).prop_map(
        |(canary, baseline, causes, busiest)| Said::Events(Split { canary, baseline, causes, busiest }),
    );
    let said = prop_oneof![4 => events, 1 => Just(Said::Nothing("it was away".to_owned()))];
    let one = (said.clone(), prop::option::of(said), 1..40_u64, prop::option::of(0..=1_000_000_u32));
    prop::collection::vec(one, 0..60).prop_map(|many| {
        let mut now = 0;
        let reading = |(errors, slow, seconds, share): (Said, Option<Said>, u64, Option<u32>)| {
            now += seconds;
            let slow = slow.map(|slow| (name("latency.p90"), slow));
            let kpis = std::iter::once((name("errors"), errors)).chain(slow).collect();
            Reading {
                at: at(now),
                over: SECOND * seconds as u32,
                share: share.map(Share::from_millionths),
                kpis,
            }
        };
        many.into_iter().map(reading).collect()
    })
}

fn bits(judge: &Judge) -> Vec<u64> {
    judge
        .curve()
        .iter()
        .flat_map(|point| [point.worse.ln().to_bits(), point.not_worse.ln().to_bits()])
        .collect()
}

proptest! {
    #[test]
    fn a_recording_that_was_written_and_read_gives_the_same_verdict_bit_by_bit(readings in readings(), stays: bool) {
        let drawn = if stays { Drawn::Client } else { Drawn::Request };
        let mut recording = Recording::new(Plan::of_requests(drawn), at(0), Cuts::default());
        let mut live = judge(recording.plan.clone());
        for reading in readings {
            live.hear(&reading).unwrap();
            recording.readings.push(reading);
        }
        let written = serde_json::to_string(&recording).unwrap();
        let read: Recording = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&read, &recording);
        let again = read.replay().unwrap();
        prop_assert_eq!(bits(&again), bits(&live));
        prop_assert_eq!(read.verdict().unwrap(), live.verdict(live.latest()));
    }

    #[test]
    fn one_more_event_of_the_canary_never_speaks_for_it_and_one_of_the_baseline_never_against(
        share in 0.001..0.999_f64, canary in 0..60_u64, baseline in 0..60_u64,
    ) {
        let evidence = |canary, baseline| {
            let mut test = share::ShareTest::worse(1.0, &share::WORSE);
            test.count(share, canary, baseline);
            test.evidence().ln()
        };
        let here = evidence(canary, baseline);
        prop_assert!(evidence(canary + 1, baseline) >= here && evidence(canary, baseline + 1) <= here);
    }

    #[test]
    fn whatever_is_heard_evidence_is_a_number_and_words_are_there(readings in readings()) {
        let mut judge = judge(Plan::of_requests(Drawn::Request));
        for reading in &readings {
            judge.hear(reading).unwrap();
            prop_assert!(judge.evidence().ln().is_finite());
        }
        let verdict = judge.verdict(judge.latest() + SECOND);
        prop_assert!(!verdict.sentence.is_empty() && !verdict.sentence.contains("NaN"));
        let written = serde_json::to_string(&verdict).unwrap();
        prop_assert!(serde_json::from_str::<Verdict>(&written).is_ok(), "{}", written);
    }
}

#[test]
fn a_recording_of_another_format_is_refused() {
    let recording = Recording { format: 2, ..Recording::new(errors_alone(), at(0), Cuts::default()) };
    let refused = recording.verdict().unwrap_err().to_string();
    assert_eq!(
        refused,
        "it is of format 2, and this program replays format 1; use the version that wrote it"
    );
}
