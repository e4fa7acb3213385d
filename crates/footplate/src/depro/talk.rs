//! What a `depro` command says: the original's lines on stdout, reasons and advice on stderr.
//!
//! Invariant: a reader that went away (`depro deploy 1 | head -1`) ends nothing; a deploy goes on without being watched.

use std::io::Write;

/// Prints a line to stdout.
pub fn say(line: impl AsRef<str>) {
    // Nobody is left who could be told, and the exit code still tells the end.
    drop(writeln!(std::io::stdout(), "{}", line.as_ref()));
}

/// Prints a line to stderr.
pub fn explain(line: impl AsRef<str>) {
    drop(writeln!(std::io::stderr(), "{}", line.as_ref()));
}
