//! What the control API works with: the table and the counts of this process and of those before it, and the way to the next one.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use hyper::StatusCode;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::check;
use crate::failure::Failure;
use crate::family::Family;
use crate::folder::Folder;
use crate::handover::{Giver, Parcel};
use crate::report::Report;
use crate::table::Table;

/// One router process.
#[derive(Debug)]
pub struct Core {
    /// The table in force and the counts.
    pub board: Board,
    /// Done when another router has taken over.
    pub replaced: CancellationToken,
    folder: Folder,
    instance: String,
    is_in_charge: AtomicBool,
    /// Held while a table is taken, counts are brought together or everything is handed over: one after the other.
    family: Mutex<Family>,
    /// What the next router is given: the lock, and the listeners with their addresses.
    gifts: StdMutex<Option<Gifts>>,
}

type Gifts = (File, Vec<(SocketAddr, TcpListener)>);

/// Which failures are asked for: those with a higher number in this instance, and all in another one.
#[derive(Debug, Default)]
pub struct After {
    /// The number.
    failed_after: u64,
    /// Whose number it is; nothing for whoever answers.
    instance: Option<String>,
}

impl After {
    /// Reads `failed_after=NUMBER&instance=INSTANCE`; nothing where failures are not asked for. What is not known is left out.
    ///
    /// # Errors
    /// The number is none: why, in a sentence.
    pub fn parse(query: &str) -> Result<Option<After>, String> {
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
        };
        let Some(number) = value("failed_after") else { return Ok(None) };
        let no_number = |_| format!("`failed_after` is `{number}`, which is no number");
        let failed_after = number.parse().map_err(no_number)?;
        Ok(Some(After { failed_after, instance: value("instance").map(str::to_owned) }))
    }

    fn in_line(&self, instance: &str) -> u64 {
        let is_ours = self.instance.as_ref().is_none_or(|asked| asked == instance);
        if is_ours { self.failed_after } else { 0 }
    }
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
    /// How many routers before this one still finish what they have.
    pub elders: usize,
}

impl Core {
    /// Puts one together, in charge.
    pub fn new(
        board: Board,
        folder: Folder,
        instance: String,
        family: Family,
        lock: File,
        listeners: Vec<(SocketAddr, TcpListener)>,
    ) -> Core {
        Core {
            board,
            replaced: CancellationToken::new(),
            folder,
            instance,
            is_in_charge: AtomicBool::new(true),
            family: Mutex::new(family),
            gifts: StdMutex::new(Some((lock, listeners))),
        }
    }

    fn is_in_charge(&self) -> bool {
        self.is_in_charge.load(Ordering::SeqCst)
    }

    /// Judges a table, keeps it and puts it into force, here and in those that still finish. Returns its revision.
    ///
    /// # Errors
    /// It has mistakes, is older than the table in force, or cannot be kept: nothing has changed then. Or a router before
    /// this one does not follow.
    pub async fn take(&self, table: Table) -> Result<u64, (StatusCode, Vec<Failure>)> {
        let mistakes = check::judge(&table);
        if !mistakes.is_empty() {
            return Err((StatusCode::UNPROCESSABLE_ENTITY, mistakes));
        }
        let mut family = self.family.lock().await;
        let present = self.board.table();
        let revision = table.revision;
        if revision < present.revision || (revision == present.revision && table != *present) {
            return Err((StatusCode::CONFLICT, vec![outdated(present.revision, revision)]));
        }
        let table = Arc::new(table);
        if *table != *present {
            self.keep(&table).await.map_err(|failure| (StatusCode::INSUFFICIENT_STORAGE, vec![failure]))?;
            self.board.publish(Arc::clone(&table));
        }
        let followed = family.follow(&table).await;
        followed.map_err(|failure| (StatusCode::SERVICE_UNAVAILABLE, vec![failure]))?;
        Ok(revision)
    }

    async fn keep(&self, table: &Arc<Table>) -> Result<(), Failure> {
        if !self.is_in_charge() {
            return Ok(());
        }
        let (folder, table) = (self.folder.clone(), Arc::clone(table));
        let written = tokio::task::spawn_blocking(move || folder.write_table(&table)).await;
        written.expect("writing a file does not panic")
    }

