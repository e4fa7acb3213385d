//! Clients under continuous load, which count every failure: what a proxy must survive while its table, its endpoints and itself change.
//!
//! A failure is whatever a person would see: no connection, a connection that ends before the whole answer, an answer that is not
//! 2xx, one that takes too long. A closed connection is none if the answer before it had announced that.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wire::{self, Head, Reader};

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How many failures are described; all are counted.
const DESCRIBED_MAX: usize = 20;
/// The first of several addresses.
const FIRST_OF_SEVERAL: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Load {
    /// Whom they ask.
    pub address: SocketAddr,
    /// How many there are; each waits for its answer before it asks again.
    pub clients: usize,
    /// Whether each keeps its connection between requests.
    pub keep_alive: bool,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The value of `Host`.
    pub host: String,
    /// The body of each request.
    pub body: Vec<u8>,
    /// How long each rests between its requests.
    pub pause: Duration,
    /// From how many addresses of the loopback network they connect, in turn; from the usual one when 0. For a server on loopback alone.
    pub addresses: u16,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests that were sent.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// The first failures, in words.
    pub failures: Vec<String>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by the endpoint that gave them (`served-by`).
    pub served_by: BTreeMap<String, u64>,
    /// The time of each answer, in microseconds, in no order.
    pub times: Vec<u32>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Running {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) done: Arc<AtomicU64>,
    pub(crate) clients: Vec<JoinHandle<Outcome>>,
}

impl Load {
    /// Describes clients that keep their connections and get `/`.
    pub fn new(address: SocketAddr, clients: usize) -> Load {
        Load {
            address,
            clients,
            keep_alive: true,
            method: "GET".into(),
            path: "/".into(),
            host: "service.test".into(),
            body: Vec::new(),
            pause: Duration::ZERO,
            addresses: 0,
        }
    }

    /// Starts the clients.
    pub fn start(&self) -> Running {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..self.clients)
            .map(|_| tokio::spawn(client(self.clone(), Arc::clone(&stop), Arc::clone(&done))))
            .collect();
        Running { stop, done, clients }
    }

    fn request(&self) -> Vec<u8> {
        let Load { method, path, host, body, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        if !self.keep_alive {
            head.push_str("connection: close\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        [head.as_bytes(), b"\r\n", body].concat()
    }
}

impl Running {
    /// Returns how many requests have ended so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Lets each client finish its request and says what became of all.
    pub async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for client in self.clients {
            all.add(client.await.expect("a client does not panic"));
        }
        all
    }
}

impl Outcome {
    /// Adds what became of other requests.
    pub fn add(&mut self, other: Outcome) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(DESCRIBED_MAX);
        self.times.extend(other.times);
        for (status, number) in other.statuses {
            *self.statuses.entry(status).or_default() += number;
        }
        for (name, number) in other.served_by {
            *self.served_by.entry(name).or_default() += number;
        }
    }

    /// Returns the time that a part of the answers did not exceed, 0.99 for p99.
    pub fn quantile(&self, part: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let place = ((times.len() as f64 * part).ceil() as usize).saturating_sub(1);
        Duration::from_micros(times.get(place).copied().unwrap_or(0).into())
    }

    fn note(&mut self, asked: Instant, answer: Result<Head>) {
        self.requests += 1;
        match answer {
            Ok(head) => {
                self.times.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                *self.statuses.entry(head.status()).or_default() += 1;
                if let Some(name) = head.get("served-by") {
                    *self.served_by.entry(name.to_owned()).or_default() += 1;
                }
                if !(200..300).contains(&head.status()) {
                    let reason = head.get("footplate-router").unwrap_or_default();
                    self.fail(format!("{} {reason}", head.first));
                }
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Notes an exchange that took long, and who served it.
    pub(crate) fn note_long(&mut self, begun: Instant, ended: Result<Option<String>>) {
        self.requests += 1;
        match ended {
            Ok(served_by) => {
                self.times.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
                if let Some(name) = served_by {
                    *self.served_by.entry(name).or_default() += 1;
                }
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn fail(&mut self, what: String) {
        self.failed += 1;
        if self.failures.len() < DESCRIBED_MAX {
            self.failures.push(what);
        }
    }
}

async fn client(load: Load, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = None;
    let request = load.request();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let asking = timeout(PATIENCE, ask(&load, &request, &mut connection)).await;
        let answer = asking.unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "no answer in time")));
        if answer.as_ref().map_or(true, |head| head.closes() || !load.keep_alive) {
            connection = None;
        }
        outcome.note(asked, answer);
        done.fetch_add(1, Ordering::Relaxed);
        if !load.pause.is_zero() {
            tokio::time::sleep(load.pause).await;
        }
    }
    outcome
}

async fn ask(load: &Load, request: &[u8], connection: &mut Option<Reader<TcpStream>>) -> Result<Head> {
    let named = |what: &str, error: Error| Error::new(error.kind(), format!("{what}: {error}"));
    if connection.is_none() {
        let socket = connect(load).await.map_err(|error| named("connecting", error))?;
        socket.set_nodelay(true)?;
        *connection = Some(Reader::new(socket));
    }
    let reader = connection.as_mut().expect("it was just made");
    reader.io().write_all(request).await.map_err(|error| named("sending", error))?;
    let head = reader.head().await.map_err(|error| named("reading the head", error))?;
    let head = head.ok_or(Error::new(ErrorKind::UnexpectedEof, "closed without an answer"))?;
    let framing = wire::of_answer(&head, &load.method);
    reader.body(framing, |_| {}).await.map_err(|error| named("reading the body", error))?;
    Ok(head)
}

async fn connect(load: &Load) -> Result<TcpStream> {
    /// How many connections were made from one of several addresses.
    static MADE: AtomicU64 = AtomicU64::new(0);
    if load.addresses == 0 {
        return TcpStream::connect(load.address).await;
    }
    let one = MADE.fetch_add(1, Ordering::Relaxed) % u64::from(load.addresses);
    let from = Ipv4Addr::from(u32::from(FIRST_OF_SEVERAL) + one as u32);
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(load.address).await
}
