//! Written scripts for what chance does not find: malformed requests, limits, blocking and delays.

use std::time::{Duration, Instant};

use footplate_testkit::eventually;
use reqwest::Method;
use serde_json::json;

use super::pair::Pair;

/// Requests that are refused, or answered in an odd way.
const MALFORMED: [(&str, &str); 51] = [
    ("GET", "/v1/kv/"),
    ("PUT", "/v1/kv/"),
    ("DELETE", "/v1/kv/"),
    ("DELETE", "/v1/kv/?cas=1"),
    ("POST", "/v1/kv/a"),
    ("HEAD", "/v1/kv/a"),
    ("PATCH", "/v1/kv/a"),
    ("OPTIONS", "/v1/kv/a"),
    ("GET", "/v1/txn"),
    ("GET", "/v1/session/create"),
    ("PUT", "/v1/session/list"),
    ("POST", "/v1/status/leader"),
    ("GET", "/v1/session/renew/x"),
    ("GET", "/v1/session/destroy/x"),
    ("PUT", "/v1/session/info/x"),
    ("GET", "/v1/session/info/"),
    ("PUT", "/v1/session/renew/"),
    ("PUT", "/v1/session/destroy/"),
    ("PUT", "/v1/session/renew/short"),
    ("PUT", "/v1/session/destroy/short"),
    ("PUT", "/v1/kv/a?cas=x"),
    ("PUT", "/v1/kv/a?cas"),
    ("PUT", "/v1/kv/a?cas=-1"),
    ("PUT", "/v1/kv/a?cas=+1"),
    ("PUT", "/v1/kv/a?flags=99999999999999999999"),
    ("PUT", "/v1/kv/a?flags=18446744073709551615"),
    ("PUT", "/v1/kv/a?cas=0&acquire=x"),
    ("PUT", "/v1/kv/a?release=y&acquire=x&z=1"),
    ("DELETE", "/v1/kv/a?recurse&cas=1"),
    ("PUT", "/v1/kv/a?acquire="),
    ("PUT", "/v1/kv/a?release="),
    ("PUT", "/v1/kv/a?acquire=short"),
    ("PUT", "/v1/kv/a?release=short"),
    ("PUT", "/v1/kv/a?acquire=00000000-0000-4000-8000-000000000000"),
    ("GET", "/v1/kv/a?index=x"),
    ("GET", "/v1/kv/a?index=-1"),
    ("GET", "/v1/kv/a?wait=x"),
    ("GET", "/v1/kv/a?wait=5"),
    ("GET", "/v1/kv/a?stale&consistent"),
    ("GET", "/v1/kv/?keys"),
    ("GET", "/v1/kv/nothing?keys"),
    ("GET", "/v1/kv/?recurse"),
    ("GET", "/v1/kv/%0A"),
    ("PUT", "/v1/kv/a%00b"),
    ("GET", "/v1/kv/a//b?raw"),
    ("PUT", "/v1/kv//a?flags=1"),
    ("DELETE", "/v1/kv/a%2F%2Fb"),
    ("GET", "/v1/kv"),
    ("GET", "/v1/kv/a%2f..%2Fb"),
    ("GET", "/v1/kv/a?index=&wait="),
    ("GET", "/v1/kv/a?cas=0&wait=1h&pretty"),
];

