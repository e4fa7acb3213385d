//! TLS and HTTP/2: by agreement, by prior knowledge, with certificates that change.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use footplate_router::{Config, Listener, Tls};
use footplate_testkit::backend::Backend;
use footplate_testkit::wire::Reader;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::site::{PATIENCE, Site, single, talk};

/// Writes a certificate of its own for a name, and returns it.
fn certify(folder: &Path, file: &str, name: &str) -> (Tls, rcgen::Certificate) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let pair =
        Tls { certificate: folder.join(format!("{file}.pem")), key: folder.join(format!("{file}.key")) };
    std::fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&pair.certificate, made.cert.pem()).unwrap();
    (pair, made.cert)
}

fn serve_https(config: &mut Config, pairs: Vec<Tls>) {
    config.listeners.push(Listener { address: ([127, 0, 0, 1], 0).into(), is_https: true });
    config.certificates = pairs;
}

/// Connects as a client that trusts this certificate alone.
async fn connect(
    site: &Site,
    name: &str,
    trusted: &rcgen::Certificate,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(site.addresses[1]).await?).await
}

async fn over_http2<S>(socket: S, requests: Vec<Request<Full<Bytes>>>) -> Vec<(StatusCode, String)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut asked = Vec::new();
    for request in requests {
        let mut sender = sender.clone();
        asked.push(tokio::spawn(async move {
            let answer = sender.send_request(request).await.unwrap();
            let status = answer.status();
            assert!(!answer.headers().contains_key("connection"));
            (
                status,
                String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap(),
            )
        }));
    }
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap());
    }
    connection.abort();
    answers
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::builder().uri(uri).body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_client_gets_the_protocol_it_asks_for_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (pair, certificate) = certify(folder.path(), "shop", "shop.test");
    let mut site = Site::with(|config| serve_https(config, vec![pair])).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let old = connect(&site, "shop.test", &certificate, &[]).await.unwrap();
    let reply = talk(old, "GET /head HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    assert!(reply.body.contains("x-forwarded-proto: https"), "{}", reply.body);
    let new = connect(&site, "shop.test", &certificate, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(new.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let answers = over_http2(new, vec![get("https://shop.test/head")]).await;
    assert_eq!(answers[0].0, 200);
    assert!(answers[0].1.starts_with("GET /head HTTP/1.1\nhost: shop.test\n"), "{}", answers[0].1);
}

#[tokio::test]
async fn many_requests_share_a_connection_of_http_2() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let socket = TcpStream::connect(site.address()).await.unwrap();
    let mut requests: Vec<_> = (0..50).map(|_| get("http://a/slow/50")).collect();
    let body = Full::new(Bytes::from(vec![b'x'; 200_000]));
    requests.push(Request::builder().method(Method::POST).uri("http://a/echo").body(body).unwrap());
    requests.push(get("http://a/bytes/300000"));
    requests.push(get("http://a/status/503"));
    let answers = over_http2(socket, requests).await;
    assert!(answers[..50].iter().all(|(status, body)| *status == 200 && body == "one"));
    assert_eq!((answers[50].0.as_u16(), answers[50].1.len()), (200, 200_000));
    assert_eq!((answers[51].0.as_u16(), answers[51].1.len()), (200, 300_000));
    assert_eq!(answers[52].0, 503);
    assert_eq!(site.report().await.clients.connections, 1);
}

#[tokio::test]
async fn an_upgrade_of_the_router_lets_http_2_finish_and_go_elsewhere() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let socket = TokioIo::new(TcpStream::connect(site.address()).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = tokio::spawn(sender.send_request(get("http://a/stream/30/20")));
    footplate_testkit::eventually("in flight", PATIENCE, async || {
        site.report().await.in_flight("shop", "a") == 1
    })
    .await;
    site.upgrade().await;
    let body = asked.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 150);
    site.elders_end().await;
    connection.await.unwrap().expect("the connection ended in good order");
    assert_eq!(site.get("/").await.body, "one");
}

#[tokio::test]
async fn certificates_that_change_are_shown_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (pair, first) = certify(folder.path(), "shop", "shop.test");
    let mut site = Site::with(|config| serve_https(config, vec![pair.clone()])).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    assert!(connect(&site, "shop.test", &first, &[]).await.is_ok());
    std::fs::write(&pair.certificate, "no certificate").unwrap();
    let (other, _) = certify(folder.path(), "other", "shop.test");
    std::fs::copy(&other.key, &pair.key).unwrap();
    let load = footplate_testkit::load::Load::new(site.address(), 1).start();
    // Two looks at the files go by; the sound pair stays.
    let begun = std::time::Instant::now();
    footplate_testkit::eventually("two looks", PATIENCE, async || {
        begun.elapsed() > std::time::Duration::from_secs(3)
    })
    .await;
    assert!(connect(&site, "shop.test", &first, &[]).await.is_ok(), "a broken pair changes nothing");
    let (_, second) = certify(folder.path(), "shop", "shop.test");
    footplate_testkit::eventually("the new certificate", PATIENCE, async || {
        connect(&site, "shop.test", &second, &[]).await.is_ok()
    })
    .await;
    assert!(connect(&site, "shop.test", &first, &[]).await.is_err(), "the old one is gone");
    assert_eq!(load.stop().await.failed, 0);
}

#[tokio::test]
async fn each_name_has_its_certificate_and_strangers_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, shop_certificate) = certify(folder.path(), "shop", "shop.test");
    let (wild, wild_certificate) = certify(folder.path(), "wild", "*.blog.test");
    let site = Site::with(|config| serve_https(config, vec![shop, wild])).await;
    assert!(connect(&site, "shop.test", &shop_certificate, &[]).await.is_ok());
    assert!(connect(&site, "a.blog.test", &wild_certificate, &[]).await.is_ok());
    let stranger = connect(&site, "other.test", &shop_certificate, &[]).await.unwrap_err().to_string();
    assert!(stranger.contains("not valid for name"), "{stranger}");
}

#[tokio::test]
async fn who_is_slow_to_agree_on_tls_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (pair, _) = certify(folder.path(), "shop", "shop.test");
    let site = Site::with(|config| {
        serve_https(config, vec![pair]);
        config.limits.header_time_max = std::time::Duration::from_millis(200);
    })
    .await;
    let mut reader = Reader::new(TcpStream::connect(site.addresses[1]).await.unwrap());
    assert!(tokio::time::timeout(PATIENCE, reader.head()).await.expect("it is cut").unwrap().is_none());
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = certify(folder.path(), "one", "a.test");
    let (two, _) = certify(folder.path(), "two", "a.test");
    let mut config = crate::site::config(&folder);
    serve_https(&mut config, vec![Tls { certificate: one.certificate, key: two.key }]);
    let failure = footplate_router::Server::open(config.clone()).await.unwrap_err();
    assert!(failure.what.contains("cannot use the certificate"), "{failure}");
    config.certificates.clear();
    let failure = footplate_router::Server::open(config).await.unwrap_err();
    assert!(failure.because.contains("needs a certificate"), "{failure}");
}
