//! Runs a deployment's script lists the way the original did.
//!
//! Invariants: a list is one shell process, so that variables and `cd` carry over from line to line; it starts in the
//! version's directory with the agent's environment and five variables more, with empty standard input; its result is
//! the status of its last command, unless the deployment is `strict`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use footplate_drivers::shell::{self, Base, Script};
use tokio_util::sync::CancellationToken;

use super::config::Deployment;
use super::tree::{Node, Version};

/// Which of the three lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a version whole.
    Deploy,
    /// Switches to it.
    Rollout,
    /// Undoes what deploy did elsewhere.
    Clean,
}

impl Step {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Deploy => "deploy",
            Step::Rollout => "rollout",
            Step::Clean => "clean",
        }
    }

    fn lines(self, deployment: &Deployment) -> &[String] {
        match self {
            Step::Deploy => &deployment.deploy,
            Step::Rollout => &deployment.rollout,
            Step::Clean => &deployment.clean,
        }
    }
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What kept it from ending well, if anything did.
    pub failure: Option<String>,
    /// What it printed.
    pub output: String,
}

/// One script to run.
pub struct Order<'a> {
    /// Whose script.
    pub deployment: &'a Deployment,
    /// The agent's name.
    pub node: &'a Node,
    /// Which list.
    pub step: Step,
    /// For which version.
    pub version: &'a Version,
    /// The version's directory.
    pub directory: PathBuf,
    /// Where files say which scripts run.
    pub running: PathBuf,
}

/// Runs a script to its end. An empty list has ended well at once.
pub async fn run(order: &Order<'_>, stop: &CancellationToken) -> Outcome {
    let lines = order.step.lines(order.deployment);
    if lines.is_empty() {
        return Outcome { failure: None, output: String::new() };
    }
    let file = std::env::temp_dir().join(format!("{}.sh", uuid::Uuid::new_v4()));
    let text = render(order.deployment, lines);
    if let Err(error) = write(&file, &text) {
        return Outcome {
            failure: Some(format!("cannot write {}: {error}", file.display())),
            output: String::new(),
        };
    }
    let finished = shell::run(&script(order, &file), stop).await;
    if let Err(error) = std::fs::remove_file(&file) {
        tracing::warn!("cannot remove {}: {error}", file.display());
    }
    match finished {
        Ok(finished) => Outcome {
            failure: (!finished.succeeded()).then(|| finished.end.to_string()),
            output: finished.output,
        },
        Err(error) => Outcome { failure: Some(footplate_drivers::chain(&error)), output: String::new() },
    }
}

fn render(deployment: &Deployment, lines: &[String]) -> String {
    let strict = if deployment.strict { "set -e\n" } else { "" };
    format!("#!/usr/bin/env {}\n{strict}{}\n", deployment.shell, lines.join("\n"))
}

/// Readable for us alone: the lines may hold secrets. (The original's mode 000 could be read by root only.)
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

fn script(order: &Order<'_>, file: &Path) -> Script {
    let deployment = order.deployment;
    let mut script = Script::new(&deployment.shell, &order.directory)
        .arguments([file])
        .deadline(deployment.timeout)
        .variable("VERSION", order.version.as_str())
        .variable("AGENT_NAME", order.node.as_str())
        .variable("DEPLOYMENT_ID", &deployment.id)
        .variable("DEPLOYMENT_PREFIX", &deployment.prefix_text)
        .variable("DEPLOYMENT_PATH", &deployment.path);
    script.base = Base::Own;
    script.run_file = Some(order.running.join(format!("{}~{}", order.step.as_str(), order.version)));
    script
}
