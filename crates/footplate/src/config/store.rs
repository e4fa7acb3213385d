//! `[store]` of `agent.toml` and `controller.toml`, and the flags that say the same.
//!
//! Invariant: no file and no flag holds a secret, only the name of a file that holds one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use footplate_drivers::store::{self, Config, Credentials, Store};

use super::table::Table;
use crate::failure::{Exit, Failure};
use crate::secret::Secret;

/// Where the embedded store listens unless told otherwise.
pub const ADDRESS_DEFAULT: &str = "http://127.0.0.1:7700";

/// Where the store is and who we are to it; what is absent is decided by the next layer.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Store")]
pub struct StoreSettings {
    /// Address: http://HOST:PORT or https://… for the embedded store and Consul, etcd+https://… for etcd
    /// [default: http://127.0.0.1:7700]
    #[arg(id = "store", long, env = "FOOTPLATE_STORE", hide_env_values = true, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Text before every key, ending in a slash [default: footplate/]
    #[arg(
        id = "store-root",
        long,
        env = "FOOTPLATE_STORE_ROOT",
        hide_env_values = true,
        value_name = "TEXT"
    )]
    pub root: Option<String>,
    /// File that holds a token of Consul or of the embedded store
    #[arg(
        id = "store-token-file",
        long,
        env = "FOOTPLATE_STORE_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// User of etcd
    #[arg(
        id = "store-user",
        long,
        env = "FOOTPLATE_STORE_USER",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub user: Option<String>,
    /// File that holds the password of the etcd user
    #[arg(
        id = "store-password-file",
        long,
        env = "FOOTPLATE_STORE_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,
    /// Authority to trust for https, as a PEM file [default: the system's]
    #[arg(
        id = "store-ca-file",
        long,
        env = "FOOTPLATE_STORE_CA_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,
    /// Datacenter of Consul, when it is not the one of the server that answers
    #[arg(
        id = "store-datacenter",
        long,
        env = "FOOTPLATE_STORE_DATACENTER",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub datacenter: Option<String>,
    /// Everybody on the private network may read and change what is sent: http may leave this machine
    #[arg(
        id = "store-insecure-private-network",
        long,
        env = "FOOTPLATE_STORE_INSECURE_PRIVATE_NETWORK",
        hide_env_values = true
    )]
    pub insecure_private_network: bool,
}

impl StoreSettings {
    /// Reads the table; relative paths begin at `folder`, the file's own.
    pub fn read(mut table: Table, folder: &Path) -> Self {
        let settings = Self::read_keys(&mut table, folder);
        table.finish();
        settings
    }

    /// Reads the keys of a table that the caller finishes.
    pub fn read_keys(table: &mut Table, folder: &Path) -> Self {
        let insecure_private_network = table.flag("insecure_private_network").unwrap_or_default();
        let mut text = |key| table.text(key).map(|found| found.value);
        Self {
            address: text("address"),
            root: text("root"),
            token_file: text("token_file").map(|file| folder.join(file)),
            user: text("user"),
            password_file: text("password_file").map(|file| folder.join(file)),
            ca_file: text("ca_file").map(|file| folder.join(file)),
            datacenter: text("datacenter"),
            insecure_private_network,
        }
    }

    /// Fills what is absent here from `lower`, the layer below. Credentials are taken as one: a token here leaves no user of
    /// the layer below.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        let who = if self.names_credentials() { &self } else { &lower };
        let (token_file, user, password_file) =
            (who.token_file.clone(), who.user.clone(), who.password_file.clone());
        Self {
            address: self.address.or(lower.address),
            root: self.root.or(lower.root),
            token_file,
            user,
            password_file,
            ca_file: self.ca_file.or(lower.ca_file),
            datacenter: self.datacenter.or(lower.datacenter),
            insecure_private_network: self.insecure_private_network || lower.insecure_private_network,
        }
    }

    fn names_credentials(&self) -> bool {
        self.token_file.is_some() || self.user.is_some() || self.password_file.is_some()
    }

    /// Returns the address, or the default one.
    pub fn address(&self) -> &str {
        self.address.as_deref().unwrap_or(ADDRESS_DEFAULT)
    }

    /// Checks everything and opens the store; nothing is sent yet.
    pub fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        store::open(&self.config()?).map_err(|error| self.refuse(&error))
    }

    /// Checks everything and reads the files with secrets.
    pub fn config(&self) -> Result<Config, Failure> {
        let mut config = Config::new(self.address()).map_err(|error| self.refuse(&error))?;
        if let Some(root) = &self.root {
            config.root.clone_from(root);
        }
        config.credentials = self.credentials().map_err(|failure| failure.during(self.what()))?;
        config.ca_file.clone_from(&self.ca_file);
        config.datacenter.clone_from(&self.datacenter);
        config.insecure_private_network = self.insecure_private_network;
        config.check().map_err(|error| self.refuse(&error))?;
        Ok(config)
    }

    fn what(&self) -> String {
        format!("cannot use the store at {}", self.address())
    }

    fn refuse(&self, error: &store::StoreError) -> Failure {
        let (exit, next) = match error {
            store::StoreError::Unprotected { next, .. } => (Exit::Refused, *next),
            _ => (Exit::Usage, "correct `--store` and its kin, or [store] of the role's file"),
        };
        Failure::new(exit, self.what()).because(error).next(next)
    }

    fn credentials(&self) -> Result<Credentials, Failure> {
        match (&self.token_file, &self.user, &self.password_file) {
            (None, None, None) => Ok(Credentials::None),
            (Some(file), None, None) => Ok(Credentials::Token(Secret::read(file)?)),
            (None, Some(user), Some(file)) => {
                Ok(Credentials::Password { user: user.clone(), password: Secret::read(file)? })
            }
            _ => Err(Failure::new(Exit::Usage, "the credentials are not whole")
                .because_of("a store takes either a token, or a user with a password")
                .next("give `--store-token-file`, or both `--store-user` and `--store-password-file`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_two_layers_are_never_mixed() {
        let file = |name: &str| Some(PathBuf::from(name));
        let lower = StoreSettings {
            user: Some("team".to_owned()),
            password_file: file("password"),
            root: Some("ours/".to_owned()),
            ..StoreSettings::default()
        };
        let upper = StoreSettings { token_file: file("token"), ..StoreSettings::default() };
        let merged = upper.or(lower.clone());
        assert_eq!((merged.token_file, merged.user, merged.password_file), (file("token"), None, None));
        assert_eq!(merged.root.as_deref(), Some("ours/"));
        assert_eq!(StoreSettings::default().or(lower.clone()), lower);
    }

    #[test]
    fn a_store_in_clear_beyond_this_machine_is_refused_and_says_which_key_allows_it() {
        let address = Some("http://10.0.0.5:8500".to_owned());
        let mut settings = StoreSettings { address, ..StoreSettings::default() };
        let refused = settings.config().expect_err("it is refused");
        assert_eq!(
            refused.render(),
            "error: cannot use the store at http://10.0.0.5:8500\n  \
             because: whoever is on the network between can read and change \
             what is sent in clear, and so run code on every host\n  \
             next: use https; or, where everybody on that network may do that, set `insecure_private_network = true` in \
             [store]\n"
        );
        settings.insecure_private_network = true;
        settings.config().expect("somebody answers for the network");
    }
}
