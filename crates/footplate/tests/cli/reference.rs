//! The reference pages are equal to the program.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use footplate::config::agent::AgentFile;
use footplate::config::app::AppConfig;
use footplate::config::controller::ControllerFile;
use footplate::config::table::Findings;
use footplate_core::generation::Generation;
use footplate_core::name::{GroupName, HostName, ReleaseId, Target, TargetName};
use footplate_core::record::{Key, Written};
use footplate_core::release::{Reach, Sticky};
use footplate_core::traffic::{
    Busy, Canary, Endpoint, EndpointState, Followed, Following, Route, RouterReport, Traffic,
};
use footplate_drivers::discovery::{self, Reason, consul};

use crate::program::{folder, run};

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
}

#[test]
fn the_command_line_reference_is_equal_to_the_program() {
    let project = folder();
    assert_eq!(run(project.path(), &["generate-docs"]).code, 0);
    let generated = project.path().join("docs");
    let mut pages = vec!["reference/cli.md".to_owned()];
    let written = std::fs::read_dir(generated.join("man")).expect("man pages");
    pages.extend(written.map(|page| format!("man/{}", page.expect("readable").file_name().display())));
    for page in &pages {
        let program = std::fs::read_to_string(generated.join(page)).expect("generated");
        let kept = std::fs::read_to_string(docs().join(page)).unwrap_or_default();
        assert!(
            program == kept,
            "docs/{page} differs from the program: run `cargo run -p footplate -- generate-docs`"
        );
    }
    let kept = std::fs::read_dir(docs().join("man")).expect("man pages").count();
    assert_eq!(kept + 1, pages.len(), "docs/man holds a page of a command that is gone");
}

#[test]
fn the_reference_configuration_is_valid_and_names_every_key() {
    let text = include_str!("../../../../docs/reference/footplate.toml");
    let mut named = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for text in [text.to_owned(), with_scripts(text), with_an_accepting_command(text)] {
        let findings = Findings::default();
        AppConfig::parse_with("docs/reference/footplate.toml", &text, &findings)
            .unwrap_or_else(|mistakes| panic!("{}", mistakes.render()));
        asked.extend(findings.asked());
        named.extend(findings.named());
    }
    // An environment may say what stands for all of them; it need not be shown twice.
    let is_shown = |key: &String| {
        let everywhere = key.strip_prefix("environments.*.");
        everywhere
            .is_some_and(|key| (key.starts_with("kpi.") || key.starts_with("gate.")) && named.contains(key))
    };
    let missing: Vec<_> = asked.difference(&named).filter(|key| !is_shown(key)).collect();
    assert!(missing.is_empty(), "docs/reference/footplate.toml does not name {missing:?}");
}

#[test]
fn the_reference_files_of_the_roles_are_valid_and_name_every_key() {
    for file in ["agent.toml", "controller.toml"] {
        let path = docs().join("reference").join(file);
        for text in with_each_router(&std::fs::read_to_string(&path).expect("the reference")) {
            let findings = Findings::default();
            let parsed = match file {
                "agent.toml" => AgentFile::parse_with(file, &text, Path::new(""), &findings).map(drop),
                _ => ControllerFile::parse_with(file, &text, Path::new(""), &findings).map(drop),
            };
            parsed.unwrap_or_else(|mistakes| panic!("{}", mistakes.render()));
            let (asked, named) = (findings.asked(), findings.named());
            let missing: Vec<_> = asked.difference(&named).collect();
            assert!(missing.is_empty(), "docs/reference/{file} does not name {missing:?}");
        }
    }
}

