//! Versions of a service for tests of swaps: `shop serve` is the testkit's backend on `PORT`, which names itself `HOST/RELEASE`.
//!
//! Bad ones serve too, each until its flaw shows: `shop sick` answers 500 to all, `shop crash MS` ends after a while, `shop leak [MS]`
//! takes a MiB of memory every so often without end, `shop deaf FILE` ignores TERM and makes the file instead; `shop silent` never listens;
//! `shop failing N` answers 500 to one in N requests, and `shop slow N MS` lets one in N wait.

use std::net::Ipv4Addr;
use std::time::Duration;

use footplate_testkit::backend::{Backend, Flaw};
use tokio::signal::unix::{SignalKind, signal};

/// How often one that leaks takes a MiB, unless it is told.
const LEAK_EVERY: Duration = Duration::from_millis(20);

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words == ["silent"] {
        println!("waiting for a licence that never comes");
        return std::future::pending().await;
    }
    let address = (Ipv4Addr::LOCALHOST, variable("PORT")?.parse()?).into();
    let name = format!("{}/{}", variable("HOST")?, variable("RELEASE")?);
    // Before it says that it listens: whoever reads that may end it at once.
    let told = matches!(*words, ["deaf", _]).then(|| signal(SignalKind::terminate())).transpose()?;
    let backend = match words.as_slice() {
        ["sick"] => Backend::start_flawed_at(&name, address, Flaw { status: 500, ..Flaw::NONE }).await?,
        ["failing", one_in] => {
            let flaw = Flaw { fails_one_in: one_in.parse()?, ..Flaw::NONE };
            Backend::start_flawed_at(&name, address, flaw).await?
        }
        ["slow", one_in, pause] => {
            let pause = Duration::from_millis(pause.parse()?);
            let flaw = Flaw { slow_one_in: one_in.parse()?, pause, ..Flaw::NONE };
            Backend::start_flawed_at(&name, address, flaw).await?
        }
        _ => Backend::start_at(&name, address).await?,
    };
    println!("{name} listens on {}", backend.address);
    match words.as_slice() {
        ["crash", after] => {
            tokio::time::sleep(Duration::from_millis(after.parse()?)).await;
            Err("the connection to the database was lost".into())
        }
        ["leak"] => leak(LEAK_EVERY).await,
        ["leak", pause] => leak(Duration::from_millis(pause.parse()?)).await,
        ["deaf", file] => {
            let mut told = told.expect("it was asked for above");
            while told.recv().await.is_some() {
                std::fs::write(file, "told to end, and does not want to")?;
            }
            Ok(())
        }
        _ => std::future::pending().await,
    }
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| format!("`{name}` is not set").into())
}

/// Takes a mebibyte of memory every few milliseconds, and says so.
async fn leak(pause: Duration) -> Result<(), Failure> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![1; 1 << 20]);
        if kept.len().is_multiple_of(16) {
            println!("{} MiB taken", kept.len());
        }
        tokio::time::sleep(pause).await;
    }
}
