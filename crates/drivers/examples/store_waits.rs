//! What N concurrent waits cost in memory, against a server given by its address: `store_waits ADDRESS N`.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use footplate_drivers::store::{Config, Revision, Scope, open};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("an address");
    let number: usize = arguments.next().expect("how many waits").parse().unwrap();
    let config = Config::new(&address).unwrap();
    let one = open(&config).unwrap();
    let revision = one
        .wait(&Scope::Key("hosts/0".to_owned()), Revision(0), Duration::from_secs(5))
        .await
        .unwrap()
        .unwrap()
        .revision;
    let before = resident_kib();
    println!("one store opened and asked once: {before} KiB");
    let mut tasks = Vec::new();
    for host in 0..number {
        // One client each, as separate agents would have.
        let store = open(&config).unwrap();
        tasks.push(tokio::spawn(async move {
            store
                .wait(&Scope::Key(format!("hosts/{host}")), revision, Duration::from_secs(20))
                .await
                .map(drop)
        }));
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    let after = resident_kib();
    println!(
        "{number} clients that wait: {after} KiB, {:.1} KiB each",
        (after - before) as f64 / number as f64
    );
    let mut failed = 0;
    for task in tasks {
        failed += usize::from(task.await.unwrap().is_err());
    }
    println!("{failed} failed");
}
