//! The example app that `footplate up` deploys when it is given no repository: `examples/hello`, in the binary itself.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// One file of the example.
struct File {
    path: &'static str,
    text: &'static str,
    executable: bool,
}

macro_rules! file {
    ($path:literal, $executable:literal) => {
        File {
            path: $path,
            text: include_str!(concat!("../../../../examples/hello/", $path)),
            executable: $executable,
        }
    };
}

const FILES: &[File] = &[
    file!("README.md", false),
    file!("footplate.toml", false),
    file!("deploy/prepare", true),
    file!("server.pl", false),
    file!("site/about.html", false),
    file!("site/index.html", false),
    file!("site/style.css", false),
];

/// Writes the example app into `folder`, which is made; files that are there already stay as they are.
pub fn write(folder: &Path) -> io::Result<()> {
    for file in FILES {
        let path = folder.join(file.path);
        if path.exists() {
            continue;
        }
        fs::create_dir_all(path.parent().expect("every file is below the folder"))?;
        fs::write(&path, file.text)?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;
    use std::process::{Command, Output};

    use super::*;
    use crate::config::app::AppConfig;

    fn prepared(change: impl Fn(&Path)) -> Output {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path()).expect("written");
        change(folder.path());
        let mut hook = Command::new("./deploy/prepare");
        hook.current_dir(folder.path()).env("RELEASE", "1").output().expect("the hook runs")
    }

    #[test]
    fn the_example_is_valid_and_whole() {
        let text = include_str!("../../../../examples/hello/footplate.toml");
        AppConfig::parse("examples/hello/footplate.toml", text)
            .unwrap_or_else(|mistakes| panic!("{}", mistakes.render()));
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hello"));
        let mut kept = BTreeSet::new();
        for below in ["", "deploy", "site"] {
            for entry in fs::read_dir(folder.join(below)).expect("the example's folder") {
                let path = entry.expect("readable").path();
                if path.is_file() {
                    kept.insert(path.strip_prefix(&folder).expect("below").display().to_string());
                }
            }
        }
        assert_eq!(kept, FILES.iter().map(|file| file.path.to_owned()).collect());
    }

    #[test]
    fn the_examples_prepare_hook_lets_it_through() {
        let output = prepared(|_| ());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    #[test]
    fn the_examples_prepare_hook_fails_on_a_cut_page_and_on_a_dead_link() {
        let cut = prepared(|folder| fs::write(folder.join("site/index.html"), "<html>").expect("changed"));
        assert_eq!(String::from_utf8_lossy(&cut.stdout), "index.html is cut off: it has no </html>\n");
        assert!(!cut.status.success());
        let dead = prepared(|folder| fs::remove_file(folder.join("site/about.html")).expect("removed"));
        assert_eq!(
            String::from_utf8_lossy(&dead.stdout),
            "index.html links to about.html, which is not there\n"
        );
        assert!(!dead.status.success());
    }
}
