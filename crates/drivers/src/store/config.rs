//! Where the store is and how to be let in: parsed once, opened by [`open`].
//!
//! Invariant: a password or token is shown by nothing that prints a [`Config`], and never leaves this machine in clear unless
//! somebody said that the network is private; never on the open internet.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::limits::check_prefix;
use super::{Store, StoreError, consul, etcd, memory};
use crate::secret::Secret;

/// Who we are to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// A token of Consul or of the embedded store.
    Token(Secret),
    /// A user of etcd.
    Password {
        /// The user's name.
        user: String,
        /// The user's password.
        password: Secret,
    },
}

/// Which protocol the address speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tree in this process's memory, for tests; every [`open`] makes a new one.
    Memory,
    /// Consul's HTTP API: Consul itself, or the embedded server.
    Consul,
    /// etcd's JSON gateway.
    Etcd,
}

/// Where the store is: `http://HOST:PORT` or `https://…` for Consul and the embedded server, `etcd+http://…` or
/// `etcd+https://…` for etcd, `memory:` for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Which protocol it speaks.
    pub kind: Kind,
    /// The address without the `etcd+`, ending without a slash; empty for memory.
    url: String,
}

impl Address {
    /// Returns scheme, host and port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns host and port.
    pub fn authority(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, authority)| authority)
    }

    fn has_tls(&self) -> bool {
        self.url.starts_with("https://")
    }

    fn network(&self) -> Network {
        let host = reqwest::Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let host = host.unwrap_or_default();
        match host.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(ip)) if ip.is_loopback() => Network::Machine,
            Ok(IpAddr::V6(ip)) if ip.is_loopback() => Network::Machine,
            Ok(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => Network::Team,
            Ok(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => Network::Team,
            Ok(_) => Network::Internet,
            Err(_) if self.kind == Kind::Memory || host == "localhost" => Network::Machine,
            Err(_) => Network::Team,
        }
    }
}

/// Who can listen on the way to an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    /// Nobody but this machine.
    Machine,
    /// Whoever is on a network that the open internet does not carry; also behind a host's name, taken to be the team's.
    Team,
    /// Everybody.
    Internet,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Memory => f.write_str("memory:"),
            Kind::Consul => f.write_str(&self.url),
            Kind::Etcd => write!(f, "etcd+{}", self.url),
        }
    }
}

impl FromStr for Address {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Address, StoreError> {
        if text == "memory:" {
            return Ok(Address { kind: Kind::Memory, url: String::new() });
        }
        let refuse = |why: &str| {
            StoreError::Misconfigured(format!(
                "`{}` is not a store's address: {why}; expected such as http://127.0.0.1:8500, https://consul.internal:8501 or \
                 etcd+https://10.0.0.5:2379",
                text.escape_debug()
            ))
        };
        let (kind, url) = text.strip_prefix("etcd+").map_or((Kind::Consul, text), |url| (Kind::Etcd, url));
        let parsed = reqwest::Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refuse("it begins with no known scheme"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refuse("user and password do not belong in it"));
        }
        if parsed.path() != "/" || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(refuse("it has something after the port"));
        }
        Ok(Address { kind, url: url.trim_end_matches('/').to_owned() })
    }
}

/// Everything needed to open a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it is.
    pub address: Address,
    /// The text before every key: empty or ending in `/`.
    pub root: String,
    /// Who we are to it.
    pub credentials: Credentials,
    /// The authority to trust for `https`, as a PEM file, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Name and password for the proxy before a Consul that asks for HTTP basic authentication.
    pub login: Option<(String, Secret)>,
    /// Consul's datacenter, when it is not the one of the server we reach.
    pub datacenter: Option<String>,
    /// Somebody answers for everybody on the private network: `http` may leave this machine, in clear.
    pub insecure_private_network: bool,
}

impl Config {
    /// Returns a configuration with the root `footplate/` and no credentials.
    pub fn new(address: &str) -> Result<Config, StoreError> {
        Ok(Config {
            address: address.parse()?,
            root: "footplate/".to_owned(),
            credentials: Credentials::None,
            ca_file: None,
            login: None,
            datacenter: None,
            insecure_private_network: false,
        })
    }

    /// Refuses a root that is no prefix of ours, credentials of the wrong kind, and an unprotected way to the store.
    pub fn check(&self) -> Result<(), StoreError> {
        let refuse = |why: String| Err(StoreError::Misconfigured(why));
        if check_prefix(&self.root).is_err() || !(self.root.is_empty() || self.root.ends_with('/')) {
            return refuse(format!(
                "`{}` is not a root; expected such as footplate/",
                self.root.escape_debug()
            ));
        }
        let fits = match (&self.credentials, self.address.kind) {
            (Credentials::None, _) => true,
            (Credentials::Token(_), kind) => kind == Kind::Consul,
            (Credentials::Password { .. }, kind) => kind == Kind::Etcd,
        };
        if !fits {
            return refuse(format!(
                "{} wants {}",
                self.address,
                if self.address.kind == Kind::Etcd {
                    "a user and a password, not a token"
                } else {
                    "a token, not a user"
                }
            ));
        }
        self.check_protection()
    }

