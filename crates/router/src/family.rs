//! Routers of one line in one folder: the one in charge, and elders that finish what they have after an upgrade.
//!
//! Invariants: every count is kept by exactly one of: the elder that counted it, the file that it left, the base of the one in charge. What
//! an elder of another line counted before this one began (its zero) was told by that line, and is told no more. An
//! elder follows every table, so that what it still has goes where it should; the revision that is told is that of the least of all.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::control::client;
use crate::failed::{FailedRequest, Failures};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::handover::Parcel;
use crate::report::Report;
use crate::table::Table;

/// How long an elder may be silent.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the router in charge knows of those before it.
#[derive(Debug)]
pub struct Family {
    folder: Folder,
    /// What is kept of requests that failed.
    failures: Arc<Failures>,
    /// What was counted by those that have ended.
    pub base: Report,
    /// The last word of each elder that is still there.
    elders: BTreeMap<String, Report>,
    /// The first words of elders from another line; nothing as long as one was not heard.
    pub zeros: Zeros,
    /// Up to which number each elder's failures were taken over.
    pub heard: Heard,
}

/// The number of the last failure that was taken over, by elder.
pub type Heard = BTreeMap<String, u64>;

/// The first words of elders from another line, by name.
pub type Zeros = BTreeMap<String, Option<Report>>;

impl Family {
    /// Begins a line: whoever is there is of the one before, whose last router was killed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn first(folder: Folder, failures: Arc<Failures>) -> io::Result<Family> {
        let zeros: Zeros = folder.elders()?.into_iter().map(|name| (name, None)).collect();
        let elders = zeros.keys().map(|name| (name.clone(), Report::default())).collect();
        Ok(Family { folder, failures, base: Report::default(), elders, zeros, heard: Heard::new() })
    }

    /// Goes on with a line: looks who is still there, beside the one whose place is being taken.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn next(folder: Folder, failures: Arc<Failures>, parcel: Parcel) -> io::Result<Family> {
        let Parcel { name, base, zeros, failed, mut heard, .. } = parcel;
        heard.insert(name.clone(), failed.last);
        failures.go_on(failed);
        let names = folder.elders()?.into_iter().chain([name]);
        let elders = names.map(|name| (name, Report::default())).collect();
        Ok(Family { folder, failures, base, elders, zeros, heard })
    }

    /// Returns how many elders are still there.
    pub fn len(&self) -> usize {
        self.elders.len()
    }

    /// Forgets everything: another router is in charge, and knows it all.
    pub fn retire(&mut self) {
        self.base = Report::default();
        self.elders.clear();
        self.zeros.clear();
        self.heard.clear();
    }

    fn names(&self) -> Vec<String> {
        self.elders.keys().cloned().collect()
    }

    /// Adds what all others have counted, and the least revision of all: an elder that was never heard follows nothing.
    /// With `facts`, takes over what failed there as well.
    pub async fn add_to(&mut self, report: &mut Report, facts: bool) {
        for name in self.names() {
            let uri = match facts {
                true => format!("/v1/counts?failed_after={}", self.heard.get(&name).unwrap_or(&0)),
                false => "/v1/counts".to_owned(),
            };
            match self.ask(&name, Method::GET, &uri, Bytes::new()).await {
                Ok(text) => match serde_json::from_slice(&text) {
                    Ok(said) => self.hear(name, said),
                    Err(error) => tracing::warn!(name, %error, "a replaced router's counts cannot be read"),
                },
                Err(Silence::Gone) => self.bury(&name),
                Err(Silence::Odd(because)) => {
                    tracing::warn!(name, because, "a replaced router does not tell its counts")
                }
            }
        }
        report.add(&self.base);
        for (name, elder) in &self.elders {
            report.add(&self.counted(name, elder.clone()));
            report.revision = report.revision.min(elder.revision);
        }
    }

    fn hear(&mut self, name: String, mut said: Report) {
        let failed = std::mem::take(&mut said.failed);
        self.take_over(&name, failed);
        if let Some(zero) = self.zeros.get_mut(&name) {
            zero.get_or_insert_with(|| said.clone());
        }
        self.elders.insert(name, said);
    }

    /// Takes over what failed at an elder and was not yet. What failed before it was first heard, if it is of another line, was told by that.
    fn take_over(&mut self, name: &str, failed: Vec<FailedRequest>) {
        let Some(last) = failed.last().map(|record| record.number) else { return };
        let was_told = matches!(self.zeros.get(name), Some(None));
        let heard = self.heard.insert(name.to_owned(), last).unwrap_or(0);
        let news = failed.into_iter().filter(|record| record.number > heard && !was_told);
        self.failures.take_over(news);
    }

    /// Returns what an elder counted for this line.
    fn counted(&self, name: &str, mut said: Report) -> Report {
        match self.zeros.get(name) {
            None => said,
            Some(None) => Report::default(),
            Some(Some(zero)) => {
                said.leave_out(zero);
                said
            }
        }
    }

    /// Asks an elder until it answers, is gone, or has been silent for too long.
    async fn ask(&self, name: &str, method: Method, uri: &str, body: Bytes) -> Result<Bytes, Silence> {
        let socket = self.folder.elder_socket(name);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // One that stands still must not keep us from answering in our own time.
            let asked = timeout_at(deadline, client::ask(&socket, method.clone(), uri, body.clone())).await;
            let because = match asked.unwrap_or_else(|late| Err(late.into())) {
                Ok((StatusCode::OK, text)) => return Ok(text),
                Ok((_, text)) => String::from_utf8_lossy(&text).into_owned(),
                Err(error)
                    if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused]
                        .contains(&error.kind()) =>
                {
                    return Err(Silence::Gone);
                }
                Err(error) => error.to_string(),
            };
            // One that is just ending takes connections and answers none, then removes its socket.
            if Instant::now() >= deadline {
                return Err(Silence::Odd(because));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Takes over what an elder that has ended counted: as it left it, else as it said last.
    fn bury(&mut self, name: &str) {
        let said = self.elders.remove(name).unwrap_or_default();
        let mut left = self.folder.take_counts(name).unwrap_or(said);
        self.take_over(name, std::mem::take(&mut left.failed));
        self.heard.remove(name);
        self.base.add(&self.counted(name, left).past());
        self.zeros.remove(name);
    }

    /// Lets every elder follow a table.
    ///
    /// # Errors
    /// One is there and did not take it.
    pub async fn follow(&mut self, table: &Arc<Table>) -> Result<(), Failure> {
        let text = Bytes::from(serde_json::to_vec(&**table).expect("a table has only text and numbers"));
        for name in self.names() {
            match self.ask(&name, Method::PUT, "/v1/table", text.clone()).await {
                Ok(_) => {}
                Err(Silence::Gone) => self.bury(&name),
                Err(Silence::Odd(because)) => {
                    let what = format!(
                        "cannot put the table into force in router {name}, which was replaced and still finishes"
                    );
                    let next = "send the table again, or end that process, whose id is the first number";
                    return Err(Failure::new(what, because, next));
                }
            }
        }
        Ok(())
    }
}

/// Why an elder did not answer.
enum Silence {
    /// It has ended.
    Gone,
    /// It is there.
    Odd(String),
}
