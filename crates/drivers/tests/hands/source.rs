//! Reading real git repositories.

use std::fs;

use footplate_drivers::source::{Git, Source, SourceError};

use crate::support::{listing, write_files};

#[tokio::test]
async fn a_repository_is_made_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("hello");
    write_files(&here, &[("footplate.toml", "app = \"hello\"\n"), ("deploy/prepare", "!#!/bin/sh\n")]);
    let git = Git::init(&here, "Say hello").await.unwrap();
    let first = git.head(None).await.unwrap();
    assert_eq!((first.id.len(), first.summary.as_str()), (40, "Say hello"));
    fs::write(here.join("more"), "more").unwrap();
    let second = git.commit_all("Say \"more\"").await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(git.head(Some("main")).await.unwrap(), second);
    assert_eq!(git.resolve(&first.id[..10]).await.unwrap(), first);
    assert_eq!(git.resolve("main").await.unwrap(), second);
    assert_eq!(git.commit_all("Nothing new").await.unwrap(), second);

    let tree = folder.path().join("tree");
    git.check_out(&first, &tree).await.unwrap();
    let found: Vec<_> = listing(&tree).into_iter().filter(|line| !line.starts_with(".git/")).collect();
    assert_eq!(
        found,
        [
            "deploy/ 755",
            "deploy/prepare 755 \"#!/bin/sh\\n\"",
            "footplate.toml 644 \"app = \\\"hello\\\"\\n\""
        ]
    );
    assert!(!here.join(".git/worktrees").exists(), "the repository keeps no trace");
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let git = Git::init(&folder.path().join("a"), "Begin").await;
    let error = git.unwrap_err();
    assert!(matches!(error, SourceError::Git { .. }), "an empty folder has nothing to commit: {error}");

    write_files(&folder.path().join("b"), &[("a", "a")]);
    let git = Git::init(&folder.path().join("b"), "Begin").await.unwrap();
    for name in ["9.9", "--help", "main..main", ":/Begin", "", "HEAD^", "-1", "a b"] {
        let error = git.resolve(name).await.unwrap_err();
        assert!(matches!(error, SourceError::Unknown { .. }), "{name}: {error}");
    }
    assert!(matches!(git.head(Some("other")).await, Err(SourceError::Unknown { .. })));
    for place in ["nowhere", ""] {
        let error = Git::open(&folder.path().join(place)).await.unwrap_err();
        assert!(matches!(error, SourceError::NotARepository { .. }), "{place}: {error}");
    }
}

#[tokio::test]
async fn no_hook_of_a_repository_runs() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("a");
    write_files(&here, &[("a", "a")]);
    let git = Git::init(&here, "Begin").await.unwrap();
    let trap = format!("!#!/bin/sh\ntouch {}\n", folder.path().join("trapped").display());
    for hook in ["pre-commit", "post-commit", "post-checkout", "reference-transaction"] {
        write_files(&here.join(".git/hooks"), &[(hook, &trap)]);
    }
    fs::write(here.join("a"), "b").unwrap();
    let commit = git.commit_all("Go on").await.unwrap();
    git.check_out(&commit, &folder.path().join("tree")).await.unwrap();
    assert!(!folder.path().join("trapped").exists());
}
