//! What a file says of KPIs, and what judges then.

use std::time::Duration;

use footplate_core::verdict::source::{Asked, Command, OfService, Prometheus};
use footplate_core::verdict::{Drawn, Factor, Judging, Measure, OnUnknown, Source};

use crate::config::app::AppConfig;

const STEPS: &str = "app = \"shop\"\n[service.web]\ncommand = \"serve\"\n[rollout]\nstrategy = \"canary\"\n";

/// Returns what judges in an environment of this file.
fn judging(text: &str, environment: &str) -> Option<Judging> {
    let config =
        AppConfig::parse("footplate.toml", text).unwrap_or_else(|mistakes| panic!("{}", mistakes.render()));
    config.environments[&environment.parse().unwrap()].judging.clone()
}

fn told(kpi: &str) -> String {
    AppConfig::parse("footplate.toml", &format!("{STEPS}{kpi}\n")).expect_err("it has a mistake").render()
}

fn measure<'a>(judging: &'a Judging, name: &str) -> &'a Measure {
    &judging.plan.kpis[&name.parse().unwrap()].measure
}

fn source<'a>(judging: &'a Judging, name: &str) -> &'a Source {
    &judging.sources[&name.parse().unwrap()]
}

#[test]
fn a_release_with_a_port_is_judged_by_its_requests_once_it_is_asked_for() {
    assert_eq!(judging(STEPS, "production"), None);
    let asked = format!("{STEPS}[judge]\n");
    assert_eq!(judging(&asked, "production"), Some(Judging::of_requests(Drawn::Request)));
    let sticky = asked.replace("\"serve\"", "\"serve\"\nsticky = { address = true }");
    assert_eq!(judging(&sticky, "production"), Some(Judging::of_requests(Drawn::Client)));
    let barrier = asked.replace("canary", "barrier");
    assert_eq!(judging(&barrier, "production"), Some(Judging::of_requests(Drawn::Request)));
    assert_eq!(
        judging(&format!("{asked}enabled = false\n[kpi.errors]\nworse_than = \"2x\"\n"), "production"),
        None
    );
}

#[test]
fn tables_by_which_nobody_would_judge_are_mistakes() {
    let told = |text: &str| AppConfig::parse("footplate.toml", text).expect_err("it has a mistake").render();
    let asked = format!("{STEPS}[judge]\n");
    assert!(told("app = \"shop\"\n[judge]\n").contains("files and hooks have nothing that runs"));
    assert!(told(&asked.replace("web", "worker")).contains("nobody would judge: there is no KPI"));
    let out = ["errors", "\"latency.p50\"", "\"latency.p90\"", "\"latency.p99\""]
        .map(|kpi| format!("[kpi.{kpi}]\nenabled = false\n"));
    assert!(told(&format!("{asked}{}", out.concat())).contains("there is no KPI"));
    assert!(told(&format!("{asked}after = \"45s\"\n")).contains("`after` is too short to find anything"));
    assert_eq!(judging(&format!("{asked}after = \"0s\"\n"), "production").unwrap().after, Duration::ZERO);
}

#[test]
fn an_environment_changes_what_it_says_and_nothing_else() {
    let text = format!(
        "{STEPS}[judge]\nafter = \"1h\"\n[kpi.errors]\nworse_than = \"2x\"\n[kpi.\"latency.p50\"]\nenabled = false\n\
         [environments.production]\nhosts = \"*\"\n[environments.staging]\nhosts = \"*\"\n\
         [environments.staging.judge]\non_unknown = \"promote\"\n[environments.staging.kpi.errors]\nfine_below = \"1%\"\n"
    );
    let (production, staging) = (judging(&text, "production").unwrap(), judging(&text, "staging").unwrap());
    assert_eq!((production.on_unknown, staging.on_unknown), (OnUnknown::Hold, OnUnknown::Promote));
    assert_eq!(staging.after, Duration::from_secs(3600));
    assert_eq!(staging.plan.kpis.len(), 3);
    let Measure::Events(errors) = measure(&staging, "errors") else { panic!("errors are events") };
    assert_eq!(errors.worse_than, Some(Factor::from_thousandths(2000)));
    assert_eq!(errors.not_worse_than, Factor::from_thousandths(4000), "it moves with `worse_than`");
    assert_eq!(errors.fine_below, Some("1%".parse().unwrap()));
    let Measure::Events(errors) = measure(&production, "errors") else { panic!("errors are events") };
    assert_eq!(errors.fine_below, Some("0.1%".parse().unwrap()));
}

