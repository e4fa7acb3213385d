//! What a service is asked, and what is made of its answers.

use std::fs::File;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use footplate_core::release::service::{Check, Probe};
use footplate_drivers::health::{Answer, Asker, Place};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with this text; nothing for an empty one, and the connection stays open.
async fn server(answer: &'static str) -> Place {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            // Whoever asks has gone when he did not like to wait.
            drop(stream.read(&mut request).await);
            drop(stream.write_all(answer.as_bytes()).await);
            silent.extend(answer.is_empty().then_some(stream));
        }
    });
    Place { port: Some(port), ..Place::default() }
}

async fn ask(check: Check, place: &Place) -> Answer {
    ask_within(check, place, Duration::from_secs(30)).await
}

async fn ask_within(check: Check, place: &Place, timeout: Duration) -> Answer {
    Asker::new().ask(&Probe { timeout, ..Probe::new(check) }, place).await
}

fn why(answer: Answer) -> String {
    match answer {
        Answer::Bad(why) => why,
        Answer::Good => panic!("it was good"),
    }
}

fn http() -> Check {
    Check::Http { path: "/health".to_owned() }
}

fn command(command: &str) -> Check {
    Check::Command { command: command.to_owned() }
}

#[tokio::test]
async fn a_page_is_good_when_it_is_there_or_elsewhere() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 204 No\r\n\r\n",
        "HTTP/1.1 302 Go\r\nLocation: http://192.0.2.1/\r\n\r\n",
    ] {
        assert_eq!(ask(http(), &server(answer).await).await, Answer::Good, "{answer}");
    }
}

#[tokio::test]
async fn a_bad_page_says_its_status_and_its_first_words() {
    let place = server("HTTP/1.1 500 No\r\nContent-Length: 27\r\n\r\n\n  no \x1bdatabase\nsecond line").await;
    assert_eq!(why(ask(http(), &place).await), "it answered 500 to /health: no  database");
    let place = server("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(why(ask(http(), &place).await), "it answered 404 to /health");
}

#[tokio::test]
async fn silence_is_bad_after_its_time() {
    let place = server("").await;
    let timeout = Duration::from_millis(100);
    assert_eq!(why(ask_within(http(), &place, timeout).await), "it did not answer within 100 ms");
    assert_eq!(ask(Check::Tcp, &place).await, Answer::Good, "it does take connections");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_bad() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let place = Place { port: Some(listener.local_addr().expect("bound").port()), ..Place::default() };
    drop(listener);
    for check in [http(), Check::Tcp] {
        let why = why(ask(check, &place).await);
        assert!(why.starts_with("it takes no connections: Connection refused"), "{why}");
    }
    assert_eq!(why(ask(Check::Tcp, &Place::default()).await), "it has no port");
}

#[tokio::test]
async fn a_command_is_judged_by_its_status_and_quoted_by_its_last_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let environment = vec![("COLOUR".to_owned(), "green".into())];
    let place = Place { directory: folder.path().to_owned(), environment, ..Place::default() };
    let good = format!("[ \"$COLOUR\" = green ] && [ \"$PWD\" = {} ]", folder.path().display());
    assert_eq!(ask(command(&good), &place).await, Answer::Good);
    let bad = why(ask(command("echo one; echo 'queue is stuck'; exit 4"), &place).await);
    assert!(bad.ends_with("failed: it ended with status 4: queue is stuck"), "{bad}");
    let slow = why(ask_within(command("sleep 1000"), &place, Duration::from_millis(50)).await);
    assert!(slow.contains("it did not end before its deadline and was killed"), "{slow}");
}

#[tokio::test]
async fn what_said_that_it_is_ready_is_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { notified: folder.path().join("notified"), ..Place::default() };
    assert_eq!(why(ask(Check::Notify, &place).await), "it has not said READY=1 to its NOTIFY_SOCKET");
    File::create(&place.notified).expect("made");
    assert_eq!(ask(Check::Notify, &place).await, Answer::Good);
}

#[tokio::test]
async fn a_heartbeat_is_good_while_it_is_young() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { heartbeat: folder.path().join("heartbeat"), ..Place::default() };
    let beat = || Check::Heartbeat { within: Duration::from_secs(60) };
    assert_eq!(why(ask(beat(), &place).await), "it has not touched its heartbeat yet");
    let file = File::create(&place.heartbeat).expect("made");
    assert_eq!(ask(beat(), &place).await, Answer::Good);
    file.set_modified(SystemTime::now() - Duration::from_secs(61)).expect("set");
    assert!(why(ask(beat(), &place).await).starts_with("it last touched its heartbeat 61 s ago"));
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).expect("set");
    assert_eq!(ask(beat(), &place).await, Answer::Good, "a clock was set back");
}
