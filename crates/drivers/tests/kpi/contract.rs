//! What every driver of KPIs holds: exact differences, and no answer where nobody knows.

use std::time::Duration;

use async_trait::async_trait;
use footplate_core::name::AppPath;
use footplate_core::verdict::kpi::Bound;
use footplate_core::verdict::source::{Asked, Names};
use footplate_core::verdict::{Drawn, Factor, Measure, Plan, Said, Side, Split};
use footplate_drivers::kpi::Kpi;

/// What goes wrong at a source.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// It does not answer.
    Silent,
    /// It says what nobody understands, or refuses.
    Nonsense,
    /// It says a number that is none.
    NotANumber,
    /// It does not know of any such thing.
    Missing,
}

/// One driver's system, where the test says what happened.
#[async_trait]
pub trait Site: Send + Sync {
    /// Lets the counters be these: canary, of how many, baseline, of how many; returns when the system tells so.
    async fn set(&self, counters: [u64; 4]);
    /// Lets something go wrong until the next [`Site::set`].
    async fn trouble(&self, trouble: Trouble);
    /// Opens it for counters, or for the first and third as numbers.
    fn open(&self, measure: &Measure) -> Kpi;
    /// Tells whether a counter that begins anew is counted exactly; else it is no answer.
    fn is_exact_over_resets(&self) -> bool;
}

/// Returns what is filled in.
pub fn names() -> Names {
    Names {
        path: AppPath { app: "shop".parse().unwrap(), environment: "production".parse().unwrap() },
        groups: ["web".parse().unwrap()].into(),
        canary: "1.3".parse().unwrap(),
        baseline: "1.2".parse().unwrap(),
    }
}

pub fn events() -> Measure {
    Plan::of_requests(Drawn::Request).kpis[&"errors".parse().unwrap()].measure.clone()
}

pub fn number() -> Measure {
    Measure::Number(Bound { worse_than: Some(Factor::ONE), limit: None, is_low_bad: false, is_part: false })
}

/// Returns what is asked for a measure, of four texts in the order of [`Site::set`].
pub fn asked(measure: &Measure, texts: [&str; 4]) -> Asked {
    let [canary, canary_of, baseline, baseline_of] = texts.map(str::to_owned);
    match measure {
        Measure::Events(_) => Asked::Counters { canary, canary_of, baseline, baseline_of },
        Measure::Number(_) => Asked::Number { canary, baseline: Some(baseline) },
    }
}

fn split(said: Said) -> Split {
    match said {
        Said::Events(split) => split,
        other => panic!("it says no events: {other:?}"),
    }
}

/// Returns why nothing was said.
pub fn why(said: Said) -> String {
    match said {
        Said::Nothing(why) => why,
        other => panic!("it says something: {other:?}"),
    }
}

/// Holds a driver against all of it.
pub async fn holds(site: &dyn Site) {
    differences_are_exact(site).await;
    numbers_are_of_this_moment(site).await;
    trouble_is_no_answer_and_loses_nothing(site).await;
}

async fn differences_are_exact(site: &dyn Site) {
    site.set([3, 100, 1, 900]).await;
    let mut kpi = site.open(&events());
    assert!(why(kpi.ask().await).contains("first time"), "nobody knows when counting began");
    let nothing = split(kpi.ask().await);
    assert_eq!(nothing, Split::default(), "nothing happened, and it was heard");
    site.set([5, 120, 1, 1100]).await;
    let told = split(kpi.ask().await);
    assert_eq!((told.canary, told.baseline), (Side { of: 20, events: 2 }, Side { of: 200, events: 0 }));
    assert_eq!((told.causes, told.busiest), (None, None), "it knows no clients");
    site.set([1, 10, 4, 1200]).await;
    if site.is_exact_over_resets() {
        let told = split(kpi.ask().await);
        assert_eq!((told.canary, told.baseline), (Side { of: 10, events: 1 }, Side { of: 100, events: 3 }));
    } else {
        assert!(why(kpi.ask().await).contains("went back"));
    }
    site.set([2, 30, 4, 1300]).await;
    let told = split(kpi.ask().await);
    assert_eq!((told.canary, told.baseline), (Side { of: 20, events: 1 }, Side { of: 100, events: 0 }));
}

async fn numbers_are_of_this_moment(site: &dyn Site) {
    let mut kpi = site.open(&number());
    for (canary, baseline) in [(7, 5), (2, 6)] {
        site.set([canary, 100, baseline, 100]).await;
        match kpi.ask().await {
            Said::Numbers { canary: told, baseline: Some(of_baseline) } => {
                assert_eq!((told.value(), of_baseline.value()), (canary as f64, baseline as f64));
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn trouble_is_no_answer_and_loses_nothing(site: &dyn Site) {
    site.set([0, 1000, 0, 1000]).await;
    let (mut counted, mut number) = (site.open(&events()), site.open(&number()));
    why(counted.ask().await);
    let mut requests = 1000;
    for trouble in [Trouble::Silent, Trouble::Nonsense, Trouble::NotANumber, Trouble::Missing] {
        site.trouble(trouble).await;
        for kpi in [&mut counted, &mut number] {
            // No answer is waited for longer than its deadline says; the rest is a slow machine's.
            let said = tokio::time::timeout(Duration::from_secs(30), kpi.ask()).await;
            let why = why(said.unwrap_or_else(|_| panic!("{trouble:?}: it waits for ever")));
            assert!(!why.is_empty() && why.len() < 400, "{trouble:?}: {why}");
        }
        requests += 50;
        site.set([0, requests, 0, requests]).await;
        let told = split(counted.ask().await);
        assert_eq!((told.canary.of, told.baseline.of), (50, 50), "{trouble:?}: nothing is lost");
    }
}
