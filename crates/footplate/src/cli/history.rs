//! `footplate history`.

use std::fmt;

use clap::{Args, value_parser};
use footplate_core::name::AppName;
use serde::Serialize;

use super::Operator;
use super::app::EnvironmentArgs;
use super::when::stamp;
use crate::api::HistoryEntry;
use crate::failure::Failure;

/// The most entries of one call.
const PAGE: u32 = 200;

/// List what happened: every order with who gave it and why, and how each rollout ended
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate history                   everything, newest first
  footplate history shop --limit 50
  footplate history --before 1207     the page before entry 1207
  footplate history shop --json")]
pub struct HistoryArgs {
    /// App [default: all]
    app: Option<AppName>,
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Most entries, at least 1
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    limit: u32,
    /// Only entries older than this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct History {
    entries: Vec<HistoryEntry>,
    /// The command that shows what is older, if anything is.
    #[serde(skip)]
    older: Option<String>,
}

/// Lists what happened, newest first.
pub async fn history(operator: &Operator, args: &HistoryArgs) -> Result<(), Failure> {
    let path = args.app.clone().map(|app| args.environment.path(app));
    let (client, limit) = (operator.client()?, args.limit as usize);
    let (mut entries, mut before, mut is_whole) = (Vec::new(), args.before, false);
    while entries.len() < limit {
        let count = PAGE.min(args.limit - u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let page = client.history(path.as_ref(), count, before).await;
        let page = page.map_err(|error| operator.failed("cannot read the history", error))?;
        let is_last = page.len() < count as usize;
        before = page.last().map(|entry| entry.sequence);
        entries.extend(page);
        if is_last {
            is_whole = true;
            break;
        }
    }
    let of = path.as_ref().map_or(String::new(), |path| format!(" {}", super::watch::place(path)));
    let older = before.filter(|_| !is_whole).map(|before| format!("footplate history{of} --before {before}"));
    operator.ui.show(&History { entries, older })
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return writeln!(f, "Nothing has happened yet.");
        }
        let rows = self.entries.iter().map(|entry| {
            vec![
                entry.sequence.to_string(),
                stamp(entry.at),
                entry
                    .path
                    .as_ref()
                    .map_or(String::new(), |path| format!("{} in {}", path.app, path.environment)),
                entry.actor.to_string(),
                entry.text.clone(),
            ]
        });
        f.write_str(&super::ui::table(&["NO", "WHEN", "APP", "BY", "WHAT"], rows))?;
        self.older.iter().try_for_each(|command| writeln!(f, "\nOlder ones: {command}"))
    }
}
