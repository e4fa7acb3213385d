//! A small HTTP/1.1 service for tests of proxies: what it does stands in the path of the request.
//!
//! `/` its name · `/head` the request's head as it came · `/echo` the request's body · `/status/N` · `/bytes/N` a body of N bytes ·
//! `/slow/MS` after a pause · `/told/MS/NAME` the same, and the name is printed first · `/stream/N/MS` N chunks with pauses · `/break` no
//! answer · `/cut` half of one · `/close` the last on its connection · an `Upgrade` turns the connection into an echo of bytes.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::wire::{self, Head, Reader};

/// The answer to the key of every WebSocket that [`crate::long`] opens (RFC 6455, section 1.3).
const SOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is wrong with a service.
#[derive(Clone, Copy, Debug)]
pub struct Flaw {
    /// What it answers wherever another one answers 200, to its health check as well.
    pub status: u64,
    /// One in so many requests is answered with 500, but not its health check; none when zero.
    pub fails_one_in: u64,
    /// One in so many requests, but not its health check, is answered after this pause; none when zero.
    pub slow_one_in: u64,
    /// See there.
    pub pause: Duration,
}

impl Flaw {
    /// Nothing is wrong.
    pub const NONE: Flaw = Flaw { status: 200, fails_one_in: 0, slow_one_in: 0, pause: Duration::ZERO };
}

/// A running service. It ends as if killed when it is dropped.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    counts: Arc<Counts>,
    running: JoinHandle<()>,
}

/// What a service has seen.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
}

