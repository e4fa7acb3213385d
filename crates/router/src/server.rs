//! The router as a whole: opens its folder and its addresses, or takes them over from the one that runs; starts its workers,
//! answers at its control socket, ends in order.

use std::fs::File;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::header::HeaderValue;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;

use crate::board::Board;
use crate::config::{Config, Listener};
use crate::control::{self, Hidden};
use crate::core::Core;
use crate::failed::Failures;
use crate::failure::Failure;
use crate::family::Family;
use crate::folder::Folder;
use crate::handover::{Gift, Parcel, Taker};
use crate::tls::Certificates;
use crate::worker::{self, Signals, Worker};

/// How often the files of the certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(1);
/// How long a worker may take to end once everything is cut.
const END_TIME_MAX: Duration = Duration::from_secs(5);

type Sockets = Vec<(Listener, TcpListener)>;

/// An open router.
#[derive(Debug)]
pub struct Server {
    config: Config,
    core: Arc<Core>,
    signals: Signals,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    control: UnixListener,
    metrics: Option<tokio::net::TcpListener>,
    certificates: Option<Arc<Certificates>>,
    took_over_from: Option<u32>,
}

impl Server {
    /// Opens the folder, takes the table that was in force last, and serves clients from here on. If a router runs in the folder, its
    /// addresses are taken over, and it finishes what it has.
    ///
    /// # Errors
    /// The settings make no sense, another router has the folder, an address is taken, or the kept table is damaged.
    pub async fn open(config: Config) -> Result<Server, Failure> {
        config.check()?;
        let folder = Folder::open(&config.folder)?;
        let certificates = match config.certificates.is_empty() {
            true => None,
            false => Some(Certificates::open(config.certificates.clone())?),
        };
        let mut taken = take(&folder).await?;
        let mut gift = taken.as_mut().map(|(_, gift)| gift);
        let sockets = sockets(&config, gift.as_deref_mut())?;
        let metrics =
            config.metrics.map(|address| socket(Listener { address, is_https: false }, gift)).transpose()?;
        let (taker, parcel, lock) = match taken {
            None => (None, Parcel::default(), folder.lock()?),
            Some((taker, gift)) => (Some(taker), gift.parcel, gift.lock),
        };
        let took_over_from = taker.as_ref().map(|_| parcel.process);
        let failures = Arc::default();
        let board = Board::new(workers(&config, certificates.as_ref(), &failures), failures);
        // The one before takes no other table until the handover is over.
        if let Some(table) = folder.read_table()? {
            board.publish(Arc::new(table));
        }
        let (named, control) = (folder.socket(), open_control(&folder)?);
        let addresses = sockets.iter().filter_map(|(_, socket)| socket.local_addr().ok()).collect();
        let gifts = sockets.iter().map(|(_, socket)| socket).chain(&metrics);
        let core = Arc::new(assemble(board, folder, parcel, lock, gifts)?);
        let metrics = metrics.map(tokio::net::TcpListener::from_std).transpose().map_err(unkept)?;
        let signals = Signals::default();
        let unless_in_charge = signals.cut.clone().drop_guard();
        let threads = start(Arc::clone(&core), sockets, signals.clone()).await?;
        // From here on nothing can fail: the one before may let go.
        let taker = take_charge(taker).await?;
        unless_in_charge.disarm();
        let control = control.show(&named).await;
        signals.begin.cancel();
        if let Some(Err(error)) = taker.map(Taker::mine) {
            tracing::debug!(%error, "the router before this one has ended already");
        }
        Ok(Server {
            config,
            core,
            signals,
            addresses,
            threads,
            control,
            metrics,
            certificates,
            took_over_from,
        })
    }

    /// Returns the addresses that clients come in at, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns where Prometheus reads the counts.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// Returns the process whose addresses were taken over.
    pub fn took_over_from(&self) -> Option<u32> {
        self.took_over_from
    }

