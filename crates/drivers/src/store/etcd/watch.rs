//! Waiting on etcd: a watch from the revision after the last one seen, until it says anything that matters.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::wire::{Change, Header, Streamed, WatchAnswer};
use crate::store::{Revision, StoreError};

/// How much of one line may wait for its end: a transaction's worth of events.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a watch said.
pub(super) enum Heard {
    /// These changes, oldest first; at least one.
    Changes(Vec<Change>),
    /// Something may have changed, and the watch can not say what: read again.
    Unknown,
    /// Nothing until the patience was over.
    Silence,
}

/// Listens on `range` for changes after `seen`. One request, held open.
///
/// `is_ours` is told each header and says whether the cluster is still the one that gave us `seen`.
pub(super) async fn listen(
    client: &Client,
    range: &Value,
    seen: Revision,
    patience: Duration,
    is_ours: impl Fn(&Header) -> bool,
) -> Result<Heard, StoreError> {
    let mut create = range.clone();
    create["start_revision"] = json!((seen.0 + 1).to_string());
    let body = json!({ "create_request": create });
    // The server never ends a watch by itself: our own deadline does, and then hears a time-out.
    let heard = tokio::time::timeout(patience, hear(client, &body, seen, is_ours)).await;
    heard.unwrap_or(Ok(Heard::Silence))
}

async fn hear(
    client: &Client,
    body: &Value,
    seen: Revision,
    is_ours: impl Fn(&Header) -> bool,
) -> Result<Heard, StoreError> {
    let mut response = client.stream("watch", body, Duration::from_secs(24 * 60 * 60)).await?;
    let mut pending: Vec<u8> = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| client.http().unreachable(error))? {
        pending.extend_from_slice(&piece);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            if let Some(heard) = judge(client, &line, seen, &is_ours).await? {
                return Ok(heard);
            }
        }
        if pending.len() > LINE_BYTES_MAX {
            return Err(client.http().unavailable("a line of the watch is longer than 64 MiB"));
        }
    }
    Err(client.http().unavailable("the watch ended"))
}

/// Returns what one line of the stream means, or `None` to go on listening.
async fn judge(
    client: &Client,
    line: &[u8],
    seen: Revision,
    is_ours: impl Fn(&Header) -> bool,
) -> Result<Option<Heard>, StoreError> {
    let line: Streamed<WatchAnswer> = serde_json::from_slice(line).map_err(|error| {
        client.http().unavailable(format!("{error} in {}", String::from_utf8_lossy(line)))
    })?;
    if let Some(error) = line.error {
        // Also how an old login shows itself here; a new one costs one request.
        client.forget_login().await;
        return Err(client.http().unavailable(error.to_string()));
    }
    let Some(answer) = line.result else { return Ok(None) };
    if answer.canceled && answer.compact_revision.0 == 0 {
        client.forget_login().await;
        return Err(match answer.cancel_reason.contains("permission denied") {
            true => client.http().denied(answer.cancel_reason),
            false => client.http().unavailable(format!("the watch was cancelled: {}", answer.cancel_reason)),
        });
    }
    // Compacted: the history after `seen` is forgotten, so something may have changed.
    let compacted = answer.canceled;
    // A restored server counts from lower, or is another cluster: what we saw says nothing about it.
    let restored = answer.created && (answer.header.revision.0 < seen.0 || !is_ours(&answer.header));
    if compacted || restored {
        return Ok(Some(Heard::Unknown));
    }
    Ok((!answer.events.is_empty()).then_some(Heard::Changes(answer.events)))
}
