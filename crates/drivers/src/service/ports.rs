//! Which port belongs to which service of this host.
//!
//! Invariants: a port is on the disk before anybody learns it; no port belongs to two services; one that somebody else
//! listens on is not given, and is given up by whom it was given to; one that was given back is the last to be given again, so
//! that an old route hits nobody new.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use footplate_core::release::service::Ports;
use serde::{Deserialize, Serialize};

use super::ServiceName;
use crate::disk::{self, DiskError};

/// The ports of this host's services. One for each folder and process: the agent holds the folder's lock.
#[derive(Debug)]
pub struct PortRegister {
    path: PathBuf,
    /// Where in a range to begin: several agents of one machine have folders of their own, and must not all take the first.
    begin: u64,
    given: Mutex<Given>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Given {
    ports: BTreeMap<ServiceName, u16>,
    /// The port that was given last.
    last: u16,
}

/// A port that could not be given.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The register cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// All are taken.
    #[error("every port from {} to {} is taken", .0.first, .0.last)]
    Full(Ports),
}

impl PortError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            PortError::Disk(error) => error.next(),
            PortError::Full(_) => {
                "widen `ports` of the service in footplate.toml, or end what listens there".to_owned()
            }
        }
    }
}

impl PortRegister {
    /// Opens the register in the agent's folder of services. Blocking.
    pub fn open(services: &Path) -> Result<Self, DiskError> {
        disk::create_folder(services)?;
        let path = services.join("ports.json");
        let given = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Given::default(),
            Err(error) => return Err(disk::failed("read", &path)(error)),
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| disk::failed("read", &path)(error.into()))?
            }
        };
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        Ok(Self { begin: hasher.finish(), path, given: Mutex::new(given) })
    }

    /// Returns the port of a service, giving it one of `range` for the first time. Blocking.
    pub fn take(&self, name: &ServiceName, range: Ports) -> Result<u16, PortError> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = given.ports.get(name) {
            return Ok(*port);
        }
        let count = u64::from(range.last.saturating_sub(range.first)) + 1;
        let last = match given.last {
            0 => range.first + u16::try_from(self.begin % count).expect("less than a range of ports"),
            last => last,
        };
        let after = (range.first..=range.last).filter(|port| *port > last);
        let before = (range.first..=range.last).filter(|port| *port <= last);
        let is_free = |port: &u16| !given.ports.values().any(|taken| taken == port) && nobody_listens(*port);
        let port = after.chain(before).find(is_free).ok_or(PortError::Full(range))?;
        let mut fresh = given.clone();
        fresh.ports.insert(name.clone(), port);
        fresh.last = port;
        self.write(&fresh)?;
        *given = fresh;
        Ok(port)
    }

    /// Takes the port of a service of which nothing runs, when somebody else listens on it, and returns it; the next one that it gets
    /// is another. Blocking.
    pub fn give_up_taken(&self, name: &ServiceName) -> Result<Option<u16>, DiskError> {
        let port = self.given.lock().unwrap_or_else(PoisonError::into_inner).ports.get(name).copied();
        let taken = port.filter(|port| !nobody_listens(*port));
        if taken.is_some() {
            self.give_back(name)?;
        }
        Ok(taken)
    }

    /// Takes a port back when its service is forgotten. Blocking.
    pub fn give_back(&self, name: &ServiceName) -> Result<(), DiskError> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = given.clone();
        if fresh.ports.remove(name).is_some() {
            self.write(&fresh)?;
            *given = fresh;
        }
        Ok(())
    }

    fn write(&self, given: &Given) -> Result<(), DiskError> {
        let bytes = serde_json::to_vec_pretty(given).expect("our own types have a form in JSON");
        disk::write_atomically(&self.path, &bytes)
    }
}

/// Tells whether a port is free on every address of this machine.
pub fn nobody_listens(port: u16) -> bool {
    let taken = [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied];
    // Any other error is about the address: a machine without version 6 has nobody listening on it.
    let free =
        |bound: io::Result<TcpListener>| bound.err().is_none_or(|error| !taken.contains(&error.kind()));
    free(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
        && free(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
        && free(TcpListener::bind((Ipv6Addr::LOCALHOST, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(release: &str) -> ServiceName {
        format!("production.shop.web.{release}").parse().expect("a name")
    }

    /// Three ports of which the first is taken and the others are free, outside of what the kernel gives by itself.
    fn range() -> (TcpListener, Ports) {
        let first = (12_000..19_000).step_by(3).find(|first| (*first..*first + 3).all(nobody_listens));
        let first = first.expect("three free ports");
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).expect("free a moment ago");
        (taken, Ports { first, last: first + 2 })
    }

    #[test]
    fn ports_are_remembered_and_never_given_twice_nor_when_somebody_listens() {
        let folder = tempfile::tempdir().expect("a folder");
        let (taken, range) = range();
        let mut register = PortRegister::open(folder.path()).expect("open");
        register.begin = 2;
        let one = register.take(&name("1"), range).expect("free");
        let two = register.take(&name("2"), range).expect("free");
        assert_eq!((one, two), (range.first + 1, range.first + 2), "somebody listens on the first");
        assert_eq!(register.take(&name("1"), range).expect("its own"), one);
        assert!(matches!(register.take(&name("3"), range), Err(PortError::Full(_))));
        let again = PortRegister::open(folder.path()).expect("open");
        assert_eq!(again.take(&name("2"), range).expect("remembered"), two);
        again.give_back(&name("1")).expect("written");
        drop(taken);
        assert_eq!(
            again.take(&name("3"), range).expect("free"),
            range.first,
            "the given-back one comes last"
        );
        assert_eq!(again.take(&name("4"), range).expect("free"), one);
    }

    #[test]
    fn a_port_that_a_stranger_took_is_given_up_for_another_while_there_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_taken, range) = range();
        let register = PortRegister::open(folder.path()).expect("open");
        let mut strangers = Vec::new();
        let mut given = Vec::new();
        for _ in 0..2 {
            let port = register.take(&name("1"), range).expect("free");
            assert_eq!(register.give_up_taken(&name("1")).expect("written"), None, "it is still free");
            strangers.push(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free a moment ago"));
            assert_eq!(register.take(&name("1"), range).expect("its own"), port, "until it is given up");
            assert_eq!(register.give_up_taken(&name("1")).expect("written"), Some(port));
            given.push(port);
        }
        given.sort_unstable();
        assert_eq!(given, [range.first + 1, range.first + 2]);
        let error = register.take(&name("1"), range).expect_err("all are taken");
        assert_eq!(error.to_string(), format!("every port from {} to {} is taken", range.first, range.last));
        assert!(error.next().contains("widen `ports`"));
        drop(strangers);
        assert!(given.contains(&register.take(&name("1"), range).expect("free again")));
    }
}
