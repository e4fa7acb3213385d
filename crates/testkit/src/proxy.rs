//! A TCP proxy between a client and a real server, whose weather a test decides; it also counts HTTP requests.
//!
//! Invariant: with fair weather it changes no byte. Requests are counted on the wire, so a repeated one counts twice.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::port::free_port;

const LINES_MAX: usize = 100_000;

/// What happens to bytes on their way.
#[derive(Clone, Debug, Default)]
struct Weather {
    /// How long each piece of an answer is held back.
    delay: Duration,
    /// Whether connections stay open and carry nothing, as behind a firewall that drops packets.
    silent: bool,
    /// The whole HTTP answer given to every request instead of passing it on.
    answer: Option<Arc<str>>,
}

#[derive(Default)]
struct Counted {
    requests: u64,
    lines: Vec<String>,
}

struct Inner {
    target: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    counted: Mutex<Counted>,
    connections: Mutex<JoinSet<()>>,
}

/// A running proxy; gone on drop.
pub struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    listening: Mutex<Option<AbortHandle>>,
}

impl Proxy {
    /// Starts a proxy on a free port that passes everything on to `target`.
    pub async fn start(target: SocketAddr) -> Result<Proxy> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let inner = Inner {
            target: Mutex::new(target),
            weather: watch::Sender::default(),
            counted: Mutex::default(),
            connections: Mutex::default(),
        };
        let proxy = Proxy { address, inner: Arc::new(inner), listening: Mutex::default() };
        proxy.accept().await?;
        Ok(proxy)
    }

    /// Returns the address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends new connections to another server; those that are open stay where they are.
    pub fn retarget(&self, target: SocketAddr) {
        *lock(&self.inner.target) = target;
    }

    /// Resets every open connection and waits until they are gone; new ones are welcome.
    pub async fn cut(&self) {
        let mut connections = std::mem::take(&mut *lock(&self.inner.connections));
        connections.shutdown().await;
    }

    /// Stops listening and resets every connection: new ones are refused, until [`Proxy::accept`].
    pub async fn refuse(&self) {
        let listening = lock(&self.listening).take();
        if let Some(task) = listening {
            task.abort();
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
        }
        self.cut().await;
    }

    /// Listens again on the same port.
    pub async fn accept(&self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let task = tokio::spawn(listen(listener, Arc::clone(&self.inner)));
        *lock(&self.listening) = Some(task.abort_handle());
        Ok(())
    }

    /// Holds back each piece of an answer for so long.
    pub fn delay(&self, delay: Duration) {
        self.inner.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Lets connections carry nothing, in either direction, while `silent`.
    pub fn silence(&self, silent: bool) {
        self.inner.weather.send_modify(|weather| weather.silent = silent);
    }

    /// Answers every request with `status` (such as `500 Internal Server Error`), `headers` and `body`.
    pub fn answer(&self, status: &str, headers: &[&str], body: &str) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        self.inner.weather.send_modify(|weather| weather.answer = Some(text.into()));
    }

    /// Passes everything on again, at once.
    pub fn clear(&self) {
        self.inner.weather.send_modify(|weather| *weather = Weather::default());
    }

    /// Returns how many HTTP requests came in.
    pub fn requests(&self) -> u64 {
        lock(&self.inner.counted).requests
    }

    /// Returns and forgets the first lines of the requests so far, such as `GET /v1/kv/a?recurse HTTP/1.1`.
    pub fn take_request_lines(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.inner.counted).lines)
    }

    /// Returns how many connections are open.
    pub fn connections(&self) -> usize {
        let mut connections = lock(&self.inner.connections);
        while connections.try_join_next().is_some() {}
        connections.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
        }
        lock(&self.inner.connections).abort_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

async fn listen(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((client, _)) = listener.accept().await {
        let connection = carry(client, Arc::clone(&inner));
        let mut connections = lock(&inner.connections);
        while connections.try_join_next().is_some() {}
        connections.spawn(connection);
    }
}

