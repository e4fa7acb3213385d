//! Thousands of agents, their controller and the embedded store in one process; `cargo xtask bench fleet` runs it.
//!
//! Agents, controller, driver and server are the real ones. Requests reach the server's router without a socket, or with
//! `--sockets` over one connection a request in flight, as in life. The hosts' folders should lie in memory: ten
//! thousand hosts do not share a disk. Prints one JSON object a quantity: `{"agents", "quantity", "unit", "runs"}`.

mod counted;
mod fleet;
mod server;

use std::path::PathBuf;

use clap::Parser;
use fleet::Fleet;
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// How many agents
    #[arg(long, default_value_t = 10_000)]
    agents: usize,
    /// How many deployments are measured, after a first one that is not
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Send requests over sockets
    #[arg(long)]
    sockets: bool,
    /// Folder for the store and the hosts; what it holds is removed
    #[arg(long, default_value = "/dev/shm/footplate-fleet")]
    place: PathBuf,
}

/// Returns how many agents this process may hold: each keeps one file locked.
fn agents_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(800))
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    footplate::install_crypto_provider();
    let arguments = Arguments::parse();
    let agents = arguments.agents.min(agents_max());
    let fleet = Fleet::open(&arguments.place, agents, arguments.sockets).await?;
    fleet.deploy("0").await?;
    let mut runs = Vec::new();
    for run in 1..=arguments.runs {
        runs.push(fleet.deploy(&run.to_string()).await?);
    }
    let print = |quantity: &str, unit: &str, of: &dyn Fn(&fleet::Deployment) -> f64| {
        println!(
            "{}",
            json!({ "agents": agents, "quantity": quantity, "unit": unit, "runs": runs.iter().map(of).collect::<Vec<f64>>() })
        );
    };
    print("start to last activation", "s", &|run| run.to_last.as_secs_f64());
    print("switch", "s", &|run| run.switch.as_secs_f64());
    print("unfinished at the switch", "hosts", &|run| run.unfinished as f64);
    print("early", "hosts", &|run| run.early as f64);
    print("requests per agent", "requests", &|run| run.requests);
    print("renewals per agent", "requests", &|run| run.renewals);
    print("writes of the barrier", "writes", &|run| run.barrier_writes as f64);
    fleet.close().await;
    Ok(())
}
