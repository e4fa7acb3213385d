//! `footplate store policy`: what a role may do, in the words of the store.

use clap::{Args, ValueEnum};
use footplate_core::name::HostName;

use super::token::RoleName;
use crate::cli::Operator;
use crate::failure::{Exit, Failure};
use crate::stores::{self, Dialect, Role};

/// Print the least that a role needs, as a Consul ACL policy, as etcd commands or as rights of the embedded store
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate store policy consul --role agent --host web-1 > policy.hcl
  footplate store policy consul --role agent --host web-1 --services production-
  footplate store policy etcd --role controller | sh")]
pub struct PolicyArgs {
    /// Store it is for
    dialect: DialectName,
    /// Role it is for
    #[arg(long)]
    role: RoleName,
    /// Host of the agent
    #[arg(long, value_name = "NAME")]
    host: Option<HostName>,
    /// Beginning of the names of services that the agent may enter in Consul's catalog ([discovery] in agent.toml)
    #[arg(long, value_name = "PREFIX", value_parser = service_prefix)]
    services: Option<String>,
    /// Text before every key
    #[arg(long, default_value = "footplate/", value_name = "TEXT")]
    root: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DialectName {
    /// A policy in HCL
    Consul,
    /// Commands for etcdctl
    Etcd,
    /// The rights of a token, in JSON
    Embedded,
}

/// Prints the policy of a role.
pub fn policy(operator: &Operator, args: &PolicyArgs) -> Result<(), Failure> {
    let dialect = match args.dialect {
        DialectName::Consul => Dialect::Consul,
        DialectName::Etcd => Dialect::Etcd,
        DialectName::Embedded => Dialect::Embedded,
    };
    let role = args.role.role(args.host.as_ref())?;
    let mut text = stores::policy(&args.root, dialect, &role);
    if let Some(prefix) = &args.services {
        if dialect != Dialect::Consul || !matches!(role, Role::Agent(_)) {
            return Err(Failure::new(Exit::Usage, "cannot say who may write services")
                .because_of("agents enter services, and Consul's catalog alone takes them")
                .next("leave `--services` out, or ask for `consul --role agent`"));
        }
        text.push_str(&stores::services(prefix));
    }
    operator.ui.print(&text)
}

fn service_prefix(text: &str) -> Result<String, String> {
    match text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        true => Ok(text.to_owned()),
        false => Err("expected letters, digits and `-`".to_owned()),
    }
}
