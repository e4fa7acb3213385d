//! Serves a data directory on a loopback port until it is told to stop: `serve DIRECTORY ADDRESS`.
//! Prints `ready ADDRESS` once it listens. The crash tests kill it.

use footplate_kv::{Config, Failure, Server};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::process::ExitCode {
    match serve().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Failure> {
    let usage = || Failure::new("cannot start", "two arguments are wanted", "run: serve DIRECTORY ADDRESS");
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or_else(usage)?;
    let listen = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let server = Server::open(Config { listen, ..Config::loopback(directory) }).await?;
    let listener = server.bind().await?;
    let address = listener.local_addr().map_err(|error| Failure::new("cannot listen", error, "try again"))?;
    println!("ready {address}");
    let told = async {
        tokio::signal::ctrl_c().await.expect("signals can be handled");
    };
    server.serve(listener, told).await?;
    server.close().await;
    Ok(())
}
