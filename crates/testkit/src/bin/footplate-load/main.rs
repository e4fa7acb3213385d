//! `footplate-load`: what benchmarks of proxies are driven with. A service that answers at once, and clients that ask as fast as they are
//! answered (`closed`) or at a given rate, whatever the answers do (`open`). One thread each, on epoll, so that they cost little beside
//! the proxy. A service may have its clients on its own thread: it asks as it is told on its standard input, a line each, and neither
//! waits for the other's turn on a core. Prints one JSON object for each run of clients.

mod clients;
mod service;
mod watch;

use std::process::ExitCode;

use clients::Clients;
use rustix::event::epoll::{self, EventData, EventFlags};
use service::{MARK, Service};
use watch::Watch;

const USAGE: &str = "usage: footplate-load serve ADDRESS BYTES
       footplate-load closed ADDRESS CLIENTS SECONDS
       footplate-load open ADDRESS CLIENTS SECONDS RATE
  `serve` takes the other two as lines on its standard input, too.";
/// The events of standard input.
const ORDERS: u64 = 0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = match words.as_slice() {
        ["serve", address, bytes] => number(bytes).and_then(|bytes| serve(address, bytes as usize)),
        words => Watch::new().and_then(|mut watch| ask(&mut watch, None, words)),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Failed = Box<dyn std::error::Error>;

fn number(text: &str) -> Result<u64, Failed> {
    text.parse().map_err(|_| format!("`{text}` is no number\n{USAGE}").into())
}

/// Answers until it is killed, and asks when it is told to.
fn serve(address: &str, bytes: usize) -> Result<(), Failed> {
    let mut watch = Watch::new()?;
    let mut service = Service::open(&watch, address, bytes)?;
    println!("{}", service.address()?);
    // A file or /dev/null cannot be watched, and gives no orders.
    let mut gives_orders = listen(&watch);
    loop {
        for event in watch.wait(None)? {
            match event {
                ORDERS if gives_orders => {
                    epoll::delete(&watch.poll, std::io::stdin())?;
                    let mut line = String::new();
                    gives_orders = std::io::stdin().read_line(&mut line)? > 0;
                    if gives_orders {
                        ask(&mut watch, Some(&mut service), &line.split_whitespace().collect::<Vec<_>>())?;
                        gives_orders = listen(&watch);
                    }
                }
                event if event & MARK != 0 => service.take(&watch, event)?,
                _ => {}
            }
        }
    }
}

fn listen(watch: &Watch) -> bool {
    epoll::add(&watch.poll, std::io::stdin(), EventData::new_u64(ORDERS), EventFlags::IN).is_ok()
}

fn ask(watch: &mut Watch, service: Option<&mut Service>, words: &[&str]) -> Result<(), Failed> {
    let (address, clients, seconds, rate) = match words {
        ["closed", address, clients, seconds] => (address, clients, seconds, "0"),
        ["open", address, clients, seconds, rate] => (address, clients, seconds, *rate),
        _ => return Err(USAGE.into()),
    };
    let clients = Clients::connect(watch, address.parse()?, number(clients)? as usize)?;
    let outcome = clients.run(watch, service, number(seconds)?, number(rate)?)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
