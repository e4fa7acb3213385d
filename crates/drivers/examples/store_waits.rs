//! What many waiting clients cost in memory, against a server given by its address: `store_waits ADDRESS NUMBER`.

use std::error::Error;
use std::time::Duration;

use footplate_drivers::store::{Config, Revision, Scope, open};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(number)) = (arguments.next(), arguments.next()) else {
        return Err("usage: store_waits ADDRESS NUMBER".into());
    };
    let number: u32 = number.parse()?;
    let config = Config::new(&address)?;
    let (store, scope) = (open(&config)?, Scope::Key("hosts/0".to_owned()));
    let first = store.wait(&scope, Revision(0), Duration::from_secs(5)).await?;
    let revision = first.ok_or("a wait from 0 returns at once")?.revision;
    let before = resident_kib()?;
    println!("one client that asked once: {before} KiB");
    let mut waits = Vec::new();
    for host in 0..number {
        // One client each, as separate agents would have.
        let store = open(&config)?;
        waits.push(tokio::spawn(async move {
            store
                .wait(&Scope::Key(format!("hosts/{host}")), revision, Duration::from_secs(20))
                .await
                .map(drop)
        }));
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    let after = resident_kib()?;
    println!(
        "{number} clients that wait: {after} KiB, {:.1} KiB each",
        f64::from(after - before) / f64::from(number)
    );
    for wait in waits {
        wait.await??;
    }
    Ok(())
}

fn resident_kib() -> Result<u32, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.split_whitespace().nth(1).ok_or("VmRSS has no number")?.parse()?)
}
