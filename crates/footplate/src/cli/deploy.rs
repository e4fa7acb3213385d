//! `footplate deploy`.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use footplate_core::gate::Fix;
use footplate_core::name::{AppPath, GroupName};
use footplate_core::rollout::{During, Kind, OnFailedActivation, OnVanished, Phase, Portion, StrategyWord};
use footplate_core::traffic::Share;
use serde::Serialize;

use super::Operator;
use super::app::{EnvironmentArgs, GroupArgs, Subject, config_here};
use super::connection::{Connection, ConnectionArgs};
use super::watch;
use crate::api::{self, Overrides, Planned, ProblemKind, RolloutStatus, Wanted};
use crate::client::ClientError;
use crate::config::duration;
use crate::failure::{Exit, Failure};

/// Bring a release to every host of an app, all at once or in steps
///
/// All targets prepare first. When every one has, they switch together; or, with services or another strategy than
/// `barrier`, step by step: `--plan` lists every step with its undo. The command shows the rollout until its end and
/// its exit code tells that end. Ctrl-C stops the watching, not the rollout.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate deploy shop                    the version pushed last
  footplate deploy shop@1.4.2              a version
  footplate deploy shop@3f1c2ab            the commit it was built from
  footplate deploy shop@sha256:…           an artifact's digest
  footplate deploy shop@1.4.2 --plan       only say what would happen
  footplate deploy shop --group worker     one process group; the others stay as they are
  footplate deploy --hold                  prepare everywhere, then wait for `footplate promote`
  footplate deploy shop --strategy canary --ramp 5%,50% --hold-steps
  footplate deploy --during wait           after the rollout that is under way, once that has arrived
  footplate deploy shop@1.4.3 --fix        what mends the version that halted the gate

Exit codes: 0 every target runs it, 1 failed or rolled back, 3 refused, 4 a deadline passed, 5 no controller,
130 Ctrl-C.")]
pub struct DeployArgs {
    /// App and release, as APP, APP@VERSION, APP@COMMIT or APP@DIGEST [default: the app of the nearest
    /// footplate.toml, the version pushed last]
    #[arg(value_name = "APP[@RELEASE]")]
    subject: Option<Subject>,
    #[command(flatten)]
    environment: EnvironmentArgs,
    #[command(flatten)]
    groups: GroupArgs,
    /// Only say what would happen; change nothing
    #[arg(long)]
    plan: bool,
    /// Return when the rollout has begun
    #[arg(long, conflicts_with = "plan")]
    detach: bool,
    /// This mends what halted the gate, and passes it
    #[arg(long)]
    fix: bool,
    /// Why the fix passes freeze windows and the locks of others as well
    #[arg(long, value_name = "TEXT", requires = "fix")]
    despite: Option<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    order: watch::OrderArgs,
    #[command(flatten)]
    rules: RuleArgs,
}

