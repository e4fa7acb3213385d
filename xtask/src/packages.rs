//! What the tests need from Debian's packages, and how it gets here.
//!
//! Programs of the system (`strace`, `ip`, …) are installed; the servers that tests start (Consul, etcd, HAProxy, nginx, Prometheus) are only unpacked
//! into a cache folder, because nobody wants them as running services. The mirror is whichever one this machine's own apt
//! uses; signatures are checked with Debian's keys; the machine's own package lists are neither needed nor changed.

use crate::failure::Failure;
use crate::program;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server unpacked for the tests. The version is pinned by the suite that carries it.
struct Server {
    package: &'static str,
    /// Packages of libraries that are unpacked beside it; whoever starts it names their folder.
    libraries: &'static [&'static str],
    suite: &'static str,
    folder: &'static str,
    binary: &'static str,
    why: &'static str,
}

const SERVERS: [Server; 5] = [
    Server {
        package: "consul",
        libraries: &[],
        suite: "bullseye",
        folder: "consul",
        binary: "usr/bin/consul",
        why: "the store tests run against the real Consul 1.8.7",
    },
    Server {
        package: "etcd-server",
        libraries: &[],
        suite: "bookworm",
        folder: "etcd",
        binary: "usr/bin/etcd",
        why: "the store tests run against the real etcd",
    },
    Server {
        package: "haproxy",
        libraries: &["liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
        suite: "bookworm",
        folder: "haproxy",
        binary: "usr/sbin/haproxy",
        why: "HAProxy 2.6 is the other router, and what the built-in one is measured against",
    },
    Server {
        package: "nginx",
        libraries: &[],
        suite: "bookworm",
        folder: "nginx",
        binary: "usr/sbin/nginx",
        why: "the built-in router is measured against it",
    },
    Server {
        package: "prometheus",
        libraries: &[],
        suite: "bookworm",
        folder: "prometheus",
        binary: "usr/bin/prometheus",
        why: "KPIs are asked of a real Prometheus",
    },
];

/// A program of the system: its name, its package and why the tests want it.
const TOOLS: [(&str, &str, &str); 7] = [
    ("strace", "strace", "the power-loss proof records the system calls of an agent"),
    ("ip", "iproute2", "tests cut the network inside namespaces of their own"),
    ("setpriv", "util-linux", "tests run an agent without root's rights"),
    ("git", "git", "apps are built from git repositories"),
    (
        "systemd-nspawn",
        "systemd-container",
        "services run under a real systemd, in a machine booted for the test",
    ),
    ("pip3", "python3-pip", "a real service is fetched from a registry and taken through its versions"),
    ("debootstrap", "debootstrap", "that machine is a small Debian"),
];

/// The machine that the tests boot: its folder in the cache, its suite, and what it has beyond the least.
const MACHINE: (&str, &str, &str) = ("debian", "bookworm", "systemd,systemd-sysv,dbus");

const NEXT_APT: &str = "check that apt works on this machine (`apt-get update`), then run the command again";

/// Returns the folder that holds unpacked servers: `$FOOTPLATE_TEST_CACHE`, else one in the user's cache.
pub fn cache_folder() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os("FOOTPLATE_TEST_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(Path::new(&home).join(".cache/footplate-tests")),
        None => Err(Failure::new(
            "cannot choose a cache folder",
            "neither FOOTPLATE_TEST_CACHE nor HOME is set",
            "set FOOTPLATE_TEST_CACHE to a folder that may be written",
        )),
    }
}

