//! `footplate controller`: runs the role that decides.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use footplate_core::name::LaneName;

use super::{Operator, signal};
use crate::config::controller::{ControllerFile, FILE_NAME, FOLDER_DEFAULT, LANE_DEFAULT, LISTEN_DEFAULT};
use crate::config::role;
use crate::config::store::StoreSettings;
use crate::controller;
use crate::controller::listen::TlsFiles;
use crate::failure::{Exit, Failure};

/// Run the controller: plan rollouts, write orders, answer people and agents
///
/// Controllers of one lane take turns: one holds the lease and acts, the others stand by. The first start writes the
/// operators' token to FOLDER/token. An address that other machines reach demands a certificate.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  footplate controller                                       the embedded store on this machine
  footplate controller --store https://consul.internal:8501 --store-token-file /etc/footplate/store.token
  footplate controller --config controller.toml

A flag wins over a variable, a variable over the file, the file over the default.")]
pub struct ControllerArgs {
    /// File to read [default: /etc/footplate/controller.toml, when it is there]
    #[arg(long, env = "FOOTPLATE_CONTROLLER_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the API [default: 127.0.0.1:7701]
    #[arg(long, env = "FOOTPLATE_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address that hosts reach it at, when it is not the one it listens on
    #[arg(long, env = "FOOTPLATE_ADVERTISE", hide_env_values = true, value_name = "URL")]
    advertise: Option<String>,
    /// Folder of its own [default: /var/lib/footplate/controller]
    #[arg(long, env = "FOOTPLATE_CONTROLLER_FOLDER", hide_env_values = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Lane it acts on [default: main]
    #[arg(long, env = "FOOTPLATE_LANE", hide_env_values = true, value_name = "NAME")]
    lane: Option<LaneName>,
    /// Certificate chain for https, as a PEM file
    #[arg(
        long,
        requires = "tls_key",
        env = "FOOTPLATE_TLS_CERTIFICATE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    tls_certificate: Option<PathBuf>,
    /// Key of the certificate, as a PEM file
    #[arg(
        long,
        requires = "tls_certificate",
        env = "FOOTPLATE_TLS_KEY",
        hide_env_values = true,
        value_name = "FILE"
    )]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    store: StoreSettings,
}

impl ControllerArgs {
    /// Takes everything from a file: the named one, else the usual one.
    pub fn of_file(config: Option<PathBuf>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Puts the flags above the file and the file above the defaults.
    pub fn settle(&self) -> Result<(controller::Config, StoreSettings), Failure> {
        let file = role::read(self.config.as_deref(), FILE_NAME, ControllerFile::parse)?;
        let certificate = self.tls_certificate.clone().or(file.certificate);
        let key = self.tls_key.clone().or(file.key);
        let fixed = "the default is valid";
        let config = controller::Config {
            lane: self.lane.clone().or(file.lane).unwrap_or_else(|| LANE_DEFAULT.parse().expect(fixed)),
            data: self.folder.clone().or(file.folder).unwrap_or_else(|| FOLDER_DEFAULT.into()),
            listen: self.listen.or(file.listen).unwrap_or_else(|| LISTEN_DEFAULT.parse().expect(fixed)),
            advertise: self.advertise.clone().or(file.advertise),
            tls: certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key }),
            keep_pushed: file.keep_pushed.unwrap_or(controller::KEEP_PUSHED_DEFAULT),
            kpi: file.kpi,
            acts: true,
        };
        Ok((config, self.store.clone().or(file.store)))
    }
}

/// Runs a controller until it is told to end.
pub async fn controller(operator: &Operator, args: &ControllerArgs) -> Result<(), Failure> {
    let (config, store) = args.settle()?;
    let stop = signal::stop_on_signal();
    let token_file = config.data.join("token");
    // Each connection is an open file, and a controller starts no program that would inherit this.
    footplate_kv::raise_open_files();
    let running = controller::start(config, store.open()?, stop).await?;
    operator.ui.say(format!(
        "The controller answers at {}; the token is in {}.",
        running.base,
        token_file.display()
    ));
    let failed = |error| Failure::new(Exit::Failed, "the controller ended early").because(&error);
    running.ended.await.map_err(failed)
}
