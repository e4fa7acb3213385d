//! A service that answers every request at once with a body of one size. Requests have no body.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::Failed;

/// Answers until it is killed.
pub fn run(address: &str, bytes: usize) -> Result<(), Failed> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n{}",
        "x".repeat(bytes)
    );
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN)?;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                u64::MAX => {
                    while let Ok((client, _)) = listener.accept() {
                        client.set_nonblocking(true)?;
                        client.set_nodelay(true)?;
                        epoll::add(&poll, &client, EventData::new_u64(clients.len() as u64), EventFlags::IN)?;
                        clients.push(Some(client));
                    }
                }
                place => {
                    let client = &mut clients[place as usize];
                    if !client.as_mut().is_some_and(|client| serve(client, answer.as_bytes())) {
                        *client = None;
                    }
                }
            }
        }
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
