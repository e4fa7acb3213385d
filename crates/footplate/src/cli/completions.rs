//! `footplate completions`.

use clap::Args;
use clap_complete::Shell;

use super::Operator;
use crate::failure::Failure;

/// Print the completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate completions bash > /etc/bash_completion.d/footplate
  footplate completions fish > ~/.config/fish/completions/footplate.fish")]
pub struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

/// Prints the completions.
pub fn completions(
    operator: &Operator,
    args: &CompletionsArgs,
    mut program: clap::Command,
) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut program, "footplate", &mut text);
    operator.ui.print(&String::from_utf8_lossy(&text))
}
