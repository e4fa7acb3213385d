//! Developer commands: `cargo xtask test` is what the README and CI call; the rest serve whoever changes the code.
//! Depends on none of our crates: it reads text and starts programs, so it still builds when they do not.

mod bench;
mod check;
mod dependencies;
mod failure;
mod machine;
mod note;
mod packages;
mod program;
mod prove;
mod rules;
mod source;
mod test;
mod tree;
mod workspace;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;
use workspace::Workspace;

/// The developer's command line.
#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Footplate")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check format, lints, dependencies and house rules
    Check {
        /// Only the house rules, which takes a second
        #[arg(long)]
        rules: bool,
    },
    /// Install what the tests need, check the house rules, run every test
    Test,
    /// Install what the tests need from Debian's packages, and nothing more
    Packages,
    /// Run a test at a length that nobody waits for every day, and keep the result
    Prove {
        /// Which proof; all are listed without a name
        name: Option<String>,
    },
    /// Write the reference of the command line and the man pages anew from the program
    Docs,
    /// Take figures, with targets where some were promised
    Bench(bench::BenchArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Workspace::open().and_then(|workspace| perform(&arguments.command, &workspace)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: &Command, workspace: &Workspace) -> Result<(), Failure> {
    match command {
        Command::Check { rules: true } => check::house_rules(workspace),
        Command::Check { rules: false } => check::perform(workspace),
        Command::Test => test::perform(workspace),
        Command::Prove { name: None } => {
            prove::list();
            Ok(())
        }
        Command::Prove { name: Some(name) } => prove::perform(workspace, name),
        Command::Docs => {
            let mut cargo = workspace.cargo();
            cargo.args(["run", "--quiet", "--package", "footplate", "--", "generate-docs", "."]);
            program::perform(&mut cargo, "mend the build, or the help of the command it names")
        }
        Command::Bench(arguments) => bench::perform(workspace, arguments),
        Command::Packages => packages::install(&packages::cache_folder()?),
    }
}
