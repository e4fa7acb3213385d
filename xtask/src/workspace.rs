//! The root of the checkout that a command works on.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// The checkout: where its files are.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the root from the place this program was built in.
    pub fn open() -> Result<Workspace, Failure> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        match here.parent().filter(|root| root.join("Cargo.lock").is_file()) {
            Some(root) => Ok(Workspace { root: root.to_path_buf() }),
            None => Err(Failure::new(
                "cannot find the workspace",
                format!("{} is not in a checkout any more", here.display()),
                "run `cargo xtask` inside the checkout",
            )),
        }
    }

    /// Returns the folder that holds the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a `cargo` to run in the root: the same one that built this program.
    pub fn cargo(&self) -> std::process::Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = std::process::Command::new(program);
        command.current_dir(self.root());
        command
    }
}
