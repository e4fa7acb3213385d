//! Requests that two parsers could read differently: what each is answered with, and what its endpoint gets to see.

use footplate_testkit::backend::Backend;
use footplate_testkit::wire::Reader;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::site::{Site, read, single};

/// Bytes, the statuses that come back on that connection, and how many requests reach the endpoint. Whatever is refused for its
/// framing ends the connection, so that a second request behind it is never read.
const CASES: &[(&str, &[u16], u64)] = &[
    // Sound ones, for comparison.
    (
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[200, 200],
        2,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", &[200], 1),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        &[200],
        1,
    ),
    ("GET http://a/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n", &[200], 1),
    ("GET / HTTP/1.0\r\n\r\n", &[200], 1),
    // Two framings: the chunked one counts, and the connection ends (RFC 9112, 6.1): what follows is no request.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[200],
        1,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[200],
        1,
    ),
    // Lengths.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
        0,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd", &[400], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", &[400], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", &[400], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", &[400], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nabc", &[400], 0),
    // Codings.
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", &[400], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", &[400], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[501], 0),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[501],
        0,
    ),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400], 0),
    // Chunks that are none: the endpoint's request breaks off and is never whole.
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\nabc\r\n0\r\n\r\n", &[502], 0),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", &[502], 0),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        &[502],
        0,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", &[502], 0),
    // Headers that are none.
    ("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length\r\n : 3\r\n\r\nabc", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(: 1\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", &[400], 0),
    // Lines that are none.
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", &[400], 0),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", &[400], 0),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", &[400], 0),
    ("GET / FTP/1.1\r\nHost: a\r\n\r\n", &[400], 0),
    ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", &[400], 0),
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400], 0),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", &[400], 0),
    ("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", &[400], 0),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", &[400], 0),
    // What is not done.
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", &[405], 0),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &[405], 0),
    // An upgrade to HTTP/2 is not passed on: behind it requests would pass unseen.
    (
        "GET /head HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        &[200],
        1,
    ),
];

#[tokio::test]
async fn whatever_could_be_read_in_two_ways_is_refused_or_ends_the_connection() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    for (bytes, statuses, reached) in CASES {
        let before = backend.requests();
        let mut reader = Reader::new(TcpStream::connect(site.address()).await.unwrap());
        reader.io().write_all(bytes.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while let Some(reply) = read(&mut reader, "GET").await {
            assert!(!reply.body.contains("h2c"), "{bytes:?} passed an upgrade on");
            seen.push(reply.status());
        }
        assert_eq!((seen.as_slice(), backend.requests() - before), (*statuses, *reached), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_request_cut_at_any_byte_reaches_nobody() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for size in 0..request.len() {
        let mut reader = Reader::new(TcpStream::connect(site.address()).await.unwrap());
        reader.io().write_all(&request[..size]).await.unwrap();
        reader.io().shutdown().await.unwrap();
        let reply = read(&mut reader, "POST").await.map(|reply| reply.status());
        assert!(matches!(reply, None | Some(400 | 502)), "cut after {size}: {reply:?}");
    }
    assert_eq!(backend.requests(), 0);
    assert_eq!(site.report().await.in_flight("shop", "a"), 0);
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_one_after_the_other() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut reader = Reader::new(TcpStream::connect(site.address()).await.unwrap());
    let mut requests = String::new();
    for number in 0..20 {
        requests.push_str(&format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{number:02}"));
    }
    reader.io().write_all(requests.as_bytes()).await.unwrap();
    for number in 0..20 {
        assert_eq!(read(&mut reader, "POST").await.unwrap().body, format!("{number:02}"));
    }
}

#[tokio::test]
async fn a_request_that_leads_back_here_ends_at_once() {
    let mut site = Site::start().await;
    site.route(single(site.address())).await;
    let reply = site.get("/").await;
    assert_eq!((reply.status(), reply.head.get("footplate-router")), (508, Some("loop")));
}
