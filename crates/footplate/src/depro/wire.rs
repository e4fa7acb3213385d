//! What Depro asks of the store and writes to it: every request of the role is in this file.
//!
//! Invariants: a state is written only while the version exists and our session holds the key, so no write brings a
//! removed key back; a refused key is never deleted; `current` moves by compare-and-swap; listings end in a slash.

use std::collections::BTreeSet;
use std::time::Duration;

use footplate_drivers::store::consul::{
    Behavior, Blocking, Client, Condition, Indexed, Operation, Pair, Removal, SessionRequest,
    TransactionOutcome,
};
use footplate_drivers::store::{Config, Credentials, SessionId, StoreError};

use super::config::Connection;
use super::tree::{Node, Prefix, State, Version, parse_current};

/// How long a session lives without renewal; the store may take twice as long to notice.
pub const SESSION_TTL: Duration = Duration::from_secs(10);
/// The most operations of one transaction that we send: the store takes 64.
const OPERATIONS_MAX: usize = 60;

/// What `current` says, and when it was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The version, when it names one that can be a directory.
    pub version: Option<Version>,
    /// The key's index; 0 when it does not exist.
    pub index: u64,
}

/// How the registration of a version ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The key is ours.
    Yes,
    /// Another session holds it: an agent with our name, or our own former life for some seconds more.
    Refused,
    /// The version is not in the tree any more.
    Gone,
}

/// The store, as Depro uses it.
pub struct Wire {
    client: Client,
}

impl Wire {
    /// Prepares the client; sends nothing.
    pub fn open(connection: &Connection) -> Result<Self, StoreError> {
        let server = &connection.server;
        let url = if server.contains("://") { server.clone() } else { format!("http://{server}") };
        let mut config = Config::new(url.trim_end_matches('/'))?;
        if let Some(token) = &connection.token {
            config.credentials = Credentials::Token(token.clone());
        }
        config.login = connection.login.as_ref().map(|(user, password)| (user.clone(), password.clone()));
        config.datacenter = connection.datacenter.clone();
        // The original speaks http to the team's Consul, and its configuration must do here.
        config.insecure_private_network = true;
        Ok(Self { client: Client::open(&config)? })
    }

    /// Says which store this is, for people.
    pub fn describe(&self) -> String {
        self.client.describe()
    }

    /// Returns the versions of the tree once something below the prefix is newer than `seen`, or `wait` is over.
    pub async fn versions(
        &self,
        prefix: &Prefix,
        seen: u64,
        wait: Duration,
    ) -> Result<Indexed<BTreeSet<Version>>, StoreError> {
        let blocking = Some(Blocking { index: seen, wait });
        let keys = self.client.keys(&prefix.folder(), Some("/"), blocking).await?;
        Ok(Indexed { index: keys.index, value: prefix.versions(keys.value.iter().map(String::as_str)) })
    }

    /// Returns what `current` says once it is newer than `seen`, or `wait` is over.
    pub async fn current(
        &self,
        prefix: &Prefix,
        seen: u64,
        wait: Duration,
    ) -> Result<Indexed<Wish>, StoreError> {
        let pair = self.client.get(&prefix.current(), Some(Blocking { index: seen, wait })).await?;
        Ok(Indexed { index: pair.index, value: pair.value.as_ref().map(Wish::from).unwrap_or_default() })
    }

    /// Returns what is below a version once it is newer than `seen`, or `wait` is over.
    pub async fn version(
        &self,
        prefix: &Prefix,
        version: &Version,
        seen: u64,
        wait: Duration,
    ) -> Result<Indexed<Vec<Pair>>, StoreError> {
        self.client.list(&prefix.version(version), Some(Blocking { index: seen, wait })).await
    }

    /// Returns every key of the tree.
    pub async fn tree(&self, prefix: &Prefix) -> Result<Vec<Pair>, StoreError> {
        self.client.list(&prefix.folder(), None).await.map(|listed| listed.value)
    }

    /// Adds a version: its folder's appearance is what agents wait for.
    pub async fn add(&self, prefix: &Prefix, version: &Version) -> Result<(), StoreError> {
        self.client.put(&prefix.version(version), "", 0, &Condition::Always).await.map(drop)
    }

    /// Removes a version with all its states.
    pub async fn remove(&self, prefix: &Prefix, version: &Version) -> Result<(), StoreError> {
        self.client.delete(&prefix.version(version), Removal::Recurse).await.map(drop)
    }

    /// Removes one node's state if it is still the one that was read.
    pub async fn forget(&self, pair: &Pair) -> Result<bool, StoreError> {
        self.client.delete(&pair.key, Removal::Cas(pair.modify_index)).await
    }

    /// Sets `current` if nobody has touched it since `seen`.
    pub async fn switch(&self, prefix: &Prefix, version: &Version, seen: u64) -> Result<bool, StoreError> {
        self.client.put(&prefix.current(), version.as_str(), 0, &Condition::Cas(seen)).await
    }

