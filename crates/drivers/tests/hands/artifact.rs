//! Keeping artifacts by digest.

use std::fs;

use footplate_drivers::archive;
use footplate_drivers::artifact::{ArtifactError, ArtifactStore, Directory, Fetch};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_directory_keeps_what_it_was_given_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let file = folder.path().join("bytes");
    fs::write(&file, "some bytes").unwrap();
    let artifact = archive::digest_file(&file).unwrap();
    assert!(!store.has(&artifact).await.unwrap());
    store.put(&artifact, &file).await.unwrap();
    store.put(&artifact, &file).await.unwrap();
    assert!(store.has(&artifact).await.unwrap());
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&artifact));

    let other = folder.path().join("other");
    fs::write(&other, "other byte").unwrap();
    let wrong = archive::digest_file(&other).unwrap();
    let error = store.put(&wrong, &file).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Mismatch { .. }), "{error}");
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&artifact), "nothing is left of it");

    let to = folder.path().join("fetched");
    store.fetch(&artifact, &to, &CancellationToken::new()).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"some bytes");
    fs::remove_file(&to).unwrap();
    fs::write(store.path(&artifact.digest), "bad! bytes").unwrap();
    let error = store.fetch(&artifact, &to, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("holds bytes of sha256:"), "{error}");
    assert!(!to.exists());
}
