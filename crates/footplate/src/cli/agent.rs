//! `footplate agent`: runs the role that acts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use footplate_core::name::HostName;
use footplate_drivers::router;
use footplate_drivers::shell::User;
use footplate_drivers::workload::Settings;

use super::{Operator, signal};
use crate::agent::{self, Access, AgentConfig, AgentError, Limits};
use crate::config::agent::{AgentFile, FILE_NAME, FOLDER_DEFAULT};
use crate::config::role;
use crate::config::store::StoreSettings;
use crate::failure::{Exit, Failure};
use crate::secret::Secret;

/// Run the agent of this host: prepare, activate and clean what the controller orders
///
/// A new host joins by its labels, with nothing but the store's address and a token. A join token is exchanged once for
/// a credential of the host's own, which may write only what this host reports. A store that is away is waited for.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate agent --store http://127.0.0.1:7700 --folder ./host-1 --host host-1
  footplate agent --store https://10.0.0.5:7700 --join-token-file join.token --label role=web
  footplate agent --config agent.toml

A flag wins over a variable, a variable over the file, the file over the default.")]
pub struct AgentArgs {
    /// File to read [default: /etc/footplate/agent.toml, when it is there]
    #[arg(long, env = "FOOTPLATE_AGENT_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name it speaks for [default: the machine's name]
    #[arg(long, env = "FOOTPLATE_HOST", hide_env_values = true, value_name = "NAME")]
    host: Option<HostName>,
    /// Label that selectors choose hosts by; repeatable, and above those of the file
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Address that people reach the host at; only shown
    #[arg(long, env = "FOOTPLATE_ADDRESS", hide_env_values = true, value_name = "TEXT")]
    address: Option<String>,
    /// Folder of its own [default: /var/lib/footplate/agent]
    #[arg(long, env = "FOOTPLATE_AGENT_FOLDER", hide_env_values = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// User that scripts run as and files belong to; needs root [default: the agent's own]
    #[arg(long, env = "FOOTPLATE_USER", hide_env_values = true, value_name = "USER")]
    user: Option<String>,
    /// File that holds a join token, for the first start
    #[arg(long, env = "FOOTPLATE_JOIN_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    join_token_file: Option<PathBuf>,
    /// IP address that services of this host are reached at [default: 127.0.0.1]
    #[arg(long, env = "FOOTPLATE_SERVICES_AT", hide_env_values = true, value_name = "ADDRESS")]
    services_at: Option<IpAddr>,
    /// Folder of the footplate router on this host, which the agent tells where requests go
    #[arg(long, env = "FOOTPLATE_ROUTER_FOLDER", hide_env_values = true, value_name = "DIR")]
    router_folder: Option<PathBuf>,
    #[command(flatten)]
    store: StoreSettings,
}

impl AgentArgs {
    /// Puts the flags above the file and the file above the defaults.
    fn settle(&self) -> Result<AgentConfig, Failure> {
        let file = role::read(self.config.as_deref(), FILE_NAME, AgentFile::parse)?;
        let labels: BTreeMap<String, String> = file.labels.into_iter().chain(self.labels.clone()).collect();
        let join_token = self.join_token_file.clone().or(file.join_token_file);
        let folder = self.folder.clone().or(file.folder).unwrap_or_else(|| FOLDER_DEFAULT.into());
        // Scripts and services run in folders of their own, so every path must hold from anywhere.
        let folder = std::path::absolute(&folder).map_err(|error| unusable(&folder, &error))?;
        // A host that has joined needs the token no more, and its file may be gone.
        let has_joined = folder.join("state/credential").exists();
        let join_token = join_token.filter(|_| !has_joined);
        let join_token = join_token.map(|file| Secret::read(&file)).transpose()?;
        let store = self.store.clone().or(file.store);
        let store = store.config()?;
        let discovery = file.discovery.map(|discovery| discovery.settle(&store)).transpose()?;
        let usual = Limits::default();
        let user = self.user.clone().or(file.user);
        Ok(AgentConfig {
            host: self.host.clone().or(file.host).map_or_else(machine, Ok)?,
            store: Access::Configured { store: Box::new(store), join_token },
            labels,
            address: self.address.clone().or(file.address).unwrap_or_default(),
            folder,
            limits: Limits {
                look_every: file.look_every.unwrap_or(usual.look_every),
                prepares_max: file.prepares.map_or(usual.prepares_max, |prepares| prepares as usize),
                ..usual
            },
            settings: Settings { user: user.as_deref().map(find_user).transpose()?, ..Settings::default() },
            services_at: self.services_at.or(file.services_at).unwrap_or(Ipv4Addr::LOCALHOST.into()),
            program: agent::program(),
            router: self.router_folder.clone().map(router::Config::Builtin).or(file.router),
            discovery,
            is_alone: true,
        })
    }
}

fn unusable(folder: &Path, error: &std::io::Error) -> Failure {
    let what = format!("cannot use the folder `{}`", folder.display());
    Failure::new(Exit::Usage, what).because(error).next("name the agent's own folder with `--folder`")
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as role=web".to_owned()),
    }
}

/// Returns the machine's own name.
fn machine() -> Result<HostName, Failure> {
    let failed =
        || Failure::new(Exit::Usage, "cannot tell the machine's name").next("give one with `--host`");
    let text =
        std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| failed().because(&error))?;
    text.trim().parse().map_err(|error| failed().because(&error))
}

fn find_user(name: &str) -> Result<User, Failure> {
    User::named(name).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot run scripts as `{}`", name.escape_debug()))
            .because(&error)
            .next("name a user of /etc/passwd with `--user`")
    })
}

/// Runs the agent until it is told to end.
pub async fn agent(operator: &Operator, args: &AgentArgs) -> Result<(), Failure> {
    let config = args.settle()?;
    let stop = signal::stop_on_signal();
    operator.ui.say(format!("The agent of {} works in {}.", config.host, config.folder.display()));
    agent::run(config, stop).await.map_err(failed)
}

fn failed(error: AgentError) -> Failure {
    let exit = match error {
        AgentError::State(_) | AgentError::Services(_) => Exit::Failed,
        AgentError::Store(_) | AgentError::Discovery(_) => Exit::Usage,
        AgentError::Join { .. } => Exit::Refused,
    };
    Failure::new(exit, "the agent cannot begin").because(&error).next(error.next())
}
