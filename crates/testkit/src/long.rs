//! Exchanges that last: a WebSocket, an upload, a download. Each can be begun before something happens, kept going, and finished after it.
//!
//! The peer is a [`crate::backend`], behind a proxy perhaps. An error is whatever a person would see.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::load::{Outcome, PATIENCE, Running};
use crate::wire::{Framing, Reader};

/// Bytes of an upload: a half goes at the beginning, the rest at the end.
const UPLOAD: usize = 200_000;
/// Bytes of a download, more than what the sockets on the way hold.
const DOWNLOAD: u64 = 24_000_000;
/// A WebSocket's key and the answer to it, both from RFC 6455, section 1.3.
const SOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection turned into an echo of bytes.
    Socket,
    /// A request whose body comes late, and is answered with the same body.
    Upload,
    /// An answer that is read slowly.
    Download,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Socket, Kind::Upload, Kind::Download];
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange {
    kind: Kind,
    reader: Reader<TcpStream>,
    served_by: Option<String>,
    left: u64,
}

impl Exchange {
    /// Begins one. A WebSocket and a download have their answer's head when this returns, an upload has half of its body sent.
    ///
    /// # Errors
    /// No connection, or another answer than the one that was asked for.
    pub async fn begin(kind: Kind, address: SocketAddr) -> Result<Exchange> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut exchange = Exchange { kind, reader: Reader::new(socket), served_by: None, left: 0 };
        let asked = timeout(PATIENCE, exchange.ask()).await;
        asked.map_err(|_| Error::new(ErrorKind::TimedOut, format!("{kind:?}: no answer in time")))??;
        Ok(exchange)
    }

    async fn ask(&mut self) -> Result<()> {
        let head = match self.kind {
            Kind::Socket => format!(
                "GET /socket HTTP/1.1\r\nhost: service.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: {SOCKET_KEY}\r\n\r\n"
            ),
            Kind::Upload => {
                format!("POST /echo HTTP/1.1\r\nhost: service.test\r\ncontent-length: {UPLOAD}\r\n\r\n")
            }
            Kind::Download => format!("GET /bytes/{DOWNLOAD} HTTP/1.1\r\nhost: service.test\r\n\r\n"),
        };
        self.reader.io().write_all(head.as_bytes()).await?;
        match self.kind {
            Kind::Upload => self.reader.io().write_all(&[b'u'; UPLOAD / 2]).await,
            Kind::Socket => self.answered(101).await,
            Kind::Download => {
                self.left = DOWNLOAD;
                self.answered(200).await
            }
        }
    }

    async fn answered(&mut self, status: u16) -> Result<()> {
        let head = self.reader.head().await?;
        let head = head.ok_or_else(|| Error::new(ErrorKind::UnexpectedEof, "closed without an answer"))?;
        if head.status() != status {
            let reason = head.get("footplate-router").unwrap_or_default();
            return Err(Error::other(format!("{:?}: {} {reason}", self.kind, head.first)));
        }
        self.served_by = head.get("served-by").map(str::to_owned);
        Ok(())
    }

    /// Returns what it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns who answers, if that is known yet.
    pub fn served_by(&self) -> Option<&str> {
        self.served_by.as_deref()
    }

    /// Keeps it going: an echo over the WebSocket, a piece of the download. An upload waits.
    ///
    /// # Errors
    /// It broke, or what came back is not what was sent.
    pub async fn go_on(&mut self) -> Result<()> {
        let going = async {
            match self.kind {
                Kind::Socket => self.echo(b"ping").await,
                Kind::Upload => Ok(()),
                Kind::Download => {
                    let size = self.reader.some(self.left.min(1_000), &mut |_| {}).await?;
                    self.left -= size;
                    Ok(())
                }
            }
        };
        timeout(PATIENCE, going).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    /// Brings it to its end.
    ///
    /// # Errors
    /// It broke, or is not whole.
    pub async fn finish(mut self) -> Result<()> {
        let kind = self.kind;
        let ending = async {
            match self.kind {
                Kind::Socket => self.echo(b"and that was all").await,
                Kind::Download => self.reader.body(Framing::Length(self.left), |_| {}).await.map(drop),
                Kind::Upload => {
                    self.reader.io().write_all(&[b'u'; UPLOAD / 2]).await?;
                    self.answered(200).await?;
                    self.reader.body(Framing::Length(UPLOAD as u64), |_| {}).await.map(drop)
                }
            }
        };
        let ended = timeout(PATIENCE, ending).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        ended.map_err(|error| Error::new(error.kind(), format!("{kind:?}, at its end: {error}")))
    }

    async fn echo(&mut self, said: &[u8]) -> Result<()> {
        self.reader.io().write_all(said).await?;
        let mut heard = Vec::new();
        self.reader.body(Framing::Length(said.len() as u64), |piece| heard.extend_from_slice(piece)).await?;
        if heard == said {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::InvalidData, "another echo than was sent"))
        }
    }
}

/// Clients that open WebSockets one after the other, each for so many echoes.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// Whom they ask.
    pub address: SocketAddr,
    /// How many there are at once.
    pub clients: usize,
    /// Echoes on each.
    pub echoes: usize,
    /// The pause after each echo.
    pub pause: Duration,
}

impl Sockets {
    /// Starts the clients. Each WebSocket counts as one request, answered when its last echo came.
    pub fn start(&self) -> Running {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |_| tokio::spawn(self.clone().client(Arc::clone(&stop), Arc::clone(&done)));
        let clients = (0..self.clients).map(client).collect();
        Running { stop, done, clients }
    }

    async fn client(self, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Outcome {
        let mut outcome = Outcome::default();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            outcome.note_long(begun, self.talk().await);
            done.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn talk(&self) -> Result<Option<String>> {
        let mut exchange = Exchange::begin(Kind::Socket, self.address).await?;
        for _ in 0..self.echoes {
            exchange.go_on().await?;
            tokio::time::sleep(self.pause).await;
        }
        let served_by = exchange.served_by().map(str::to_owned);
        exchange.finish().await?;
        Ok(served_by)
    }
}
