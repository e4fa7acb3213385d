//! What a router is told when it starts. Everything that changes later comes with the table.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::failure::Failure;

/// A router's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its files lie: the table, the control socket, the lock.
    pub folder: PathBuf,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// Where Prometheus reads the counts, over plain HTTP; nowhere when absent.
    pub metrics: Option<SocketAddr>,
    /// Whether that may be an address of a private network.
    pub metrics_on_private_network: bool,
    /// The certificates for `https`; the first is shown to who asks for none of them by name.
    pub certificates: Vec<Tls>,
    /// Proxies whose `X-Forwarded-For` and `Forwarded` count.
    pub trusted: Vec<Network>,
    /// Threads that serve clients.
    pub workers: usize,
    /// How long requests may take to finish once the router ends or was replaced.
    pub drain_time_max: Duration,
    /// What clients may take.
    pub limits: Limits,
}

/// An address where clients come in: `127.0.0.1:8080`, `http://…` or `https://…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address and port.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_https: bool,
}

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, with the chain below it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Addresses with a common beginning: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the system's queue.
    pub connections_max: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// How long a client may take for a request's headers, or to agree on TLS.
    pub header_time_max: Duration,
    /// How long a client may take between two pieces of a request's body.
    pub body_time_max: Duration,
    /// How long a connection may stay without taking what is written to it.
    pub write_time_max: Duration,
    /// How long a connection may rest between requests.
    pub idle_time_max: Duration,
    /// Requests at once on one connection of HTTP/2.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 16_384,
            header_bytes_max: 64 << 10,
            headers_max: 100,
            header_time_max: Duration::from_secs(10),
            body_time_max: Duration::from_secs(30),
            write_time_max: Duration::from_secs(30),
            idle_time_max: Duration::from_secs(75),
            streams_max: 128,
        }
    }
}

impl Config {
    /// Returns the settings of a router with these listeners and defaults for the rest.
    pub fn new(folder: impl Into<PathBuf>, listeners: Vec<Listener>) -> Self {
        Config {
            folder: folder.into(),
            listeners,
            metrics: None,
            metrics_on_private_network: false,
            certificates: Vec::new(),
            trusted: Vec::new(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            drain_time_max: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }

    /// Checks that the settings can be followed.
    ///
    /// # Errors
    /// There is no listener or worker, or one wants a certificate and none is given; or the counts would be in clear where others see them.
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |because: &str, next: &str| Err(Failure::new("cannot start the router", because, next));
        if self.listeners.is_empty() || self.workers == 0 {
            return refuse("it has no address to listen on, or no thread", "give it at least one of each");
        }
        if self.certificates.is_empty() && self.listeners.iter().any(|listener| listener.is_https) {
            return refuse(
                "an https address needs a certificate",
                "give it a certificate and its key, or listen on http",
            );
        }
        match self.metrics.map(|address| (address.ip(), self.metrics_on_private_network)) {
            Some((ip, false)) if !ip.is_loopback() => refuse(
                "other machines reach the address for Prometheus, and whoever does reads the counts in clear",
                "listen on 127.0.0.1; or, where everybody on a private network may read them, say `--metrics-insecure-private-network`",
            ),
            Some((ip, true)) if !ip.is_loopback() && !is_private(ip) => refuse(
                "the address for Prometheus is not one of a private network, and whoever reaches it reads the counts in clear",
                "listen on 127.0.0.1 or one private address, and put a server with TLS before it",
            ),
            _ => Ok(()),
        }
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_https, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("`{scheme}` is neither http nor https")),
        };
        let address = rest.trim_end_matches('/').parse();
        let address = address.map_err(|_| format!("`{rest}` is no IP address with a port"))?;
        Ok(Listener { address, is_https })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).ok().filter(|bits| *bits <= most);
        Ok(Network { address, bits: bits.ok_or(format!("the length of `{text}` is not 0 to {most}"))? })
    }
}

impl Network {
    /// Tells whether the address lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                (mine.to_bits() ^ other.to_bits()).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                (mine.to_bits() ^ other.to_bits()).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_with_its_beginning() {
        for (network, address, holds) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.holds(address.parse().unwrap()), holds, "{network:?} {address}");
        }
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }

    #[test]
    fn counts_are_read_on_this_machine_or_where_that_is_said_to_be_fine() {
        for (address, on_loopback, on_private) in [
            ("127.0.0.1:9180", true, true),
            ("[::1]:9180", true, true),
            ("10.0.0.5:9180", false, true),
            ("[fd00::5]:9180", false, true),
            ("0.0.0.0:9180", false, false),
            ("192.0.2.7:9180", false, false),
        ] {
            for (is_said, expected) in [(false, on_loopback), (true, on_private)] {
                let mut config = Config::new("r", vec!["127.0.0.1:0".parse().unwrap()]);
                config.metrics = Some(address.parse().unwrap());
                config.metrics_on_private_network = is_said;
                assert_eq!(config.check().is_ok(), expected, "{address} {is_said}");
            }
        }
    }

    #[test]
    fn a_listener_is_an_address_with_a_scheme_perhaps() {
        for (text, said) in
            [("127.0.0.1:80", "http://127.0.0.1:80"), ("https://[::]:443/", "https://[::]:443")]
        {
            assert_eq!(text.parse::<Listener>().unwrap().to_string(), said);
        }
        assert!("ftp://127.0.0.1:80".parse::<Listener>().unwrap_err().contains("neither http nor https"));
        assert!("localhost:80".parse::<Listener>().unwrap_err().contains("no IP address"));
    }
}
