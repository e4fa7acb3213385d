//! A service for tests: `service web [STATUS]` answers HTTP on `PORT` or on a handed-over socket with its release's name, and
//! `/status/NUMBER` with that status;
//! `service leak` takes a mebibyte of memory every few milliseconds; `service silent` never listens.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("web") => web(arguments.get(1).map_or("200", String::as_str)),
        Some("leak") => leak(),
        _ => loop {
            std::thread::park();
        },
    }
}

fn web(status: &str) -> std::io::Result<()> {
    let listener = listener()?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        // Whoever asked may have gone without listening.
        if let Err(error) = answer(stream?, status) {
            println!("somebody went away: {error}");
        }
    }
    Ok(())
}

/// Takes the socket that was handed over as descriptor 3, or opens one on `PORT`.
fn listener() -> std::io::Result<TcpListener> {
    if std::env::var("LISTEN_FDS").is_ok_and(|count| count == "1") {
        assert_eq!(std::env::var("LISTEN_PID").ok(), Some(std::process::id().to_string()));
        #[expect(unsafe_code, reason = "the protocol hands the socket over by its number alone")]
        // SAFETY: whoever set the two variables has opened it for us, and nobody else in this process takes it.
        let socket = unsafe { OwnedFd::from_raw_fd(3) };
        return Ok(socket.into());
    }
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn answer(mut stream: TcpStream, status: &str) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let asked = line.split(' ').nth(1).and_then(|path| path.strip_prefix("/status/"));
    let status = asked.unwrap_or(status);
    let body =
        format!("{} by process {}\n", std::env::var("RELEASE").unwrap_or_default(), std::process::id());
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nGroup: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        std::env::var("GROUP").unwrap_or_default(),
        body.len()
    )
}

fn leak() -> std::io::Result<()> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![1; 1 << 20]);
        std::thread::sleep(Duration::from_millis(4));
        if kept.len().is_multiple_of(16) {
            println!("{} MiB taken", kept.len());
        }
    }
}
