//! What is refused, and how: three parts, the right exit code, nothing on stdout.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use crate::program::{folder, nobody, program, run};

#[test]
fn nobody_at_the_address_is_exit_code_5_with_what_to_do() {
    let here = folder();
    let address = nobody();
    for command in [
        vec!["status"],
        vec!["history"],
        vec!["hosts", "list"],
        vec!["clean", "shop"],
        vec!["logs", "shop"],
        vec!["deploy", "shop", "--plan"],
        vec!["rollback", "shop", "--yes"],
        vec!["promote", "shop"],
        vec!["pause", "shop"],
        vec!["resume", "shop"],
        vec!["abort", "shop"],
    ] {
        let ran = run(here.path(), &[command.as_slice(), &["--controller", &address]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{command:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: cannot "), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("because: cannot reach the controller at http://127.0.0.1:"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("\n  next: "), "{}", ran.stderr);
    }
}

#[test]
fn an_error_is_json_when_json_was_asked_for() {
    let here = folder();
    let ran = run(here.path(), &["status", "--json", "--controller", &nobody()]);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).expect("JSON");
    assert_eq!(error["exit"], 5);
    assert_eq!(error["error"], "cannot read the status");
    let usage = run(here.path(), &["status", "--json", "--wrong"]);
    let error: serde_json::Value = serde_json::from_str(&usage.stderr).expect("JSON");
    assert_eq!((usage.code, &error["exit"]), (2, &serde_json::json!(2)));
}

#[test]
fn a_bad_name_is_refused_before_anything_is_asked() {
    let here = folder();
    for bad in
        ["shop@a/b", "shop@..", "shop@1..2", "shop@a b", "shop@a\x1b[2J", "shop@", "Shop", "shop@sha256:12"]
    {
        let ran = run(here.path(), &["deploy", bad]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{bad:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert!(!ran.stderr.contains('\x1b'), "{:?}", ran.stderr);
    }
}

#[test]
fn a_version_with_a_slash_says_what_is_allowed() {
    insta::assert_snapshot!(run(folder().path(), &["deploy", "shop@a/b"]).stderr);
}

#[test]
fn a_missing_app_says_where_it_looked() {
    let ran = run(folder().path(), &["deploy"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn a_token_file_that_is_not_there_is_named() {
    let ran = run(folder().path(), &["status", "--token-file", "nowhere"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn an_unknown_command_is_exit_code_2() {
    let ran = run(folder().path(), &["deplyo"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("deploy"), "{}", ran.stderr);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    use std::process::Stdio;
    let here = folder();
    let mut command = crate::program::program(here.path());
    let mut child = command.args(["completions", "zsh"]).stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_machine_without_certificate_authorities_talks_to_its_own_controller() {
    let here = folder();
    for scheme in ["http:", "https:"] {
        let address = nobody().replace("http:", scheme);
        let mut command = program(here.path());
        command.args(["status", "--controller", &address]);
        command.env("SSL_CERT_FILE", "none").env("SSL_CERT_DIR", "none");
        let ended = command.output().expect("the program starts");
        assert_eq!(ended.status.code(), Some(5), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn the_token_of_the_data_directory_is_shown_to_no_other_controller() {
    let here = folder();
    let data = here.path().join(".footplate");
    std::fs::create_dir(&data).expect("a folder");
    crate::program::write_secret(&data.join("token"), "a-token-for-one-controller-alone");
    let context = format!("controller = {:?}\ntoken_file = \"token\"\n", nobody());
    std::fs::write(data.join("context.toml"), context).expect("a file");
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", stranger.local_addr().expect("bound"));
    let asked = std::thread::spawn(move || {
        let (connection, _) = stranger.accept().expect("a connection");
        let lines = BufReader::new(connection).lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    });
    run(here.path(), &["status", "--controller", &address]);
    let asked = asked.join().expect("it was asked");
    assert!(asked.starts_with("GET ") && !asked.contains("a-token-for-one"), "{asked}");
}
