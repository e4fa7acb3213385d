//! `footplate abort`.

use clap::Args;

use super::Operator;
use super::app::AppArgs;
use super::watch::{self, OrderArgs};
use crate::api::OrderVerb;
use crate::failure::Failure;

/// Stop a rollout: nothing is switched, or what was switched goes back
///
/// Before the switch the rollout ends and every target keeps what it runs. After it the targets go back to the release
/// before. A deployment that waits for the rollout is taken back with it.
#[derive(Args, Debug)]
#[command(after_help = r#"Examples:
  footplate abort shop --reason "wrong branch"
  footplate abort shop --waiting           only the deployment that waits for the rollout

The exit code is 0 when the order was taken; `footplate status` shows the end."#)]
pub struct AbortArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Take back only the deployment that waits for the rollout
    #[arg(long)]
    waiting: bool,
    #[command(flatten)]
    order: OrderArgs,
}

/// Orders the rollout to stop.
pub async fn abort(operator: &Operator, args: &AbortArgs) -> Result<(), Failure> {
    let verb = if args.waiting { OrderVerb::Forgo } else { OrderVerb::Abort };
    let rollout = watch::order(operator, &args.app.path()?, verb, &args.order).await?;
    operator.ui.show(&watch::Ordered::from(rollout))
}
