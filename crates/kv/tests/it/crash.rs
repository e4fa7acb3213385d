//! kill -9 at random points under load: every acknowledged write is there, no index goes back, sessions persist.
//!
//! `FOOTPLATE_KV_KILLS` sets how often it is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use footplate_kv::{Config, Server};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::seed::seed;
use crate::site::client;

const WRITERS: usize = 4;
const KILLS: usize = 200;
const DIRECTORY: &str = "FOOTPLATE_KV_CHILD_DIRECTORY";

/// The server that is killed is this very program, started again to run this one test, which serves then.
#[test]
fn the_server_that_is_killed_serves_until_its_parent_is_gone() {
    match std::env::var(DIRECTORY) {
        Ok(directory) => serve(&directory),
        Err(_) => {
            let directory = TempDir::new().unwrap();
            let mut server = Killable::start(directory.path());
            // The pipe ends, as it does when the parent dies.
            drop(server.child.stdin.take());
            assert!(server.child.wait().unwrap().success());
        }
    }
}

fn serve(directory: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (orphaned, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // However the reading ends, the parent is gone.
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        orphaned.send(()).ok();
    });
    runtime.block_on(async {
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::loopback(directory) };
        let server = Server::open(config).await.unwrap();
        let listener = server.bind().await.unwrap();
        println!("ready http://{}", listener.local_addr().unwrap());
        server.serve(listener, async { drop(told.await) }).await.unwrap();
        server.close().await;
    });
}

struct Killable {
    child: Child,
    address: String,
    /// Kept open: who writes to a closed pipe fails.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Killable {
    fn start(directory: &Path) -> Killable {
        let program = std::env::current_exe().unwrap();
        let name = "crash::the_server_that_is_killed_serves_until_its_parent_is_gone";
        let mut child = Command::new(program)
            .args(["--exact", "--nocapture", name])
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = output
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("ready ")?.1.to_owned()));
        Killable { child, address: ready.expect("the server starts"), _output: output }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What one client knows: what was acknowledged, and what it was doing when the server died.
#[derive(Clone, Default)]
struct Knowledge {
    name: String,
    count: u64,
    acknowledged: BTreeMap<String, String>,
    in_flight: BTreeMap<String, Option<String>>,
    sessions: Vec<String>,
    index: u64,
}

