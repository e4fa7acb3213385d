//! A store, a controller and agents: a version goes out, fails, comes back and is cleaned away.

use std::os::unix::fs::PermissionsExt;

use footplate_drivers::service::Supervisor;
use footplate_drivers::service::keeper::Keepers;

use crate::program::run;
use crate::site::{Role, Site};

fn site(hosts: &[&str]) -> Site {
    let mut site = Site::start();
    site.start_agents(hosts);
    site
}

fn push(site: &Site, version: &str, prepare: &str) {
    let ran = site.push(version, &format!("page {version}"), prepare);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Ends the controller; returns the flags of a command that hosts its own.
fn without_controller(site: &mut Site) -> [String; 4] {
    assert!(site.roles.remove(1).stop(), "the controller ends well");
    let config =
        format!("listen = \"127.0.0.1:0\"\nfolder = \"controller\"\n[store]\naddress = \"{}\"\n", site.store);
    std::fs::write(site.folder().join("controller.toml"), config).expect("a file");
    ["--controller", &site.controller, "--controller-config", "controller.toml"].map(str::to_owned)
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn a_version_goes_to_every_host_and_comes_back() {
    let site = site(&["web-1", "web-2"]);
    push(&site, "1", "echo checked $RELEASE on $HOST");
    let plan = site.done(&["deploy", "hello@1", "--plan"]);
    assert!(
        plan.starts_with("deploy hello in production, rollout 1: nothing -> 1\n  targets: 2 ("),
        "{plan}"
    );
    assert_eq!(site.page("web-1"), None, "a plan changes nothing");

    let first = site.run(&["deploy", "hello@1"]);
    assert_eq!((first.code, first.stdout.as_str()), (0, ""), "{}", first.stderr);
    assert!(first.stderr.contains("web-1/files"), "one line a host: {}", first.stderr);
    push(&site, "2", "true");
    let second = site.json(&["deploy", "hello"]);
    assert_eq!((&second["ended"], &second["exit_code"]), (&true.into(), &0.into()), "{second:#}");
    for host in ["web-1", "web-2"] {
        assert_eq!(site.page(host).as_deref(), Some("page 2"));
    }
    let status = site.done(&["status", "hello"]);
    assert!(status.starts_with("hello in production: 2 on 2 of 2 targets, since "), "{status}");

    let asked = site.run(&["rollback", "hello"]);
    assert_eq!(asked.code, 3, "nobody is there to agree: {}", asked.stderr);
    assert!(asked.stderr.contains("go from 2 back to 1"), "{}", asked.stderr);
    site.done(&["rollback", "hello", "--yes", "--reason", "the colour"]);
    assert_eq!(site.page("web-2").as_deref(), Some("page 1"));
    let history = site.done(&["history", "hello"]);
    assert!(history.contains("ada"), "{history}");
    let logs = site.done(&["logs", "hello", "--host", "web-1"]);
    assert!(logs.contains("checked 1 on web-1"), "{logs}");
}

#[test]
fn what_hooks_printed_is_read_as_lines_of_json_and_the_newest_alone() {
    let site = site(&["web-1", "web-2"]);
    for version in ["1", "2", "3"] {
        push(&site, version, "echo checked $RELEASE");
        site.done(&["deploy", &format!("hello@{version}")]);
    }
    let logs = |arguments: &[&str]| -> Vec<String> {
        let text = site.done(&[&["logs", "hello", "--host", "web-1", "--json"], arguments].concat());
        let entry = |line| serde_json::from_str::<serde_json::Value>(line).expect("a line is an object");
        text.lines().map(|line| entry(line)["text"].as_str().expect("a text").trim().to_owned()).collect()
    };
    site.eventually(&["status", "hello"], |_| logs(&[]).len() == 3);
    assert_eq!(logs(&[]), ["checked 1", "checked 2", "checked 3"]);
    assert_eq!(logs(&["--lines", "2"]), ["checked 2", "checked 3"]);
    assert_eq!(logs(&["--lines", "9"]), logs(&[]));
    assert_eq!(logs(&["--failed", "--lines", "2"]), [""; 0]);
}

#[test]
fn a_failing_hook_changes_nothing_and_says_why() {
    let site = site(&["web-1", "web-2"]);
    push(&site, "1", "true");
    site.done(&["deploy", "hello@1"]);
    push(&site, "2", "echo the page is cut off; exit 3");
    let ran = site.run(&["deploy", "hello@2"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    for part in [
        "error: `hello` in production does not run 2",
        "the page is cut off",
        "  next: `footplate logs hello",
    ] {
        assert!(ran.stderr.contains(part), "{part:?} is missing in {}", ran.stderr);
    }
    assert_eq!(site.page("web-1").as_deref(), Some("page 1"));
    let newest = site.done(&["logs", "hello", "--lines", "1", "--host", "web-1"]);
    assert!(newest.matches("\n--- ").count() == 0 && newest.starts_with("--- "), "{newest}");
    for none in [["logs", "hello", "--lines", "0"], ["history", "hello", "--limit", "0"]] {
        let refused = site.run(&none);
        assert!(refused.code == 2 && refused.stderr.contains("0 is not in 1.."), "{}", refused.stderr);
    }
    let failed = site.done(&["logs", "hello", "--failed"]);
    assert!(failed.contains("FAILED") && failed.contains("the page is cut off"), "{failed}");
}

#[test]
fn a_rollout_that_holds_waits_for_a_person() {
    let site = site(&["web-1"]);
    push(&site, "1", "true");
    site.done(&["deploy", "hello@1", "--hold", "--detach"]);
    let holds =
        |answer: &serde_json::Value| answer["apps"][0]["rollout"]["record"]["phase"]["phase"] == "holding";
    site.eventually(&["status", "hello"], holds);
    assert!(site.done(&["status"]).contains("footplate promote hello"), "{}", site.done(&["status"]));
    assert_eq!(site.page("web-1"), None);
    site.done(&["pause", "hello", "--reason", "lunch"]);
    site.done(&["resume", "hello"]);
    site.done(&["promote", "hello"]);
    assert_eq!(site.page("web-1").as_deref(), Some("page 1"));

    push(&site, "2", "true");
    site.done(&["deploy", "hello@2", "--hold", "--detach"]);
    site.eventually(&["status", "hello"], holds);
    let second = site.run(&["deploy", "hello@1"]);
    assert_eq!(second.code, 3, "another rollout is under way: {}", second.stderr);
    site.done(&["abort", "hello", "--reason", "wrong branch"]);
    site.eventually(&["status", "hello"], |answer| answer["apps"][0]["rollout"]["ended"] == true);
    assert_eq!(site.page("web-1").as_deref(), Some("page 1"));
}

#[test]
fn a_cordoned_host_is_left_out_and_says_so() {
    let site = site(&["web-1", "web-2"]);
    push(&site, "1", "true");
    let cordoned = site.done(&["hosts", "cordon", "web-2", "--reason", "disk is failing"]);
    assert!(cordoned.contains("disk is failing"), "{cordoned}");
    let plan = site.done(&["deploy", "hello@1", "--plan"]);
    assert!(plan.contains("left out: web-2"), "{plan}");
    site.done(&["deploy", "hello@1"]);
    assert_eq!((site.page("web-1").is_some(), site.page("web-2")), (true, None));
    site.done(&["hosts", "uncordon", "web-2"]);
    site.eventually(&["status", "hello"], |_| site.page("web-2").is_some());
    push(&site, "2", "true");
    site.done(&["hosts", "cordon", "web-2", "--as", "ann"]);
    let deployed = site.run(&["deploy", "hello@2"]);
    assert_eq!(deployed.code, 0, "{}", deployed.stderr);
    assert!(
        deployed.stderr.contains("left out: web-2/files, with `1`: cordoned by ann"),
        "{}",
        deployed.stderr
    );
    site.done(&["hosts", "drain", "web-1"]);
    assert_eq!(site.run(&["hosts", "remove", "web-1"]).code, 3, "its agent is alive");
}

#[test]
fn old_releases_are_cleaned_and_the_current_one_is_not() {
    let site = site(&["web-1"]);
    for version in ["1", "2", "3", "4", "5"] {
        push(&site, version, "true");
        site.done(&["deploy", &format!("hello@{version}")]);
    }
    let plan = site.json(&["clean", "hello", "--plan"]);
    assert_eq!(plan["plan"], true);
    site.done(&["clean", "hello"]);
    let versions = site.folder().join("web-1/apps/production/hello/versions");
    site.eventually(&["status"], |_| !versions.join("1").exists());
    assert!(versions.join("5").exists() && versions.join("4").exists());
    let refused = site.run(&["clean", "hello", "--release", "5"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("it is what runs"), "{}", refused.stderr);
}

#[test]
fn with_no_controller_a_deploy_hosts_its_own() {
    let mut site = site(&["web-1"]);
    push(&site, "1", "true");
    let alone = without_controller(&mut site);
    let ran = run(site.folder(), &[["deploy", "hello@1"].as_slice(), &strs(&alone)].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("No controller runs; hosting one here"), "{}", ran.stderr);
    assert_eq!(site.page("web-1").as_deref(), Some("page 1"));
}

#[test]
fn a_deploy_killed_with_its_own_controller_leaves_a_rollout_that_the_next_one_finishes_first() {
    let mut site = site(&["web-1"]);
    let gate = site.folder().join("let-go");
    push(&site, "1", "true");
    push(&site, "2", &format!("while ! test -e {}; do sleep 0.05; done", gate.display()));
    push(&site, "3", "true");
    let alone = without_controller(&mut site);
    let alone = strs(&alone);
    let go = |arguments: &[&str]| run(site.folder(), &[arguments, &alone].concat());
    assert_eq!(go(&["deploy", "hello@1"]).code, 0);
    let killed = [["deploy", "hello@2"].as_slice(), &alone].concat();
    drop(Role::start(site.folder(), &killed, "waiting for web-1").0);

    let status = go(&["status"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("rollout 2 to 2"), "{}", status.stdout);
    assert!(status.stdout.contains("unattended: no controller acts"), "{}", status.stdout);
    std::fs::write(&gate, "").expect("written");
    let next = go(&["deploy", "hello@3"]);
    assert_eq!(next.code, 0, "{}", next.stderr);
    let first = "Left unattended, and goes on first: hello in production, rollout 2 to 2.";
    assert!(next.stderr.contains(first), "{}", next.stderr);
    assert!(next.stderr.contains("`production.hello` runs `2`"), "{}", next.stderr);
    assert_eq!(site.page("web-1").as_deref(), Some("page 3"));

    assert!(site.roles.pop().expect("the store").stop());
    let blind = run(site.folder(), &[["status"].as_slice(), &alone].concat());
    assert_eq!((blind.code, blind.stdout.as_str()), (5, ""), "{}", blind.stderr);
    assert!(blind.stderr.contains("cannot read the store"), "{}", blind.stderr);
}

#[test]
fn the_doctor_finds_a_sound_site_well() {
    let site = site(&["web-1"]);
    let ran = site.run(&["doctor"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for part in [
        "well  controller: ",
        "well  clock: ",
        "well  store: ",
        "well  token file: ",
        "well  clocks of the hosts: none of 1 is ahead",
        "disks of the hosts: ",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} is missing in {}", ran.stdout);
    }
}

#[test]
fn the_doctor_finds_a_wrong_token() {
    let site = Site::start();
    let wrong = site.folder().join("wrong");
    std::fs::write(&wrong, "0123456789012345678901234567890123456789").expect("a file");
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let arguments = ["doctor", "--controller", &site.controller, "--token-file", "wrong"];
    let ran = run(site.folder(), &arguments);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("SICK  token: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("next: give the file with the controller's token"), "{}", ran.stdout);
}

#[test]
fn an_interrupt_stops_the_watching_and_not_the_rollout() {
    let site = site(&["web-1"]);
    push(&site, "1", "true");
    let arguments =
        ["deploy", "hello@1", "--hold", "--controller", &site.controller, "--token-file", "controller/token"];
    let (role, _) = Role::start(site.folder(), &arguments, "footplate promote hello");
    assert_eq!(role.interrupt(), 130);
    let status = site.json(&["status", "hello"]);
    assert_eq!(status["apps"][0]["rollout"]["ended"], false, "{status:#}");
    site.done(&["promote", "hello"]);
    assert_eq!(site.page("web-1").as_deref(), Some("page 1"));
}

/// Stops the services of a host: they outlive its agent.
struct Kept(std::path::PathBuf);

impl Drop for Kept {
    fn drop(&mut self) {
        let keepers = Keepers::new(&self.0, env!("CARGO_BIN_EXE_footplate").into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for status in keepers.list().await.unwrap_or_default() {
                drop(keepers.stop(&status.name).await);
            }
        });
    }
}

#[test]
fn an_agent_whose_folder_is_relative_starts_services() {
    let site = site(&["web-1"]);
    let app = site.app("page 1", "true");
    let config = "app = \"hello\"\n[build]\noutput = \"site\"\n[service.work]\ncommand = \"exec sleep 1000\"\n\
                  [rollout]\nstrategy = \"rolling\"\n[environments.production]\nhosts = \"*\"\n";
    std::fs::write(app.join("footplate.toml"), config).expect("a configuration");
    let _kept = Kept(site.folder().join("web-1/services"));
    site.done(&["push", "--app-folder", &app.display().to_string(), "--version", "1"]);
    let ran = site.run(&["deploy", "hello@1"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
