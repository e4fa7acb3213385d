//! The server: opens the data directory, runs the writer, and serves the API over sockets or in the same process.

use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, OnceLock, RwLock};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backup::Line;
use crate::command::{Command, Content};
use crate::config::Config;
use crate::disk::{Disk, DiskError};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::shared::Shared;
use crate::watch::Registry;
use crate::writer::Writer;
use crate::{http, listen, lock, root};

/// How many commands may queue for the writer; more wait for a place.
const QUEUE_MAX: usize = 1024;

/// An open store.
pub struct Server {
    config: Config,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
    halt: CancellationToken,
    _lock: File,
}

impl Server {
    /// Opens the data directory, makes it where it is missing, and starts the writer.
    ///
    /// With tokens on, the first start writes a root token to `root.token` in the data directory, readable by its
    /// owner only.
    ///
    /// # Errors
    /// The address is not allowed, another server has the directory, or the database cannot be read.
    pub async fn open(config: Config) -> Result<Server, Failure> {
        config.check()?;
        make_directory(&config)?;
        let lock = lock::take(&config.data_dir).await?;
        let file = config.data_dir.join("store.db");
        make_private(&file)?;
        let (disk, state) = Disk::open(&file).await.map_err(|error| unreadable(&file, &error))?;
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::new(Shared {
            state: RwLock::new(state.clone()),
            watch: Registry::new(config.limits.waiters_max),
            metrics: Metrics::default(),
            tokens: config.tokens,
            body_time_max: config.limits.body_time_max,
            address: OnceLock::new(),
            stop: CancellationToken::new(),
            queue,
        });
        let halt = CancellationToken::new();
        let writer = Writer::new(file, disk, state, shared.clone());
        let writer = tokio::spawn(writer.run(requests, halt.clone()));
        if config.tokens {
            root::ensure(&shared, &config.data_dir).await?;
        }
        Ok(Server { config, shared, writer, halt, _lock: lock })
    }

    /// Returns the API as a service that needs no socket.
    pub fn router(&self) -> Router {
        http::router(self.shared.clone())
    }

    /// Lists the entries whose keys begin with `prefix`, as they stand now.
    pub fn export(&self, prefix: &str) -> Vec<Line> {
        self.shared.read().tree(prefix).map(|entry| Line::of(entry)).collect()
    }

    /// Puts these entries, all or none, and moves the index 2^32 ahead, so that a reader who holds an index from
    /// before the loss is answered at once. Keys that are not among them stay. Returns how many were put.
    ///
    /// # Errors
    /// A value is over the limit, or the store cannot be written.
    pub async fn import(&self, lines: Vec<Line>) -> Result<usize, Failure> {
        let trouble = |why: &dyn std::fmt::Display| {
            Failure::new("cannot import", why, "nothing was changed; repair the cause and import again")
        };
        if let Some(line) = lines.iter().find(|line| line.value.len() > http::BODY_BYTES_MAX) {
            return Err(trouble(&format!(
                "the value of {:?} has more than {} bytes",
                line.key,
                http::BODY_BYTES_MAX
            )));
        }
        let count = lines.len();
        let content =
            |line: Line| Content { key: line.key.into(), value: line.value.into(), flags: line.flags };
        let command = Command::Restore(lines.into_iter().map(content).collect());
        self.shared.submit(command).await.map_err(|error| trouble(&error))?;
        Ok(count)
    }

    /// Opens the configured address.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(&self) -> Result<TcpListener, Failure> {
        listen::bind(&self.config).await
    }

    /// Serves until `shutdown` is done: then wakes every blocked read, and lets running requests finish.
    /// Call [`Server::close`] afterwards. A server of many connections calls [`crate::raise_open_files`] first.
    ///
    /// # Errors
    /// The listener cannot be used, or the certificate not be read.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        if let Ok(address) = listener.local_addr() {
            self.shared.address.get_or_init(|| address.to_string());
        }
        listen::serve(&self.config, listener, self.router(), self.shared.stop.clone(), shutdown).await
    }

    /// Returns the address it serves on, or the configured one before it serves.
    pub fn address(&self) -> String {
        self.shared.address.get().cloned().unwrap_or_else(|| self.config.listen.to_string())
    }

    /// Wakes every blocked read, takes no more writes, finishes those that are queued, and closes the database.
    pub async fn close(self) {
        self.shared.stop.cancel();
        self.halt.cancel();
        if let Err(error) = self.writer.await {
            tracing::warn!(%error, "the writer ended badly; everything acknowledged is on disk");
        }
    }
}

fn make_directory(config: &Config) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir);
    made.map_err(|error| {
        Failure::new(
            format!("cannot make the data directory {}", config.data_dir.display()),
            error,
            "check the path and the permissions above it",
        )
    })
}

/// Makes the database's file before SQLite does, so that only its owner can read it; the log inherits that.
fn make_private(file: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file);
    made.map(drop).map_err(|error| {
        Failure::new(
            format!("cannot write the database {}", file.display()),
            error,
            "check the owner and the permissions of the data directory",
        )
    })
}

fn unreadable(file: &Path, error: &DiskError) -> Failure {
    let next = match error {
        DiskError::Newer(_) => "start the newer version again, or give this one another data directory",
        _ => "check the disk; restore the file from a backup if it is damaged",
    };
    Failure::new(format!("cannot read the database {}", file.display()), error, next)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use super::Server;
    use crate::command::{Command, Content};
    use crate::config::Config;

    fn put(number: usize) -> Command {
        let key = format!("queued/{number}");
        Command::Restore(vec![Content { key: key.into(), value: b"1".as_slice().into(), flags: 0 }])
    }

    async fn close_with_a_full_queue() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::open(Config::loopback(folder.path())).await.expect("it opens");
        let shared = Arc::clone(&server.shared);
        let mut queued: Vec<_> = (0..50).map(|number| Box::pin(shared.submit(put(number)))).collect();
        // One thread: the writer sees none of them before this task waits.
        for ask in &mut queued {
            assert!(ask.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        server.close().await;
        for ask in queued {
            ask.await.expect("it was queued before the end");
        }
        let late = shared.submit(put(0)).await.expect_err("it came after the end");
        assert!(late.0.contains("shutting down"), "{late}");
        let server = Server::open(Config::loopback(folder.path())).await.expect("it opens again");
        assert_eq!(server.export("queued/").len(), 50, "and it is on the disk");
        server.close().await;
    }

    #[tokio::test]
    async fn closing_finishes_what_is_queued_and_takes_no_more() {
        // The writer hears of the end and of the queue in any order.
        for _ in 0..8 {
            close_with_a_full_queue().await;
        }
    }
}