    /// Who can write the store can run code on every host: so nobody on the way may read our token or change a word.
    fn check_protection(&self) -> Result<(), StoreError> {
        let refuse = |because: &'static str, next: &'static str| {
            Err(StoreError::Unprotected { address: self.address.to_string(), because, next })
        };
        match (self.address.network(), self.address.has_tls()) {
            (Network::Machine, _) | (Network::Team, true) => Ok(()),
            (Network::Team, false) if self.insecure_private_network => Ok(()),
            (Network::Team, false) => refuse(
                "whoever is on the network between can read and change what is sent in clear, and so run code on every host",
                "use https; or, where everybody on that network may do that, set `insecure_private_network = true` in [store]",
            ),
            (Network::Internet, false) => refuse(
                "it is an address of the open internet: everybody on the way could run code on every host",
                "use https, and a token or a user",
            ),
            (Network::Internet, true) if self.credentials == Credentials::None => refuse(
                "it is an address of the open internet, and without credentials everybody could run code on every host",
                "give it a token or a user",
            ),
            (Network::Internet, true) => Ok(()),
        }
    }
}

/// Opens a store; nothing is sent yet, so a store that is down is no error here.
///
/// Fails on a wrong configuration, and on a CA file that cannot be read.
pub fn open(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    config.check()?;
    Ok(match config.address.kind {
        Kind::Memory => Arc::new(memory::Memory::default()),
        Kind::Consul => Arc::new(consul::Consul::open(config)?),
        Kind::Etcd => Arc::new(etcd::Etcd::open(config)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_wrong_ones_say_what_is_wrong() {
        let etcd: Address = "etcd+https://10.0.0.5:2379/".parse().unwrap();
        assert_eq!(
            (etcd.kind, etcd.url(), etcd.authority()),
            (Kind::Etcd, "https://10.0.0.5:2379", "10.0.0.5:2379")
        );
        assert_eq!(etcd.to_string(), "etcd+https://10.0.0.5:2379");
        for wrong in ["", "127.0.0.1:8500", "ftp://a", "http://u:p@a", "http://a/v1", "http://a?x", "memory"]
        {
            let error = wrong.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("is not a store's address"), "{wrong}: {error}");
        }
    }

    fn check(address: &str, token: bool, insecure: bool) -> Result<(), String> {
        let mut config = Config::new(address).unwrap();
        if token {
            config.credentials = Credentials::Token(Secret::new("t"));
        }
        config.insecure_private_network = insecure;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_store_on_the_internet_needs_tls_and_a_token_whatever_is_said() {
        for insecure in [false, true] {
            let refused = check("http://203.0.113.9:8500", true, insecure).unwrap_err();
            assert!(refused.contains("open internet"), "{refused}");
            let refused = check("https://[2001:db8::1]:8501", false, insecure).unwrap_err();
            assert!(refused.contains("without credentials"), "{refused}");
            check("https://203.0.113.9:8501", true, insecure).unwrap();
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_somebody_answers_for_the_network() {
        for near in
            ["http://127.0.0.1:1", "http://127.9.9.9:1", "http://[::1]:1", "http://localhost:1", "memory:"]
        {
            check(near, false, false).unwrap();
        }
        for far in [
            "10.1.2.3:1",
            "192.168.0.9:1",
            "172.16.0.1:1",
            "169.254.0.1:1",
            "[fd00::1]:1",
            "consul.internal:1",
        ] {
            let refused = check(&format!("http://{far}"), true, false).unwrap_err();
            assert!(refused.contains("run code on every host"), "{far}: {refused}");
            check(&format!("http://{far}"), false, true).unwrap();
            check(&format!("https://{far}"), false, false).unwrap();
        }
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let mut config = Config::new("http://127.0.0.1:8500").unwrap();
        config.credentials = Credentials::Token(Secret::new("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_root_ends_in_a_slash_and_credentials_fit_the_kind() {
        let mut config = Config::new("etcd+http://127.0.0.1:2379").unwrap();
        for root in ["footplate", "/a/", "a//b/", "../", "a b/"] {
            config.root = root.to_owned();
            assert!(config.check().is_err(), "{root}");
        }
        config.root = "teams/one/".to_owned();
        config.check().unwrap();
        config.credentials = Credentials::Token(Secret::new("t"));
        assert!(config.check().is_err());
    }
}
