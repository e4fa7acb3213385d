//! `footplate logs`.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use clap::{Args, value_parser};
use footplate_core::name::{AppPath, HostName};
use serde::Serialize;

use super::Operator;
use super::app::AppArgs;
use super::when::stamp;
use crate::api::OutputEntry;
use crate::client::Client;
use crate::failure::Failure;

/// How often `--follow` asks.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// The most entries of one call.
const PAGE: u32 = 200;
const WHAT: &str = "cannot read what hooks printed";

/// Show what hooks and scripts printed on the targets of an app
///
/// Also the last lines of services that failed, were taken back, or had to be killed when they were to end.
///
/// With `--json` each line is one entry, an object of its own (JSON lines), because what is followed has no end.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate logs shop                  all hosts, oldest first
  footplate logs shop --host web-1
  footplate logs shop --failed         only what failed
  footplate logs shop --lines 20       the newest 20 entries
  footplate logs shop --follow         and what comes")]
pub struct LogsArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Only this host
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Only what failed
    #[arg(long)]
    failed: bool,
    /// Stay and show what comes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Only entries after this number
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    after: u64,
    /// Only the newest so many entries [default: all]
    #[arg(long, short = 'n', value_name = "COUNT", conflicts_with = "after", value_parser = value_parser!(u32).range(1..))]
    lines: Option<u32>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Outputs(Vec<OutputEntry>);

/// Shows what hooks and scripts printed.
pub async fn logs(operator: &Operator, args: &LogsArgs) -> Result<(), Failure> {
    let reader = Reader { client: operator.client()?, path: args.app.path()?, args, operator };
    let (mut after, mut shown) = (args.after, false);
    if let Some(lines) = args.lines {
        let (newest, last) = reader.newest(lines).await?;
        shown = reader.show(newest)?;
        after = last;
    }
    let mut reads_on = args.lines.is_none();
    loop {
        while reads_on {
            let page = reader.page(after).await?;
            reads_on = page.len() >= PAGE as usize;
            after = page.last().map_or(after, |entry| entry.sequence);
            shown |= reader.show(page)?;
        }
        if !args.follow {
            return if shown || operator.ui.is_json() {
                Ok(())
            } else {
                operator.ui.show(&Outputs(Vec::new()))
            };
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_INTERVAL) => reads_on = true,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// Reads the entries that were asked for, page by page.
struct Reader<'a> {
    client: Client,
    path: AppPath,
    args: &'a LogsArgs,
    operator: &'a Operator,
}

impl Reader<'_> {
    /// Returns the page of entries that follows `after`, oldest first.
    async fn page(&self, after: u64) -> Result<Vec<OutputEntry>, Failure> {
        let page = self.client.outputs(&self.path, self.args.host.as_ref(), after, PAGE).await;
        page.map_err(|error| self.operator.failed(WHAT, error))
    }

    /// Returns the newest so many entries that are asked for, oldest first, and the number of the newest of all.
    async fn newest(&self, lines: u32) -> Result<(Vec<OutputEntry>, u64), Failure> {
        let (mut found, mut before, mut last) = (VecDeque::new(), None, 0);
        while found.len() < lines as usize {
            let page = self.client.newest_outputs(&self.path, self.args.host.as_ref(), before, PAGE).await;
            let page = page.map_err(|error| self.operator.failed(WHAT, error))?;
            last = last.max(page.last().map_or(0, |entry| entry.sequence));
            before = page.first().map(|entry| entry.sequence);
            let is_first = page.len() < PAGE as usize;
            let asked = page.into_iter().rev().filter(|entry| self.is_asked_for(entry));
            asked.take(lines as usize - found.len()).for_each(|entry| found.push_front(entry));
            if is_first {
                break;
            }
        }
        Ok((found.into(), last))
    }

    fn is_asked_for(&self, entry: &OutputEntry) -> bool {
        !self.args.failed || !entry.ok
    }

    /// Shows what is asked for of a page; tells whether there was anything.
    fn show(&self, mut page: Vec<OutputEntry>) -> Result<bool, Failure> {
        page.retain(|entry| self.is_asked_for(entry));
        if page.is_empty() {
            return Ok(false);
        }
        let shown = match self.operator.ui.is_json() {
            true => self.operator.ui.print(&lines(&page)),
            false => self.operator.ui.show(&Outputs(page)),
        };
        shown.map(|()| true)
    }
}

/// Writes each entry as a line of JSON.
fn lines(page: &[OutputEntry]) -> String {
    let line = |entry| serde_json::to_string(entry).expect("entries have text keys only") + "\n";
    page.iter().map(line).collect()
}

impl fmt::Display for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "No hook or script has printed anything yet.");
        }
        for entry in &self.0 {
            let how = if entry.ok { "ok" } else { "FAILED" };
            writeln!(
                f,
                "--- {} {} {} {} {} {how} (no {})",
                stamp(entry.at),
                entry.host,
                entry.target,
                entry.release,
                entry.verb,
                entry.sequence
            )?;
            let text = entry.text.trim_end();
            if !text.is_empty() {
                writeln!(f, "{text}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use footplate_core::moment::Moment;
    use footplate_core::target::Verb;

    use super::*;

    #[test]
    fn entries_of_two_pages_are_lines_of_json_one_after_the_other() {
        let entry = |sequence| OutputEntry {
            sequence,
            at: Moment::default(),
            host: "web-1".parse().unwrap(),
            target: "production.shop.files".parse().unwrap(),
            release: "1".parse().unwrap(),
            verb: Verb::Prepare,
            ok: true,
            text: "one\ntwo".to_owned(),
        };
        let text = lines(&[entry(1), entry(2)]) + &lines(&[entry(3)]);
        let read = text.lines().map(|line| serde_json::from_str::<OutputEntry>(line).unwrap().sequence);
        assert_eq!(read.collect::<Vec<_>>(), [1, 2, 3]);
    }
}
