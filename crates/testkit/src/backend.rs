//! A small HTTP/1.1 service for tests of proxies: what it does stands in the path of the request.
//!
//! `/` its name · `/head` the request's head as it came · `/echo` the request's body · `/status/N` · `/bytes/N` a body of N bytes ·
//! `/slow/MS` after a pause · `/stream/N/MS` N chunks with pauses · `/break` no answer · `/cut` half of one · `/close` the last on its
//! connection · an `Upgrade` turns the connection into an echo of bytes.

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
        Backend::on(name, listener)
    }

    /// Starts a service at an address.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start_at(name: &str, address: SocketAddr) -> Result<Backend> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Backend::on(name, socket.listen(1024)?))
    }

    fn on(name: &str, listener: TcpListener) -> Backend {
        let address = listener.local_addr().expect("bound");
        let counts = Arc::new(Counts::default());
        let running = tokio::spawn(run(name.to_owned(), listener, Arc::clone(&counts)));
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

async fn run(name: String, listener: TcpListener, counts: Arc<Counts>) {
    let mut clients = JoinSet::new();
    let name: Arc<str> = name.into();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                counts.connections.fetch_add(1, Ordering::SeqCst);
                clients.spawn(connection(Arc::clone(&name), socket, Open::count(&counts)));
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
async fn connection(name: Arc<str>, socket: TcpStream, open: Open) {
    drop(socket.set_nodelay(true));
    let mut reader = Reader::new(socket);
    while let Ok(Some(head)) = reader.head().await {
        let served = serve(&name, &head, &mut reader, &open.0).await;
        if !matches!(served, Ok(true)) {
            return;
        }
    }
}

/// Serves one request; tells whether the connection goes on.
async fn serve(name: &str, head: &Head, reader: &mut Reader<TcpStream>, counts: &Counts) -> Result<bool> {
    let path = head.first.split(' ').nth(1).unwrap_or_default().to_owned();
    let parts: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').skip(1).collect();
    let number = |place: usize| parts.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    if head.get("upgrade").is_some() {
        counts.requests.fetch_add(1, Ordering::SeqCst);
        return echo_bytes(head, reader).await;
    }
    let mut body = Vec::new();
    reader
        .body(wire::of_request(head), |piece| {
            if parts[0] == "echo" {
                body.extend_from_slice(piece)
            }
        })
        .await?;
    counts.requests.fetch_add(1, Ordering::SeqCst);
    match parts[0] {
        "break" => return Ok(false),
        "cut" => {
            reader.io().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf").await?;
            return Ok(false);
        }
        "slow" => sleep(Duration::from_millis(number(1))).await,
        "stream" => return stream(reader.io(), number(1), Duration::from_millis(number(2))).await,
        _ => {}
    }
    let status = if parts[0] == "status" { number(1) } else { 200 };
    let body = match parts[0] {
        "echo" => body,
        "bytes" => vec![b'x'; usize::try_from(number(1)).unwrap_or(0)],
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

async fn stream(socket: &mut TcpStream, chunks: u64, pause: Duration) -> Result<bool> {
    socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    for _ in 0..chunks {
        socket.write_all(b"5\r\npiece\r\n").await?;
        sleep(pause).await;
    }
    socket.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

async fn echo_bytes(head: &Head, reader: &mut Reader<TcpStream>) -> Result<bool> {
    let protocol = head.get("upgrade").unwrap_or_default();
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
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
