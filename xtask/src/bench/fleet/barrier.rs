//! Sees the moment at which a rollout's barrier is written, by watching its key as one more client of the store.

use crate::bench::server::{Kind, request};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Watches one key; the moment of its next change can be asked for later.
pub struct Watch {
    changed: Receiver<SystemTime>,
}

impl Watch {
    /// Begins to watch. Returns when the present value is known, so that the next change is not missed.
    /// Nothing on etcd, whose watches need a client of their own; there the switch is not timed.
    pub fn begin(kind: Kind, address: SocketAddr, key: &str) -> Option<Watch> {
        if kind == Kind::Etcd {
            return None;
        }
        let path = format!("/v1/kv/{key}");
        let index = index(&request(address, "GET", &path, "").ok()?.head)?;
        let (sender, changed) = channel();
        thread::spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(60);
            // A poll may come back without a change of this key; only a higher index tells of one.
            while Instant::now() < deadline {
                let answer = request(address, "GET", &format!("{path}?index={index}&wait=4s"), "");
                if answer.ok().and_then(|answer| self::index(&answer.head)).is_some_and(|now| now > index) {
                    // Nobody listens any more when the run has failed for another reason.
                    return sender.send(SystemTime::now()).is_ok();
                }
            }
            false
        });
        Some(Watch { changed })
    }

    /// Returns when the key changed; nothing when it did not within a second after the rollout's end.
    pub fn changed_at(self) -> Option<SystemTime> {
        self.changed.recv_timeout(Duration::from_secs(1)).ok()
    }
}

/// Reads the index of an answer, with which the next question waits for a change.
fn index(head: &str) -> Option<u64> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = fields.filter(|(name, _)| name.eq_ignore_ascii_case("x-consul-index"));
    values.next()?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_found_whatever_its_case() {
        assert_eq!(index("HTTP/1.1 200 OK\r\nx-consul-index: 17\r\nDate: now"), Some(17));
        assert_eq!(index("HTTP/1.1 200 OK\r\nDate: now"), None);
    }
}
