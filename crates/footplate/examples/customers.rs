//! Customers of a service, for scripts: `customers ADDRESS CLIENTS PATH [MS]` asks until it is told to end by TERM, half of the clients
//! over one connection for each request, with a pause after each. `customers ADDRESS every-kind MS` is a crowd that also uploads, downloads
//! and keeps WebSockets. Prints a line of JSON; ends with 1 if a request failed.

use std::process::ExitCode;
use std::time::Duration;

use footplate_testkit::crowd;
use footplate_testkit::load::{Load, Outcome, Running};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str =
    "usage: customers ADDRESS CLIENTS PATH [MILLISECONDS], or customers ADDRESS every-kind MILLISECONDS";

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut told = signal(SignalKind::terminate())?;
    let running = match words.as_slice() {
        [address, "every-kind", pause] => {
            let all = crowd::start(address.parse()?, milliseconds(pause)?);
            all.into_iter().map(|(_, running)| running).collect()
        }
        [address, clients, path] => two_kinds(address, clients, path, Duration::ZERO)?,
        [address, clients, path, pause] => two_kinds(address, clients, path, milliseconds(pause)?)?,
        _ => return Err(USAGE.into()),
    };
    told.recv().await;
    let mut all = Outcome::default();
    for running in running {
        all.add(running.stop().await);
    }
    let [p50, p99] = [0.5, 0.99].map(|part| all.quantile(part).as_micros());
    println!("{}", json!({ "requests": all.requests, "failed": all.failed, "p50_us": p50, "p99_us": p99 }));
    for failure in &all.failures {
        eprintln!("{failure}");
    }
    Ok(if all.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn milliseconds(text: &str) -> Result<Duration, Failure> {
    Ok(Duration::from_millis(text.parse()?))
}

fn two_kinds(address: &str, clients: &str, path: &str, pause: Duration) -> Result<Vec<Running>, Failure> {
    let clients = clients.parse::<usize>()?;
    let load = Load { path: path.to_owned(), pause, ..Load::new(address.parse()?, clients.div_ceil(2)) };
    let one_shot = Load { keep_alive: false, clients: clients / 2, ..load.clone() };
    Ok(vec![load.start(), one_shot.start()])
}
