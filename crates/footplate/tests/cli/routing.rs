//! The router as a process: started, told a table, stopped.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::program::{folder, run};
use crate::site::Role;

#[test]
fn a_router_says_where_it_is_and_ends_well() {
    let here = folder();
    let (role, line) = Role::start(
        here.path(),
        &["router", "--listen", "127.0.0.1:0", "--folder", "r"],
        "The router serves at ",
    );
    assert!(line.contains("r/control.sock"), "{line}");
    let mut socket = UnixStream::connect(here.path().join("r/control.sock")).expect("it listens");
    socket.write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    assert!(answer.contains("\"revision\":0"), "{answer}");
    assert!(role.stop());
}

#[test]
fn a_second_router_in_the_folder_takes_over_from_the_first() {
    let here = folder();
    let sign = "The router serves at ";
    let (first, line) =
        Role::start(here.path(), &["router", "--listen", "127.0.0.1:0", "--folder", "r"], sign);
    let address =
        line.split_once(sign).expect("the sign").1.split(';').next().expect("an address").to_owned();
    let (second, line) = Role::start(here.path(), &["router", "--listen", &address, "--folder", "r"], sign);
    assert!(line.contains(&address), "{line}");
    assert!(first.ends(), "the first one has nothing left to do");
    let mut client = std::net::TcpStream::connect(&address).expect("somebody listens");
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(second.stop());
}

#[test]
fn a_certificate_without_its_key_is_a_usage_error() {
    let here = folder();
    let ran =
        run(here.path(), &["router", "--listen", "127.0.0.1:0", "--folder", "r", "--certificate", "a.pem"]);
    assert!(ran.code == 2 && ran.stderr.contains("1 certificates and 0 keys"), "{} {}", ran.code, ran.stderr);
    let ran = run(here.path(), &["router", "--listen", "https://127.0.0.1:0", "--folder", "r"]);
    assert!(ran.code == 3 && ran.stderr.contains("needs a certificate"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn an_address_that_makes_no_sense_is_a_usage_error() {
    let here = folder();
    for (listen, why) in
        [("localhost:80", "no IP address with a port"), ("ftp://127.0.0.1:80", "neither http nor https")]
    {
        let ran = run(here.path(), &["router", "--listen", listen, "--folder", "r"]);
        assert!(ran.code == 2 && ran.stderr.contains(why), "{} {}", ran.code, ran.stderr);
    }
}

#[test]
fn prometheus_is_told_as_the_reference_says_and_finds_the_counts() {
    let reference = include_str!("../../../../docs/reference/router-api.md");
    let between = |text: &'static str, before: &str, after: &str| {
        let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} is in the reference"));
        rest.split_once(after).expect("it ends").0
    };
    let target = between(between(reference, "scrape_configs:", "```"), "targets: [\"", "\"]");
    let told = between(reference, "0.0.0.0:80 --metrics ", "\n```");
    assert_eq!(told, target, "the command and the configuration are about one address");
    let here = folder();
    let (host, _) = target.split_once(':').expect("a port");
    let metrics = format!("{host}:0");
    let flags = ["router", "--listen", "127.0.0.1:0", "--folder", "r", "--metrics", &metrics];
    let (role, line) = Role::start(here.path(), &flags, "Prometheus reads the counts at ");
    let url = line.split_once("counts at http://").expect("an address").1.trim_end_matches(['.', '\n']);
    let (address, path) = url.split_once('/').expect("a path");
    assert_eq!(path, "metrics", "where Prometheus looks unless it is told otherwise");
    let mut client = std::net::TcpStream::connect(address).expect("it listens");
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("answered");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(text.lines().any(|line| line == "footplate_router_connections_open 0"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').expect("a name and a number");
        assert!(name.starts_with("footplate_router_") && number.parse::<f64>().is_ok(), "{line}");
    }
    assert!(role.stop());
    let ran = run(
        here.path(),
        &["router", "--listen", "127.0.0.1:0", "--folder", "r", "--metrics", "192.0.2.7:9180"],
    );
    assert!(ran.code == 3 && ran.stderr.contains("reads the counts in clear"), "{} {}", ran.code, ran.stderr);
}
