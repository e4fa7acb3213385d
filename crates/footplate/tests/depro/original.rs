//! The original's agent and command, as far as others can see them: section A of the protocol to the letter, with the
//! faults that a mixed cluster meets. Its Go source is not here; these fakes say so by their names.
//!
//! Kept: registration by an empty acquire, states by bare puts, a directory that exists counts as deployed, `current` is
//! rolled out at once when the directory exists and only deployed when not, readiness looks only at what just changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_drivers::store::SessionId;
use footplate_drivers::store::consul::{Behavior, Blocking, Client, Condition, Removal, SessionRequest};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

/// An agent that behaves as the original's.
pub struct OriginalAgent {
    _tasks: JoinSet<()>,
}

struct Node {
    client: Client,
    prefix: String,
    name: String,
    path: PathBuf,
    deploy: String,
    rollout: String,
    session: SessionId,
    deploys: Mutex<()>,
    known: Mutex<BTreeSet<String>>,
}

impl OriginalAgent {
    /// Starts it. The scripts get VERSION and DEPLOYMENT_PATH.
    pub async fn start(
        client: Client,
        prefix: &str,
        name: &str,
        path: PathBuf,
        deploy: &str,
        rollout: &str,
    ) -> Self {
        let session = client
            .create_session(&SessionRequest {
                name: "app".to_owned(),
                ttl: Duration::from_secs(60),
                lock_delay: Duration::from_millis(1),
                behavior: Behavior::Delete,
            })
            .await
            .unwrap();
        let node = Arc::new(Node {
            client,
            prefix: prefix.to_owned(),
            name: name.to_owned(),
            path,
            deploy: deploy.to_owned(),
            rollout: rollout.to_owned(),
            session,
            deploys: Mutex::default(),
            known: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&node).watch_versions());
        tasks.spawn(node.watch_current());
        Self { _tasks: tasks }
    }
}

impl Node {
    async fn watch_versions(self: Arc<Self>) {
        let (mut index, mut last) = (0, BTreeSet::new());
        loop {
            let blocking = Some(Blocking { index, wait: Duration::from_secs(10) });
            let folder = format!("{}/", self.prefix);
            let Ok(listed) = self.client.keys(&folder, Some("/"), blocking).await else { return };
            index = listed.index;
            let names = listed.value.iter().map(|key| key[folder.len()..].trim_matches('/').to_owned());
            let now: BTreeSet<String> = names.filter(|name| !name.is_empty() && name != "current").collect();
            for gone in last.difference(&now) {
                self.clean(gone).await;
            }
            for added in now.difference(&last) {
                self.register(added).await;
                if self.path.join(added).is_dir() {
                    self.say(added, "available").await;
                } else {
                    self.deploy(added).await;
                }
            }
            last = now;
        }
    }

    async fn watch_current(self: Arc<Self>) {
        let (mut index, mut last) = (0, String::new());
        loop {
            let blocking = Some(Blocking { index, wait: Duration::from_secs(10) });
            let Ok(read) = self.client.get(&format!("{}/current", self.prefix), blocking).await else {
                return;
            };
            index = read.index;
            let now = read.value.map(|pair| String::from_utf8(pair.value).unwrap()).unwrap_or_default();
            if !now.is_empty() && now != last {
                self.register(&now).await;
                if self.path.join(&now).is_dir() {
                    self.roll_out(&now).await;
                } else {
                    self.deploy(&now).await;
                }
            }
            last = now;
        }
    }

    async fn register(&self, version: &str) {
        if self.known.lock().await.insert(version.to_owned()) {
            let acquire = Condition::Acquire(self.session.clone());
            self.client.put(&self.key(version), "", 0, &acquire).await.unwrap();
        }
    }

    async fn deploy(&self, version: &str) {
        let _one_at_a_time = self.deploys.lock().await;
        if self.path.join(version).is_dir() {
            return;
        }
        std::fs::create_dir_all(self.path.join(version)).unwrap();
        let well = self.run(&self.deploy, version).await;
        self.say(version, if well { "available" } else { "failed" }).await;
    }

    async fn roll_out(&self, version: &str) {
        self.say(version, "starting").await;
        let well = self.run(&self.rollout, version).await;
        self.say(version, if well { "active" } else { "failed" }).await;
        for other in self.known.lock().await.iter().filter(|other| *other != version) {
            if self.path.join(other).is_dir() {
                self.say(other, "available").await;
            }
        }
    }

    async fn clean(&self, version: &str) {
        if self.known.lock().await.remove(version) {
            std::fs::remove_dir_all(self.path.join(version)).ok();
            self.client.delete(&self.key(version), Removal::Key).await.unwrap();
        }
    }

    /// A bare put: it does not ask whether the version is still there.
    async fn say(&self, version: &str, state: &str) {
        self.client.put(&self.key(version), state, 0, &Condition::Always).await.unwrap();
    }

    fn key(&self, version: &str) -> String {
        format!("{}/{version}/{}", self.prefix, self.name)
    }

    async fn run(&self, script: &str, version: &str) -> bool {
        let mut command = tokio::process::Command::new("bash");
        command.arg("-c").arg(script).current_dir(self.path.join(version)).kill_on_drop(true);
        command.env("VERSION", version).env("DEPLOYMENT_PATH", &self.path).env("AGENT_NAME", &self.name);
        command.status().await.unwrap().success()
    }
}

/// Deploys as the original's command does, and returns its exit code. It does not wait for the rollout.
pub async fn original_deploy(
    client: &Client,
    prefix: &str,
    version: &str,
    nodes: usize,
    within: Duration,
) -> i32 {
    original_deploy_seen(client, prefix, version, nodes, within, &watch::Sender::default()).await
}

/// The same; shows how many nodes the command has seen, as its readiness hangs on what changes between two of its rounds.
pub async fn original_deploy_seen(
    client: &Client,
    prefix: &str,
    version: &str,
    nodes: usize,
    within: Duration,
    seen: &watch::Sender<usize>,
) -> i32 {
    let deadline = Instant::now() + within;
    client.put(&format!("{prefix}/{version}/"), "", 0, &Condition::Always).await.unwrap();
    let (mut index, mut last) = (0, BTreeMap::new());
    loop {
        let Some(wait) = deadline.checked_duration_since(Instant::now()).filter(|left| left.as_millis() > 0)
        else {
            return 2;
        };
        let blocking = Some(Blocking { index, wait });
        let listed = client.list(&format!("{prefix}/{version}"), blocking).await.unwrap();
        index = listed.index;
        let folder = format!("{prefix}/{version}/");
        let now: BTreeMap<String, String> = listed
            .value
            .into_iter()
            .filter(|pair| pair.key != folder)
            .map(|pair| (pair.key, String::from_utf8(pair.value).unwrap()))
            .collect();
        let settled = |state: &String| matches!(state.as_str(), "ready" | "available" | "failed" | "active");
        let changed = now.iter().filter(|(node, state)| last.get(*node) != Some(*state));
        if changed.clone().count() > 0 && changed.map(|(_, state)| state).all(settled) && now.len() >= nodes {
            if now.values().any(|state| state == "failed") {
                return 2;
            }
            client.put(&format!("{prefix}/current"), version, 0, &Condition::Always).await.unwrap();
            return 0;
        }
        seen.send_replace(now.len());
        last = now;
    }
}
