//! What the router beside this agent counted, sent to the controller as looks.
//!
//! Invariants: nobody waits for the controller, and nothing is kept for it but the last look that it took: what could not be
//! sent goes with the next look. A look is never counted twice: one whose answer got lost makes the next one a whole one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_core::moment::Moment;
use footplate_core::name::HostName;
use footplate_core::traffic::RouterOrder;
use footplate_core::traffic::counts::{Counts, Look};
use footplate_drivers::router::{After, Facts, Router};
use reqwest::StatusCode;
use tokio::sync::watch;

use super::clients::Clients;
use crate::api::COUNTS_AT_LEAST_EVERY;
use crate::clock;

/// How often the router is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a look that could not be sent the next one is tried, at first and at most.
const TRY_AGAIN: (Duration, Duration) = (LOOK_EVERY, Duration::from_secs(10));
/// How long one post may take.
const POST_DEADLINE: Duration = Duration::from_secs(5);
/// How many looks are sent as changes until everything is sent again, so that what is gone is forgotten.
const CHANGES_MAX: u32 = 300;

/// Looks at one router's counts.
pub struct Counting {
    /// The host that it runs on.
    pub host: HostName,
    /// The router.
    pub router: Arc<dyn Router>,
    /// What posts.
    pub clients: Arc<Clients>,
    /// Where to.
    pub orders: watch::Receiver<Option<RouterOrder>>,
}

/// A look that the controller took.
struct Taken {
    at: Moment,
    looked: Instant,
    counts: Counts,
    /// The failed requests that were told up to then.
    after: After,
    /// How many looks were changes since the last whole one.
    changes: u32,
}

/// Why a look was not taken.
enum Untaken {
    /// What it follows is not known there.
    Gap,
    /// For another reason.
    Failed(String),
}

impl Counting {
    /// Looks and sends until it is dropped.
    pub async fn run(mut self) {
        let (mut address, mut taken, mut trouble) = (String::new(), None, Trouble::default());
        loop {
            let order = self.orders.borrow_and_update().clone();
            let pause = match order {
                None => Duration::MAX,
                Some(order) => {
                    if std::mem::replace(&mut address, order.counts.base.clone()) != order.counts.base {
                        taken = None;
                    }
                    self.look(&order, &mut taken, &mut trouble).await
                }
            };
            tokio::select! {
                Ok(()) = self.orders.changed() => (),
                () = tokio::time::sleep(pause) => (),
            }
        }
    }

    /// Takes a look and sends it, unless nothing changed and the last one is young. Returns how long to rest.
    async fn look(&self, order: &RouterOrder, taken: &mut Option<Taken>, trouble: &mut Trouble) -> Duration {
        let looked = Instant::now();
        // Where the listener is new, everything that is kept is told again, and heard once.
        let after = taken.as_ref().map(|taken| taken.after.clone()).unwrap_or_default();
        // That a router does not answer is said by who tells it where requests go; one that counts nothing stays unknown.
        let Ok(Some(facts)) = self.router.facts(&after).await else { return LOOK_EVERY };
        let (counts, after) = (facts.counts.clone(), known(after, &facts));
        if taken.as_ref().is_some_and(|taken| taken.changes >= CHANGES_MAX) {
            *taken = None;
        }
        let look = look(taken.as_ref(), looked, facts);
        let is_young = taken.as_ref().is_some_and(|taken| looked - taken.looked < COUNTS_AT_LEAST_EVERY);
        if is_young && look.counts.targets.is_empty() {
            return LOOK_EVERY;
        }
        match self.send(order, &look).await {
            Ok(()) => {
                let changes = taken.take().map_or(0, |taken| taken.changes + 1);
                *taken = Some(Taken { at: look.at, looked, counts, after, changes });
                trouble.is_over()
            }
            Err(Untaken::Gap) => {
                *taken = None;
                Duration::ZERO
            }
            Err(Untaken::Failed(because)) => trouble.failed(&because),
        }
    }

