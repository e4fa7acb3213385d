//! The programs that benchmarks start, built from this tree: with optimisation, unless somebody only tries a benchmark out.

use crate::failure::Failure;
use crate::program;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// Builds programs in one way.
pub struct Programs<'a> {
    workspace: &'a Workspace,
    is_optimised: bool,
}

impl<'a> Programs<'a> {
    /// Says how programs are built.
    pub fn new(workspace: &'a Workspace, is_optimised: bool) -> Self {
        Self { workspace, is_optimised }
    }

    /// Builds a program of a package and returns where it is.
    pub fn build(&self, package: &str, name: &str) -> Result<PathBuf, Failure> {
        self.make(package, "--bin", Path::new(name))
    }

    /// Builds an example of a package and returns where it is.
    pub fn build_example(&self, package: &str, name: &str) -> Result<PathBuf, Failure> {
        self.make(package, "--example", &Path::new("examples").join(name))
    }

    fn make(&self, package: &str, kind: &str, path: &Path) -> Result<PathBuf, Failure> {
        let mut cargo = self.workspace.cargo();
        cargo.args(["build", "--quiet", "--locked", "--package", package, kind]);
        cargo.arg(path.file_name().expect("a path ends with the program's name"));
        let profile = if self.is_optimised { "release" } else { "debug" };
        if self.is_optimised {
            cargo.arg("--release");
        }
        program::perform(&mut cargo, "mend the build")?;
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.workspace.root().join("target"), PathBuf::from);
        Ok(target.join(profile).join(path))
    }
}
