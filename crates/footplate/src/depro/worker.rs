//! One deployment of an agent: takes news of the tree, starts what [`plan::next`] says, and notes how it ended.
//!
//! Invariants: nothing is started before both the versions and `current` have been read; what a script's end means is
//! decided by [`Local`] alone; at the end no script of ours runs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::job::{Ended, Job};
use super::pace::retry_after;
use super::plan::{self, Action, Copy, Local};
use super::publisher::Desired;
use super::tree::{Tree, Version};
use super::watcher::News;
use super::wire::Wish;

/// How long a rollout script may go on when the agent is told to end.
const LAST_ROLLOUT: Duration = Duration::from_secs(10);
/// How long after a deploy the disk is synchronised, so that its mark survives a power loss.
const SETTLE: Duration = Duration::from_secs(5);

/// What a worker listens to.
pub struct Inbox {
    /// From the watchers.
    pub news: mpsc::Receiver<News>,
    /// Versions whose key somebody removed: an order to try again.
    pub lost: mpsc::Receiver<Version>,
    /// Told when the agent is to end.
    pub stop: CancellationToken,
}

/// One deployment at work.
pub struct Worker {
    job: Arc<Job>,
    adopt_all: bool,
    desired: watch::Sender<Desired>,
    versions: Option<BTreeSet<Version>>,
    wish: Option<Wish>,
    tree: Option<Tree>,
    local: Local,
    tasks: JoinSet<Ended>,
    stops: BTreeMap<Version, CancellationToken>,
    rollout_stop: CancellationToken,
    failures: BTreeMap<Version, u32>,
    retry: Option<(Instant, Version)>,
    settle: Option<Instant>,
    listing: u64,
    stirred: u64,
}

impl Worker {
    /// Prepares a worker for what stands on disk now.
    pub fn new(job: Arc<Job>, local: Local, adopt_all: bool, desired: watch::Sender<Desired>) -> Self {
        let settle =
            local.copies.values().any(|copy| *copy == Copy::Complete).then(|| Instant::now() + SETTLE);
        Self {
            job,
            adopt_all,
            desired,
            local,
            settle,
            versions: None,
            wish: None,
            tree: None,
            tasks: JoinSet::new(),
            stops: BTreeMap::new(),
            rollout_stop: CancellationToken::new(),
            failures: BTreeMap::new(),
            retry: None,
            listing: 0,
            stirred: 0,
        }
    }

