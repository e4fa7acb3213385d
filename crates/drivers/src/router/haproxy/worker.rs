//! One process of HAProxy as it is: its servers, its shares, and what is in flight. Formats: HAProxy's management guide,
//! sections 9.1 (statistics) and 9.3 (`show servers state`, `show map`).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::configuration::STRUCTURE;
use super::master::Master;

/// Bits of a server's administrative state that keep every request from it.
const MAINTENANCE: u32 = 0x01 | 0x02 | 0x20 | 0x40;
/// Those that keep new requests from it.
const DRAIN: u32 = 0x08 | 0x10;

/// A process's own view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Worker {
    /// Its process id.
    pub(super) process: u32,
    /// The structure that it runs with; empty when it runs without our configuration.
    pub(super) structure: String,
    /// By backend and name.
    pub(super) servers: BTreeMap<(String, String), Server>,
    /// The bounds of each pool's tracks.
    pub(super) shares: BTreeMap<String, String>,
}

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) address: Option<SocketAddr>,
    pub(super) weight: u32,
    pub(super) state: ServerState,
    /// Requests in flight.
    pub(super) in_flight: u64,
}

/// What a server may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerState {
    Ready,
    Drain,
    Maintenance,
}

impl Worker {
    /// Asks a process; nothing when it has ended.
    pub(super) async fn look(master: &Master, process: u32, shares: &Path) -> io::Result<Option<Self>> {
        let structure = master.ask(process, &format!("show env {STRUCTURE}")).await?;
        let structure =
            structure.trim().strip_prefix(&format!("{STRUCTURE}=")).unwrap_or_default().to_owned();
        let servers = master.ask(process, "show servers state").await?;
        let Some(mut servers) = parse_servers(&servers) else { return Ok(None) };
        let statistics = master.ask(process, "show stat").await?;
        let Some(in_flight) = parse_in_flight(&statistics) else { return Ok(None) };
        for (name, number) in in_flight {
            if let Some(server) = servers.get_mut(&name) {
                server.in_flight = number;
            }
        }
        let map = master.ask(process, &format!("show map {}", shares.display())).await?;
        Ok(Some(Self { process, structure, servers, shares: parse_map(&map) }))
    }

    /// Tells whether requests for a pool may be drawn for this track. What is not known may be.
    pub(super) fn draws(&self, pool: &str, track: usize) -> bool {
        let Some(bounds) = self.shares.get(pool) else { return true };
        let bounds: Vec<u32> = bounds.split(':').skip(1).filter_map(|bound| bound.parse().ok()).collect();
        let before = track.checked_sub(2).and_then(|place| bounds.get(place)).copied().unwrap_or(0);
        bounds.get(track - 1).is_none_or(|bound| *bound > before)
    }
}

fn parse_servers(text: &str) -> Option<BTreeMap<(String, String), Server>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("# be_id"));
    let names: Vec<&str> = lines.next()?.trim_start_matches("# ").split(' ').collect();
    let mut servers = BTreeMap::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let fields: BTreeMap<&str, &str> = names.iter().copied().zip(line.split(' ')).collect();
        let number = |name: &str| fields.get(name)?.parse::<u32>().ok();
        let bits = number("srv_admin_state")?;
        let state = match bits {
            _ if bits & MAINTENANCE != 0 => ServerState::Maintenance,
            _ if bits & DRAIN != 0 => ServerState::Drain,
            _ => ServerState::Ready,
        };
        let port = number("srv_port").and_then(|port| u16::try_from(port).ok());
        let address = fields.get("srv_addr").and_then(|address| address.parse::<IpAddr>().ok());
        let address = address.zip(port).map(SocketAddr::from);
        let server = Server { address, weight: number("srv_uweight")?, state, in_flight: 0 };
        servers.insert(((*fields.get("be_name")?).to_owned(), (*fields.get("srv_name")?).to_owned()), server);
    }
    Some(servers)
}

fn parse_in_flight(text: &str) -> Option<BTreeMap<(String, String), u64>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.strip_prefix("# ")?.split(',').collect();
    let place = |name: &str| names.iter().position(|other| *other == name);
    let (backend, server, now) = (place("pxname")?, place("svname")?, place("scur")?);
    let mut busy = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        if let (Some(backend), Some(server), Some(Ok(now))) =
            (fields.get(backend), fields.get(server), fields.get(now).map(|now| now.parse()))
        {
            busy.insert(((*backend).to_owned(), (*server).to_owned()), now);
        }
    }
    Some(busy)
}

/// Reads lines of an id, a key and a value.
fn parse_map(text: &str) -> BTreeMap<String, String> {
    let entry = |line: &str| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}
