//! Two versions by queries to a Prometheus server: of a time that is over, or as it goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use footplate_core::moment::{Moment, in_words};
use footplate_core::name::AppPath;
use footplate_core::verdict::source::{Asked, Names, Prometheus, Source};
use footplate_core::verdict::{
    Cuts, Judge, KpiName, Measure, Plan, Reading, Recording, Said, judge::Standing,
};
use footplate_drivers::kpi::prometheus::Prometheus as Server;
use footplate_drivers::kpi::{self, Settings, Token};

use super::{JudgeArgs, Judged, parse_moment, subject};
use crate::cli::Operator;
use crate::clock::now;
use crate::config::duration;
use crate::failure::{Exit, Failure};

/// The name under which the token's file stands among those of this machine.
const TOKEN: &str = "judge";
/// The most moments of a past time.
const STEPS_MAX: u128 = 11_000;

/// A Prometheus server and when it is asked.
#[derive(Args, Debug)]
pub struct PrometheusArgs {
    /// Ask this Prometheus server; --canary and --baseline are queries then
    #[arg(long, value_name = "URL", requires = "canary")]
    prometheus: Option<String>,
    /// Of how many: then --canary and this are counters
    #[arg(long, value_name = "QUERY", requires_all = ["prometheus", "baseline_of", "baseline"])]
    canary_of: Option<String>,
    /// The baseline's
    #[arg(long, value_name = "QUERY", requires = "canary_of")]
    baseline_of: Option<String>,
    /// File that holds the token for the Prometheus server
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    prometheus_token_file: Option<PathBuf>,
    /// Authority to trust for a Prometheus server over https, as a PEM file [default: the system's]
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    prometheus_ca_file: Option<PathBuf>,
    /// Judge the time from then on: how long ago, a date with time, or seconds since 1970
    #[arg(long, value_name = "WHEN", requires = "prometheus", conflicts_with = "watch")]
    from: Option<String>,
    /// Until then [default: now]
    #[arg(long, value_name = "WHEN", requires = "from")]
    until: Option<String>,
    /// Look so often
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration::parse)]
    step: Duration,
    /// Judge as it goes, until something is proved or this time is over
    #[arg(long, value_name = "TIME", requires = "prometheus", value_parser = duration::parse)]
    watch: Option<Duration>,
}

impl PrometheusArgs {
    /// Tells whether a server is to be asked.
    pub fn is_given(&self) -> bool {
        self.prometheus.is_some()
    }

    fn source(&self, args: &JudgeArgs) -> Prometheus {
        let canary = args.canary.clone().unwrap_or_default();
        let baseline = args.baseline.clone();
        let ask = match (baseline, self.canary_of.clone(), self.baseline_of.clone()) {
            (Some(baseline), Some(canary_of), Some(baseline_of)) => {
                Asked::Counters { canary, canary_of, baseline, baseline_of }
            }
            (baseline, _, _) => Asked::Number { canary, baseline },
        };
        let token = self.prometheus_token_file.as_ref().map(|_| TOKEN.to_owned());
        Prometheus { url: self.prometheus.clone().unwrap_or_default(), ask, token }
    }

    fn settings(&self) -> Settings {
        let url = self.prometheus.clone().unwrap_or_default();
        let token = self.prometheus_token_file.clone().map(|file| (TOKEN.to_owned(), Token { file, url }));
        Settings {
            commands: None,
            tokens: token.into_iter().collect(),
            ca_file: self.prometheus_ca_file.clone(),
        }
    }
}

/// Asks and makes a recording of the answers.
pub async fn judge(operator: &Operator, args: &JudgeArgs) -> Result<Judged, Failure> {
    let asked = &args.prometheus;
    let source = asked.source(args);
    let step = asked.step.max(Duration::from_secs(1));
    let patience = (step * 3).max(Duration::from_secs(60));
    let plan = match source.ask.is_of_events() {
        true => args.rules.of_requests(args.kpi.as_ref(), false, patience)?,
        false => args.rules.of_number(args.kpi.as_ref(), patience)?,
    };
    let subject = subject(&source.url, "canary", "baseline");
    let recording = match (asked.watch, &asked.from) {
        (Some(watch), _) => follow(operator, args, plan, &source, watch).await?,
        (None, Some(from)) => {
            let recording = replay(args, plan, &source, from).await?;
            if let Some(Said::Nothing(why)) =
                recording.readings.last().and_then(|last| last.kpis.values().next())
            {
                operator.ui.say(format!("in the end nothing was heard: {why}"));
            }
            recording
        }
        (None, None) => {
            return Err(Failure::new(Exit::Usage, "cannot judge without a time")
                .because_of("neither --from nor --watch is there")
                .next("judge what was, `--from 30m`, or what will be, `--watch 30m`"));
        }
    };
    Ok(Judged { recording, subject })
}

