//! `footplate up`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use footplate_core::name::EnvironmentName;
use tokio_util::sync::CancellationToken;

use super::Operator;
use crate::failure::Failure;
use crate::up;

/// Start everything in this terminal and ship every commit of a repository
///
/// A store, a controller and agents run in this process; each agent's folder stands for a host. A router and the hosts'
/// services are processes of their own. Without a repository an example app is made. Ctrl-C stops it all; the next start goes on where it was.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate up                          the example app on three hosts
  footplate up --repository . --agents 5
  footplate --data /srv/footplate up    keep everything there")]
pub struct UpArgs {
    /// Folder of the app's git repository [default: an example, made in the data directory]
    #[arg(long, short, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Branch to follow [default: the one that is checked out]
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Number of agents
    #[arg(long, short = 'n', default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=200), value_name = "COUNT")]
    agents: u32,
    /// Environment to deploy to
    #[arg(long, short, default_value = "production", value_name = "NAME")]
    environment: EnvironmentName,
    /// Address of the controller's API; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address where the router serves; a free port when that one is taken
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    router: SocketAddr,
    /// Address of this machine where Prometheus reads the router's counts, such as 127.0.0.1:9180
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Folder of the programs that may be asked for KPIs
    #[arg(long, value_name = "FOLDER")]
    kpi_commands: Option<PathBuf>,
    /// Ship the newest commit, then stop
    #[arg(long)]
    once: bool,
}

/// Runs everything until Ctrl-C.
pub async fn up(operator: &Operator, args: &UpArgs) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    tokio::spawn(super::signal::cancel_on_signal(stop.clone()));
    let plan = up::Plan {
        data: operator.data(),
        repository: args.repository.clone(),
        branch: args.branch.clone(),
        environment: args.environment.clone(),
        agents: args.agents,
        listen: args.listen,
        router: args.router,
        metrics: args.metrics,
        kpi_commands: args.kpi_commands.clone(),
        once: args.once,
    };
    up::run(operator, plan, stop).await
}
