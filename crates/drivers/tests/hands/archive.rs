//! Packing and unpacking, also of what strangers made.

use std::fs;

use footplate_drivers::archive::{self, Limits};

use crate::support::{listing, write_files};

#[test]
fn a_tree_comes_out_as_it_went_in_and_always_as_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(200));
    let files: [(&str, &str); 5] =
        [("z", "last"), ("a/b/c", "deep"), ("a/run", "!#!/bin/sh"), ("a/up", "->../z"), (&long, "long")];
    let names: Vec<_> = ["first", "second"].map(|name| folder.path().join(name)).into();
    let packed: Vec<_> = names
        .iter()
        .map(|tree| {
            let mut files = files;
            files.reverse();
            fs::create_dir(tree).unwrap();
            fs::create_dir(tree.join("empty")).unwrap();
            write_files(tree, &files);
            fs::create_dir(tree.join(".git")).unwrap();
            archive::pack(tree, &tree.with_extension("zst"), 1_000_000).unwrap()
        })
        .collect();
    assert_eq!(packed[0], packed[1]);
    let out = folder.path().join("out");
    let unpacked = archive::unpack(&names[0].with_extension("zst"), &out, &Limits::default()).unwrap();
    assert_eq!(unpacked.entries, packed[0].entries);
    fs::remove_dir(names[0].join(".git")).unwrap();
    assert_eq!(listing(&out), listing(&names[0]));
}
