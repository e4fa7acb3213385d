//! A small HTTP server whose answers the test chooses, and which keeps what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This body with status 200.
    Body(String),
    /// This status and body.
    Status(u16, String),
    /// Nothing, for ever.
    Silence,
}

/// A running server; it ends with the test's runtime.
pub struct Server {
    pub address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<String>>,
}

impl Server {
    pub async fn start(answer: Answer) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(String::new())));
        let (answers, questions) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers.clone(), questions.clone()));
            }
        });
        Server { address, answer, asked }
    }

    /// Answers like this from now on.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Returns the head of the last request.
    pub fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answers: Arc<Mutex<Answer>>, asked: Arc<Mutex<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    *asked.lock().unwrap() = String::from_utf8_lossy(&head).into_owned();
    let answer = answers.lock().unwrap().clone();
    let (status, body) = match answer {
        Answer::Body(body) => (200, body),
        Answer::Status(status, body) => (status, body),
        Answer::Silence => std::future::pending().await,
    };
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    // Whoever asked may have gone.
    drop(stream.write_all(text.as_bytes()).await);
}
