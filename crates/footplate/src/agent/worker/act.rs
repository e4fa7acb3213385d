//! Acting: one action to its end, or to the order that no longer wants it.

use std::sync::Arc;

use footplate_core::name::ReleaseId;
use footplate_core::target::{Action, Assignment, Verb};

use footplate_drivers::failpoint;

use super::absence::Absence;
use super::{Worker, opened};
use crate::agent::hands::Done;
use crate::agent::memory;
use crate::agent::services::Failed;
use crate::clock;

impl Worker {
    /// Does one action. A newer order that does not plan it kills it first.
    pub(super) async fn act(&mut self, action: &Action, want: &Assignment) {
        let (verb, release) = action.parts();
        self.shared.work.send_replace(());
        // Others wait for what was done before, not for what is only kept or cleaned.
        if (verb == Verb::Clean || want.only_keeps(release, self.memory.barrier)) && self.has_news() {
            self.report();
        }
        let Some(done) = self.perform(action, want).await else {
            tracing::info!(host = %self.shared.host, app = %self.target, %release, "{verb} was stopped");
            return;
        };
        failpoint!("agent.acted");
        if done.is_absence {
            return self.wait_for_a_source(release, done.failure.unwrap_or_default()).await;
        }
        self.absence = None;
        self.shared.outputs.send(&self.target, release, verb, &done, &want.sources);
        self.note(verb, release, done);
    }

    /// Performs an action to its end; `None` when it was stopped, for an order or a barrier that wants something else first.
    async fn perform(&mut self, action: &Action, want: &Assignment) -> Option<Done> {
        let shared = Arc::clone(&self.shared);
        let hands = Arc::clone(&self.hands);
        let cut = self.stop.child_token();
        let doing = async {
            let _one_of_few = match action {
                Action::Prepare(_) => tokio::select! {
                    place = shared.prepares.acquire() => place.ok(),
                    () = cut.cancelled() => return None,
                },
                Action::Activate(_)
                | Action::Start(_)
                | Action::Accept(_)
                | Action::Stop(_)
                | Action::Clean(_) => None,
            };
            hands.perform(action, want, &cut).await
        };
        tokio::pin!(doing);
        loop {
            let plan = self.memory.assignment.as_ref().map(|want| self.plan(want)).unwrap_or_default();
            if !plan.goes_on_with(action) {
                cut.cancel();
            }
            self.watch_barrier(plan.barrier);
            tokio::select! {
                done = &mut doing => return done,
                Ok(()) = self.offers.changed() => self.hear().await,
                reached = opened(&mut self.watch) => self.note_barrier(Some(reached)),
                Ok(()) = self.service_news.changed() => {
                    self.look_at_services();
                    if self.has_news() {
                        self.report();
                    }
                }
            }
        }
    }

    /// Waits a moment for an artifact source that does not answer, or for an order that names another.
    async fn wait_for_a_source(&mut self, release: &ReleaseId, because: String) {
        match &mut self.absence {
            Some(absence) => absence.goes_on(because),
            None => {
                tracing::warn!(host = %self.shared.host, app = %self.target, %release, "waiting for an artifact source: {because}");
                self.absence = Some(Absence::new(because));
            }
        }
        if self.absence.as_ref().is_some_and(|absence| absence.told().is_some()) && self.has_news() {
            self.report();
        }
        let pause = self.absence.as_mut().map(Absence::pause).unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            Ok(()) = self.offers.changed() => self.hear().await,
            reached = opened(&mut self.watch) => self.note_barrier(Some(reached)),
            () = self.stop.cancelled() => (),
        }
    }

    fn note(&mut self, verb: Verb, release: &ReleaseId, done: Done) {
        let (host, app) = (&self.shared.host, &self.target);
        match done.failure {
            None => {
                let past = match verb {
                    Verb::Prepare => "prepared",
                    Verb::Activate => "activated",
                    Verb::Start => "started",
                    Verb::Accept => "accepted",
                    Verb::Stop => "stopped",
                    Verb::Clean => "cleaned",
                };
                tracing::info!(%host, %app, %release, "{past}");
                // Most often there is no failure to forget, and then nothing to write either.
                self.unsaved |= self.memory.note_success(verb, release);
                if let Some(why) = done.unwilling {
                    tracing::warn!(%host, %app, %release, "{why}");
                    self.memory.note_unwilling(release, why, &done.output, clock::now());
                    self.unsaved = true;
                }
            }
            Some(reason) => {
                self.note_failure(verb, release, Failed { why: reason, lapse: None, output: done.output })
            }
        }
    }

    pub(super) fn note_failure(&mut self, verb: Verb, release: &ReleaseId, failed: Failed) {
        match failed.lapse {
            None => {
                tracing::warn!(host = %self.shared.host, app = %self.target, %release, "cannot {verb}: {}", failed.why);
            }
            Some(_) => {
                tracing::warn!(host = %self.shared.host, app = %self.target, %release, "{}", failed.why)
            }
        }
        let output = memory::tail(&failed.output).to_owned();
        self.memory.note_failure(verb, release, Failed { output, ..failed }, clock::now());
        self.unsaved = true;
    }
}
