//! Archives that strangers made: whatever they hold, nothing happens outside of the folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use footplate_drivers::archive::{self, Limits, UnpackError};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use crate::support::{listing, write_files};

/// One entry of a hostile archive, written without any of the care that the library takes.
struct Raw<'a> {
    kind: EntryType,
    name: &'a [u8],
    target: &'a [u8],
    mode: u32,
    /// When it was modified, in seconds since 1970.
    modified: u64,
    /// What the header says; the content may differ.
    bytes: Option<u64>,
    content: &'a [u8],
}

impl Default for Raw<'_> {
    fn default() -> Self {
        Self {
            kind: EntryType::Regular,
            name: b"file",
            target: b"",
            mode: 0o644,
            modified: 0,
            bytes: None,
            content: b"",
        }
    }
}

fn file(name: &str) -> Raw<'_> {
    Raw { name: name.as_bytes(), content: b"hello", ..Raw::default() }
}

fn link<'a>(kind: EntryType, name: &'a str, target: &'a str) -> Raw<'a> {
    Raw { kind, name: name.as_bytes(), target: target.as_bytes(), ..Raw::default() }
}

fn block(raw: &Raw) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..raw.name.len()].copy_from_slice(raw.name);
    gnu.linkname[..raw.target.len()].copy_from_slice(raw.target);
    header.set_entry_type(raw.kind);
    header.set_mode(raw.mode);
    header.set_mtime(raw.modified);
    header.set_size(raw.bytes.unwrap_or(raw.content.len() as u64));
    header.set_cksum();
    let mut block = header.as_bytes().to_vec();
    block.extend(raw.content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn whole(entries: &[Raw]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(block).collect();
    bytes.extend([0; 1024]);
    bytes
}

struct Den {
    folder: tempfile::TempDir,
}

impl Den {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("parent")).unwrap();
        fs::write(folder.path().join("victim"), "untouched").unwrap();
        Self { folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("parent/out")
    }

    fn unpack_packed(&self, packed: &[u8], limits: &Limits) -> Result<archive::Unpacked, UnpackError> {
        let file = self.folder.path().join("archive");
        fs::write(&file, packed).unwrap();
        archive::unpack(&file, &self.out(), limits, &CancellationToken::new())
    }

    fn unpack(&self, tar: &[u8]) -> Result<archive::Unpacked, UnpackError> {
        self.unpack_packed(&zstd::encode_all(tar, 1).unwrap(), &Limits::default())
    }

    /// Expects a refusal that says this, by the dry walk too, and that nothing is left or changed.
    fn refuses(&self, tar: &[u8], because: &str) {
        let error = self.unpack(tar).expect_err(because);
        let file = self.folder.path().join("archive");
        let checked = archive::check(&file, &Limits::default(), &CancellationToken::new());
        assert_eq!(checked.expect_err(because).to_string(), error.to_string());
        let said = footplate_drivers::chain(&error);
        assert!(said.contains(because), "expected `{because}`, got: {said}");
        assert!(!error.next().is_empty());
        self.is_unharmed();
    }

    fn is_unharmed(&self) {
        assert_eq!(
            listing(&self.folder.path().join("parent")),
            Vec::<String>::new(),
            "nothing is left behind"
        );
        assert_eq!(fs::read_to_string(self.folder.path().join("victim")).unwrap(), "untouched");
    }
}

