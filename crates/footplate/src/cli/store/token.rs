//! `footplate store token create|join|list|revoke`: who may use the embedded store.

use std::fmt;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use footplate_core::moment::Moment;
use footplate_core::name::HostName;
use serde::Serialize;

use crate::cli::{Operator, ui, when};
use crate::config::duration;
use crate::config::store::StoreSettings;
use crate::failure::{Exit, Failure};
use crate::stores::{Purpose, Role, Token, Tokens};

/// Say who may use the embedded store
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token for a role and print it
    #[command(after_help = "Examples:
  umask 077     # whoever reads a token file refuses one that others may read
  footplate store token create --role controller > controller.token
  footplate store token create --role agent --host web-1 > web-1.token

The token is shown once; the store keeps only its hash.")]
    Create(CreateArgs),
    /// Make a token that each new host exchanges once for one of its own
    #[command(after_help = "Examples:
  umask 077
  footplate store token join --uses 20 --valid 2h > join.token
  footplate agent --store https://10.0.0.5:7700 --join-token-file join.token")]
    Join(JoinArgs),
    /// List the tokens, without their texts
    #[command(after_help = "Examples:\n  footplate store token list --store-token-file root.token")]
    List(ListArgs),
    /// Make a token void
    #[command(after_help = "Examples:\n  footplate store token revoke 3f1c2ab94d5e6f70")]
    Revoke(RevokeArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleName {
    /// Everything below the root
    Controller,
    /// The orders and reports of one host
    Agent,
    /// Looking at everything but the orders
    Reader,
}

impl RoleName {
    /// Returns the role; an agent's needs its host.
    pub(super) fn role(self, host: Option<&HostName>) -> Result<Role, Failure> {
        match (self, host) {
            (RoleName::Controller, _) => Ok(Role::Controller),
            (RoleName::Reader, _) => Ok(Role::Reader),
            (RoleName::Agent, Some(host)) => Ok(Role::Agent(host.clone())),
            (RoleName::Agent, None) => Err(Failure::new(Exit::Usage, "cannot tell which agent")
                .because_of("an agent may use the keys of its own host only")
                .next("name the host with `--host`")),
        }
    }
}

/// What a token is made for.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Role that shows it
    #[arg(long)]
    role: RoleName,
    /// Host of the agent
    #[arg(long, value_name = "NAME")]
    host: Option<HostName>,
    /// Name for people [default: the role]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    store: StoreSettings,
}

/// How often and how long a join token can be used.
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// Number of hosts that may join with it
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    uses: u32,
    /// How long it is good
    #[arg(long, default_value = "1h", value_parser = duration::parse, value_name = "TIME")]
    valid: Duration,
    /// Name for people
    #[arg(long, default_value = "join", value_name = "TEXT")]
    name: String,
    #[command(flatten)]
    store: StoreSettings,
}

/// Which store.
#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    store: StoreSettings,
}

/// Which token.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// Id of the token, as `list` shows it
    id: String,
    #[command(flatten)]
    store: StoreSettings,
}

/// Runs a command about tokens.
pub async fn token(operator: &Operator, command: &TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => {
            let role = args.role.role(args.host.as_ref())?;
            let name = args.name.clone().unwrap_or_else(|| format!("{:?}", args.role).to_lowercase());
            let made = Tokens::open(&args.store)?.create(&name, &Purpose::Role(role)).await?;
            operator.ui.show(&Made(made))
        }
        TokenCommand::Join(args) => {
            let purpose = Purpose::Join { uses: args.uses, valid: args.valid };
            let made = Tokens::open(&args.store)?.create(&args.name, &purpose).await?;
            operator.ui.show(&Made(made))
        }
        TokenCommand::List(args) => operator.ui.show(&Listed(Tokens::open(&args.store)?.list().await?)),
        TokenCommand::Revoke(args) => {
            Tokens::open(&args.store)?.revoke(&args.id).await?;
            operator.ui.say(format!("The token {} is void.", args.id));
            Ok(())
        }
    }
}

/// A new token: its text alone, so that it can be sent to a file.
#[derive(Serialize)]
#[serde(transparent)]
struct Made(Token);

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.token.as_deref().unwrap_or_default())
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<Token>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().map(|token| {
            let made = Moment::from_millis(token.created.saturating_mul(1000));
            vec![token.id.clone(), token.name.clone(), when::stamp(made), token.kind.to_string()]
        });
        f.write_str(&ui::table(&["ID", "NAME", "MADE", "RIGHTS"], rows))
    }
}