impl Backend {
    /// Starts a service on a free port.
    pub async fn start(name: &str) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Backend::on(name, Flaw::NONE, listener)
    }

    /// Starts a service at an address.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start_at(name: &str, address: SocketAddr) -> Result<Backend> {
        Ok(Backend::on(name, Flaw::NONE, Backend::listen(address)?))
    }

    /// Starts a service with whom something is wrong.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start_flawed_at(name: &str, address: SocketAddr, flaw: Flaw) -> Result<Backend> {
        Ok(Backend::on(name, flaw, Backend::listen(address)?))
    }

    fn listen(address: SocketAddr) -> Result<TcpListener> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    }

    fn on(name: &str, flaw: Flaw, listener: TcpListener) -> Backend {
        let address = listener.local_addr().expect("bound");
        let counts = Arc::new(Counts::default());
        let running = tokio::spawn(run(name.to_owned(), flaw, listener, Arc::clone(&counts)));
        Backend { address, counts, running }
    }

    /// Returns how many requests came whole.
    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Returns how many connections came.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Ends as if killed: every connection breaks off, and the port is free again when this returns.
    pub async fn kill(mut self) {
        self.running.abort();
        // An aborted task says so; that is what was asked for.
        drop((&mut self.running).await);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn run(name: String, flaw: Flaw, listener: TcpListener, counts: Arc<Counts>) {
    let mut clients = JoinSet::new();
    let name: Arc<str> = name.into();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                counts.connections.fetch_add(1, Ordering::SeqCst);
                clients.spawn(connection(Arc::clone(&name), flaw, socket, Open::count(&counts)));
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<Counts>);

impl Open {
    fn count(counts: &Arc<Counts>) -> Open {
        counts.open.fetch_add(1, Ordering::SeqCst);
        Open(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves one connection. A client that breaks off ends it, as it would end any server's.
async fn connection(name: Arc<str>, flaw: Flaw, socket: TcpStream, open: Open) {
    drop(socket.set_nodelay(true));
    let mut reader = Reader::new(socket);
    while let Ok(Some(head)) = reader.head().await {
        let served = serve((&name, flaw), &head, &mut reader, &open.0).await;
        if !matches!(served, Ok(true)) {
            return;
        }
    }
}

/// Serves one request; tells whether the connection goes on.
async fn serve(
    (name, flaw): (&str, Flaw),
    head: &Head,
    reader: &mut Reader<TcpStream>,
    counts: &Counts,
) -> Result<bool> {
    let path = head.first.split(' ').nth(1).unwrap_or_default().to_owned();
    let parts: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').skip(1).collect();
    let number = |place: usize| parts.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    if head.get("upgrade").is_some() {
        counts.requests.fetch_add(1, Ordering::SeqCst);
        return echo_bytes(name, head, reader).await;
    }
    let mut body = Vec::new();
    reader
        .body(wire::of_request(head), |piece| {
            if parts[0] == "echo" {
                body.extend_from_slice(piece)
            }
        })
        .await?;
    let count = counts.requests.fetch_add(1, Ordering::SeqCst);
    let is_hit = |one_in: u64| one_in > 0 && parts[0] != "health" && count.is_multiple_of(one_in);
    if is_hit(flaw.slow_one_in) {
        sleep(flaw.pause).await;
    }
    match parts[0] {
        "break" => return Ok(false),
        "cut" => {
            reader.io().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf").await?;
            return Ok(false);
        }
        "told" => {
            println!("told {}", parts.get(2).unwrap_or(&""));
            sleep(Duration::from_millis(number(1))).await;
        }
        "slow" => sleep(Duration::from_millis(number(1))).await,
        "stream" => return stream(name, reader.io(), number(1), Duration::from_millis(number(2))).await,
        _ => {}
    }
    let status = match parts[0] {
        "status" => number(1),
        _ if is_hit(flaw.fails_one_in) => 500,
        _ => flaw.status,
    };
    let body = match parts[0] {
        "echo" => body,
        "bytes" => return bytes(name, head, reader.io(), number(1)).await,
        "head" => format!("{}\n{}", head.first, lines(head)).into_bytes(),
        _ => name.as_bytes().to_vec(),
    };
    let end = if parts[0] == "close" { "connection: close\r\n" } else { "" };
    let mut answer =
        format!("HTTP/1.1 {status} Said\r\nserved-by: {name}\r\n{end}content-length: {}\r\n\r\n", body.len())
            .into_bytes();
    if !head.first.starts_with("HEAD ") && status != 204 && status != 304 {
        answer.extend_from_slice(&body);
    }
    reader.io().write_all(&answer).await?;
    Ok(end.is_empty())
}

fn lines(head: &Head) -> String {
    head.lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

/// Sends a body of any size without ever holding it.
async fn bytes(name: &str, head: &Head, socket: &mut TcpStream, size: u64) -> Result<bool> {
    static PIECE: [u8; 32 << 10] = [b'x'; 32 << 10];
    let mut piece =
        format!("HTTP/1.1 200 Said\r\nserved-by: {name}\r\ncontent-length: {size}\r\n\r\n").into_bytes();
    let mut left = if head.first.starts_with("HEAD ") { 0 } else { size };
    loop {
        let more = left.min(PIECE.len() as u64);
        piece.extend_from_slice(&PIECE[..usize::try_from(more).unwrap_or(0)]);
        socket.write_all(&piece).await?;
        left -= more;
        piece.clear();
        if left == 0 {
            return Ok(true);
        }
    }
}

async fn stream(name: &str, socket: &mut TcpStream, chunks: u64, pause: Duration) -> Result<bool> {
    let head = format!("HTTP/1.1 200 OK\r\nserved-by: {name}\r\ntransfer-encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    for _ in 0..chunks {
        socket.write_all(b"5\r\npiece\r\n").await?;
        sleep(pause).await;
    }
    socket.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

async fn echo_bytes(name: &str, head: &Head, reader: &mut Reader<TcpStream>) -> Result<bool> {
    let protocol = head.get("upgrade").unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\nserved-by: {name}\r\n\
         sec-websocket-accept: {SOCKET_ACCEPT}\r\n\r\n"
    );
    reader.io().write_all(answer.as_bytes()).await?;
    let mut bytes = [0; 4096];
    loop {
        let mut early = Vec::new();
        let size = match reader.some(4096, &mut |piece| early.extend_from_slice(piece)).await {
            Ok(size) => usize::try_from(size).unwrap_or(0),
            Err(_) => reader.io().read(&mut bytes).await.unwrap_or(0),
        };
        if size == 0 {
            return Ok(false);
        }
        reader.io().write_all(&early).await?;
    }
}