async fn carry(client: TcpStream, inner: Arc<Inner>) {
    let target = *lock(&inner.target);
    let Ok(server) = TcpStream::connect(target).await else { return };
    // A cut connection is dropped with unread bytes or not; lingering for no time makes it a reset either way.
    for stream in [&client, &server] {
        if stream.set_nodelay(true).and_then(|()| stream.set_zero_linger()).is_err() {
            return;
        }
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // `to_client` is shared: an answer of our own goes the same way as the server's.
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let up = carry_up(from_client, to_server, Arc::clone(&to_client), &inner);
    let down = carry_down(from_server, to_client, &inner);
    tokio::select! { () = up => (), () = down => () }
}

async fn carry_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    inner: &Inner,
) {
    let mut requests = Requests::default();
    let mut weather = inner.weather.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let lines = requests.feed(&buffer[..length]);
        let answers = lines.len();
        count(inner, lines);
        let Ok(now) = weather.wait_for(|weather| !weather.silent).await.map(|now| now.clone()) else {
            return;
        };
        let done = match now.answer {
            None => to.write_all(&buffer[..length]).await,
            Some(answer) => back.lock().await.write_all(answer.repeat(answers).as_bytes()).await,
        };
        if done.is_err() {
            return;
        }
    }
}

async fn carry_down(mut from: OwnedReadHalf, to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>, inner: &Inner) {
    let mut weather = inner.weather.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = weather.wait_for(|weather| !weather.silent).await.map(|now| now.clone()) else {
            return;
        };
        if !now.delay.is_zero() {
            tokio::time::sleep(now.delay).await;
        }
        if to.lock().await.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn count(inner: &Inner, lines: Vec<String>) {
    let mut counted = lock(&inner.counted);
    counted.requests += lines.len() as u64;
    let room = LINES_MAX.saturating_sub(counted.lines.len());
    counted.lines.extend(lines.into_iter().take(room));
}

/// Finds the requests in one connection's bytes (RFC 9112: a head, then a body by length or in chunks).
#[derive(Default)]
struct Requests {
    pending: Vec<u8>,
    body: Body,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Body {
    #[default]
    None,
    /// So many bytes of it are still to come.
    Length(usize),
    /// It comes in chunks; their sizes are in the bytes.
    Chunks,
    /// This is the last of the chunks: trailers until an empty line.
    Trailers,
}

impl Requests {
    /// Takes the next bytes; returns the first lines of the requests whose heads are complete now.
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while self.advance(&mut lines) {}
        lines
    }

    fn advance(&mut self, lines: &mut Vec<String>) -> bool {
        match self.body {
            Body::Length(missing) => {
                let length = missing.min(self.pending.len());
                self.pending.drain(..length);
                self.body = if missing == length { Body::None } else { Body::Length(missing - length) };
                length > 0 || missing == 0
            }
            Body::Chunks => self.take_until("\r\n").is_some_and(|line| self.begin_chunk(&line)),
            Body::Trailers => self.take_until("\r\n").is_some_and(|line| self.end_trailers(&line)),
            Body::None => self.take_until("\r\n\r\n").is_some_and(|head| {
                lines.push(head.lines().next().unwrap_or_default().to_owned());
                self.body = body_of(&head);
                true
            }),
        }
    }

    fn take_until(&mut self, end: &str) -> Option<String> {
        let at = self.pending.windows(end.len()).position(|window| window == end.as_bytes())?;
        let taken: Vec<u8> = self.pending.drain(..at + end.len()).take(at).collect();
        Some(String::from_utf8_lossy(&taken).into_owned())
    }

    /// A chunk's own bytes are skipped as part of `pending` at once: chunks are small, requests are not streams here.
    fn begin_chunk(&mut self, line: &str) -> bool {
        let size = line.split(';').next().and_then(|hex| usize::from_str_radix(hex.trim(), 16).ok());
        match size {
            Some(0) => {
                self.body = Body::Trailers;
                true
            }
            Some(size) if self.pending.len() >= size + 2 => {
                self.pending.drain(..size + 2);
                true
            }
            _ => {
                let mut whole = line.as_bytes().to_vec();
                whole.extend_from_slice(b"\r\n");
                whole.append(&mut self.pending);
                self.pending = whole;
                false
            }
        }
    }

    fn end_trailers(&mut self, line: &str) -> bool {
        if line.is_empty() {
            self.body = Body::None;
        }
        true
    }
}

fn body_of(head: &str) -> Body {
    let header = |wanted: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
    };
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Body::Chunks;
    }
    header("content-length").and_then(|value| value.parse().ok()).map_or(Body::None, Body::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_however_their_bytes_are_cut() {
        let bytes = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPUT /b HTTP/1.1\r\ncontent-length: 5\r\n\r\nGET /\
            POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\nGET /d HTTP/1.1\r\n\r\n";
        for size in [1, 2, 3, 7, 50, bytes.len()] {
            let mut requests = Requests::default();
            let lines: Vec<String> = bytes.chunks(size).flat_map(|piece| requests.feed(piece)).collect();
            let paths: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
            assert_eq!(paths, ["/a", "/b", "/c", "/d"], "in pieces of {size}");
        }
    }
}
