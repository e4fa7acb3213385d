//! `footplate pause`.

use clap::Args;

use super::Operator;
use super::app::AppArgs;
use super::watch::{self, OrderArgs};
use crate::api::OrderVerb;
use crate::failure::Failure;

/// Stop a rollout from going forward
///
/// Targets that prepare go on preparing; nothing is switched until `footplate resume`. The deadlines stand still
/// no longer than the rollout's own: see `footplate status`.
#[derive(Args, Debug)]
#[command(after_help = r#"Examples:
  footplate pause shop --reason "looking at the error rate""#)]
pub struct PauseArgs {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    order: OrderArgs,
}

/// Orders the rollout to stop going forward.
pub async fn pause(operator: &Operator, args: &PauseArgs) -> Result<(), Failure> {
    let rollout = watch::order(operator, &args.app.path()?, OrderVerb::Pause, &args.order).await?;
    operator.ui.show(&watch::Ordered::from(rollout))
}
