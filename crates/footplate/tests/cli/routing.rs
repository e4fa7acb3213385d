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
