//! Keeping artifacts by digest, here and over HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use footplate_core::artifact::ArtifactRef;
use footplate_core::target::Source;
use footplate_drivers::archive;
use footplate_drivers::artifact::{ArtifactError, ArtifactStore, Directory, Fetch, Http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

fn bytes_file(folder: &Path, bytes: &[u8]) -> (PathBuf, ArtifactRef) {
    let file = folder.join("bytes");
    fs::write(&file, bytes).unwrap();
    let artifact = archive::digest_file(&file).unwrap();
    (file, artifact)
}

#[tokio::test]
async fn a_directory_keeps_what_it_was_given_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let (file, artifact) = bytes_file(folder.path(), b"some bytes");
    assert!(!store.has(&artifact).await.unwrap());
    store.put(&artifact, &file).await.unwrap();
    store.put(&artifact, &file).await.unwrap();
    assert!(store.has(&artifact).await.unwrap());
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&artifact));

    let other = folder.path().join("other");
    fs::write(&other, "other byte").unwrap();
    let wrong = archive::digest_file(&other).unwrap();
    let error = store.put(&wrong, &file).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Mismatch { .. }), "{error}");
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&artifact), "nothing is left of it");

    let to = folder.path().join("fetched");
    store.fetch(&artifact, &to, &CancellationToken::new()).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"some bytes");
    fs::remove_file(&to).unwrap();
    fs::write(store.path(&artifact.digest), "bad! bytes").unwrap();
    let error = store.fetch(&artifact, &to, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("holds bytes of sha256:"), "{error}");
    assert!(!to.exists());
}

#[tokio::test]
async fn the_same_bytes_put_at_once_are_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Directory::open(folder.path()).unwrap());
    let (file, artifact) = bytes_file(folder.path(), &[7; 300_000]);
    let putting = (0..8).map(|_| {
        let (store, artifact, file) = (Arc::clone(&store), artifact.clone(), file.clone());
        tokio::spawn(async move { store.put(&artifact, &file).await })
    });
    for put in putting.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    let names: Vec<_> = fs::read_dir(folder.path().join("sha256")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

/// What the little server does with each request.
#[derive(Clone)]
enum Answer {
    /// Sends this as it is, then closes.
    Raw(Vec<u8>),
    /// Sends this, then nothing for ever.
    Stall(Vec<u8>),
}

fn ok(bytes: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len()).as_bytes(), bytes].concat()
}

/// Serves the same answer to everybody. Returns the source, and what was asked: head and body of each request.
async fn serve(answer: Answer) -> (Source, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1/artifacts", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(one_request(stream, answer.clone(), Arc::clone(&log)));
        }
    });
    (Source { base, token: Some("secret".to_owned()) }, asked)
}

async fn one_request(mut stream: TcpStream, answer: Answer, log: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    let (mut head, mut length) = (None, 0);
    while head.is_none_or(|head| request.len() < head + length) {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request is whole");
        request.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        head = text.find("\r\n\r\n").map(|at| at + 4);
        let header = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        length = header.map_or(0, |length| length.trim().parse().unwrap());
    }
    log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    match answer {
        Answer::Raw(bytes) => stream.write_all(&bytes).await.unwrap(),
        Answer::Stall(bytes) => {
            stream.write_all(&bytes).await.unwrap();
            std::future::pending::<()>().await;
        }
    }
}

fn http(sources: &[&Source]) -> Http {
    // Fails when another test of this process was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sources = sources.iter().map(|source| (*source).clone()).collect();
    Http::new(client, sources).silence_max(Duration::from_millis(300))
}

#[tokio::test]
async fn http_sources_are_tried_in_turn_until_one_gives_the_right_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, artifact) = bytes_file(folder.path(), b"some bytes");
    let to = folder.path().join("to");
    let refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nnot yours".to_vec();
    let cut = ok(b"some bytes")[..45].to_vec();
    let (no, _) = serve(Answer::Raw(refused)).await;
    let (wrong, _) = serve(Answer::Raw(ok(b"some bytez"))).await;
    let (short, _) = serve(Answer::Raw(ok(b"some"))).await;
    let (long, _) = serve(Answer::Raw(ok(b"some bytes and more"))).await;
    let (cut, _) = serve(Answer::Raw(cut)).await;
    let (stalled, _) = serve(Answer::Stall(ok(b"some bytes")[..43].to_vec())).await;
    let (silent, _) = serve(Answer::Stall(Vec::new())).await;
    let (good, asked) = serve(Answer::Raw(ok(b"some bytes"))).await;
    let nobody = Source { base: "http://127.0.0.1:1/v1".to_owned(), token: None };
    let bad = [&no, &wrong, &short, &long, &cut, &stalled, &silent, &nobody];

    let error = http(&bad).fetch(&artifact, &to, &CancellationToken::new()).await.unwrap_err();
    let reasons: Vec<_> = error.because.split("; ").collect();
    assert_eq!(reasons.len(), bad.len(), "{reasons:#?}");
    assert!(reasons[0].ends_with("it says 403 Forbidden: not yours"), "{}", reasons[0]);
    assert!(reasons[1].contains("it sent bytes of sha256:"), "{}", reasons[1]);
    assert!(reasons[2].ends_with("it sent 4 of 10 bytes"), "{}", reasons[2]);
    assert!(reasons[3].ends_with("it sends more than the 10 bytes that were announced"), "{}", reasons[3]);
    assert!(reasons[5].ends_with("it sent nothing for 300ms"), "{}", reasons[5]);
    assert!(reasons[6].ends_with("it sent nothing for 300ms"), "{}", reasons[6]);
    assert!(!to.exists(), "no bytes of a wrong source stay");
    assert!(!error.to_string().contains("secret"));

    let all: Vec<_> = bad.into_iter().chain([&good]).collect();
    http(&all).fetch(&artifact, &to, &CancellationToken::new()).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"some bytes");
    let asked = asked.lock().unwrap()[0].clone();
    assert!(asked.starts_with(&format!("GET /v1/artifacts/{} HTTP/1.1", artifact.digest)), "{asked}");
    assert!(asked.contains("authorization: Bearer secret"), "{asked}");
}

#[tokio::test]
async fn a_fetch_stops_when_it_is_told_to_and_a_full_disk_is_not_the_sources_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (_, artifact) = bytes_file(folder.path(), b"some bytes");
    let to = folder.path().join("to");
    let (silent, asked) = serve(Answer::Stall(ok(b"some bytes")[..43].to_vec())).await;
    let stop = CancellationToken::new();
    let patient = http(&[&silent]).silence_max(Duration::from_secs(60));
    let stopper = async {
        crate::support::eventually("it was asked", || !asked.lock().unwrap().is_empty()).await;
        stop.cancel();
    };
    let (fetched, ()) = tokio::join!(patient.fetch(&artifact, &to, &stop), stopper);
    assert_eq!(fetched.unwrap_err().because, "it was stopped");
    assert!(!to.exists());
    let (good, _) = serve(Answer::Raw(ok(b"some bytes"))).await;
    let nowhere = folder.path().join("no/such/folder");
    let error = http(&[&good]).fetch(&artifact, &nowhere, &CancellationToken::new()).await.unwrap_err();
    assert!(error.because.starts_with("cannot create ") && error.next.contains("folder"), "{error}");
    let error = http(&[]).fetch(&artifact, &to, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.because, "no source for artifacts is known");
}
