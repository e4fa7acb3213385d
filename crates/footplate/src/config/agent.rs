//! `agent.toml`: which host an agent speaks for and where it gets its orders. `docs/reference/agent.toml` shows every key.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use footplate_core::name::HostName;
use footplate_drivers::router;

use super::discovery::DiscoverySettings;
use super::mistake::Mistakes;
use super::store::StoreSettings;
use super::table::{self, Findings, Table};

/// The file's name in `/etc/footplate`.
pub const FILE_NAME: &str = "agent.toml";
/// The agent's own folder unless told otherwise.
pub const FOLDER_DEFAULT: &str = "/var/lib/footplate/agent";

/// What an `agent.toml` says; what is absent is decided by the next layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFile {
    /// The host it speaks for.
    pub host: Option<HostName>,
    /// The agent's own folder.
    pub folder: Option<PathBuf>,
    /// What selectors choose hosts by.
    pub labels: BTreeMap<String, String>,
    /// Where people reach the host.
    pub address: Option<String>,
    /// Who scripts run as.
    pub user: Option<String>,
    /// The file of the join token, for the first start.
    pub join_token_file: Option<PathBuf>,
    /// Where orders come from.
    pub store: StoreSettings,
    /// Where services of the host are reached.
    pub services_at: Option<IpAddr>,
    /// The router on this host.
    pub router: Option<router::Config>,
    /// The catalog that services of the host stand in.
    pub discovery: Option<DiscoverySettings>,
    /// How many releases are prepared side by side.
    pub prepares: Option<u32>,
    /// How often the disk is looked at when nothing happens.
    pub look_every: Option<Duration>,
}

impl AgentFile {
    /// Parses the text of an `agent.toml`; relative paths in it begin at `folder`.
    pub fn parse(path: &str, text: &str, folder: &Path) -> Result<Self, Mistakes> {
        Self::parse_with(path, text, folder, &Findings::default())
    }

    /// Parses like [`AgentFile::parse`] and leaves in `findings` which keys there are.
    pub fn parse_with(path: &str, text: &str, folder: &Path, findings: &Findings) -> Result<Self, Mistakes> {
        table::parse(path, text, findings, |root| Some(read(root, folder)))
    }
}

fn read(root: &mut Table, folder: &Path) -> AgentFile {
    let mut file = AgentFile {
        host: root.parsed("host"),
        folder: root.text("folder").map(|found| folder.join(found.value)),
        address: root.text("address").map(|found| found.value),
        services_at: root.parsed("services_at"),
        user: root.text("user").map(|found| found.value),
        join_token_file: root.text("join_token_file").map(|found| folder.join(found.value)),
        labels: root.named_texts("labels"),
        ..AgentFile::default()
    };
    if let Some(store) = root.table("store") {
        file.store = StoreSettings::read(store, folder);
    }
    if let Some(table) = root.table("router") {
        file.router = super::router::read(table, folder);
    }
    if let Some(table) = root.table("discovery") {
        file.discovery = Some(DiscoverySettings::read(table, folder));
    }
    if let Some(mut limits) = root.table("limits") {
        file.prepares = limits.count("prepares");
        file.look_every = limits.duration("look_every");
        limits.finish();
    }
    file
}
