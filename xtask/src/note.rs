//! Where and when a figure was taken, for the pages in docs/benchmarks.

use crate::failure::Failure;
use crate::machine::Machine;
use crate::program;
use crate::workspace::Workspace;
use std::process::Command;

/// The origin of a figure: without it nobody can take it again.
pub struct Origin {
    date: String,
    commit: String,
    command: String,
    load: String,
}

impl Origin {
    /// Reads the date and the commit; `command` is what the reader types to take the figure again.
    pub fn read(workspace: &Workspace, command: impl Into<String>) -> Result<Origin, Failure> {
        let date =
            program::read(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]), "install coreutils")?;
        let mut git = Command::new("git");
        git.current_dir(workspace.root()).args(["describe", "--always", "--dirty", "--exclude", "*"]);
        let commit = program::read(&mut git, "run it inside a git checkout")?;
        // Not known on a machine without /proc; then the line stays without a number.
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
        Ok(Origin {
            load,
            date: date.trim().to_owned(),
            commit: commit.trim().to_owned(),
            command: command.into(),
        })
    }

    /// Renders the lines that open a page of results.
    pub fn render(&self, machine: &Machine) -> String {
        let Origin { date, commit, command, load } = self;
        format!(
            "- command: `{command}`\n- commit: `{commit}`, {date}\n- machine: {machine}\n- load average at the end (1, 5, 15 min): {load}\n"
        )
    }
}

/// Writes one page into docs/benchmarks.
pub fn write_page(workspace: &Workspace, name: &str, text: &str) -> Result<(), Failure> {
    let folder = workspace.root().join("docs/benchmarks");
    let path = folder.join(format!("{name}.md"));
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text)).map_err(|error| {
        Failure::new(
            format!("cannot write {}", path.display()),
            error,
            "check the folder's rights and the disk",
        )
    })?;
    println!("written: docs/benchmarks/{name}.md");
    Ok(())
}
