//! What is remembered of a rollout's end besides its own words.

use footplate_core::rollout::Rollout;

use super::act::Worker;
use crate::api::killed;

impl Worker<'_> {
    /// Remembers what had to be killed in the app's latest rollout, once it is over.
    pub(super) fn note_killed(&self, rollout: &Rollout) {
        if rollout.is_active() {
            return;
        }
        let told = {
            let site = self.shared.site();
            let app = site.apps.get(&rollout.path);
            let reports = app.into_iter().flat_map(|app| app.reports.values().flatten());
            killed(rollout, reports.map(|(target, report)| (target, &report.failed)))
        };
        if !told.is_empty() {
            let text = format!("{}: {}", rollout.subject(), told.join("; "));
            self.shared.journal.note_once(&rollout.path, rollout.number, "killed", &rollout.actor, &text);
        }
    }
}