impl Knowledge {
    /// Writes until the server is gone.
    async fn write_until_the_end(mut self, client: Client, address: String, mut random: SmallRng) -> Self {
        loop {
            self.count += 1;
            let value = self.count.to_string();
            let key = format!("{}/{}", self.name, random.random_range(0..20));
            let (path, body) = match random.random_range(0..10) {
                0..5 => {
                    self.in_flight.insert(key.clone(), Some(value.clone()));
                    (format!("/v1/kv/{key}"), value)
                }
                5..7 => {
                    let pair = [format!("{}/left", self.name), format!("{}/right", self.name)];
                    self.in_flight.extend(pair.iter().map(|key| (key.clone(), Some(value.clone()))));
                    let set = |key: &String| json!({"KV": {"Verb": "set", "Key": key, "Value": STANDARD.encode(&value)}});
                    ("/v1/txn".to_owned(), json!(pair.iter().map(set).collect::<Vec<_>>()).to_string())
                }
                7 => {
                    self.in_flight.insert(key.clone(), None);
                    (format!("delete /v1/kv/{key}"), String::new())
                }
                8 => ("/v1/session/create".to_owned(), r#"{"Checks": [], "TTL": "1h"}"#.to_owned()),
                _ => (format!("get /v1/kv/{}/?recurse", self.name), String::new()),
            };
            if self.ask(&client, &address, &path, body).await.is_none() {
                return self;
            }
        }
    }

    async fn ask(&mut self, client: &Client, address: &str, path: &str, body: String) -> Option<()> {
        let (method, path) = match path.split_once(' ') {
            Some(("delete", path)) => (Method::DELETE, path),
            Some((_, path)) => (Method::GET, path),
            None => (Method::PUT, path),
        };
        let reply = client.request(method, format!("{address}{path}")).body(body).send().await.ok()?;
        let index = reply.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        let status = reply.status();
        let text = reply.text().await.ok()?;
        assert!(status.is_success() || status == 404, "{path}: {status} {text}");
        // Only a whole answer is an acknowledgement.
        if path == "/v1/session/create" {
            let answer: Value = serde_json::from_str(&text).unwrap();
            self.sessions.push(answer["ID"].as_str().unwrap().to_owned());
        }
        self.index = self.index.max(index.unwrap_or(0));
        for (key, value) in std::mem::take(&mut self.in_flight) {
            match value {
                Some(value) => self.acknowledged.insert(key, value),
                None => self.acknowledged.remove(&key),
            };
        }
        Some(())
    }

    /// Compares with what the new server says, and takes that for the truth.
    fn check(&mut self, found: BTreeMap<String, String>, sessions: &str, index: u64) {
        for key in self.acknowledged.keys().chain(found.keys()).chain(self.in_flight.keys()) {
            let is = found.get(key);
            let acknowledged = self.acknowledged.get(key);
            let perhaps = self.in_flight.get(key).map(Option::as_ref);
            assert!(
                is == acknowledged || Some(is) == perhaps,
                "{key} is {is:?}; acknowledged {acknowledged:?}, in flight {perhaps:?}"
            );
        }
        let [left, right] = ["left", "right"].map(|side| found.get(&format!("{}/{side}", self.name)));
        assert_eq!(left, right, "half a transaction");
        self.sessions.iter().for_each(|id| assert!(sessions.contains(id), "the session {id} is gone"));
        assert!(index >= self.index, "the index went back from {} to {index}", self.index);
        self.index = index;
        self.acknowledged = found;
        self.in_flight.clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_under_load() {
    let seed = seed();
    let mut random = SmallRng::seed_from_u64(seed);
    let kills = std::env::var("FOOTPLATE_KV_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let directory = TempDir::new().unwrap();
    let mut clients: Vec<Knowledge> =
        (0..WRITERS).map(|n| Knowledge { name: format!("writer{n}"), ..Knowledge::default() }).collect();
    let client = client();
    let mut acknowledged = 0;
    for _ in 0..=kills {
        let server = Killable::start(directory.path());
        for known in &mut clients {
            verify(known, &client, &server.address).await;
        }
        let mut writing = JoinSet::new();
        for known in clients.drain(..) {
            let random = SmallRng::seed_from_u64(random.random());
            writing.spawn(known.write_until_the_end(client.clone(), server.address.clone(), random));
        }
        let moment = Duration::from_micros(random.random_range(1_000..120_000));
        let ended = tokio::time::timeout(moment, writing.join_next()).await;
        assert!(ended.is_err(), "a client ended before the server was killed: {}", ended.is_ok());
        server.kill();
        clients = writing.join_all().await;
        acknowledged = clients.iter().map(|known| known.count).sum();
    }
    println!("{kills} kills, {acknowledged} requests");
    assert!(acknowledged > 10 * kills as u64, "the clients hardly wrote: {acknowledged} requests");
}

async fn verify(known: &mut Knowledge, client: &Client, address: &str) {
    let path = format!("{address}/v1/kv/{}/?recurse", known.name);
    let reply = client.get(path).send().await.unwrap();
    let index = reply.headers()["x-consul-index"].to_str().unwrap().parse().unwrap();
    let entries: Vec<Value> = serde_json::from_str(&reply.text().await.unwrap()).unwrap_or_default();
    let text = |value: &Value| String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
    let found = entries
        .iter()
        .map(|entry| (entry["Key"].as_str().unwrap().to_owned(), text(&entry["Value"])))
        .collect();
    let sessions =
        client.get(format!("{address}/v1/session/list")).send().await.unwrap().text().await.unwrap();
    known.check(found, &sessions, index);
}
