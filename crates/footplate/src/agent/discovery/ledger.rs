//! What stands in the catalog as far as we know, and making it what it should be.
//!
//! Invariants: what was not heard to be done is done again; one instance that is refused keeps no other from its place; without
//! an instance a host costs the catalog nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_drivers::discovery::{
    Catalog, DiscoveryError, Instance, InstanceName, Listed, Renewed, Standing,
};

/// How often the whole is compared with what stands there, in case somebody else changed it.
const COMPARED_EVERY: Duration = Duration::from_secs(600);

/// What should stand in the catalog.
pub type Wanted = BTreeMap<InstanceName, Instance>;

/// One entry of the catalog.
struct Line {
    /// Whose it is; nothing where the catalog's own words cannot be read.
    name: Option<InstanceName>,
    /// What stands there; nothing while it is not known.
    instance: Option<Instance>,
}

/// What stands in the catalog.
pub struct Ledger {
    catalog: Arc<dyn Catalog>,
    sign_every: Duration,
    /// By the catalog's ids.
    lines: BTreeMap<String, Line>,
    /// When it was last compared with the catalog; never yet, or not since that forgot.
    compared: Option<Instant>,
    /// Whether the agent is announced, as far as we know.
    is_announced: bool,
    /// When the last sign of life was taken.
    signed: Option<Instant>,
}

impl Ledger {
    /// Makes an empty one; a sign of life is due so often.
    pub fn new(catalog: Arc<dyn Catalog>, sign_every: Duration) -> Self {
        let (lines, compared, signed) = (BTreeMap::new(), None, None);
        // A former life may have announced it, and what that entered must not end while we begin.
        Self { catalog, sign_every, lines, compared, is_announced: true, signed }
    }

    /// Forgets what stands there: another agent writes it now.
    pub fn forget(&mut self) {
        *self = Self::new(Arc::clone(&self.catalog), self.sign_every);
    }

    /// Says that the agent lives when that is due, and makes the catalog what is wanted, if that is known.
    ///
    /// Does as much as it can, and returns the first thing that could not be done.
    pub async fn keep(&mut self, wanted: Option<&Wanted>) -> Result<(), DiscoveryError> {
        let signed = self.sign().await;
        let Some(wanted) = wanted else { return signed };
        self.compare().await?;
        let settled = self.settle(wanted).await;
        signed.and(settled)
    }

    /// Returns how long it is until something is due without news.
    pub fn next_due(&self) -> Duration {
        let sign =
            self.signed.filter(|_| self.is_announced).map(|at| self.sign_every.saturating_sub(at.elapsed()));
        let compare = self.compared.map(|at| COMPARED_EVERY.saturating_sub(at.elapsed()));
        sign.into_iter().chain(compare).min().unwrap_or(Duration::MAX)
    }

    /// Returns those of these that the catalog sends nobody to, for all we know.
    pub fn outside(&self, names: impl Iterator<Item = InstanceName>) -> BTreeSet<InstanceName> {
        let takes_requests = |name: &InstanceName| match self.lines.get(&self.catalog.id(name)) {
            None => self.compared.is_none(),
            Some(Line { instance, .. }) => {
                !matches!(instance, Some(Instance { standing: Standing::Out(_), .. }))
            }
        };
        names.filter(|name| !takes_requests(name)).collect()
    }

    async fn sign(&mut self) -> Result<(), DiscoveryError> {
        let is_due = self.signed.is_none_or(|at| at.elapsed() >= self.sign_every);
        if !self.is_announced || !is_due {
            return Ok(());
        }
        match self.catalog.renew().await? {
            Renewed::Yes => self.signed = Some(Instant::now()),
            Renewed::Forgotten => (self.is_announced, self.signed, self.compared) = (false, None, None),
        }
        Ok(())
    }

    async fn compare(&mut self) -> Result<(), DiscoveryError> {
        if self.compared.is_some_and(|at| at.elapsed() < COMPARED_EVERY) {
            return Ok(());
        }
        let Listed { instances, is_announced } = self.catalog.list().await?;
        let known = std::mem::take(&mut self.lines);
        let is_fresh = self.compared.is_some();
        let line = |(id, name): (String, Option<InstanceName>)| {
            let instance = known.get(&id).filter(|_| is_fresh).and_then(|line| line.instance);
            (id, Line { name, instance })
        };
        self.lines = instances.into_iter().map(line).collect();
        self.is_announced = is_announced;
        self.compared = Some(Instant::now());
        Ok(())
    }

