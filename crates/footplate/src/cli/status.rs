//! `footplate status`: what runs where, since when, by whom, is anything drifting, what is it waiting for.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::Args;
use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppName, EnvironmentName, GroupName};
use serde::Serialize;

use super::connection::{Connection, ConnectionArgs};
use super::state::{stage_word, state, unready};
use super::when::ago;
use super::{Operator, traffic, ui, watch};
use crate::api::{
    AppStatus, AppTraffic, GroupStatus, ProblemKind, ReleaseSummary, RolloutStatus, Stage, Status,
    TargetStatus,
};
use crate::client::{Client, ClientError};
use crate::failure::{Exit, Failure};

/// Above so many targets only those are listed that differ from the rest.
const TARGETS_LISTED_MAX: usize = 20;
/// Over how long requests are counted: who looks once wants more than a moment.
const TRAFFIC_OVER: Duration = Duration::from_secs(60);

/// Show what runs where, since when, by whom, what drifts, and what is waited for
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate status                      every app
  footplate status shop --all           one app, every target
  footplate status --json

With more than 20 targets only those are listed that are not as they should be; `--all` lists the rest.
With no controller running the store is read from here, with what controller.toml says.")]
pub struct StatusArgs {
    /// App [default: all]
    app: Option<AppName>,
    /// Environment [default: all]
    #[arg(long, short, value_name = "NAME")]
    environment: Option<EnvironmentName>,
    /// List every target
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Shows what runs where.
pub async fn status(operator: &Operator, args: &StatusArgs) -> Result<(), Failure> {
    let what = "cannot read the status";
    let connection = Connection::look(operator, &args.connection, what).await?;
    let client = &connection.client;
    let told = client.status().await;
    let traffic = read_traffic(operator, client).await;
    connection.close().await;
    let mut status = told.map_err(|error| operator.failed(what, error))?;
    status.apps.retain(|app| {
        args.app.as_ref().is_none_or(|name| *name == app.path.app)
            && args.environment.as_ref().is_none_or(|name| *name == app.path.environment)
    });
    match &args.app {
        Some(app) if status.apps.is_empty() => Err(no_such_app(app)),
        _ => operator.ui.show(&Answer { status, traffic, all: args.all }),
    }
}

/// Reads how requests go. What runs where is shown all the same when that is not known, as an older controller does not.
async fn read_traffic(operator: &Operator, client: &Client) -> Vec<AppTraffic> {
    match client.traffic(None, TRAFFIC_OVER).await {
        Ok(traffic) => traffic,
        Err(ClientError::Problem(problem)) if problem.kind == ProblemKind::Unknown => Vec::new(),
        Err(error) => {
            operator.ui.say(format!("how requests go is not known: {error}"));
            Vec::new()
        }
    }
}

fn no_such_app(app: &AppName) -> Failure {
    Failure::new(Exit::Refused, format!("cannot show `{app}`"))
        .because_of("no such app was deployed")
        .next("see all with `footplate status`; bring a version with `footplate push` and `footplate deploy`")
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    status: Status,
    /// How requests go, of every app with endpoints.
    traffic: Vec<AppTraffic>,
    #[serde(skip)]
    all: bool,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = &self.status;
        if status.apps.is_empty() {
            writeln!(f, "No such app yet. Push a version with `footplate push`, then `footplate deploy`.")?;
        }
        for app in &status.apps {
            self.app(f, app)?;
        }
        let gone: Vec<&str> =
            status.hosts.iter().filter(|host| !host.alive).map(|host| host.host.as_str()).collect();
        let aside =
            status.hosts.iter().filter_map(|host| host.set_aside.as_ref().map(|why| (&host.host, why)));
        for (host, why) in aside {
            writeln!(f, "{host}: {why}")?;
        }
        let count = status.hosts.len();
        match gone.len() {
            0 if count == 1 => write!(f, "1 host alive")?,
            0 => write!(f, "{count} hosts alive")?,
            _ => write!(f, "{} of {count} hosts alive; gone: {}", count - gone.len(), gone.join(", "))?,
        }
        match &status.controller {
            Some(acting) => writeln!(f, "; controller at {}; {}", acting.address, status.store),
            None => writeln!(f, "; no controller acts; {}", status.store),
        }
    }
}

