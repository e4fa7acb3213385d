//! Counters and gauges in Prometheus' text format; requests are counted by kind.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<[(&'static str, &'static str); 1], Counter>,
    waiters: Gauge,
    entries: Gauge,
    index: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("footplate_kv");
        let requests = Family::default();
        let (waiters, entries, index) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("requests", "Requests, by kind", requests.clone());
        registry.register("waiters", "Reads that are blocked now", waiters.clone());
        registry.register("entries", "Keys in the store", entries.clone());
        registry.register("index", "The store's index", index.clone());
        Metrics { registry, requests, waiters, entries, index }
    }
}

impl Metrics {
    /// Counts one request of a kind: `kv_get`, `kv_put`, `kv_delete`, `kv_wait`, `session`, `txn`, `acl`, `other`.
    pub fn count(&self, kind: &'static str) {
        self.requests.get_or_create(&[("kind", kind)]).inc();
    }

    /// Writes everything in Prometheus' text format.
    pub fn render(&self, waiters: usize, entries: usize, index: u64) -> String {
        self.waiters.set(i64::try_from(waiters).unwrap_or(i64::MAX));
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.index.set(i64::try_from(index).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}
