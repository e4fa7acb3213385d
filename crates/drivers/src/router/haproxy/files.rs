//! The driver's folder: the configuration in place, the file of shares, and what the driver remembers.
//!
//! Invariants: memory is written first and the configuration last, so that nothing is in place that is not remembered; and
//! whoever loads the files in between finds somebody in every track that its shares lead to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Settings;
use super::configuration::Configuration;
use super::extension::Extension;
use super::layout::Layout;
use crate::blocking;
use crate::disk::{self, DiskError};

/// What the driver must know again after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Who stands where.
    pub(super) layout: Layout,
    /// Whether HAProxy's check took it.
    #[serde(default)]
    pub(super) is_taken: bool,
    /// The administrator's files as they were then.
    pub(super) extension: Extension,
    /// Where the log's lines come.
    #[serde(default)]
    pub(super) log_port: u16,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
    memory: PathBuf,
    shares: PathBuf,
    configuration: PathBuf,
}

/// The bytes of each file before it was replaced, in the order in which that was done.
pub(super) struct Before(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Files {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            folder: settings.folder.clone(),
            memory: settings.memory_file(),
            shares: settings.shares_file(),
            configuration: settings.configuration_file(),
        }
    }

    /// Reads what was remembered. What cannot be understood is as good as nothing: every slot is filled anew then.
    pub(super) async fn remember(&self) -> Result<Memory, DiskError> {
        let path = self.memory.clone();
        blocking(move || {
            let Some(bytes) = read(&path)? else { return Ok(Memory::default()) };
            Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "this cannot be read; HAProxy's slots are filled anew");
                Memory::default()
            }))
        })
        .await
    }

    /// Writes a configuration beside the one in place, to be checked.
    pub(super) async fn propose(&self, configuration: &Configuration) -> Result<PathBuf, DiskError> {
        let (files, configuration) = (self.clone(), configuration.clone());
        blocking(move || {
            disk::create_folder(&files.folder)?;
            // The check reads it; the one in force is not touched.
            if read(&files.shares)?.is_none() {
                disk::write_atomically(&files.shares, configuration.shares.as_bytes())?;
            }
            let candidate = disk::with_suffix(&files.configuration, ".candidate");
            disk::write_atomically(&candidate, configuration.text.as_bytes())?;
            Ok(candidate)
        })
        .await
    }

    /// Tells whether this configuration is in place already.
    pub(super) async fn stands(&self, configuration: &Configuration) -> Result<bool, DiskError> {
        let (path, text) = (self.configuration.clone(), configuration.text.clone());
        blocking(move || Ok(read(&path)?.is_some_and(|stands| stands == text.as_bytes()))).await
    }

    /// Puts all in place, where it differs; returns what stood there. `bridge` is the configuration that goes with the shares
    /// that stand there as well as with the new ones.
    pub(super) async fn put(
        &self,
        memory: &Memory,
        bridge: &Configuration,
        configuration: &Configuration,
    ) -> Result<Before, DiskError> {
        let memory = serde_json::to_vec(memory).expect("names and numbers");
        let contents = [
            (self.memory.clone(), memory),
            (self.configuration.clone(), bridge.text.clone().into_bytes()),
            (self.shares.clone(), configuration.shares.clone().into_bytes()),
            (self.configuration.clone(), configuration.text.clone().into_bytes()),
        ];
        let candidate = disk::with_suffix(&self.configuration, ".candidate");
        blocking(move || {
            let mut before = Vec::new();
            for (path, bytes) in contents {
                let stood = read(&path)?;
                if stood.as_ref() != Some(&bytes) {
                    disk::write_atomically(&path, &bytes)?;
                }
                before.push((path, stood));
            }
            disk::remove_file(&candidate)?;
            Ok(Before(before))
        })
        .await
    }

    /// Puts what stood there in place again.
    pub(super) async fn put_back(&self, before: Before) -> Result<(), DiskError> {
        blocking(move || {
            for (path, bytes) in before.0.into_iter().rev() {
                match bytes {
                    Some(bytes) => disk::write_atomically(&path, &bytes)?,
                    None => disk::remove_file(&path)?,
                }
            }
            Ok(())
        })
        .await
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk::failed("read", path)(error)),
    }
}
