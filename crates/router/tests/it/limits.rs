//! Clients that are slow, large or many.

use std::time::{Duration, Instant};

use bytes::Bytes;
use footplate_testkit::backend::Backend;
use footplate_testkit::wire::{Framing, Reader};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site::{PATIENCE, Site, read, single};

async fn connect(site: &Site) -> Reader<TcpStream> {
    Reader::new(TcpStream::connect(site.address()).await.unwrap())
}

/// Waits until the router closes the connection; returns what came before.
async fn until_closed(reader: Reader<TcpStream>) -> String {
    let (mut socket, mut bytes) = reader.into_parts();
    let reading = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await;
    // A reset is an end as well.
    drop(reading.expect("the router closes the connection"));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn who_is_slow_with_the_head_of_a_request_is_cut() {
    let limit = Duration::from_millis(400);
    let mut site = Site::with(|config| config.limits.header_time_max = limit).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let begun = Instant::now();
    let (mut silent, mut dripping, mut second) =
        (connect(&site).await, connect(&site).await, connect(&site).await);
    second.io().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut second, "GET").await.unwrap().body, "one");
    second.io().write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    dripping.io().write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    silent.io().flush().await.unwrap();
    let (mut socket, _) = dripping.into_parts();
    // One byte at a time is no progress.
    let dripping = tokio::spawn(async move { while eventually_refused(&mut socket).await {} });
    for slow in [silent, second] {
        assert_eq!(until_closed(slow).await, "");
    }
    tokio::time::timeout(PATIENCE, dripping).await.expect("cut as well").unwrap();
    assert!(begun.elapsed() >= limit, "not before the limit");
    assert_eq!(site.get("/").await.body, "one", "others are served");
}

/// Sends one more byte of a header, a little later; tells whether the connection is still there.
async fn eventually_refused(socket: &mut TcpStream) -> bool {
    tokio::time::sleep(Duration::from_millis(20)).await;
    socket.write_all(b"x").await.is_ok()
}