/// What one deploy changes in the app's rules.
#[derive(Args, Debug)]
#[command(next_help_heading = "Rules of this rollout [default: those of footplate.toml]")]
struct RuleArgs {
    /// Wait until at least so many hosts can take part
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: Option<u32>,
    /// How long all targets may take to prepare, such as 10m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    prepare_deadline: Option<Duration>,
    /// How long all targets may take to activate, such as 2m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    activate_deadline: Option<Duration>,
    /// Wait for `footplate promote` before the switch
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    hold: Option<bool>,
    /// How the hosts are moved
    #[arg(long, value_name = "HOW")]
    strategy: Option<StrategyName>,
    /// How many hosts at a time, such as 2 or 20%; for rolling and canary
    #[arg(long, value_name = "COUNT")]
    batch: Option<Portion>,
    /// Shares of the requests, one after the other, such as 1%,10%,50%; for canary
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    ramp: Option<Vec<Share>>,
    /// Wait for `footplate promote` before each step
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    hold_steps: Option<bool>,
    /// How long each step is watched before the next one, such as 30s
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    watch: Option<Duration>,
    /// How long the last step is watched, such as 15m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    soak: Option<Duration>,
    /// What a failed activation means for the other targets
    #[arg(long, value_name = "WHAT")]
    on_failed_activation: Option<FailedActivation>,
    /// What a host that vanished means at the deadline
    #[arg(long, value_name = "WHAT")]
    on_vanished: Option<Vanished>,
    /// What happens when another rollout is under way
    #[arg(long, value_name = "WHAT")]
    during: Option<DuringAnother>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DuringAnother {
    /// This one is refused
    Refuse,
    /// This one begins when the other has arrived; only the newest waits
    Wait,
    /// The other is ended or taken back first
    Replace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum StrategyName {
    /// All at once, when all are prepared
    Barrier,
    /// A batch after the other
    Rolling,
    /// By shares of the requests, then in batches
    Canary,
    /// Beside the old release on every host, then all requests at once
    BlueGreen,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailedActivation {
    /// All targets go back to the release before
    Rollback,
    /// The others stay; the failed ones are tried again
    Keep,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Vanished {
    /// The rollout fails; nothing is switched
    Fail,
    /// The rollout goes on with the others
    GoOn,
}

impl RuleArgs {
    fn overrides(&self) -> Overrides {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Overrides {
            nodes: self.nodes,
            prepare_deadline_ms: self.prepare_deadline.map(millis),
            activate_deadline_ms: self.activate_deadline.map(millis),
            hold: self.hold,
            on_failed_activation: self.on_failed_activation.map(|choice| match choice {
                FailedActivation::Rollback => OnFailedActivation::Rollback,
                FailedActivation::Keep => OnFailedActivation::Keep,
            }),
            on_vanished: self.on_vanished.map(|choice| match choice {
                Vanished::Fail => OnVanished::Fail,
                Vanished::GoOn => OnVanished::GoOn,
            }),
            strategy: self.strategy.map(|choice| match choice {
                StrategyName::Barrier => StrategyWord::Barrier,
                StrategyName::Rolling => StrategyWord::Rolling,
                StrategyName::Canary => StrategyWord::Canary,
                StrategyName::BlueGreen => StrategyWord::BlueGreen,
            }),
            batch: self.batch,
            ramp: self.ramp.clone(),
            hold_steps: self.hold_steps,
            watch_ms: self.watch.map(millis),
            soak_ms: self.soak.map(millis),
            during: self.during.map(|choice| match choice {
                DuringAnother::Refuse => During::Refuse,
                DuringAnother::Wait => During::Wait,
                DuringAnother::Replace => During::Replace,
            }),
        }
    }
}

/// Begins a rollout and shows it until its end.
pub async fn deploy(operator: &Operator, args: &DeployArgs) -> Result<(), Failure> {
    let (app, release) = match &args.subject {
        Some(subject) => (subject.app.clone(), subject.release.clone()),
        None => (config_here()?.1.app, None),
    };
    let path = args.environment.path(app);
    let order = api::Deploy {
        path: path.clone(),
        release: release.unwrap_or(Wanted::Newest),
        groups: args.groups.chosen(),
        overrides: args.rules.overrides(),
        fix: args.fix.then(|| Fix { despite: args.despite.clone() }),
        by: operator.by(args.order.reason.as_deref())?,
    };
    let what = format!("cannot deploy `{}` to {}", path.app, path.environment);
    let connection = Connection::open(operator, &args.connection, &what).await?;
    let client = &connection.client;
    let ended = if args.plan {
        let planned = client.plan(&order).await.map_err(|error| operator.failed(&what, error));
        planned.and_then(|planned| operator.ui.show(&Preview(planned)))
    } else {
        match begin(operator, &connection, &order, &what).await {
            Ok(begun) => {
                let expected = watch::Expected::from(&begun);
                conclude(operator, &connection, &path, (begun, expected), args.detach).await
            }
            Err(failure) => Err(failure),
        }
    };
    connection.close().await;
    ended
}

/// Begins a rollout; one that was left unattended is brought to its end first, as nobody else would.
async fn begin(
    operator: &Operator,
    connection: &Connection,
    order: &api::Deploy,
    what: &str,
) -> Result<Planned, Failure> {
    let client = &connection.client;
    let begun = match client.deploy(order).await {
        Err(ClientError::Problem(problem))
            if problem.kind == ProblemKind::Refused
                && connection.is_own()
                && attend(operator, connection, &order.path).await? =>
        {
            client.deploy(order).await
        }
        begun => begun,
    };
    begun.map_err(|error| operator.failed(what, error))
}

/// Follows what a former controller left under way to its end; tells whether there was something that goes on by itself.
async fn attend(operator: &Operator, connection: &Connection, path: &AppPath) -> Result<bool, Failure> {
    let status = connection.client.status().await;
    let status = status.map_err(|error| operator.failed("cannot read the status", error))?;
    let app = status.apps.into_iter().find(|app| app.path == *path);
    let goes_on = |rollout: &RolloutStatus| {
        rollout.record.paused.is_none() && !matches!(rollout.record.phase, Phase::Holding { .. })
    };
    let Some(rollout) = app.and_then(|app| app.rollout).filter(goes_on) else { return Ok(false) };
    if rollout.ended {
        return Ok(true);
    }
    operator.ui.say(format!("Left unattended, and goes on first: {}.", watch::title(&rollout)));
    let ended = watch::until_the_end(operator, &connection.client, path, (&rollout).into()).await;
    match ended.map_err(|failure| leaving(connection, failure)) {
        Err(failure) if failure.exit() == Exit::Interrupted => Err(failure),
        Err(failure) => {
            operator.ui.say(failure.render());
            Ok(true)
        }
        Ok(()) => Ok(true),
    }
}

/// Adds what it means to stop watching a rollout whose controller ends with this process.
fn leaving(connection: &Connection, failure: Failure) -> Failure {
    match connection.is_own() && failure.exit() == Exit::Interrupted {
        true => failure.because_of(watch::UNATTENDED),
        false => failure,
    }
}

/// Shows a rollout that has begun until its end, or only that it has begun.
pub async fn conclude(
    operator: &Operator,
    connection: &Connection,
    path: &AppPath,
    (begun, expected): (Planned, watch::Expected),
    detach: bool,
) -> Result<(), Failure> {
    let beforehand = begun.waits.iter().chain(&begun.judged).filter(|_| !detach);
    beforehand.for_each(|sentence| operator.ui.say(format!("{sentence}.")));
    if !detach {
        let ended = watch::until_the_end(operator, &connection.client, path, expected).await;
        return ended.map_err(|failure| leaving(connection, failure));
    }
    if connection.is_own() {
        operator.ui.say(watch::UNATTENDED);
    }
    operator.ui.show(&Preview(begun))
}

/// What a rollout does, for the answer.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Preview(pub Planned);

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = &self.0;
        let verb = match planned.kind {
            Kind::Deploy => "deploy",
            Kind::Rollback => "roll back",
        };
        let mut from = planned.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        for (group, other) in &planned.apart {
            write!(from, ", {group} {other}")?;
        }
        let app = match planned.groups.is_empty() {
            true => planned.path.app.to_string(),
            false => format!("{} of {}", joined(&planned.groups), planned.path.app),
        };
        let environment = &planned.path.environment;
        writeln!(f, "{verb} {app} in {environment}, rollout {}: {from} -> {}", planned.number, planned.to)?;
        for (group, release) in &planned.untouched {
            writeln!(f, "  stays as it is: {group}, which runs {release}")?;
        }
        let hosts = planned.required.iter().map(ToString::to_string).collect::<Vec<_>>();
        writeln!(f, "  targets: {}{}", hosts.len(), listed(&hosts))?;
        writeln!(f, "  already prepared: {} of {}", planned.prepared.len(), hosts.len())?;
        if let Some(bytes) = planned.artifact_bytes {
            writeln!(f, "  artifact: {}", indicatif::HumanBytes(bytes))?;
        }
        for (host, why) in &planned.left_out {
            writeln!(f, "  left out: {host}: {why}")?;
        }
        let removes = planned.removes.iter().map(ToString::to_string).collect::<Vec<_>>();
        if !removes.is_empty() {
            writeln!(f, "  cleaned afterwards: {}", removes.join(", "))?;
        }
        for line in &planned.judged {
            writeln!(f, "  {line}")?;
        }
        for (index, step) in planned.steps.iter().enumerate() {
            writeln!(f, "  {}. {}", index + 1, step.replace('\n', "\n     "))?;
        }
        Ok(())
    }
}

fn joined(groups: &BTreeSet<GroupName>) -> String {
    groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn listed(hosts: &[String]) -> String {
    const SHOWN: usize = 10;
    match hosts.len() {
        0 => String::new(),
        1..=SHOWN => format!(" ({})", hosts.join(", ")),
        more => format!(" ({}, and {} more)", hosts[..SHOWN].join(", "), more - SHOWN),
    }
}
