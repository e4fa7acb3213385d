//! Whether a table makes sense: every mistake in it, each with what, because and next.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::table::{Endpoint, Hold, Route, Service, Stickiness, Table, WHOLE};

/// The largest weight of an endpoint.
const WEIGHT_MAX: u32 = 1_000;
/// The longest name of a service, version or endpoint, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest time that requests may be held, in milliseconds: ten minutes.
const HOLD_MAX_MS: u64 = 600_000;

/// Lists every mistake of a table; empty when it can be in force.
pub fn judge(table: &Table) -> Vec<Failure> {
    let mut mistakes = Vec::new();
    let mut taken = BTreeSet::new();
    for (name, service) in &table.services {
        mistakes.extend(judge_name("service", name));
        mistakes.extend(judge_routes(name, service, &mut taken));
        mistakes.extend(judge_versions(name, service));
        mistakes.extend(judge_endpoints(name, service));
        mistakes.extend(judge_settings(name, service));
    }
    mistakes
}

fn mistake(service: &str, because: impl std::fmt::Display, next: impl std::fmt::Display) -> Failure {
    Failure::new(format!("cannot route to service `{}`", service.escape_debug()), because, next)
}

fn judge_name(what: &str, name: &str) -> Option<Failure> {
    let fits =
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(|letter| !letter.is_control());
    (!fits).then(|| {
        Failure::new(
            format!("cannot take the {what} `{}`", name.escape_debug()),
            format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters"),
            "name it anew",
        )
    })
}

fn judge_routes(name: &str, service: &Service, taken: &mut BTreeSet<(String, String)>) -> Vec<Failure> {
    let mut mistakes = Vec::new();
    if service.routes.is_empty() {
        mistakes.push(mistake(name, "it has no route", "give it a host or a path, or leave the service out"));
    }
    for Route { host, path } in &service.routes {
        if !is_host(host) {
            let because = format!("`{}` is no host, no `*.host` and not `*`", host.escape_debug());
            mistakes.push(mistake(name, because, "write the host's name without scheme and port"));
        }
        if !path.starts_with('/')
            || path.contains(['?', '#'])
            || path.chars().any(|c| c <= ' ' || c == '\x7f')
        {
            let because = format!("the path `{}` is none", path.escape_debug());
            mistakes.push(mistake(name, because, "begin it with `/`, without query and spaces"));
        }
        if !taken.insert((host.to_ascii_lowercase(), path.trim_end_matches('/').to_owned())) {
            let because = format!("the route {host}{path} is there twice");
            mistakes.push(mistake(name, because, "leave it with one service, once"));
        }
    }
    mistakes
}

fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_letter =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':');
    let has_port = !name.starts_with('[') && name.contains(':');
    host == "*" || (!name.is_empty() && !has_port && name.bytes().all(is_letter))
}

fn judge_versions(name: &str, service: &Service) -> Vec<Failure> {
    let mut mistakes: Vec<Failure> =
        service.versions.iter().filter_map(|version| judge_name("version", &version.name)).collect();
    let mut seen = BTreeSet::new();
    for version in service.versions.iter().filter(|version| !seen.insert(&version.name)) {
        let because = format!("version `{}` is there twice", version.name);
        mistakes.push(mistake(name, because, "give each version once, with its whole share"));
    }
    let sum: u64 = service.versions.iter().map(|version| u64::from(version.share)).sum();
    if sum != u64::from(WHOLE) {
        let because = format!("the shares of its versions make {sum}, not {WHOLE}");
        mistakes.push(mistake(name, because, "give each version its parts per million of the whole"));
    }
    mistakes
}

fn judge_endpoints(name: &str, service: &Service) -> Vec<Failure> {
    let mut mistakes = Vec::new();
    let mut seen = BTreeSet::new();
    for Endpoint { name: endpoint, address, version, weight, .. } in &service.endpoints {
        mistakes.extend(judge_name("endpoint", endpoint));
        if !seen.insert(endpoint) {
            let because = format!("endpoint `{endpoint}` is there twice");
            mistakes.push(mistake(name, because, "name each endpoint differently"));
        }
        if !service.versions.iter().any(|known| known.name == *version) {
            let because =
                format!("endpoint `{endpoint}` runs version `{version}`, which the service has not");
            mistakes.push(mistake(name, because, "add the version, with share 0 if it gets no requests"));
        }
        if *weight == 0 || *weight > WEIGHT_MAX {
            let because = format!("endpoint `{endpoint}` has the weight {weight}");
            let next = format!("give it 1 to {WEIGHT_MAX}; `draining` is how one gets nothing");
            mistakes.push(mistake(name, because, next));
        }
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            let because = format!("endpoint `{endpoint}` has the address {address}, which nobody can reach");
            mistakes.push(mistake(name, because, "write the address and port it listens on"));
        }
    }
    mistakes
}

fn judge_settings(name: &str, service: &Service) -> Vec<Failure> {
    let mut mistakes = Vec::new();
    let key = match &service.stickiness {
        Stickiness::Cookie { name, .. } | Stickiness::Header { name, .. } => Some(name),
        Stickiness::None | Stickiness::Address { .. } => None,
    };
    if let Some(key) = key.filter(|key| hyper::header::HeaderName::from_bytes(key.as_bytes()).is_err()) {
        let because = format!("`{}` can be no name of a cookie or header", key.escape_debug());
        mistakes.push(mistake(name, because, "name the cookie or header that tells its clients apart"));
    }
    let Hold { requests, time_ms } = service.hold;
    if time_ms > HOLD_MAX_MS {
        let because = format!("{requests} requests are to be held for {time_ms} ms");
        mistakes.push(mistake(name, because, format!("hold them {HOLD_MAX_MS} ms at most")));
    }
    mistakes
}
