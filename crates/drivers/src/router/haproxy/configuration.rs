//! HAProxy's configuration and the file of shares, as text: what an administrator reads, and what a restarted HAProxy
//! begins with.
//!
//! Invariants: the text says where requests go now, so that HAProxy may be started again at any moment without us; what
//! cannot be changed while it runs is its structure, which the text names by a digest of itself with nobody in its slots.

use std::time::Duration;

use footplate_core::release::Requests;

use super::Settings;
use super::extension::Extension;
use super::files::Memory;
use super::layout::{Layout, Slot, State, Track, Tracks};
use super::{line, reach};

/// The variable of HAProxy's environment that names the structure it runs with.
pub(super) const STRUCTURE: &str = "FOOTPLATE_STRUCTURE";
/// Where a slot points that nobody holds. It takes no requests.
const NOWHERE: &str = "127.0.0.1:1";

/// The longest time that HAProxy takes, in milliseconds, and what stands for no limit.
const TIME_MAX_MS: u128 = (1 << 31) - 1;
const NEVER: &str = "24d";

const HEAD: &str = "\
# Written by footplate's agent: where requests go now. It is written anew whenever that changes, and a change made here is
# lost. What is to be added stands in files of your own; docs/reference/routers.md says which.
";

const DEFAULTS: &str = "
defaults footplate
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout queue 10s
    # No connection is cut by a reload: one that rests is closed after its next answer, or when its time is over.
    option idle-close-on-response
    # What reached no endpoint goes to another one; what may have reached one, only where the front end allows it.
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response junk-response
";

/// What every request goes through, but for the parts that depend on the layout and the settings.
const FORWARD: &str = "    \
    option forwardfor
    option dontlognull
    http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    http-request disable-l7-retry if !{ method GET HEAD OPTIONS PUT DELETE TRACE }
    http-request set-var(txn.begun) date(0,us)
    http-response set-var(txn.answered) date(0,us)
    default_backend footplate
";

/// What has no service, or one without a release that takes requests.
const NOBODY: &str = "
backend footplate from footplate
    http-request return status 503 content-type text/plain string \"nobody serves this now\" if { var(txn.service) -m found }
    http-request return status 404 content-type text/plain string \"no service here\"
";

/// What HAProxy is to run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    /// The digest of all that only a reload can change.
    pub(super) structure: String,
    /// The configuration file.
    pub(super) text: String,
    /// The file of shares: for each pool, what [`bounds`] says.
    pub(super) shares: String,
}

/// Returns the files for what is remembered.
pub(super) fn render(settings: &Settings, memory: &Memory) -> Configuration {
    let layout = &memory.layout;
    let empty = Memory { layout: layout.emptied(), ..memory.clone() };
    let digest = ring::digest::digest(&ring::digest::SHA256, text(settings, &empty, "").as_bytes());
    let structure: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let shares = layout.pools.iter().map(|(name, tracks)| format!("{name} {}\n", bounds(layout, tracks)));
    Configuration { text: text(settings, memory, &structure), shares: shares.collect(), structure }
}

/// Returns a pool's value in the file of shares, `SALT:900000:1000000:1000000`: what goes into the draws of clients that stay, and as
/// many bounds as any pool has tracks.
pub(super) fn bounds(layout: &Layout, tracks: &Tracks) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, tracks.salt.as_bytes());
    let salt: String = digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut bounds = tracks.bounds();
    bounds.resize(layout.tracks_max(), bounds.last().copied().unwrap_or(0));
    let bounds = bounds.iter().map(u32::to_string);
    std::iter::once(salt).chain(bounds).collect::<Vec<_>>().join(":")
}

/// Returns the name of a track's backend.
pub(super) fn backend(pool: &str, track: usize) -> String {
    format!("{pool}.{track}")
}

