//! `footplate generate-docs`: the reference of the command line and the man pages, from the program itself.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};

use super::Operator;
use crate::failure::{Exit, Failure};

/// Write docs/reference/cli.md and the man pages
#[derive(Args, Debug)]
pub struct GenerateDocsArgs {
    /// Folder of the project
    #[arg(default_value = ".")]
    project: PathBuf,
}

/// Writes the reference and the man pages below the project's `docs`.
pub fn generate_docs(operator: &Operator, args: &GenerateDocsArgs, program: Command) -> Result<(), Failure> {
    let reference = args.project.join("docs/reference/cli.md");
    write(&reference, render_reference(program.clone()).as_bytes())?;
    let pages = args.project.join("docs/man");
    for (name, page) in render_pages(program)? {
        write(&pages.join(name), &page)?;
    }
    operator.ui.say(format!("Wrote {} and {}.", reference.display(), pages.display()));
    Ok(())
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = file.parent().expect("every file here is in a folder");
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write `{}`", file.display())).because(&error)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(file, bytes).map_err(failed)
}

/// Renders the help of every command as one page.
pub fn render_reference(mut program: Command) -> String {
    program.build();
    let mut page =
        "# Command line\n\nWritten by `footplate generate-docs`; a test keeps it equal to the program.\n"
            .to_owned();
    render_command(&mut program, "footplate", &mut page);
    page
}

fn render_command(command: &mut Command, name: &str, page: &mut String) {
    let help = command.clone().bin_name(name).term_width(110).render_long_help().to_string();
    let help: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    page.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.trim_end()));
    for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set()) {
        let name = format!("{name} {}", below.get_name());
        render_command(below, &name, page);
    }
}

fn render_pages(mut program: Command) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    program.build();
    let mut pages = Vec::new();
    render_page(&program, "footplate".to_owned(), &mut pages)
        .map_err(|error| Failure::new(Exit::Failed, "cannot render a man page").because(&error))?;
    Ok(pages)
}

fn render_page(
    command: &Command,
    name: String,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), std::io::Error> {
    let mut page = Vec::new();
    let shown = command.clone().display_name(name.clone());
    clap_mangen::Man::new(shown).render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        render_page(below, format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}
