//! Hearing orders, remembering them, and saying what is.

use std::sync::Arc;

use footplate_core::record::{Key, Written};
use footplate_core::target::{Assignment, Failure, Report, Verb};

use footplate_drivers::{chain, failpoint};

use super::Worker;
use super::absence::Absence;
use crate::agent::memory::{Heard, Memory};
use crate::agent::orders::Offer;
use crate::clock;

impl Worker {
    /// Takes the newest offer: remembers it first, and obeys it then.
    pub(super) async fn hear(&mut self) {
        let offer = self.offers.borrow_and_update().clone();
        match offer {
            Offer::Unknown | Offer::Unreadable => (),
            Offer::Gone => self.let_go().await,
            Offer::Order(order) => match self.memory.judge(&order) {
                Heard::Known => self.unobeyed = None,
                Heard::Older => self.refuse(&order),
                Heard::Newer => self.obey(order).await,
            },
        }
    }

    async fn obey(&mut self, order: Arc<Assignment>) {
        failpoint!("agent.order_heard");
        let mut next = self.memory.clone();
        next.obey(order.as_ref().clone());
        match self.write(&next).await {
            Ok(()) => {
                failpoint!("agent.order_remembered");
                self.memory = next;
                self.unsaved = false;
                self.unobeyed = None;
            }
            Err(reason) => self.put_off(order, reason),
        }
    }

    /// Keeps an order for later that could not be remembered, and reports why.
    fn put_off(&mut self, order: Arc<Assignment>, reason: String) {
        if self.unobeyed.as_ref().is_some_and(|(known, _)| *known == order) {
            return;
        }
        tracing::error!(
            host = %self.shared.host,
            app = %self.target,
            "cannot take a new order\n  because: {reason}\n  next: make room or give the right to write in the \
             agent's state directory; it is tried again by itself"
        );
        let failure = Failure {
            verb: Verb::Prepare,
            generation: order.generation,
            reason: format!("the agent cannot remember the order: {reason}"),
            output: String::new(),
            lapse: None,
            attempts: 1,
            at: clock::now(),
        };
        self.unobeyed = Some((order, failure));
        self.report();
    }

    fn refuse(&mut self, order: &Assignment) {
        if self.refused.replace(order.generation) != Some(order.generation) {
            tracing::warn!(
                host = %self.shared.host,
                app = %self.target,
                "an order of generation {} is not obeyed: this host has obeyed {} already",
                order.generation,
                self.memory.generation
            );
        }
    }

    pub(super) async fn let_go(&mut self) {
        if self.memory.assignment.take().is_none() {
            return;
        }
        tracing::info!(
            host = %self.shared.host,
            app = %self.target,
            "no longer this host's; its files stay, and nobody looks after them"
        );
        self.watch = None;
        self.settled = None;
        self.unsaved = true;
        self.save().await;
    }

    pub(super) async fn save(&mut self) {
        if self.unsaved {
            match self.write(&self.memory.clone()).await {
                Ok(()) => self.unsaved = false,
                Err(reason) => {
                    return tracing::warn!(host = %self.shared.host, app = %self.target, "cannot remember what was done: {reason}");
                }
            }
        }
        // An agent that is killed before this line finds them again.
        self.shared.services.tell_crashes(&self.target, std::mem::take(&mut self.crashes));
    }

    async fn write(&self, memory: &Memory) -> Result<(), String> {
        let (state, target, memory) = (self.shared.state.clone(), self.target.clone(), memory.clone());
        let written = tokio::task::spawn_blocking(move || state.write_target(&target, &memory)).await;
        match written.expect("writing a memory does not panic") {
            Ok(()) => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }

    pub(super) fn next_report(&self) -> Report {
        let mut report = Report { up: self.up.clone(), ..self.memory.report(&self.seen) };
        report.waiting = self.absence.as_ref().and_then(Absence::told).map(str::to_owned);
        report.drift = report.drift.or_else(|| self.drift.clone());
        if let Some((order, failure)) = &self.unobeyed {
            let asked = order.switch.as_ref().map(|switch| &switch.to).or(order.run.as_ref());
            report.failed.extend(asked.map(|release| (release.clone(), failure.clone())));
        }
        report
    }

    pub(super) fn report(&mut self) {
        let report = self.next_report();
        let key = Key::Report(self.shared.host.clone(), self.target.clone());
        let value = serde_json::to_vec(&Written(&report));
        self.shared.reporter.publish(&key.to_string(), value.expect("a report is names, numbers and text"));
        self.reported = Some(report);
    }

    /// Tells whether something happened that others wait for; a release that went away is nothing of the kind.
    pub(super) fn has_news(&self) -> bool {
        let next = self.next_report();
        self.reported.as_ref() != Some(&next)
    }
}
