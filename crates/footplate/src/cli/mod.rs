//! The command line: one file a command; a command's doc comment is its help.
//!
//! Invariants: stdout is data, stderr is talk; every command ends in [`Exit`]; commands talk to the controller through
//! `client` and never to a store.

mod abort;
mod agent;
mod app;
mod build;
mod clean;
mod completions;
mod connection;
mod controller;
mod deploy;
mod depro;
mod doctor;
pub mod example;
#[cfg(test)]
pub(crate) mod fixture;
mod gate;
mod generate_docs;
mod history;
mod hosts;
mod init;
mod judge;
mod logs;
mod operator;
mod pause;
mod progress;
mod promote;
mod push;
mod resume;
mod rollback;
mod router;
mod screen;
mod signal;
mod state;
mod status;
mod store;
mod top;
mod traffic;
mod ui;
mod up;
mod verdict;
pub mod watch;
mod when;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use operator::Operator;
pub use ui::{Ui, listen_in, table};

use crate::failure::{Exit, Failure};
use crate::keeper;

/// Continuous deployment for a team's own machines: from commit to every host, and back when it is bad
#[derive(Parser, Debug)]
#[command(
    name = "footplate",
    version,
    disable_help_subcommand = true,
    after_help = "Examples:
  footplate up                      start everything here and deploy the example app
  footplate deploy shop@1.4.2       bring version 1.4.2 of shop to production
  footplate status                  what runs where, since when, by whom
  footplate rollback shop           back to the release before

