//! `footplate promote`.

use clap::Args;

use super::Operator;
use super::app::AppArgs;
use super::watch::{self, OrderArgs};
use crate::api::OrderVerb;
use crate::failure::Failure;

/// Let a rollout that holds go on to the switch
///
/// Works while all targets are prepared and the rollout waits for a person: it was begun with `--hold`, or the
/// app's footplate.toml says `hold = true`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate promote shop
  footplate promote shop --detach   do not wait for the end")]
pub struct PromoteArgs {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    order: OrderArgs,
    /// Return at once instead of showing the rollout until its end
    #[arg(long)]
    detach: bool,
}

/// Orders the rollout to go on and shows it until its end.
pub async fn promote(operator: &Operator, args: &PromoteArgs) -> Result<(), Failure> {
    let path = args.app.path()?;
    let rollout = watch::order(operator, &path, OrderVerb::Promote, &args.order).await?;
    if args.detach {
        return operator.ui.show(&watch::Ordered::from(rollout));
    }
    watch::until_the_end(operator, &operator.client()?, &path, (&rollout).into()).await
}