/// Judges a time that is over.
async fn replay(args: &JudgeArgs, plan: Plan, source: &Prometheus, from: &str) -> Result<Recording, Failure> {
    let present = now();
    let moment = |text: &str| {
        parse_moment(text, present)
            .map_err(|why| Failure::new(Exit::Usage, "cannot understand the command line").because_of(why))
    };
    let from = moment(from)?;
    let until = args.prometheus.until.as_deref().map_or(Ok(present), moment)?;
    let step = args.prometheus.step.max(Duration::from_secs(1));
    let steps = until.since(from).as_millis() / step.as_millis();
    if !(2..=STEPS_MAX).contains(&steps) {
        return Err(Failure::new(Exit::Usage, "cannot judge this time")
            .because_of(format!("it has {steps} steps; 2 to {STEPS_MAX} can be judged"))
            .next("give other moments, or another --step"));
    }
    let server = Server::open(source, &names(), &args.prometheus.settings()).map_err(unopened)?;
    let told = server.replay(from, until, step).await.map_err(|error| {
        Failure::new(Exit::Unreachable, "cannot ask Prometheus")
            .because(&error)
            .next("check the address and the queries")
    })?;
    let name = kpi_of(&plan)?;
    let mut recording = Recording::new(plan, from - step, Cuts::default());
    recording.readings.extend(told.into_iter().map(|(at, said)| reading(at, step, args, &name, said)));
    Ok(recording)
}

/// Judges as it goes.
async fn follow(
    operator: &Operator,
    args: &JudgeArgs,
    plan: Plan,
    source: &Prometheus,
    watch: Duration,
) -> Result<Recording, Failure> {
    let name = kpi_of(&plan)?;
    let measure = plan.kpis[&name].measure.clone();
    let (began, settings) = (now(), args.prometheus.settings());
    let mut source = open(source, &measure, &settings)?;
    let impossible =
        |error: &dyn std::error::Error| Failure::new(Exit::Usage, "cannot judge by this").because(error);
    let mut judge = Judge::new(plan.clone(), began).map_err(|error| impossible(&error))?;
    let mut recording = Recording::new(plan, began, Cuts::default());
    let (mut ticks, mut latest) = (tokio::time::interval(args.prometheus.step), began);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut trouble = String::new();
    loop {
        let said = source.ask().await;
        if let Said::Nothing(why) = &said
            && *why != trouble
        {
            operator.ui.say(why);
            trouble.clone_from(why);
        }
        let at = now();
        if at > latest {
            let reading = reading(at, at.since(latest), args, &name, said);
            latest = at;
            let standing = judge.hear(&reading).map_err(|error| impossible(&error))?;
            recording.readings.push(reading);
            if standing != Standing::Unknown {
                return Ok(recording);
            }
        }
        if at.since(began) >= watch {
            operator.ui.say(format!("nothing is proved within {}", in_words(watch)));
            return Ok(recording);
        }
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(recording),
        }
    }
}

fn open(source: &Prometheus, measure: &Measure, settings: &Settings) -> Result<kpi::Kpi, Failure> {
    let opened = kpi::open(&Source::Prometheus(source.clone()), measure, &names(), settings);
    Ok(opened.map_err(unopened)?.expect("Prometheus is asked here"))
}

fn unopened(error: kpi::KpiOpenError) -> Failure {
    let failure = Failure::new(Exit::Usage, "cannot ask Prometheus").because(&error);
    failure.next("give its address as http://HOST:PORT or https://HOST; a token goes by https, or stays on this machine")
}

fn reading(at: Moment, over: Duration, args: &JudgeArgs, name: &KpiName, said: Said) -> Reading {
    Reading { at, over, share: args.rules.share, kpis: BTreeMap::from([(name.clone(), said)]) }
}

fn kpi_of(plan: &Plan) -> Result<KpiName, Failure> {
    let name = plan.kpis.keys().next().cloned();
    name.ok_or_else(|| Failure::new(Exit::Usage, "cannot judge by this").because_of("there is no KPI"))
}

/// Nothing is filled into queries that a person types.
fn names() -> Names {
    let path = AppPath {
        app: "app".parse().expect("it is a name"),
        environment: "environment".parse().expect("it is a name"),
    };
    let release = |text: &str| text.parse().expect("it is a name");
    Names { path, groups: Default::default(), canary: release("canary"), baseline: release("baseline") }
}
