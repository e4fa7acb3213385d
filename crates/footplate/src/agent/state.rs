//! The agent's state directory: its instance, its credential, and one memory per target.
//!
//! Invariants: a file is the old or the new one at every instant, also across power loss; a file that cannot be read is
//! put aside, never deleted and never fatal.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use footplate_core::moment::Moment;
use footplate_core::name::TargetName;
use footplate_drivers::disk::{self, DiskError, HeldFolder, failed};
use serde::{Deserialize, Serialize};

use super::memory::Memory;

/// The format of the files written here.
const FORMAT: u32 = 1;

/// A folder of an agent that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process works in it.
    #[error("another agent works in {}", .folder.display())]
    InUse {
        /// The agent's folder.
        folder: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl StateError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            StateError::InUse { .. } => {
                "stop the other agent, or give this one a folder of its own".to_owned()
            }
            StateError::Disk(error) => error.next(),
        }
    }
}

/// An open state directory; closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    folder: Arc<HeldFolder>,
    instance: Arc<str>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(flatten)]
    memory: Memory,
}

impl StateDirectory {
    /// Opens the folder, creating it when it is missing.
    ///
    /// The instance is made on the first opening and stays the same ever after.
    pub fn open(folder: HeldFolder) -> Result<Self, StateError> {
        create_folder(folder.path())?;
        create_folder(&folder.path().join("targets"))?;
        let instance = instance(&folder.path().join("instance"))?;
        Ok(Self { folder: Arc::new(folder), instance: instance.into() })
    }

    /// Returns the id of this agent: a restart keeps it, a re-imaged host gets a new one.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Reads what is remembered of every target; `now` names files that are put aside.
    pub fn read_targets(&self, now: Moment) -> Result<BTreeMap<TargetName, Memory>, StateError> {
        let folder = self.folder.path().join("targets");
        let mut targets = BTreeMap::new();
        for file in fs::read_dir(&folder).map_err(failed("read", &folder))? {
            let path = file.map_err(failed("read", &folder))?.path();
            let named = path.file_name().and_then(|name| name.to_str());
            let Some(name) = named.and_then(|name| name.strip_suffix(".json")) else { continue };
            match read_memory(&path, name) {
                Ok((target, memory)) => {
                    targets.insert(target, memory);
                }
                Err(reason) => put_aside(&path, &reason, now)?,
            }
        }
        Ok(targets)
    }

    /// Reads what is remembered of one target: nothing when there is no file, or none that can be read.
    pub fn read_target(&self, target: &TargetName, now: Moment) -> Result<Memory, StateError> {
        let path = self.path_of(target);
        match read_memory(&path, &target.to_string()) {
            Ok((_, memory)) => return Ok(memory),
            Err(reason) if path.exists() => put_aside(&path, &reason, now)?,
            Err(_) => (),
        }
        Ok(Memory::default())
    }

    /// Writes what is remembered of one target, durably.
    pub fn write_target(&self, target: &TargetName, memory: &Memory) -> Result<(), StateError> {
        let stored = Stored { format: FORMAT, memory: memory.clone() };
        let text = serde_json::to_vec_pretty(&stored).expect("a memory is made of names, numbers and text");
        Ok(disk::write_atomically(&self.path_of(target), &text)?)
    }

    fn path_of(&self, target: &TargetName) -> PathBuf {
        self.folder.path().join("targets").join(format!("{target}.json"))
    }

    /// Returns the host's own credential, when it has joined with a token.
    pub fn read_credential(&self) -> Result<Option<String>, StateError> {
        let path = self.folder.path().join("credential");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error).into()),
        }
    }

    /// Writes the host's own credential, readable by its owner alone.
    pub fn write_credential(&self, credential: &str) -> Result<(), StateError> {
        Ok(disk::write_atomically(&self.folder.path().join("credential"), credential.as_bytes())?)
    }
}

fn read_memory(path: &Path, name: &str) -> Result<(TargetName, Memory), String> {
    let target = name.parse().map_err(|error| format!("{error}"))?;
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let stored: Stored = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if stored.format > FORMAT {
        return Err(format!("it has format {}, and this footplate reads up to {FORMAT}", stored.format));
    }
    Ok((target, stored.memory))
}

fn put_aside(path: &Path, reason: &str, now: Moment) -> Result<(), DiskError> {
    let aside = path.with_extension(format!("json.unreadable-{}", now.as_millis()));
    fs::rename(path, &aside).map_err(failed("put aside", path))?;
    tracing::error!(
        "cannot read what this agent remembers in {}\n  because: {reason}\n  next: nothing; the file is kept as {}, \
         and the target starts from its next order",
        path.display(),
        aside.display()
    );
    Ok(())
}

fn instance(path: &Path) -> Result<String, StateError> {
    match fs::read_to_string(path) {
        Ok(text) if uuid::Uuid::parse_str(text.trim()).is_ok() => return Ok(text.trim().to_owned()),
        Ok(_) => tracing::warn!("{} does not hold an id; a new one is made", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        Err(error) => return Err(failed("read", path)(error).into()),
    }
    let instance = uuid::Uuid::new_v4().to_string();
    disk::write_atomically(path, instance.as_bytes())?;
    Ok(instance)
}

fn create_folder(folder: &Path) -> Result<(), DiskError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(failed("create the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use footplate_core::generation::Generation;
    use std::os::unix::fs::PermissionsExt as _;

    fn target() -> TargetName {
        "production.shop.files".parse().expect("a target")
    }

    fn open(folder: &Path) -> StateDirectory {
        let held = HeldFolder::take(folder).expect("room").expect("nobody holds it");
        StateDirectory::open(held).expect("a folder to write in")
    }

    #[test]
    fn a_memory_and_the_instance_come_back_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = Memory { generation: Generation::new(1, 7), ..Memory::default() };
        let first = open(folder.path());
        first.write_target(&target(), &memory).expect("room");
        let instance = first.instance().to_owned();
        drop(first);
        let second = open(folder.path());
        assert_eq!(second.instance(), instance);
        let targets = second.read_targets(Moment::from_millis(1)).expect("readable");
        assert_eq!(targets, [(target(), memory)].into());
    }

    #[test]
    fn a_broken_memory_is_put_aside_and_the_others_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = open(folder.path());
        state.write_target(&target(), &Memory::default()).expect("room");
        let targets = folder.path().join("targets");
        fs::write(targets.join("production.other.files.json"), "{ cut").expect("room");
        fs::write(targets.join("production.later.files.json"), r#"{"format":9,"generation":"1.1"}"#)
            .expect("room");
        let read = state.read_targets(Moment::from_millis(5)).expect("readable");
        assert_eq!(read.keys().collect::<Vec<_>>(), [&target()]);
        for name in ["other", "later"] {
            assert!(targets.join(format!("production.{name}.files.json.unreadable-5")).exists());
        }
    }

    #[test]
    fn a_credential_is_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = open(folder.path());
        assert_eq!(state.read_credential().expect("readable"), None);
        state.write_credential("a secret\n").expect("room");
        assert_eq!(state.read_credential().expect("readable").as_deref(), Some("a secret"));
        let mode = fs::metadata(folder.path().join("credential")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
