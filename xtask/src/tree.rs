//! The text of every file that belongs to the project, read once for all rules.
//!
//! A rule sees only this, so its tests hand it a few lines instead of a checkout.

use crate::failure::Failure;
use crate::program;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::process::Command;

/// Paths from the root of the checkout, each with its text. Files that are not text are absent from [`Tree::texts`].
pub struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads what git tracks or would track.
    pub fn read(workspace: &Workspace) -> Result<Tree, Failure> {
        let mut git = Command::new("git");
        git.current_dir(workspace.root()).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let listing = program::read(&mut git, "run it inside a git checkout")?;
        let mut files = BTreeMap::new();
        for path in listing.split_terminator('\0') {
            // A tracked file that was deleted by hand is no part of the tree.
            if let Ok(bytes) = std::fs::read(workspace.root().join(path)) {
                files.insert(path.to_owned(), String::from_utf8(bytes).ok());
            }
        }
        Ok(Tree { files })
    }

    /// Makes a small tree out of paths and texts.
    #[cfg(test)]
    pub fn from(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| (path.to_string(), Some(text.to_string()))).collect() }
    }

    /// Lists paths and texts of all text files.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Lists paths and texts of all Rust files.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// Returns the text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Says whether a file or a folder of that path is there.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.files.keys().any(|file| file == path || file.starts_with(&folder))
    }
}
