//! Points for plots: where each one stands between the lowest and the highest, for characters and for SVG alike.
//!
//! Invariants: nothing is drawn outside of its frame; a gap in what was heard is a gap in the line.

use footplate_core::moment::Moment;

use super::{Piece, Shown};

/// How evidence is shown: as a part of what is enough. Far below nothing, and far beyond enough, is all the same.
const LEAST: f64 = -0.5;
const MOST: f64 = 3.0;

/// Lines over time, in a frame of 0 to 1 both ways.
pub struct Plot {
    /// Each with its points in the order of time; nothing where there is a gap.
    pub lines: Vec<Vec<Option<(f64, f64)>>>,
    /// Where a level line stands, if one does: the threshold.
    pub level: Option<f64>,
    /// The number at the bottom and at the top.
    pub range: (f64, f64),
}

/// Returns the evidence that it is worse and that it is not, each as a part of what is enough for it.
pub fn evidence(shown: &Shown) -> Plot {
    let (worse, not_worse) = (shown.verdict.enough.ln(), shown.enough_for_not_worse.ln());
    let of = |value: f64, enough: f64| Some((value / enough).clamp(LEAST, MOST));
    let points: Vec<_> = shown
        .curve
        .iter()
        .map(|point| (point.at, [of(point.worse.ln(), worse), of(point.not_worse.ln(), not_worse)]))
        .collect();
    plot(shown, &points, Some(1.0), (0.0, 1.0))
}

/// Returns a KPI on canary and baseline.
pub fn course(shown: &Shown, pieces: &[Piece]) -> Plot {
    let points: Vec<_> = pieces.iter().map(|piece| (piece.at, [piece.canary, piece.baseline])).collect();
    let first = pieces.iter().flat_map(|piece| [piece.canary, piece.baseline]).flatten().next();
    let start = first.map_or(0.0, |first| first.min(0.0));
    plot(shown, &points, None, (start, start))
}

/// Scales points; the range holds all of them, the level and what it holds already.
fn plot(shown: &Shown, points: &[(Moment, [Option<f64>; 2])], level: Option<f64>, range: (f64, f64)) -> Plot {
    let values = points.iter().flat_map(|(_, values)| values).flatten().copied();
    let (low, high) = values.fold(range, |(low, high), value| (low.min(value), high.max(value)));
    let high = if high > low { high + (high - low) * 0.05 } else { low + 1.0 };
    let end = points.last().map_or(shown.began, |(at, _)| *at);
    let all = end.since(shown.began).as_secs_f64().max(0.001);
    let up = |value: f64| ((value - low) / (high - low)).clamp(0.0, 1.0);
    let across = |at: &Moment| (at.since(shown.began).as_secs_f64() / all).clamp(0.0, 1.0);
    let line = |index: usize| {
        points.iter().map(|(at, values)| values[index].map(|value| (across(at), up(value)))).collect()
    };
    Plot { lines: vec![line(0), line(1)], level: level.map(up), range: (low, high) }
}
