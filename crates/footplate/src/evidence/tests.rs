//! The evidence of one judgement as people see it, frozen.

use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::verdict::{Cuts, Drawn, Plan, Reading, Recording, Said, Side, Split};

use super::{Sample, Shown, Subject};

const BEGAN: Moment = Moment::from_millis(1_763_758_074_000);

fn subject(canary: &str) -> Subject {
    Subject {
        title: "shop in production, deployment 7".to_owned(),
        canary: canary.to_owned(),
        baseline: "1.2".to_owned(),
        ended: None,
        said_then: None,
    }
}

/// Returns what is heard of a canary that gets a tenth of 1,000 requests a second, of which so many fail in each.
pub fn recording(seconds: u64, failed: u64) -> Recording {
    let mut plan = Plan::of_requests(Drawn::Request);
    plan.kpis.retain(|name, _| name.as_str() != "latency.p90");
    let mut recording = Recording::new(plan, BEGAN, Cuts::default());
    for second in 1..=seconds {
        let split = |canary, baseline| Split {
            canary: Side { of: 100, events: canary },
            baseline: Side { of: 900, events: baseline },
            causes: None,
            busiest: None,
        };
        let late = || Said::Events(split(50, 450));
        let mut kpis =
            [("errors", Said::Events(split(failed, 4))), ("latency.p50", late())].map(named).to_vec();
        if second < 5 {
            kpis.push(named(("latency.p99", Said::Events(split(1, 9)))));
        } else {
            kpis.push(named(("latency.p99", Said::Nothing("the router is <silent>".to_owned()))));
        }
        recording.readings.push(Reading {
            at: BEGAN + Duration::from_secs(second),
            over: Duration::from_secs(1),
            share: Some("10%".parse().unwrap()),
            kpis: kpis.into_iter().collect(),
        });
    }
    recording
}

fn named((name, said): (&str, Said)) -> (footplate_core::verdict::KpiName, Said) {
    (name.parse().unwrap(), said)
}

fn sample(second: u64, path: &str) -> Sample {
    Sample {
        at: BEGAN + Duration::from_secs(second),
        is_canarys: second != 3,
        method: "GET".to_owned(),
        path: path.to_owned(),
        end: "502".to_owned(),
        took: Duration::from_millis(12),
    }
}

fn bad() -> Shown {
    let samples = vec![
        sample(1, "/checkout"),
        sample(3, "/cart"),
        sample(2, "/<script>alert(\"x\")</script>\u{1b}[31m"),
    ];
    let subject = Subject {
        ended: Some("`production.shop` went back to `1.2`: worse: `errors`".to_owned()),
        ..subject("1.3+2")
    };
    Shown::new(subject, &recording(60, 10), samples).unwrap()
}

#[test]
fn a_release_that_is_worse_is_shown_with_all_that_it_rests_on() {
    insta::assert_snapshot!(bad().to_string());
}

#[test]
fn what_nobody_knows_yet_is_shown_as_such() {
    let shown = Shown::new(subject("1.3"), &recording(3, 1), Vec::new()).unwrap();
    assert_eq!(shown.word(), "unknown");
    insta::assert_snapshot!(shown.to_string());
}

#[test]
fn the_page_is_whole_and_asks_nobody_for_anything() {
    let page = bad().page();
    for forbidden in ["<script", "http:", "https:", "src=", "href=", "url(", "@import", "\u{1b}"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(
        page.contains("/&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"),
        "what a client sends means nothing"
    );
    assert_eq!(page.matches("<figure>").count(), 1 + 3, "the evidence and each KPI");
    assert!(page.contains(&footplate_sentence()), "the sentence that decided stands in it");
    insta::assert_snapshot!(page);
}

/// The deciding sentence as the page writes it.
fn footplate_sentence() -> String {
    let sentence = bad().verdict.sentence;
    sentence.split('`').next().unwrap().to_owned()
}

#[test]
fn nothing_heard_is_nothing_drawn_and_no_fault() {
    let shown = Shown::new(subject("1.3"), &recording(0, 0), Vec::new()).unwrap();
    assert!(shown.to_string().contains("unknown") && shown.page().contains("</html>"));
}

#[test]
fn programs_read_the_same() {
    let json = serde_json::to_value(bad()).unwrap();
    assert_eq!(json["verdict"]["finding"]["worse"]["kpi"], "errors");
    assert_eq!(json["samples"][0]["path"], "/cart", "the newest first");
    assert_eq!(json["courses"]["errors"][0]["canary"], 0.1);
}
