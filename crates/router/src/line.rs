//! A connection to an endpoint. Whoever uses it drives it: a request and its answer pass through one task, the client's.
//!
//! Invariant: what is driven here makes progress only while it is asked, drawn on, or looked at. What must go on beside that, an
//! upload or another protocol, has a task of its own.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::Outgoing;

type Connection = http1::Connection<TokioIo<TcpStream>, Outgoing>;

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Line {
    sender: SendRequest<Outgoing>,
    /// The connection, as long as it is driven here and has not ended.
    driven: Option<Box<Connection>>,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// The endpoint did not take the connection.
    pub async fn open(address: SocketAddr) -> io::Result<Line> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut builder = http1::Builder::new();
        // A head alone is one buffer: a plain write costs the kernel less than a list of buffers.
        builder.writev(false);
        let (sender, connection) = builder.handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
        Ok(Line { sender, driven: Some(Box::new(connection)) })
    }

    /// Gives the connection a task of its own, in which it can also change its protocol.
    pub fn detach(&mut self) {
        let Some(connection) = self.driven.take() else { return };
        let connection = connection.with_upgrades();
        tokio::spawn(async move {
            // What goes wrong here is seen by the request that uses the connection.
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection to an endpoint ended");
            }
        });
    }

    /// Waits until it takes a request; false when it never will.
    pub async fn is_ready(&mut self) -> bool {
        poll_fn(|context| {
            self.drive(context);
            self.sender.poll_ready(context)
        })
        .await
        .is_ok()
    }

    /// Looks after one that rests; tells whether it is still open. Nobody is woken when that changes.
    pub fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// It ended before; the error holds the request if nothing of it was sent.
    pub async fn ask(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let mut sent = pin!(self.sender.try_send_request(request));
        poll_fn(|context| match self.drive(context) {
            // The answer comes from what was driven just now; there is nobody else who could wake for it.
            true => sent.as_mut().poll(&mut Context::from_waker(Waker::noop())),
            false => sent.as_mut().poll(context),
        })
        .await
    }

    /// Takes the next piece of an answer that came over this connection.
    pub fn draw(
        &mut self,
        answer: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut answer = Pin::new(answer);
        if self.driven.is_some() {
            let here = answer.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
            if here.is_ready() {
                return here;
            }
            self.drive(context);
        }
        answer.poll_frame(context)
    }

    /// Lets the connection do what it can. Tells whether it goes on and is driven here.
    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        let Some(connection) = &mut self.driven else { return false };
        let Poll::Ready(ended) = Pin::new(connection).poll(context) else { return true };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection to an endpoint ended");
        }
        self.driven = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::{sleep, timeout};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Answers one request with these bytes and closes the connection when told.
    async fn endpoint(answer: &'static [u8]) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closed) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert_ne!(socket.read(&mut request).await.unwrap(), 0);
            socket.write_all(answer).await.unwrap();
            let _: Result<(), _> = closed.await;
        });
        (address, close)
    }

    async fn drawn(line: &mut Line, answer: &mut Incoming) -> String {
        let mut text = Vec::new();
        while let Some(frame) = poll_fn(|context| line.draw(answer, context)).await {
            text.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    async fn poll_until_closed(line: &mut Line) {
        while line.is_open() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn an_answer_comes_without_a_task_of_its_own_and_with_one() {
        for is_detached in [false, true] {
            let (address, _close) = endpoint(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood").await;
            let mut line = Line::open(address).await.unwrap();
            if is_detached {
                line.detach();
            }
            let asked = timeout(DEADLINE, line.ask(Request::new(Outgoing::Empty))).await;
            let mut answer = asked.expect("it answers").unwrap().into_body();
            assert_eq!(answer.size_hint().exact(), Some(4));
            assert_eq!(drawn(&mut line, &mut answer).await, "good");
            assert!(timeout(DEADLINE, line.is_ready()).await.expect("it is at rest"));
            assert_eq!(line.driven.is_none(), is_detached);
        }
    }

    #[tokio::test]
    async fn a_line_that_rests_is_seen_to_be_closed_by_its_endpoint() {
        let (address, close) = endpoint(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        let mut line = Line::open(address).await.unwrap();
        timeout(DEADLINE, line.ask(Request::new(Outgoing::Empty))).await.expect("it answers").unwrap();
        assert!(line.is_open());
        close.send(()).unwrap();
        timeout(DEADLINE, poll_until_closed(&mut line)).await.expect("it is seen");
        assert!(!line.is_ready().await);
    }
}
