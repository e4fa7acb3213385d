//! What strace recorded, as steps that change a file system.

use std::path::{Path, PathBuf};

/// The system calls that are recorded: all that change files, all that make them durable, and one for announcements.
pub const FILTER: &str = "trace=open,openat,openat2,creat,mkdir,mkdirat,symlink,symlinkat,link,linkat,rename,renameat,\
renameat2,unlink,unlinkat,rmdir,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,\
sendfile,fsync,fdatasync,sync,syncfs,sync_file_range,readlink,readlinkat";

/// Where announcements are made: a name that never exists.
const ANNOUNCEMENTS: &str = "/footplate-power-test/";

/// One change, with paths below the recorded folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The recorded process says where it is.
    Announced(String),
    MakeFolder(PathBuf),
    MakeLink(PathBuf, String),
    /// Makes an empty file, or empties the one that is there when the flag is set.
    OpenFile(PathBuf, bool),
    Write(PathBuf, Vec<u8>),
    Rename(PathBuf, PathBuf),
    HardLink(PathBuf, PathBuf),
    Remove(PathBuf),
    /// A file's bytes, or a folder's names.
    Sync(PathBuf),
    SyncAll,
}

/// Leaves a word in the recording.
pub fn announce(word: &str) {
    assert!(std::fs::read_link(format!("{ANNOUNCEMENTS}{word}")).is_err());
}

/// Reads a recording; keeps what happened below `top`.
pub fn parse(text: &str, top: &Path) -> Vec<Step> {
    whole_calls(text).iter().filter_map(|call| step(call, top)).collect()
}

/// Joins the halves of calls during which another thread was seen; a call stands where it ended.
fn whole_calls(text: &str) -> Vec<String> {
    let mut begun = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (process, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(head) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(process, head);
        } else if let Some(tail) = call.strip_prefix("<... ") {
            let (_, tail) = tail.split_once(" resumed>").unwrap();
            calls.push(format!("{}{tail}", begun.remove(process).unwrap()));
        } else if !call.starts_with("---") && !call.starts_with("+++") {
            calls.push(call.to_owned());
        }
    }
    calls
}

fn step(call: &str, top: &Path) -> Option<Step> {
    let (name, rest) = call.split_once('(').unwrap();
    let (arguments, result) = rest.rsplit_once(" = ").unwrap();
    let arguments = split(arguments.trim_end().strip_suffix(')').unwrap());
    if name.starts_with("readlink") {
        let path = arguments.iter().find_map(|argument| quoted(argument)).unwrap();
        return path.strip_prefix(ANNOUNCEMENTS).map(|word| Step::Announced(word.to_owned()));
    }
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let below = |path: PathBuf| path.strip_prefix(top).ok().map(Path::to_owned);
    let at = |number: usize| below(resolve(&arguments[number], &arguments[number + 1]));
    let plain = |number: usize| below(absolute(&arguments[number]));
    let file = || below(PathBuf::from(described(&arguments[0])?));
    match name {
        "open" | "creat" => opened(plain(0)?, arguments.get(1).map_or("O_CREAT|O_TRUNC", String::as_str)),
        "openat" | "openat2" => opened(at(0)?, &arguments[2]),
        "mkdir" => Some(Step::MakeFolder(plain(0)?)),
        "mkdirat" => Some(Step::MakeFolder(at(0)?)),
        "symlink" => Some(Step::MakeLink(plain(1)?, quoted(&arguments[0])?)),
        "symlinkat" => Some(Step::MakeLink(at(1)?, quoted(&arguments[0])?)),
        "link" => Some(Step::HardLink(plain(0)?, plain(1)?)),
        "linkat" => Some(Step::HardLink(at(0)?, at(2)?)),
        "rename" => Some(Step::Rename(plain(0)?, plain(1)?)),
        "renameat" | "renameat2" => Some(Step::Rename(at(0)?, at(2)?)),
        "unlink" | "rmdir" => Some(Step::Remove(plain(0)?)),
        "unlinkat" => Some(Step::Remove(at(0)?)),
        "write" => Some(Step::Write(file()?, bytes(&arguments[1]))),
        "fsync" | "fdatasync" => Some(Step::Sync(file()?)),
        "sync" => Some(Step::SyncAll),
        "syncfs" => file().map(|_| Step::SyncAll),
        // Anything else that changes a file of ours is not modelled, and must not pass unnoticed.
        _ => file().map(|path| panic!("the model does not know {name} on {}", path.display())),
    }
}

fn opened(path: PathBuf, flags: &str) -> Option<Step> {
    let writes = flags.contains("O_CREAT") || flags.contains("O_TRUNC");
    assert!(!flags.contains("O_APPEND") || !writes, "the model does not know appending: {}", path.display());
    writes.then(|| Step::OpenFile(path, flags.contains("O_TRUNC")))
}

/// Splits arguments at commas that are in no bracket. Strings are hexadecimal throughout, so they hold none.
fn split(arguments: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in arguments.chars() {
        match letter {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(letter);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// Returns the path that a folder's descriptor and a name below it mean.
fn resolve(folder: &str, name: &str) -> PathBuf {
    let folder = described(folder).unwrap_or_else(|| panic!("strace did not say what {folder} is"));
    Path::new(&folder).join(quoted(name).unwrap()).components().collect()
}

fn absolute(name: &str) -> PathBuf {
    let path = PathBuf::from(quoted(name).unwrap());
    assert!(path.is_absolute(), "a relative name cannot be placed: {}", path.display());
    path
}

/// Returns what strace says a descriptor is: `5<PATH>`.
fn described(argument: &str) -> Option<String> {
    let (_, rest) = argument.split_once('<')?;
    let (path, after) = rest.rsplit_once('>')?;
    let path = String::from_utf8(unhex(path)).unwrap();
    (path.starts_with('/') && after.is_empty()).then_some(path)
}

fn quoted(argument: &str) -> Option<String> {
    let text = argument.strip_prefix('"')?;
    assert!(text.ends_with('"'), "strace cut a string short");
    Some(String::from_utf8(bytes(argument)).unwrap())
}

fn bytes(argument: &str) -> Vec<u8> {
    unhex(argument.trim_matches('"'))
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}
