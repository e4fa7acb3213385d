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

[rollout]
strategy = "canary"
ramp = ["1%"]

[notify]
email = "ann@example.org"
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

#[test]
fn every_mistake_in_a_service_is_shown_at_once() {
    insta::assert_snapshot!(told(
        r#"app = "shop"

[service.Web]
command = "node server.js"

[service.files]
command = "true"

[service.worker]
comand = "node worker.js"
kind = "wroker"
memory = "512"
cpu = 2
ports = "8080"
directory = "../app"
env = { PORT = "1", "a b" = "2" }

[service.poller]
command = "poll"
every = "5m"
calendar = "0 0 1 * 1"
health = { tcp = true, heartbeat = "30s", liveness = { interval = "1s" } }
stop = { signal = "KILL" }
"#
    ));
}

#[test]
fn who_says_that_it_is_ready_is_asked_for_it_only_when_it_comes_up() {
    let said = told(
        r#"app = "shop"

[service.web]
command = "node server.js"
env = { NOTIFY_SOCKET = "/tmp/mine" }
health = { notify = true, liveness = { notify = true } }

[service.poller]
command = "poll"
every = "5m"
health = { startup = { notify = true } }
"#,
    );
    for expected in [
        "`NOTIFY_SOCKET` is set by footplate",
        "unknown key `service.web.health.liveness.notify`",
        "a scheduled service says to nobody that it is ready",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn services_and_scripts_exclude_each_other() {
    insta::assert_snapshot!(told(
        "app = \"shop\"\n\n[service.web]\ncommand = \"true\"\n\n[command]\ndeploy = [\"true\"]\n"
    ));
}

#[test]
fn every_mistake_about_requests_is_shown_at_once() {
    insta::assert_snapshot!(told(
        r#"app = "shop"

[service.admin]
command = "node admin.js"
kind = "web"
routes = ["https://shop.example.com/", "shop.example.com:8080/", "shop.example.com/api/", "SHOP.example.com/api"]
sticky = { cookie = "a b", give = true, address = true }

[service.web]
command = "node server.js"
routes = ["/shop/../admin", "shop.example.com/api"]
sticky = { header = "user", give = true }

[service.worker]
command = "node worker.js"
routes = ["*/worker"]

[service.blog]
command = "node blog.js"
kind = "web"
routes = ["*/"]
sticky = {}

[environments.staging]
hosts = "role=staging"

[environments.staging.service.web]
routes = ["staging.example.com"]
command = "node staging.js"

[environments.staging.service.worker]
routes = ["*/worker"]

[environments.staging.service.wep]
routes = ["*/"]
"#
    ));
}

#[test]
fn every_mistake_about_the_acceptance_hook_is_shown() {
    insta::assert_snapshot!(told(
        r#"app = "shop"

[service.web]
command = "node server.js"

[rollout]
acceptance = { path = "ready now", status = 99, deadline = "soon", group = "wep" }
"#
    ));
    insta::assert_snapshot!(told(
        r#"app = "shop"

[rollout]
acceptance = { command = "./accept", path = "/ready" }
"#
    ));
    insta::assert_snapshot!(told("app = \"shop\"\n[rollout]\nacceptance = \"./accept\"\n"));
}
