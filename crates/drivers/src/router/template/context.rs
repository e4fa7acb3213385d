//! What a template sees. docs/reference/routers.md lists it for people.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use footplate_core::release::Requests;
use footplate_core::traffic::{Member, Pool, Share};
use serde::Serialize;

/// Everything.
#[derive(Serialize)]
pub(super) struct Context<'a> {
    pools: Vec<PoolView>,
    values: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct PoolView {
    name: String,
    environment: String,
    app: String,
    group: String,
    entrances: Vec<EntranceView>,
    requests: RequestsView,
    releases: Vec<ReleaseView>,
    endpoints: Vec<EndpointView>,
}

/// What a request may take: times in milliseconds; 0 for no limit.
#[derive(Serialize)]
struct RequestsView {
    body_bytes: u64,
    answer: u128,
    silence: u128,
    tunnel: u128,
    retries: u32,
    hold: u128,
}

#[derive(Serialize)]
struct EntranceView {
    host: String,
    path: String,
}

#[derive(Serialize)]
struct ReleaseView {
    name: String,
    /// In millionths.
    share: u32,
}

#[derive(Serialize)]
struct EndpointView {
    host: String,
    release: String,
    address: String,
    ip: IpAddr,
    port: u16,
    /// In millionths of the pool's requests; 0 when it drains.
    share: u32,
    draining: bool,
}

/// Returns what a template sees of these pools.
///
/// # Errors
/// An endpoint has no address of a network.
pub(super) fn of<'a>(pools: &[Pool], values: &'a BTreeMap<String, String>) -> Result<Context<'a>, String> {
    let pools: Result<Vec<PoolView>, String> = pools.iter().map(pool).collect();
    Ok(Context { pools: pools?, values })
}

fn pool(pool: &Pool) -> Result<PoolView, String> {
    let endpoints: Result<Vec<EndpointView>, String> =
        pool.members.iter().map(|member| endpoint(member, pool)).collect();
    let releases = pool.shares.iter();
    Ok(PoolView {
        name: pool.target.to_string(),
        environment: pool.target.path.environment.to_string(),
        app: pool.target.path.app.to_string(),
        group: pool.target.group.to_string(),
        entrances: pool
            .entrances
            .iter()
            .map(|entrance| EntranceView {
                host: entrance.host().to_owned(),
                path: entrance.path().to_owned(),
            })
            .collect(),
        requests: requests(&pool.requests),
        releases: releases
            .map(|(id, share)| ReleaseView { name: id.to_string(), share: share.millionths() })
            .collect(),
        endpoints: endpoints?,
    })
}

fn requests(requests: &Requests) -> RequestsView {
    RequestsView {
        body_bytes: requests.body_bytes_max.unwrap_or_default(),
        answer: requests.answer.as_millis(),
        silence: requests.silence.as_millis(),
        tunnel: requests.tunnel.as_millis(),
        retries: requests.retries,
        hold: requests.hold.as_millis(),
    }
}

fn endpoint(member: &Member, pool: &Pool) -> Result<EndpointView, String> {
    let address: Result<SocketAddr, _> = member.address.parse();
    let address = address.map_err(|_| format!("`{}` is no address", member.address.escape_debug()))?;
    Ok(EndpointView {
        host: member.host.to_string(),
        release: member.release.to_string(),
        address: address.to_string(),
        ip: address.ip(),
        port: address.port(),
        share: share(member, pool),
        draining: member.is_draining,
    })
}

/// Divides its release's part by weight among those that take requests.
fn share(member: &Member, pool: &Pool) -> u32 {
    if member.is_draining {
        return 0;
    }
    let serving = |other: &&Member| !other.is_draining && other.release == member.release;
    let all: u64 = pool.members.iter().filter(serving).map(|other| u64::from(other.weight)).sum();
    let whole = pool.shares.get(&member.release).copied().unwrap_or(Share::NONE);
    let part = u64::from(whole.millionths()) * u64::from(member.weight) / all.max(1);
    u32::try_from(part).expect("a part of a million")
}
