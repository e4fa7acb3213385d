//! `footplate logs`.

use std::fmt;
use std::time::Duration;

use clap::Args;
use footplate_core::name::HostName;
use serde::Serialize;

use super::Operator;
use super::app::AppArgs;
use super::when::stamp;
use crate::api::OutputEntry;
use crate::failure::{Failure, printable};

/// How often `--follow` asks.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// The most entries of one call.
const PAGE: u32 = 200;

/// Show what hooks and scripts printed on the targets of an app
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate logs shop                  all hosts, oldest first
  footplate logs shop --host web-1
  footplate logs shop --failed         only what failed
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
}

#[derive(Serialize)]
#[serde(transparent)]
struct Outputs(Vec<OutputEntry>);

/// Shows what hooks and scripts printed.
pub async fn logs(operator: &Operator, args: &LogsArgs) -> Result<(), Failure> {
    let (path, client) = (args.app.path()?, operator.client()?);
    let mut after = args.after;
    let mut shown = false;
    loop {
        let page = client.outputs(&path, args.host.as_ref(), after, PAGE).await;
        let mut page = page.map_err(|error| operator.failed("cannot read what hooks printed", error))?;
        let whole = page.len() >= PAGE as usize;
        after = page.iter().map(|entry| entry.sequence).max().unwrap_or(after);
        page.retain(|entry| !args.failed || !entry.ok);
        if !page.is_empty() || (!shown && !whole && !args.follow) {
            operator.ui.show(&Outputs(page))?;
            shown = true;
        }
        if whole {
            continue;
        }
        if !args.follow {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
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
            let text = printable(entry.text.trim_end());
            if !text.is_empty() {
                writeln!(f, "{text}")?;
            }
        }
        Ok(())
    }
}
