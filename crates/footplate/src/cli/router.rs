//! `footplate router`: runs the role that routes requests to versions side by side.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use footplate_router::config::Network;
use footplate_router::{Config, Listener, Server, Tls};

use super::{Operator, signal};
use crate::failure::{Exit, Failure};

/// Run the built-in router: versions side by side, shares, drain without a lost request, exact counts
///
/// It routes by the table that it is given at the control socket in its folder, and keeps the last one over a restart. Started on the
/// folder of a router that runs, it takes over its addresses, and that one ends when its last request has: an upgrade loses none.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate router --listen 127.0.0.1:8080 --folder ./router
  footplate router --listen http://0.0.0.0:80 --listen https://0.0.0.0:443 --certificate shop.pem --key shop-key.pem
  curl --unix-socket ./router/control.sock -T table.json http://router/v1/table

docs/reference/router-api.md says what a table is and what the router counts.")]
pub struct RouterArgs {
    /// Address where clients come in, with http:// or https:// before it; may be repeated
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
    /// Certificate chain for https, as a PEM file; may be repeated, chosen by the name that a client asks for
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// Key of the certificate, as a PEM file, in the order of the certificates
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Network of proxies whose X-Forwarded-For counts, such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "NETWORK")]
    trust: Vec<Network>,
    /// Address where Prometheus reads the counts, at /metrics and in clear, such as 127.0.0.1:9180
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Let that be an address of a private network: whoever is there reads the counts
    #[arg(long, requires = "metrics")]
    metrics_insecure_private_network: bool,
    /// Threads that serve clients [default: one a core]
    #[arg(long, value_name = "NUMBER")]
    workers: Option<usize>,
    /// Seconds that requests may take to finish when it ends or was replaced
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    drain: u64,
}

impl RouterArgs {
    fn settle(&self) -> Result<Config, Failure> {
        if self.certificate.len() != self.key.len() {
            let because =
                format!("there are {} certificates and {} keys", self.certificate.len(), self.key.len());
            let failure = Failure::new(Exit::Usage, "cannot understand the command line").because_of(because);
            return Err(failure.next("give each --certificate its --key, in the same order"));
        }
        let pairs = self.certificate.iter().zip(&self.key);
        let mut config = Config::new(&self.folder, self.listen.clone());
        config.certificates = pairs
            .map(|(certificate, key)| Tls { certificate: certificate.clone(), key: key.clone() })
            .collect();
        config.metrics = self.metrics;
        config.metrics_on_private_network = self.metrics_insecure_private_network;
        config.trusted = self.trust.clone();
        config.workers = self.workers.unwrap_or(config.workers);
        config.drain_time_max = Duration::from_secs(self.drain);
        Ok(config)
    }
}

/// Runs a router until it is told to end, or replaced.
pub async fn router(operator: &Operator, args: &RouterArgs) -> Result<(), Failure> {
    let config = args.settle()?;
    config.check().map_err(|failure| of_router(failure, Exit::Refused))?;
    // Each connection is an open file, and nothing is started from here that would inherit this.
    footplate_kv::raise_open_files();
    let stop = signal::stop_on_signal();
    let socket = footplate_router::control::socket(&config.folder);
    let server = Server::open(config).await.map_err(|failure| of_router(failure, Exit::Failed))?;
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    if let Some(process) = server.took_over_from() {
        operator.ui.say(format!("It takes over from process {process}, which finishes what it has."));
    }
    let said =
        format!("The router serves at {}; its control socket is {}.", addresses.join(", "), socket.display());
    operator.ui.say(said);
    if let Some(address) = server.metrics_address() {
        operator.ui.say(format!("Prometheus reads the counts at http://{address}/metrics."));
    }
    if server.run(stop.cancelled_owned()).await.map_err(|failure| of_router(failure, Exit::Failed))? {
        operator.ui.say("Another router has taken over.");
    }
    Ok(())
}

fn of_router(failure: footplate_router::Failure, exit: Exit) -> Failure {
    Failure::new(exit, failure.what).because_of(failure.because).next(failure.next)
}
