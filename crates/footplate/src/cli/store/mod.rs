//! `footplate store serve|token`: the embedded store and who may use it.

pub mod serve;

use clap::Subcommand;

use super::Operator;
use crate::failure::Failure;

/// Run the embedded store and say who may use it
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    Serve(serve::ServeArgs),
}

/// Runs a command of the store.
pub async fn store(operator: &Operator, command: &StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Serve(args) => serve::serve(operator, args).await,
    }
}
