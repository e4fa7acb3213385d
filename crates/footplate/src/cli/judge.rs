//! `footplate judge`.

mod files;
mod prometheus;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use footplate_core::moment::Moment;
use footplate_core::traffic::Share;
use footplate_core::verdict::kpi::{Bound, Counting, Tolerance};
use footplate_core::verdict::{Drawn, Factor, Finding, KpiName, Measure, Number, Plan, Recording};

use super::Operator;
use crate::config::duration;
use crate::evidence::{Shown, Subject};
use crate::failure::{Exit, Failure};

/// Judge one version beside another, without any deployment: by files, by Prometheus, or by what was recorded
///
/// Ends with 0 when it is not worse, with 1 when it is worse, and with 4 when nobody knows. docs/reference/judge.md shows the formats.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("input").required(true).multiple(false).args(["canary", "recording"])),
    after_help = "Examples:
  footplate judge --canary new.csv --baseline old.csv
  footplate judge --canary new.jsonl --baseline old.jsonl --html verdict.html
  footplate judge --recording verdict.json
  footplate judge --prometheus http://127.0.0.1:9090 --from 30m \\
      --canary 'failed_total{version=\"2\"}' --canary-of 'all_total{version=\"2\"}' \\
      --baseline 'failed_total{version=\"1\"}' --baseline-of 'all_total{version=\"1\"}'
  footplate judge --prometheus http://127.0.0.1:9090 --watch 30m --canary 'queue_age{version=\"2\"}' --limit 30"
)]
pub struct JudgeArgs {
    /// What the new version did: a file, or with --prometheus a query
    #[arg(long, value_name = "FILE|QUERY")]
    canary: Option<String>,
    /// What the version before did at the same time
    #[arg(long, value_name = "FILE|QUERY", conflicts_with = "recording")]
    baseline: Option<String>,
    /// Recording to judge again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prometheus", "worse_than", "share"])]
    recording: Option<PathBuf>,
    /// Name of the KPI [default: errors, or number]
    #[arg(long, value_name = "NAME", conflicts_with = "recording")]
    kpi: Option<KpiName>,
    #[command(flatten)]
    rules: Rules,
    #[command(flatten)]
    prometheus: prometheus::PrometheusArgs,
    /// Move the baseline's file in time so that both begin at once; finds nothing that both suffer from
    #[arg(long, conflicts_with_all = ["recording", "prometheus"])]
    align: bool,
    /// Write what was heard to a file, which --recording judges again
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Write the evidence as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What is too much, and how surely it is found.
#[derive(Args, Debug)]
struct Rules {
    /// Worse is: more than so many times as often, or as much [default: 1x for events]
    #[arg(long, value_name = "FACTOR")]
    worse_than: Option<Factor>,
    /// Not worse is: proved to happen less than so many times as often [default: 2x]
    #[arg(long, value_name = "FACTOR")]
    not_worse_than: Option<Factor>,
    /// So small a part of the requests does not matter [default: 0.1%]
    #[arg(long, value_name = "PART")]
    fine_below: Option<Share>,
    /// Worse is a number above this
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    limit: Option<Number>,
    /// A small number is the bad one
    #[arg(long)]
    low_is_bad: bool,
    /// How often a version that is not worse may be called worse, however long it is watched
    #[arg(long, default_value = "1%", value_name = "PART")]
    false_rollback: Share,
    /// How often a version that is as bad as --not-worse-than may be called not worse
    #[arg(long, default_value = "5%", value_name = "PART")]
    false_promotion: Share,
    /// Share of the requests that the new version got, where each was drawn at random [default: as measured]
    #[arg(long, value_name = "PART")]
    share: Option<Share>,
    /// Take each failed request for a fact of its own: faster, and wrong where one client fails many times
    #[arg(long)]
    independent: bool,
}

/// What is judged of the input.
struct Judged {
    recording: Recording,
    subject: Subject,
}

/// Judges, shows the evidence, and ends by what was found.
pub async fn judge(operator: &Operator, args: &JudgeArgs) -> Result<(), Failure> {
    let judged = match (&args.recording, args.prometheus.is_given()) {
        (Some(file), _) => read_recording(file)?,
        (None, true) => prometheus::judge(operator, args).await?,
        (None, false) => files::judge(args)?,
    };
    let shown = Shown::new(judged.subject, &judged.recording, Vec::new());
    let shown = shown.map_err(|error| Failure::new(Exit::Usage, "cannot judge this").because(&error))?;
    if let Some(file) = &args.save {
        let text = serde_json::to_string(&judged.recording).expect("a recording has text keys only");
        write(file, &(text + "\n"))?;
    }
    if let Some(file) = &args.html {
        write(file, &shown.page())?;
    }
    operator.ui.show(&shown)?;
    match shown.verdict.finding {
        Finding::NotWorse => Ok(()),
        Finding::Worse { .. } => Err(Failure::new(Exit::Failed, "the canary is worse than the baseline")),
        Finding::Unknown(_) => {
            Err(Failure::new(Exit::Deadline, "nobody knows yet whether the canary is worse")
                .next("judge more requests: for longer, or with a larger share"))
        }
    }
}

fn read_recording(file: &Path) -> Result<Judged, Failure> {
    let recording: Recording = serde_json::from_str(&read(file)?).map_err(|error| {
        unusable(file)
            .because(&error)
            .next("give a file that `footplate judge --save` or the controller wrote")
    })?;
    let subject = subject("recording", "canary", "baseline");
    Ok(Judged { recording, subject })
}

impl Rules {
    /// Returns by what is judged: the errors of requests, and how long they took where that is known.
    fn of_requests(
        &self,
        name: Option<&KpiName>,
        has_times: bool,
        patience: Duration,
    ) -> Result<Plan, Failure> {
        let mut plan = Plan::of_requests(Drawn::Request);
        if !has_times {
            plan.kpis.retain(|name, _| name.as_str() == "errors");
        }
        let errors: KpiName = "errors".parse().expect("it is a name");
        if let Some(kpi) = plan.kpis.get_mut(&errors)
            && let Measure::Events(tolerance) = &mut kpi.measure
        {
            self.change(tolerance);
        }
        if let Some(kpi) = name.and_then(|_| plan.kpis.remove(&errors)) {
            plan.kpis.insert(name.cloned().unwrap_or(errors), kpi);
        }
        self.finish(plan, patience)
    }

