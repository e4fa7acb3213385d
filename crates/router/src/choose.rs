//! The draw: which version a request goes to, and which of its endpoints. Randomness is passed in.

use crate::table::WHOLE;

/// Draws a version by its share. `shares` make a million; `point` is uniform over all of `u64`: random, or a hashed key.
///
/// Each version owns a range in the order given, so that a client with a key stays in while its version's share grows at the
/// end of its range. Returns nothing when all shares are 0.
pub fn version(shares: impl IntoIterator<Item = u32>, point: u64) -> Option<usize> {
    // The high half of the product is uniform over 0..WHOLE, without the bias of a remainder.
    let point = ((u128::from(point) * u128::from(WHOLE)) >> 64) as u64;
    let mut end = 0;
    for (place, share) in shares.into_iter().enumerate() {
        end += u64::from(share);
        if point < end {
            return Some(place);
        }
    }
    None
}

/// An endpoint that could take the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its weight beside the others, at least 1.
    pub weight: u32,
    /// How many requests it has now.
    pub in_flight: usize,
}

/// Draws two candidates by weight and takes the one with less in flight for its weight.
///
/// Two draws are enough to keep the load even (Mitzenmacher, "The Power of Two Choices", 2001), and weights hold at rest
/// too, where the least in flight alone would always take the first.
pub fn endpoint(candidates: &[Candidate], random: u64) -> Option<usize> {
    match candidates.len() {
        0 => return None,
        1 => return Some(0),
        _ => {}
    }
    let total: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight)).sum();
    let draw = |half: u64| {
        let mut left = (half * total) >> 32;
        let at = candidates.iter().position(|candidate| {
            let found = left < u64::from(candidate.weight);
            left = left.saturating_sub(u64::from(candidate.weight));
            found
        });
        at.unwrap_or(candidates.len() - 1)
    };
    let (first, second) = (draw(random >> 32), draw(random & u64::from(u32::MAX)));
    let load =
        |at: usize, other: usize| candidates[at].in_flight as u128 * u128::from(candidates[other].weight);
    Some(if load(second, first) < load(first, second) { second } else { first })
}