/// A path Consul answers in words of its JSON parser; only the beginning is the same.
async fn same_status(pair: &Pair, method: Method, path: &str, body: &str) {
    let client = crate::site::client();
    let url = pair.consul.url();
    let theirs = crate::site::ask(&client, &url, method.clone(), path, body.to_owned()).await;
    let ours = pair.site.ask(method, path, body.to_owned()).await;
    assert_eq!(theirs.status, ours.status, "{path} {body}: {theirs:?} {ours:?}");
    let beginning = |text: &str| text.split([':', '.']).next().unwrap_or_default().to_owned();
    assert_eq!(beginning(&theirs.body), beginning(&ours.body), "{path} {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused_as_consul_refuses_them() {
    let mut pair = Pair::start().await;
    for (method, path) in MALFORMED {
        pair.ask(method.parse().unwrap(), path, b"", 0, 0).await;
    }
    for body in
        ["", "{", "{}", "5", r#"[{"KV":{"Verb":5}}]"#, r#"[{"KV":{"Verb":"set","Key":"t","Value":"Y"}}]"#]
    {
        same_status(&pair, Method::PUT, "/v1/txn", body).await;
    }
    for body in ["{", "[]", r#"{"TTL":5}"#, r#"{"LockDelay":"x"}"#] {
        same_status(&pair, Method::PUT, "/v1/session/create", body).await;
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_size_are_those_of_consul() {
    let mut pair = Pair::start().await;
    let full = vec![b'x'; 512 * 1024];
    pair.ask(Method::PUT, "/v1/kv/full", &full, 0, 0).await;
    pair.ask(Method::GET, "/v1/kv/full", b"", 0, 0).await;
    let over = "x".repeat(512 * 1024 + 1);
    same_status(&pair, Method::PUT, "/v1/kv/over", &over).await;
    same_status(&pair, Method::PUT, "/v1/txn", &over).await;
    for count in [0, 64, 65] {
        let operations: Vec<_> =
            (0..count).map(|n| json!({"KV": {"Verb": "set", "Key": format!("k{n}")}})).collect();
        pair.ask(Method::PUT, "/v1/txn", json!(operations).to_string().as_bytes(), 0, 0).await;
    }
    let odd = [
        json!([{"KV": {"Verb": "nope", "Key": "a"}}]),
        json!([{"KV": {"Verb": "set", "Key": ""}}, {"KV": {"Verb": "get", "Key": ""}}, {"KV": {"Verb": "get", "Key": "no"}}]),
        json!([{"KV": {"Verb": "get-tree", "Key": ""}}]),
        json!([{"KV": {"Verb": "delete-tree", "Key": ""}}, {"KV": {"Verb": "get", "Key": "full"}}]),
        json!([{"KV": {"Verb": "delete-tree", "Key": ""}}]),
        json!([{"KV": {"Verb": "lock", "Key": "a"}}, {"KV": {"Verb": "unlock", "Key": "a"}}]),
        json!([{"KV": {"Verb": "lock", "Key": "a", "Session": "short"}}]),
        json!([{}]),
    ];
    for body in odd {
        pair.ask(Method::PUT, "/v1/txn", body.to_string().as_bytes(), 0, 0).await;
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_taken_and_refused_as_consul_does() {
    let mut pair = Pair::start().await;
    for body in [
        r#"{"TTL": "9s"}"#,
        r#"{"TTL": "24h1s"}"#,
        r#"{"TTL": "x"}"#,
        r#"{"TTL": "-10s"}"#,
        r#"{"TTL": "10"}"#,
        r#"{"Behavior": "x"}"#,
        r#"{"Node": "another"}"#,
        r#"{"Checks": ["x"]}"#,
        r#"{"NodeChecks": ["x"]}"#,
    ] {
        pair.ask(Method::PUT, "/v1/session/create", body.as_bytes(), 0, 0).await;
    }
    for body in [
        "",
        "{}",
        r#"{"TTL": "0s"}"#,
        r#"{"TTL": "10s"}"#,
        r#"{"TTL": "1m0.5s", "LockDelay": "120s", "Name": "n"}"#,
        r#"{"LockDelay": 5}"#,
        r#"{"LockDelay": 5000}"#,
        r#"{"LockDelay": 0}"#,
        r#"{"LockDelay": "1.5s"}"#,
        r#"{"Checks": []}"#,
        r#"{"NodeChecks": []}"#,
        r#"{"Checks": ["serfHealth"]}"#,
        r#"{"Behavior": "delete", "Unknown": 1}"#,
        r#"{"TTL": "24h", "Behavior": ""}"#,
        r#"{"LockDelay": ""}"#,
    ] {
        if body.contains(r#""LockDelay": """#) {
            same_status(&pair, Method::PUT, "/v1/session/create", body).await;
            continue;
        }
        let number = pair.open_session(body).await;
        pair.ask(Method::GET, "/v1/session/info/{session}", b"", number, 0).await;
        pair.ask(Method::PUT, "/v1/session/renew/{session}", b"", number, 0).await;
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_an_ended_session_refuse_a_lock_for_its_delay_only_after_invalidation() {
    let mut pair = Pair::start().await;
    let lock = "/v1/kv/k?acquire={session}";
    for behavior in ["release", "delete"] {
        let body = format!(r#"{{"Checks": [], "LockDelay": "2s", "Behavior": "{behavior}"}}"#);
        let (first, second) = (pair.open_session(&body).await, pair.open_session(&body).await);
        pair.ask(Method::PUT, lock, b"1", first, 0).await;
        pair.ask(Method::PUT, lock, b"2", second, 0).await;
        pair.ask(Method::PUT, "/v1/kv/k?release={session}", b"3", first, 0).await;
        assert_eq!(pair.ask(Method::PUT, lock, b"4", second, 0).await.body, "true");
        pair.ask(Method::PUT, "/v1/session/destroy/{session}", b"", second, 0).await;
        let third = pair.open_session(&body).await;
        assert_eq!(pair.ask(Method::PUT, lock, b"5", third, 0).await.body, "false");
        let delayed = json!([{"KV": {"Verb": "lock", "Key": "k", "Session": "{session}"}}]).to_string();
        pair.ask(Method::PUT, "/v1/txn", delayed.as_bytes(), third, 0).await;
        pair.ask(Method::GET, "/v1/kv/k", b"", 0, 0).await;
        // Both take the lock again some time after the delay; which one first is a matter of clocks.
        let path = |id: &str| format!("/v1/kv/k?acquire={id}");
        let ids = pair.ids(third);
        let client = crate::site::client();
        for (url, id) in [(pair.consul.url(), &ids[0]), (pair.site.address.clone(), &ids[1])] {
            let takes_the_lock = || async {
                crate::site::ask(&client, &url, Method::PUT, &path(id), "6").await.body.trim() == "true"
            };
            eventually("the delay ends", Duration::from_secs(20), takes_the_lock).await;
        }
        pair.ask(Method::GET, "/v1/kv/k", b"", 0, 0).await;
        pair.ask(Method::DELETE, "/v1/kv/k", b"", 0, 0).await;
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_block_and_wake_as_consuls_do() {
    let mut pair = Pair::start().await;
    pair.ask(Method::PUT, "/v1/kv/w/a", b"1", 0, 0).await;
    let scopes = ["/v1/kv/w/a?x", "/v1/kv/w/?recurse", "/v1/kv/w/?keys", "/v1/kv/?recurse"];
    for scope in scopes {
        for (method, path, body) in [
            ("PUT", "/v1/kv/w/a", "2"),
            ("DELETE", "/v1/kv/w/a", ""),
            ("PUT", "/v1/kv/w/a", "3"),
            ("DELETE", "/v1/kv/w/?recurse", ""),
            ("PUT", "/v1/kv/w/a", "1"),
        ] {
            pair.wake(scope, method.parse().unwrap(), path, body).await;
        }
    }
    let session = pair.open_session(r#"{"Checks": [], "Behavior": "delete", "LockDelay": "0s"}"#).await;
    pair.ask(Method::PUT, "/v1/kv/w/a?acquire={session}", b"1", session, 0).await;
    let ids = pair.ids(session);
    pair.wake_by(
        "/v1/kv/w/a?x",
        Method::PUT,
        [0, 1].map(|side| format!("/v1/session/destroy/{}", ids[side])),
        "",
    )
    .await;
    // Nothing changes: both take at least as long as asked, and show the same index again.
    pair.ask(Method::PUT, "/v1/kv/w/a", b"1", 0, 0).await;
    for scope in scopes {
        let seen = pair.ask(Method::GET, scope, b"", 0, 0).await.index;
        let start = Instant::now();
        let last = pair.indexes() - 1;
        let after = pair.ask(Method::GET, &format!("{scope}&index={{index}}&wait=200ms"), b"", 0, last).await;
        assert_eq!(after.index, seen);
        assert!(start.elapsed() >= Duration::from_millis(200), "{scope} did not block");
    }
    // An index from the future waits too, and shows the true one.
    let start = Instant::now();
    pair.ask(Method::GET, "/v1/kv/w/a?index=99999999&wait=200ms", b"", 0, 0).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_not_renewed_ends_with_its_keys_but_not_before_its_time() {
    let mut pair = Pair::start().await;
    let session =
        pair.open_session(r#"{"Checks": [], "TTL": "10s", "Behavior": "delete", "LockDelay": "0s"}"#).await;
    let start = Instant::now();
    pair.ask(Method::PUT, "/v1/kv/e/alive?acquire={session}", b"1", session, 0).await;
    pair.ask(Method::PUT, "/v1/kv/e/stays", b"1", 0, 0).await;
    // Both wake a reader of the prefix when the key dies.
    let woken = pair.wait_for_change("/v1/kv/e/?keys", Duration::from_secs(90)).await;
    assert!(start.elapsed() >= Duration::from_secs(10), "the session died before its time");
    assert!(woken.iter().all(|reply| reply.json() == json!(["e/stays"])), "{woken:?}");
    pair.ask(Method::GET, "/v1/session/info/{session}", b"", session, 0).await;
    pair.ask(Method::PUT, "/v1/session/renew/{session}", b"", session, 0).await;
    pair.stop().await;
}
