//! How a rollout is judged, as it travels with it: every source there is.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::rollout::Policy;
use footplate_core::verdict::kpi::{Bound, Silence, Then};
use footplate_core::verdict::source::{Asked, Command, Http, OfService, Prometheus};
use footplate_core::verdict::{Drawn, Factor, Judging, Kpi, KpiName, Measure, Number, OnUnknown, Source};

/// Returns rules by which a rollout is judged, with each kind of source.
pub fn judged() -> Policy {
    let text = |text: &str| text.to_owned();
    let counters = Asked::Counters {
        canary: text("failed{release=\"{canary}\"}"),
        canary_of: text("all{release=\"{canary}\"}"),
        baseline: text("failed{release=\"{baseline}\"}"),
        baseline_of: text("all{release=\"{baseline}\"}"),
    };
    let (url, token) = (text("https://prometheus.example.org"), Some(text("prometheus")));
    let number = Asked::Number { canary: text("/of/canary/0"), baseline: Some(text("/of/baseline/0")) };
    let sources = [
        ("jobs", Source::Prometheus(Prometheus { url, ask: counters, token })),
        ("queue", Source::Http(Http { url: text("http://10.0.0.7/{app}"), ask: number, token: None })),
        ("orders", Source::Command(Command { name: text("orders"), arguments: vec![text("{canary}")] })),
        ("restarts", Source::Service { what: OfService::Restarts }),
        ("memory", Source::Service { what: OfService::MemorySlope }),
    ];
    let mut judging = Judging::of_requests(Drawn::Client);
    let events = judging.plan.kpis[&name("errors")].measure.clone();
    let bound = Bound {
        worse_than: Some(Factor::from_thousandths(1250)),
        limit: Number::new(0.5),
        is_low_bad: false,
        is_part: false,
    };
    let low = Bound { is_low_bad: true, limit: None, ..bound.clone() };
    let measures: BTreeMap<&str, Measure> = BTreeMap::from([
        ("jobs", events),
        ("queue", Measure::Number(bound.clone())),
        ("orders", Measure::Number(low)),
        ("restarts", Measure::Number(bound.clone())),
        ("memory", Measure::Number(bound)),
    ]);
    for (kpi, source) in sources {
        let silence = Silence { patience: Duration::from_secs(30), then: Then::GoOn };
        let warm_up = Duration::from_secs(5);
        let measure = measures[kpi].clone();
        judging.plan.kpis.insert(name(kpi), Kpi { weight: 2, measure, silence, warm_up });
        judging.sources.insert(name(kpi), source);
    }
    judging.on_unknown = OnUnknown::Promote;
    assert_eq!(judging.check(), Ok(()));
    Policy { judging: Some(judging), ..Policy::default() }
}

fn name(text: &str) -> KpiName {
    text.parse().unwrap()
}
