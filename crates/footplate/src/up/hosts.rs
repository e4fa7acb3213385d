//! The agents of `footplate up`: each folder stands for a host.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::HostName;
use footplate_core::selector::Labels;
use footplate_drivers::store::Store;
use footplate_drivers::workload::Settings;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Access, AgentConfig, Limits};

/// Agents that run in this process.
pub struct Hosts {
    agents: JoinSet<()>,
    stop: CancellationToken,
}

impl Hosts {
    /// Starts an agent for each name, below `folder`.
    pub fn start(folder: &Path, names: Vec<HostName>, store: &Arc<dyn Store>) -> Self {
        let (mut agents, stop) = (JoinSet::new(), CancellationToken::new());
        for host in names {
            let config = AgentConfig {
                store: Access::Open(store.clone()),
                labels: Labels::from([("role".to_owned(), "demo".to_owned())]),
                address: "this machine".to_owned(),
                folder: folder.join(host.as_str()),
                limits: Limits::default(),
                settings: Settings::default(),
                services_at: std::net::Ipv4Addr::LOCALHOST.into(),
                program: agent::program(),
                router: None,
                is_alone: false,
                host: host.clone(),
            };
            let stop = stop.clone();
            agents.spawn(async move {
                if let Err(error) = agent::run(config, stop).await {
                    tracing::error!(%host, %error, "the agent could not begin");
                }
            });
        }
        Self { agents, stop }
    }

    /// Stops all agents; what they made live stays live.
    pub async fn stop(mut self, patience: Duration) {
        self.stop.cancel();
        let all = async { while self.agents.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("an agent did not stop in time");
        }
    }
}
