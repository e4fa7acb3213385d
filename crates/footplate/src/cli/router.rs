//! `footplate router`: runs the role that routes requests to versions side by side.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use footplate_router::config::Network;
use footplate_router::{Config, Listener, Server};

use super::{Operator, signal};
use crate::failure::{Exit, Failure};

/// Run the built-in router: versions side by side, shares, drain without a lost request, exact counts
///
/// It routes by the table that it is given at the control socket in its folder, and keeps the last one over a restart.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate router --listen 127.0.0.1:8080 --folder ./router
  curl --unix-socket ./router/control.sock -T table.json http://router/v1/table

docs/reference/router-api.md says what a table is and what the router counts.")]
pub struct RouterArgs {
    /// Address where clients come in, with http:// before it or not; may be repeated
    #[arg(
        long,
        required = true,
        value_delimiter = ',',
        env = "FOOTPLATE_ROUTER_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    listen: Vec<Listener>,
    /// Folder of its own
    #[arg(
        long,
        default_value = "/var/lib/footplate/router",
        env = "FOOTPLATE_ROUTER_FOLDER",
        hide_env_values = true,
        value_name = "DIR"
    )]
    folder: PathBuf,
    /// Network of proxies whose X-Forwarded-For counts, such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "NETWORK")]
    trust: Vec<Network>,
    /// Threads that serve clients [default: one a core]
    #[arg(long, value_name = "NUMBER")]
    workers: Option<usize>,
    /// Seconds that requests may take to finish when it ends
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    drain: u64,
}

impl RouterArgs {
    fn settle(&self) -> Config {
        let mut config = Config::new(&self.folder, self.listen.clone());
        config.trusted = self.trust.clone();
        config.workers = self.workers.unwrap_or(config.workers);
        config.drain_time_max = Duration::from_secs(self.drain);
        config
    }
}

/// Runs a router until it is told to end, or replaced.
pub async fn router(operator: &Operator, args: &RouterArgs) -> Result<(), Failure> {
    let config = args.settle();
    config.check().map_err(|failure| of_router(failure, Exit::Refused))?;
    // Each connection is an open file, and nothing is started from here that would inherit this.
    footplate_kv::raise_open_files();
    let stop = signal::stop_on_signal();
    let socket = config.folder.join("control.sock");
    let server = Server::open(config).await.map_err(|failure| of_router(failure, Exit::Failed))?;
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    let said =
        format!("The router serves at {}; its control socket is {}.", addresses.join(", "), socket.display());
    operator.ui.say(said);
    server.run(stop.cancelled_owned()).await;
    Ok(())
}

fn of_router(failure: footplate_router::Failure, exit: Exit) -> Failure {
    Failure::new(exit, failure.what).because_of(failure.because).next(failure.next)
}