    /// Brings together what was counted: by this process, and by those before it if it is in charge. With `facts`, what a judge
    /// needs beside it as well.
    pub async fn report(&self, facts: Option<&After>) -> Report {
        let mut family = self.family.lock().await;
        let mut report = Report { instance: self.instance.clone(), ..self.board.report() };
        if facts.is_some() {
            for (service, busiest) in self.board.busiest() {
                report.services.entry(service).or_default().busiest = Some(busiest);
            }
        }
        if self.is_in_charge() {
            family.add_to(&mut report, facts.is_some()).await;
        }
        if let Some(after) = facts {
            report.failed = self.board.failures().after(after.in_line(&self.instance));
        }
        report
    }

    /// Tells that it is there.
    pub async fn health(&self) -> Health {
        let elders = if self.is_in_charge() { self.family.lock().await.len() } else { 0 };
        let revision = self.board.table().revision;
        Health { version: env!("CARGO_PKG_VERSION"), process: std::process::id(), revision, elders }
    }

    /// Hands everything over to the router at the other end. No table is taken and nothing counted meanwhile.
    ///
    /// # Errors
    /// The other side failed before it took clients: this one goes on.
    pub async fn hand_over(&self, socket: UnixStream) -> io::Result<()> {
        let mut family = self.family.lock().await;
        if !self.is_in_charge() {
            return Err(io::Error::other("this router was replaced already"));
        }
        let mut giver = Giver::new(socket.into_std()?)?;
        let parcel = Parcel {
            process: std::process::id(),
            instance: self.instance.clone(),
            name: self.folder.name().to_owned(),
            addresses: Vec::new(),
            base: family.base.clone(),
            zeros: family.zeros.clone(),
            failed: self.board.failures().kept(),
            heard: family.heard.clone(),
        };
        let gifts = self.gifts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gifts = gifts.ok_or(io::Error::other("it is ending"))?;
        let giving = tokio::task::spawn_blocking(move || {
            let given = give(&mut giver, parcel, &gifts);
            (given.map(|()| giver), gifts)
        });
        let (given, gifts) = giving.await.expect("giving does not panic");
        *self.gifts.lock().unwrap_or_else(PoisonError::into_inner) = Some(gifts);
        let giver = given?;
        self.folder.retire()?;
        let told = tokio::task::spawn_blocking(move || giver.yours()).await;
        if let Err(error) = told.expect("telling does not panic") {
            self.folder.come_back()?;
            return Err(error);
        }
        self.is_in_charge.store(false, Ordering::SeqCst);
        family.retire();
        self.replaced.cancel();
        Ok(())
    }

    /// Lets go of the listeners, so that nobody waits at an address where nobody accepts.
    pub fn let_go(&self) {
        let mut gifts = self.gifts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, listeners)) = &mut *gifts {
            listeners.clear();
        }
    }

    /// Gives up the folder. What was counted here is left to the router in charge, if that is another one.
    pub async fn leave(&self) {
        drop(self.gifts.lock().unwrap_or_else(PoisonError::into_inner).take());
        if self.is_in_charge() {
            return;
        }
        let report = self.report(Some(&After::default())).await;
        if let Err(error) = self.folder.leave_counts(&report) {
            tracing::warn!(%error, "the last counts are lost");
        }
    }
}

fn give(giver: &mut Giver, mut parcel: Parcel, (lock, listeners): &Gifts) -> io::Result<()> {
    parcel.addresses = listeners.iter().map(|(address, _)| *address).collect();
    let sockets: Vec<_> =
        [lock.as_fd()].into_iter().chain(listeners.iter().map(|(_, socket)| socket.as_fd())).collect();
    giver.give(&parcel, &sockets)
}

fn outdated(present: u64, offered: u64) -> Failure {
    let because = format!("revision {present} is in force, and this is another table of revision {offered}");
    Failure::new(
        "cannot take the table",
        because,
        "read the table in force, and send yours with a higher revision",
    )
}
