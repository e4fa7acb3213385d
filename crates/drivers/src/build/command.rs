//! Builds by a command line in the commit's files, on this machine.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{Build, BuildError, EachLine, Order};
use crate::archive::{self, Packed};
use crate::disk;
use crate::shell::{self, Script};

/// How many bytes of the log are kept for the error.
const LOG_BYTES_MAX: usize = 256 * 1024;

/// The driver; it has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Command;

#[async_trait]
impl Build for Command {
    async fn build(
        &self,
        tree: &Path,
        order: &Order,
        destination: &Path,
        each_line: &EachLine<'_>,
        stop: &CancellationToken,
    ) -> Result<Packed, BuildError> {
        if let Some(command) = &order.command {
            run(tree, command, order, each_line, stop).await?;
        }
        let output = output(tree, order)?;
        let (destination, modified) = (destination.to_owned(), order.modified);
        Ok(crate::blocking(move || archive::pack(&output, &destination, modified)).await?)
    }
}

async fn run(
    tree: &Path,
    command: &str,
    order: &Order,
    each_line: &EachLine<'_>,
    stop: &CancellationToken,
) -> Result<(), BuildError> {
    let mut script = Script::new("/bin/sh", tree).arguments(["-c", command]).deadline(order.deadline);
    script.environment.clone_from(&order.environment);
    script.output_bytes_max = LOG_BYTES_MAX;
    let finished = shell::run_streaming(&script, stop, &mut |line| each_line(line)).await?;
    if finished.succeeded() {
        return Ok(());
    }
    Err(BuildError::Command { end: finished.end, output: finished.output })
}

/// Returns the folder to pack: inside of the tree also when links are followed.
fn output(tree: &Path, order: &Order) -> Result<PathBuf, BuildError> {
    let Some(output) = &order.output else { return Ok(tree.to_owned()) };
    let top = tree.canonicalize().map_err(disk::failed("look at", tree))?;
    match tree.join(output).canonicalize() {
        Ok(folder) if !folder.starts_with(&top) => Err(BuildError::OutputOutside(output.clone())),
        Ok(folder) if folder.is_dir() => Ok(folder),
        _ => Err(BuildError::NoOutput(output.clone())),
    }
}
