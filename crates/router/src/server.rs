//! The router as a whole: opens its folder and its addresses, starts its workers, answers at its control socket, ends in order.

use std::fs::File;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::Mutex;

use crate::board::Board;
use crate::check;
use crate::config::{Config, Listener};
use crate::control;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::report::Report;
use crate::table::Table;
use crate::worker::{self, Ends, Worker};

/// What the control API works with.
#[derive(Debug)]
pub struct Core {
    /// The table in force and the counts.
    pub board: Board,
    folder: Folder,
    instance: String,
    /// Held while a table is written and put into force, so that tables come one after the other.
    taking: Mutex<()>,
}

/// What `GET /v1/health` answers.
#[derive(Debug, Serialize)]
pub struct Health {
    /// This program's version.
    pub version: &'static str,
    /// The process.
    pub process: u32,
    /// The revision of the table in force.
    pub revision: u64,
}

/// An open router.
#[derive(Debug)]
pub struct Server {
    config: Config,
    core: Arc<Core>,
    ends: Ends,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    control: UnixListener,
    _lock: File,
}

impl Server {
    /// Opens the folder, takes the table that was in force last, and serves clients from here on.
    ///
    /// # Errors
    /// The settings make no sense, another router has the folder, an address is taken, or the kept table is damaged.
    pub async fn open(config: Config) -> Result<Server, Failure> {
        config.check()?;
        let folder = Folder::open(&config.folder)?;
        let lock = folder.lock()?;
        let sockets = config.listeners.iter().map(|listener| Ok((*listener, bind(*listener)?)));
        let sockets = sockets.collect::<Result<Vec<_>, Failure>>()?;
        let control = control::bind(&folder.socket()).map_err(|error| {
            let what = format!("cannot open the control socket {}", folder.socket().display());
            Failure::new(
                what,
                error,
                "check the folder's owner and permissions; its path has 100 bytes at most",
            )
        })?;
        let instance = format!("{:016x}", SmallRng::from_os_rng().random::<u64>());
        let via =
            HeaderValue::try_from(format!("1.1 footplate-{}", &instance[..8])).expect("letters and digits");
        let workers = (0..config.workers).map(|_| Arc::new(Worker::new(&config, via.clone()))).collect();
        let core = Core { board: Board::new(workers), folder, instance, taking: Mutex::default() };
        if let Some(table) = core.folder.read_table()? {
            core.board.publish(Arc::new(table));
        }
        let ends = Ends::default();
        let threads = start(&core, &sockets, &ends)?;
        let addresses = sockets.iter().filter_map(|(_, socket)| socket.local_addr().ok()).collect();
        Ok(Server { config, core: Arc::new(core), ends, addresses, threads, control, _lock: lock })
    }

    /// Returns the addresses that clients come in at, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers at the control socket until `shutdown` is done; then takes no more connections and lets requests finish.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Server { config, core, ends, threads, control, .. } = self;
        let serving = control::serve(Arc::clone(&core), control);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = shutdown => {}
        }
        core.board.workers().iter().for_each(|worker| worker.leave());
        ends.accept.cancel();
        let waiting =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        tokio::pin!(waiting);
        tokio::select! {
            () = &mut serving => {}
            _ = &mut waiting => return,
            () = tokio::time::sleep(config.drain_time_max) => {}
        }
        ends.all.cancel();
        if tokio::time::timeout(Duration::from_secs(5), waiting).await.is_err() {
            tracing::warn!("a worker did not end in time");
        }
    }
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

fn start(
    core: &Core,
    sockets: &[(Listener, TcpListener)],
    ends: &Ends,
) -> Result<Vec<JoinHandle<()>>, Failure> {
    let trouble = |error: std::io::Error| {
        Failure::new("cannot start the router's threads", error, "raise the limits on files and threads")
    };
    let mut threads = Vec::new();
    for (number, worker) in core.board.workers().iter().enumerate() {
        let own = sockets.iter().map(|(listener, socket)| Ok((*listener, socket.try_clone()?)));
        let own = own.collect::<std::io::Result<Vec<_>>>().map_err(trouble)?;
        let name = format!("router-{number}");
        threads.push(worker::start(name, Arc::clone(worker), own, ends.clone()).map_err(trouble)?);
    }
    Ok(threads)
}

impl Core {
    /// Judges a table, keeps it and puts it into force. Returns its revision.
    ///
    /// # Errors
    /// It has mistakes, is older than the table in force, or cannot be kept; nothing has changed then.
    pub async fn take(&self, table: Table) -> Result<u64, (StatusCode, Vec<Failure>)> {
        let mistakes = check::judge(&table);
        if !mistakes.is_empty() {
            return Err((StatusCode::UNPROCESSABLE_ENTITY, mistakes));
        }
        let _turn = self.taking.lock().await;
        let present = self.board.table();
        let revision = table.revision;
        if revision < present.revision || (revision == present.revision && table != *present) {
            let because = format!(
                "revision {} is in force, and this is another table of revision {revision}",
                present.revision
            );
            let next = "read the table in force, and send yours with a higher revision";
            let failure = Failure::new("cannot take the table", because, next);
            return Err((StatusCode::CONFLICT, vec![failure]));
        }
        if table == *present {
            return Ok(revision);
        }
        let (folder, table) = (self.folder.clone(), Arc::new(table));
        let kept = Arc::clone(&table);
        let written = tokio::task::spawn_blocking(move || folder.write_table(&kept)).await;
        let written = written.expect("writing a file does not panic");
        written.map_err(|failure| (StatusCode::INSUFFICIENT_STORAGE, vec![failure]))?;
        self.board.publish(table);
        Ok(revision)
    }

    /// Brings together what was counted.
    pub async fn report(&self) -> Report {
        Report { instance: self.instance.clone(), ..self.board.report() }
    }

    /// Tells that it is there.
    pub fn health(&self) -> Health {
        let revision = self.board.table().revision;
        Health { version: env!("CARGO_PKG_VERSION"), process: std::process::id(), revision }
    }
}
