//! Names inside an archive, checked without touching the disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The deepest a name may lie, in folders. No real release comes near; each level costs an open file on removal.
const DEPTH_MAX: usize = 100;
/// The longest a name may be: what Linux takes.
const BYTES_MAX: usize = 4095;

/// Returns the name as a clean relative path; empty for the top folder itself (`./`).
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn inside(name: &[u8]) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("its name is empty".to_owned());
    }
    if name.len() > BYTES_MAX {
        return Err(format!("its name has {} bytes; {BYTES_MAX} is the most", name.len()));
    }
    if name.contains(&0) {
        return Err("its name holds a NUL byte".to_owned());
    }
    // They would repaint the terminal of whoever lists the folder.
    if holds_control(name) {
        return Err("its name holds a control character".to_owned());
    }
    if name[0] == b'/' {
        return Err("its name is absolute".to_owned());
    }
    let mut path = PathBuf::new();
    for part in name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." {
            return Err("its name holds `..`".to_owned());
        }
        path.push(OsStr::from_bytes(part));
    }
    match path.components().count() {
        depth if depth > DEPTH_MAX => Err(format!("it lies {depth} folders deep; {DEPTH_MAX} is the most")),
        _ => Ok(path),
    }
}

/// Checks that a symlink at `link` with this target stays inside the tree, whatever other links the tree holds.
///
/// `..` may stand only at the beginning: then it walks up real folders, and each later part that is itself a link
/// has passed this same check. In the middle it could walk up from wherever another link leads.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn link_stays_inside(link: &Path, target: &[u8]) -> Result<(), String> {
    let shown = String::from_utf8_lossy(target);
    if target.is_empty() || target.contains(&0) || target.len() > BYTES_MAX {
        return Err("its target is not a path".to_owned());
    }
    if holds_control(target) {
        return Err(format!("it points to `{}`, which holds a control character", shown.escape_debug()));
    }
    if target[0] == b'/' {
        return Err(format!("it points to `{}`, an absolute path", shown.escape_debug()));
    }
    let parts = target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let ups = parts.clone().take_while(|part| *part == b"..").count();
    if parts.skip(ups).any(|part| part == b"..") {
        return Err(format!("it points to `{}`; `..` may stand only at the beginning", shown.escape_debug()));
    }
    let depth = link.components().count().saturating_sub(1);
    if ups > depth {
        return Err(format!("it points to `{}`, outside of the tree", shown.escape_debug()));
    }
    Ok(())
}

fn holds_control(name: &[u8]) -> bool {
    String::from_utf8_lossy(name).chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_inside_or_is_refused() {
        assert_eq!(inside(b"./a//b/./c"), Ok(PathBuf::from("a/b/c")));
        assert_eq!(inside(b"./"), Ok(PathBuf::new()));
        assert_eq!(inside("mañana/✓".as_bytes()), Ok(PathBuf::from("mañana/✓")));
        for bad in [
            &b"/etc/passwd"[..],
            b"..",
            b"a/../b",
            b"a/..",
            b"",
            b"a\0b",
            b"a\x1b[2J",
            b"a\nb/c",
            b"\x7f",
            b"a\xc2\x9b",
        ] {
            assert!(inside(bad).is_err(), "{bad:?}");
        }
        assert!(inside("a/".repeat(200).as_bytes()).is_err());
    }

    #[test]
    fn a_link_stays_inside_or_is_refused() {
        for (link, target) in
            [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../b/c"), ("d/a", "./b"), ("d/a", "..")]
        {
            assert_eq!(link_stays_inside(Path::new(link), target.as_bytes()), Ok(()), "{link} -> {target}");
        }
        for (link, target) in
            [("a", ".."), ("a", "/etc"), ("d/a", "../../b"), ("a", "b/../c"), ("a", ""), ("a", "b\x1b")]
        {
            assert!(link_stays_inside(Path::new(link), target.as_bytes()).is_err(), "{link} -> {target}");
        }
    }
}
