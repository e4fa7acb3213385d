//! One client's connection from its first byte to its last: which HTTP it speaks, and how long it may rest.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::body::Answer;
use crate::config::Limits;
use crate::headers::Caller;
use crate::proxy;
use crate::stream::{Pulse, Stream};
use crate::taking::Streams;
use crate::worker::{Seat, Worker};

/// How a client begins that speaks HTTP/2 without having been asked (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a connection of HTTP/2 looks whether its worker leaves.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Serves a connection until it ends.
pub async fn serve(seat: Seat, socket: TcpStream, address: SocketAddr, is_https: bool) {
    let worker = &seat.worker;
    // Without it small answers are late, never wrong.
    drop(socket.set_nodelay(true));
    let is_trusted = worker.trusted.iter().any(|network| network.holds(address.ip()));
    let caller = Caller::new(address.ip(), is_https, is_trusted);
    let time_max = worker.limits.header_time_max;
    match worker.tls.as_ref().filter(|_| is_https) {
        Some(tls) => {
            let Ok(Ok(socket)) = timeout(time_max, tls.accept(socket)).await else { return };
            let is_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(worker, caller, socket, Bytes::new(), is_http2).await;
        }
        None => {
            let mut socket = socket;
            let Ok(Ok((prefix, is_http2))) = timeout(time_max, sniff(&mut socket)).await else { return };
            speak(worker, caller, socket, prefix, is_http2).await;
        }
    }
}

/// Reads the first bytes and tells whether they are HTTP/2.
async fn sniff(socket: &mut TcpStream) -> std::io::Result<(Bytes, bool)> {
    let mut prefix = BytesMut::with_capacity(8 << 10);
    loop {
        if socket.read_buf(&mut prefix).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let size = prefix.len().min(PREFACE.len());
        if prefix[..size] != PREFACE[..size] || size == PREFACE.len() {
            let is_http2 = prefix.starts_with(PREFACE);
            return Ok((prefix.freeze(), is_http2));
        }
    }
}

async fn speak<S>(worker: &Arc<Worker>, caller: Caller, socket: S, prefix: Bytes, is_http2: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = Arc::new(Pulse::new(is_http2));
    let io = TokioIo::new(Stream::new(socket, prefix, Arc::clone(&pulse), worker.limits.write_time_max));
    let caller = Arc::new(caller);
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, caller, pulse) = (Arc::clone(worker), Arc::clone(&caller), Arc::clone(&pulse));
        async move {
            let serving = pulse.serve();
            let mut response = proxy::answer(&worker, &caller, &pulse, request).await;
            response.body_mut().beat(serving);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    match is_http2 {
        false => {
            let connection = http1_builder(&worker.limits).serve_connection(io, service).with_upgrades();
            until_silent(pin!(connection), &pulse, &worker.limits).await;
        }
        true => {
            let connection = pin!(http2_builder(&worker.limits).serve_connection(io, service));
            until_left(connection, &pulse, worker).await;
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(limits.headers_max)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(16 << 10))
        // Heads and short bodies go out in one plain write, which costs the kernel less than a list of buffers.
        .writev(false)
        .half_close(false);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams { time_max: limits.write_time_max });
    let bytes = u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(bytes)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(limits.write_time_max);
    builder
}

/// Drives a connection until it ends by itself or was silent for too long. One timer does for all its requests.
async fn until_silent<C>(mut connection: Pin<&mut C>, pulse: &Pulse, limits: &Limits)
where
    C: Future<Output = hyper::Result<()>>,
{
    let Some(first) = pulse.left(limits) else { return };
    let mut alarm = pin!(sleep(first));
    poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            note(ended);
            return Poll::Ready(());
        }
        while alarm.as_mut().poll(context).is_ready() {
            match pulse.left(limits) {
                None => return Poll::Ready(()),
                Some(left) => alarm.as_mut().reset(Instant::now() + left),
            }
        }
        Poll::Pending
    })
    .await;
}

/// Drives a connection of HTTP/2; tells the client to go elsewhere when the worker leaves or the connection is silent.
async fn until_left<S, B>(
    mut connection: Pin<&mut http2::Connection<TokioIo<Stream<S>>, B, Streams>>,
    pulse: &Pulse,
    worker: &Worker,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    B: hyper::service::HttpService<Incoming, ResBody = Answer>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Streams: hyper::rt::bounds::Http2ServerConnExec<B::Future, Answer>,
{
    let mut is_ending = false;
    let mut silent_since: Option<Instant> = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return note(ended),
            () = sleep(LOOK_EVERY.min(worker.limits.write_time_max)) => {}
        }
        let is_over = pulse.left(&worker.limits).is_none();
        if !is_ending && (worker.is_leaving() || is_over) {
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
        // What is left of the last answers waits for the client alone, which may never take it.
        let is_silent = is_ending && (is_over || !pulse.is_busy());
        silent_since = is_silent.then(|| silent_since.unwrap_or_else(Instant::now));
        if silent_since.is_some_and(|since| since.elapsed() >= worker.limits.write_time_max) {
            return;
        }
    }
}

fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
    }
}
