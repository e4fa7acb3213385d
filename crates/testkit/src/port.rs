//! Free ports on loopback, below those that services are given (12000 and more in tests) and that the kernel takes for outgoing
//! connections, so that a server that was killed can come back to its own.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::Mutex;

const FIRST: u64 = 7_000;
const COUNT: u64 = 5_000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns a port of 127.0.0.1 on which nobody listens and which this process was not given before.
pub fn free_port() -> u16 {
    let mut given = GIVEN.lock().expect("nothing panics while it holds this lock");
    loop {
        let offset = RandomState::new().hash_one(given.len()) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("the range ends below 65536");
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}