    async fn settle(&mut self, wanted: &Wanted) -> Result<(), DiscoveryError> {
        let mut first = Ok(());
        if !wanted.is_empty() && !self.is_announced {
            self.catalog.announce().await?;
            (self.is_announced, self.signed) = (true, Some(Instant::now()));
        }
        let is_out = |instance: &Instance| matches!(instance.standing, Standing::Out(_));
        // What is let in comes before what is taken out, so that there is always somebody.
        for out in [false, true] {
            for (name, instance) in wanted.iter().filter(|(_, instance)| is_out(instance) == out) {
                first = first.and(self.enter(name, instance).await);
            }
        }
        let ids: BTreeSet<String> = wanted.keys().map(|name| self.catalog.id(name)).collect();
        let gone: Vec<String> = self.lines.keys().filter(|id| !ids.contains(*id)).cloned().collect();
        for id in gone {
            first = first.and(self.remove(&id).await);
        }
        if wanted.is_empty() && self.lines.is_empty() && self.is_announced {
            self.catalog.withdraw().await?;
            (self.is_announced, self.signed) = (false, None);
        }
        first
    }

    async fn enter(&mut self, name: &InstanceName, instance: &Instance) -> Result<(), DiscoveryError> {
        let id = self.catalog.id(name);
        if self.lines.get(&id).and_then(|line| line.instance).as_ref() == Some(instance) {
            return Ok(());
        }
        // Until it is heard to be done nobody knows which of the two stands there.
        self.lines.insert(id.clone(), Line { name: Some(name.clone()), instance: None });
        self.catalog.enter(name, instance).await?;
        tracing::info!(instance = %name, "{} says: {}", self.catalog.describe(), in_words(instance.standing));
        self.lines.insert(id, Line { name: Some(name.clone()), instance: Some(*instance) });
        Ok(())
    }

    async fn remove(&mut self, id: &str) -> Result<(), DiscoveryError> {
        self.catalog.remove(id).await?;
        let name = self.lines.remove(id).and_then(|line| line.name);
        let named = name.map_or_else(|| id.to_owned(), |name| name.to_string());
        tracing::info!(instance = named, "{} says nothing of it any more", self.catalog.describe());
        Ok(())
    }
}

fn in_words(standing: Standing) -> String {
    match standing {
        Standing::Serving(weight) => format!("serving, with weight {weight}"),
        Standing::Out(reason) => reason.word().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use footplate_drivers::discovery::Reason;

    use super::*;

    /// A catalog that takes everything, and remembers in which order.
    #[derive(Default)]
    struct Obedient(Mutex<Vec<String>>);

    impl Obedient {
        fn note(&self, done: String) {
            self.0.lock().expect("no test panics while it notes").push(done);
        }

        fn taken(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().expect("no test panics while it notes"))
        }
    }

    #[async_trait]
    impl Catalog for Obedient {
        fn describe(&self) -> String {
            "a catalog".to_owned()
        }

        fn id(&self, name: &InstanceName) -> String {
            name.release.to_string()
        }

        async fn list(&self) -> Result<Listed, DiscoveryError> {
            Ok(Listed { is_announced: true, ..Listed::default() })
        }

        async fn announce(&self) -> Result<(), DiscoveryError> {
            Ok(())
        }

        async fn renew(&self) -> Result<Renewed, DiscoveryError> {
            Ok(Renewed::Yes)
        }

        async fn withdraw(&self) -> Result<(), DiscoveryError> {
            self.note("withdraw".to_owned());
            Ok(())
        }

        async fn enter(&self, name: &InstanceName, instance: &Instance) -> Result<(), DiscoveryError> {
            self.note(format!("{} {}", name.release, in_words(instance.standing)));
            Ok(())
        }

        async fn remove(&self, id: &str) -> Result<(), DiscoveryError> {
            self.note(format!("{id} gone"));
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_comes_in_is_entered_before_what_leaves_is_taken_out() {
        use Standing::{Out, Serving};
        let catalog = Arc::new(Obedient::default());
        let mut ledger = Ledger::new(Arc::clone(&catalog) as Arc<dyn Catalog>, Duration::from_secs(20));
        let instance = |(release, standing): (&str, Standing)| {
            let target = "production.shop.web".parse().expect("a target");
            let name = InstanceName { target, release: release.parse().expect("a release") };
            (name, Instance { address: ([127, 0, 0, 1], 20_000).into(), standing })
        };
        let (serving, out) = (Serving(1000), Out(Reason::Draining));
        for (wanted, expected) in [
            (&[("1", serving)][..], &["1 serving, with weight 1000"][..]),
            (&[("1", out), ("2", serving)], &["2 serving, with weight 1000", "1 draining"]),
            (&[("2", serving)], &["1 gone"]),
            // The next one sorts before it, and the one before has left at once.
            (&[("0", serving)], &["0 serving, with weight 1000", "2 gone"]),
            (&[("0", Serving(500))], &["0 serving, with weight 500"]),
            (&[], &["0 gone", "withdraw"]),
        ] {
            let wanted = wanted.iter().copied().map(instance).collect();
            ledger.keep(Some(&wanted)).await.expect("it takes everything");
            assert_eq!(catalog.taken(), expected);
        }
    }
}
