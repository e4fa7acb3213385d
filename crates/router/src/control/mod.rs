//! The control API: HTTP over a Unix socket in the router's folder, which only its owner can reach. Beside it, where that is wanted,
//! the counts alone at an address that Prometheus reaches.

pub mod client;
mod metrics;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::core::{After, Core};
use crate::failure::Failure;
use crate::folder::SOCKET;
use crate::handover;
use crate::table::Table;

/// The largest table that is taken, in bytes.
const TABLE_BYTES_MAX: usize = 16 << 20;
/// How often a control socket is tried to be named, and the time between two tries.
const NAMINGS_MAX: u32 = 50;
const NAMING_PAUSE: Duration = Duration::from_millis(100);
/// How many may ask at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may rest, or take for a request's headers.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

type Reply = Response<Full<Bytes>>;

/// Returns where the router in this folder is told and asked.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join(SOCKET)
}

/// A control socket under a name that nobody asks at. It is gone when it is dropped.
#[derive(Debug)]
pub struct Hidden {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl Hidden {
    /// Opens one.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(path: PathBuf) -> io::Result<Hidden> {
        let hidden = Hidden { listener: Some(UnixListener::bind(&path)?), path };
        std::fs::set_permissions(&hidden.path, PermissionsExt::from_mode(0o600))?;
        Ok(hidden)
    }

    /// Gives it the name that everybody asks at, in the place of whatever had it. What cannot be named now is tried again for a
    /// while: this router is in charge, and serves its clients either way.
    pub async fn show(mut self, path: &Path) -> UnixListener {
        for _ in 0..NAMINGS_MAX {
            match std::fs::rename(&self.path, path) {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(%error, "cannot name the control socket {}", path.display());
                    tokio::time::sleep(NAMING_PAUSE).await;
                }
            }
        }
        self.listener.take().expect("it is taken once")
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // What stays behind is a name, and nobody asks at it.
        if self.listener.is_some() {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Where somebody comes in to ask.
trait Door {
    type Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

impl Door for UnixListener {
    type Socket = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(socket, _)| socket)
    }
}

impl Door for TcpListener {
    type Socket = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(socket, _)| socket)
    }
}

/// Answers at the control socket until it is dropped.
pub async fn serve(core: Arc<Core>, listener: UnixListener) {
    serve_at(listener, move |request| answer(Arc::clone(&core), request)).await;
}

/// Answers Prometheus, and nothing else, until it is dropped. Never does where there is no address for it.
pub async fn serve_metrics(core: Arc<Core>, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return std::future::pending().await };
    serve_at(listener, move |request| answer_prometheus(Arc::clone(&core), request)).await;
}

async fn serve_at<D, A, R>(door: D, answer: A)
where
    D: Door,
    A: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Result<Reply, Infallible>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the places are never closed");
        let socket = match door.next().await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept whoever asks");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(answer);
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIME_MAX);
            let connection = builder.serve_connection(TokioIo::new(socket), service).with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of somebody who asked ended");
            }
            drop(place);
        });
    }
}

async fn answer_prometheus(core: Arc<Core>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => text(metrics::render(&core.report(None).await)),
        (_, "/metrics") => mistake(StatusCode::METHOD_NOT_ALLOWED, "the path has not this method"),
        _ => mistake(StatusCode::NOT_FOUND, "only /metrics is here"),
    })
}

async fn answer(core: Arc<Core>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    let known = ["/v1/table", "/v1/counts", "/v1/health", "/metrics", "/v1/handover"];
    Ok(match (request.method().clone(), path.as_str()) {
        (Method::PUT, "/v1/table") => match put_table(&core, request).await {
            Ok(revision) => json(StatusCode::OK, &serde_json::json!({ "revision": revision })),
            Err((status, failures)) => json(status, &serde_json::json!({ "mistakes": failures })),
        },
        (Method::GET, "/v1/table") => json(StatusCode::OK, &*core.board.table()),
        (Method::GET, "/v1/counts") => counts(&core, request.uri().query()).await,
        (Method::GET, "/v1/health") => json(StatusCode::OK, &core.health().await),
        (Method::POST, "/v1/handover") => hand_over(core, request),
        (Method::GET, "/metrics") => text(metrics::render(&core.report(None).await)),
        (_, path) if known.contains(&path) => {
            mistake(StatusCode::METHOD_NOT_ALLOWED, "the path has not this method")
        }
        _ => mistake(StatusCode::NOT_FOUND, "there is no such path"),
    })
}

/// Tells the counts, and what failed where the query asks for it.
async fn counts(core: &Core, query: Option<&str>) -> Reply {
    match query.map(After::parse).transpose() {
        Ok(facts) => json(StatusCode::OK, &core.report(facts.flatten().as_ref()).await),
        Err(because) => mistake(StatusCode::BAD_REQUEST, &because),
    }
}

/// Turns the connection into a handover. Its end is seen by the new router, and in the log.
fn hand_over(core: Arc<Core>, mut request: Request<Incoming>) -> Reply {
    let asked = request.headers().get(UPGRADE).map(HeaderValue::as_bytes);
    if asked != Some(handover::PROTOCOL.as_bytes()) {
        return mistake(StatusCode::BAD_REQUEST, "a handover asks for its protocol in `Upgrade`");
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let socket = match upgrade.await.map(Upgraded::downcast::<TokioIo<UnixStream>>) {
            Ok(Ok(parts)) => parts.io.into_inner(),
            Ok(Err(_)) | Err(_) => return tracing::warn!("a handover ended before it began"),
        };
        match core.hand_over(socket).await {
            Ok(()) => tracing::info!("another router has taken over; this one finishes what it has"),
            Err(error) => tracing::warn!(%error, "a handover failed; this router goes on"),
        }
    });
    let mut response = reply(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Bytes::new());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(handover::PROTOCOL));
    response
}

async fn put_table(core: &Core, request: Request<Incoming>) -> Result<u64, (StatusCode, Vec<Failure>)> {
    let what = "cannot take the table";
    let refuse = |status, because: String, next: &str| Err((status, vec![Failure::new(what, because, next)]));
    let body = match Limited::new(request.into_body(), TABLE_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                error.to_string(),
                "send a table of 16 MiB at most, as a whole",
            );
        }
    };
    let mut reader = serde_json::Deserializer::from_slice(&body);
    let table: Table = match serde_path_to_error::deserialize(&mut reader) {
        Ok(table) => table,
        Err(error) => {
            let next = "see docs/reference/router-api.md for what a table is";
            return refuse(StatusCode::BAD_REQUEST, error.to_string(), next);
        }
    };
    core.take(table).await
}

fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let text = serde_json::to_vec(value).expect("what is answered has only text and numbers");
    reply(status, "application/json", text.into())
}

fn text(text: String) -> Reply {
    reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
}

fn mistake(status: StatusCode, because: &str) -> Reply {
    let failure = Failure::new("cannot answer the request", because, "see docs/reference/router-api.md");
    json(status, &serde_json::json!({ "mistakes": [failure] }))
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
