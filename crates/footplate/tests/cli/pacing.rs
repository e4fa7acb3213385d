//! The pace of one rollout, and how requests go, from the command line.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::site::Site;

fn site() -> Site {
    let mut site = Site::start();
    site.start_agents(&["web-1", "web-2"]);
    for version in ["1", "2"] {
        let ran = site.push(version, version, "true");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    site.done(&["deploy", "hello@1"]);
    site
}

#[test]
fn a_deploys_own_pace_is_planned_with_every_undo_and_kept() {
    let site = site();
    let plan =
        site.done(&["deploy", "hello@2", "--plan", "--strategy", "rolling", "--batch", "1", "--watch", "0s"]);
    let steps = "
  2. step 1 of 2: activate `2` on 1 of 2 hosts
     undo: `1` becomes active again on 1 host
  3. step 2 of 2: activate `2` on 1 more (2 of 2 hosts)
     undo: `1` becomes active again on 2 hosts
";
    assert!(plan.contains(steps), "{plan}");
    for flags in [["--batch", "1"].as_slice(), &["--strategy", "canary", "--ramp", "50%,5%"]] {
        let ran = site.run(&[&["deploy", "hello@2"], flags].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("has no batches") || ran.stderr.contains("shares that grow"),
            "{}",
            ran.stderr
        );
    }
    let ran = site.run(&["deploy", "hello@2", "--strategy", "rolling", "--batch", "1", "--watch", "0s"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("step 1 of 2, "), "{}", ran.stderr);
    assert_eq!(site.page("web-2").as_deref(), Some("2"));
}

#[test]
fn top_says_that_there_is_nothing_to_count_and_knows_its_apps() {
    let site = site();
    let shown = site.done(&["top", "--once"]);
    assert!(
        shown.starts_with("footplate top") && shown.contains("no service with an address is up"),
        "{shown}"
    );
    assert_eq!(site.json(&["top", "--once"])["apps"], serde_json::json!([]));
    let refused = site.run(&["top", "hello", "--once"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert_eq!(site.json(&["status"])["traffic"], serde_json::json!([]));
}

/// Stands before a controller and answers with an error whoever asks how requests go; returns its address.
fn hide_traffic(controller: &str) -> String {
    let controller = controller.strip_prefix("http://").expect("a plain address").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        listener.incoming().try_for_each(|client| pass_unless_traffic(client?, &controller))
    });
    format!("http://{address}")
}

fn pass_unless_traffic(mut client: TcpStream, controller: &str) -> std::io::Result<()> {
    let (mut head, mut lines) = (String::new(), BufReader::new(client.try_clone()?));
    while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head)? > 0 {}
    if head.contains("/traffic") {
        let answer = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer.as_bytes());
    }
    let mut server = TcpStream::connect(controller)?;
    // One answer for each connection, so that every request comes by here.
    server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    std::io::copy(&mut server, &mut client).map(drop)
}

#[test]
fn status_says_what_runs_also_when_nobody_says_how_requests_go() {
    let mut site = site();
    site.controller = hide_traffic(&site.controller);
    let ran = site.run(&["status"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("hello in production: 1 on 2 of 2 targets"), "{}", ran.stdout);
    assert!(ran.stderr.contains("how requests go is not known: "), "{}", ran.stderr);
}
