//! What users had and was taken back halts the gate: it lets the fix pass, and opens for whoever says the cause.

use crate::program::Ran;
use crate::site::Site;

fn site() -> Site {
    let mut site = Site::start();
    site.start_agents(&["web-1"]);
    site
}

/// Pushes a version whose activated hook is this command.
fn push(site: &Site, version: &str, activated: &str) {
    let app = site.app(&format!("page {version}"), "true");
    let file = app.join("footplate.toml");
    let config = std::fs::read_to_string(&file).expect("it was just written");
    let config = config.replace("[hooks]\n", &format!("[hooks]\nactivated = \"{activated}\"\n"));
    std::fs::write(&file, config).expect("a file");
    site.done(&["push", "--app-folder", &app.display().to_string(), "--version", version]);
}

fn refused(ran: &Ran, parts: &[&str]) {
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "{part:?} is missing in {}", ran.stderr);
    }
}

#[test]
fn a_bad_version_halts_the_gate_until_somebody_says_why() {
    let site = site();
    push(&site, "1", "true");
    site.done(&["deploy", "hello@1"]);
    assert!(site.done(&["gate", "hello", "--check"]).contains("gate of hello in production: open"));
    push(&site, "2", "echo the basket is empty; exit 7");
    assert_eq!(site.run(&["deploy", "hello@2"]).code, 1);
    assert_eq!(site.page("web-1").as_deref(), Some("page 1"), "it was taken back");

    let checked = site.run(&["gate", "hello", "--check"]);
    refused(&checked, &["error: the gate of `production.hello` is closed"]);
    for part in ["rollout 2 to `2` was taken back", "| the basket is empty", "`footplate logs hello`"] {
        assert!(checked.stdout.contains(part), "{part:?} is missing in {}", checked.stdout);
    }
    push(&site, "3", "true");
    let words = [
        "error: cannot deploy `3` of `production.hello`",
        "its gate is closed: it is halted since",
        "web-1/files could not activate `2`",
        "`footplate gate open hello`",
        "`footplate deploy hello --fix`",
    ];
    refused(&site.run(&["deploy", "hello@3"]), &words);
    refused(&site.run(&["deploy", "hello@3", "--plan"]), &words);

    site.done(&["deploy", "hello@3", "--fix"]);
    assert_eq!(site.page("web-1").as_deref(), Some("page 3"));
    let status = site.done(&["status", "hello"]);
    assert!(
        status.contains("gate closed: it is halted") && status.contains("the fix has arrived"),
        "{status}"
    );
    push(&site, "4", "true");
    refused(&site.run(&["deploy", "hello@4"]), &["the fix has arrived (rollout 3 to `3`)"]);

    let silent = site.run(&["gate", "open", "hello"]);
    assert_eq!(silent.code, 2, "{}", silent.stderr);
    assert!(silent.stderr.contains("nobody has said yet why it happened"), "{}", silent.stderr);
    let untested = site.run(&["gate", "open", "hello", "--why", "the basket was empty"]);
    assert!(untested.code == 2 && untested.stderr.contains("`--test URL-or-path`"), "{}", untested.stderr);
    let why = ["--why", "the basket was empty", "--why", "nobody tried an old session"];
    let opened = site.json(&[&["gate", "open", "hello", "--test", "tests/basket.rs"], &why[..]].concat());
    assert_eq!(opened["is_closed"], false, "{opened:#}");
    assert_eq!(opened["gate"]["opened"]["opening"]["whys"][1], "nobody tried an old session");
    site.done(&["gate", "hello", "--check"]);
    site.done(&["deploy", "hello@4"]);
    let told = |history: &serde_json::Value| {
        let texts: Vec<&str> =
            history.as_array().expect("entries").iter().filter_map(|entry| entry["text"].as_str()).collect();
        let all = texts.join("\n");
        [
            "is halted: rollout 2 to `2`",
            "the fix `3` has arrived",
            "why 2: nobody tried",
            "test: tests/basket.rs",
        ]
        .iter()
        .all(|part| all.contains(part))
    };
    site.eventually(&["history", "hello", "--limit", "100"], told);
    refused(
        &site.run(&["gate", "open", "hello", "--why", "x", "--no-test", "because"]),
        &["it is not halted"],
    );
}

#[test]
fn a_rollback_passes_a_halted_gate_and_halts_it_itself() {
    let site = site();
    for version in ["1", "2", "3"] {
        push(&site, version, "true");
        site.done(&["deploy", &format!("hello@{version}")]);
    }
    site.done(&["rollback", "hello", "--yes", "--reason", "checkout is slow"]);
    let refusal = site.run(&["deploy", "hello@3"]);
    refused(&refusal, &["rollout 3 to `3` was taken back", "rolled it back, because checkout is slow"]);
    site.done(&["rollback", "hello", "--to", "1", "--yes"]);
    assert_eq!(site.page("web-1").as_deref(), Some("page 1"));
}

#[test]
fn locks_and_freezes_keep_others_out_and_say_for_how_long() {
    let site = site();
    for version in ["1", "2", "3", "4"] {
        push(&site, version, "true");
    }
    site.done(&["deploy", "hello@1"]);
    site.done(&["gate", "lock", "hello", "--for", "1h", "--reason", "the sale begins", "--as", "bob"]);
    let words =
        ["bob locked it for another", "the sale begins", "`footplate gate unlock hello --owner 'bob'`"];
    refused(&site.run(&["deploy", "hello@2", "--as", "ada"]), &words);
    refused(&site.run(&["deploy", "hello@2", "--as", "ada", "--fix"]), &["--fix --despite"]);
    site.done(&["deploy", "hello@2", "--as", "bob"]);
    refused(&site.run(&["gate", "unlock", "hello", "--as", "ada"]), &["`ada` has no lock on it"]);
    site.done(&["gate", "unlock", "hello", "--owner", "bob", "--as", "ada"]);
    site.done(&["deploy", "hello@3", "--as", "ada"]);

    let days = "monday,tuesday,wednesday,thursday,friday,saturday,sunday";
    let freeze = ["gate", "freeze", "hello", "--name", "move", "--days", days, "--zone", "Europe/Berlin"];
    site.done(&[&freeze[..], &["--reason", "we move house"]].concat());
    refused(&site.run(&["deploy", "hello@4"]), &["`move` freezes it for another", "we move house"]);
    site.done(&["deploy", "hello@4", "--fix", "--despite", "customers cannot pay"]);
    site.done(&["gate", "unfreeze", "hello", "--name", "move"]);
    site.done(&["gate", "hello", "--check"]);
    let wrong = site.run(&["gate", "lock", "hello", "--until", "tomorrow", "--reason", "x"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("expected a day and a time"), "{}", wrong.stderr);
}
