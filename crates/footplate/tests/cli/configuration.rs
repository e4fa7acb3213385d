//! A mistake in `footplate.toml` is shown with file, line, underline and what would be right.

use crate::program::{folder, run};

fn told(text: &str) -> String {
    let here = folder();
    std::fs::write(here.path().join("footplate.toml"), text).expect("a file");
    let ran = run(here.path(), &["deploy", "--plan"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn every_mistake_is_shown_at_once() {
    insta::assert_snapshot!(told(
        r#"app = "My Shop"

[build]
comand = "make"
output = "../dist"

[hooks]
prepare = { deadline = "ten minutes" }
activated = 7

[rollout]
strategy = "barier"
nodes = -1
hold = "yes"
on_vanished = "goon"

[environments.Production]
hosts = ["web-1"]
"#
    ));
}

#[test]
fn what_comes_later_is_named_as_such() {
    insta::assert_snapshot!(told(
        r#"app = "shop"

[service.web]
command = "node server.js"

[rollout]
strategy = "canary"
ramp = ["1%"]

[kpi.errors]
source = "router"
"#
    ));
}

#[test]
fn a_broken_file_points_at_the_place() {
    insta::assert_snapshot!(told("app = \"shop\"\n[rollout\nhold = true\n"));
}

#[test]
fn files_and_scripts_exclude_each_other() {
    insta::assert_snapshot!(told(
        "app = \"shop\"\n\n[hooks]\nprepare = \"true\"\n\n[command]\ndeploy = [\"true\"]\n"
    ));
}

#[test]
fn an_empty_file_lacks_an_app() {
    insta::assert_snapshot!(told(""));
}

#[test]
fn a_terminal_can_not_be_steered_from_a_file() {
    let text = told("app = \"shop\"\n\"\\u001b[2J\" = 1\n");
    assert!(!text.contains('\x1b'), "{text:?}");
}