#[test]
fn an_archive_never_reaches_outside() {
    let den = Den::new();
    let victim = den.folder.path().join("victim").display().to_string();
    let symlink = |name, target| link(EntryType::Symlink, name, target);
    let hard = |name, target| link(EntryType::Link, name, target);
    let folder = |name| link(EntryType::Directory, name, "");
    den.refuses(&whole(&[file("/absolute")]), "its name is absolute");
    den.refuses(&whole(&[file(&victim)]), "its name is absolute");
    den.refuses(&whole(&[file("../victim")]), "its name holds `..`");
    den.refuses(&whole(&[file("a/../../../victim")]), "its name holds `..`");
    den.refuses(&whole(&[symlink("link", "../../victim")]), "outside of the tree");
    den.refuses(&whole(&[symlink("link", &victim)]), "an absolute path");
    den.refuses(&whole(&[symlink("a/link", "b/../../../x")]), "`..` may stand only at the beginning");
    den.refuses(&whole(&[symlink("link", "")]), "its target is not a path");
    den.refuses(
        &whole(&[folder("d"), symlink("link", "d"), file("link/file")]),
        "it lies behind a link or a file",
    );
    den.refuses(&whole(&[file("a"), file("a/b")]), "it lies behind a link or a file");
    den.refuses(&whole(&[symlink("link", "other"), file("link")]), "it is in the archive twice");
    den.refuses(&whole(&[hard("hard", &victim)]), "its name is absolute");
    den.refuses(&whole(&[hard("hard", "../../victim")]), "its name holds `..`");
    den.refuses(&whole(&[hard("hard", "absent")]), "not in the tree");
    den.refuses(&whole(&[folder("d"), hard("hard", "d")]), "not a file");
    den.refuses(&whole(&[file("a"), symlink("s", "a"), hard("hard", "s")]), "not a file");
    den.refuses(&whole(&[symlink(".", "a")]), "stands for the whole tree");
    den.refuses(&whole(&[file("red\x1b[31m")]), "its name holds a control character");
    den.refuses(&whole(&[file("a\nb/c")]), "its name holds a control character");
    den.refuses(&whole(&[symlink("link", "to\x1b[2J")]), "which holds a control character");
}

#[test]
fn an_archive_brings_nothing_that_is_more_than_a_file() {
    let den = Den::new();
    for (kind, because) in [
        (EntryType::Char, "it is a device"),
        (EntryType::Block, "it is a device"),
        (EntryType::Fifo, "it is a fifo"),
        (EntryType::GNUSparse, "of a kind that no release needs"),
        (EntryType::new(b'V'), "of a kind that no release needs"),
    ] {
        den.refuses(&whole(&[link(kind, "thing", "")]), because);
    }
    for mode in [0o4755, 0o2755, 0o6755] {
        den.refuses(&whole(&[Raw { mode, ..file("tool") }]), "set-user-id");
    }
    den.refuses(&whole(&[file("a"), file("a")]), "it is in the archive twice");
    den.refuses(&whole(&[link(EntryType::Directory, "a", ""), link(EntryType::Directory, "a", "")]), "twice");
    den.refuses(
        &whole(&[Raw { kind: EntryType::GNULongName, content: b"a\0b", ..file("x") }, file("y")]),
        "NUL",
    );
    den.refuses(
        &whole(&[file(&"a/".repeat(49)), file("b")].map(|raw| Raw { mode: 0o4000, ..raw })),
        "set-user-id",
    );
    let deep = "a/".repeat(150) + "b";
    let long = Raw { kind: EntryType::GNULongName, content: deep.as_bytes(), ..Raw::default() };
    den.refuses(&whole(&[long, file("y")]), "folders deep");
    let wide = "n".repeat(300);
    let long = Raw { kind: EntryType::GNULongName, content: wide.as_bytes(), ..Raw::default() };
    den.refuses(&whole(&[long, file("y")]), "too long for the file system");
}

#[test]
fn a_time_that_no_clock_shows_is_refused() {
    let den = Den::new();
    // Beyond 33 bits it stands in the header in base 256; a time before 1970 looks like the last of these.
    for modified in [253_402_300_800, 1 << 62, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        den.refuses(&whole(&[Raw { modified, ..file("a") }]), "between the years 1970 and 9999");
    }
    den.unpack(&whole(&[Raw { modified: 253_402_300_799, ..file("a") }])).unwrap();
    assert_eq!(listing(&den.out()), ["a 644 \"hello\""]);
}

