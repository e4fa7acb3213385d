//! Customers of a service, for scripts: `customers ADDRESS CLIENTS PATH [MS]` asks until it is told to end by TERM, half of the clients
//! over one connection for each request, with a pause after each. Prints a line of JSON; ends with 1 if a request failed.

use std::process::ExitCode;
use std::time::Duration;

use footplate_testkit::load::{Load, Outcome};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, clients, path, pause) = match arguments.as_slice() {
        [address, clients, path] => (address, clients, path, 0),
        [address, clients, path, pause] => (address, clients, path, pause.parse()?),
        _ => return Err("usage: customers ADDRESS CLIENTS PATH [MILLISECONDS]".into()),
    };
    let mut told = signal(SignalKind::terminate())?;
    let clients = clients.parse::<usize>()?;
    let pause = Duration::from_millis(pause);
    let load = Load { path: path.clone(), pause, ..Load::new(address.parse()?, clients.div_ceil(2)) };
    let one_shot = Load { keep_alive: false, clients: clients / 2, ..load.clone() };
    let running = [load.start(), one_shot.start()];
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