    /// Returns by what a number alone is judged.
    fn of_number(&self, name: Option<&KpiName>, patience: Duration) -> Result<Plan, Failure> {
        let mut plan = Plan::of_requests(Drawn::Request);
        let kpi = plan.kpis.values().next().cloned().expect("requests have KPIs");
        let bound = Bound {
            worse_than: self.worse_than,
            limit: self.limit,
            is_low_bad: self.low_is_bad,
            is_part: false,
        };
        let name = name.cloned().unwrap_or_else(|| "number".parse().expect("it is a name"));
        let kpi = footplate_core::verdict::Kpi { weight: 1, measure: Measure::Number(bound), ..kpi };
        plan.kpis = [(name, kpi)].into();
        self.finish(plan, patience)
    }

    fn change(&self, tolerance: &mut Tolerance) {
        tolerance.worse_than = self.worse_than.or(tolerance.worse_than);
        let doubled =
            self.worse_than.map(|factor| Factor::from_thousandths((factor.value() * 2000.0) as u32));
        tolerance.not_worse_than = self.not_worse_than.or(doubled).unwrap_or(tolerance.not_worse_than);
        tolerance.fine_below = self.fine_below.or(tolerance.fine_below);
        if self.independent {
            tolerance.counting = Counting::Looks;
        }
    }

    fn finish(&self, mut plan: Plan, patience: Duration) -> Result<Plan, Failure> {
        plan.false_rollback = self.false_rollback;
        plan.false_promotion = self.false_promotion;
        for kpi in plan.kpis.values_mut() {
            kpi.silence.patience = patience;
        }
        match plan.check() {
            Ok(()) => Ok(plan),
            Err(error) => Err(Failure::new(Exit::Usage, "cannot judge by this")
                .because(&error)
                .next("see `footplate judge --help`")),
        }
    }
}

fn subject(title: &str, canary: &str, baseline: &str) -> Subject {
    Subject {
        title: title.to_owned(),
        canary: canary.to_owned(),
        baseline: baseline.to_owned(),
        ended: None,
        said_then: None,
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| unusable(file).because(&error).next("name a file that can be read"))
}

fn unusable(file: &Path) -> Failure {
    Failure::new(Exit::Usage, format!("cannot use `{}`", file.display()))
}

pub(super) fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot write `{}`", file.display()))
            .because(&error)
            .next("name a file in a folder that can be written")
    })
}

/// Parses a moment: `2026-11-21T20:47:54Z`, seconds since 1970, or a length of time before now.
fn parse_moment(text: &str, now: Moment) -> Result<Moment, String> {
    if let Some(at) = absolute(text) {
        return Ok(at);
    }
    duration::parse(text).map(|length| now - length).map_err(|_| {
        format!("`{text}` is no moment: write \"2026-11-21T20:47:54Z\", seconds since 1970, or how long ago: \"30m\"")
    })
}

/// Parses a moment that does not depend on the present one.
fn absolute(text: &str) -> Option<Moment> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..1e12).contains(seconds));
    let millis = match seconds {
        Some(seconds) => (seconds * 1000.0).round() as u64,
        None => u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()?,
    };
    Some(Moment::from_millis(millis))
}
