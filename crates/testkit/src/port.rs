//! Free ports on loopback, below those that services are given (12000 and more in tests) and that the kernel takes for outgoing
//! connections, so that a server that was killed can come back to its own.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::Mutex;

const FIRST: u16 = 7_000;
const COUNT: u16 = 5_000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns a port of 127.0.0.1 on which nobody listens and which this process was not given before.
pub fn free_port() -> u16 {
    let any = || FIRST + (RandomState::new().hash_one(0) % u64::from(COUNT)) as u16;
    let mut given = GIVEN.lock().expect("nothing panics while it holds this lock");
    first_free(std::iter::repeat_with(any), &mut given).expect("there is always another")
}

/// Gives the first of these ports that is free.
fn first_free(mut ports: impl Iterator<Item = u16>, given: &mut BTreeSet<u16>) -> Option<u16> {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.find(|port| !given.contains(port) && is_free(port))?;
    given.insert(port);
    Some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_no_services_and_none_that_the_kernel_takes_for_outgoing_connections() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("linux");
        let kernels: u16 =
            range.split_whitespace().next().and_then(|first| first.parse().ok()).expect("a number");
        let services = 12_000;
        let ports: Vec<u16> = (0..500).map(|_| free_port()).collect();
        assert!(ports.iter().all(|port| (1024..services.min(kernels)).contains(port)), "{ports:?}");
    }

    #[test]
    fn no_port_is_given_twice_or_while_somebody_listens_there() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let taken = (taken.local_addr().expect("bound").port(), taken);
        let (first, second) = (free_port(), free_port());
        let mut given = BTreeSet::new();
        let mut next = || first_free([taken.0, first, second].into_iter(), &mut given);
        assert_eq!([next(), next(), next()], [Some(first), Some(second), None]);
    }
}