    /// Answers at the control socket until `shutdown` is done or another router takes over; then takes no more connections and lets
    /// requests finish. Tells whether another one has taken over.
    ///
    /// # Errors
    /// A worker ended by a fault of its own: the router ends, so that whoever started it sees that.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<bool, Failure> {
        let Server { config, core, signals, threads, control, metrics, certificates, .. } = self;
        let serving = control::serve(Arc::clone(&core), control);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = watch(certificates) => {}
            () = control::serve_metrics(Arc::clone(&core), metrics) => {}
            () = core.replaced.cancelled() => {}
            () = signals.fallen.cancelled() => {}
            () = shutdown => {}
        }
        core.let_go();
        core.board.workers().iter().for_each(|worker| worker.leave());
        signals.leave.cancel();
        let mut waiting = tokio::task::spawn_blocking(move || join(threads));
        let ended = tokio::select! {
            () = &mut serving => None,
            ended = &mut waiting => Some(ended),
            () = tokio::time::sleep(config.drain_time_max) => None,
        };
        signals.cut.cancel();
        let ended = match ended {
            Some(ended) => Some(ended),
            None => tokio::time::timeout(END_TIME_MAX, waiting).await.ok(),
        };
        core.leave().await;
        match ended {
            Some(Ok(ended)) => ended?,
            // The runtime ends under the router: nobody is left who could be told how its workers do.
            Some(Err(error)) => tracing::debug!(%error, "the workers are not waited for"),
            None => tracing::warn!("a worker did not end in time"),
        }
        Ok(core.replaced.is_cancelled())
    }
}

/// Waits for all workers.
fn join(threads: Vec<JoinHandle<()>>) -> Result<(), Failure> {
    let ends: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    let said = ends.into_iter().filter_map(Result::err).map(|fault| match fault.downcast::<String>() {
        Ok(said) => *said,
        Err(fault) => {
            fault.downcast_ref::<&str>().map_or_else(|| "no reason".to_owned(), ToString::to_string)
        }
    });
    let said: Vec<String> = said.collect();
    if said.is_empty() {
        return Ok(());
    }
    let because = format!("it panicked: {}", said.join("; "));
    let next = "start it again; this is a fault of the router, so please report it with the lines of its log";
    Err(Failure::new("a worker of the router ended by itself", because, next))
}

/// Asks the router that runs in the folder for its sockets, if there is one.
async fn take(folder: &Folder) -> Result<Option<(Taker, Gift)>, Failure> {
    let path = folder.socket();
    let asked = tokio::task::spawn_blocking({
        let path = path.clone();
        move || Taker::ask(&path)
    });
    asked.await.expect("asking does not panic").map_err(|error| {
        let what = format!("cannot take over from the router at {}", path.display());
        Failure::new(what, error, "that router goes on; end it first, or give this one another folder")
    })
}

/// Takes charge of what another router had, if there is one.
async fn take_charge(taker: Option<Taker>) -> Result<Option<Taker>, Failure> {
    let taking = tokio::task::spawn_blocking(move || taker.map(Taker::take_charge).transpose());
    taking.await.expect("taking charge does not panic").map_err(|error| {
        Failure::new("cannot take over from the router that runs", error, "start this one again")
    })
}

/// Gets a socket for each listener: one that was handed over, or a new one.
fn sockets(config: &Config, mut gift: Option<&mut Gift>) -> Result<Sockets, Failure> {
    let get = |listener: &Listener| Ok((*listener, socket(*listener, gift.as_deref_mut())?));
    config.listeners.iter().map(get).collect()
}

fn socket(listener: Listener, gift: Option<&mut Gift>) -> Result<TcpListener, Failure> {
    let given = gift.and_then(|gift| gift.listener(listener.address));
    given.map_or_else(|| bind(listener), Ok)
}

fn bind(listener: Listener) -> Result<TcpListener, Failure> {
    let trouble = |error: std::io::Error| {
        let next = "stop whoever has the address, or choose another one";
        Failure::new(format!("cannot listen on {listener}"), error, next)
    };
    let socket = TcpListener::bind(listener.address).map_err(trouble)?;
    socket.set_nonblocking(true).map_err(trouble)?;
    Ok(socket)
}

fn open_control(folder: &Folder) -> Result<Hidden, Failure> {
    folder.remove_hidden();
    Hidden::bind(folder.hidden_socket()).map_err(|error| {
        let what = format!("cannot open the control socket {}", folder.socket().display());
        let next = "check the folder's owner and permissions; its path has 90 bytes at most";
        Failure::new(what, error, next)
    })
}

