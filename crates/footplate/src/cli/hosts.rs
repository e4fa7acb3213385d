//! `footplate hosts list|cordon|uncordon|drain|remove`.

use std::fmt;

use clap::{Args, Subcommand};
use footplate_core::name::HostName;
use serde::Serialize;

use super::{Operator, ui};
use crate::api::{HostOrder, HostStatus, HostVerb};
use crate::failure::Failure;

/// List hosts, set one aside, take it back, or forget one that is gone
#[derive(Subcommand, Debug)]
pub enum HostsCommand {
    /// List the hosts with their labels and how they are
    #[command(after_help = "Examples:\n  footplate hosts list\n  footplate hosts list --json")]
    List,
    /// Leave a host out of further rollouts; what runs there stays
    #[command(after_help = "Examples:\n  footplate hosts cordon web-3 --reason \"disk is failing\"")]
    Cordon(HostArgs),
    /// Let a host take part again
    #[command(after_help = "Examples:\n  footplate hosts uncordon web-3")]
    Uncordon(HostArgs),
    /// Leave a host out of further rollouts, as `cordon` does; once footplate routes traffic, out of that too
    #[command(after_help = "Examples:\n  footplate hosts drain web-3 --reason \"new kernel\"")]
    Drain(HostArgs),
    /// Forget a host that is gone for good
    ///
    /// Refused while its agent is alive: stop that one first. A forgotten host that comes back joins as a new one.
    #[command(after_help = "Examples:\n  footplate hosts remove web-3")]
    Remove(HostArgs),
}

/// One host.
#[derive(Args, Debug)]
pub struct HostArgs {
    /// Host
    host: HostName,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Lists hosts or gives one an order.
pub async fn hosts(operator: &Operator, command: &HostsCommand) -> Result<(), Failure> {
    match command {
        HostsCommand::List => {
            let hosts = operator.client()?.hosts().await;
            operator.ui.show(&Hosts(hosts.map_err(|error| operator.failed("cannot list the hosts", error))?))
        }
        HostsCommand::Cordon(args) => order(operator, args, HostVerb::Cordon).await,
        HostsCommand::Uncordon(args) => order(operator, args, HostVerb::Uncordon).await,
        HostsCommand::Drain(args) => order(operator, args, HostVerb::Drain).await,
        HostsCommand::Remove(args) => order(operator, args, HostVerb::Remove).await,
    }
}

async fn order(operator: &Operator, args: &HostArgs, verb: HostVerb) -> Result<(), Failure> {
    let order = HostOrder { verb, by: operator.by(args.reason.as_deref())? };
    let what = format!("cannot give the order for host `{}`", args.host);
    let host = operator.client()?.host(&args.host, &order).await;
    let host = host.map_err(|error| operator.failed(&what, error))?;
    if verb == HostVerb::Drain {
        operator.ui.say("Until footplate routes traffic, a drain does what a cordon does.");
    }
    operator.ui.show(&Hosts(vec![host]))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Hosts(Vec<HostStatus>);

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "No host has joined yet. Start an agent with `footplate agent`.");
        }
        let rows = self.0.iter().map(|host| {
            let labels: Vec<String> =
                host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let alive = if host.alive { "alive" } else { "gone" };
            vec![
                host.host.to_string(),
                host.set_aside.as_ref().map_or(alive.to_owned(), |why| format!("{alive}, {why}")),
                host.targets.to_string(),
                labels.join(","),
                host.version.clone().unwrap_or_default(),
            ]
        });
        f.write_str(&ui::table(&["HOST", "STATE", "TARGETS", "LABELS", "VERSION"], rows))
    }
}
