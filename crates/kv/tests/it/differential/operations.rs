//! Random requests: on few keys, so that they meet.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use reqwest::Method;
use serde_json::{Value, json};

/// Keys that are prefixes of each other, with odd bytes, in their encoded form.
const KEYS: [&str; 14] = [
    "a", "a/", "a/b", "a/b/c", "a/bc", "ab", "b", "b/x%20y", "b/%C3%BC", "b/%25", "c/1", "c/2", "c/%3F%26",
    "d%2Fe",
];
const PREFIXES: [&str; 9] = ["", "a", "a/", "a/b", "b/", "c/", "d", "z", "a/b/c"];

/// A request with places for a session and an index.
pub struct Request {
    pub method: Method,
    pub path: String,
    pub body: Vec<u8>,
}

fn request(method: Method, path: String, body: impl Into<Vec<u8>>) -> Request {
    Request { method, path, body: body.into() }
}

/// Picks the next request.
pub fn pick(random: &mut SmallRng) -> Request {
    let key = *KEYS.choose(random).unwrap();
    match random.random_range(0..100) {
        0..25 => put(random, key),
        25..42 => read(random, key),
        42..52 => delete(random, key),
        52..62 => session(random),
        _ => transaction(random),
    }
}

fn value(random: &mut SmallRng) -> &'static str {
    ["", "one", "two", "three", "{\"four\": 4}"].choose(random).unwrap()
}

fn index(random: &mut SmallRng) -> &'static str {
    if random.random_bool(0.2) { "0" } else { "{index}" }
}

fn put(random: &mut SmallRng, key: &str) -> Request {
    let condition = match random.random_range(0..9) {
        0..3 => String::new(),
        3 => "?flags=7".into(),
        4 | 5 => format!("?cas={}", index(random)),
        6 | 7 => "?acquire={session}&flags=3".into(),
        _ => "?release={session}".into(),
    };
    request(Method::PUT, format!("/v1/kv/{key}{condition}"), value(random))
}

fn read(random: &mut SmallRng, key: &str) -> Request {
    let prefix = *PREFIXES.choose(random).unwrap();
    let wait = if random.random_bool(0.2) { "&index={index}&wait=3ms" } else { "" };
    let path = match random.random_range(0..10) {
        0..3 => format!("{key}?x{wait}"),
        3 => format!("{key}?raw{wait}"),
        4..7 => format!("{prefix}?recurse{wait}"),
        7 | 8 => format!("{prefix}?keys&separator=/{wait}"),
        _ => format!("{prefix}?keys&stale{wait}"),
    };
    request(Method::GET, format!("/v1/kv/{path}"), "")
}

fn delete(random: &mut SmallRng, key: &str) -> Request {
    let path = match random.random_range(0..8) {
        0..4 => key.to_owned(),
        4..6 => format!("{key}?cas={}", index(random)),
        // Never everything at once: the store should fill.
        _ => format!("{}?recurse", PREFIXES[1..].choose(random).unwrap()),
    };
    request(Method::DELETE, format!("/v1/kv/{path}"), "")
}

fn session(random: &mut SmallRng) -> Request {
    match random.random_range(0..6) {
        0..2 => request(Method::PUT, "/v1/session/destroy/{session}".into(), ""),
        2 => request(Method::PUT, "/v1/session/renew/{session}".into(), ""),
        3 => request(Method::GET, "/v1/session/info/{session}".into(), ""),
        4 => request(Method::GET, "/v1/session/list".into(), ""),
        _ => request(Method::PUT, "/v1/session/destroy/00000000-0000-4000-8000-000000000000".into(), ""),
    }
}

fn transaction(random: &mut SmallRng) -> Request {
    let count = random.random_range(1..6);
    let operations: Vec<Value> = (0..count).map(|_| json!({ "KV": operation(random) })).collect();
    // The places of indexes are numbers, not texts.
    let body = Value::Array(operations).to_string().replace("\"{index}\"", "{index}").replace("\"0\"", "0");
    request(Method::PUT, "/v1/txn".into(), body)
}

fn operation(random: &mut SmallRng) -> Value {
    // Keys of transactions are not encoded.
    let key = ["a", "a/b", "a/b/c", "ab", "b/x y", "b/ü", "c/1", "c/2"].choose(random).unwrap();
    let encoded = ["", "b25l", "dHdv"].choose(random).unwrap();
    let prefix = ["a/b", "b/", "c", "ab", "z"].choose(random).unwrap();
    match random.random_range(0..14) {
        0..3 => json!({"Verb": "set", "Key": key, "Value": encoded, "Flags": 5}),
        3 => json!({"Verb": "cas", "Key": key, "Value": encoded, "Index": index(random)}),
        4 => json!({"Verb": "lock", "Key": key, "Value": encoded, "Session": "{session}"}),
        5 => json!({"Verb": "unlock", "Key": key, "Value": encoded, "Session": "{session}"}),
        6 => json!({"Verb": "get", "Key": key}),
        7 => json!({"Verb": "get-tree", "Key": prefix}),
        8 => json!({"Verb": "check-index", "Key": key, "Index": "{index}"}),
        9 => json!({"Verb": "check-session", "Key": key, "Session": "{session}"}),
        10 => json!({"Verb": "check-not-exists", "Key": key}),
        11 => json!({"Verb": "delete", "Key": key}),
        12 => json!({"Verb": "delete-tree", "Key": prefix}),
        _ => json!({"Verb": "delete-cas", "Key": key, "Index": "{index}"}),
    }
}