    async fn send(&self, order: &RouterOrder, look: &Look) -> Result<(), Untaken> {
        let url = format!("{}/{}", order.counts.base, self.host);
        let post = self.clients.of(&url).post(&url).timeout(POST_DEADLINE).json(look);
        let post = match &order.counts.token {
            Some(token) => post.bearer_auth(token),
            None => post,
        };
        let failed = |error: reqwest::Error| Untaken::Failed(footplate_drivers::chain(&error.without_url()));
        match post.send().await.map_err(failed)?.status() {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT if look.since.is_some() => Err(Untaken::Gap),
            status => Err(Untaken::Failed(format!("the controller answered {status}"))),
        }
    }
}

/// Returns which failed requests are known once these are told as well.
fn known(before: After, facts: &Facts) -> After {
    let line = facts.counts.line.clone();
    let so_far = if line == before.line { before.number } else { 0 };
    After { number: facts.failed.last().map_or(so_far, |failed| failed.number), line }
}

/// Makes the look that follows the last one that was taken.
fn look(taken: Option<&Taken>, looked: Instant, facts: Facts) -> Look {
    let (now, Facts { counts, failed, busiest }) = (clock::now(), facts);
    match taken {
        None => Look { at: now, since: None, over: Duration::ZERO, counts, failed, busiest },
        Some(taken) => {
            let mut change = counts.since(&taken.counts);
            change.trim();
            // A clock that was set back must not make two looks alike.
            let at = now.max(Moment::from_millis(taken.at.as_millis() + 1));
            let over = looked - taken.looked;
            Look { at, since: Some(taken.at), over, counts: change, failed, busiest }
        }
    }
}

/// Says once that looks are not taken, and once that they are again; paces the tries between.
#[derive(Default)]
struct Trouble {
    pause: Option<Duration>,
}

impl Trouble {
    fn is_over(&mut self) -> Duration {
        if self.pause.take().is_some() {
            tracing::info!("the controller takes the router's counts again");
        }
        LOOK_EVERY
    }

    fn failed(&mut self, because: &str) -> Duration {
        let (first, most) = TRY_AGAIN;
        if self.pause.is_none() {
            tracing::warn!(
                "cannot tell the controller what the router counted\n  because: {because}\n  next: nothing for requests, which \
                 go on; it is tried again by itself"
            );
        }
        let pause = self.pause.map_or(first, |pause| (pause * 2).min(most));
        *self.pause.insert(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use async_trait::async_trait;
    use axum::Json;
    use axum::routing::post;
    use footplate_core::target::Source;
    use footplate_core::traffic::Pool;
    use footplate_drivers::router::{EndpointName, RouterError};

    use super::*;

    /// A router that counted this.
    struct Counted(Option<Counts>);

    #[async_trait]
    impl Router for Counted {
        fn describe(&self) -> String {
            "a router that is played".to_owned()
        }

        async fn follow(&self, _: &[Pool]) -> Result<(), RouterError> {
            Ok(())
        }

        async fn in_flight(&self) -> Result<Option<BTreeSet<EndpointName>>, RouterError> {
            Ok(None)
        }

        async fn facts(&self, _: &After) -> Result<Option<Facts>, RouterError> {
            Ok(self.0.clone().map(|counts| Facts { counts, ..Facts::default() }))
        }
    }

    /// Takes one look at a router that counted this, and returns what the controller heard.
    async fn heard(counts: Option<Counts>) -> Vec<Look> {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let hear = post(async move |Json(look): Json<Look>| tell.send(look).expect("somebody listens"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/edge", hear)).await });
        let order = RouterOrder { counts: Source { base, token: None } };
        let (_orders, orders) = watch::channel(Some(order.clone()));
        let router = Arc::new(Counted(counts));
        let host = "edge".parse().expect("a host");
        let counting = Counting { host, router, clients: Arc::new(Clients::new(None)), orders };
        counting.look(&order, &mut None, &mut Trouble::default()).await;
        std::iter::from_fn(|| told.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn of_a_router_that_counts_nothing_nothing_is_said() {
        assert_eq!(heard(None).await, []);
        assert_eq!(heard(Some(Counts::default())).await.len(), 1, "that nobody came is news at first");
    }
}
