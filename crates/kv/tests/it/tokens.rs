//! Tokens: nobody may do anything without one, each may do what its rules say, and a join token is exchanged once.

use std::os::unix::fs::PermissionsExt;

use footplate_kv::Config;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::{Reply, Site};

const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;

async fn start(directory: TempDir) -> (Site, String) {
    let listen = ([127, 0, 0, 1], 0).into();
    let config = Config { listen, tokens: true, ..Config::loopback(directory.path()) };
    let site = Site::start_with(directory, config).await;
    let root = std::fs::read_to_string(site.directory.path().join("root.token")).unwrap().trim().to_owned();
    (site, root)
}

async fn ask(site: &Site, token: &str, method: Method, path: &str, body: Value) -> Reply {
    let request = site.client.request(method, format!("{}{path}", site.address));
    let response = request.header("X-Consul-Token", token).body(body.to_string()).send().await.unwrap();
    let status = response.status();
    Reply { status, index: None, body: response.text().await.unwrap() }
}

/// Makes a token as root and returns its text.
async fn make(site: &Site, root: &str, wanted: Value) -> String {
    let made = ask(site, root, Method::POST, "/v1/acl/token", wanted).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["token"].as_str().unwrap().to_owned()
}

fn join_token(uses: u32, expires: u64) -> Value {
    let rules = json!([
        {"prefix": "footplate/agents/{name}/", "access": "write"},
        {"prefix": "footplate/hosts/{name}/", "access": "read"},
        {"prefix": "footplate/barriers/", "access": "read"},
    ]);
    let rights = json!({"rules": rules, "sessions": "write"});
    json!({"kind": "join", "name": "web", "rights": rights, "uses": uses, "expires_in_seconds": expires})
}

#[tokio::test]
async fn without_a_token_nothing_but_health_answers() {
    let (site, root) = start(TempDir::new().unwrap()).await;
    for (method, path) in [
        ("GET", "/v1/kv/a"),
        ("PUT", "/v1/kv/a"),
        ("DELETE", "/v1/kv/a?recurse"),
        ("GET", "/v1/kv/?recurse"),
        ("PUT", "/v1/txn"),
        ("PUT", "/v1/session/create"),
        ("GET", "/v1/session/list"),
        ("GET", "/metrics"),
        ("GET", "/v1/acl/tokens"),
        ("POST", "/v1/acl/token"),
        ("POST", "/v1/acl/join"),
        ("GET", "/v1/agent/self"),
    ] {
        let reply = site.ask(method.parse().unwrap(), path, "[]").await;
        assert_eq!((reply.status, reply.body.as_str()), (FORBIDDEN, "Permission denied"), "{path}");
    }
    assert_eq!(site.get("/health").await.status, 200);
    for wrong in ["nonsense", "fp-0000000000000000-", &root[..root.len() - 1], &format!("{root}0")] {
        let reply = ask(&site, wrong, Method::GET, "/v1/kv/a", Value::Null).await;
        assert_eq!((reply.status, reply.body.as_str()), (FORBIDDEN, "ACL not found"), "{wrong}");
    }
    let wrong_secret = format!("{}{}", &root[..root.len() - 1], if root.ends_with('0') { '1' } else { '0' });
    assert_eq!(ask(&site, &wrong_secret, Method::GET, "/v1/kv/a", Value::Null).await.status, FORBIDDEN);
    let bearer =
        site.client.get(format!("{}/v1/kv/a", site.address)).bearer_auth(&root).send().await.unwrap();
    assert_eq!(bearer.status(), 404);
    site.stop().await;
}

