//! Clients on one thread. At a given rate an answer's time counts from when its request was due, not from when a client was free to
//! send it, so that a proxy that stops is not flattered. A connection that is closed while it rests, or after an answer that announced
//! it, is opened again; one that is closed before its answer is a failure.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use serde_json::json;

use crate::Failed;
use crate::service::{MARK, Service};
use crate::watch::Watch;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: service.test\r\nuser-agent: footplate-load\r\naccept: */*\r\n\r\n";
/// Part of the time that is not counted, at the beginning.
const WARM_UP: f64 = 0.2;
/// How long a window is. Machines that share their cores with others stop for milliseconds; few windows have such a stop.
const WINDOW: Duration = Duration::from_millis(50);

/// Clients with open connections.
pub struct Clients {
    address: SocketAddr,
    all: Vec<Client>,
    free: Vec<usize>,
    /// When requests were due that no client was free for.
    due: VecDeque<Instant>,
    /// Times of all answers, in windows of requests that were due one after the other, in microseconds.
    times: Vec<Vec<u32>>,
    failed: u64,
}

struct Client {
    socket: TcpStream,
    /// When the request was due that it waits for an answer to.
    asked: Option<Instant>,
    buffer: Vec<u8>,
}

impl Clients {
    /// Connects them all.
    pub fn connect(watch: &Watch, address: SocketAddr, number: usize) -> Result<Clients, Failed> {
        let mut all = Vec::with_capacity(number);
        for place in 0..number {
            let socket = connect(watch, place, address)?;
            all.push(Client { socket, asked: None, buffer: Vec::with_capacity(16 << 10) });
        }
        let free = (0..number).collect();
        Ok(Clients { address, all, free, due: VecDeque::new(), times: Vec::new(), failed: 0 })
    }

    /// Asks for so many seconds: at `rate` requests a second, or as fast as answers come when it is 0. A service on the same thread
    /// answers meanwhile.
    pub fn run(
        mut self,
        watch: &mut Watch,
        mut service: Option<&mut Service>,
        seconds: u64,
        rate: u64,
    ) -> Result<serde_json::Value, Failed> {
        let begun = Instant::now();
        let counted_from = begun + Duration::from_secs(seconds).mul_f64(WARM_UP);
        let end = begun + Duration::from_secs(seconds);
        let gap = (rate > 0).then(|| Duration::from_secs(1).div_f64(rate as f64));
        let mut next = begun;
        loop {
            let now = Instant::now();
            if now >= end || self.failed > 1_000 {
                return Ok(self.sum_up(end - counted_from));
            }
            match gap {
                None => self.due.extend(std::iter::repeat_n(now, self.free.len())),
                Some(gap) => {
                    while next <= now {
                        self.due.push_back(next);
                        next += gap;
                    }
                }
            }
            self.send(watch)?;
            let wait =
                gap.map_or(Duration::from_millis(100), |_| next.saturating_duration_since(Instant::now()));
            for event in watch.wait(Some(wait))? {
                match &mut service {
                    Some(service) if event & MARK != 0 => service.take(watch, event)?,
                    _ => self.receive(watch, event as usize, counted_from)?,
                }
            }
        }
    }

    fn send(&mut self, watch: &Watch) -> Result<(), Failed> {
        while !self.due.is_empty() {
            let Some(place) = self.free.pop() else { break };
            let client = &mut self.all[place];
            client.asked = self.due.pop_front();
            if client.socket.write_all(REQUEST).is_err() {
                self.lose(watch, place)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, watch: &Watch, place: usize, counted_from: Instant) -> Result<(), Failed> {
        let client = &mut self.all[place];
        let mut piece = [0; 16 << 10];
        match client.socket.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(0) | Err(_) => return self.lose(watch, place),
            // HAProxy says 408 to a connection that was never used.
            Ok(_) if client.asked.is_none() => return self.lose(watch, place),
            Ok(size) => client.buffer.extend_from_slice(&piece[..size]),
        }
        let Some(answer) = Answer::whole(&client.buffer) else { return Ok(()) };
        client.buffer.clear();
        self.failed += u64::from(!answer.is_good);
        if let Some(asked) = client.asked.take().filter(|asked| *asked >= counted_from) {
            let window = asked.duration_since(counted_from).div_duration_f64(WINDOW) as usize;
            self.times.resize_with(self.times.len().max(window + 1), Vec::new);
            self.times[window].push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        if answer.closes {
            client.socket = connect(watch, place, self.address)?;
        }
        self.free.push(place);
        Ok(())
    }

    /// Opens a connection again that was closed; counts the request that got no answer.
    fn lose(&mut self, watch: &Watch, place: usize) -> Result<(), Failed> {
        let client = &mut self.all[place];
        client.buffer.clear();
        client.socket = connect(watch, place, self.address)?;
        if client.asked.take().is_some() {
            self.failed += 1;
            self.free.push(place);
        }
        Ok(())
    }

    fn sum_up(mut self, counted: Duration) -> serde_json::Value {
        self.times.iter_mut().for_each(|window| window.sort_unstable());
        let mut whole = self.times.concat();
        whole.sort_unstable();
        let mut windows: Vec<u32> = self.times.iter().map(|window| quantile(window, 0.99)).collect();
        windows.sort_unstable();
        let at = |part| quantile(&whole, part);
        json!({
            "requests": whole.len(), "failed": self.failed, "waiting": self.due.len(), "seconds": counted.as_secs_f64(),
            "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1.0),
            "windows_p99_us": quantile(&windows, 0.5),
        })
    }
}

/// Returns the time that a part of these did not exceed. They are in order.
fn quantile(times: &[u32], part: f64) -> u32 {
    let place = ((times.len() as f64 * part).ceil() as usize).saturating_sub(1);
    times.get(place).copied().unwrap_or(0)
}

/// Connects a client whose events carry its place.
fn connect(watch: &Watch, place: usize, address: SocketAddr) -> Result<TcpStream, Failed> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    epoll::add(&watch.poll, &socket, EventData::new_u64(place as u64), EventFlags::IN)?;
    Ok(socket)
}

struct Answer {
    is_good: bool,
    /// Whether it is the last on its connection.
    closes: bool,
}

impl Answer {
    /// Returns the answer that a buffer holds, once it is whole. Every answer has a length.
    fn whole(buffer: &[u8]) -> Option<Answer> {
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let field = |name: &str| Some(head.split(name).nth(1)?.split("\r\n").next()?.trim().to_owned());
        let length = field("\r\ncontent-length:").and_then(|length| length.parse().ok());
        let closes = field("\r\nconnection:").is_some_and(|what| what == "close");
        let is_good = head.starts_with("http/1.1 200");
        (buffer.len() >= end + 4 + length.unwrap_or(0_usize)).then_some(Answer { is_good, closes })
    }
}
