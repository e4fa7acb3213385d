//! Two servers that get the same requests, and what their answers must have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_testkit::{Consul, ConsulSetup};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::site::{Reply, Site, ask, client};

/// The real one and ours.
pub struct Pair {
    pub consul: Consul,
    pub site: Site,
    client: Client,
    relation: Relation,
    sessions: Vec<[String; 2]>,
    /// What was asked, for the report of a difference.
    journal: Vec<String>,
}

/// Which of our indexes stands for which of Consul's.
#[derive(Default)]
struct Relation {
    theirs: BTreeMap<u64, u64>,
    /// The same pairs, in the order they were seen.
    seen: Vec<[u64; 2]>,
}

impl Relation {
    /// Takes two indexes seen at the same place, and checks that they fit all seen before.
    fn relate(&mut self, theirs: u64, ours: u64) -> Result<(), String> {
        let clash = |other: (&u64, &u64)| {
            Err(format!("index {theirs} is our {ours}, but {} is our {}", other.0, other.1))
        };
        match self.theirs.get_key_value(&theirs) {
            Some(known) if *known.1 != ours => return clash(known),
            Some(_) => return Ok(()),
            None => {}
        }
        if let Some(below) = self.theirs.range(..theirs).next_back().filter(|below| *below.1 >= ours) {
            return clash(below);
        }
        if let Some(above) = self.theirs.range(theirs..).next().filter(|above| *above.1 <= ours) {
            return clash(above);
        }
        self.theirs.insert(theirs, ours);
        self.seen.push([theirs, ours]);
        Ok(())
    }

    fn nth(&self, number: usize) -> Option<[u64; 2]> {
        self.seen.get(number).copied()
    }

    /// Checks two indexes that may be those of a change that was dropped: here such an index is given out again.
    fn agree(&self, theirs: u64, ours: u64) -> Result<(), String> {
        match self.theirs.get(&theirs) {
            Some(known) if *known != ours => Err(format!("index {theirs} is our {known}, not {ours}")),
            _ => Ok(()),
        }
    }

    /// Checks that ours is not older than theirs. Where a prefix was emptied by deleting a shorter one, Consul shows
    /// the index of whatever older tombstone lies there, so that its index falls and a blocked reader is not woken
    /// (deliberate difference: here it never falls).
    fn check_not_behind(&self, theirs: u64, ours: u64) -> Result<(), String> {
        match self.theirs.range(..=theirs).next_back() {
            Some(known) if *known.1 > ours => {
                Err(format!("index {theirs} is our {ours}, but {} is our {}", known.0, known.1))
            }
            _ => Ok(()),
        }
    }
}

impl Pair {
    /// Starts both.
    pub async fn start() -> Pair {
        let consul = Consul::start(ConsulSetup::default()).await.expect("Consul starts");
        let site = Site::start().await;
        let (relation, sessions, journal) = (Relation::default(), Vec::new(), Vec::new());
        let mut pair = Pair { consul, site, client: client(), relation, sessions, journal };
        // From here on both have had a session, and their counters of sessions can be compared.
        let id = pair.open_session("{}").await;
        pair.ask(Method::PUT, "/v1/session/destroy/{session}", b"", id, 0).await;
        pair
    }

    /// How many index pairs are known.
    pub fn indexes(&self) -> usize {
        self.relation.theirs.len()
    }