#[test]
fn the_page_of_routes_shows_what_is_stored() {
    let page = include_str!("../../../../docs/reference/routes.md");
    let id = |text: &str| text.parse::<ReleaseId>().expect("a release");
    let endpoint = |port: u16, state| Endpoint { address: format!("10.0.0.7:{port}"), state, weight: 100 };
    let states = [(id("1.4.1"), EndpointState::Serving), (id("1.4.2"), EndpointState::Standby)];
    let endpoints = (20_000..).zip(states).map(|(port, (id, state))| (id, endpoint(port, state)));
    let route = Route { endpoints: endpoints.collect() };
    let validity = Duration::from_secs(60);
    let share = "5%".parse().expect("a share");
    let groups = ["web".parse().expect("a group")].into();
    let canary = Canary { release: id("1.4.2"), share, groups, validity, renewed: 89_500_001 };
    let sticky = Sticky::Cookie { name: "session".to_owned(), give: true };
    let entrances = ["shop.example.com/".parse().expect("an entrance")].into();
    let web: GroupName = "web".parse().expect("a group");
    let traffic = Traffic {
        revision: Generation::new(1, 42),
        canary: Some(canary),
        groups: [(web.clone(), Reach { entrances, sticky: Some(sticky), ..Reach::default() })].into(),
        salt: "production.shop.7".to_owned(),
    };
    let target: TargetName = "production.shop.web".parse().expect("a target");
    let host: HostName = "web-1".parse().expect("a host");
    let busy = [Busy { target: Target { host: host.clone(), group: web }, release: id("1.4.1") }].into();
    let followed = Followed { revision: Generation::new(1, 42), busy };
    let report = RouterReport { apps: vec![Following { path: target.path.clone(), followed }] };
    let written = [
        serde_json::to_string_pretty(&Written(&route)),
        serde_json::to_string_pretty(&Written(&traffic)),
        serde_json::to_string_pretty(&Written(&report)),
    ];
    for record in written.map(|written| written.expect("plain data")) {
        assert!(page.contains(&format!("```json\n{record}\n```")), "{record}");
    }
    for key in [Key::Route(target.clone(), host), Key::Traffic(target.path)] {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
    for state in [EndpointState::Standby, EndpointState::Serving, EndpointState::Draining] {
        let word = serde_json::to_value(state).expect("a word");
        assert!(page.contains(&format!("| `{}` |", word.as_str().expect("a word"))), "{word}");
    }
}

#[test]
fn the_page_of_services_in_consul_names_every_state_and_every_default() {
    let page = include_str!("../../../../docs/reference/discovery.md");
    for reason in [Reason::Standby, Reason::Draining, Reason::Unready, Reason::NoShare] {
        assert!(page.contains(&format!("| `{}` | no |", reason.word())), "{}", reason.word());
    }
    let target = "production.shop.web".parse().expect("a target");
    let name = discovery::service_name(discovery::NAME_DEFAULT, &target);
    assert!(page.contains(&format!("by default `{name}`")), "{name}");
    for target in ["production.my-shop.web", "production.shop.web_site"] {
        let name = discovery::service_name(discovery::NAME_DEFAULT, &target.parse().expect("a target"));
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
    assert!(page.contains(&format!("The agent is `{}`", consul::AGENT_SERVICE)));
    let parsed =
        AgentFile::parse("agent.toml", "[discovery]", Path::new("")).expect("all of it has defaults");
    let store = footplate_drivers::store::Config::new("http://127.0.0.1:8500").expect("an address");
    let settled = parsed.discovery.expect("the table").settle(&store).expect("the store is a Consul");
    assert_eq!((settled.ttl.as_secs(), settled.drain.as_secs()), (60, 5), "as the page and agent.toml say");
}

/// Returns the page as often as it has a table `[router]`, in comments or not, each time with one of them.
fn with_each_router(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.strip_prefix("#| ").unwrap_or(line));
    let mut tables: Vec<String> = Vec::new();
    for line in lines {
        if tables.is_empty() || line.starts_with('[') {
            tables.push(String::new());
        }
        let table = tables.last_mut().expect("there is one");
        table.push_str(line);
        table.push('\n');
    }
    let (routers, others): (Vec<_>, Vec<_>) =
        tables.into_iter().partition(|table| table.starts_with("[router]"));
    match routers.is_empty() {
        true => vec![others.concat()],
        false => routers.iter().map(|router| others.concat() + router).collect(),
    }
}

/// Returns the page with the table of scripts taken out of its comments, and those it excludes taken away.
fn with_scripts(text: &str) -> String {
    let mut kept = String::new();
    let mut excluded = false;
    for line in text.lines() {
        let line = line.strip_prefix("#| ").unwrap_or(line);
        if line.starts_with('[') {
            let of_services = ["service.", "judge]", "kpi."].iter().any(|part| line.contains(part));
            excluded = line == "[build]" || line == "[hooks]" || of_services;
        }
        // Scripts are judged by how they end; the hook tries services.
        if !excluded && !line.starts_with("acceptance ") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The page with the other form of the acceptance hook.
fn with_an_accepting_command(text: &str) -> String {
    text.replace(r#"path = "/ready", status = 200"#, r#"command = "./deploy/accept""#)
}

#[test]
fn every_command_has_help_with_an_example() {
    let reference = std::fs::read_to_string(docs().join("reference/cli.md")).expect("the reference");
    for section in reference.split("\n## ").skip(1) {
        let (name, help) = section.split_once('\n').expect("a heading and a text");
        let groups = help.contains("\nCommands:");
        assert!(groups || help.contains("Examples:"), "the help of `{name}` has no example");
    }
}

#[test]
fn the_readmes_first_command_names_one_program() {
    let readme = include_str!("../../../../README.md");
    assert!(readme.contains("\ncargo run -- up "), "the first command is another one: look at it here too");
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(docs());
    let answer = cargo.output().expect("cargo runs").stdout;
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    let listed = |key: &str| answer[key].as_array().expect("a list").clone();
    let (members, packages) = (listed("workspace_default_members"), listed("packages"));
    let programs: Vec<_> = packages
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .filter_map(|package| package["default_run"].as_str())
        .collect();
    assert_eq!(programs, ["footplate"], "`cargo run` must know what to run");
}

#[test]
fn completions_are_there_for_every_shell() {
    let here = folder();
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(here.path(), &["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("rollback"), "{shell}");
    }
}