/// Installs and unpacks whatever is missing, saying what and why. Does nothing when all is there.
pub fn install(cache: &Path) -> Result<(), Failure> {
    install_tools()?;
    install_machine(cache)?;
    let missing: Vec<&Server> =
        SERVERS.iter().filter(|server| !cache.join(server.folder).join(server.binary).is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for server in &missing {
        println!(
            "unpacking {} of {} into {}: {}",
            server.package,
            server.suite,
            cache.join(server.folder).display(),
            server.why
        );
    }
    unpack(&missing, cache)
}

fn install_tools() -> Result<(), Failure> {
    let missing: Vec<_> = TOOLS.iter().filter(|(tool, ..)| !program::is_installed(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    for (_, package, why) in &missing {
        println!("installing {package}: {why}");
    }
    let by_hand = format!("as root: apt-get update && apt-get install {}", packages.join(" "));
    if program::read(Command::new("id").arg("-u"), NEXT_APT)?.trim() != "0" {
        return Err(Failure::new(
            format!("cannot install {}", packages.join(", ")),
            "this user is not root",
            by_hand,
        ));
    }
    program::perform(Command::new("apt-get").arg("update"), NEXT_APT)?;
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "--yes", "--no-install-recommends"]);
    program::perform(apt.args(&packages), &by_hand)
}

/// Makes the root of the machine that the tests boot. Half of one is made anew: the rename at the end completes it.
fn install_machine(cache: &Path) -> Result<(), Failure> {
    let (folder, suite, packages) = MACHINE;
    let root = cache.join(folder);
    if root.join("usr/bin/systemctl").is_file() {
        return Ok(());
    }
    println!("making a small Debian in {}: the tests boot it to run services under systemd", root.display());
    let failure = |error| unwritable(cache, error);
    fs::create_dir_all(cache).map_err(failure)?;
    let scratch = tempfile::Builder::new().prefix(".debian-").tempdir_in(cache).map_err(failure)?;
    let nothing = scratch.path().join("nothing");
    fs::create_dir(&nothing).map_err(failure)?;
    let fresh = scratch.path().join("root");
    let mut command = Command::new("debootstrap");
    command
        .args(["--variant=minbase", &format!("--include={packages}"), suite])
        .arg(&fresh)
        .arg(mirror(&nothing)?);
    program::perform(&mut command, "run it as root, on a machine that reaches Debian's mirror")?;
    fs::rename(&fresh, &root).map_err(failure)
}

fn unwritable(cache: &Path, error: std::io::Error) -> Failure {
    let what = format!("cannot write in {}", cache.display());
    Failure::new(what, error, "set FOOTPLATE_TEST_CACHE to another folder")
}

/// Downloads the packages with a private apt state, then puts each tree in place with one rename.
fn unpack(servers: &[&Server], cache: &Path) -> Result<(), Failure> {
    let failure = |error| unwritable(cache, error);
    fs::create_dir_all(cache).map_err(failure)?;
    let scratch = tempfile::Builder::new().prefix(".apt-").tempdir_in(cache).map_err(failure)?;
    let configuration = write_configuration(scratch.path()).map_err(failure)??;
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.current_dir(scratch.path()).arg("-c").arg(&configuration);
        apt
    };
    program::perform(apt().args(["-qq", "update"]), NEXT_APT)?;
    for server in servers {
        let tree = scratch.path().join(server.folder);
        for name in [server.package].iter().chain(server.libraries) {
            let wanted = format!("{name}/{}", server.suite);
            program::perform(apt().args(["-qq", "download"]).arg(wanted), NEXT_APT)?;
            let package = downloaded(scratch.path(), name).map_err(failure)?;
            program::perform(Command::new("dpkg").arg("-x").arg(package).arg(&tree), NEXT_APT)?;
        }
        // Whoever was faster has put the same tree there.
        let target = cache.join(server.folder);
        if !target.join(server.binary).is_file() {
            fs::rename(&tree, &target).map_err(failure)?;
        }
    }
    Ok(())
}

/// Finds the one downloaded file of a package; its name carries a version that we do not know before.
fn downloaded(folder: &Path, package: &str) -> std::io::Result<PathBuf> {
    let beginning = format!("{package}_");
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&beginning) {
            return Ok(entry.path());
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, format!("apt left no file {beginning}*.deb")))
}

/// Writes an apt configuration whose lists, cache and sources all lie in `folder`.
fn write_configuration(folder: &Path) -> std::io::Result<Result<PathBuf, Failure>> {
    for part in ["lists/partial", "cache/archives/partial", "nothing"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let mirror = match mirror(&folder.join("nothing")) {
        Ok(mirror) => mirror,
        Err(failure) => return Ok(Err(failure)),
    };
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let option = if Path::new(keys).is_file() { format!("[signed-by={keys}] ") } else { String::new() };
    let suites: BTreeSet<&str> = SERVERS.iter().map(|server| server.suite).collect();
    let sources: String = suites.iter().map(|suite| format!("deb {option}{mirror} {suite} main\n")).collect();
    fs::write(folder.join("sources.list"), sources)?;
    let place = folder.display();
    let settings = format!(
        "Dir::State::lists \"{place}/lists\";\nDir::Cache \"{place}/cache\";\n\
         Dir::Etc::sourcelist \"{place}/sources.list\";\nDir::Etc::sourceparts \"{place}/nothing\";\n\
         Dir::Etc::preferencesparts \"{place}/nothing\";\nAPT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         #clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
    );
    let path = folder.join("apt.conf");
    fs::write(&path, settings)?;
    Ok(Ok(path))
}

/// Asks this machine's apt which address it has Debian from. `nothing` is an empty folder: with no lists in it apt names
/// every file it would read, whichever way the sources are written.
fn mirror(nothing: &Path) -> Result<String, Failure> {
    let lists = format!("Dir::State::lists={}", nothing.display());
    let addresses =
        program::read(Command::new("apt-get").args(["update", "--print-uris", "-o", &lists]), NEXT_APT)?;
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename =
        system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("bookworm");
    parse_mirror(&addresses, codename).ok_or_else(|| {
        Failure::new(
            "cannot find Debian's mirror",
            format!("apt on this machine has no source for the suite {codename}"),
            "add Debian's main archive to this machine's apt sources",
        )
    })
}

/// Reads the archive's address out of lines like `'ADDRESS/dists/SUITE/InRelease' name 0`.
fn parse_mirror(addresses: &str, codename: &str) -> Option<String> {
    let tail = format!("/dists/{codename}/InRelease");
    let quoted = addresses.lines().filter_map(|line| line.strip_prefix('\'')?.split('\'').next());
    quoted.filter_map(|address| address.strip_suffix(tail.as_str())).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_that_carries_the_systems_own_suite() {
        let addresses = "'http://mirror.test/security/dists/bookworm-security/InRelease' x 0\n\
                         'http://mirror.test/debian/dists/bookworm-updates/InRelease' x 0\n\
                         'http://mirror.test/debian/dists/bookworm/InRelease' x 0\n";
        assert_eq!(parse_mirror(addresses, "bookworm").as_deref(), Some("http://mirror.test/debian"));
        assert_eq!(parse_mirror(addresses, "trixie"), None);
    }
}
