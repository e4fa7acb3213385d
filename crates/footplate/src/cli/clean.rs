//! `footplate clean`.

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::Operator;
use super::app::{AppArgs, parse_release};
use crate::api::{self, Cleaned, Wanted};
use crate::failure::Failure;

/// Remove releases that the retention rule lets go, or one release, from every host
///
/// The rule is `[retain]` in footplate.toml. The current release and the one before are never removed.
/// Without `--release` the controller also forgets what was pushed and no environment keeps (`keep_pushed` in controller.toml).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate clean shop --plan            only say what would go
  footplate clean shop
  footplate clean shop --release 1.3.9   this one")]
pub struct CleanArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Remove this release: a version, a commit or a digest
    #[arg(long, value_name = "RELEASE", value_parser = parse_release)]
    release: Option<Wanted>,
    /// Only say what would go; change nothing
    #[arg(long)]
    plan: bool,
}

/// Removes releases.
pub async fn clean(operator: &Operator, args: &CleanArgs) -> Result<(), Failure> {
    let path = args.app.path()?;
    let what = format!("cannot clean `{}` in {}", path.app, path.environment);
    let order = api::Clean { path, release: args.release.clone(), plan: args.plan, actor: operator.actor()? };
    let cleaned = operator.client()?.clean(&order).await.map_err(|error| operator.failed(&what, error))?;
    operator.ui.show(&Answer { plan: args.plan, cleaned })
}

#[derive(Serialize)]
struct Answer {
    plan: bool,
    #[serde(flatten)]
    cleaned: Cleaned,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.plan { "would remove" } else { "removed" };
        if self.cleaned.removed.is_empty() && self.cleaned.forgotten.is_empty() {
            writeln!(f, "Nothing to remove.")?;
        }
        for release in &self.cleaned.removed {
            writeln!(f, "{verb} {release}")?;
        }
        let forgets = if self.plan { "would forget" } else { "forgot" };
        for release in &self.cleaned.forgotten {
            writeln!(f, "{forgets} {release}: it was pushed, and no environment keeps it")?;
        }
        for (release, why) in &self.cleaned.kept {
            writeln!(f, "kept {release}: {why}")?;
        }
        Ok(())
    }
}