    /// How many sessions were opened.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Opens a session on both; returns its number.
    pub async fn open_session(&mut self, body: &str) -> usize {
        self.journal.push(format!("session {} {body}", self.sessions.len()));
        let (theirs, ours) = self.both(Method::PUT, ["/v1/session/create"; 2], [body.as_bytes(); 2]).await;
        let id =
            |reply: &Reply| reply.json()["ID"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
        self.sessions.push([id(&theirs), id(&ours)]);
        self.sessions.len() - 1
    }

    /// Asks both the same and compares. In path and body `{session}` stands for the session of that number and
    /// `{index}` for the index pair of that number. Returns our answer.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: &[u8],
        session: usize,
        index: usize,
    ) -> Reply {
        let body = String::from_utf8_lossy(body);
        self.journal.push(format!("{method} {path} {body} (session {session}, index {index})"));
        let fill = |side: usize, text: &str| {
            let pair = self.relation.nth(index).unwrap_or_default();
            let session = self.sessions.get(session).map_or(String::new(), |ids| ids[side].clone());
            text.replace("{session}", &session).replace("{index}", &pair[side].to_string())
        };
        let paths = [fill(0, path), fill(1, path)];
        let bodies = [fill(0, &body), fill(1, &body)];
        let of_prefix = path.contains("recurse") || path.contains("keys");
        let (theirs, ours) =
            self.both(method, [&paths[0], &paths[1]], [bodies[0].as_bytes(), bodies[1].as_bytes()]).await;
        if let Err(difference) = self.compare(&theirs, &ours, of_prefix) {
            let last: Vec<&String> = self.journal.iter().rev().take(12).rev().collect();
            panic!("{difference}\nconsul {theirs:#?}\nours   {ours:#?}\nthe last requests: {last:#?}");
        }
        ours
    }

    async fn both(&self, method: Method, paths: [&str; 2], bodies: [&[u8]; 2]) -> (Reply, Reply) {
        let url = self.consul.url();
        tokio::join!(
            ask(&self.client, &url, method.clone(), paths[0], bodies[0].to_vec()),
            ask(&self.client, &self.site.address, method, paths[1], bodies[1].to_vec()),
        )
    }

