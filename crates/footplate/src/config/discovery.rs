//! `[discovery]` of `agent.toml`: the catalog that services of the host are entered in. docs/reference/discovery.md describes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use footplate_drivers::discovery::{self, consul};
use footplate_drivers::store::{Config as StoreConfig, Credentials, Kind};

use super::table::Table;
use crate::failure::{Exit, Failure};
use crate::secret::Secret;

/// How long instances outlive their agent unless told otherwise.
const TTL_DEFAULT: Duration = Duration::from_secs(60);
/// The least: an agent that is replaced by its next version must be back before.
const TTL_MIN: Duration = Duration::from_secs(10);
/// How long what was taken out stays up unless told otherwise.
const DRAIN_DEFAULT: Duration = Duration::from_secs(5);
/// The most: a rollout waits for it at every host.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// What `[discovery]` says; what is absent is as it is for the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoverySettings {
    /// Where Consul is.
    pub address: Option<String>,
    /// The file of the token.
    pub token_file: Option<PathBuf>,
    /// The authority to trust for `https`.
    pub ca_file: Option<PathBuf>,
    /// How services are called.
    pub name: Option<String>,
    /// Tags of every instance.
    pub tags: Vec<String>,
    /// How long instances outlive their agent.
    pub ttl: Option<Duration>,
    /// How long what was taken out stays up.
    pub drain: Option<Duration>,
}

impl DiscoverySettings {
    /// Reads the table; relative paths begin at `folder`, the file's own.
    pub fn read(mut table: Table, folder: &Path) -> Self {
        // There is one kind, and a file may say so.
        table.choice("kind", &[("consul", ())]);
        let settings = Self {
            address: table.text("address").map(|found| found.value),
            token_file: table.text("token_file").map(|found| folder.join(found.value)),
            ca_file: table.text("ca_file").map(|found| folder.join(found.value)),
            name: name(&mut table),
            tags: table.texts("tags").unwrap_or_default().into_iter().map(|found| found.value).collect(),
            ttl: bounded(&mut table, "ttl", TTL_MIN, Duration::from_secs(24 * 3600)),
            drain: bounded(&mut table, "drain", Duration::ZERO, DRAIN_MAX),
        };
        table.finish();
        settings
    }

    /// Puts what is said of the store below what is said here. Without an address the store must be a Consul.
    pub fn settle(self, store: &StoreConfig) -> Result<discovery::Config, Failure> {
        let refuse = |why: &str, next: &str| {
            Failure::new(Exit::Usage, "cannot use `[discovery]` in agent.toml").because_of(why).next(next)
        };
        let mut config = store.clone();
        if let Some(address) = &self.address {
            config.address = address
                .parse()
                .map_err(|error| refuse(&footplate_drivers::chain(&error), "correct `discovery.address`"))?;
        }
        if config.address.kind != Kind::Consul {
            return Err(refuse(
                "the store is no Consul, and nothing says where one is",
                "name this host's Consul agent: `address = \"http://127.0.0.1:8500\"` in [discovery]",
            ));
        }
        if config.address != store.address {
            // What the store lets us in with is shown to nobody else.
            (config.credentials, config.ca_file) = (Credentials::None, None);
        }
        if let Some(file) = &self.token_file {
            config.credentials = Credentials::Token(Secret::read(file)?);
        }
        config.ca_file = self.ca_file.or(config.ca_file);
        config.check().map_err(|error| {
            let next = match &error {
                footplate_drivers::store::StoreError::Unprotected { next, .. } => *next,
                _ => "correct `[discovery]`",
            };
            refuse(&footplate_drivers::chain(&error), next)
        })?;
        let token = match config.credentials {
            Credentials::Token(token) => Some(token),
            Credentials::None | Credentials::Password { .. } => None,
        };
        let consul = consul::Settings {
            url: config.address.url().to_owned(),
            token,
            ca_file: config.ca_file,
            name: self.name.unwrap_or_else(|| discovery::NAME_DEFAULT.to_owned()),
            tags: self.tags,
            site: store.root.clone(),
        };
        let (ttl, drain) = (self.ttl.unwrap_or(TTL_DEFAULT), self.drain.unwrap_or(DRAIN_DEFAULT));
        Ok(discovery::Config { consul, ttl, drain })
    }
}

/// Reads how services are called: what DNS can say, and the app's name in it.
fn name(table: &mut Table) -> Option<String> {
    let found = table.text("name")?;
    if !discovery::is_template(&found.value) {
        let right = "expected letters, digits and `-` around {environment}, {app} and {group}, {app} at least, with one `-` after \
                     each that another follows, such as \"{app}-{group}\"";
        table.mistake(found.span, "`discovery.name` is not valid", right);
        return None;
    }
    Some(found.value)
}

fn bounded(table: &mut Table, key: &str, min: Duration, max: Duration) -> Option<Duration> {
    let found = table.duration(key)?;
    if found < min || found > max {
        let right = format!("expected {} to {} s", min.as_secs(), max.as_secs());
        table.mistake(table.span(), format!("`discovery.{key}` is not valid"), right);
        return None;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::agent::AgentFile;

    fn read(table: &str) -> Result<DiscoverySettings, String> {
        let text = format!("[discovery]\n{table}");
        let file = AgentFile::parse("agent.toml", &text, Path::new("/etc/footplate"));
        file.map(|file| file.discovery.expect("a table")).map_err(|mistakes| mistakes.render())
    }

    fn settle(table: &str, store: &str, token: &str) -> Result<discovery::Config, String> {
        let mut config = StoreConfig::new(store).expect("an address");
        if !token.is_empty() {
            config.credentials = Credentials::Token(Secret::new(token));
        }
        read(table).expect(table).settle(&config).map_err(|failure| failure.render())
    }

    #[test]
    fn a_store_that_is_a_consul_is_the_catalog_unless_another_is_named() {
        let same = settle("", "http://127.0.0.1:8500", "s3cret").expect("it is");
        assert_eq!(same.consul.url, "http://127.0.0.1:8500");
        assert_eq!(same.consul.token, Some(Secret::new("s3cret")));
        let own =
            settle("address = \"http://localhost:8500\"", "http://127.0.0.1:8500", "s3cret").expect("it is");
        assert_eq!(
            (own.consul.url.as_str(), own.consul.token),
            ("http://localhost:8500", None),
            "the token is the store's"
        );
        let refused = settle("", "etcd+http://127.0.0.1:2379", "").expect_err("it is none");
        assert!(refused.contains("nothing says where one is"), "{refused}");
        let refused =
            settle("address = \"http://10.0.0.5:8500\"", "http://127.0.0.1:7700", "").expect_err("in clear");
        assert!(refused.contains("run code on every host"), "{refused}");
    }

    #[test]
    fn every_mistake_is_shown_with_what_would_be_right() {
        for (table, expected) in [
            ("kind = \"etcd\"", "consul"),
            ("name = \"{group}\"", "{app} at least"),
            ("name = \"{app}.{group}\"", "letters, digits and `-`"),
            ("name = \"{app}{group}\"", "one `-` after each that another follows"),
            ("ttl = \"1s\"", "expected 10 to 86400 s"),
            ("drain = \"10m\"", "expected 0 to 60 s"),
            ("tag = \"a\"", "unknown key `discovery.tag`"),
        ] {
            let said = read(table).expect_err(table);
            assert!(said.contains(expected), "{table}: {said}");
        }
    }
}
