//! What HAProxy's log lines add up to: every request of every track, with its end and its time.
//!
//! Lines come as datagrams over loopback: nothing of HAProxy waits for a reader, and it loses fewer lines that way than over
//! a Unix socket. Invariant: a line counts for who stands in its track, and for nobody when its server stands there no
//! more; what the system dropped is said.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use footplate_core::name::{ReleaseId, TargetName};
use footplate_core::traffic::counts::Counts;
use footplate_router::busy::{self, Sample};
use footplate_router::failed::{self, FailedRequest, Failures, How};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::configuration::backend;
use super::layout::Layout;
use super::line::{Asked, Line, Staying};
use crate::blocking;
use crate::router::{After, Facts, told};

/// How many bytes of lines may wait, if the system allows: about 50,000 lines.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest line that HAProxy sends, in bytes, unless told otherwise.
const LINE_BYTES_MAX: usize = 1024;
/// How long a port may stay taken by whoever had it before.
const PORT_TIME_MAX: Duration = Duration::from_secs(1);
const PORT_PAUSE: Duration = Duration::from_millis(10);

/// The reader of the log.
pub(super) struct Log {
    /// Where lines come.
    pub(super) port: u16,
    book: Arc<Mutex<Book>>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Book {
    /// Who stands in each track, and at which addresses.
    tracks: BTreeMap<String, Standing>,
    counts: Counts,
    failures: Failures,
    /// Some of those who asked lately.
    samples: BTreeMap<TargetName, Sample>,
    /// When it was opened.
    since: Option<Instant>,
    /// How many lines were dropped when that was last looked at.
    dropped: u64,
}

struct Standing {
    target: TargetName,
    release: ReleaseId,
    addresses: Vec<SocketAddr>,
    staying: Staying,
}

impl Log {
    /// Begins to read at this port, or at another when it stays taken or is 0.
    pub(super) async fn open(port: u16) -> io::Result<Self> {
        let socket = bind(port).await?;
        let port = socket.local_addr()?.port();
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, WAITING_BYTES_MAX).is_err()
            && let Err(error) = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, WAITING_BYTES_MAX)
        {
            tracing::debug!(%error, "HAProxy's log lines have only the usual room to wait in");
        }
        let book = Book {
            counts: Counts { line: uuid::Uuid::new_v4().to_string(), ..Counts::default() },
            since: Some(Instant::now()),
            ..Book::default()
        };
        let book = Arc::new(Mutex::new(book));
        let reader = tokio::spawn(read(socket, Arc::clone(&book)));
        Ok(Self { port, book, reader })
    }

    /// Says who stands where from now on.
    pub(super) fn follow(&self, layout: &Layout) {
        self.book().follow(layout);
    }

    /// Returns everything counted so far, with what failed after what is known, and how many lines were dropped since this was last asked.
    pub(super) async fn facts(&self, after: &After) -> (Facts, u64) {
        let port = self.port;
        let dropped = blocking(move || dropped(port)).await;
        let mut book = self.book();
        let dropped = dropped.unwrap_or(book.dropped);
        let since = dropped.saturating_sub(std::mem::replace(&mut book.dropped, dropped));
        (book.facts(after), since)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Binds this port of loopback. Another one costs HAProxy a reload: whoever had it before may be just leaving it.
async fn bind(port: u16) -> io::Result<UdpSocket> {
    let at = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
    let patience = Instant::now() + PORT_TIME_MAX;
    loop {
        match at(port).await {
            Err(_) if port != 0 && Instant::now() < patience => sleep(PORT_PAUSE).await,
            Err(_) if port != 0 => return at(0).await,
            bound => return bound,
        }
    }
}

async fn read(socket: UdpSocket, book: Arc<Mutex<Book>>) {
    let mut line = [0; 2 * LINE_BYTES_MAX];
    loop {
        let first = socket.recv(&mut line).await;
        let mut next = first;
        let mut book = book.lock().expect("nothing panics while it holds this lock");
        // Whatever waits is taken at once; a socket that fails is as good as an empty one, until the next line.
        while let Ok(bytes) = next {
            book.enter(&line[..bytes]);
            next = socket.try_recv(&mut line);
        }
    }
}

impl Book {
    /// Notes who stands where from now on, and forgets what was counted of everybody else.
    fn follow(&mut self, layout: &Layout) {
        self.tracks.clear();
        for (pool, places) in &layout.pools {
            let Ok(target) = pool.parse::<TargetName>() else { continue };
            for (track, number) in places.tracks.iter().zip(1..) {
                let Some(release) = track.release.clone() else { continue };
                let addresses = track.slots.iter().flatten().map(|slot| slot.address).collect();
                let staying = Staying { sticky: places.sticky.clone(), salt: places.salt.clone() };
                let standing = Standing { target: target.clone(), release, addresses, staying };
                self.tracks.insert(backend(pool, number), standing);
            }
        }
        let stands = |target: &TargetName, release: &ReleaseId| {
            self.tracks.values().any(|track| track.target == *target && track.release == *release)
        };
        for (target, releases) in &mut self.counts.targets {
            releases.retain(|release, _| stands(target, release));
        }
        self.counts.targets.retain(|_, releases| !releases.is_empty());
        self.samples.retain(|target, _| self.tracks.values().any(|track| track.target == *target));
    }

    fn facts(&self, after: &After) -> Facts {
        let number = if after.line == self.counts.line { after.number } else { 0 };
        let failed = self.failures.after(number).into_iter().filter_map(told::failed).collect();
        let now = self.second();
        let busiest = self.samples.iter();
        let busiest = busiest.map(|(target, sample)| (target.clone(), busy::busiest(&sample.before(now))));
        let busiest = busiest.map(|(target, busiest)| (target, told::busiest(busiest))).collect();
        Facts { counts: self.counts.clone(), failed, busiest }
    }

    fn second(&self) -> u64 {
        self.since.map_or(0, |since| since.elapsed().as_secs())
    }

    fn enter(&mut self, bytes: &[u8]) {
        let Some(line) = std::str::from_utf8(bytes).ok().and_then(Line::parse) else { return };
        let Some(standing) = self.tracks.get(line.backend) else { return };
        if line.address.is_some_and(|address| !standing.addresses.contains(&address)) {
            return;
        }
        let releases = self.counts.targets.entry(standing.target.clone()).or_default();
        line.count(releases.entry(standing.release.clone()).or_default());
        let Some(asked) = &line.asked else { return };
        let (key, second) = (asked.key(&standing.staying), self.second());
        self.samples.entry(standing.target.clone()).or_default().note(second, || key);
        for how in line.failures() {
            note(&self.failures, standing, &line, asked, key, how);
        }
    }
}

fn note(failures: &Failures, standing: &Standing, line: &Line, asked: &Asked, key: u64, how: How) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let (service, version) = (standing.target.to_string(), standing.release.to_string());
    failures.note(&service.clone(), key, at_ms, |number| FailedRequest {
        number,
        at_ms,
        service,
        version,
        key,
        method: asked.method.to_owned(),
        path: failed::cut(asked.path, failed::PATH_BYTES_MAX),
        how,
        time_us: line.time_us(),
    });
}

