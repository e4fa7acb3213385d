//! Artifacts over HTTP: up from who pushes, down to the agents, by digest.
//!
//! Invariants: only the operator may put; bytes that do not match their name are refused and leave nothing behind.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use footplate_core::artifact::{ArtifactRef, Digest};
use footplate_core::moment::in_words;
use footplate_drivers::archive::{self, UnpackError};
use footplate_drivers::artifact::{ArtifactError, ArtifactStore};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::extract::Named;
use super::http::right;
use super::token::Right;
use crate::api::{Problem, ProblemKind};

/// The largest artifact that is taken, in packed bytes.
const ARTIFACT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// How long an upload may stand still.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How many uploads are judged at once: each takes a core for as long as it is unpacked.
pub(super) const CHECKS_MAX: usize = 2;

/// `GET` and `HEAD`: the bytes, or 404.
pub(super) async fn fetch(
    State(shared): State<Arc<Shared>>,
    Named(digest): Named<Digest>,
) -> Result<Response, Problem> {
    let what = format!("cannot fetch {digest}");
    match tokio::fs::File::open(shared.artifacts.path(&digest)).await {
        Ok(file) => {
            let metadata = file.metadata().await.map_err(|error| Problem::internal(&what, &error))?;
            let headers = [
                (header::CONTENT_LENGTH, metadata.len().to_string()),
                (header::CONTENT_TYPE, "application/zstd".to_owned()),
            ];
            let body = Body::from_stream(ReaderStream::with_capacity(file, 64 * 1024));
            Ok((headers, body).into_response())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Problem::new(
            ProblemKind::Unknown,
            what,
            "the controller does not have it",
            "push the release again",
        )),
        Err(error) => Err(Problem::internal(what, &error)),
    }
}

/// `PUT`: takes the bytes of an artifact.
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Named(digest): Named<Digest>,
    headers: HeaderMap,
    request: Request,
) -> Result<StatusCode, Problem> {
    let what = format!("cannot store {digest}");
    if right(&shared, &headers) != Some(Right::Operate) {
        let next = "push with the operator's token";
        return Err(Problem::new(ProblemKind::Denied, what, "an agent may only fetch", next));
    }
    // Gone with this call, also when the client hangs up in the middle.
    let incoming = tempfile::NamedTempFile::new_in(incoming_folder(&shared.config.data))
        .map_err(|error| Problem::internal(&what, &error))?
        .into_temp_path();
    let received = receive(&incoming, request.into_body(), IDLE_MAX).await;
    let stored = match received {
        Ok(bytes) => {
            let artifact = ArtifactRef { digest, bytes };
            check(&shared.checks, &artifact, &incoming, &what).await?;
            shared.artifacts.put(&artifact, &incoming).await.map_err(|error| problem(&what, &error))
        }
        Err(error) => {
            let next = match error.kind() {
                std::io::ErrorKind::TimedOut => "push again over a connection that holds",
                _ => "check the free space on the controller's disk, and push again",
            };
            Err(Problem::new(ProblemKind::Refused, &what, error, next))
        }
    };
    stored.map(|()| StatusCode::CREATED)
}

/// Makes the folder for uploads, and removes what a controller that was killed left in it.
pub(super) fn sweep_uploads(data: &std::path::Path) -> std::io::Result<()> {
    let folder = incoming_folder(data);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir(folder)
}

fn incoming_folder(data: &std::path::Path) -> std::path::PathBuf {
    data.join("incoming")
}

/// Writes a body to a file, and returns its bytes. One that stops coming is cut.
async fn receive(file: &std::path::Path, body: Body, idle_max: Duration) -> std::io::Result<u64> {
    let (mut stream, mut bytes) = (body.into_data_stream(), 0);
    let mut target = tokio::fs::File::create(file).await?;
    let cut = |_| {
        let silence = format!("no byte came for {}", in_words(idle_max));
        std::io::Error::new(std::io::ErrorKind::TimedOut, silence)
    };
    while let Some(chunk) = tokio::time::timeout(idle_max, stream.next()).await.map_err(cut)? {
        let chunk = chunk.map_err(std::io::Error::other)?;
        bytes += chunk.len() as u64;
        if bytes > ARTIFACT_BYTES_MAX {
            let limit = format!("an artifact may have {ARTIFACT_BYTES_MAX} bytes at most");
            return Err(std::io::Error::other(limit));
        }
        target.write_all(&chunk).await?;
    }
    target.flush().await?;
    Ok(bytes)
}

/// Refuses early what every agent would refuse to unpack. Other bytes than were promised are left to be refused as such.
///
/// It waits for its turn, and stops when it is dropped: nobody waits for the answer any more.
async fn check(
    turns: &Arc<Semaphore>,
    artifact: &ArtifactRef,
    file: &std::path::Path,
    what: &str,
) -> Result<(), Problem> {
    let turn = turns.clone().acquire_owned().await.expect("the turns are never closed");
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let (artifact, file) = (artifact.clone(), file.to_owned());
    let checked = tokio::task::spawn_blocking(move || {
        // Given back only when the work is really over.
        let _turn = turn;
        if archive::digest_file(&file).is_ok_and(|found| found != artifact) {
            return Ok(());
        }
        archive::check(&file, &archive::Limits::default(), &stop).map(drop)
    });
    let refused = |error: UnpackError| Problem {
        kind: ProblemKind::Refused,
        because: footplate_drivers::causes(&error),
        what: what.to_owned(),
        next: Some(error.next()),
    };
    checked.await.map_err(|error| Problem::internal(what, &error))?.map_err(refused)
}

fn problem(what: &str, error: &ArtifactError) -> Problem {
    match error {
        ArtifactError::Mismatch { .. } => Problem::new(ProblemKind::Refused, what, error, &error.next()),
        ArtifactError::Disk(_) => Problem::new(ProblemKind::Unavailable, what, error, &error.next()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_upload_that_stands_still_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let chunk = Ok::<_, std::io::Error>("half of it".to_owned());
        let stalled = futures_util::stream::iter([chunk]).chain(futures_util::stream::pending());
        let file = folder.path().join("file");
        let cut = receive(&file, Body::from_stream(stalled), Duration::from_millis(20));
        let error = tokio::time::timeout(PATIENCE, cut).await.expect("it is cut").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
        assert_eq!(receive(&file, Body::from("all of it"), PATIENCE).await.unwrap(), 9);
    }

    #[tokio::test]
    async fn uploads_are_judged_one_after_the_other_and_a_caller_that_left_leaves_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no archive").unwrap();
        let artifact = archive::digest_file(&file).unwrap();
        let turns = Arc::new(Semaphore::new(1));
        let first = turns.clone().acquire_owned().await.unwrap();
        let waiting = tokio::time::timeout(Duration::ZERO, check(&turns, &artifact, &file, "cannot"));
        assert!(waiting.await.is_err(), "it waits for its turn, and is dropped");
        drop(first);
        let judged = tokio::time::timeout(PATIENCE, check(&turns, &artifact, &file, "cannot"));
        let refused = judged.await.expect("it is its turn").unwrap_err();
        assert_eq!(refused.kind, ProblemKind::Refused);
        let free = tokio::time::timeout(PATIENCE, turns.acquire()).await;
        drop(free.expect("the turn is given back").unwrap());
    }
}
