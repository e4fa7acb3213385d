//! The program `haproxy`: checks a configuration, and starts with it where nobody else does.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Settings;
use crate::shell::{self, Script, ShellError};

/// How long a check or a start may take: certificates by the thousand are slow to load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks a configuration; returns what HAProxy said about one that it does not take.
pub(super) async fn check(settings: &Settings, file: &Path) -> Result<Result<(), String>, ShellError> {
    run(settings, ["-c".into()], file).await
}

/// Starts HAProxy in the background with its master process; returns what it said when it did not start.
pub(super) async fn start(settings: &Settings) -> Result<Result<(), String>, ShellError> {
    let mut master: OsString = settings.master.clone().into();
    master.push(",mode,600");
    let id = settings.folder.join("haproxy.pid");
    let arguments = ["-W".into(), "-D".into(), "-S".into(), master, "-p".into(), id.into()];
    run(settings, arguments, &settings.configuration_file()).await
}

async fn run<const N: usize>(
    settings: &Settings,
    arguments: [OsString; N],
    file: &Path,
) -> Result<Result<(), String>, ShellError> {
    let files = settings.beside.iter().map(|beside| beside.as_path()).chain([file]);
    let files = files.flat_map(|file| ["-f".into(), file.into()]);
    let script = Script::new(&settings.program, &settings.folder)
        .arguments(arguments.into_iter().chain(files))
        .deadline(PATIENCE);
    let finished = shell::run(&script, &CancellationToken::new()).await?;
    // Notices only say which program it is.
    let lines = finished.output.lines().filter(|line| !line.starts_with("[NOTICE]"));
    let said = lines.collect::<Vec<_>>().join("\n");
    match finished.succeeded() {
        true => Ok(Ok(())),
        false if said.trim().is_empty() => Ok(Err(finished.end.to_string())),
        false => Ok(Err(said)),
    }
}
