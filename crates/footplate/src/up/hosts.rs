//! The agents of `footplate up`: each folder stands for a host.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::HostName;
use footplate_core::selector::Labels;
use footplate_drivers::service::Supervisor;
use footplate_drivers::service::keeper::Keepers;
use footplate_drivers::store::Store;
use footplate_drivers::workload::Settings;
use footplate_drivers::{chain, router};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Access, AgentConfig, Limits};

/// Agents that run in this process.
pub struct Hosts {
    agents: JoinSet<()>,
    folders: Vec<PathBuf>,
    stop: CancellationToken,
}

impl Hosts {
    /// Starts an agent for each name, below `folder`; the first one tells the router in `router` where requests go.
    pub fn start(folder: &Path, names: Vec<HostName>, store: &Arc<dyn Store>, router: &Path) -> Self {
        let (mut agents, stop) = (JoinSet::new(), CancellationToken::new());
        let folders = names.iter().map(|name| folder.join(name.as_str())).collect();
        let mut beside = Some(router::Config::Builtin(router.to_owned()));
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
                router: beside.take(),
                discovery: None,
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
        Self { agents, folders, stop }
    }

    /// Stops all agents and then their services; what they made live stays live.
    pub async fn stop(mut self, patience: Duration) {
        self.stop.cancel();
        let all = async { while self.agents.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("an agent did not stop in time");
        }
        let mut ends = JoinSet::new();
        for folder in self.folders {
            ends.spawn(stop_services(folder));
        }
        while ends.join_next().await.is_some() {}
    }
}

/// Stops the services of one host. The next start of its agent starts them again, as its orders stand.
async fn stop_services(host: PathBuf) {
    let keepers = Keepers::new(&agent::services_in(&host), agent::program());
    let services = match keepers.look().await {
        Ok(services) => services,
        Err(error) => return tracing::error!("cannot find the services: {}", chain(&error)),
    };
    for (name, _) in services {
        if let Err(error) = keepers.stop(&name).await {
            tracing::error!(service = %name, "cannot stop it: {}", chain(&error));
        }
    }
}
