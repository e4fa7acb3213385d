//! Where a server may listen, who may open a directory, and how much patience it has with clients.

use std::net::SocketAddr;
use std::time::Duration;

use footplate_kv::{Config, Limits, Server, Tls};
use footplate_testkit::Certificates;
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{Site, ask, client, client_with};

fn with_limits(limits: Limits) -> (TempDir, Config) {
    let directory = TempDir::new().unwrap();
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), limits, ..Config::loopback(directory.path()) };
    (directory, config)
}

async fn connect(site: &Site) -> TcpStream {
    let address: SocketAddr = site.address.strip_prefix("http://").unwrap().parse().unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Reads until the server closes the connection.
async fn read_to_the_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut text)).await;
    // A reset is an end too.
    drop(read.expect("the server ends the connection"));
    text
}

#[tokio::test]
async fn a_public_address_without_tls_and_tokens_is_refused() {
    let directory = TempDir::new().unwrap();
    let tls = || Some(Tls { certificate: "c.pem".into(), key: "k.pem".into() });
    for (tls, tokens, missing) in
        [(None, false, "TLS and tokens"), (tls(), false, "tokens"), (None, true, "TLS")]
    {
        let config =
            Config { listen: ([0, 0, 0, 0], 0).into(), tls, tokens, ..Config::loopback(directory.path()) };
        let failure = Server::open(config).await.err().expect("it is refused");
        assert!(failure.because.contains(missing) && failure.next.contains("127.0.0.1"), "{failure}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "a refused start leaves nothing");
}

#[tokio::test]
async fn two_servers_cannot_have_one_directory() {
    let site = Site::start().await;
    let failure = Server::open(Config::loopback(site.directory.path())).await.err().expect("it is refused");
    assert!(failure.because.contains(&std::process::id().to_string()), "{failure}");
    assert!(failure.next.contains("stop"), "{failure}");
    site.put("/v1/kv/a", "still there").await;
    let site = Site::start_in(site.stop().await).await;
    assert_eq!(site.get("/v1/kv/a?raw").await.body, "still there");
    site.stop().await;
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls() {
    let directory = TempDir::new().unwrap();
    let certificates = Certificates::write(directory.path()).unwrap();
    let tls = Tls { certificate: certificates.certificate_file.clone(), key: certificates.key_file.clone() };
    let listen = ([127, 0, 0, 1], 0).into();
    let config = Config { listen, tls: Some(tls), ..Config::loopback(directory.path()) };
    let site = Site::start_with(directory, config).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.ca_file).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client_with(builder.with_root_certificates(roots).with_no_client_auth());
    let address = site.address.replace("http://", "https://");
    let put = client.put(format!("{address}/v1/kv/a")).body("1").send().await.unwrap();
    assert_eq!(put.text().await.unwrap(), "true");
    let plain = site.client.get(format!("{}/v1/kv/a", site.address)).send().await;
    assert!(plain.is_err(), "{plain:?}");
    site.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
    let directory = TempDir::new().unwrap();
    let tls = Tls { certificate: "/nonexistent/c.pem".into(), key: "/nonexistent/k.pem".into() };
    let listen = ([127, 0, 0, 1], 0).into();
    let server =
        Server::open(Config { listen, tls: Some(tls), ..Config::loopback(directory.path()) }).await.unwrap();
    let listener = server.bind().await.unwrap();
    let failure = server.serve(listener, std::future::pending()).await.unwrap_err();
    assert!(failure.what.contains("/nonexistent/c.pem"), "{failure}");
    server.close().await;
}

#[tokio::test]
async fn clients_that_dawdle_with_headers_or_bodies_are_cut_off_and_others_are_served() {
    let limits = Limits {
        header_time_max: Duration::from_millis(300),
        body_time_max: Duration::from_millis(300),
        ..Limits::default()
    };
    let (directory, config) = with_limits(limits);
    let site = Site::start_with(directory, config).await;
    let mut headers = connect(&site).await;
    headers.write_all(b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let mut body = connect(&site).await;
    body.write_all(b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123").await.unwrap();
    assert_eq!(site.put("/v1/kv/b", "1").await.body, "true");
    let (cut, answered) = tokio::join!(read_to_the_end(&mut headers), read_to_the_end(&mut body));
    assert!(!cut.contains("200 OK"), "{cut}");
    assert!(answered.starts_with("HTTP/1.1 408"), "{answered}");
    // Over a connection of its own: the one that rested meanwhile is cut off too, maybe just when it is used again.
    let reply = ask(&client(), &site.address, Method::GET, "/v1/kv/a", "").await;
    assert_eq!(reply.status, 404);
    site.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let limits = Limits { write_time_max: Duration::from_millis(300), ..Limits::default() };
    let (directory, config) = with_limits(limits);
    let site = Site::start_with(directory, config).await;
    site.put("/v1/kv/big", vec![b'x'; 512 * 1024]).await;
    let mut deaf = connect(&site).await;
    let request = b"GET /v1/kv/big HTTP/1.1\r\nHost: x\r\n\r\n";
    // Asks for more and more without ever reading, until the server gives up.
    let asking = async { while deaf.write_all(&request.repeat(100)).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("the server ends the connection");
    site.stop().await;
}

#[tokio::test]
async fn too_many_connections_and_too_many_blocked_reads_are_refused() {
    let (directory, config) = with_limits(Limits { connections_max: 3, waiters_max: 1, ..Limits::default() });
    let site = Site::start_with(directory, config).await;
    site.put("/v1/kv/a", "1").await;
    let blocked = {
        let (client, address) = (site.client.clone(), site.address.clone());
        tokio::spawn(async move { client.get(format!("{address}/v1/kv/a?index=99&wait=60s")).send().await })
    };
    footplate_testkit::eventually("one read is blocked", Duration::from_secs(20), || async {
        site.get("/metrics").await.body.contains("footplate_kv_waiters 1")
    })
    .await;
    assert_eq!(site.get("/v1/kv/a?index=99&wait=60s").await.status, 429);
    assert_eq!(site.get("/v1/kv/a").await.status, 200);
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(connect(&site).await);
    }
    // Of these some are closed at once, unanswered.
    let mut last = held.pop().unwrap();
    assert_eq!(read_to_the_end(&mut last).await, "");
    drop(held);
    blocked.abort();
    site.stop().await;
}

#[tokio::test]
async fn a_body_without_a_declared_length_is_limited_too() {
    let site = Site::start().await;
    let chunks = (0..20).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 64 * 1024]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let status =
        site.client.put(format!("{}/v1/kv/a", site.address)).body(body).send().await.unwrap().status();
    assert_eq!(status, 413);
    assert_eq!(site.get("/v1/kv/a").await.status, 404);
    site.stop().await;
}

#[tokio::test]
async fn what_is_not_in_the_subset_says_so() {
    let site = Site::start().await;
    for path in
        ["/v1/catalog/services", "/v1/agent/services", "/v1/health/node/x", "/v1/event/list", "/ui/", "/"]
    {
        let reply = site.get(path).await;
        assert_eq!(reply.status, 501, "{path}");
        assert!(reply.body.contains("is not part of this server"), "{reply:?}");
    }
    site.stop().await;
}

#[tokio::test]
async fn stopping_wakes_every_blocked_read() {
    let site = Site::start().await;
    site.put("/v1/kv/a", "1").await;
    let (client, address) = (site.client.clone(), site.address.clone());
    let blocked = tokio::spawn(async move {
        client
            .get(format!("{address}/v1/kv/a?raw&index=99&wait=5m"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    });
    footplate_testkit::eventually("one read is blocked", Duration::from_secs(20), || async {
        site.get("/metrics").await.body.contains("footplate_kv_waiters 1")
    })
    .await;
    site.stop().await;
    assert_eq!(blocked.await.unwrap(), "1");
}
