//! A store and a controller, and no host yet.

use crate::site::Site;

#[test]
fn a_version_is_pushed_once_and_shown() {
    let site = Site::start();
    assert!(site.done(&["status"]).starts_with("No such app yet."));
    assert!(site.done(&["hosts", "list"]).starts_with("No host has joined yet."));
    let pushed = site.push("1", "one", "true");
    assert_eq!(pushed.code, 0, "{}", pushed.stderr);
    assert!(pushed.stdout.starts_with("hello 1 is there: "), "{}", pushed.stdout);
    assert_eq!(site.push("1", "one", "true").code, 0, "the same twice is fine");
    let other = site.push("1", "two", "true");
    assert_eq!(other.code, 3, "{}{}", other.stdout, other.stderr);
}

#[test]
fn what_does_not_exist_is_refused_and_nothing_changes() {
    let site = Site::start();
    let unknown_app = site.run(&["deploy", "nobody@1"]);
    assert_eq!((unknown_app.code, unknown_app.stdout.as_str()), (3, ""), "{}", unknown_app.stderr);
    assert!(unknown_app.stderr.contains("nobody"), "{}", unknown_app.stderr);
    assert_eq!(site.push("1", "one", "true").code, 0);
    let unknown_version = site.run(&["deploy", "hello@9"]);
    assert_eq!(unknown_version.code, 3, "{}", unknown_version.stderr);
    assert!(unknown_version.stderr.contains("  next: "), "{}", unknown_version.stderr);
    for order in ["promote", "pause", "resume", "abort"] {
        let ran = site.run(&[order, "hello"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{order}: {}", ran.stderr);
    }
    assert_eq!(site.run(&["rollback", "hello", "--yes"]).code, 3);
    assert_eq!(site.run(&["clean", "hello", "--release", "9"]).code, 3);
    assert_eq!(site.run(&["hosts", "remove", "web-9"]).code, 3);
}

#[test]
fn a_wrong_token_is_refused() {
    let site = Site::start();
    let token = site.folder().join("wrong");
    std::fs::write(&token, "0123456789012345678901234567890123456789").expect("a file");
    let ran = crate::program::run(
        site.folder(),
        &["status", "--controller", &site.controller, "--token-file", "wrong"],
    );
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(!ran.stderr.contains("012345"), "{}", ran.stderr);
}

#[test]
fn missing_hosts_are_waited_for_until_the_deadline() {
    let site = Site::start();
    assert_eq!(site.push("1", "one", "true").code, 0);
    let ran = site.run(&["deploy", "hello@1", "--nodes", "2", "--prepare-deadline", "1s"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("2 more hosts"), "{}", ran.stderr);
}

#[test]
fn a_role_ends_well_when_it_is_told_to() {
    let mut site = Site::start();
    for role in site.roles.drain(..) {
        assert!(role.stop());
    }
}

#[test]
fn a_public_address_without_tls_and_tokens_is_refused() {
    let here = crate::program::folder();
    for arguments in [
        ["store", "serve", "--listen", "0.0.0.0:0", "--folder", "x"],
        ["controller", "--listen", "0.0.0.0:0", "--folder", "x", "--verbose"],
    ] {
        let ran = crate::program::run(here.path(), &arguments);
        assert!(matches!(ran.code, 1 | 3), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("  because: ") && ran.stderr.contains("  next: "), "{}", ran.stderr);
    }
    let store = ["controller", "--store", "http://203.0.113.9:8500", "--folder", "x"];
    let ran = crate::program::run(here.path(), &store);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("use https and a token"), "{}", ran.stderr);
}
