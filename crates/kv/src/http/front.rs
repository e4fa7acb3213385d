//! What happens to every request first: its path is checked, its token is looked up, and it is counted.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::caller::Caller;
use super::parameters::Parameters;
use super::reply;
use crate::shared::Shared;

/// The request's path, decoded.
#[derive(Clone, Debug)]
pub struct Path(pub Arc<str>);

/// The bytes a redirect's path must escape.
const UNSAFE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

/// Lets a request pass, or answers it.
pub async fn pass(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    shared.metrics.count(kind(&request));
    let Ok(path) = percent_decode_str(request.uri().path()).decode_utf8() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if path.chars().any(char::is_control) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let clean = clean(&path);
    if clean != path {
        return redirect(&clean, &request);
    }
    let caller = match Caller::of(&shared, request.headers()) {
        Ok(caller) => caller,
        Err(unknown) => return reply::text(StatusCode::FORBIDDEN, unknown),
    };
    let path = Path(path.as_ref().into());
    request.extensions_mut().insert(path);
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn redirect(clean: &str, request: &Request) -> Response {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}{query}", utf8_percent_encode(clean, UNSAFE));
    let body = match *request.method() {
        Method::GET => format!("<a href=\"{location}\">Moved Permanently</a>.\n\n"),
        _ => String::new(),
    };
    let headers = [(header::LOCATION, location), (header::CONTENT_TYPE, "text/html; charset=utf-8".into())];
    (StatusCode::MOVED_PERMANENTLY, headers, body).into_response()
}

/// Returns the path as Go's router wants it: no empty, `.` or `..` segments; a slash at the end stays.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let end = if segments.is_empty() || !path.ends_with('/') && path != "/v1/kv" { "" } else { "/" };
    format!("/{}{end}", segments.join("/"))
}

fn kind(request: &Request) -> &'static str {
    let path = request.uri().path();
    if path.starts_with("/v1/kv/") {
        return match *request.method() {
            Method::GET if blocks(request) => "kv_wait",
            Method::GET => "kv_get",
            Method::PUT => "kv_put",
            Method::DELETE => "kv_delete",
            _ => "other",
        };
    }
    match path.split('/').nth(2) {
        Some("txn") => "txn",
        Some("session") => "session",
        Some("acl") => "acl",
        _ => "other",
    }
}

fn blocks(request: &Request) -> bool {
    Parameters::of(request).first("index").is_some_and(|index| index != "0" && !index.is_empty())
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_clean_path_is_left_alone_and_an_unclean_one_is_cleaned() {
        for path in ["/v1/kv/a/b", "/v1/kv/a/", "/v1/kv/", "/", "/v1/kv/a b/ü"] {
            assert_eq!(clean(path), path);
        }
        assert_eq!(clean("/v1/kv/a//b"), "/v1/kv/a/b");
        assert_eq!(clean("/v1/kv/a/../b/"), "/v1/kv/b/");
        assert_eq!(clean("/v1/kv/./b"), "/v1/kv/b");
        assert_eq!(clean("/v1/kv"), "/v1/kv/");
        assert_eq!(clean("/../.."), "/");
    }
}
