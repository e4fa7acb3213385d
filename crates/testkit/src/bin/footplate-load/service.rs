//! A service that answers every request at once with a body of one size. Requests have no body.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::Failed;
use crate::watch::Watch;

/// The events of the service are those with this bit; the rest of a connection's is its place.
pub const MARK: u64 = 1 << 63;
/// The events of the listener.
const LISTENER: u64 = u64::MAX;

/// A service with its connections.
pub struct Service {
    listener: TcpListener,
    answer: String,
    clients: Vec<Option<TcpStream>>,
}

impl Service {
    /// Listens.
    pub fn open(watch: &Watch, address: &str, bytes: usize) -> Result<Service, Failed> {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n{}",
            "x".repeat(bytes)
        );
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        epoll::add(&watch.poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Service { listener, answer, clients: Vec::new() })
    }

    /// Returns where it listens.
    pub fn address(&self) -> Result<SocketAddr, Failed> {
        Ok(self.listener.local_addr()?)
    }

    /// Does what an event asks for.
    pub fn take(&mut self, watch: &Watch, event: u64) -> Result<(), Failed> {
        if event == LISTENER {
            while let Ok((client, _)) = self.listener.accept() {
                client.set_nonblocking(true)?;
                client.set_nodelay(true)?;
                let place = MARK | self.clients.len() as u64;
                epoll::add(&watch.poll, &client, EventData::new_u64(place), EventFlags::IN)?;
                self.clients.push(Some(client));
            }
            return Ok(());
        }
        let client = &mut self.clients[(event & !MARK) as usize];
        if !client.as_mut().is_some_and(|client| serve(client, self.answer.as_bytes())) {
            *client = None;
        }
        Ok(())
    }
}

/// Answers what has come; tells whether the connection goes on.
fn serve(client: &mut TcpStream, answer: &[u8]) -> bool {
    let mut buffer = [0; 16 << 10];
    match client.read(&mut buffer) {
        Ok(0) => false,
        Ok(size) => {
            // Proxies send the head of a small request at once; one that is cut in two would be counted at its end.
            let requests = buffer[..size].windows(4).filter(|four| four == b"\r\n\r\n").count();
            (0..requests).all(|_| client.write_all(answer).is_ok())
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