    fn compare(&mut self, theirs: &Reply, ours: &Reply, of_prefix: bool) -> Result<(), String> {
        if theirs.status != ours.status {
            return Err("another status".into());
        }
        let status = ours.status;
        match (theirs.index, ours.index) {
            (Some(theirs), Some(ours)) if of_prefix && status == StatusCode::NOT_FOUND => {
                self.relation.check_not_behind(theirs, ours)?;
            }
            (Some(theirs), Some(ours)) => self.relation.relate(theirs, ours)?,
            (None, None) => {}
            _ => return Err("an index on one side only".into()),
        }
        let parse = |reply: &Reply, side: usize| {
            let text = self.name_sessions(&reply.body, side);
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        let (mut theirs, mut ours) = (parse(theirs, 0), parse(ours, 1));
        sort_sessions(&mut theirs);
        sort_sessions(&mut ours);
        self.compare_values(&theirs, &ours)
    }

    /// Puts numbers in place of the ids of sessions.
    fn name_sessions(&self, body: &str, side: usize) -> String {
        let mut text = body.to_owned();
        if !body.contains("ession") && !body.contains("\"ID\"") {
            return text;
        }
        for (number, ids) in self.sessions.iter().enumerate().filter(|(_, ids)| body.contains(&ids[side])) {
            text = text.replace(&ids[side], &format!("session {number}"));
        }
        text
    }

    fn compare_values(&mut self, theirs: &Value, ours: &Value) -> Result<(), String> {
        match (theirs, ours) {
            (Value::Array(these), Value::Array(those)) if these.len() == those.len() => {
                these.iter().zip(those).try_for_each(|(this, that)| self.compare_values(this, that))
            }
            (Value::Object(these), Value::Object(those)) if these.keys().eq(those.keys()) => {
                these.iter().try_for_each(|(name, this)| self.compare_field(name, this, &those[name]))
            }
            _ if theirs == ours => Ok(()),
            _ => Err(format!("{theirs} is not {ours}")),
        }
    }

    fn compare_field(&mut self, name: &str, theirs: &Value, ours: &Value) -> Result<(), String> {
        match name {
            "CreateIndex" | "ModifyIndex" => {
                self.relation.relate(theirs.as_u64().unwrap_or(0), ours.as_u64().unwrap_or(0))
            }
            // The one node has another name here.
            "Node" => Ok(()),
            "What" => self.compare_reasons(theirs.as_str().unwrap_or(""), ours.as_str().unwrap_or("")),
            _ => self.compare_values(theirs, ours),
        }
    }

    fn compare_reasons(&mut self, theirs: &str, ours: &str) -> Result<(), String> {
        const INDEX: &str = "current modify index ";
        let (Some((this, these)), Some((that, those))) = (theirs.split_once(INDEX), ours.split_once(INDEX))
        else {
            return if theirs == ours { Ok(()) } else { Err(format!("{theirs} is not {ours}")) };
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("no index: {text}"));
        let (Some(these), Some(those)) = (these.split_once(" != "), those.split_once(" != ")) else {
            return Err(format!("{theirs} is not {ours}"));
        };
        self.relation.agree(number(these.0), number(those.0))?;
        self.relation.agree(number(these.1), number(those.1))?;
        if this == that { Ok(()) } else { Err(format!("{theirs} is not {ours}")) }
    }

    /// Returns the two ids of a session.
    pub fn ids(&self, session: usize) -> [String; 2] {
        self.sessions[session].clone()
    }

    /// Blocks a read on both, makes the same write on both, and compares what the woken reads show.
    pub async fn wake(&mut self, scope: &str, method: Method, path: &str, body: &str) {
        self.wake_by(scope, method, [path.to_owned(), path.to_owned()], body).await;
    }

    /// Blocks a read on both, makes a write on each, and compares what the woken reads show.
    pub async fn wake_by(&mut self, scope: &str, method: Method, paths: [String; 2], body: &str) {
        self.journal.push(format!("{scope} blocks until {method} {} {body}", paths[0]));
        let (theirs, ours) = self.both(Method::GET, [scope; 2], [b""; 2]).await;
        let path =
            |reply: &Reply| format!("{scope}&index={}&wait=60s", reply.index.expect("a read has an index"));
        let blocked = [path(&theirs), path(&ours)];
        let reads = self.both(Method::GET, [&blocked[0], &blocked[1]], [b""; 2]);
        let writes = self.both(method, [&paths[0], &paths[1]], [body.as_bytes(); 2]);
        let ((theirs, ours), _) =
            tokio::time::timeout(Duration::from_secs(40), async { tokio::join!(reads, writes) })
                .await
                .unwrap_or_else(|_| panic!("{scope} was not woken by {paths:?}"));
        if let Err(difference) = self.compare(&theirs, &ours, false) {
            panic!(
                "{difference}\nconsul {theirs:#?}\nours   {ours:#?}\nblocked on {scope}, woken by {paths:?}"
            );
        }
    }

    /// Blocks a read on both until something changes by itself. Returns what both show then.
    pub async fn wait_for_change(&mut self, scope: &str, patience: Duration) -> [Reply; 2] {
        let (theirs, ours) = self.both(Method::GET, [scope; 2], [b""; 2]).await;
        let path =
            |reply: &Reply| format!("{scope}&index={}&wait=10m", reply.index.expect("a read has an index"));
        let blocked = [path(&theirs), path(&ours)];
        let reads = self.both(Method::GET, [&blocked[0], &blocked[1]], [b""; 2]);
        let woken = tokio::time::timeout(patience, reads).await;
        woken.unwrap_or_else(|_| panic!("nothing changed at {scope}")).into()
    }

    /// Stops ours; Consul ends when it is dropped.
    pub async fn stop(self) {
        self.site.stop().await;
    }
}

/// Lists of sessions come by id, which is random.
fn sort_sessions(value: &mut Value) {
    if let Value::Array(list) = value
        && list.iter().all(|item| item.get("Behavior").is_some())
    {
        list.sort_by_key(|item| item["ID"].to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::Relation;

    #[test]
    fn only_one_strictly_increasing_relation_of_indexes_is_accepted() {
        let mut relation = Relation::default();
        relation.relate(10, 2).unwrap();
        relation.relate(20, 5).unwrap();
        relation.relate(10, 2).unwrap();
        relation.relate(15, 3).unwrap();
        for (theirs, ours) in [(10, 3), (16, 3), (12, 2), (12, 3), (30, 5), (5, 2), (21, 4)] {
            assert!(relation.relate(theirs, ours).is_err(), "{theirs} {ours}");
        }
    }
}
