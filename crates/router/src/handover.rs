//! An upgrade: the listening sockets and the folder's lock go from the router that runs to the one that replaces it.
//!
//! ```text
//! new: POST /v1/handover (Upgrade)   old: 101      new: go      old: Parcel + lock and listeners (SCM_RIGHTS)
//! new: ready, once nothing can fail any more       old: gives up the control socket's name, yours
//! new: takes that name and clients, mine           old: takes no more clients
//! ```
//! Until `mine` the old one still takes clients, and goes on as if nothing had been when the new one is gone.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::failed::Kept;
use crate::family::{Heard, Zeros};
use crate::report::Report;

/// The protocol's name in `Upgrade`.
pub const PROTOCOL: &str = "footplate-handover";
/// How long each side waits for the other's next word.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many sockets go over at once.
const SOCKETS_MAX: usize = 64;
/// The largest parcel, in bytes.
const PARCEL_BYTES_MAX: u32 = 64 << 20;

/// What goes over beside the sockets.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Parcel {
    /// The process that hands over.
    pub process: u32,
    /// The counts go on under this name.
    pub instance: String,
    /// What the one that hands over is called once it was replaced.
    pub name: String,
    /// The addresses of the listeners, in the order of the sockets.
    pub addresses: Vec<SocketAddr>,
    /// What was counted by processes that have ended.
    pub base: Report,
    /// What elders from another line had counted before this one began.
    pub zeros: Zeros,
    /// What is kept of requests that failed.
    pub failed: Kept,
    /// Which of its elders' it has taken over.
    pub heard: Heard,
}

/// The old router's side.
#[derive(Debug)]
pub struct Giver(BufReader<UnixStream>);

/// The new router's side.
#[derive(Debug)]
pub struct Taker(BufReader<UnixStream>);

/// What the new router was given.
#[derive(Debug)]
pub struct Gift {
    /// What was said.
    pub parcel: Parcel,
    /// The folder's lock, still held.
    pub lock: File,
    /// The listeners, with their addresses.
    pub listeners: Vec<(SocketAddr, TcpListener)>,
}

impl Giver {
    /// Begins on a connection whose HTTP part is over.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn new(socket: UnixStream) -> io::Result<Giver> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Giver(BufReader::new(socket)))
    }

    /// Gives the parcel and the sockets, and waits until the other side can go on alone.
    ///
    /// # Errors
    /// The other side is gone or has failed: nothing has changed.
    pub fn give(&mut self, parcel: &Parcel, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        expect(&mut self.0, "go")?;
        let text = serde_json::to_vec(parcel)?;
        let size = u32::try_from(text.len()).map_err(io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if sockets.len() > SOCKETS_MAX || !ancillary.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::Error::other(format!("more than {SOCKETS_MAX} listeners")));
        }
        let socket = self.0.get_mut();
        let first = size.to_be_bytes();
        let sent = sendmsg(&*socket, &[IoSlice::new(&first)], &mut ancillary, SendFlags::NOSIGNAL)?;
        socket.write_all(&first[sent..])?;
        socket.write_all(&text)?;
        expect(&mut self.0, "ready")
    }

    /// Tells the other side that it is in charge, and waits until it has begun. One that is slow is in charge as well.
    ///
    /// # Errors
    /// The other side is gone: nobody is in charge but us.
    pub fn yours(mut self) -> io::Result<()> {
        self.0.get_mut().write_all(b"yours\n")?;
        match expect(&mut self.0, "mine") {
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind()) => {
                Ok(())
            }
            other => other,
        }
    }
}

impl Gift {
    /// Returns the listener of an address, if it was given one.
    pub fn listener(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.listeners.iter().position(|(known, _)| *known == address)?;
        Some(self.listeners.swap_remove(place).1)
    }
}

impl Taker {
    /// Asks the router at this control socket for everything; nothing when nobody is there.
    ///
    /// # Errors
    /// Somebody is there who does not hand over.
    pub fn ask(path: &Path) -> io::Result<Option<(Taker, Gift)>> {
        let socket = match UnixStream::connect(path) {
            Ok(socket) => socket,
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind()) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut talk = BufReader::new(socket);
        let request = format!(
            "POST /v1/handover HTTP/1.1\r\nhost: router\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\ncontent-length: 0\r\n\r\n"
        );
        talk.get_mut().write_all(request.as_bytes())?;
        let mut status = String::new();
        talk.read_line(&mut status)?;
        if !status.starts_with("HTTP/1.1 101") {
            return Err(io::Error::other(format!("it answers `{}`", status.trim())));
        }
        let mut line = String::new();
        while talk.read_line(&mut line)? > 0 && line != "\r\n" {
            line.clear();
        }
        talk.get_mut().write_all(b"go\n")?;
        let gift = receive(&mut talk)?;
        Ok(Some((Taker(talk), gift)))
    }

    /// Takes charge: says that nothing can fail any more, and waits until the other side has let go.
    ///
    /// # Errors
    /// The other side is gone or goes on by itself.
    pub fn take_charge(mut self) -> io::Result<Taker> {
        self.0.get_mut().write_all(b"ready\n")?;
        expect(&mut self.0, "yours")?;
        Ok(self)
    }

    /// Says that it has begun.
    ///
    /// # Errors
    /// The other side is gone, which is its own business.
    pub fn mine(mut self) -> io::Result<()> {
        self.0.get_mut().write_all(b"mine\n")
    }
}

fn receive(talk: &mut BufReader<UnixStream>) -> io::Result<Gift> {
    let mut size = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        talk.get_ref().as_fd(),
        &mut [IoSliceMut::new(&mut size)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if got.bytes == 0 || got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("it sent no sockets"));
    }
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let mut sockets = rights.flatten().collect::<Vec<OwnedFd>>().into_iter();
    talk.read_exact(&mut size[got.bytes..])?;
    let size = u32::from_be_bytes(size);
    if size > PARCEL_BYTES_MAX {
        return Err(io::Error::other("it sent too much"));
    }
    let mut text = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    talk.read_exact(&mut text)?;
    let parcel: Parcel = serde_json::from_slice(&text)?;
    let lock = sockets.next().map(File::from).ok_or(io::Error::other("it sent no lock"))?;
    let listeners = parcel.addresses.iter().copied().zip(sockets.map(TcpListener::from)).collect();
    Ok(Gift { parcel, lock, listeners })
}

fn expect(talk: &mut BufReader<UnixStream>, word: &str) -> io::Result<()> {
    let mut line = String::new();
    talk.read_line(&mut line)?;
    match line.trim_end() == word {
        true => Ok(()),
        false => Err(io::Error::other(format!("the other side said `{}`, not `{word}`", line.trim_end()))),
    }
}
