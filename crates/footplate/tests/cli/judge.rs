//! `footplate judge`: by files and by recordings, with its exit codes and what it leaves.

use std::fmt::Write as _;

use crate::program::{folder, run};

/// Writes what a version did in so many seconds: requests, and failures in every so-manieth second.
fn write(
    folder: &std::path::Path,
    name: &str,
    seconds: u64,
    requests: u64,
    failed: impl Fn(u64) -> u64,
) -> String {
    let mut text = "time,requests,errors,durations\n".to_owned();
    for second in 0..seconds {
        let times = "10x50 20x39 30x8 40x2 90";
        writeln!(text, "{},{requests},{},{times}", 1_763_758_074 + second, failed(second))
            .expect("a String takes everything");
    }
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn the_exit_code_is_the_verdict() {
    let place = folder();
    let old = write(place.path(), "old.csv", 300, 900, |second| 4 + second % 2);
    let same = write(place.path(), "same.csv", 300, 100, |second| second % 2);
    let bad = write(place.path(), "bad.csv", 300, 100, |second| 4 + second % 2);
    let short = write(place.path(), "short.csv", 3, 100, |_| 0);
    let judge = |canary: &str, more: &[&str]| {
        let arguments = [&["judge", "--canary", canary, "--baseline", &old], more].concat();
        run(place.path(), &arguments)
    };
    let ran = judge(&bad, &[]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("worse: `errors` is worse") && ran.stdout.contains("times as often"),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("error: the canary is worse than the baseline"), "{}", ran.stderr);
    let ran = judge(&same, &["--independent"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("not worse: proved for `errors`"), "{}", ran.stdout);
    let ran = judge(&short, &[]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("unknown:"), "{}", ran.stdout);
}

#[test]
fn a_recording_is_judged_again_with_the_same_result_and_the_page_is_whole() {
    let place = folder();
    let old = write(place.path(), "old.csv", 120, 900, |_| 4);
    let bad = write(place.path(), "bad.csv", 120, 100, |_| 6);
    let ran = run(
        place.path(),
        &[
            "judge",
            "--canary",
            &bad,
            "--baseline",
            &old,
            "--save",
            "kept.json",
            "--html",
            "page.html",
            "--json",
        ],
    );
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    let first: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let ran = run(place.path(), &["judge", "--recording", "kept.json", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((ran.code, &again["verdict"]), (1, &first["verdict"]));
    let page = std::fs::read_to_string(place.path().join("page.html")).expect("the page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<strong>Worse</strong>") && !page.contains("<script"));
}

#[test]
fn what_cannot_be_judged_is_answered_with_what_why_and_next() {
    let place = folder();
    let old = write(place.path(), "old.csv", 30, 900, |_| 4);
    std::fs::write(place.path().join("late.csv"), "time,requests,errors\n1800000000,1,0\n").expect("a file");
    std::fs::write(place.path().join("wrong.csv"), "time,requests,errors\n1800000000,1,2\n").expect("a file");
    for (arguments, because) in [
        (vec!["--canary", "late.csv", "--baseline", &old], "they are of different times"),
        (vec!["--canary", "wrong.csv", "--baseline", &old], "line 2: 2 errors of 1 requests"),
        (vec!["--canary", "none.csv", "--baseline", &old], "No such file"),
        (vec!["--canary", &old], "there is no --baseline"),
        (
            vec!["--canary", &old, "--baseline", &old, "--not-worse-than", "1x"],
            "equality can never be proved",
        ),
        (vec!["--recording", &old], "at line 1 column"),
        (
            vec!["--prometheus", "http://127.0.0.1:1", "--canary", "x", "--limit", "1"],
            "neither --from nor --watch",
        ),
        (vec![], "required arguments were not provided"),
    ] {
        let ran = run(place.path(), &[vec!["judge"], arguments.clone()].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(because) && ran.stderr.contains("next:"),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
    let gone =
        ["judge", "--prometheus", "http://127.0.0.1:1", "--canary", "x", "--limit", "1", "--from", "10m"];
    let ran = run(place.path(), &gone);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("does not answer"), "{}", ran.stderr);
}
