//! What a judgement will be able to see, said before it begins: how long a release that is so many times as bad stays unnoticed.
//!
//! Invariants: nothing here touches a verdict; times are what is needed on average at most, so half of the releases are found earlier.
//! Source: Wald, *Sequential Analysis*, 1947 (expected sample number: the evidence that is needed, by what one event gives on
//! average), for the best of the bets, with its whole price added: ln of how little was bet on it.

use std::time::Duration;

use super::evidence::ln;
use super::share::{NOT_WORSE, WORSE, canarys};
use crate::moment::in_words;
use crate::traffic::Share;

/// Traffic as it is before the canary gets any of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests per second, of all versions.
    pub requests_per_second: f64,
    /// The part of them that it happens to (that fail, say).
    pub part: f64,
}

/// One step of a ramp; the last one lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The canary's share.
    pub share: Share,
    /// For how long.
    pub lasts: Duration,
}

/// Returns how long it takes at most, on average, to see that it happens `ratio` times as often, with an error of `error` (a KPI's part of
/// the error budget: 0.005 for errors). Nothing when the last step's traffic shows nothing, or within a hundred years.
pub fn time_to_see(traffic: Traffic, ramp: &[Step], ratio: f64, error: f64) -> Option<Duration> {
    let by = |(alternative, stake): (f64, f64)| {
        let gain = |share: f64| {
            let bet = divergence(canarys(ratio, share), canarys(alternative, share), canarys(1.0, share));
            events_per_second(traffic, share, ratio) * bet
        };
        through(ramp, -ln(error) - ln(stake), gain)
    };
    WORSE.into_iter().filter_map(by).min()
}

/// Returns how long it takes at most, on average, to prove that a release that is the same happens not to be `not_worse_than` times as bad.
pub fn time_to_prove(traffic: Traffic, ramp: &[Step], not_worse_than: f64, error: f64) -> Option<Duration> {
    let needed = -ln(error) + ln(NOT_WORSE.len() as f64);
    let gain = |share: f64| {
        let of = canarys(1.0, share);
        events_per_second(traffic, share, 1.0) * divergence(of, of, canarys(not_worse_than, share))
    };
    through(ramp, needed, gain)
}

/// Returns what one event gives on average (in nats), when it is the canary's with probability `truth`, to a bet on `bet` against `null`.
pub(super) fn divergence(truth: f64, bet: f64, null: f64) -> f64 {
    truth * ln(bet / null) + (1.0 - truth) * ln((1.0 - bet) / (1.0 - null))
}

/// Returns how often it happens in a second on both versions; never more often than there are requests.
fn events_per_second(traffic: Traffic, share: f64, ratio: f64) -> f64 {
    let canary = (traffic.part * ratio).min(1.0);
    traffic.requests_per_second * (share * canary + (1.0 - share) * traffic.part)
}

/// Goes through the steps until the evidence is there.
fn through(ramp: &[Step], needed: f64, gain: impl Fn(f64) -> f64) -> Option<Duration> {
    let (mut missing, mut passed) = (needed, 0.0);
    for (index, step) in ramp.iter().enumerate() {
        let share = step.share.part();
        let gain = if share > 0.0 && share < 1.0 { gain(share) } else { 0.0 };
        let lasts = step.lasts.as_secs_f64();
        if index + 1 == ramp.len() || gain * lasts >= missing {
            let seconds = passed + missing / gain;
            return (gain > 0.0 && seconds < 3.2e9).then(|| Duration::from_secs_f64(seconds));
        }
        missing -= gain * lasts;
        passed += lasts;
    }
    None
}

/// The share that a statement looks at besides the one that was chosen, in millionths.
const OTHER: u32 = 500_000;

/// Says what a canary of this share can see within this time, and what a larger one could.
///
/// `error` is the KPI's part of the error budget.
pub fn statement(traffic: Traffic, share: Share, within: Duration, error: f64) -> Vec<String> {
    let at = |share: Share| [Step { share, lasts: within }];
    let (rate, other_share) = (number(traffic.requests_per_second), Share::from_millionths(OTHER));
    let mut said = Vec::new();
    for (ratio, what) in [
        (2.0, "a doubling"),
        (10.0, "ten times as many"),
        (0.5 / traffic.part, "every second request failing"),
    ] {
        if !(1.5..1e6).contains(&ratio) {
            continue;
        }
        let opening =
            format!("at {rate} requests a second, {} of which fail, a {share} canary", percent(traffic.part));
        let seen = time_to_see(traffic, &at(share), ratio, error);
        let other = time_to_see(traffic, &at(other_share), ratio, error);
        said.push(match (seen, other) {
            (Some(time), _) if time <= within => format!("{opening} shows {what} in about {}", about(time)),
            (_, Some(time)) if share < other_share => {
                format!(
                    "{opening} cannot show {what} within {}; {other_share} would need about {}",
                    in_words(within),
                    about(time)
                )
            }
            _ => format!("{opening} cannot show {what} within {}", in_words(within)),
        });
    }
    said
}

