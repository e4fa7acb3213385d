//! Artifacts over HTTP: up from who pushes, down to the agents, by digest.
//!
//! Invariants: only the operator may put; bytes that do not match their name are refused and leave nothing behind.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use footplate_core::artifact::{ArtifactRef, Digest};
use footplate_drivers::archive::{self, UnpackError};
use footplate_drivers::artifact::{ArtifactError, ArtifactStore};
use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::http::right;
use super::token::Right;
use crate::api::{Problem, ProblemKind};

/// The largest artifact that is taken, in packed bytes.
const ARTIFACT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// `GET` and `HEAD`: the bytes, or 404.
pub(super) async fn fetch(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<Digest>,
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
    Path(digest): Path<Digest>,
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
    let received = receive(&incoming, request.into_body()).await;
    let stored = match received {
        Ok(bytes) => {
            let artifact = ArtifactRef { digest, bytes };
            check(&artifact, &incoming, &what).await?;
            shared.artifacts.put(&artifact, &incoming).await.map_err(|error| problem(&what, &error))
        }
        Err(error) => Err(Problem::new(
            ProblemKind::Refused,
            &what,
            error,
            "check the free space on the controller's disk, and push again",
        )),
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

async fn receive(file: &std::path::Path, body: Body) -> std::io::Result<u64> {
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    let mut reader = tokio::io::AsyncReadExt::take(StreamReader::new(stream), ARTIFACT_BYTES_MAX + 1);
    let mut target = tokio::fs::File::create(file).await?;
    let bytes = tokio::io::copy(&mut reader, &mut target).await?;
    target.flush().await?;
    if bytes > ARTIFACT_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "an artifact may have {ARTIFACT_BYTES_MAX} bytes at most"
        )));
    }
    Ok(bytes)
}

/// Refuses early what every agent would refuse to unpack. Other bytes than were promised are left to be refused as such.
async fn check(artifact: &ArtifactRef, file: &std::path::Path, what: &str) -> Result<(), Problem> {
    let (artifact, file) = (artifact.clone(), file.to_owned());
    let checked = tokio::task::spawn_blocking(move || {
        if archive::digest_file(&file).is_ok_and(|found| found != artifact) {
            return Ok(());
        }
        archive::check(&file, &archive::Limits::default(), &CancellationToken::new()).map(drop)
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
        ArtifactError::Disk(_) | ArtifactError::Remote { .. } => {
            Problem::new(ProblemKind::Unavailable, what, error, &error.next())
        }
    }
}