#[tokio::test]
async fn a_connection_that_rests_too_long_is_closed() {
    let mut site = Site::with(|config| config.limits.idle_time_max = Duration::from_millis(300)).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut reader = connect(&site).await;
    for _ in 0..3 {
        reader.io().write_all(b"GET /slow/200 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut reader, "GET").await.unwrap().body, "one");
    }
    assert_eq!(until_closed(reader).await, "");
    footplate_testkit::eventually("no connection", PATIENCE, async || site.report().await.clients.open == 0)
        .await;
}

#[tokio::test]
async fn a_long_answer_is_no_rest() {
    let mut site = Site::with(|config| config.limits.idle_time_max = Duration::from_millis(200)).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    assert_eq!(site.get("/stream/20/50").await.body.len(), 100);
}

#[tokio::test]
async fn who_stops_sending_a_body_is_answered_408_and_nothing_stays_in_flight() {
    let mut site = Site::with(|config| config.limits.body_time_max = Duration::from_millis(200)).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut reader = connect(&site).await;
    reader.io().write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
    let reply = read(&mut reader, "POST").await.unwrap();
    assert_eq!((reply.status(), reply.head.get("footplate-router")), (408, Some("slow")));
    assert_eq!(until_closed(reader).await, "");
    assert_eq!(backend.requests(), 0);
    assert_eq!(site.report().await.in_flight("shop", "a"), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413_however_it_is_framed() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let mut only = single(backend.address);
    only.limits.body_bytes = 10;
    site.route(only).await;
    let fits = site.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789").await;
    assert_eq!((fits.status(), fits.body.as_str()), (200, "0123456789"));
    for request in [
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n",
    ] {
        let reply = site.send(request).await;
        assert_eq!((reply.status(), reply.head.get("connection")), (413, Some("close")), "{request}");
    }
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn headers_over_the_limits_are_refused() {
    let mut site = Site::with(|config| {
        config.limits.headers_max = 20;
        config.limits.header_bytes_max = 16 << 10;
    })
    .await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let many: String = (0..30).map(|number| format!("x-{number}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(20 << 10));
    for lines in [many, large] {
        let reply = site.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
        assert_eq!(reply.status(), 431, "{}", lines.len());
    }
    let fits: String = (0..15).map(|number| format!("x-{number}: {}\r\n", "y".repeat(900))).collect();
    assert_eq!(site.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fits}\r\n")).await.status(), 200);
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn who_does_not_take_an_answer_is_cut() {
    let mut site = Site::with(|config| config.limits.write_time_max = Duration::from_millis(300)).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut reader = connect(&site).await;
    reader.io().write_all(b"GET /bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    footplate_testkit::eventually("it was asked", PATIENCE, async || backend.requests() == 1).await;
    footplate_testkit::eventually("it is cut", PATIENCE, async || site.report().await.clients.open == 0)
        .await;
    footplate_testkit::eventually("and nothing is in flight", PATIENCE, async || {
        site.report().await.in_flight("shop", "a") == 0
    })
    .await;
}

/// Connects with HTTP/2, with windows of this size for each answer, and answers the router's pings and asks its own.
async fn connect_http2(site: &Site, window: u32) -> SendRequest<Empty<Bytes>> {
    let socket = TokioIo::new(TcpStream::connect(site.address()).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).initial_stream_window_size(window);
    builder.keep_alive_interval(Duration::from_millis(50)).keep_alive_while_idle(true);
    let (sender, connection) = builder.handshake(socket).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::builder().uri(format!("http://a{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn who_does_not_take_an_answer_on_http_2_loses_that_stream_alone() {
    let mut site = Site::with(|config| config.limits.write_time_max = Duration::from_millis(300)).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut sender = connect_http2(&site, 70_000).await;
    let stuck = sender.send_request(get("/bytes/30000000")).await.unwrap();
    assert_eq!(site.report().await.in_flight("shop", "a"), 1);
    let slow = sender.send_request(get("/stream/20/50")).await.unwrap();
    footplate_testkit::eventually("nothing is in flight for it", PATIENCE, async || {
        site.report().await.in_flight("shop", "a") <= 1
    })
    .await;
    assert!(stuck.into_body().collect().await.is_err(), "it was cut");
    assert_eq!(
        slow.into_body().collect().await.unwrap().to_bytes().len(),
        100,
        "who takes what comes is not"
    );
    let other = sender.send_request(get("/bytes/60000")).await.unwrap();
    assert_eq!(other.into_body().collect().await.unwrap().to_bytes().len(), 60_000);
    assert_eq!(site.report().await.clients.connections, 1);
}

#[tokio::test]
async fn a_client_without_a_window_is_cut_though_it_answers_pings() {
    let mut site = Site::with(|config| {
        config.limits.write_time_max = Duration::from_millis(300);
        config.limits.idle_time_max = Duration::from_millis(300);
    })
    .await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    // Nothing can be sent at all; or a part of the last piece, with which the request is over.
    for window in [0, 100] {
        let mut sender = connect_http2(&site, window).await;
        let answer = sender.send_request(get("/bytes/1000")).await.unwrap();
        footplate_testkit::eventually("it is cut", PATIENCE, async || site.report().await.clients.open == 0)
            .await;
        assert!(answer.into_body().collect().await.is_err(), "a window of {window}");
    }
}

#[tokio::test]
async fn a_connection_of_http_2_may_rest_between_pings() {
    let limit = Duration::from_millis(200);
    let mut site = Site::with(|config| config.limits.header_time_max = limit).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut sender = connect_http2(&site, 70_000).await;
    for _ in 0..2 {
        let answer = sender.send_request(get("/")).await.expect("the connection is there");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "one");
        let begun = Instant::now();
        footplate_testkit::eventually("it rests", PATIENCE, async || begun.elapsed() > limit * 5).await;
    }
    assert_eq!(site.report().await.clients.connections, 1);
}

/// Sends one more byte of a body, a little later.
async fn eventually_sent(reader: &mut Reader<TcpStream>, pause: Duration) {
    tokio::time::sleep(pause).await;
    reader.io().write_all(b"x").await.expect("the router takes it");
}

#[tokio::test]
async fn an_upload_goes_on_after_its_answer_is_over() {
    let limit = Duration::from_millis(200);
    let mut site = Site::with(|config| config.limits.header_time_max = limit).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.route(single(listener.local_addr().unwrap())).await;
    let endpoint = tokio::spawn(async move {
        let mut reader = Reader::new(listener.accept().await.unwrap().0);
        reader.head().await.unwrap().unwrap();
        reader.io().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await.unwrap();
        reader.body(Framing::Length(20), |_| ()).await
    });
    let mut reader = connect(&site).await;
    reader.io().write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut reader, "POST").await.unwrap().body, "early");
    for _ in 0..20 {
        eventually_sent(&mut reader, limit / 4).await;
    }
    let got = tokio::time::timeout(PATIENCE, endpoint).await.expect("it ends").unwrap();
    assert_eq!(got.expect("all of it came"), 20);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let mut site = Site::with(|config| {
        config.limits.connections_max = 2;
        config.workers = 1;
    })
    .await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let (mut first, mut second) = (connect(&site).await, connect(&site).await);
    for reader in [&mut first, &mut second] {
        reader.io().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read(reader, "GET").await.unwrap().status(), 200);
    }
    let mut third = connect(&site).await;
    third.io().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), third.head()).await;
    assert!(early.is_err(), "no place yet");
    assert_eq!(site.report().await.clients.open, 2);
    drop(first);
    assert_eq!(read(&mut third, "GET").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_and_its_endpoint_is_told() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut reader = connect(&site).await;
    reader.io().write_all(b"GET /slow/60000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    footplate_testkit::eventually("in flight", PATIENCE, async || {
        site.report().await.in_flight("shop", "a") == 1
    })
    .await;
    drop(reader);
    footplate_testkit::eventually("it has left", PATIENCE, async || {
        let counts = &site.report().await.services["shop"].versions["1"].counts;
        counts.left == 1 && counts.in_flight == 0
    })
    .await;
}