/// Returns how many datagrams to a port of loopback the system dropped (proc(5), `/proc/net/udp`).
fn dropped(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/udp").ok()?;
    let local = format!("0100007F:{port:04X}");
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|words| words.get(1) == Some(&local.as_str()))?;
    row.last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use footplate_core::traffic::{Member, Pool};

    use super::*;

    #[test]
    fn a_release_is_counted_while_it_has_a_place_and_forgotten_when_another_takes_it() {
        let (mut layout, mut book) = (Layout::default(), Book::default());
        for number in 1..=20 {
            let member = Member {
                host: "a".parse().unwrap(),
                release: number.to_string().parse().unwrap(),
                address: format!("127.0.0.1:{number}"),
                weight: 100,
                is_draining: false,
            };
            let target = "production.shop.web".parse().unwrap();
            let (entrances, stickiness, requests, shares) = Default::default();
            layout
                .place(&[Pool { target, entrances, stickiness, requests, shares, members: vec![member] }])
                .unwrap();
            book.follow(&layout);
            for place in 1..=3 {
                book.enter(format!("production.shop.web.{place} 127.0.0.1:{number} 200 -- 0 7").as_bytes());
            }
        }
        let counted = book.counts.targets.values().flatten();
        let counted: Vec<_> = counted.map(|(release, tally)| (release.as_str(), tally.requests)).collect();
        assert_eq!(counted, [("18", 1), ("19", 1), ("20", 1)]);
        book.follow(&Layout::default());
        assert!(book.counts.targets.is_empty());
    }

    #[tokio::test]
    async fn the_port_of_the_one_before_is_waited_for_and_a_strangers_is_not_for_long() {
        let before = Log::open(0).await.unwrap();
        let port = before.port;
        let (after, ()) = tokio::join!(Log::open(port), async move { drop(before) });
        assert_eq!(after.unwrap().port, port, "the one before was just leaving it");
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let taken = stranger.local_addr().unwrap().port();
        assert_ne!(Log::open(taken).await.unwrap().port, taken);
    }
}
