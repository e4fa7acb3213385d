//! Follows one branch: every new commit is built, pushed, deployed and shown; one that fails changes nothing and says why.
//!
//! Invariants: one commit at a time, the newest; a commit that failed is not tried again until there is another.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use footplate_core::gate::Fix;
use footplate_core::name::{Actor, AppPath};
use footplate_drivers::build::Workshop;
use footplate_drivers::source::{Commit, Git, Source, SourceError};
use tokio_util::sync::CancellationToken;

use super::{Plan, board};
use crate::api::{AppStatus, By, Deploy, Overrides, RolloutStatus, Status, Wanted};
use crate::cli::{Operator, watch};
use crate::client::Client;
use crate::config::app::AppConfig;
use crate::failure::{Exit, Failure, printable_line};
use crate::ship;

/// How often the branch is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for the agents to join before the first deployment.
const JOIN_DEADLINE: Duration = Duration::from_secs(30);

/// A watch on one app's repository.
pub struct Watch<'a> {
    operator: &'a Operator,
    plan: &'a Plan,
    client: &'a Client,
    /// Where services are reached.
    router: SocketAddr,
    source: Git,
    root: PathBuf,
    workshop: Workshop,
    actor: Actor,
    /// Whether the steps to try were shown.
    is_introduced: Cell<bool>,
}

impl<'a> Watch<'a> {
    /// Prepares to follow `source`, whose files lie in `root`.
    pub async fn open(
        operator: &'a Operator,
        plan: &'a Plan,
        client: &'a Client,
        router: SocketAddr,
        source: Git,
        root: PathBuf,
    ) -> Result<Self, Failure> {
        let workshop = Workshop::open(&plan.data.join("workshop")).map_err(|error| {
            Failure::new(Exit::Failed, "cannot make a folder to build in").because(&error).next(error.next())
        })?;
        let actor = operator.actor()?.unwrap_or_else(|| "up".parse().expect("a valid actor"));
        let is_introduced = Cell::new(false);
        Ok(Self { operator, plan, client, router, source, root, workshop, actor, is_introduced })
    }