#[test]
fn folders_that_stand_in_no_entry_count_as_entries() {
    let den = Den::new();
    let few = Limits { entries_max: 9, ..Limits::default() };
    let unpack = |tar: &[u8]| den.unpack_packed(&zstd::encode_all(tar, 1).unwrap(), &few);
    let check = || archive::check(&den.folder.path().join("archive"), &few, &CancellationToken::new());
    let deep = whole(&[file("a/b/c/d/x"), file("e/f/g/h/y")]);
    let error = unpack(&deep).unwrap_err();
    assert_eq!(error.to_string(), "refused an archive: it has more than 9 entries");
    assert_eq!(check().unwrap_err().to_string(), error.to_string());
    den.is_unharmed();
    // One that gets its entry later counts once.
    let folder = |name| link(EntryType::Directory, name, "");
    let unpacked = unpack(&whole(&[file("a/b/c/d/x"), folder("a/b"), file("e/f/g/y")])).unwrap();
    assert_eq!((unpacked, unpacked.entries), (check().unwrap(), 3));
}

#[test]
fn pax_headers_say_names_and_nothing_else() {
    let den = Den::new();
    let pax = |records: &'static str| Raw {
        kind: EntryType::XHeader,
        content: records.as_bytes(),
        ..Raw::default()
    };
    den.unpack(&whole(&[pax("21 path=renamed/file\n"), file("other")])).unwrap();
    assert_eq!(listing(&den.out()), ["renamed/ 755", "renamed/file 644 \"hello\""]);
    fs::remove_dir_all(den.out()).unwrap();
    den.refuses(&whole(&[pax("18 path=../victim\n"), file("other")]), "holds `..`");
    den.refuses(&whole(&[pax("9 size=9\n"), file("other")]), "changes the size");
    den.refuses(&whole(&[pax("25 GNU.sparse.size=10000\n"), file("other")]), "sparse");
    den.refuses(&whole(&[pax("no record at all\n"), file("other")]), "cannot read an archive");
    // What `git archive` writes first.
    let comment = Raw { kind: EntryType::XGlobalHeader, content: b"16 comment=0123\n", ..Raw::default() };
    den.unpack(&whole(&[comment, file("a")])).unwrap();
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let den = Den::new();
    let bomb = zstd::encode_all(&vec![0; 100 << 20][..], 1).unwrap();
    let claims = Raw { bytes: Some(1 << 40), ..Raw::default() };
    den.refuses(&whole(&[claims]), "that is a bomb");
    let error =
        den.unpack_packed(&bomb, &Limits { ratio_floor_bytes: 1 << 20, ..Limits::default() }).unwrap_err();
    assert!(
        footplate_drivers::chain(&error).contains("bomb"),
        "a hundred megabytes of empty blocks: {error}"
    );
    let small = Limits { bytes_max: 4096, ..Limits::default() };
    let entries = [Raw { content: &[b'x'; 5000], ..Raw::default() }];
    let error = den.unpack_packed(&zstd::encode_all(&whole(&entries)[..], 1).unwrap(), &small).unwrap_err();
    assert_eq!(error.to_string(), "refused an archive: it unpacks to 5512 bytes or more; 4096 is the most");
    let name = Raw { kind: EntryType::GNULongName, bytes: Some(1 << 26), ..Raw::default() };
    den.refuses(&whole(&[name]), "a name in it has 67108864 bytes");
    den.is_unharmed();
}

#[test]
fn a_million_entries_are_refused() {
    let den = Den::new();
    // A million long names for one file, then a million files.
    let name = block(&Raw { kind: EntryType::GNULongName, content: b"name\0", ..Raw::default() });
    let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let thousand = name.repeat(1000);
    for _ in 0..1000 {
        packer.write_all(&thousand).unwrap();
    }
    let names = packer.finish().unwrap();
    // Far fewer than the usual limit, so that this takes no minute in a build without optimisation.
    let few = Limits { entries_max: 900, ratio_max: u64::MAX, ..Limits::default() };
    let error = den.unpack_packed(&names, &few).unwrap_err();
    assert_eq!(error.to_string(), "refused an archive: it has more than 900 entries");
    let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let mut header = tar::Header::new_gnu();
    let mut thousand = Vec::new();
    for number in 0..1000 {
        header.set_path(format!("folder/{number}")).unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        thousand.extend(header.as_bytes());
    }
    for _ in 0..1000 {
        packer.write_all(&thousand).unwrap();
    }
    let files = packer.finish().unwrap();
    let error = den.unpack_packed(&files, &few).unwrap_err();
    assert_eq!(error.to_string(), "refused an archive: it has more than 900 entries");
    den.is_unharmed();
}

