//! What has to be said to a process of HAProxy so that it follows a layout.
//!
//! Invariants: what comes is let in before the shares change, and what leaves is taken out after, so that no draw finds
//! an empty track; a process that already follows is told nothing; no server is ever deleted: HAProxy 2.6 may crash then.

use std::path::Path;

use super::configuration::{backend, bounds};
use super::layout::{Layout, Slot, State, Tracks};
use super::worker::{Server, ServerState, Worker};

/// Commands in the order in which they are given; each part is a talk of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Fills slots and lets in who stands there.
    pub(super) bring: Vec<String>,
    /// Divides the requests.
    pub(super) share: Vec<String>,
    /// Drains and empties slots.
    pub(super) take: Vec<String>,
}

impl Change {
    /// Returns what the process lacks that takes connections, or what its structure has no place for.
    pub(super) fn of_current(layout: &Layout, worker: &Worker, shares: &Path) -> Result<Self, String> {
        let mut change = Self::default();
        for (pool, tracks) in &layout.pools {
            for (track, number) in tracks.tracks.iter().zip(1..) {
                for (slot, place) in track.slots.iter().zip(1..) {
                    let name = (backend(pool, number), place.to_string());
                    let server = worker.servers.get(&name);
                    let server = server.ok_or_else(|| format!("it has no server {}/{}", name.0, name.1))?;
                    change.compare(&format!("{}/{}", name.0, name.1), slot.as_ref(), server);
                }
            }
            let wanted = bounds(layout, tracks);
            change.share.extend(division(pool, &wanted, worker, shares));
        }
        Ok(change)
    }

    /// Returns what an older process can still be told: its servers stand as they are, but the shares it may draw by.
    pub(super) fn of_old(layout: &Layout, worker: &Worker, shares: &Path) -> Self {
        let followed = layout.pools.iter().filter(|(pool, tracks)| can_follow(pool, tracks, worker));
        let share =
            followed.filter_map(|(pool, tracks)| division(pool, &bounds(layout, tracks), worker, shares));
        Self { share: share.collect(), ..Self::default() }
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn compare(&mut self, name: &str, slot: Option<&Slot>, server: &Server) {
        match slot {
            Some(slot) if slot.state == State::Serving => self.let_in(name, slot, server),
            Some(slot) if slot.state == State::Draining => {
                if server.state == ServerState::Ready {
                    self.take.push(format!("set server {name} state drain"));
                }
            }
            _ => {
                if server.state != ServerState::Maintenance {
                    self.take.push(format!("set server {name} state maint"));
                }
            }
        }
    }

    fn let_in(&mut self, name: &str, slot: &Slot, server: &Server) {
        if server.address != Some(slot.address) {
            let (address, port) = (slot.address.ip(), slot.address.port());
            self.bring.push(format!("set server {name} addr {address} port {port}"));
        }
        if server.weight != slot.weight {
            self.bring.push(format!("set server {name} weight {}", slot.weight));
        }
        if server.state != ServerState::Ready {
            self.bring.push(format!("set server {name} state ready"));
        }
    }
}

fn division(pool: &str, wanted: &str, worker: &Worker, shares: &Path) -> Option<String> {
    match worker.shares.get(pool) {
        Some(drawn) if drawn == wanted => None,
        Some(_) => Some(format!("set map {} {pool} {wanted}", shares.display())),
        None => Some(format!("add map {} {pool} {wanted}", shares.display())),
    }
}

/// Tells whether each track that gets requests has somebody there whom this process knows.
fn can_follow(pool: &str, tracks: &Tracks, worker: &Worker) -> bool {
    tracks.tracks.iter().zip(1..).filter(|(track, _)| track.share > 0).all(|(track, number)| {
        track.slots.iter().zip(1..).any(|(slot, place)| {
            let server = worker.servers.get(&(backend(pool, number), place.to_string()));
            let serving = slot.as_ref().filter(|slot| slot.state == State::Serving);
            serving.zip(server).is_some_and(|(slot, server)| is_at(slot, server))
        })
    })
}

/// Tells whether a process sends requests to this endpoint from this place.
pub(super) fn is_at(slot: &Slot, server: &Server) -> bool {
    server.state == ServerState::Ready && server.address == Some(slot.address)
}