/// Rounds to what such an estimate is worth: whole seconds, minutes from two on, hours from two on, days.
fn about(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let unit = match time.as_secs() {
        0..120 => 1.0,
        120..7_200 => 60.0,
        7_200..172_800 => 3_600.0,
        _ => 86_400.0,
    };
    in_words(Duration::from_secs_f64(libm::ceil(seconds / unit) * unit))
}

fn percent(part: f64) -> String {
    format!("{}%", number(part * 100.0))
}

/// Writes at most three digits that say something.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 2 - libm::floor(libm::log10(value.abs())) as i32;
    let text = format!("{value:.*}", usize::try_from(digits.clamp(0, 9)).expect("it is not negative"));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAFFIC: Traffic = Traffic { requests_per_second: 100.0, part: 0.005 };

    fn share(text: &str) -> Share {
        text.parse().unwrap()
    }

    fn steady(text: &str) -> [Step; 1] {
        [Step { share: share(text), lasts: Duration::from_secs(600) }]
    }

    #[test]
    fn a_doubling_needs_as_many_errors_as_their_evidence_says() {
        // 0.0305 nats an error at a share of 10 %, 0.55 errors a second, ln 200 + ln 4 nats.
        let time = time_to_see(TRAFFIC, &steady("10%"), 2.0, 0.005).unwrap();
        assert!((385.0..405.0).contains(&time.as_secs_f64()), "{time:?}");
        let worse = time_to_see(TRAFFIC, &steady("10%"), 10.0, 0.005).unwrap();
        assert!((8.0..16.0).contains(&worse.as_secs_f64()), "{worse:?}");
    }

    #[test]
    fn evidence_of_earlier_steps_shortens_later_ones() {
        let half = time_to_see(TRAFFIC, &steady("50%"), 2.0, 0.005).unwrap();
        let first = Step { share: share("10%"), lasts: Duration::from_secs(200) };
        let ramp = [first, steady("50%")[0]];
        let both = time_to_see(TRAFFIC, &ramp, 2.0, 0.005).unwrap();
        assert!(both > half && both < half + Duration::from_secs(200), "{half:?} {both:?}");
    }

    #[test]
    fn a_smaller_share_and_fewer_requests_take_longer_and_none_never_show_anything() {
        let time = |traffic, text| time_to_see(traffic, &steady(text), 2.0, 0.005);
        assert!(time(TRAFFIC, "1%") > time(TRAFFIC, "5%"));
        let slow = Traffic { requests_per_second: 5.0, ..TRAFFIC };
        assert!(time(slow, "5%") > time(TRAFFIC, "5%"));
        for never in [
            time(Traffic { requests_per_second: 0.0, ..TRAFFIC }, "5%"),
            time(TRAFFIC, "0%"),
            time(TRAFFIC, "100%"),
        ] {
            assert_eq!(never, None);
        }
        assert!(
            time_to_prove(TRAFFIC, &steady("50%"), 2.0, 0.05)
                < time_to_prove(TRAFFIC, &steady("10%"), 2.0, 0.05)
        );
    }

    #[test]
    fn a_statement_says_what_cannot_be_seen_and_what_would_help() {
        let slow = Traffic { requests_per_second: 5.0, part: 0.005 };
        let said = statement(slow, share("1%"), Duration::from_secs(3600), 0.005);
        assert_eq!(
            said,
            [
                "at 5 requests a second, 0.5% of which fail, a 1% canary cannot show a doubling within 1 h; 50% would need about 53 min",
                "at 5 requests a second, 0.5% of which fail, a 1% canary shows ten times as many in about 38 min",
                "at 5 requests a second, 0.5% of which fail, a 1% canary shows every second request failing in about 1 min 43 s",
            ]
        );
    }

    #[test]
    fn numbers_have_three_digits_at_most() {
        for (value, text) in
            [(0.5, "0.5"), (12.345, "12.3"), (1234.5, "1234"), (0.001_234, "0.00123"), (2.0, "2"), (0.0, "0")]
        {
            assert_eq!(number(value), text);
        }
    }
}