    /// Works until told to stop, then ends every script.
    pub async fn run(mut self, mut inbox: Inbox) {
        loop {
            let alarm = [self.retry.as_ref().map(|(at, _)| *at), self.settle].into_iter().flatten().min();
            tokio::select! {
                () = inbox.stop.cancelled() => break,
                Some(news) = inbox.news.recv() => self.hear(news),
                Some(version) = inbox.lost.recv() => self.try_again(&version),
                Some(ended) = self.tasks.join_next() => self.note(ended),
                () = until(alarm) => self.ring(),
            }
            self.turn();
        }
        self.end().await;
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Versions(versions) => {
                self.listing += 1;
                self.stirred += 1;
                self.versions = Some(versions);
            }
            News::Stirred => {
                self.listing += 1;
                self.stirred += 1;
            }
            News::Current(wish) => self.wish = Some(wish),
        }
        let (Some(versions), Some(wish)) = (&self.versions, &self.wish) else { return };
        let now = Tree { versions: versions.clone(), current: wish.version.clone() };
        if self.tree.as_ref() == Some(&now) {
            return;
        }
        self.adopt(&now);
        self.local.observe(self.tree.as_ref().unwrap_or(&now), &now);
        self.tree = Some(now);
    }

    /// Takes over what the original left here, once.
    fn adopt(&mut self, tree: &Tree) {
        if self.tree.is_some() || !self.job.folder.is_new() {
            return;
        }
        let confirmed = |version: &Version| self.adopt_all || tree.current.as_ref() == Some(version);
        match self.job.folder.adopt(tree.wanted(), confirmed) {
            Ok(adopted) => {
                for version in adopted {
                    self.job.say(&version, "is taken over from the original");
                    self.local.copies.insert(version, Copy::Complete);
                }
            }
            Err(error) => self.job.complain("take over what is here", &error),
        }
    }

    fn try_again(&mut self, version: &Version) {
        self.local.retry(version);
        if let plan::Rollout::Failed(failed) = &self.local.rollout
            && failed == version
        {
            self.local.rollout = plan::Rollout::Unknown;
        }
    }

    /// Starts what is due and says how things stand.
    fn turn(&mut self) {
        let Some(tree) = self.tree.clone() else { return };
        for action in plan::next(&tree, &self.local) {
            self.local.begin(&action);
            self.begin(action);
        }
        self.plan_retry(&tree);
        let desired = Desired {
            states: self.local.states(&tree),
            absent: tree.wanted().difference(&tree.versions).cloned().collect(),
            listing: self.listing,
            wish: self.wish.as_ref().map_or(0, |wish| wish.index),
            stirred: self.stirred,
        };
        self.desired.send_if_modified(|last| {
            let differs = *last != desired;
            *last = desired;
            differs
        });
    }

    fn begin(&mut self, action: Action) {
        let job = Arc::clone(&self.job);
        match action {
            Action::Deploy(version) => {
                let stop = CancellationToken::new();
                self.stops.insert(version.clone(), stop.clone());
                self.tasks.spawn(async move { job.deploy(version, stop).await });
            }
            Action::Stop(version) => {
                if let Some(stop) = self.stops.get(&version) {
                    stop.cancel();
                }
            }
            Action::Rollout(version) => {
                let stop = self.rollout_stop.clone();
                self.tasks.spawn(async move { job.rollout(version, stop).await });
            }
            Action::Clean(version) => {
                let stop = CancellationToken::new();
                self.stops.insert(version.clone(), stop.clone());
                self.tasks.spawn(async move { job.clean(version, stop).await });
            }
        }
    }

    fn note(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        match ended {
            Ended::Deployed(version, well) => {
                self.stops.remove(&version);
                self.local.deployed(&version, well);
                if well {
                    self.failures.remove(&version);
                    self.settle = Some(Instant::now() + SETTLE);
                } else {
                    *self.failures.entry(version).or_default() += 1;
                }
            }
            Ended::RolledOut(version, well) => self.local.rolled_out(&version, well),
            Ended::Missing(version) => {
                self.local.rollout = plan::Rollout::Unknown;
                self.local.copies.insert(version, Copy::Failed { again: true });
            }
            Ended::Cleaned(version, well) => {
                self.stops.remove(&version);
                self.failures.remove(&version);
                self.local.cleaned(&version, well);
            }
            Ended::Settled => {}
        }
    }

    /// A deploy that keeps this node from what `current` names is tried again by itself, ever more rarely.
    fn plan_retry(&mut self, tree: &Tree) {
        let stuck = self.local.stuck(tree).cloned();
        if self.retry.as_ref().map(|(_, version)| version) == stuck.as_ref() {
            return;
        }
        self.retry = stuck.map(|version| {
            let pause = retry_after(self.failures.get(&version).copied().unwrap_or(1));
            self.job
                .say(&version, &format!("is wanted and failed; the next try is in {} s", pause.as_secs()));
            (Instant::now() + pause, version)
        });
    }

    fn ring(&mut self) {
        let now = Instant::now();
        if let Some((_, version)) = self.retry.take_if(|(at, _)| *at <= now) {
            self.local.retry(&version);
        }
        if self.settle.take_if(|at| *at <= now).is_some() {
            let whole =
                |(version, copy): (&Version, &Copy)| (*copy == Copy::Complete).then(|| version.clone());
            let versions = self.local.copies.iter().filter_map(whole).collect();
            let job = Arc::clone(&self.job);
            self.tasks.spawn(async move { job.settle(versions).await });
        }
    }

    /// Ends deploys and cleanings at once: the next start does them again. A rollout gets time to finish.
    async fn end(mut self) {
        for stop in self.stops.values() {
            stop.cancel();
        }
        let rollout_stop = self.rollout_stop.clone();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let hurry = async {
            tokio::time::sleep(LAST_ROLLOUT).await;
            rollout_stop.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ended => {}
            () = hurry => {}
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
