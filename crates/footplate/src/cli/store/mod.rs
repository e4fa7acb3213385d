//! `footplate store`: the embedded store, who may use a store, and moving a site to another one.

mod policy;
mod serve;
mod token;
mod transfer;

use clap::Subcommand;

use super::Operator;
use crate::failure::Failure;
use transfer::Direction;

/// Run the embedded store, say who may use a store, move a site to another one
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    Serve(serve::ServeArgs),
    #[command(subcommand)]
    Token(token::TokenCommand),
    Policy(policy::PolicyArgs),
    /// Copy the site to another store, which must be empty
    #[command(after_help = "Examples:
  footplate store export https://consul.internal:8501
  footplate store export etcd.toml

Stop controller and agents first. Both sides are compared at the end.")]
    Export(transfer::TransferArgs),
    /// Copy the site of another store into this one, which must be empty
    #[command(after_help = "Examples:\n  footplate store import consul.toml --store http://127.0.0.1:7700")]
    Import(transfer::TransferArgs),
}

impl StoreCommand {
    /// Tells whether it runs until it is told to end.
    pub fn is_role(&self) -> bool {
        matches!(self, StoreCommand::Serve(_))
    }
}

/// Runs a command of the store.
pub async fn store(operator: &Operator, command: &StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Serve(args) => serve::serve(operator, args).await,
        StoreCommand::Token(command) => token::token(operator, command).await,
        StoreCommand::Policy(args) => policy::policy(operator, args),
        StoreCommand::Export(args) => transfer::transfer(operator, args, Direction::Export).await,
        StoreCommand::Import(args) => transfer::transfer(operator, args, Direction::Import).await,
    }
}
