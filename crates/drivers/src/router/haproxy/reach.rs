//! The front end's lines that find the pool of a request, and the number that a client who stays with a release draws
//! each time.

use footplate_core::release::{Entrance, Sticky};

use super::layout::{Layout, Tracks};

/// Whether no line before has found a pool.
const NEW: &str = "!{ var(txn.service) -m found }";

/// Lists what finds the pool: the first line that fits has it.
pub(super) fn pools(layout: &Layout) -> Vec<String> {
    let mut lines = vec!["http-request set-var(txn.host) req.hdr(host),host_only".to_owned()];
    for (entrance, pool) in layout.entrances() {
        let set = format!("http-request set-var(txn.service) str({pool}) if {NEW}{}", host(entrance));
        match entrance.path() {
            "/" => lines.push(set),
            path => {
                lines.push(format!("{set} {{ path -m str -- {} }}", quoted(path)));
                lines.push(format!("{set} {{ path -m beg -- {} }}", quoted(&format!("{path}/"))));
            }
        }
    }
    lines
}

fn host(entrance: &Entrance) -> String {
    match entrance.host() {
        "*" => String::new(),
        host => match host.strip_prefix('*') {
            Some(end) => format!(" {{ var(txn.host) -m end -- {} }}", quoted(end)),
            None => format!(" {{ var(txn.host) -m str -- {} }}", quoted(host)),
        },
    }
}

/// Writes a text between quotes, where only a dollar means more than itself of what an entrance may hold.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('$', "\\$"))
}

/// Lists what gives a client the same number as the last time, for pools whose clients stay.
pub(super) fn draws(layout: &Layout) -> Vec<String> {
    let mut lines: Vec<String> = layout.pools.iter().flat_map(|(name, tracks)| keys(name, tracks)).collect();
    if !lines.is_empty() {
        lines.push("http-request set-var(txn.salt) var(txn.shares),field(1,:)".to_owned());
        let hash = "var(txn.salt),concat(/,txn.key),xxh32,mod(1000000)";
        lines.push(format!("http-request set-var(txn.draw) {hash} if {{ var(txn.key) -m found }}"));
    }
    lines
}

fn keys(pool: &str, tracks: &Tracks) -> Vec<String> {
    let own = format!("{{ var(txn.service) -m str {pool} }}");
    let set = |value: &str, also: &str| format!("http-request set-var(txn.key) {value} if {own}{also}");
    match &tracks.sticky {
        None => Vec::new(),
        // A client with IPv6 owns 64 bits of addresses.
        Some(Sticky::Address) => vec![set("src,ipmask(32,64)", "")],
        Some(Sticky::Header { name }) => vec![set(&format!("req.fhdr({name})"), "")],
        Some(Sticky::Cookie { name, give }) => {
            let has = format!(" {{ req.cook({name}) -m len gt 0 }}");
            let mut lines = vec![set(&format!("req.cook({name})"), &has)];
            if *give {
                let lacks = format!("{own} !{has}", has = has.trim());
                lines.push(format!("http-request set-var(txn.given) uuid if {lacks}"));
                lines.push(set("var(txn.given)", " { var(txn.given) -m found }"));
                let cookie =
                    format!("{name}=%[var(txn.given)]; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
                let given = format!("{own} {{ var(txn.given) -m found }}");
                lines.push(format!("http-response add-header Set-Cookie \"{cookie}\" if {given}"));
            }
            lines
        }
    }
}