/// Makes the workers. They have a name of their own for `Via`, so that a request that comes back is known.
fn workers(
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
    failures: &Arc<Failures>,
) -> Vec<Arc<Worker>> {
    let name = format!("1.1 footplate-{:08x}", SmallRng::from_os_rng().random::<u32>());
    let via = HeaderValue::try_from(name).expect("letters and digits are a value");
    let tls = certificates.map(|certificates| TlsAcceptor::from(certificates.config()));
    let worker = |_| Arc::new(Worker::new(config, via.clone(), tls.clone(), Arc::clone(failures)));
    (0..config.workers).map(worker).collect()
}

fn assemble<'a>(
    board: Board,
    folder: Folder,
    parcel: Parcel,
    lock: File,
    sockets: impl Iterator<Item = &'a TcpListener>,
) -> Result<Core, Failure> {
    let failures = Arc::clone(board.failures());
    let (instance, family) = match parcel.instance.is_empty() {
        true => {
            let instance = format!("{:016x}", SmallRng::from_os_rng().random::<u64>());
            (instance, Family::first(folder.clone(), failures))
        }
        false => (parcel.instance.clone(), Family::next(folder.clone(), failures, parcel)),
    };
    let family = family.map_err(|error| {
        Failure::new("cannot read the router's folder", error, "raise the limit on files")
    })?;
    let gifts = sockets.map(|socket| Ok((socket.local_addr()?, socket.try_clone()?)));
    let gifts = gifts.collect::<std::io::Result<Vec<_>>>().map_err(unkept)?;
    Ok(Core::new(board, folder, instance, family, lock, gifts))
}

fn unkept(error: std::io::Error) -> Failure {
    Failure::new("cannot keep the listeners", error, "raise the limit on files")
}

/// Starts the workers, which wait for their beginning.
async fn start(core: Arc<Core>, sockets: Sockets, signals: Signals) -> Result<Vec<JoinHandle<()>>, Failure> {
    let starting = tokio::task::spawn_blocking(move || {
        let workers = core.board.workers().iter().enumerate();
        let started = workers.map(|(number, worker)| {
            let own = sockets.iter().map(|(listener, socket)| Ok((*listener, socket.try_clone()?)));
            let own = own.collect::<std::io::Result<Vec<_>>>()?;
            worker::start(format!("router-{number}"), Arc::clone(worker), own, signals.clone())
        });
        started.collect::<std::io::Result<Vec<_>>>()
    });
    starting.await.expect("starting does not panic").map_err(|error| {
        Failure::new("cannot start the router's threads", error, "raise the limits on files and threads")
    })
}

/// Reads certificates again when they change. Never ends.
async fn watch(certificates: Option<Arc<Certificates>>) {
    let Some(certificates) = certificates else { return std::future::pending().await };
    loop {
        tokio::time::sleep(CERTIFICATES_EVERY).await;
        match certificates.refresh() {
            Ok(true) => tracing::info!("the certificates were read again"),
            Ok(false) => {}
            Err(failure) => tracing::warn!(%failure, "the certificates before stay in force"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_is_told_with_its_words() {
        let thread = |work: fn()| std::thread::spawn(work);
        let failure =
            join(vec![thread(|| {}), thread(|| panic!("number {}", 7)), thread(|| panic!("plain"))]);
        let said = failure.unwrap_err().to_string();
        assert!(said.contains("it panicked: number 7; plain"), "{said}");
        assert!(join(vec![thread(|| {})]).is_ok());
    }

    #[tokio::test]
    async fn a_router_whose_worker_panics_ends_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener { address: ([127, 0, 0, 1], 0).into(), is_https: false };
        let mut server = Server::open(Config::new(folder.path(), vec![listener])).await.unwrap();
        let signals = server.signals.clone();
        server.threads.push(worker::thread("router-x".into(), signals, || panic!("on purpose")).unwrap());
        let ended = tokio::time::timeout(Duration::from_secs(30), server.run(std::future::pending())).await;
        let failure = ended.expect("it ends by itself").unwrap_err();
        assert!(failure.because.contains("on purpose"), "{failure}");
    }
}
