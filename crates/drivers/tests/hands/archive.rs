//! Packing, and unpacking what was packed here.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use footplate_drivers::archive::{self, Limits};
use tokio_util::sync::CancellationToken;

use crate::support::{listing, write_files};

#[test]
fn a_tree_comes_out_as_it_went_in_and_always_as_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(200));
    let far = format!("->{long}");
    let files: [(&str, &str); 6] = [
        ("z", "last"),
        ("a/b/c", "deep"),
        ("a/run", "!#!/bin/sh"),
        ("a/up", "->../z"),
        (&long, "long"),
        ("far", &far),
    ];
    let trees: Vec<_> = ["first", "second"].map(|name| folder.path().join(name)).into();
    let mut packed = Vec::new();
    for (number, tree) in trees.iter().enumerate() {
        let mut files = files;
        files.rotate_left(number);
        write_files(tree, &files);
        write_files(tree, &[(".git/config", "not a part of it")]);
        fs::create_dir(tree.join("empty")).unwrap();
        fs::set_permissions(tree.join("z"), fs::Permissions::from_mode(0o600 + 0o60 * number as u32))
            .unwrap();
        packed.push(archive::pack(tree, &tree.with_extension("zst"), 1_000_000_000).unwrap());
    }
    assert_eq!(packed[0], packed[1]);
    assert_eq!(archive::digest_file(&trees[1].with_extension("zst")).unwrap(), packed[0].artifact);
    let checked =
        archive::check(&trees[0].with_extension("zst"), &Limits::default(), &CancellationToken::new());
    let out = folder.path().join("out");
    let unpacked =
        archive::unpack(&trees[0].with_extension("zst"), &out, &Limits::default(), &CancellationToken::new())
            .unwrap();
    assert_eq!(checked.unwrap(), unpacked);
    assert_eq!((unpacked.entries, unpacked.content_bytes), (packed[0].entries, packed[0].content_bytes));
    assert_eq!(fs::metadata(out.join("z")).unwrap().mtime(), 1_000_000_000);
    fs::remove_dir_all(trees[0].join(".git")).unwrap();
    fs::set_permissions(trees[0].join("z"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(listing(&out), listing(&trees[0]));
}

#[test]
fn what_could_not_be_unpacked_is_not_packed() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let to = folder.path().join("to");
    fs::create_dir(&tree).unwrap();
    let error = archive::pack(&tree, &to, 0).unwrap_err();
    assert!(
        error.to_string().contains("there is nothing in it") && error.next().contains("output"),
        "{error}"
    );
    symlink("/etc/passwd", tree.join("link")).unwrap();
    let error = archive::pack(&tree, &to, 0).unwrap_err();
    assert_eq!(error.to_string(), "cannot pack `link`: it points to `/etc/passwd`, an absolute path");
    fs::remove_file(tree.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let error = archive::pack(&tree, &to, 0).unwrap_err();
    assert_eq!(error.to_string(), "cannot pack `socket`: it is neither a file nor a folder nor a link");
    fs::remove_file(tree.join("socket")).unwrap();
    fs::write(tree.join("red\x1b[31m"), "").unwrap();
    let error = archive::pack(&tree, &to, 0).unwrap_err();
    assert_eq!(error.to_string(), r"cannot pack `red\u{1b}[31m`: its name holds a control character");
    assert!(!to.exists());
}
