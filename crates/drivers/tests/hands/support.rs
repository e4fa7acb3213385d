//! What several of these tests need: releases made of given files, a target in a temporary folder, waiting on a condition.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_core::artifact::ArtifactRef;
use footplate_core::moment::Moment;
use footplate_core::release::{Hook, Hooks, Release, Scripts, Workload as Kind};
use footplate_drivers::archive;
use footplate_drivers::artifact::{ArtifactStore, Directory};
use footplate_drivers::disk::HeldFolder;
use footplate_drivers::workload::{self, Placement, Settings, Workload};
use tempfile::TempDir;

/// Files of a release: name and content; `!` before the content makes it executable, `->` a symlink.
pub type Files<'a> = &'a [(&'a str, &'a str)];

/// Writes files below `folder`.
pub fn write_files(folder: &Path, files: Files) {
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(target) = content.strip_prefix("->") {
            symlink(target, path).unwrap();
        } else {
            fs::write(&path, content.trim_start_matches('!')).unwrap();
            let mode = if content.starts_with('!') { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// Lists a tree: name, mode and content of everything in it, sorted. Two equal listings are two equal trees.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    list_into(folder, folder, &mut lines);
    lines.sort();
    lines
}

fn list_into(top: &Path, folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(top).unwrap().display().to_string();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            lines.push(format!("{name}/ {mode:o}"));
            list_into(top, &path, lines);
        } else if metadata.is_symlink() {
            lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else {
            lines.push(format!("{name} {mode:o} {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap())));
        }
    }
}

/// Takes the one target of these tests, below `root`.
pub fn placement(root: &Path) -> Placement {
    let root = HeldFolder::take(root).unwrap().expect("one agent at a time");
    Placement { root, host: "web1".parse().unwrap(), name: "production.shop.files".parse().unwrap() }
}

/// A target in a temporary folder, with an artifact store beside it.
pub struct Place {
    pub folder: TempDir,
    pub artifacts: Directory,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Directory::open(&folder.path().join("artifacts")).unwrap();
        Self { folder, artifacts }
    }

    /// Returns where all targets of the host are.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub async fn open(&self) -> Arc<dyn Workload> {
        workload::open(placement(&self.root()), Settings::default()).await.unwrap()
    }

    /// Returns the target's own folder.
    pub fn target(&self) -> PathBuf {
        self.root().join("production/shop")
    }

    /// Packs and stores files as an artifact.
    pub async fn artifact(&self, files: Files<'_>) -> ArtifactRef {
        let tree = tempfile::tempdir_in(self.folder.path()).unwrap();
        write_files(tree.path(), files);
        let file = self.folder.path().join(format!("{}.tar.zst", uuid::Uuid::new_v4()));
        let packed = archive::pack(tree.path(), &file, 0).unwrap();
        self.artifacts.put(&packed.artifact, &file).await.unwrap();
        fs::remove_file(file).unwrap();
        packed.artifact
    }

    /// Returns a release with these files and hooks.
    pub async fn release(&self, id: &str, files: Files<'_>, hooks: Hooks) -> Release {
        release(id, Some(self.artifact(files).await), Kind::ReleaseDir(hooks))
    }

    /// Returns what `live` holds of this file now.
    pub fn live(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.target().join("live").join(file)).ok()
    }
}

pub fn release(id: &str, artifact: Option<ArtifactRef>, workload: Kind) -> Release {
    Release {
        id: id.parse().unwrap(),
        app: "shop".parse().unwrap(),
        version: id.parse().unwrap(),
        commit: None,
        summary: None,
        artifact,
        workload,
        created_at: Moment::from_millis(0),
        variables: Default::default(),
        routes: Default::default(),
        signature: None,
    }
}

pub fn hook(command: &str) -> Option<Hook> {
    Some(Hook { command: command.to_owned(), deadline: Duration::from_secs(20) })
}

pub fn scripts(deploy: &[&str], rollout: &[&str], clean: &[&str]) -> Kind {
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
    Kind::Command(Scripts {
        shell: "bash".to_owned(),
        deploy: lines(deploy),
        rollout: lines(rollout),
        clean: lines(clean),
        deadline: Duration::from_secs(20),
    })
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