#[test]
fn what_is_cut_off_or_corrupt_is_refused() {
    let den = Den::new();
    let tar = whole(&[file("a"), Raw { content: &[b'x'; 3000], ..file("b") }]);
    let packed = zstd::encode_all(&tar[..], 1).unwrap();
    for length in 0..packed.len() {
        let error = den.unpack_packed(&packed[..length], &Limits::default()).expect_err("it is cut off");
        assert!(matches!(error, UnpackError::Corrupt(_)), "{length}: {error}");
        den.is_unharmed();
    }
    for length in (0..tar.len() - 1024).step_by(100).chain([tar.len() - 1024, tar.len() - 600]) {
        den.refuses(&tar[..length], "");
    }
    den.refuses(&[&tar[..], b"more"].concat(), "something follows its end");
    den.refuses(&[&tar[..], &tar].concat(), "something follows its end");
    let error = den.unpack_packed(&[&packed[..], b"garbage"].concat(), &Limits::default()).unwrap_err();
    assert!(matches!(error, UnpackError::Corrupt(_)), "{error}");
    let error = den.unpack_packed(b"this is text", &Limits::default()).unwrap_err();
    assert!(footplate_drivers::chain(&error).starts_with("cannot read an archive: "), "{error}");
    den.is_unharmed();
}

#[test]
fn whatever_is_flipped_in_an_archive_nothing_happens_outside() {
    let den = Den::new();
    let link = |name, target| link(EntryType::Symlink, name, target);
    let tar = whole(&[file("a/b"), link("a/c", "b"), file("d"), link("e", "a/c")]);
    let seed = u64::from(uuid::Uuid::new_v4().as_fields().0);
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..1500 {
        let mut tar = tar.clone();
        for _ in 0..random.random_range(1..4) {
            // Mostly in headers, whose checksum is then made right again, so that more than the checksum is tried.
            let header = random.random_range(0..tar.len() / 512) * 512;
            tar[header + random.random_range(0..500)] = random.random();
            let mut fixed = tar::Header::new_old();
            fixed.as_mut_bytes().copy_from_slice(&tar[header..header + 512]);
            fixed.set_cksum();
            tar[header..header + 512].copy_from_slice(fixed.as_bytes());
        }
        if den.unpack(&tar).is_ok() {
            for path in paths(&den.out()) {
                let inside = path
                    .canonicalize()
                    .map_or(true, |real| real.starts_with(den.out().canonicalize().unwrap()));
                assert!(inside, "seed {seed}, round {round}: {} leads outside", path.display());
            }
            fs::remove_dir_all(den.out()).unwrap();
        }
        den.is_unharmed();
    }
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(paths(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn an_existing_folder_is_not_touched() {
    let den = Den::new();
    write_files(&den.out(), &[("mine", "mine")]);
    let error = den.unpack(&whole(&[file("a")])).unwrap_err();
    assert!(footplate_drivers::chain(&error).contains("exists"), "{error}");
    assert_eq!(listing(&den.out()), ["mine 644 \"mine\""]);
}

#[test]
fn unpacking_ends_when_nobody_wants_it_any_more_and_leaves_nothing() {
    let den = Den::new();
    let archive = den.folder.path().join("archive");
    fs::write(&archive, zstd::encode_all(&*whole(&[file("a")]), 1).unwrap()).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let error = archive::unpack(&archive, &den.out(), &Limits::default(), &stop).unwrap_err();
    assert!(matches!(error, UnpackError::Stopped), "{error:?}");
    den.is_unharmed();
}