    /// Follows the branch until `stop` is cancelled; with `once`, until the newest commit has shipped or failed.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), Failure> {
        let agents = format!("for {} agents to join, 30 s at most", self.plan.agents);
        super::patiently(self.operator, &agents, self.wait_for_agents()).await?;
        let mut handled = self.handled_before().await?;
        let mut trouble: Option<String> = None;
        loop {
            match self.source.head(self.plan.branch.as_deref()).await {
                Ok(head) if handled.as_ref() != Some(&head.id) => {
                    trouble = None;
                    handled = Some(head.id.clone());
                    let shipped = self.ship(&head, stop).await;
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    self.remember(&head);
                    if self.plan.once {
                        return shipped;
                    }
                    self.show(&head, shipped).await?;
                }
                Ok(_) if self.plan.once => return Ok(()),
                Ok(_) => {}
                Err(error) if self.plan.once => {
                    let what = "cannot find the newest commit";
                    return Err(Failure::new(Exit::Usage, what).because(&error).next(error.next()));
                }
                Err(error) => self.say_trouble(&mut trouble, &error),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Builds, pushes and deploys one commit, and waits for the rollout's end.
    async fn ship(&self, commit: &Commit, stop: &CancellationToken) -> Result<(), Failure> {
        let ui = &self.operator.ui;
        ui.say(format!("Commit {}: {}", ship::short(&commit.id), commit.summary));
        let say = |line: &str| ui.say(format!("  build | {line}"));
        let built =
            ship::build(&self.source, commit, Path::new(""), None, &self.workshop, &say, stop).await?;
        let path = self.path(&built.app);
        let what = format!("cannot deploy `{path}`");
        let failed = |error| self.operator.failed(&what, error);
        let pushed = ship::push(self.client, &built, Some(&self.actor)).await.map_err(failed)?;
        self.wait_for_end(&path).await?;
        let order = Deploy {
            groups: Default::default(),
            path: path.clone(),
            release: Wanted::Name(pushed.release.id.to_string()),
            overrides: Overrides::default(),
            // Whoever commits here mends what was committed here.
            fix: Some(Fix::default()),
            by: By { reason: None, actor: Some(self.actor.clone()) },
        };
        if self.app(&path).await?.1.is_some_and(|app| runs(&app, &commit.id)) {
            return Ok(());
        }
        let planned = self.client.deploy(&order).await.map_err(failed)?;
        watch::to_the_end(self.operator, self.client, &path, (&planned).into()).await
    }

    /// Says how a commit ended, what is live where, and what can be tried next; all of it the first time only.
    async fn show(&self, commit: &Commit, shipped: Result<(), Failure>) -> Result<(), Failure> {
        let ui = &self.operator.ui;
        if let Err(failure) = &shipped {
            ui.say(failure.render());
        }
        let status = self.status().await?;
        ui.print(&board::live(&status, &self.plan.data.join("hosts")))?;
        let short = ship::short(&commit.id);
        ui.say(match (shipped.is_ok(), self.is_introduced.get()) {
            (false, _) => board::not_shipped(&self.root, short),
            (true, true) => board::shipped(short),
            (true, false) => {
                self.is_introduced.set(true);
                let address = board::has_services(&status).then_some(self.router);
                board::next_steps(&self.root, &self.plan.data, address, self.plan.repository.is_none())
            }
        });
        Ok(())
    }

    /// Waits for what the last start left under way, says how it ended, and returns the commit that it handled last. With
    /// `once` only one that runs counts, as the exit code must tell whether it does.
    async fn handled_before(&self) -> Result<Option<String>, Failure> {
        let apps = self.status().await?.apps;
        for app in apps.iter().filter(|app| app.path.environment == self.plan.environment) {
            match &app.rollout {
                // It may have ended already since this start.
                Some(rollout) if rollout.ended => self.operator.ui.say(printable_line(&rollout.sentence)),
                Some(rollout) => self.see_the_end(&app.path, rollout).await,
                None => {}
            }
        }
        if !apps.is_empty() {
            let status = self.status().await?;
            self.operator.ui.print(&board::live(&status, &self.plan.data.join("hosts")))?;
        }
        let handled = std::fs::read_to_string(self.memory()).ok().map(|text| text.trim().to_owned());
        if !self.plan.once {
            return Ok(handled);
        }
        let apps = self.status().await?.apps;
        let mut here = apps.iter().filter(|app| app.path.environment == self.plan.environment);
        Ok(handled.filter(|commit| here.any(|app| runs(app, commit))))
    }

    /// Remembers that a commit has shipped or failed, so that the next start does not try it again.
    fn remember(&self, commit: &Commit) {
        if let Err(error) = std::fs::write(self.memory(), &commit.id) {
            tracing::warn!(%error, "the next start will try this commit again");
        }
    }

    fn memory(&self) -> PathBuf {
        self.plan.data.join(format!("handled-commit.{}", self.plan.environment))
    }

    async fn wait_for_agents(&self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + JOIN_DEADLINE;
        let wanted = self.plan.agents as usize;
        loop {
            let alive =
                self.status().await.map(|status| status.hosts.iter().filter(|host| host.alive).count());
            match alive {
                Ok(alive) if alive >= wanted => return Ok(()),
                Ok(_) | Err(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(alive) => {
                    let because = format!("{alive} of {wanted} agents have joined");
                    return Err(Failure::new(Exit::Deadline, "cannot begin")
                        .because_of(because)
                        .next(format!("see why in {}", self.plan.log().display())));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Waits until no rollout of the app is under way.
    async fn wait_for_end(&self, path: &AppPath) -> Result<(), Failure> {
        let (_, app) = self.app(path).await?;
        if let Some(rollout) = app.and_then(|app| app.rollout).filter(|rollout| !rollout.ended) {
            self.see_the_end(path, &rollout).await;
        }
        Ok(())
    }

    /// Shows a rollout until it has ended, and says how.
    async fn see_the_end(&self, path: &AppPath, rollout: &RolloutStatus) {
        let seen = watch::to_the_end(self.operator, self.client, path, rollout.into()).await;
        if let Err(failure) = seen {
            self.operator.ui.say(failure.render());
        }
    }

    async fn status(&self) -> Result<Status, Failure> {
        let status = self.client.status().await;
        status.map_err(|error| self.operator.failed("cannot read what runs where", error))
    }

    async fn app(&self, path: &AppPath) -> Result<(Status, Option<AppStatus>), Failure> {
        let status = self.status().await?;
        let app = status.apps.iter().find(|app| app.path == *path).cloned();
        Ok((status, app))
    }

    fn path(&self, config: &AppConfig) -> AppPath {
        AppPath { environment: self.plan.environment.clone(), app: config.app.clone() }
    }

    fn say_trouble(&self, said: &mut Option<String>, error: &SourceError) {
        let text = error.to_string();
        if said.as_ref() != Some(&text) {
            self.operator.ui.say(format!("{text}\n  next: {}", error.next()));
            *said = Some(text);
        }
    }
}

/// Tells whether the app runs this commit and nothing is on its way.
fn runs(app: &AppStatus, commit: &str) -> bool {
    let current = app.current.as_ref().and_then(|current| current.commit.as_deref());
    current == Some(commit) && app.rollout.as_ref().is_none_or(|rollout| rollout.ended)
}