impl Answer {
    fn app(&self, f: &mut fmt::Formatter<'_>, app: &AppStatus) -> fmt::Result {
        let now = self.status.at;
        write!(f, "{} in {}: ", app.path.app, app.path.environment)?;
        match &app.current {
            None => writeln!(f, "nothing runs yet")?,
            Some(current) => {
                let differs =
                    |one: &GroupStatus| one.current.as_ref().is_some_and(|one| one.id != current.id);
                let apart: Vec<_> = app.apart.iter().filter(|(_, one)| differs(one)).collect();
                let is_apart = |group: &GroupName| apart.iter().any(|(other, _)| *other == group);
                runs(f, app, current, |group| !is_apart(group))?;
                since(f, now, app.since, app.by.as_ref())?;
                if let Some(summary) = &current.summary {
                    writeln!(f, "  {summary}")?;
                }
                for (name, one) in &apart {
                    let Some(current) = &one.current else { continue };
                    write!(f, "  {name}: ")?;
                    runs(f, app, current, |group| group == *name)?;
                    since(f, now, one.since, one.by.as_ref())?;
                }
            }
        }
        if let Some(rollout) = &app.rollout {
            self.rollout(f, rollout)?;
        }
        if let Some(gate) = &app.gate {
            writeln!(f, "  gate closed: {gate}")?;
        }
        if let Some(waiting) = &app.waiting {
            let since = ago(self.status.at, waiting.since);
            writeln!(f, "  {}; {} ordered it {since}", waiting.sentence, waiting.actor)?;
        }
        if let Some(traffic) = self.traffic.iter().find(|traffic| traffic.path == app.path) {
            requests(f, traffic)?;
        }
        self.targets(f, app)
    }

    fn rollout(&self, f: &mut fmt::Formatter<'_>, rollout: &RolloutStatus) -> fmt::Result {
        let record = &rollout.record;
        let begun = ago(self.status.at, record.begun_at);
        let some = if record.is_partial { format!(" of {}", watch::moved(record)) } else { String::new() };
        let (number, to, by) = (record.number, &record.to.id, &record.actor);
        writeln!(f, "  rollout {number}{some} to {to}, begun {begun} by {by}")?;
        if let Some(step) = &rollout.step {
            writeln!(f, "    {step}")?;
        }
        writeln!(f, "    {}", rollout.sentence)?;
        if rollout.unattended {
            writeln!(f, "    unattended: no controller acts; the next one to start goes on with it")?;
        }
        Ok(())
    }