Exit codes: 0 done, 1 failed or rolled back, 2 usage, 3 refused, 4 deadline, 5 unreachable."
)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Globals {
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    json: bool,
    /// Data directory; holds what `footplate up` keeps [default: the nearest .footplate]
    #[arg(long, global = true, env = "FOOTPLATE_DATA", hide_env_values = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address of the controller [default: what the data directory says, else http://127.0.0.1:7701]
    #[arg(long, global = true, env = "FOOTPLATE_CONTROLLER", hide_env_values = true, value_name = "URL")]
    controller: Option<String>,
    /// File that holds the token for the controller
    #[arg(long, global = true, env = "FOOTPLATE_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authority to trust for a controller over https, as a PEM file [default: the system's]
    #[arg(long, global = true, env = "FOOTPLATE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Name that the history records [default: the user's name]
    #[arg(long = "as", global = true, env = "FOOTPLATE_ACTOR", hide_env_values = true, value_name = "NAME")]
    actor: Option<String>,
    /// Say more about what happens; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// The commands, in the order of a deployment's life.
#[derive(Subcommand, Debug)]
enum Command {
    Up(up::UpArgs),
    Init(init::InitArgs),
    Agent(agent::AgentArgs),
    Controller(controller::ControllerArgs),
    Router(router::RouterArgs),
    #[command(subcommand)]
    Store(store::StoreCommand),
    Build(build::BuildArgs),
    Push(push::PushArgs),
    Deploy(deploy::DeployArgs),
    Promote(promote::PromoteArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Abort(abort::AbortArgs),
    Rollback(rollback::RollbackArgs),
    Gate(gate::GateArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    History(history::HistoryArgs),
    Logs(logs::LogsArgs),
    #[command(subcommand)]
    Hosts(hosts::HostsCommand),
    Judge(Box<judge::JudgeArgs>),
    Verdict(verdict::VerdictArgs),
    Clean(clean::CleanArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    /// Speak the original Depro's command line: agent, deploy, query, version
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  footplate depro --help\n  footplate depro deploy -prefix=api/version -nodes=3 1.4.2"
    )]
    Depro {
        /// Arguments, as the original takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(hide = true)]
    Keeper(keeper::KeeperArgs),
    #[command(hide = true)]
    GenerateDocs(generate_docs::GenerateDocsArgs),
}

impl Cli {
    /// Tells whether the log goes to a file: `up` shows people what matters, in the words of the commands.
    fn keeps_its_log(&self) -> bool {
        matches!(self.command, Command::Up(_)) && self.globals.verbose == 0
    }
}

impl Command {
    /// Tells whether it runs until it is told to end, so that its log is worth reading.
    fn is_role(&self) -> bool {
        match self {
            Command::Agent(_) | Command::Controller(_) | Command::Router(_) => true,
            Command::Store(command) => command.is_role(),
            _ => false,
        }
    }
}

/// Runs the program with these arguments, the program's own name first, and returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(arguments) = depro::called(&arguments) {
        return depro::main(arguments);
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, arguments.iter().any(|argument| argument == "--json")),
    };
    if let Command::Depro { arguments } = cli.command {
        return depro::main([vec!["depro".into()], arguments].concat());
    }
    if let Command::Keeper(args) = &cli.command {
        return keeper::main(args);
    }
    let json = cli.globals.json;
    if !cli.keeps_its_log() {
        ui::listen(cli.globals.verbose + u8::from(cli.command.is_role()), json);
    }
    // An agent shares its machine with what it deploys: one thread of its own is enough.
    let mut runtime = match cli.command {
        // A router's own threads do the work.
        Command::Agent(_) | Command::Router(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::new(Exit::Failed, "cannot start").because(&error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let operator = Operator::new(cli.globals);
    match cli.command {
        Command::Up(args) => up::up(&operator, &args).await,
        Command::Init(args) => init::init(&operator, &args),
        Command::Agent(args) => agent::agent(&operator, &args).await,
        Command::Controller(args) => controller::controller(&operator, &args).await,
        Command::Router(args) => router::router(&operator, &args).await,
        Command::Store(command) => store::store(&operator, &command).await,
        Command::Build(args) => build::build(&operator, &args).await,
        Command::Push(args) => push::push(&operator, &args).await,
        Command::Deploy(args) => deploy::deploy(&operator, &args).await,
        Command::Promote(args) => promote::promote(&operator, &args).await,
        Command::Pause(args) => pause::pause(&operator, &args).await,
        Command::Resume(args) => resume::resume(&operator, &args).await,
        Command::Abort(args) => abort::abort(&operator, &args).await,
        Command::Rollback(args) => rollback::rollback(&operator, &args).await,
        Command::Gate(args) => gate::gate(&operator, &args).await,
        Command::Status(args) => status::status(&operator, &args).await,
        Command::Top(args) => top::top(&operator, &args).await,
        Command::History(args) => history::history(&operator, &args).await,
        Command::Logs(args) => logs::logs(&operator, &args).await,
        Command::Hosts(command) => hosts::hosts(&operator, &command).await,
        Command::Judge(args) => judge::judge(&operator, &args).await,
        Command::Verdict(args) => verdict::verdict(&operator, &args).await,
        Command::Clean(args) => clean::clean(&operator, &args).await,
        Command::Doctor(args) => doctor::doctor(&operator, &args).await,
        Command::Completions(args) => completions::completions(&operator, &args, Cli::command()),
        Command::Depro { .. } | Command::Keeper(_) => unreachable!("`main` runs it without our runtime"),
        Command::GenerateDocs(args) => generate_docs::generate_docs(&operator, &args, Cli::command()),
    }
}

/// Prints what clap has to say: help and version to stdout with exit code 0, mistakes to stderr with exit code 2.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if error.exit_code() == 0 {
        // The reader of the help may have closed the pipe: nobody is left to be told.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    mistaken(&error.to_string()).report(json)
}

/// Takes what clap says of a mistake apart: what is wrong, what it takes it for, and whose help says more.
fn mistaken(text: &str) -> Failure {
    let mut parts = text.trim_start_matches("error: ").split("\n\n").map(str::trim);
    let failure = Failure::new(Exit::Usage, "cannot understand the command line")
        .because_of(parts.next().unwrap_or_default());
    let (tips, others): (Vec<&str>, Vec<&str>) = parts.partition(|part| part.starts_with("tip:"));
    // How to pass a word that begins with a dash helps nobody who meant an option.
    let tip =
        tips.into_iter().filter_map(|tip| tip.strip_prefix("tip: ")).find(|tip| !tip.starts_with("to pass"));
    let usage = others.into_iter().find_map(|part| part.strip_prefix("Usage: "));
    let is_command = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_lowercase());
    let command =
        usage.map(|usage| usage.split_whitespace().take_while(is_command).collect::<Vec<_>>().join(" "));
    let help = match command {
        Some(command) => format!("see `{command} --help`"),
        None => "see `footplate --help`, or `--help` after a command".to_owned(),
    };
    failure.next(tip.map_or_else(|| help.clone(), |tip| format!("{tip}; {help}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_answered_with_the_help_of_its_command() {
        let next = |words: &[&str]| {
            let error = Cli::try_parse_from([&["footplate"], words].concat()).expect_err("it is wrong");
            let told = mistaken(&error.to_string()).render();
            assert!(!told.contains("tip:"), "{told}");
            told.split("next: ").nth(1).expect("it says what to do").trim().to_owned()
        };
        assert_eq!(next(&["rollback", "shop", "--plan"]), "see `footplate rollback --help`");
        assert_eq!(next(&["hosts", "cordon"]), "see `footplate hosts cordon --help`");
        assert_eq!(next(&["--wrong"]), "see `footplate --help`");
        assert_eq!(
            next(&["deploy", "shop", "--detac"]),
            "a similar argument exists: '--detach'; see `footplate deploy --help`"
        );
        assert_eq!(next(&["stats"]), "a similar subcommand exists: 'status'; see `footplate --help`");
    }
}
