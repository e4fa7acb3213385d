//! A router that was replaced, played: its control socket alone, which takes tables or refuses them, and counts what it is told to.

use std::io::Result;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::wire::{self, Reader};

/// A control socket that answers. It falls silent when it is dropped.
#[derive(Debug)]
pub struct Elder {
    shared: Arc<Mutex<Shared>>,
    running: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    refuses: bool,
    revision: Value,
    taken: u64,
    counts: Value,
}

impl Elder {
    /// Answers at this path, with no table yet.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn at(path: &Path) -> Result<Elder> {
        let listener = UnixListener::bind(path)?;
        let shared = Shared { refuses: false, revision: json!(0), taken: 0, counts: json!({}) };
        let shared = Arc::new(Mutex::new(shared));
        let running = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Elder { shared, running })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets it refuse each table from now on, or take it.
    pub fn refuse(&self, refuses: bool) {
        self.change(|shared| shared.refuses = refuses);
    }

    /// Lets it tell these counts; the revision is that of its table.
    pub fn count(&self, counts: Value) {
        self.change(|shared| shared.counts = counts);
    }

    /// Returns how many tables it has taken.
    pub fn taken(&self) -> u64 {
        self.change(|shared| shared.taken)
    }
}

impl Drop for Elder {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn serve(listener: UnixListener, shared: Arc<Mutex<Shared>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // Whoever asks sees it when the connection breaks.
        tokio::spawn(async move { answer(socket, &shared).await });
    }
}

async fn answer(socket: UnixStream, shared: &Mutex<Shared>) -> Result<()> {
    let mut reader = Reader::new(socket);
    while let Some(head) = reader.head().await? {
        let mut body = Vec::new();
        reader.body(wire::of_request(&head), |piece| body.extend_from_slice(piece)).await?;
        let (status, said) = {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.reply(&head.first, &body)
        };
        let text = said.to_string();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        reader.io().write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

impl Shared {
    fn reply(&mut self, first: &str, body: &[u8]) -> (&'static str, Value) {
        match first.split(' ').next() {
            Some("PUT") if self.refuses => ("503 Service Unavailable", json!({"mistakes": []})),
            Some("PUT") => {
                let table: Value = serde_json::from_slice(body).unwrap_or_default();
                self.revision = table["revision"].clone();
                self.taken += 1;
                ("200 OK", json!({ "revision": self.revision }))
            }
            _ => {
                let mut counts = self.counts.clone();
                counts["revision"] = self.revision.clone();
                ("200 OK", counts)
            }
        }
    }
}
