//! How an agent comes to its store: open already, with credentials, or by joining once with a join token.
//!
//! Invariants: a join token is shown once and its credential kept, readable by its owner alone; neither is ever logged.

use std::path::PathBuf;
use std::sync::Arc;

use footplate_core::name::HostName;
use footplate_drivers::discovery::DiscoveryError;
use footplate_drivers::store::{self, Config, Credentials, Secret, Store, StoreError, Troubles};

use super::services::ServicesError;
use super::state::{StateDirectory, StateError};

/// How an agent comes to its store.
pub enum Access {
    /// It is open: for several agents in one process.
    Open(Arc<dyn Store>),
    /// It is opened with these credentials, or, when they are none, with the host's own from a former join, or else with
    /// what this join token is exchanged for.
    Configured {
        /// Where the store is.
        store: Box<Config>,
        /// The token to join with, if the host has not joined yet.
        join_token: Option<Secret>,
    },
}

impl Access {
    /// Returns the authority that the store is trusted by, when it is not the system's.
    pub fn ca_file(&self) -> Option<PathBuf> {
        match self {
            Access::Open(_) => None,
            Access::Configured { store, .. } => store.ca_file.clone(),
        }
    }
}

/// An agent that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its folder of services cannot be used.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The catalog of services is not configured well.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The store's configuration is wrong.
    #[error("cannot use the store")]
    Store(#[source] StoreError),
    /// The store does not take the join token.
    #[error("cannot join as `{host}`")]
    Join {
        /// The host.
        host: HostName,
        /// What the store said.
        #[source]
        source: StoreError,
    },
}

impl AgentError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            AgentError::State(error) => error.next(),
            AgentError::Services(error) => error.next(),
            AgentError::Discovery(error) => error.next().to_owned(),
            AgentError::Store(_) => "mend `[store]` in agent.toml".to_owned(),
            AgentError::Join { .. } => "make a new join token, and start the agent with it".to_owned(),
        }
    }
}

/// Opens the store; joins first when this host has no credential yet, trying for as long as the store does not answer.
pub async fn open(
    access: &Access,
    host: &HostName,
    state: &StateDirectory,
) -> Result<Arc<dyn Store>, AgentError> {
    let (config, join_token) = match access {
        Access::Open(store) => return Ok(Arc::clone(store)),
        Access::Configured { store, join_token } => (store, join_token),
    };
    let mut config = config.as_ref().clone();
    if config.credentials == Credentials::None {
        config.credentials = match (state.read_credential()?, join_token) {
            (Some(credential), _) => Credentials::Token(Secret::new(credential)),
            (None, Some(token)) => Credentials::Token(join(&config, host, token, state).await?),
            (None, None) => Credentials::None,
        };
    }
    store::open(&config).map_err(AgentError::Store)
}

async fn join(
    config: &Config,
    host: &HostName,
    token: &Secret,
    state: &StateDirectory,
) -> Result<Secret, AgentError> {
    let mut trouble = Troubles::default().of("join");
    loop {
        match store::join(config, host.as_str(), token).await {
            Ok(credential) => {
                state.write_credential(credential.expose())?;
                tracing::info!(%host, "joined; the host has a credential of its own");
                return Ok(credential);
            }
            Err(error @ (StoreError::Unreachable { .. } | StoreError::Unavailable { .. })) => {
                tokio::time::sleep(trouble.failed(&error)).await;
            }
            Err(source) => return Err(AgentError::Join { host: host.clone(), source }),
        }
    }
}
