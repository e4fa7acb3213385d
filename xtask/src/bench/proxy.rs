//! A proxy that counts the HTTP/1.1 requests that pass through it. It stands between agents and any store, so that all
//! stores are counted the same way. Loopback only; two threads a connection, which a counting run can afford.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running proxy. It stops with the process.
pub struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Opens a proxy on a free port that passes everything on to `target`.
    pub fn open(target: SocketAddr) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // A client that cannot be served sees a closed connection and tries again.
                thread::spawn(move || serve(client, target, &seen));
            }
        });
        Ok(Proxy { address, requests })
    }

    /// Returns where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the request lines since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("nobody panics while holding the list"))
    }
}

fn serve(client: TcpStream, target: SocketAddr, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        // Either side may close first; the other is told by the shutdown.
        let copied = std::io::copy(&mut from_server, &mut to_client);
        to_client.shutdown(Shutdown::Both).and(copied.map(drop))
    });
    let (mut from_client, mut to_server) = (client, server);
    let mut requests = Requests::default();
    let mut buffer = [0u8; 16 * 1024];
    loop {
        let length = from_client.read(&mut buffer)?;
        if length == 0 {
            return to_server.shutdown(Shutdown::Write);
        }
        let lines = requests.feed(&buffer[..length]);
        seen.lock().expect("nobody panics while holding the list").extend(lines);
        to_server.write_all(&buffer[..length])?;
    }
}

/// Finds request lines in a stream of bytes that may be cut anywhere. Bodies have a `content-length`.
#[derive(Default)]
struct Requests {
    head: Vec<u8>,
    body_left: usize,
}

impl Requests {
    fn feed(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.body_left.min(bytes.len());
            self.body_left -= skipped;
            bytes = &bytes[skipped..];
            while let Some((first, rest)) = bytes.split_first() {
                self.head.push(*first);
                bytes = rest;
                if self.head.ends_with(b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).into_owned();
                    self.body_left = content_length(&head);
                    lines.push(head.lines().next().unwrap_or_default().to_owned());
                    break;
                }
            }
        }
        lines
    }
}

fn content_length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPUT /b HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET /no HTTP/1.1\r\nPUT /c HTTP/1.1\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn requests_are_found_wherever_the_stream_is_cut() {
        for size in 1..STREAM.len() {
            let mut requests = Requests::default();
            let lines: Vec<String> = STREAM.chunks(size).flat_map(|piece| requests.feed(piece)).collect();
            assert_eq!(
                lines,
                ["GET /a HTTP/1.1", "PUT /b HTTP/1.1", "PUT /c HTTP/1.1"],
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn a_request_reaches_the_server_and_its_answer_the_client() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::open(server.local_addr().unwrap()).unwrap();
        let answering = thread::spawn(move || {
            let (mut client, _) = server.accept().unwrap();
            let mut question = [0u8; 18];
            client.read_exact(&mut question).unwrap();
            client.write_all(b"answer").unwrap();
        });
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answering.join().unwrap();
        assert_eq!((answer.as_str(), proxy.take()), ("answer", vec!["GET / HTTP/1.1".to_owned()]));
        assert!(proxy.take().is_empty());
    }
}
