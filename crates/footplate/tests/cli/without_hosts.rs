//! A store and a controller, and no host yet.

use crate::site::Site;

#[test]
fn a_version_is_pushed_once_and_shown() {
    let site = Site::start();
    assert!(site.done(&["status"]).starts_with("No such app yet."));
    let unknown = site.run(&["status", "nope"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (3, ""));
    assert!(unknown.stderr.contains("no such app was deployed"), "{}", unknown.stderr);
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
    crate::program::write_secret(&token, "0123456789012345678901234567890123456789");
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
        assert_eq!(ran.code, 3, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("  because: ") && ran.stderr.contains("  next: "), "{}", ran.stderr);
    }
    for (address, next) in [
        ("http://203.0.113.9:8500", "use https, and a token or a user"),
        ("http://10.0.0.5:8500", "insecure_private_network = true"),
    ] {
        let ran = crate::program::run(here.path(), &["controller", "--store", address, "--folder", "x"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("run code on every host") && ran.stderr.contains(next), "{}", ran.stderr);
    }
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let here = crate::program::folder();
    let sign = "The store answers at ";
    let arguments = ["store", "serve", "--listen", "127.0.0.1:0", "--folder", "store", "--tokens"];
    let (_store, said) = crate::site::Role::start(here.path(), &arguments, sign);
    let address = crate::site::address(&said, sign);
    let run = |arguments: &[&str]| {
        let root = ["--store", &address, "--store-token-file", "store/root.token"];
        crate::program::run(here.path(), &[["store", "token"].as_slice(), arguments, &root].concat())
    };
    let made = run(&["create", "--role", "agent", "--host", "web-1"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let text = made.stdout.trim();
    assert!(text.starts_with("fp-"), "{text}");
    assert_eq!(run(&["join", "--uses", "2", "--valid", "2h"]).code, 0);
    let listed = run(&["list"]);
    assert!(listed.stdout.contains("footplate/agents/web-1/"), "{}", listed.stdout);
    assert!(listed.stdout.contains("footplate/agents/{name}/"), "{}", listed.stdout);
    assert!(!listed.stdout.contains(text), "a token is shown once");
    let id = text.split('-').nth(1).expect("fp-ID-SECRET");
    assert_eq!(run(&["revoke", id]).code, 0);
    assert_eq!(run(&["revoke", id]).code, 3, "it is gone");
    assert_eq!(run(&["create", "--role", "agent"]).code, 2, "an agent has a host");
    let nobody = crate::program::run(here.path(), &["store", "token", "list", "--store", &address]);
    assert_eq!(nobody.code, 3, "{}", nobody.stderr);
    assert!(nobody.stderr.contains("root.token"), "{}", nobody.stderr);
}

#[test]
fn a_host_joins_with_nothing_but_an_address_and_a_token() {
    let here = crate::program::folder();
    let sign = "The store answers at ";
    let arguments = ["store", "serve", "--listen", "127.0.0.1:0", "--folder", "store", "--tokens"];
    let (_store, said) = crate::site::Role::start(here.path(), &arguments, sign);
    let address = crate::site::address(&said, sign);
    let root = ["--store", &address, "--store-token-file", "store/root.token"];
    let made = crate::program::run(here.path(), &[["store", "token", "join"].as_slice(), &root].concat());
    crate::program::write_secret(&here.path().join("join.token"), &made.stdout);
    let agent = [
        "agent",
        "--host",
        "web-1",
        "--folder",
        "web-1",
        "--store",
        &address,
        "--join-token-file",
        "join.token",
    ];
    let (_agent, _) =
        crate::site::Role::start(here.path(), &agent, "joined; the host has a credential of its own");
}

#[test]
fn a_site_moves_to_another_store_that_is_empty() {
    let site = Site::start();
    assert_eq!(site.push("1", "one", "true").code, 0);
    let other = Site::start();
    assert_eq!(other.push("1", "one", "true").code, 0);
    let moved = |to: &str| {
        crate::program::run(site.folder(), &["store", "export", to, "--store", &site.store, "--json"])
    };
    let refused = moved(&other.store);
    assert_eq!(refused.code, 3, "a release is there already: {}", refused.stderr);
    let here = crate::program::folder();
    let sign = "The store answers at ";
    let arguments = ["store", "serve", "--listen", "127.0.0.1:0", "--folder", "store"];
    let (_store, said) = crate::site::Role::start(here.path(), &arguments, sign);
    let done = moved(&crate::site::address(&said, sign));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let answer: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert!(answer["keys"].as_u64().is_some_and(|keys| keys > 0), "{answer:#}");
}

#[test]
fn a_policy_is_printed_for_each_store() {
    let here = crate::program::folder();
    for (store, part) in [("consul", "key_prefix"), ("etcd", "etcdctl role"), ("embedded", "\"rules\"")] {
        let ran = crate::program::run(here.path(), &["store", "policy", store, "--role", "controller"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains(part), "{}", ran.stdout);
    }
}
