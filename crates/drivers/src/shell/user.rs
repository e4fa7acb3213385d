//! Who a script runs as.

use std::fs;
use std::io;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name; `USER` and `LOGNAME` of its scripts.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The main group's number. Supplementary groups are not given to scripts.
    pub gid: u32,
    /// `HOME` of its scripts.
    pub home: String,
}

impl User {
    /// Looks a user up in `/etc/passwd`. Blocking.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name there.
    pub fn named(name: &str) -> io::Result<Self> {
        let users = fs::read_to_string("/etc/passwd")?;
        let found = users.lines().filter_map(parse).find(|user| user.name == name);
        found.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{name}` in /etc/passwd"))
        })
    }
}

fn parse(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?.to_owned(), fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (_comment, home) = (fields.next()?, fields.next()?.to_owned());
    Some(User { name, uid, gid, home })
}
