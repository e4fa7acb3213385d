//! Which headers belong to one connection, and which tell an endpoint who asks.
//!
//! Towards an endpoint: hop-by-hop headers go (RFC 9110, 7.6.1), `X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded` (RFC 7239)
//! and `Via` come. What a client says about itself counts only when it comes from a trusted address.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// What a client may not say of itself, beside those that are set anew.
const CLAIMS: [HeaderName; 4] = [
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-server"),
];

/// Who is at the other end of a client's connection: what its requests are marked with.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is a proxy of ours, whose word about its own clients counts.
    pub is_trusted: bool,
    forwarded_for: HeaderValue,
    forwarded: HeaderValue,
    proto: HeaderValue,
}

impl Caller {
    /// Describes a connection from `address`.
    pub fn new(address: IpAddr, is_https: bool, is_trusted: bool) -> Caller {
        let address = address.to_canonical();
        let proto = if is_https { "https" } else { "http" };
        let node = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let text = |text: String| HeaderValue::try_from(text).expect("an address has no control characters");
        Caller {
            address,
            is_trusted,
            forwarded_for: text(address.to_string()),
            forwarded: text(format!("for={node};proto={proto}")),
            proto: HeaderValue::from_static(proto),
        }
    }

    /// Returns the address that a request came from first: the last one that a trusted proxy did not add itself.
    pub fn origin(&self, headers: &HeaderMap) -> IpAddr {
        if !self.is_trusted {
            return self.address;
        }
        let last = headers.get_all(FORWARDED_FOR).iter().next_back();
        let last = last.and_then(|line| line.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        last.unwrap_or(self.address)
    }
}

/// Makes the headers of a client's request those of our own request to an endpoint. `is_tunnel` keeps the upgrade.
pub fn to_endpoint(parts: &mut Parts, caller: &Caller, via: &HeaderValue, is_tunnel: bool) {
    let authority = parts.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(authority)) = authority {
        parts.headers.insert(HOST, authority);
    }
    let headers = &mut parts.headers;
    let protocol = headers.get(UPGRADE).filter(|_| is_tunnel).cloned();
    let takes_trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip(headers);
    for name in [EXPECT, PROXY_AUTHORIZATION, HTTP2_SETTINGS, TRAILER] {
        headers.remove(name);
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(headers);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    mark(headers, caller);
    headers.append(VIA, via.clone());
}

fn mark(headers: &mut HeaderMap, caller: &Caller) {
    if caller.is_trusted {
        append(headers, FORWARDED_FOR, &caller.forwarded_for);
        append(headers, FORWARDED, &caller.forwarded);
        headers.entry(FORWARDED_PROTO).or_insert_with(|| caller.proto.clone());
        if let Some(host) = headers.get(HOST).cloned() {
            headers.entry(FORWARDED_HOST).or_insert(host);
        }
        return;
    }
    for name in &CLAIMS {
        headers.remove(name);
    }
    headers.insert(FORWARDED_FOR, caller.forwarded_for.clone());
    headers.insert(FORWARDED, caller.forwarded.clone());
    headers.insert(FORWARDED_PROTO, caller.proto.clone());
    match headers.get(HOST).cloned() {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
}

/// Adds to the list that the proxies before have begun, as one line.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    let mut list = Vec::new();
    for line in headers.get_all(&name).iter().chain([value]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(line.as_bytes());
    }
    headers.insert(name, HeaderValue::from_bytes(&list).expect("values joined by a comma are a value"));
}

/// HTTP/2 may split a cookie line; HTTP/1.1 has one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&lines.join(b"; ".as_slice())).expect("values joined are a value");
    headers.insert(COOKIE, joined);
}

/// Makes the headers of an endpoint's answer those of our own. `is_tunnel` keeps the upgrade.
pub fn to_client(headers: &mut HeaderMap, is_tunnel: bool) {
    let protocol = headers.get(UPGRADE).filter(|_| is_tunnel).cloned();
    strip(headers);
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Removes what belongs to one connection: the usual names, and those that `Connection` lists, except the ones that frame
/// or address the message, which nobody may make us drop.
fn strip(headers: &mut HeaderMap) {
    if let Some(first) = headers.get(CONNECTION) {
        let is_usual = |line: &HeaderValue| {
            ["close", "keep-alive", "upgrade"]
                .iter()
                .any(|usual| line.as_bytes().eq_ignore_ascii_case(usual.as_bytes()))
        };
        if !is_usual(first) || headers.get_all(CONNECTION).iter().nth(1).is_some() {
            for name in listed(headers) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok());
    names.filter(|name| ![HOST, CONTENT_LENGTH, COOKIE, FORWARDED, VIA].contains(name)).collect()
}

/// Tells whether a request has been here before, by the name that we leave in `Via`.
pub fn has_passed(headers: &HeaderMap, via: &HeaderValue) -> bool {
    let name = via.as_bytes();
    let mut entries =
        headers.get_all(VIA).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    entries.any(|entry| entry.trim_ascii() == name)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn sent(version: Version, uri: &str, lines: &[(&str, &str)], is_trusted: bool) -> Vec<String> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let caller = Caller::new("192.0.2.7".parse().unwrap(), true, is_trusted);
        to_endpoint(&mut parts, &caller, &HeaderValue::from_static("1.1 us"), false);
        let lines = parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let lines = [
            ("host", "shop"),
            ("connection", "close, X-Private, host"),
            ("keep-alive", "5"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAA"),
            ("expect", "100-continue"),
            ("proxy-connection", "close"),
            ("x-private", "1"),
            ("x-public", "2"),
        ];
        assert_eq!(
            sent(Version::HTTP_11, "/", &lines, false),
            [
                "forwarded: for=192.0.2.7;proto=https",
                "host: shop",
                "via: 1.1 us",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: shop",
                "x-forwarded-proto: https",
                "x-public: 2",
            ]
        );
    }

    #[test]
    fn a_client_cannot_say_who_it_is_but_a_trusted_proxy_can() {
        let lines = [
            ("host", "shop"),
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-proto", "gopher"),
            ("x-real-ip", "6.6.6.6"),
        ];
        let stranger = sent(Version::HTTP_11, "/", &lines, false);
        assert!(
            stranger.iter().all(|line| !line.contains("6.6.6.6") && !line.contains("gopher")),
            "{stranger:?}"
        );
        let trusted = sent(Version::HTTP_11, "/", &lines, true);
        for line in [
            "forwarded: for=6.6.6.6, for=192.0.2.7;proto=https",
            "x-forwarded-for: 6.6.6.6, 7.7.7.7, 192.0.2.7",
            "x-forwarded-proto: gopher",
            "x-real-ip: 6.6.6.6",
        ] {
            assert!(trusted.iter().any(|sent| sent == line), "{line} is not in {trusted:?}");
        }
    }

    #[test]
    fn a_request_of_http_2_becomes_one_of_http_1() {
        let lines = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")];
        let sent = sent(Version::HTTP_2, "https://shop:8443/x", &lines, false);
        for line in ["host: shop:8443", "cookie: a=1; b=2", "te: trailers", "connection: te"] {
            assert!(sent.iter().any(|sent| sent == line), "{line} is not in {sent:?}");
        }
    }

    #[test]
    fn the_target_of_the_request_line_is_the_host() {
        let sent = sent(Version::HTTP_11, "http://real/x", &[("host", "other")], false);
        assert!(sent.contains(&"host: real".to_owned()), "{sent:?}");
    }
}
