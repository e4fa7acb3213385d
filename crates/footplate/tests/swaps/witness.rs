//! Exchanges that are begun before a swap and finished only once what serves them leaves: what a swap must wait for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use footplate_testkit::long::{Exchange, Kind};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// How many of each kind.
const EACH: usize = 2;

/// Exchanges under way.
pub struct Witnesses {
    watching: JoinHandle<Result<usize, String>>,
    over: Arc<AtomicBool>,
}

impl Witnesses {
    /// Begins them at the release that runs now; each is finished when its endpoint serves no longer by the store's routes.
    pub fn begin(runtime: &Runtime, address: SocketAddr, store: String, release: String) -> Self {
        let begun = runtime.block_on(async {
            let mut all = Vec::new();
            for kind in Kind::ALL.into_iter().cycle().take(EACH * Kind::ALL.len()) {
                all.push(
                    Exchange::begin(kind, address).await.unwrap_or_else(|error| panic!("{kind:?}: {error}")),
                );
            }
            all
        });
        for exchange in begun.iter().filter_map(Exchange::served_by) {
            assert!(exchange.ends_with(&format!("/{release}")), "{exchange} served it, not {release}");
        }
        let over = Arc::new(AtomicBool::new(false));
        let watching = runtime.spawn(poll_to_the_end(begun, store, release, Arc::clone(&over)));
        Self { watching, over }
    }

    /// Waits until all are finished, which they were while the swap went on; fails if one broke.
    pub fn must_have_finished(self, runtime: &Runtime) {
        self.over.store(true, Ordering::Relaxed);
        let late = runtime
            .block_on(self.watching)
            .expect("it does not panic")
            .unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(late, 0, "the swap was over before these were");
    }
}

/// Keeps all going until each endpoint leaves. Returns how many were there still when the swap was over.
async fn poll_to_the_end(
    mut all: Vec<Exchange>,
    store: String,
    release: String,
    over: Arc<AtomicBool>,
) -> Result<usize, String> {
    while !all.is_empty() {
        let is_over = over.load(Ordering::Relaxed);
        let serving = serving(&store).await?;
        let left = serving
            .iter()
            .filter(|(name, serves)| name.ends_with(&format!("/{release}")) && **serves)
            .count();
        let hosts = serving.keys().filter(|name| name.ends_with(&format!("/{release}"))).count();
        for place in (0..all.len()).rev() {
            let goes_on = match all[place].served_by() {
                Some(name) => serving.get(name).copied().unwrap_or(false),
                // Nobody says who reads an upload: it ends with the first endpoint that leaves.
                None => left == hosts && left > 0,
            };
            let kind = all[place].kind();
            if !goes_on {
                all.swap_remove(place).finish().await.map_err(|error| error.to_string())?;
            } else {
                all[place].go_on().await.map_err(|error| format!("{kind:?}, on its way: {error}"))?;
            }
        }
        if is_over && !all.is_empty() {
            return Ok(all.len());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(0)
}

/// Reads from the store which endpoints there are, as `HOST/RELEASE`, and whether each takes requests.
async fn serving(store: &str) -> Result<BTreeMap<String, bool>, String> {
    let asked = reqwest::get(format!("{store}/v1/kv/footplate/routes/?recurse")).await;
    let entries: Vec<Value> = asked.map_err(said)?.json().await.map_err(said)?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let host =
            entry["Key"].as_str().and_then(|key| key.rsplit('/').next()).ok_or("an entry without a key")?;
        let value = entry["Value"].as_str().unwrap_or_default();
        let bytes = base64::prelude::BASE64_STANDARD.decode(value).map_err(said)?;
        let route: Value = serde_json::from_slice(&bytes).map_err(said)?;
        let endpoints = route["endpoints"].as_object().ok_or("a route without endpoints")?;
        for (release, endpoint) in endpoints {
            found.insert(format!("{host}/{release}"), endpoint["state"] == "serving");
        }
    }
    Ok(found)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
