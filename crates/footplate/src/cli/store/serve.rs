//! `footplate store serve`: the embedded store.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use footplate_kv::{Config, Limits, Server, Tls};

use crate::cli::{Operator, signal};
use crate::failure::{Exit, Failure};

/// Run the embedded store: Consul's KV API on one machine, nothing to install
///
/// One server, for ever: for more than one machine to depend on it, use Consul or etcd. It listens on loopback; any
/// other address demands a certificate and tokens, because who can write the store can run code on every host.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate store serve
  footplate store serve --listen 10.0.0.5:7700 --tokens --tls-certificate store.pem --tls-key store-key.pem

With --tokens the first start writes a root token to FOLDER/root.token.")]
pub struct ServeArgs {
    /// Address to listen on
    #[arg(
        long,
        default_value = "127.0.0.1:7700",
        env = "FOOTPLATE_STORE_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    /// Folder of its own
    #[arg(
        long,
        default_value = "/var/lib/footplate/store",
        env = "FOOTPLATE_STORE_FOLDER",
        hide_env_values = true,
        value_name = "DIR"
    )]
    folder: PathBuf,
    /// Demand a token of everybody
    #[arg(long)]
    tokens: bool,
    /// Certificate chain for https, as a PEM file
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// Key of the certificate, as a PEM file
    #[arg(long, requires = "tls_certificate", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

/// Runs the store until it is told to end.
pub async fn serve(operator: &Operator, args: &ServeArgs) -> Result<(), Failure> {
    let tls = args.tls_certificate.clone().zip(args.tls_key.clone());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let config = Config {
        data_dir: args.folder.clone(),
        listen: args.listen,
        tls: tls.map(|(certificate, key)| Tls { certificate, key }),
        tokens: args.tokens,
        limits: Limits::default(),
    };
    config.check().map_err(|failure| of_store(failure, Exit::Refused))?;
    // A connection or two of each agent are open at once, and nothing is started from here that would inherit it.
    footplate_kv::raise_open_files();
    let stop = signal::stop_on_signal();
    let server = Server::open(config).await.map_err(|failure| of_store(failure, Exit::Failed))?;
    let listener = server.bind().await.map_err(|failure| of_store(failure, Exit::Failed))?;
    let address = listener.local_addr().unwrap_or(args.listen);
    operator.ui.say(format!("The store answers at {scheme}://{address}."));
    let served = server.serve(listener, stop.cancelled_owned()).await;
    server.close().await;
    served.map_err(|failure| of_store(failure, Exit::Failed))
}

fn of_store(failure: footplate_kv::Failure, exit: Exit) -> Failure {
    Failure::new(exit, failure.what).because_of(failure.because).next(failure.next)
}
