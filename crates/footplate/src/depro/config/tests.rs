//! How files, environment and flags are read and laid over each other.

use super::*;

fn parse(text: &str) -> Settings {
    Settings::parse(text).expect("a usable file")
}

#[test]
fn names_of_fields_are_read_without_case_and_unknown_ones_ignored() {
    let settings = parse(
        r#"{"Server": "a:1", "PREFIX": "p", "AllowStale": true, "colour": 3, "token": null} {"server": "b:2"}"#,
    );
    assert_eq!(settings.server.as_deref(), Some("a:1"), "only the first value of a file counts");
    assert_eq!(settings.prefix.as_deref(), Some("p"));
    assert_eq!(settings.token, None);
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_place() {
    let error = Settings::parse(r#"{"deployments": [{"id": "a", "deploy": "true"}]}"#).expect_err("no list");
    assert!(error.contains("deployments[0].deploy"), "{error}");
    let error = Settings::parse("{\"a\": \"1\"\n \"b\": 2}").expect_err("a comma is missing");
    assert!(error.contains("line 2"), "{error}");
    assert!(Settings::parse("").is_err());
}

#[test]
fn later_files_win_field_by_field_and_deployments_are_appended() {
    let lower = parse(r#"{"server": "a:1", "token": "t", "nodes": 2, "deployments": [{"id": "1"}]}"#);
    let upper = parse(r#"{"server": "b:2", "token": "", "nodes": 0, "deployments": [{"id": "2"}]}"#);
    let merged = lower.under(upper);
    assert_eq!(merged.server.as_deref(), Some("b:2"));
    assert_eq!(merged.token, Some(Secret::new("t")));
    assert_eq!(merged.nodes, Some(2));
    assert_eq!(merged.deployments.len(), 2);
}

#[test]
fn every_variable_of_the_environment_works() {
    let variables = |name: &str| match name {
        "DEPRO_SERVER" => Some("s:1".to_owned()),
        "CONSUL_HTTP_ADDR" => Some("other:1".to_owned()),
        "CONSUL_HTTP_TOKEN" => Some("t".to_owned()),
        "DEPRO_PREFIX" => Some("p".to_owned()),
        "DEPRO_NAME" => Some("n".to_owned()),
        "DEPRO_AUTH" => Some("u:p:w".to_owned()),
        "DEPRO_DATACENTER" => Some("dc2".to_owned()),
        _ => None,
    };
    let settings = Settings::environment(variables).expect("usable");
    let connection = Connection::from(&settings);
    assert_eq!(connection.server, "s:1");
    assert_eq!(connection.login, Some(("u".to_owned(), Secret::new("p:w"))));
    assert_eq!(connection.token, Some(Secret::new("t")));
    assert_eq!(connection.datacenter.as_deref(), Some("dc2"));
    assert_eq!((settings.prefix.as_deref(), settings.name.as_deref()), (Some("p"), Some("n")));
}

#[test]
fn a_login_without_colon_is_refused_and_not_a_crash() {
    let error =
        Settings::environment(|name| (name == "DEPRO_AUTH").then(|| "user".to_owned())).expect_err("refused");
    assert_eq!(error.code(), 1);
}

#[test]
fn an_agent_takes_its_hosts_name_and_needs_a_deployment() {
    let one = r#"{"deployments": [{"path": "/srv/", "prefix": "/a/", "deploy": [], "rollout": ["true"]}]}"#;
    let config = agent(&parse(one), "host-1").expect("usable");
    assert_eq!(config.name.as_str(), "host-1");
    assert_eq!(config.deployments[0].shell, "bash");
    assert_eq!(config.deployments[0].id, "/a/");
    assert_eq!(config.deployments[0].prefix.to_string(), "a");
    assert_eq!(agent(&parse("{}"), "host-1").expect_err("nothing to do").code(), 1);
}

#[test]
fn a_deployment_that_cannot_work_is_refused_before_anything_runs() {
    for broken in [
        r#"{"prefix": "a", "rollout": ["true"]}"#,
        r#"{"path": "/a", "rollout": ["true"]}"#,
        r#"{"path": "/a", "prefix": "a/../b", "rollout": ["true"]}"#,
        r#"{"path": "/a", "prefix": "a", "rollout": []}"#,
        r#"{"path": "/a", "prefix": "a", "rollout": ["true"], "shell": "cmd"}"#,
        r#"{"path": "/a", "prefix": "a", "rollout": ["true"], "timeout": "soon"}"#,
        r#"{"path": "/a", "prefix": "a", "rollout": ["true"]}, {"path": "/b", "prefix": "/a/", "rollout": ["true"]}"#,
    ] {
        let settings = parse(&format!(r#"{{"deployments": [{broken}]}}"#));
        assert_eq!(agent(&settings, "h").expect_err(broken).code(), 1, "{broken}");
    }
}

#[test]
fn wait_in_a_deploys_file_is_its_timeout_as_in_the_original() {
    let config = command(&parse(r#"{"wait": "20s"}"#)).expect("usable");
    assert_eq!(config.prepare_timeout, Duration::from_secs(20));
    assert_eq!(config.prefix.to_string(), "deploy/versions");
    assert_eq!(config.nodes_min, 1);
    let config = command(&parse("{}")).expect("usable");
    assert_eq!(config.prepare_timeout, PREPARE_TIMEOUT);
}

#[test]
fn a_directory_is_read_by_name_and_not_deeper() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("20.json", r#"{"name": "later"}"#);
    write("10.json", r#"{"name": "earlier", "server": "a:1"}"#);
    write("30.txt", r#"{"name": "not json"}"#);
    std::fs::create_dir(folder.path().join("40.json")).expect("made");
    let settings = read(&[folder.path().to_owned()]).expect("usable");
    assert_eq!(settings.name.as_deref(), Some("later"));
    assert_eq!(settings.server.as_deref(), Some("a:1"));
    assert_eq!(read(&[folder.path().join("absent.json")]).expect_err("no such file").code(), 1);
}