fn text(settings: &Settings, memory: &Memory, structure: &str) -> String {
    let Memory { layout, extension, .. } = memory;
    let mut text = format!("{HEAD}\nglobal\n    setenv {STRUCTURE} \"{structure}\"\n");
    text.push_str(&extension.part("global"));
    text.push_str(DEFAULTS);
    text.push_str(&extension.part("defaults"));
    text.push_str("\nfrontend footplate from footplate\n");
    text.push_str(&indented(&before(settings, memory)));
    text.push_str(&extension.part("frontend"));
    text.push_str(&indented(&after(settings, layout)));
    for (name, tracks) in &layout.pools {
        for (track, number) in tracks.tracks.iter().zip(1..) {
            text.push_str(&backend_section(&backend(name, number), track, &tracks.requests, extension));
        }
    }
    text.push_str(NOBODY);
    text.push_str(&extension.part("sections"));
    text
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

/// Lists the front end's lines up to the administrator's own: what it listens on, which pool, which number.
fn before(settings: &Settings, memory: &Memory) -> Vec<String> {
    let mut lines: Vec<String> = settings.listen.iter().map(|listen| format!("bind {listen}")).collect();
    lines.push(FORWARD.trim().to_owned());
    lines.push("# A line for each request, for the agent alone.".to_owned());
    lines.push(format!("log 127.0.0.1:{} format raw local0", memory.log_port));
    lines.push(format!("log-format \"{}\"", line::FORMAT));
    lines.push("# Which pool it is for: the first that fits.".to_owned());
    lines.extend(reach::pools(&memory.layout));
    lines.push(
        "# One of a million draws: the first track has it whose bound in the file of shares is above."
            .to_owned(),
    );
    lines.push(format!("http-request set-var(txn.shares) {}", shares(settings)));
    lines.push("http-request set-var(txn.draw) rand(1000000)".to_owned());
    lines.extend(reach::draws(&memory.layout));
    lines
}

fn shares(settings: &Settings) -> String {
    format!("var(txn.service),map_str({})", settings.shares_file().display())
}

/// Lists those after them: whose draw it is. A track overrides those behind it.
fn after(settings: &Settings, layout: &Layout) -> Vec<String> {
    let mut lines = vec![format!("http-request set-var(txn.shares) {}", shares(settings))];
    for track in (1..=layout.tracks_max()).rev() {
        let bound = format!("var(txn.shares),field({},:),add(0)", track + 1);
        lines.push(format!("http-request set-var(txn.bound) {bound}"));
        let is_below = "{ var(txn.draw),sub(txn.bound) lt 0 }";
        lines.push(format!("http-request set-var(txn.track) int({track}) if {is_below}"));
    }
    lines.push("use_backend %[var(txn.service)].%[var(txn.track)] if { var(txn.track) -m found }".to_owned());
    lines
}

fn backend_section(name: &str, track: &Track, requests: &Requests, extension: &Extension) -> String {
    let mut text = format!("\nbackend {name} from footplate\n");
    if let Some(release) = &track.release {
        let share = footplate_core::traffic::Share::from_millionths(track.share);
        text.push_str(&format!("    # {release}: {share} of the requests\n"));
    }
    text.push_str("    balance random\n");
    if !requests.are_usual() {
        text.push_str(&indented(&bounded(requests)));
    }
    text.push_str(&extension.part("backend"));
    for (slot, number) in track.slots.iter().zip(1..) {
        text.push_str(&server(number, slot.as_ref()));
    }
    text
}

/// Lists what HAProxy can do of what a service says of its requests. It has one time for the head of an answer and for its pieces.
fn bounded(requests: &Requests) -> Vec<String> {
    let time = |time: Duration| match time {
        Duration::ZERO => NEVER.to_owned(),
        time => format!("{}ms", time.as_millis().clamp(1, TIME_MAX_MS)),
    };
    let longest = match requests.answer.min(requests.silence) {
        Duration::ZERO => Duration::ZERO,
        _ => requests.answer.max(requests.silence),
    };
    let mut lines = vec![
        format!("timeout server {}", time(longest)),
        format!("timeout tunnel {}", time(requests.tunnel)),
    ];
    // Its `retries` count what never reached an endpoint as well, which is always tried again.
    if requests.retries == 0 {
        lines.push("retry-on conn-failure".to_owned());
    }
    if let Some(most) = requests.body_bytes_max {
        lines.push(format!("http-request deny deny_status 413 if {{ req.body_size gt {most} }}"));
    }
    lines
}

fn server(number: usize, slot: Option<&Slot>) -> String {
    match slot {
        Some(Slot { host, address, weight, state: State::Serving }) => {
            format!("    server {number} {address} weight {weight} # {host}\n")
        }
        _ => format!("    server {number} {NOWHERE} weight 1 disabled\n"),
    }
}
