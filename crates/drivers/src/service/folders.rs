//! The folders of all services of a host.

use std::path::{Path, PathBuf};

use super::{Folder, Order, ServiceName};
use crate::disk::{self, DiskError};

/// The agent's folder of services, with a folder for each.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    path: PathBuf,
}

impl Folders {
    /// Returns the folders below this path. Makes nothing.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns the folder of a service. Makes nothing.
    pub fn of(&self, name: &ServiceName) -> Folder {
        Folder::of(&self.path, name)
    }

    /// Lists the services with a folder here, in the order of their names.
    pub async fn names(&self) -> Result<Vec<ServiceName>, DiskError> {
        let path = self.path.clone();
        crate::blocking(move || {
            let entries = std::fs::read_dir(&path).map_err(disk::failed("read the folder", &path))?;
            let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            let mut names: Vec<ServiceName> = names.collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    /// Reads what was ordered of a service; `None` when there is no such service.
    pub async fn order(&self, name: &ServiceName) -> Result<Option<Order>, DiskError> {
        let folder = self.of(name);
        crate::blocking(move || folder.order()).await
    }
}
