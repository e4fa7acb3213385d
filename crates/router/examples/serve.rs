//! The router alone, as a program: `serve FOLDER ADDRESS [WORKERS]`. Drive it over `FOLDER/control.sock`.

use footplate_router::{Config, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, address, rest @ ..] = arguments.as_slice() else {
        return Err("usage: serve FOLDER ADDRESS [WORKERS]".into());
    };
    let mut config = Config::new(folder, vec![address.parse()?]);
    if let Some(workers) = rest.first() {
        config.workers = workers.parse()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::open(config).await?;
        println!("{}", server.addresses()[0]);
        server.run(std::future::pending()).await?;
        Ok(())
    })
}
