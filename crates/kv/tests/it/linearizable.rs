//! Concurrent histories through HTTP are linearizable: each key is a register with put, get, cas and delete.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use reqwest::{Client, Method};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

use crate::seed::seed;
use crate::site::{Site, ask, client};

const HISTORIES: usize = 300;
const CLIENTS: usize = 4;
const KEYS: usize = 2;
const OPERATIONS: usize = 5;

/// What a client does to a key. A cas names the value it read, whose index it sends.
#[derive(Clone, Debug, PartialEq)]
enum Operation {
    Put(u32),
    Get,
    Cas { from: Option<u32>, to: u32 },
    Delete,
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done,
    Found(Option<u32>),
    Swapped(bool),
}

/// What one key is to do, one operation after the other. Values are never used twice, so that a value stands for
/// its index.
#[derive(Clone, Debug, Default)]
struct Key(Option<u32>);

impl SequentialSpec for Key {
    type Op = Operation;
    type Ret = Answer;

    fn invoke(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Put(value) => {
                self.0 = Some(*value);
                Answer::Done
            }
            Operation::Get => Answer::Found(self.0),
            Operation::Cas { from, to } => {
                let swaps = self.0 == *from;
                if swaps {
                    self.0 = Some(*to);
                }
                Answer::Swapped(swaps)
            }
            Operation::Delete => {
                self.0 = None;
                Answer::Done
            }
        }
    }
}

type Tester = LinearizabilityTester<usize, Key>;

/// One client, with what it last read of each key.
struct Actor {
    number: usize,
    client: Client,
    address: String,
    random: SmallRng,
    seen: [(Option<u32>, u64); KEYS],
    testers: Arc<Vec<Mutex<Tester>>>,
    next: u32,
}

impl Actor {
    async fn act(mut self, prefix: String) {
        for _ in 0..OPERATIONS {
            let key = self.random.random_range(0..KEYS);
            let (from, index) = self.seen[key];
            self.next += 1;
            let operation = match self.random.random_range(0..10) {
                0..2 => Operation::Put(self.next),
                2..6 => Operation::Get,
                6..9 => Operation::Cas { from, to: self.next },
                _ => Operation::Delete,
            };
            self.testers[key].lock().unwrap().on_invoke(self.number, operation.clone()).unwrap();
            let answer = self.perform(&format!("/v1/kv/{prefix}/{key}"), key, &operation, index).await;
            self.testers[key].lock().unwrap().on_return(self.number, answer).unwrap();
        }
    }

    async fn perform(&mut self, path: &str, key: usize, operation: &Operation, index: u64) -> Answer {
        let put = |query: String, value: &u32| (Method::PUT, format!("{path}{query}"), value.to_string());
        let (method, path, body) = match operation {
            Operation::Put(value) => put(String::new(), value),
            Operation::Cas { to, .. } => put(format!("?cas={index}"), to),
            Operation::Get => (Method::GET, format!("{path}?raw"), String::new()),
            Operation::Delete => (Method::DELETE, path.to_owned(), String::new()),
        };
        let reply = ask(&self.client, &self.address, method, &path, body).await;
        match operation {
            Operation::Get => {
                let value = (reply.status == 200).then(|| reply.body.parse().unwrap());
                // Only if absent, where there is nothing.
                self.seen[key] = (value, value.map_or(0, |_| reply.index.unwrap()));
                Answer::Found(value)
            }
            Operation::Cas { .. } => Answer::Swapped(reply.body == "true"),
            Operation::Put(_) | Operation::Delete => Answer::Done,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_histories_are_linearizable() {
    let mut random = SmallRng::seed_from_u64(seed());
    let site = Site::start().await;
    let client = client();
    for history in 0..HISTORIES {
        let testers: Arc<Vec<Mutex<Tester>>> =
            Arc::new((0..KEYS).map(|_| Mutex::new(LinearizabilityTester::new(Key::default()))).collect());
        let mut actors = JoinSet::new();
        for number in 0..CLIENTS {
            let actor = Actor {
                number,
                client: client.clone(),
                address: site.address.clone(),
                random: SmallRng::seed_from_u64(random.random()),
                seen: [(None, 0); KEYS],
                testers: testers.clone(),
                next: u32::try_from(number * 1000).unwrap(),
            };
            actors.spawn(actor.act(format!("history{history}")));
        }
        actors.join_all().await;
        for tester in testers.iter() {
            let tester = tester.lock().unwrap();
            assert!(tester.is_consistent(), "history {history} is not linearizable: {tester:#?}");
        }
    }
    site.stop().await;
}

#[test]
fn a_history_with_a_stale_read_or_a_lost_cas_is_not_accepted() {
    let mut stale = Tester::new(Key::default());
    stale.on_invret(1, Operation::Put(1), Answer::Done).unwrap();
    stale.on_invret(2, Operation::Get, Answer::Found(None)).unwrap();
    assert!(!stale.is_consistent());
    let mut lost = Tester::new(Key::default());
    lost.on_invret(1, Operation::Cas { from: None, to: 1 }, Answer::Swapped(true)).unwrap();
    lost.on_invret(2, Operation::Cas { from: None, to: 2 }, Answer::Swapped(true)).unwrap();
    assert!(!lost.is_consistent());
}
