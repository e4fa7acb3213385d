//! How commands speak: data to stdout, talk to stderr, logs to stderr when asked for.
//!
//! Invariants: meaning never depends on colour; what is said, asked or answered in words is [`printable`], as it repeats
//! what hosts, hooks and commits say.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;

use comfy_table::{Table, presets};
use serde::Serialize;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::{Exit, Failure, as_json, printable};

/// A log above so many bytes is set aside at the next start.
const LOG_BYTES_MAX: u64 = 10 << 20;

/// The two streams of a command.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    json: bool,
    terminal: bool,
}

impl Ui {
    /// Speaks JSON on stdout when `json` is set.
    pub fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stderr().is_terminal() }
    }

    /// Tells whether stdout is for programs.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Tells whether a person watches stderr, so that lines may be drawn over.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints an answer to stdout: as JSON, or as its text.
    pub fn show<T: Serialize + Display>(&self, answer: &T) -> Result<(), Failure> {
        if self.json {
            self.print(&format!("{}\n", as_json(answer)))
        } else {
            self.print(&printable(&answer.to_string()))
        }
    }

    /// Prints text to stdout as it is.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // The reader has seen enough (`footplate status | head`).
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::new(Exit::Failed, "cannot write the answer").because(&error)),
            Ok(()) => Ok(()),
        }
    }

    /// Says something to the person, on stderr.
    pub fn say(&self, text: impl AsRef<str>) {
        // Nothing can be told to somebody whose stderr is closed.
        drop(writeln!(anstream::stderr(), "{}", printable(text.as_ref())));
    }

    /// Asks a yes-or-no question; no terminal is a no.
    pub fn confirm(&self, question: &str) -> bool {
        if !(self.terminal && std::io::stdin().is_terminal()) {
            return false;
        }
        // Nothing can be asked of somebody whose stderr is closed; no answer is a no.
        drop(write!(anstream::stderr(), "{} [y/N] ", printable(question)));
        let mut answer = String::new();
        let heard = std::io::stdin().read_line(&mut answer).is_ok();
        heard && matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

/// Lays out rows below a heading, without lines around them.
pub fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heading);
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Sends the program's own log to a file, and errors to stderr too: for roles that share a terminal with what people read.
pub fn listen_in(file: &Path) -> std::io::Result<()> {
    if std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        std::fs::rename(file, file.with_extension("old"))?;
    }
    let log = OpenOptions::new().create(true).append(true).open(file)?;
    let kept = fmt::layer().with_target(false).with_ansi(false).with_writer(Mutex::new(log));
    let shown = fmt::layer().with_target(false).with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(kept.with_filter(LevelFilter::INFO))
        .with(shown.with_filter(LevelFilter::ERROR))
        .init();
    Ok(())
}

/// Sends the program's own log to stderr, as lines of JSON when `json` is set: warnings, or more with `-v`.
pub fn listen(verbose: u8, json: bool) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let log = fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    if json {
        log.json().init();
    } else {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        log.with_ansi(colour).init();
    }
}
