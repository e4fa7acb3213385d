//! Yola's way: files under `versions/RELEASE`, a `live` link, and hooks run by `sh -c` in the release's directory.

use footplate_core::release::{Hook, Hooks, Release};
use footplate_core::target::Verb;
use tokio_util::sync::CancellationToken;

use super::target::Target;
use super::{Output, WorkloadError};
use crate::failpoint;
use crate::shell::Script;

/// Runs the prepare hook in the unpacked files.
pub(super) async fn prepare(
    target: &Target,
    release: &Release,
    hooks: &Hooks,
    stop: &CancellationToken,
) -> Result<Output, WorkloadError> {
    match &hooks.prepare {
        Some(hook) => run(target, release, hook, Verb::Prepare, "prepare hook", stop).await,
        None => Ok(Output::default()),
    }
}

/// Switches `live`, then runs the activated hook. A failed hook leaves the switch: going back is a decision, not ours.
pub(super) async fn activate(
    target: &Target,
    release: &Release,
    hooks: &Hooks,
    stop: &CancellationToken,
) -> Result<Output, WorkloadError> {
    let id = release.id.clone();
    let Some(hook) = &hooks.activated else {
        target.on_disk(move |versions| versions.switch(&id).and_then(|()| versions.end_activation())).await?;
        return Ok(Output::default());
    };
    let mut script = script(target, release, hook).await?;
    target
        .on_disk(move |versions| versions.begin_activation(&id).and_then(|()| versions.switch(&id)))
        .await?;
    script.directory = target.versions.release(&release.id);
    let output = target.run(release, Verb::Activate, "activated hook", script, stop).await?;
    failpoint!("activate.hook_done");
    target.on_disk(|versions| versions.end_activation()).await?;
    Ok(output)
}

async fn run(
    target: &Target,
    release: &Release,
    hook: &Hook,
    verb: Verb,
    name: &'static str,
    stop: &CancellationToken,
) -> Result<Output, WorkloadError> {
    let script = script(target, release, hook).await?;
    target.run(release, verb, name, script, stop).await
}

/// Returns the hook as a script; read before the switch, so that `PREVIOUS` is what was live before.
async fn script(target: &Target, release: &Release, hook: &Hook) -> Result<Script, WorkloadError> {
    let mut script = Script::new("/bin/sh", target.versions.release(&release.id)).deadline(hook.deadline);
    script.environment = target.variables(release).await?;
    Ok(script.arguments(["-c", &hook.command]))
}
