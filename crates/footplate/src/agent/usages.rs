//! What the services of this host use, told to the controllers that its orders come from; also on hosts without a router.
//!
//! Invariants: nobody waits for a controller; what one did not take is not told again, as the next look is as good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::usage::{Usage, UsageLook};
use tokio::sync::watch;

use super::clients::Clients;
use super::orders::{Offer, Orders};
use super::outputs::controller;
use super::services::Services;
use crate::api::path;
use crate::clock;

/// How often is told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long one post may take.
const POST_DEADLINE: Duration = Duration::from_secs(4);

/// Tells what services use.
pub struct Usages {
    host: HostName,
    services: Arc<Services>,
    clients: Arc<Clients>,
    orders: watch::Receiver<Orders>,
}

impl Usages {
    /// Begins to tell what services of this host use, by `clients`, to whoever gives it `orders`.
    pub fn new(
        host: &HostName,
        services: &Arc<Services>,
        clients: &Arc<Clients>,
        orders: &watch::Receiver<Orders>,
    ) -> Self {
        Self {
            host: host.clone(),
            services: Arc::clone(services),
            clients: Arc::clone(clients),
            orders: orders.clone(),
        }
    }

    /// Looks and tells until it is dropped.
    pub async fn run(self) {
        let mut was_empty = true;
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            let services = self.services.usage().await;
            // That the last one is gone is news.
            if services.is_empty() && std::mem::replace(&mut was_empty, services.is_empty()) {
                continue;
            }
            was_empty = services.is_empty();
            self.tell(services).await;
        }
    }

    async fn tell(&self, services: BTreeMap<TargetName, BTreeMap<ReleaseId, Usage>>) {
        let look = UsageLook { at: clock::now(), services };
        let controllers = controllers(&self.orders.borrow());
        for (address, token) in controllers {
            let url = format!("{address}{}/{}", path::USAGE, self.host);
            let post = self.clients.of(&url).post(&url).bearer_auth(token).timeout(POST_DEADLINE).json(&look);
            match post.send().await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => tracing::debug!(status = %answer.status(), "what services use was not taken"),
                Err(error) => {
                    let error = footplate_drivers::chain(&error.without_url());
                    tracing::debug!(error, "cannot tell what services use");
                }
            }
        }
    }
}

/// Lists where the orders come from, each once, with the token for it.
fn controllers(orders: &Orders) -> BTreeSet<(String, String)> {
    let offers = orders.iter().flatten().map(|(_, offer)| offer);
    let assignments = offers.filter_map(|offer| match offer {
        Offer::Order(assignment) => Some(assignment),
        Offer::Unknown | Offer::Gone | Offer::Unreadable => None,
    });
    let sources = assignments.flat_map(|assignment| &assignment.sources);
    sources.filter_map(controller).map(|(address, token)| (address.to_owned(), token.to_owned())).collect()
}
