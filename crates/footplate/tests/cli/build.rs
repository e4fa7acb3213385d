//! `footplate build`: commits of a real repository.

use std::path::Path;
use std::process::Command;

use crate::program::{folder, run};
use crate::site::Site;

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false"];
    let mut command = Command::new("git");
    let ran = command.current_dir(folder).args(identity).args(arguments).output().expect("git starts");
    assert!(ran.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Returns a repository with an app in `apps/shop`, whose build copies a page.
fn repository(command: &str) -> tempfile::TempDir {
    let here = folder();
    let app = here.path().join("apps/shop");
    std::fs::create_dir_all(&app).expect("folders");
    let config = format!("app = \"shop\"\n[build]\ncommand = \"{command}\"\noutput = \"dist\"\n");
    std::fs::write(app.join("footplate.toml"), config).expect("a configuration");
    std::fs::write(app.join("page"), "committed").expect("a page");
    git(here.path(), &["init", "--quiet", "--initial-branch=main"]);
    git(here.path(), &["add", "--all"]);
    git(here.path(), &["commit", "--quiet", "-m", "the first"]);
    here
}

#[test]
fn only_what_is_committed_is_built_and_the_same_commit_gives_the_same_bytes() {
    let here = repository("mkdir dist && cp page dist/ && echo $APP $VERSION");
    let app = here.path().join("apps/shop");
    std::fs::write(app.join("page"), "not committed").expect("a change");
    let first = run(&app, &["build", "--version", "1", "--output", "one.tar.zst", "--json"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_eq!(first.stderr, "shop 1\n", "the build's own output goes to stderr");
    let second = run(&app, &["build", "--version", "1", "--output", "two.tar.zst", "--json"]);
    let digest = |text: &str| {
        let answer: serde_json::Value = serde_json::from_str(text).expect("JSON");
        answer["artifact"]["digest"].as_str().expect("a digest").to_owned()
    };
    assert_eq!(digest(&first.stdout), digest(&second.stdout));
    let packed = std::fs::read(app.join("one.tar.zst")).expect("an artifact");
    assert_eq!(packed, std::fs::read(app.join("two.tar.zst")).expect("an artifact"));
    assert_eq!(std::fs::read_to_string(app.join("page")).expect("there"), "not committed");
}

#[test]
fn a_build_that_fails_shows_its_output_and_leaves_no_file() {
    let here = repository("echo no compiler >&2; exit 7");
    let app = here.path().join("apps/shop");
    let ran = run(&app, &["build", "--output", "one.tar.zst"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.starts_with("no compiler\nerror: cannot build "), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("because: the build command failed: it ended with status 7"),
        "{}",
        ran.stderr
    );
    assert!(!app.join("one.tar.zst").exists());
}

#[test]
fn a_commit_or_a_repository_that_is_not_there_is_named() {
    let here = repository("true");
    let unknown = run(here.path(), &["build", "v9"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("has no commit named `v9`"), "{}", unknown.stderr);
    let outside = run(folder().path(), &["build"]);
    assert_eq!(outside.code, 2);
    assert!(outside.stderr.contains("is not a git repository"), "{}", outside.stderr);
}

#[test]
fn a_prepare_hook_that_is_not_shipped_fails_the_build_and_no_host() {
    let here = repository("mkdir dist && cp page dist/ && cp run.sh dist/ || true");
    let app = here.path().join("apps/shop");
    let config = std::fs::read_to_string(app.join("footplate.toml")).expect("there");
    let config = format!("{config}[hooks]\nprepare = \"./run.sh --check\"\n");
    std::fs::write(app.join("footplate.toml"), config).expect("written");
    let build = || {
        git(here.path(), &["add", "--all"]);
        git(here.path(), &["commit", "--quiet", "--allow-empty", "-m", "next"]);
        run(&app, &["build", "--version", "1", "--output", "out.tar.zst"])
    };
    let missing = build();
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("`./run.sh`, which is not among the files"), "{}", missing.stderr);
    std::fs::write(app.join("run.sh"), "#!/bin/sh\n").expect("written");
    let plain = build();
    assert_eq!(plain.code, 1);
    assert!(plain.stderr.contains("not executable"), "{}", plain.stderr);
    git(here.path(), &["update-index", "--chmod=+x", "apps/shop/run.sh"]);
    git(here.path(), &["commit", "--quiet", "-m", "executable"]);
    let ready = run(&app, &["build", "--version", "1", "--output", "out.tar.zst"]);
    assert_eq!(ready.code, 0, "{}", ready.stderr);
}

#[test]
fn the_history_says_who_built_and_pushed_a_commit() {
    let site = Site::start();
    let here = repository("mkdir dist && cp page dist/");
    let app = here.path().join("apps/shop");
    for (version, by, expected) in [("1", None, "ada"), ("2", Some("grace"), "grace")] {
        let mut words = vec!["build", "--push", "--version", version];
        words.extend(by.into_iter().flat_map(|name| ["--as", name]));
        let built = site.run_in(&app, &words);
        assert_eq!(built.code, 0, "{}", built.stderr);
        let history = site.json(&["history", "shop", "--limit", "1"]);
        let [entry] = history.as_array().expect("entries").as_slice() else { panic!("{history:#}") };
        assert_eq!((&entry["kind"], &entry["actor"]), (&"push".into(), &expected.into()), "{history:#}");
        assert!(entry["text"].as_str().is_some_and(|text| text.contains(version)), "{history:#}");
    }
    let shown = site.done(&["history", "shop"]);
    let line = shown.lines().find(|line| line.contains("shop in production") && line.contains("grace"));
    assert!(line.is_some(), "{shown}");
}
