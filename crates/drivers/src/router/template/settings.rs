//! What a driver of a program that routes by a file needs to know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The file, where it comes from, and what is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The template.
    pub template: PathBuf,
    /// The file that is rendered.
    pub file: PathBuf,
    /// A command for the shell that refuses a bad file by its exit status; the new file's path is in `FILE`.
    pub check: Option<String>,
    /// A command for the shell that has the program load the file; its path is in `FILE`.
    pub reload: String,
    /// How long after a load an endpoint that it took out counts as busy.
    pub drain: Duration,
    /// What the template sees as `values`.
    pub values: BTreeMap<String, String>,
}

impl Settings {
    /// Returns settings with 20 s to drain, no check and no values.
    pub fn new(template: impl Into<PathBuf>, file: impl Into<PathBuf>, reload: &str) -> Self {
        Self {
            template: template.into(),
            file: file.into(),
            check: None,
            reload: reload.to_owned(),
            drain: Duration::from_secs(20),
            values: BTreeMap::new(),
        }
    }
}
