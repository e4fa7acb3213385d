//! `footplate resume`.

use clap::Args;

use super::Operator;
use super::app::AppArgs;
use super::watch::{self, OrderArgs};
use crate::api::OrderVerb;
use crate::failure::Failure;

/// Let a paused rollout go forward again
///
/// See `footplate status` for who paused it.
#[derive(Args, Debug)]
#[command(after_help = r#"Examples:
  footplate resume shop"#)]
pub struct ResumeArgs {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    order: OrderArgs,
}

/// Orders the rollout to go forward again.
pub async fn resume(operator: &Operator, args: &ResumeArgs) -> Result<(), Failure> {
    let rollout = watch::order(operator, &args.app.path()?, OrderVerb::Resume, &args.order).await?;
    operator.ui.show(&watch::Ordered::from(rollout))
}
