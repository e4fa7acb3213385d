//! Depro's way: three lists of shell lines, each run as one script in the release's directory.
//!
//! Variables, functions, `cd` and `set -e` carry over from line to line; the exit status is that of the last command.
//! Source of the protocol: the original's executor (`docs/reference`, Depro).

use std::path::Path;

use footplate_core::release::{Release, Scripts};
use footplate_core::target::Verb;
use tokio_util::sync::CancellationToken;

use super::environment;
use super::target::Target;
use super::{Output, WorkloadError};
use crate::failpoint;
use crate::shell::{Base, Script};

/// Returns a list of shell lines as one script for this shell, without variables: the agent's own environment, less what
/// begins with `FOOTPLATE_`, as the original gave it. `None` when there is nothing to run.
///
/// The lines are handed over as one argument: Linux takes 128 KiB there, and a longer script fails to start.
pub fn script(shell: &str, lines: &[String], directory: &Path) -> Option<Script> {
    if lines.is_empty() {
        return None;
    }
    let mut script = Script::new(shell, directory).arguments(["-c".to_owned(), lines.join("\n")]);
    script.base = Base::Own;
    Some(script)
}

/// Runs the list `deploy`.
pub(super) async fn prepare(
    target: &Target,
    release: &Release,
    scripts: &Scripts,
    stop: &CancellationToken,
) -> Result<Output, WorkloadError> {
    run(target, release, scripts, &scripts.deploy, Verb::Prepare, stop).await
}

/// Runs the list `rollout`, then remembers the release as live.
pub(super) async fn activate(
    target: &Target,
    release: &Release,
    scripts: &Scripts,
    stop: &CancellationToken,
) -> Result<Output, WorkloadError> {
    let output = run(target, release, scripts, &scripts.rollout, Verb::Activate, stop).await?;
    failpoint!("activate.hook_done");
    let id = release.id.clone();
    target.on_disk(move |versions| versions.switch(&id).and_then(|()| versions.end_activation())).await?;
    Ok(output)
}

/// Runs the list `clean`. Its exit status does not matter.
pub(super) async fn clean(
    target: &Target,
    release: &Release,
    scripts: &Scripts,
    stop: &CancellationToken,
) -> Result<Output, WorkloadError> {
    match run(target, release, scripts, &scripts.clean, Verb::Clean, stop).await {
        Err(WorkloadError::Script { output, end, .. }) => {
            tracing::info!(release = %release.id, %end, "the clean script failed; the release is removed all the same");
            Ok(output)
        }
        other => other,
    }
}

async fn run(
    target: &Target,
    release: &Release,
    scripts: &Scripts,
    lines: &[String],
    verb: Verb,
    stop: &CancellationToken,
) -> Result<Output, WorkloadError> {
    let Some(mut script) = script(&scripts.shell, lines, &target.versions.release(&release.id)) else {
        return Ok(Output::default());
    };
    script.environment = target.variables(release).await?;
    script.environment.extend(environment::of_depro(&target.placement, release));
    script.deadline = scripts.deadline;
    let name = match verb {
        Verb::Prepare => "deploy script",
        Verb::Activate => "rollout script",
        Verb::Clean => "clean script",
        Verb::Start | Verb::Accept | Verb::Stop => unreachable!("scripts have no service"),
    };
    target.run(release, verb, name, script, stop).await
}
