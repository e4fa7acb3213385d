//! A controller to talk to: the one that runs, or, when there is none, one of our own for as long as the command runs.
//!
//! Invariant: the own one is the same controller under the same lease. When this process ends early the record stays,
//! `footplate status` says *unattended*, and the next holder of the lease goes on.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Operator;
use super::controller::ControllerArgs;
use crate::client::{Client, ClientError};
use crate::config::controller::FILE_NAME;
use crate::config::role;
use crate::controller::{self, Running};
use crate::failure::{Exit, Failure};

/// How long an own controller may wait for the lease: a dead one's session lives on for twice its 30 s.
const LEASE_DEADLINE: Duration = Duration::from_secs(90);
/// How often it looks.
const LEASE_INTERVAL: Duration = Duration::from_millis(100);

/// What a command needs that can act without a controller.
#[derive(clap::Args, Debug)]
pub struct ConnectionArgs {
    /// File of the controller that is hosted here while none runs [default: /etc/footplate/controller.toml, when it is there]
    #[arg(long, env = "FOOTPLATE_CONTROLLER_CONFIG", hide_env_values = true, value_name = "FILE")]
    controller_config: Option<PathBuf>,
}

/// A controller that answers.
pub struct Connection {
    /// How to talk to it.
    pub client: Client,
    own: Option<Own>,
}

struct Own {
    running: Running,
    stop: CancellationToken,
}

impl Own {
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.running.ended.await {
            tracing::warn!("the hosted controller ended badly: {error}");
        }
    }
}

impl Connection {
    /// Finds the controller that runs, or hosts one; `what` says what for.
    pub async fn open(operator: &Operator, args: &ConnectionArgs, what: &str) -> Result<Self, Failure> {
        Self::find(operator, args, what, true).await
    }

    /// Finds the controller that runs, or hosts one that only shows what the store holds.
    pub async fn look(operator: &Operator, args: &ConnectionArgs, what: &str) -> Result<Self, Failure> {
        Self::find(operator, args, what, false).await
    }

    async fn find(
        operator: &Operator,
        args: &ConnectionArgs,
        what: &str,
        acts: bool,
    ) -> Result<Self, Failure> {
        let client = operator.client()?;
        let named = args.controller_config.as_deref();
        match client.health().await {
            Ok(_) => Ok(Self { client, own: None }),
            Err(ClientError::Unreachable { .. }) if role::is_there(named, FILE_NAME) => {
                Self::host(operator, args, what, acts).await
            }
            Err(error) => Err(operator.failed(what, error)),
        }
    }

    async fn host(
        operator: &Operator,
        args: &ConnectionArgs,
        what: &str,
        acts: bool,
    ) -> Result<Self, Failure> {
        let (mut config, store) = ControllerArgs::of_file(args.controller_config.clone()).settle()?;
        if acts {
            operator.ui.say("No controller runs; hosting one here until the rollout is over.");
        } else {
            operator.ui.say("No controller runs; reading the store from here.");
            let listen = (Ipv4Addr::LOCALHOST, 0).into();
            config = controller::Config { acts, listen, advertise: None, tls: None, ..config };
        }
        let stop = CancellationToken::new();
        let running = controller::start(config, store.open()?, stop.clone()).await?;
        // Agents trust a controller by the authority of the store, and so do we.
        let client = operator.client_of(&running.base, &running.token, store.ca_file.as_deref());
        let own = Own { running, stop };
        let client = match client {
            Ok(client) => client,
            Err(failure) => {
                own.end().await;
                return Err(failure.during(what));
            }
        };
        let connection = Self { client, own: Some(own) };
        if !acts {
            return Ok(connection);
        }
        match connection.acts(operator).await {
            Ok(()) => Ok(connection),
            Err(failure) => {
                connection.close().await;
                Err(failure.during(what))
            }
        }
    }

    /// Waits until the own controller holds the lease.
    async fn acts(&self, operator: &Operator) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            match self.client.health().await {
                Ok(health) if health.acting => return Ok(()),
                Err(error @ ClientError::Untrusted { .. }) => {
                    return Err(operator.failed("cannot use the hosted controller", error));
                }
                Ok(_) | Err(_) => {}
            }
            if begun.elapsed() > LEASE_DEADLINE {
                return Err(Failure::new(Exit::Unreachable, "the hosted controller did not get the lease")
                    .because_of("another controller holds it, or the store does not answer")
                    .next("see `footplate status`, and check [store] in controller.toml"));
            }
            tokio::time::sleep(LEASE_INTERVAL).await;
        }
    }

    /// Tells whether the controller ends with this process.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Ends an own controller in good order, so that the next one need not wait for its lease.
    pub async fn close(self) {
        if let Some(own) = self.own {
            own.end().await;
        }
    }
}
