//! The real HAProxy of the tests' cache, which carries its libraries beside it.

use std::io::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::server::{Server, cached_program};

/// Writes a program into a folder that is HAProxy with its libraries, and returns its path.
///
/// # Errors
/// HAProxy is not in the cache; the error says how it gets there.
pub fn haproxy(folder: &Path) -> Result<PathBuf> {
    let program = cached_program("haproxy/usr/sbin/haproxy")?;
    let root = program.ancestors().nth(3).expect("it lies in usr/sbin of its folder");
    let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let path = folder.join("haproxy");
    let text =
        format!("#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n", libraries.display(), program.display());
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Starts HAProxy with a configuration and its master process's socket, and waits until that answers.
///
/// # Errors
/// It does not start; the error holds what it said.
pub async fn start_haproxy(program: &Path, configuration: &Path, master: &Path) -> Result<Server> {
    let arguments = ["-W", "-S", &format!("{},mode,600", master.display()), "-f"].map(str::to_owned);
    let arguments = arguments.into_iter().chain([configuration.display().to_string()]).collect();
    let server = Server::start(program.to_owned(), arguments, master.with_extension("log"))?;
    wait_for_haproxy(&server, master).await?;
    Ok(server)
}

/// Waits until a started HAProxy lists a process that takes connections.
///
/// # Errors
/// It ended, or said nothing in ten seconds; the error holds its last words.
pub async fn wait_for_haproxy(server: &Server, master: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !works(master).await.unwrap_or(false) {
        if server.has_ended() || Instant::now() > deadline {
            return Err(std::io::Error::other(format!("HAProxy does not start: {}", server.log_tail())));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn works(master: &Path) -> Result<bool> {
    let mut socket = UnixStream::connect(master).await?;
    socket.write_all(b"show proc\n").await?;
    socket.shutdown().await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer.lines().any(|line| line.split_whitespace().nth(1) == Some("worker")))
}
