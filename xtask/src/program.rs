//! Starting a program and judging how it ended.

use crate::failure::Failure;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns the command line as a person would type it, without its environment.
pub fn render(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a program with its output on the terminal. Fails when it cannot start or does not end with 0.
pub fn perform(command: &mut Command, next: &str) -> Result<(), Failure> {
    let status = command.status().map_err(|error| start_failure(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{}` failed", render(command)), status, next))
    }
}

/// Runs a program and returns what it wrote to its standard output.
pub fn read(command: &mut Command, next: &str) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| start_failure(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let talk = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(
        format!("`{}` failed", render(command)),
        format!("{}\n{}", output.status, talk.trim_end()),
        next,
    ))
}

/// Returns whether a program of that name is on the search path.
pub fn is_installed(name: &str) -> bool {
    // A plain user's path lacks the folders that hold `ip`.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|folder| Path::new(folder).join(name).is_file())
}

fn start_failure(command: &Command, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("cannot start `{}`", render(command)),
        error,
        "install it, or put its folder on PATH",
    )
}
