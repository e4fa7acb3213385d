//! `footplate-load`: what benchmarks of proxies are driven with. A service that answers at once, and clients that ask as fast as they are
//! answered (`closed`) or at a given rate, whatever the answers do (`open`). One thread each, on epoll, so that they cost little beside
//! the proxy. Prints one JSON object.

mod clients;
mod service;

use std::process::ExitCode;

use clients::Clients;

const USAGE: &str = "usage: footplate-load serve ADDRESS BYTES
       footplate-load closed ADDRESS CLIENTS SECONDS
       footplate-load open ADDRESS CLIENTS SECONDS RATE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = match words.as_slice() {
        ["serve", address, bytes] => number(bytes).and_then(|bytes| service::run(address, bytes as usize)),
        ["closed", address, clients, seconds] => ask(address, clients, seconds, "0"),
        ["open", address, clients, seconds, rate] => ask(address, clients, seconds, rate),
        _ => Err(USAGE.into()),
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

fn ask(address: &str, clients: &str, seconds: &str, rate: &str) -> Result<(), Failed> {
    let clients = Clients::connect(address.parse()?, number(clients)? as usize)?;
    let outcome = clients.run(number(seconds)?, number(rate)?)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