    fn targets(&self, f: &mut fmt::Formatter<'_>, app: &AppStatus) -> fmt::Result {
        let few = app.targets.len() <= TARGETS_LISTED_MAX;
        let listed = app.targets.iter().filter(|target| self.all || few || needs_a_look(target));
        let rows: Vec<Vec<String>> = listed.map(|target| self.row(target)).collect();
        if !rows.is_empty() {
            let heading = ["TARGET", "RUNS", "SINCE", "STATE"];
            let table = ui::table(&heading, rows);
            table.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        if !self.all && !few {
            for (stage, count) in counted(app) {
                writeln!(f, "    {count} {stage}")?;
            }
        }
        writeln!(f)
    }

    fn row(&self, target: &TargetStatus) -> Vec<String> {
        vec![
            target.target.to_string(),
            target.live.as_ref().map_or("-".to_owned(), ToString::to_string),
            target.live_since.map_or(String::new(), |since| ago(self.status.at, since)),
            state(target, self.status.at),
        ]
    }
}

/// Writes on how many targets of these process groups a release runs.
fn runs(
    f: &mut fmt::Formatter<'_>,
    app: &AppStatus,
    release: &ReleaseSummary,
    is_of: impl Fn(&GroupName) -> bool,
) -> fmt::Result {
    let targets = || app.targets.iter().filter(|target| is_of(&target.target.group));
    let runs = targets().filter(|target| target.live.as_ref() == Some(&release.id)).count();
    write!(f, "{} on {runs} of {} targets", release.id, targets().count())
}

/// Writes since when something runs, and who ordered it.
fn since(f: &mut fmt::Formatter<'_>, now: Moment, since: Option<Moment>, by: Option<&Actor>) -> fmt::Result {
    if let Some(since) = since {
        write!(f, ", since {}", ago(now, since))?;
    }
    by.map_or(Ok(()), |by| write!(f, " by {by}"))?;
    writeln!(f)
}

/// Writes how requests go to each release.
fn requests(f: &mut fmt::Formatter<'_>, app: &AppTraffic) -> fmt::Result {
    match traffic::over(app) {
        Some(over) => writeln!(f, "  requests, {over}")?,
        None => writeln!(f, "  requests, not known")?,
    }
    let rows = traffic::rows(app).into_iter().map(Vec::from);
    ui::table(&traffic::HEADING, rows).lines().try_for_each(|line| writeln!(f, "    {line}"))?;
    traffic::silence(app).map_or(Ok(()), |silence| writeln!(f, "    {silence}"))
}

fn needs_a_look(target: &TargetStatus) -> bool {
    let is_at_rest = !matches!(target.stage, Stage::Failed | Stage::Gone);
    !is_at_rest || target.drift.is_some() || !target.failed.is_empty() || unready(target).is_some()
}

fn counted(app: &AppStatus) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for target in &app.targets {
        *counts.entry(stage_word(target.stage)).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use footplate_core::target::{Readiness, Up};

    use super::*;
    use crate::cli::fixture::{self, app, failed_prepare, rollout, status, target, traffic, unknown_traffic};

    fn shown(status: Status) -> String {
        Answer { status, traffic: Vec::new(), all: false }.to_string()
    }

    #[test]
    fn it_says_what_runs_where_and_since_when() {
        let mut drifting = target("web-2", "1", &["1"], Stage::Converging);
        drifting.drift = Some("`live` was removed".to_owned());
        let targets = vec![target("web-1", "1", &["1"], Stage::Steady), drifting];
        insta::assert_snapshot!(shown(status(vec![app(targets, None)])));
    }

    #[test]
    fn it_says_that_a_service_is_not_ready() {
        let mut ill = target("web-2", "1", &["1"], Stage::Steady);
        let since = Moment::from_millis(fixture::NOW.as_millis() - 90_000);
        let up = |readiness| Some(Up { readiness, address: None, since, accepted: 0 });
        ill.service = up(Readiness::Unready);
        let mut well = target("web-1", "1", &["1"], Stage::Steady);
        well.service = up(Readiness::Ready);
        let mut targets = vec![well.clone(), ill];
        let shown = |targets: &[TargetStatus]| super::tests::shown(status(vec![app(targets.to_vec(), None)]));
        assert!(shown(&targets).contains("steady\n"), "{}", shown(&targets));
        assert!(
            shown(&targets).contains("steady, but not ready since 1 min 30 s ago"),
            "{}",
            shown(&targets)
        );
        targets.extend((10..40).map(|number| target(&format!("web-{number}"), "1", &["1"], Stage::Steady)));
        assert!(shown(&targets).contains("web-2/files"), "it needs a look: {}", shown(&targets));
    }

    #[test]
    fn it_says_where_a_canary_is() {
        let mut canarys = target("web-1", "1", &["1", "2"], Stage::Prepared);
        let up = Up { readiness: Readiness::Ready, address: None, since: fixture::NOW, accepted: 0 };
        canarys.beside.insert("2".parse().unwrap(), up);
        let targets = vec![canarys, target("web-2", "1", &["1", "2"], Stage::Prepared)];
        let shown = shown(status(vec![app(targets, None)]));
        assert!(shown.contains("prepared; 2 beside it is ready\n"), "{shown}");
    }

    #[test]
    fn it_says_what_each_process_group_runs_when_they_differ() {
        let worker = |host: &str| {
            let mut target = target(host, "2", &["1", "2"], Stage::Steady);
            target.target.group = "worker".parse().expect("a process group");
            target
        };
        let web = |host: &str| target(host, "1", &["1"], Stage::Steady);
        let mut app = app(vec![web("web-1"), worker("web-1"), web("web-2"), worker("web-2")], None);
        let apart = |release: &str| GroupStatus {
            current: Some(ReleaseSummary::from(&fixture::release(release))),
            previous: None,
            proposal: None,
            since: app.since,
            by: Some("bob".parse().expect("a person")),
        };
        let group = |name: &str| name.parse().expect("a process group");
        app.apart = BTreeMap::from([(group("poller"), apart("1")), (group("worker"), apart("2"))]);
        insta::assert_snapshot!(shown(status(vec![app])));
    }

    #[test]
    fn it_says_what_a_rollout_waits_for_and_that_nobody_attends_it() {
        let mut failed = target("web-2", "1", &["1"], Stage::Failed);
        failed.failed.insert("2".parse().expect("a release"), failed_prepare());
        let targets = vec![target("web-1", "1", &["1", "2"], Stage::Prepared), failed];
        let mut waiting = rollout(&targets, "waiting for web-2 (1 of 2 targets prepared), for another 9 min");
        waiting.unattended = true;
        let mut status = status(vec![app(targets, Some(waiting))]);
        status.controller = None;
        insta::assert_snapshot!(shown(status));
    }

    #[test]
    fn many_targets_are_counted_and_only_those_that_need_a_look_are_listed() {
        let mut targets: Vec<_> =
            (10..50).map(|number| target(&format!("web-{number}"), "1", &["1"], Stage::Steady)).collect();
        targets.push(target("web-99", "1", &["1"], Stage::Gone));
        insta::assert_snapshot!(shown(status(vec![app(targets, None)])));
    }

    #[test]
    fn it_says_how_requests_go_and_who_does_not_tell() {
        let targets = vec![target("web-1", "1", &["1"], Stage::Live)];
        let mut moving = rollout(&targets, "waiting for nothing bad to happen to `2`, for another 8 s");
        moving.step = Some("step 2 of 4, watching: 5% of the requests to `2`, on 1 of 3 hosts".to_owned());
        let shown = |traffic| {
            let status = status(vec![app(targets.clone(), Some(moving.clone()))]);
            Answer { status, traffic: vec![traffic], all: false }.to_string()
        };
        insta::assert_snapshot!(shown(traffic()));
        insta::assert_snapshot!("nobody_tells", shown(unknown_traffic()));
    }

    #[test]
    fn an_empty_site_says_what_to_do() {
        insta::assert_snapshot!(shown(status(Vec::new())));
    }
}