#[tokio::test]
async fn the_longest_rule_decides_and_a_tree_needs_all_of_it() {
    let (site, root) = start(TempDir::new().unwrap()).await;
    let rules = json!([
        {"prefix": "a/", "access": "write"}, {"prefix": "a/secret/", "access": "deny"}, {"prefix": "b/", "access": "read"},
    ]);
    let rights = json!({"rules": rules});
    let token = make(&site, &root, json!({"kind": "client", "name": "c", "rights": rights})).await;
    let set = |key: &str| json!([{"KV": {"Verb": "set", "Key": key}}]);
    let cases = [
        ("PUT", "/v1/kv/a/x", Value::Null, true),
        ("GET", "/v1/kv/a/x", Value::Null, true),
        ("PUT", "/v1/kv/a/secret/x", Value::Null, false),
        ("GET", "/v1/kv/a/secret/x", Value::Null, false),
        ("PUT", "/v1/kv/b/x", Value::Null, false),
        ("DELETE", "/v1/kv/b/x", Value::Null, false),
        ("GET", "/v1/kv/c", Value::Null, false),
        ("GET", "/v1/kv/a/?recurse", Value::Null, false),
        ("GET", "/v1/kv/a/x?recurse", Value::Null, true),
        ("DELETE", "/v1/kv/a/?recurse", Value::Null, false),
        ("GET", "/v1/kv/?keys", Value::Null, false),
        ("PUT", "/v1/txn", set("a/x"), true),
        ("PUT", "/v1/txn", set("b/x"), false),
        ("PUT", "/v1/session/create", json!({}), false),
        ("GET", "/v1/acl/tokens", Value::Null, false),
        ("POST", "/v1/acl/token", json!({}), false),
    ];
    for (method, path, body, allowed) in cases {
        let reply = ask(&site, &token, method.parse().unwrap(), path, body).await;
        assert_eq!(reply.status != FORBIDDEN, allowed, "{method} {path}: {reply:?}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_join_token_is_exchanged_for_rights_on_the_own_name_only_and_only_as_often_as_allowed() {
    let (site, root) = start(TempDir::new().unwrap()).await;
    let join = make(&site, &root, join_token(2, 600)).await;
    for name in ["", ".", "..", "a/b", "a b", "ü", "{name}"] {
        let refused = ask(&site, &join, Method::POST, "/v1/acl/join", json!({"name": name})).await;
        assert_eq!(refused.status, 400, "{name}: {refused:?}");
    }
    assert_eq!(
        ask(&site, &join, Method::GET, "/v1/kv/footplate/barriers/x", Value::Null).await.status,
        FORBIDDEN
    );
    let joined = ask(&site, &join, Method::POST, "/v1/acl/join", json!({"name": "host7"})).await;
    assert_eq!(joined.status, 200, "{joined:?}");
    let token = joined.json()["token"].as_str().unwrap().to_owned();
    for (method, path, status) in [
        ("PUT", "/v1/kv/footplate/agents/host7/alive", 200),
        ("PUT", "/v1/kv/footplate/agents/host70/alive", 403),
        ("GET", "/v1/kv/footplate/hosts/host7/?recurse", 404),
        ("PUT", "/v1/kv/footplate/hosts/host7/x", 403),
        ("GET", "/v1/kv/footplate/hosts/?recurse", 403),
        ("GET", "/v1/kv/footplate/barriers/x", 404),
        ("POST", "/v1/acl/join", 403),
    ] {
        let reply = ask(&site, &token, method.parse().unwrap(), path, json!({"name": "host8"})).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    }
    // The same name again, as after a new image: the older token is void.
    let again = ask(&site, &join, Method::POST, "/v1/acl/join", json!({"name": "host7"})).await;
    assert_eq!(again.status, 200);
    assert_eq!(
        ask(&site, &token, Method::GET, "/v1/kv/footplate/barriers/x", Value::Null).await.body,
        "ACL not found"
    );
    let third = ask(&site, &join, Method::POST, "/v1/acl/join", json!({"name": "host8"})).await;
    assert_eq!((third.status, third.body.as_str()), (FORBIDDEN, "the join token is used up"));
    let expired = make(&site, &root, join_token(1, 0)).await;
    let late = ask(&site, &expired, Method::POST, "/v1/acl/join", json!({"name": "host8"})).await;
    assert_eq!((late.status, late.body.as_str()), (FORBIDDEN, "the join token has expired"));
    site.stop().await;
}

#[tokio::test]
async fn tokens_survive_a_restart_are_kept_as_hashes_and_can_be_revoked() {
    let (site, root) = start(TempDir::new().unwrap()).await;
    let mode = std::fs::metadata(site.directory.path().join("root.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let join = make(&site, &root, join_token(1, 600)).await;
    let database = |site: &Site| {
        let read = |name: &str| std::fs::read(site.directory.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("store.db"), read("store.db-wal")].concat()).into_owned()
    };
    let (id, secret) = join.strip_prefix("fp-").unwrap().split_once('-').unwrap();
    assert!(database(&site).contains(id) && !database(&site).contains(secret));
    let (site, same) = start(site.stop().await).await;
    assert_eq!(same, root);
    let list = ask(&site, &root, Method::GET, "/v1/acl/tokens", Value::Null).await;
    assert!(list.body.contains(id) && !list.body.contains(secret), "{list:?}");
    let path = format!("/v1/acl/token/{id}");
    assert_eq!(ask(&site, &root, Method::DELETE, &path, Value::Null).await.status, 200);
    assert_eq!(ask(&site, &root, Method::DELETE, &path, Value::Null).await.status, 404);
    let refused = ask(&site, &join, Method::POST, "/v1/acl/join", json!({"name": "host1"})).await;
    assert_eq!(refused.body, "ACL not found");
    // A lost root token: delete the file, start again.
    let directory = site.stop().await;
    std::fs::remove_file(directory.path().join("root.token")).unwrap();
    let (site, new) = start(directory).await;
    assert_eq!(ask(&site, &root, Method::GET, "/v1/kv/a", Value::Null).await.body, "ACL not found");
    assert_eq!(ask(&site, &new, Method::GET, "/v1/kv/a", Value::Null).await.status, 404);
    site.stop().await;
}

#[tokio::test]
async fn only_the_token_that_opened_a_session_and_root_may_end_it() {
    let (site, root) = start(TempDir::new().unwrap()).await;
    let client = json!({"kind": "client", "name": "c", "rights": {"sessions": "write"}});
    let (one, other) = (make(&site, &root, client.clone()).await, make(&site, &root, client).await);
    let opened = ask(&site, &one, Method::PUT, "/v1/session/create", json!({})).await.json();
    let path = |verb: &str| format!("/v1/session/{verb}/{}", opened["ID"].as_str().unwrap());
    assert_eq!(ask(&site, &other, Method::PUT, &path("renew"), Value::Null).await.status, FORBIDDEN);
    assert_eq!(ask(&site, &other, Method::PUT, &path("destroy"), Value::Null).await.status, FORBIDDEN);
    assert_eq!(ask(&site, &one, Method::PUT, &path("renew"), Value::Null).await.status, 200);
    assert_eq!(ask(&site, &root, Method::PUT, &path("destroy"), Value::Null).await.status, 200);
    site.stop().await;
}