#[test]
fn every_kind_of_source_is_read() {
    let text = "app = \"shop\"\n[service.worker]\ncommand = \"work\"\n\
        [kpi.jobs]\nsource = \"prometheus\"\nurl = \"http://127.0.0.1:9090\"\ncanary = \"a\"\ncanary_of = \"b\"\nbaseline = \"c\"\nbaseline_of = \"d\"\n\
        [kpi.age]\nsource = \"http\"\nurl = \"http://127.0.0.1/age\"\ncanary = \"/age\"\nlimit = 2.5\n\
        [kpi.orders]\nsource = \"command\"\ncommand = \"orders\"\narguments = [\"{canary}\"]\nsays = \"number\"\nworse_than = \"1.5x\"\nlow_is_bad = true\n\
        [kpi.restarts]\nsource = \"service\"\nwhat = \"restarts\"\n";
    let judging = judging(text, "production").expect("tables judge without steps as well");
    assert_eq!(judging.plan.kpis.len(), 4);
    let texts = |source: &Source| match source {
        Source::Prometheus(Prometheus { ask, .. }) => ask.texts().map(str::to_owned).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    assert_eq!(texts(source(&judging, "jobs")), ["a", "c", "b", "d"]);
    let Source::Http(http) = source(&judging, "age") else { panic!("it is asked by HTTP") };
    assert_eq!(http.ask, Asked::Number { canary: "/age".to_owned(), baseline: None });
    let command = Command { name: "orders".to_owned(), arguments: vec!["{canary}".to_owned()] };
    assert_eq!(source(&judging, "orders"), &Source::Command(command));
    assert_eq!(source(&judging, "restarts"), &Source::Service { what: OfService::Restarts });
    let Measure::Number(orders) = measure(&judging, "orders") else { panic!("it is a number") };
    assert!(orders.is_low_bad);
}

#[test]
fn a_kpi_that_nobody_could_judge_by_is_a_mistake_that_says_why() {
    for (kpi, expected) in [
        ("[kpi.orders]", "`kpi.orders.source` is missing"),
        ("[kpi.orders]\nsource = \"router\"", "a router does not count it"),
        ("[kpi.errors]\nsource = \"prometeus\"", "did you mean `prometheus`?"),
        ("[kpi.errors]\nsource = \"prometheus\"", "does not say what is asked"),
        (
            "[kpi.age]\nsource = \"prometheus\"\ncanary = \"x\"\nworse_than = \"1x\"",
            "`kpi.age.url` is missing",
        ),
        (
            "[kpi.age]\nsource = \"prometheus\"\nurl = \"http://h\"\ncanary = \"x\"\nworse_than = \"1x\"",
            "compares with the baseline",
        ),
        (
            "[kpi.age]\nsource = \"prometheus\"\nurl = \"http://h\"\ncanary = \"x\"\nbaseline = \"y\"",
            "neither `worse_than` nor `limit`",
        ),
        ("[kpi.orders]\nsource = \"command\"", "`kpi.orders.command` is missing"),
        ("[kpi.orders]\nsource = \"command\"\ncommand = \"../x\"", "names no program"),
        ("[kpi.memory]\nsource = \"service\"", "`kpi.memory.what` is missing"),
        ("[kpi.errors]\nworse_than = 1", "expected a text in quotes"),
        ("[kpi.errors]\nworse_then = \"1x\"", "did you mean `worse_than`?"),
        ("[kpi.errors]\nlimit = 3", "unknown key `kpi.errors.limit`"),
        ("[kpi.errors]\nnot_worse_than = \"1x\"", "equality can never be proved"),
        ("[kpi.\"a b\"]", "this is no KPI's name"),
        ("[judge]\nfalse_rollback = \"0%\"", "more than 0% and at most 50%"),
        ("[judge]\non_unknown = \"wait\"", "expected \"hold\" or \"promote\" or \"rollback\""),
    ] {
        let told = told(kpi);
        assert!(told.contains(expected), "{kpi}:\n{told}");
    }
}
