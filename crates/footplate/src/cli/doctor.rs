//! `footplate doctor`: checks the set-up from here to the store, and says what to do.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use footplate_core::moment::in_words;
use footplate_drivers::shell::{self, Script};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Operator;
use super::app::config_of;
use crate::api::{Check, Health};
use crate::client::Client;
use crate::clock;
use crate::config::app::FILE_NAME;
use crate::failure::{Exit, Failure};

/// The most that two clocks may differ: history and deadlines are read by people of several machines.
const SKEW_MAX: Duration = Duration::from_secs(5);
/// How long a program may take to say its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// Check the set-up, from this machine to the store, and say what to do
///
/// Looks at this machine (git, footplate.toml, the token file), at the controller (reachable, version, clock, disk), at
/// the store (reachable, writable, lease) and at the hosts (versions, clocks, disks).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate doctor
  footplate doctor --json

Exit codes: 0 all is well, 1 something is not.")]
pub struct DoctorArgs {}

/// Makes every check and fails when one does.
pub async fn doctor(operator: &Operator, _: &DoctorArgs) -> Result<(), Failure> {
    let mut checks = vec![check_git().await];
    checks.extend(check_app());
    checks.extend(operator.token_file().as_deref().map(check_token_file));
    checks.extend(check_controller(operator).await);
    let sick = checks.iter().filter(|check| !check.ok).count();
    operator.ui.show(&Answer(checks))?;
    match sick {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Failed, "one check is not well")),
        many => Err(Failure::new(Exit::Failed, format!("{many} checks are not well"))),
    }
}

fn well(name: &str, found: impl Into<String>) -> Check {
    Check { name: name.to_owned(), ok: true, found: found.into(), next: None }
}

fn sick(name: &str, found: impl Into<String>, next: impl Into<String>) -> Check {
    Check { name: name.to_owned(), ok: false, found: found.into(), next: Some(next.into()) }
}

async fn check_git() -> Check {
    let script = Script::new("git", "/").arguments(["--version"]).deadline(VERSION_DEADLINE);
    match shell::run(&script, &CancellationToken::new()).await {
        Ok(finished) if finished.succeeded() => well("git", finished.output.trim()),
        Ok(finished) => sick("git", format!("{} {}", finished.output.trim(), finished.end), "reinstall git"),
        Err(error) => {
            sick("git", error.to_string(), "install git; `footplate build` and a watched repository need it")
        }
    }
}

/// Checks the `footplate.toml` of this folder, when there is one.
fn check_app() -> Option<Check> {
    let here = Path::new(".");
    if !here.join(FILE_NAME).is_file() {
        return None;
    }
    Some(match config_of(here) {
        Ok(config) => well(FILE_NAME, format!("valid, app `{}`", config.app)),
        Err(failure) => sick(FILE_NAME, "it has mistakes", failure.render()),
    })
}

fn check_token_file(file: &Path) -> Check {
    let name = "token file";
    let shown = file.display();
    match std::fs::metadata(file).map(|metadata| metadata.permissions().mode() & 0o077) {
        Ok(0) => well(name, format!("{shown}, readable by its owner alone")),
        Ok(_) => sick(
            name,
            format!("{shown} can be read by others"),
            format!("chmod 600 {shown}, and change the token"),
        ),
        Err(error) => sick(name, format!("{shown}: {error}"), "name the right file with `--token-file`"),
    }
}

async fn check_controller(operator: &Operator) -> Vec<Check> {
    let name = "controller";
    let client = match operator.client() {
        Ok(client) => client,
        Err(failure) => return vec![sick(name, "it cannot be asked", failure.render())],
    };
    match client.health().await {
        Ok(health) => {
            let mut checks = vec![well(name, format!("answers at {}", client.address()))];
            checks.extend([check_version(&health), check_clock(&health)]);
            checks.extend(check_behind(operator, &client).await);
            checks
        }
        Err(error) => {
            let failure = operator.failed("cannot reach it", error);
            vec![sick(name, format!("does not answer at {}", client.address()), failure.render())]
        }
    }
}

/// Checks that the two versions may talk: one minor version apart at most.
fn check_version(health: &Health) -> Check {
    let own = env!("CARGO_PKG_VERSION");
    let found = format!("controller {}, this program {own}", health.version);
    match (minor(own), minor(&health.version)) {
        (Some((major, own)), Some((other_major, other)))
            if major == other_major && own.abs_diff(other) <= 1 =>
        {
            well("version", found)
        }
        _ => sick("version", found, "install versions that are at most one minor version apart"),
    }
}

fn minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn check_clock(health: &Health) -> Check {
    let now = clock::now();
    let skew = health.now.since(now).max(now.since(health.now));
    let found = format!("{} apart from the controller's", in_words(skew));
    if skew <= SKEW_MAX {
        well("clock", found)
    } else {
        sick("clock", found, "let both machines keep their time by NTP")
    }
}

/// Checks what only the controller sees: store, disk, hosts.
async fn check_behind(operator: &Operator, client: &Client) -> Vec<Check> {
    match client.doctor().await {
        Ok(checks) => checks,
        Err(error) => {
            let failure = operator.failed("cannot ask the controller", error);
            vec![sick("token", "the controller does not tell us more", failure.render())]
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Answer(Vec<Check>);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.0 {
            writeln!(f, "{}  {}: {}", if check.ok { "well" } else { "SICK" }, check.name, check.found)?;
            for line in check.next.iter().flat_map(|next| next.lines()) {
                writeln!(f, "      {line}")?;
            }
        }
        Ok(())
    }
}