    /// Removes `current` if nobody has touched it since `seen`.
    pub async fn unset(&self, prefix: &Prefix, seen: u64) -> Result<bool, StoreError> {
        self.client.delete(&prefix.current(), Removal::Cas(seen)).await
    }

    /// Opens an agent's session. Its keys vanish with it, at once for the next holder.
    pub async fn open_session(&self, node: &Node) -> Result<SessionId, StoreError> {
        let request = SessionRequest {
            name: node.to_string(),
            ttl: SESSION_TTL,
            lock_delay: Duration::from_millis(1),
            behavior: Behavior::Delete,
        };
        self.client.create_session(&request).await
    }

    /// Renews a session; [`StoreError::SessionGone`] when it is dead.
    pub async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.client.renew_session(session).await
    }

    /// Ends a session, and with it its keys.
    pub async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.client.destroy_session(session).await
    }
}

impl From<&Pair> for Wish {
    fn from(pair: &Pair) -> Self {
        Self { version: parse_current(&pair.value), index: pair.modify_index }
    }
}

/// One agent's place in one tree, for as long as a session lives.
#[derive(Clone, Copy)]
pub struct Seat<'a> {
    /// The store.
    pub wire: &'a Wire,
    /// The tree.
    pub prefix: &'a Prefix,
    /// The agent.
    pub node: &'a Node,
    /// Its session.
    pub session: &'a SessionId,
}

impl Seat<'_> {
    /// Takes the key of a version and says its state there, if the version is still in the tree.
    pub async fn register(&self, version: &Version, state: &State) -> Result<Registered, StoreError> {
        let folder = Operation::check_exists(self.prefix.version(version));
        if self.transact(&[folder, self.lock(version, state)]).await? {
            return Ok(Registered::Yes);
        }
        self.register_slowly(version, state).await
    }

    /// The folder's own key may be missing while its states are there: the original makes no difference.
    async fn register_slowly(&self, version: &Version, state: &State) -> Result<Registered, StoreError> {
        let pairs = self.wire.version(self.prefix, version, 0, Duration::ZERO).await?.value;
        let key = self.prefix.state(version, self.node);
        let held = |pair: &Pair| pair.holder().is_some_and(|holder| holder != *self.session);
        if pairs.iter().any(|pair| pair.key == key && held(pair)) {
            return Ok(Registered::Refused);
        }
        let Some(other) = pairs.first() else { return Ok(Registered::Gone) };
        let exists = Operation::check_exists(&other.key);
        let done = self.transact(&[exists, self.lock(version, state)]).await?;
        Ok(if done { Registered::Yes } else { Registered::Gone })
    }

    /// Brings the folder of the current version back that somebody removed by hand, and takes our key in it. Only while
    /// `current` is what was read at `wish`.
    pub async fn repair(
        &self,
        version: &Version,
        state: &State,
        wish: u64,
    ) -> Result<Registered, StoreError> {
        let operations = [
            Operation::check_index(self.prefix.current(), wish),
            Operation::set(self.prefix.version(version), ""),
            self.lock(version, state),
        ];
        Ok(if self.transact(&operations).await? { Registered::Yes } else { Registered::Gone })
    }

    /// Says these states, if all their keys are still ours; false when one is not, and nothing was said.
    pub async fn say(&self, states: &[(Version, State)]) -> Result<bool, StoreError> {
        for part in states.chunks(OPERATIONS_MAX / 2) {
            let operations: Vec<Operation> = part
                .iter()
                .flat_map(|(version, state)| {
                    let key = self.prefix.state(version, self.node);
                    [Operation::check_session(&key, self.session), Operation::set(key, state.as_str())]
                })
                .collect();
            if !self.transact(&operations).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns those of these versions whose key is not ours any more.
    pub async fn lost(&self, versions: &[Version]) -> Result<Vec<Version>, StoreError> {
        let mut lost = Vec::new();
        for part in versions.chunks(OPERATIONS_MAX) {
            let checks: Vec<Operation> = part
                .iter()
                .map(|version| Operation::check_session(self.prefix.state(version, self.node), self.session))
                .collect();
            if let TransactionOutcome::Conflict(failures) = self.wire.client.transact(&checks).await? {
                lost.extend(failures.iter().filter_map(|failure| part.get(failure.op_index)).cloned());
            }
        }
        Ok(lost)
    }

    fn lock(&self, version: &Version, state: &State) -> Operation {
        Operation::lock(self.prefix.state(version, self.node), state.as_str(), self.session)
    }

    async fn transact(&self, operations: &[Operation]) -> Result<bool, StoreError> {
        Ok(self.wire.client.transact(operations).await? == TransactionOutcome::Applied)
    }
}

#[cfg(test)]
mod tests;
