//! Whether a request says one thing only: what two parsers could read differently is refused before it is routed.
//!
//! The parser below (hyper) already refuses folded lines, spaces before a colon, differing lengths and unknown final codings, and
//! answers a request with both framings by the chunked one and closes the connection (RFC 9112, 6.1). Every request is
//! framed anew towards an endpoint, never copied.

use hyper::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Version};

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it is answered with.
    pub status: StatusCode,
    /// Why, in one sentence.
    pub why: &'static str,
}

fn bad<T>(why: &'static str) -> Result<T, Refused> {
    Err(Refused { status: StatusCode::BAD_REQUEST, why })
}

/// Judges the head of a request.
///
/// # Errors
/// The request could be read in two ways, or asks for what a router does not do.
pub fn judge(parts: &Parts) -> Result<(), Refused> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        let why = "this is no proxy for clients: CONNECT and TRACE are not done";
        return Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, why });
    }
    judge_codings(&parts.headers)?;
    judge_target(parts)
}

/// One `Transfer-Encoding: chunked` at most, and no length beside it.
fn judge_codings(headers: &HeaderMap) -> Result<(), Refused> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        let why = "the transfer coding is not exactly `chunked`";
        return Err(Refused { status: StatusCode::NOT_IMPLEMENTED, why });
    }
    if headers.contains_key(CONTENT_LENGTH) {
        return bad("it has a length and a transfer coding");
    }
    Ok(())
}

/// Exactly one host, however it is said.
fn judge_target(parts: &Parts) -> Result<(), Refused> {
    let uri = &parts.uri;
    if let Some(scheme) = uri.scheme_str()
        && scheme != "http"
        && scheme != "https"
    {
        return bad("the scheme is neither http nor https");
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return bad("it names more than one host");
    }
    if host.is_some_and(|host| !is_host(host.as_bytes())) {
        return bad("the host is none");
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    if authority.is_some_and(|authority| !is_host(authority.as_bytes())) {
        return bad("the host in the target is none");
    }
    match (parts.version, authority, host) {
        (Version::HTTP_10, _, _) => Ok(()),
        (_, None, None) => bad("it names no host"),
        // HTTP/2 says the host once; a second one must be the same.
        (Version::HTTP_2, Some(authority), Some(host))
            if !authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
        {
            bad("it names more than one host")
        }
        _ => Ok(()),
    }
}

/// A name or address with a port perhaps: no user, no space, no list.
fn is_host(host: &[u8]) -> bool {
    let is_letter = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'[' | b']' | b':' | b'%')
    };
    !host.is_empty() && host.iter().all(is_letter)
}

/// Tells whether the request asks for another protocol that is passed on. HTTP/2 is not: behind such an upgrade
/// requests would pass unseen.
pub fn wants_tunnel(parts: &Parts) -> bool {
    let Some(protocol) = parts.headers.get(UPGRADE) else { return false };
    let names_upgrade = parts.headers.get_all(hyper::header::CONNECTION).iter().any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let protocol = protocol.as_bytes();
    let is_http = protocol.split(|byte| *byte == b',').any(|token| {
        let token = token.trim_ascii().to_ascii_lowercase();
        token.starts_with(b"h2") || token.starts_with(b"http")
    });
    parts.version == Version::HTTP_11 && names_upgrade && !is_http
}
