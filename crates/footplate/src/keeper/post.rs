//! The socket of a keeper: one order a connection, a line of JSON each way.
//!
//! Invariant: nobody who connects can hold the keeper up for longer than [`PATIENCE`].

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use footplate_drivers::disk;
use footplate_drivers::service::keeper::{Answer, Request};
use footplate_drivers::service::{Folder, State};

use super::Fatal;

/// How long whoever connected may take to speak and to listen.
const PATIENCE: Duration = Duration::from_millis(500);
/// The longest order.
const REQUEST_BYTES_MAX: u64 = 4096;

/// Opens the socket, for our own user alone, in place of a former keeper's.
pub(super) fn open(folder: &Folder) -> Result<UnixListener, Fatal> {
    let path = folder.socket();
    disk::remove_file(&path)?;
    // The path of a socket has 108 bytes at most, and ours may be longer: it is reached through the open folder.
    let place = File::open(folder.path())?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/orders.sock", place.as_raw_fd()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Tells whether a keeper of this folder answers; one that ends still listens for a moment.
pub(super) fn is_answered(folder: &Path) -> bool {
    let ask = || {
        let place = File::open(folder)?;
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/orders.sock", place.as_raw_fd()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        serde_json::to_writer(&stream, &Request::Status)?;
        (&stream).write_all(b"\n")?;
        BufReader::new(stream).read_line(&mut String::new())
    };
    ask().is_ok_and(|bytes| bytes > 0)
}

/// Takes one order; `None` when nobody waits. Whoever says nothing sensible is told so.
pub(super) fn take(listener: &UnixListener) -> Option<(UnixStream, Request)> {
    loop {
        let (stream, _) = listener.accept().ok()?;
        match read(&stream) {
            Ok(request) => return Some((stream, request)),
            Err(error) => answer(stream, Err(format!("this is no order: {error}"))),
        }
    }
}

fn read(stream: &UnixStream) -> io::Result<Request> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Answers; somebody who went away meanwhile has lost interest.
pub(super) fn answer(mut stream: UnixStream, done: Result<&State, String>) {
    let answer = match done {
        Ok(state) => Answer::Done(state.clone()),
        Err(why) => Answer::Failed(why),
    };
    let mut line = serde_json::to_string(&answer).expect("our own types have a form in JSON");
    line.push('\n');
    if let Err(error) = stream.write_all(line.as_bytes()) {
        tracing::debug!(%error, "nobody took an answer");
    }
}
