//! A thread with a runtime of its own that serves clients: its view of the table, its connections, its counts.

use std::fmt;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Limits, Listener, Network};
use crate::connection;
use crate::failed::Failures;
use crate::live::Live;
use crate::reply::Reason;

/// How often resting connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a worker waits when the system has no more files for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one worker has.
pub struct Worker {
    /// Its view of the table in force.
    pub live: ArcSwap<Live>,
    /// What it calls itself in `Via`.
    pub via: HeaderValue,
    /// What clients may take.
    pub limits: Limits,
    /// Proxies whose word counts.
    pub trusted: Vec<Network>,
    /// How it speaks TLS, if it does.
    pub tls: Option<TlsAcceptor>,
    /// What belongs to no version.
    pub counts: Counts,
    /// Records of requests that failed. One for all workers: who fails may wait for another one.
    pub failures: Arc<Failures>,
    seats: Semaphore,
    is_leaving: AtomicBool,
}

/// What a worker counts that belongs to no version.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections so far.
    pub connections: AtomicU64,
    /// Connections now.
    pub open: AtomicUsize,
    /// Requests that no route took.
    pub unrouted: AtomicU64,
    /// Requests that were refused for what they are: framing, size, slowness.
    pub bad: AtomicU64,
}

impl Counts {
    /// Counts an answer of the router itself.
    pub fn refused(&self, reason: Reason) {
        let counter = match reason {
            Reason::NoRoute => &self.unrouted,
            Reason::Request(_) | Reason::TooLarge | Reason::Slow | Reason::Loop => &self.bad,
            Reason::NoEndpoint | Reason::Broken | Reason::Timeout => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What all workers are told together, and what they tell.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Take connections.
    pub begin: CancellationToken,
    /// Take no more of them.
    pub leave: CancellationToken,
    /// End whatever is left.
    pub cut: CancellationToken,
    /// A worker has ended, by an order or by a fault of its own.
    pub fallen: CancellationToken,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("live", &self.live)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Makes a worker with an empty table.
    pub fn new(
        config: &Config,
        via: HeaderValue,
        tls: Option<TlsAcceptor>,
        failures: Arc<Failures>,
    ) -> Worker {
        let share = config.limits.connections_max.div_ceil(config.workers).max(1);
        Worker {
            live: ArcSwap::default(),
            via,
            limits: config.limits,
            trusted: config.trusted.clone(),
            tls,
            counts: Counts::default(),
            failures,
            seats: Semaphore::new(share),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// Lets every client's connection end with its next answer.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Tells whether connections end with their next answer.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Closes resting connections to endpoints: those that are useless, and all to endpoints that take no requests.
    pub fn sweep(&self) {
        let live = self.live.load_full();
        live.endpoints().for_each(|endpoint| endpoint.pool.sweep(!endpoint.latch.is_open()));
    }
}

/// Starts the worker's thread, with everything that it needs. It takes connections from `signals.begin` on, and ends after
/// `signals.leave` when its last connection has, or with `signals.cut`.
///
/// # Errors
/// The system gives no thread, or no files for it. Call it where blocking is allowed.
pub fn start(
    name: String,
    worker: Arc<Worker>,
    listeners: Vec<(Listener, StdListener)>,
    signals: Signals,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _inside = runtime.enter();
        let own =
            listeners.into_iter().map(|(listener, socket)| Ok((listener, TcpListener::from_std(socket)?)));
        own.collect::<std::io::Result<Vec<_>>>()?
    };
    thread(name, signals.clone(), move || runtime.block_on(run(worker, listeners, signals)))
}

/// Starts a thread whose end is told, whatever ends it.
///
/// # Errors
/// The system gives no thread.
pub fn thread(
    name: String,
    signals: Signals,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        let _told = signals.fallen.drop_guard();
        work();
    })
}

async fn run(worker: Arc<Worker>, listeners: Vec<(Listener, TcpListener)>, signals: Signals) {
    tokio::select! {
        () = signals.begin.cancelled() => {}
        () = signals.cut.cancelled() => return,
    }
    for (listener, socket) in listeners {
        tokio::spawn(accept(Arc::clone(&worker), listener, socket, signals.leave.clone()));
    }
    let over = async {
        signals.leave.cancelled().await;
        while worker.counts.open.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let sweeping = async {
        loop {
            sleep(SWEEP_EVERY).await;
            worker.sweep();
        }
    };
    tokio::select! {
        () = over => {}
        () = signals.cut.cancelled() => {}
        () = sweeping => {}
    }
}

async fn accept(worker: Arc<Worker>, listener: Listener, socket: TcpListener, end: CancellationToken) {
    loop {
        let accepting = async {
            let seat = worker.seats.acquire().await;
            seat.expect("the seats are never closed").forget();
            socket.accept().await
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            () = end.cancelled() => return,
        };
        match accepted {
            Ok((client, address)) => {
                let seat = Seat::take(&worker);
                let is_https = listener.is_https;
                tokio::spawn(connection::serve(seat, client, address, is_https));
            }
            Err(error) => {
                worker.seats.add_permits(1);
                tracing::warn!(%error, %listener, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One client's seat among the connections; free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    /// Who serves it.
    pub worker: Arc<Worker>,
    permits: usize,
}

impl Seat {
    fn take(worker: &Arc<Worker>) -> Seat {
        worker.counts.connections.fetch_add(1, Ordering::Relaxed);
        worker.counts.open.fetch_add(1, Ordering::Relaxed);
        Seat { worker: Arc::clone(worker), permits: 1 }
    }

    /// Keeps a seat for a connection that goes on as a tunnel, once its own is given up.
    pub fn keep(worker: &Arc<Worker>) -> Seat {
        worker.counts.open.fetch_add(1, Ordering::Relaxed);
        Seat { worker: Arc::clone(worker), permits: worker.seats.forget_permits(1) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.worker.counts.open.fetch_sub(1, Ordering::Relaxed);
        self.worker.seats.add_permits(self.permits);
    }
}
