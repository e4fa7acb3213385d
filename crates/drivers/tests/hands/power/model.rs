//! A file system that forgets what was not synced.
//!
//! Strict where POSIX is: syncing a file does not save its name, syncing a folder saves its names and not the bytes
//! behind them. A symlink is one with its name: file systems keep its target in the inode that the name brings along.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::trace::Step;

/// What is found after a power loss, by path.
pub type Image = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Folder,
    File(Vec<u8>),
    Link(String),
}

/// What of the unsynced changes survives.
#[derive(Clone, Copy, Debug)]
pub enum Survival {
    /// Nothing.
    Synced,
    /// All: as after `kill -9`.
    Everything,
    /// All names, no bytes: the file system wrote its journal and not the data.
    NamesWithoutBytes,
    /// Of each folder the first few changes, of each file the first few bytes.
    Random(u64),
}

#[derive(Clone)]
enum Inode {
    File { now: Vec<u8>, safe: Vec<u8> },
    Folder { now: BTreeMap<String, usize>, safe: BTreeMap<String, usize>, pending: Vec<Change> },
    Link(String),
}

#[derive(Clone)]
enum Change {
    Set(String, usize),
    Unset(String),
    Move(String, String),
}

/// The disk below one folder.
pub struct Disk {
    inodes: Vec<Inode>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { inodes: vec![folder()] }
    }
}

fn folder() -> Inode {
    Inode::Folder { now: BTreeMap::new(), safe: BTreeMap::new(), pending: Vec::new() }
}

fn change(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Set(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Change::Unset(name) => {
            names.remove(name);
        }
        Change::Move(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

impl Disk {
    /// Returns the disk after all these steps.
    pub fn replay(steps: &[Step]) -> Self {
        let mut disk = Self::default();
        for step in steps.iter().filter(|step| !matches!(step, Step::Announced(_))) {
            disk.apply(step);
        }
        disk
    }

    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Announced(_) => {}
            Step::MakeFolder(path) => self.make(path, folder()),
            Step::MakeLink(path, target) => self.make(path, Inode::Link(target.clone())),
            Step::OpenFile(path, empties) => match self.find(path) {
                None => self.make(path, Inode::File { now: Vec::new(), safe: Vec::new() }),
                Some(inode) if *empties => self.set_bytes(inode, Vec::new()),
                Some(_) => {}
            },
            // A file that has lost its name can be written to, and is gone after a power loss.
            Step::Write(path, bytes) => {
                if let Some(inode) = self.find(path) {
                    let Inode::File { now, .. } = &self.inodes[inode] else { panic!("{path:?} is no file") };
                    let all = [now.as_slice(), bytes].concat();
                    self.set_bytes(inode, all);
                }
            }
            Step::Rename(from, to) => {
                assert_eq!(from.parent(), to.parent(), "the model renames within a folder only");
                self.alter(from.parent().unwrap(), Change::Move(name(from), name(to)));
            }
            Step::HardLink(from, to) => {
                let inode = self.find(from).unwrap();
                self.alter(to.parent().unwrap(), Change::Set(name(to), inode));
            }
            Step::Remove(path) => self.alter(path.parent().unwrap(), Change::Unset(name(path))),
            Step::Sync(path) => {
                let inode = self.find(path).unwrap_or_else(|| panic!("{path:?} is synced and not there"));
                self.inodes[inode].sync();
            }
            Step::SyncAll => self.inodes.iter_mut().for_each(Inode::sync),
        }
    }

    /// Returns what is found when the power goes now.
    pub fn after_power_loss(&self, survival: Survival) -> Image {
        let seed = if let Survival::Random(seed) = survival { seed } else { 0 };
        let mut random = SmallRng::seed_from_u64(seed);
        let mut image = Image::new();
        self.collect(0, Path::new(""), survival, &mut random, &mut image);
        image
    }

    fn collect(&self, inode: usize, at: &Path, survival: Survival, random: &mut SmallRng, image: &mut Image) {
        let node = match &self.inodes[inode] {
            Inode::Link(target) => Node::Link(target.clone()),
            Inode::File { now, safe } => Node::File(match survival {
                Survival::Synced | Survival::NamesWithoutBytes => safe.clone(),
                Survival::Everything => now.clone(),
                Survival::Random(_) if now == safe || random.random() => now.clone(),
                Survival::Random(_) => now[..random.random_range(0..=now.len())].to_vec(),
            }),
            Inode::Folder { now, safe, pending } => {
                let names = match survival {
                    Survival::Synced => safe.clone(),
                    Survival::Everything | Survival::NamesWithoutBytes => now.clone(),
                    Survival::Random(_) => {
                        let mut names = safe.clone();
                        let kept = random.random_range(0..=pending.len());
                        pending[..kept].iter().for_each(|one| change(&mut names, one));
                        names
                    }
                };
                for (name, inode) in names {
                    self.collect(inode, &at.join(name), survival, random, image);
                }
                Node::Folder
            }
        };
        if inode != 0 {
            image.insert(at.to_owned(), node);
        }
    }

    fn make(&mut self, path: &Path, inode: Inode) {
        self.inodes.push(inode);
        let made = Change::Set(name(path), self.inodes.len() - 1);
        self.alter(path.parent().unwrap(), made);
    }

    fn alter(&mut self, folder: &Path, one: Change) {
        let inode = self.find(folder).unwrap_or_else(|| panic!("{folder:?} is not there"));
        let Inode::Folder { now, pending, .. } = &mut self.inodes[inode] else {
            panic!("{folder:?} is no folder")
        };
        change(now, &one);
        pending.push(one);
    }

    fn set_bytes(&mut self, inode: usize, bytes: Vec<u8>) {
        if let Inode::File { now, .. } = &mut self.inodes[inode] {
            *now = bytes;
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.components().try_fold(0, |inode, part| match &self.inodes[inode] {
            Inode::Folder { now, .. } => now.get(part.as_os_str().to_str().unwrap()).copied(),
            _ => None,
        })
    }
}

impl Inode {
    fn sync(&mut self) {
        match self {
            Inode::File { now, safe } => safe.clone_from(now),
            Inode::Folder { now, safe, pending } => {
                safe.clone_from(now);
                pending.clear();
            }
            Inode::Link(_) => {}
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Reads a real folder.
pub fn read(top: &Path) -> Image {
    let mut image = Image::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let node = if kind.is_dir() {
                folders.push(path.clone());
                Node::Folder
            } else if kind.is_symlink() {
                Node::Link(fs::read_link(&path).unwrap().to_str().unwrap().to_owned())
            } else {
                Node::File(fs::read(&path).unwrap())
            };
            image.insert(path.strip_prefix(top).unwrap().to_owned(), node);
        }
    }
    image
}

/// Writes an image into a real folder.
pub fn write(image: &Image, top: &Path) {
    // Sorted by path, a folder comes before what is in it.
    for (path, node) in image {
        match node {
            Node::Folder => fs::create_dir(top.join(path)).unwrap(),
            Node::File(bytes) => fs::write(top.join(path), bytes).unwrap(),
            Node::Link(target) => std::os::unix::fs::symlink(target, top.join(path)).unwrap(),
        }
    }
}
