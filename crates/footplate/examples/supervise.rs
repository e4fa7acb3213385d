//! A supervisor's calls from a command line, for tests inside a machine that systemd runs: `supervise FOLDER start FILE`,
//! `stop|restart|forget|hangup NAME`, `list`, `revive`. Each call is another process, as after an agent's restart.

use std::path::Path;

use footplate_core::release::service::StopSignal;
use footplate_drivers::service::{self, Order, ServiceName, Status};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [folder, call, rest @ ..] = &words[..] else { return Err("say the folder and what to do".into()) };
    let supervisor = service::open(Path::new(folder), std::env::current_exe()?)?;
    let name = || rest.first().ok_or("say which")?.parse::<ServiceName>().map_err(Failure::from);
    match *call {
        "start" => {
            let order: Order = serde_json::from_slice(&std::fs::read(rest.first().ok_or("say which")?)?)?;
            print(&supervisor.start(&order).await?)?;
        }
        "stop" => supervisor.stop(&name()?).await?,
        "restart" => supervisor.restart(&name()?).await?,
        "forget" => supervisor.forget(&name()?).await?,
        "hangup" => supervisor.signal(&name()?, StopSignal::Hup).await?,
        "list" => supervisor.list().await?.iter().try_for_each(print)?,
        "revive" => supervisor.revive().await?.iter().for_each(|name| println!("{name}")),
        other => return Err(format!("nobody knows how to {other}").into()),
    }
    Ok(())
}

/// Prints a status as a line: name, phase, restarts, enforcement, last end.
fn print(status: &Status) -> Result<(), Failure> {
    let phase = serde_json::to_string(&status.phase)?;
    let enforced = serde_json::to_string(&status.enforced)?;
    let ended =
        status.last_exit.as_ref().map_or(String::new(), |exit| format!("{} ({})", exit.why, exit.is_fine));
    println!("{}\t{phase}\t{}\t{enforced}\t{ended}", status.name, status.restarts);
    Ok(())
}
