//! How requests go, as lines of a table: one for each release of each process group.
//!
//! Invariants: what is not known is `?`, and what there was none of is `-`: neither is zero; every column keeps its place.

use footplate_core::moment::in_words;
use footplate_core::traffic::Share;

use super::when::ago;
use crate::api::{AppTraffic, Endpoints, Measured, ReleaseTraffic};

/// The columns of [`rows`].
pub const HEADING: [&str; 9] =
    ["RELEASE", "WANTED", "SHARE", "REQ/S", "ERR/S", "ERRORS", "P50", "P99", "ENDPOINTS"];

/// What nobody tells.
const UNKNOWN: &str = "?";
/// What there was none of.
const NONE: &str = "-";

/// Renders one row for each release: name, share wanted and measured, requests and errors a second, the part of errors, two
/// times, endpoints.
pub fn rows(app: &AppTraffic) -> Vec<[String; 9]> {
    let of_group =
        app.groups.iter().flat_map(|group| group.releases.iter().map(move |release| (group, release)));
    of_group.map(|(group, release)| row(group.group.as_str(), release)).collect()
}

fn row(group: &str, release: &ReleaseTraffic) -> [String; 9] {
    let told =
        |tell: &dyn Fn(&Measured) -> String| release.measured.as_ref().map_or(UNKNOWN.to_owned(), tell);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    [
        format!("{group} {}", release.release),
        percent(release.wanted),
        told(&|measured| or_none(measured.share.map(percent))),
        told(&|measured| rate(measured.requests_per_second)),
        told(&|measured| rate(measured.errors_per_second)),
        told(&|measured| or_none(measured.errors.map(percent))),
        told(&|measured| or_none(measured.p50_us.map(time))),
        told(&|measured| or_none(measured.p99_us.map(time))),
        endpoints(release.endpoints),
    ]
}

/// Says which routers do not tell what they count; nothing when all do.
pub fn silence(app: &AppTraffic) -> Option<String> {
    if app.routers.is_empty() {
        return Some("no router has said that it routes to it".to_owned());
    }
    let silent: Vec<String> = app
        .routers
        .iter()
        .filter(|router| router.is_silent)
        .map(|router| match router.told {
            Some(told) => format!("{} (told last {})", router.host, ago(app.at, told)),
            None => format!("{} (has not told this controller yet)", router.host),
        })
        .collect();
    (!silent.is_empty()).then(|| format!("silent, and in no number: {}", silent.join(", ")))
}

/// Renders how long the numbers are about: `the last 10 s`; nothing when there are none.
pub fn over(app: &AppTraffic) -> Option<String> {
    let releases = app.groups.iter().flat_map(|group| &group.releases);
    let longest = releases.filter_map(|release| Some(release.measured.as_ref()?.over)).max()?;
    Some(format!("the last {}", in_words(std::time::Duration::from_secs(longest.as_secs().max(1)))))
}

/// Renders a share to a tenth of a percent; what is more than nothing is never shown as nothing.
fn percent(share: Share) -> String {
    match share.millionths() {
        0 => "0%".to_owned(),
        1..500 => "<0.1%".to_owned(),
        millionths => {
            let tenths = (millionths + 500) / 1_000;
            match tenths % 10 {
                0 => format!("{}%", tenths / 10),
                rest => format!("{}.{rest}%", tenths / 10),
            }
        }
    }
}

fn rate(rate: f64) -> String {
    match rate {
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 0.05 => "<0.1".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 99_999.5 => format!("{rate:.0}"),
        rate => format!("{:.0}k", rate / 1_000.0),
    }
}

fn time(microseconds: u64) -> String {
    let milliseconds = microseconds as f64 / 1_000.0;
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..9_950 => format!("{milliseconds:.1} ms"),
        9_950..999_500 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", milliseconds / 1_000.0),
    }
}

fn endpoints(endpoints: Endpoints) -> String {
    let Endpoints { ready, draining, standby } = endpoints;
    let parts = [(ready, "ready"), (draining, "draining"), (standby, "standby")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    if parts.is_empty() { "gone".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_only_nothing_is_zero() {
        let share = |millionths| percent(Share::from_millionths(millionths));
        let shares = [0, 1, 500, 49_210, 50_000, 999_499, 999_600, 1_000_000].map(share);
        assert_eq!(shares, ["0%", "<0.1%", "0.1%", "4.9%", "5%", "99.9%", "100%", "100%"]);
        let rates = [0.0, 0.01, 0.05, 5.55, 9.94, 9.96, 104.4, 99_999.0, 123_456.0].map(rate);
        assert_eq!(rates, ["0", "<0.1", "0.1", "5.5", "9.9", "10", "104", "99999", "123k"]);
        let times = [0, 840, 999, 1_204, 9_949, 9_951, 20_511, 999_499, 1_234_567].map(time);
        let expected = ["0 µs", "840 µs", "999 µs", "1.2 ms", "9.9 ms", "10 ms", "21 ms", "999 ms", "1.2 s"];
        assert_eq!(times, expected);
    }
}
