//! How long to wait before the next try: doubled each time up to a cap, and scattered so that a fleet does not knock in step.

use std::time::Duration;

/// The delays between tries. Pure: the randomness comes from the seed alone.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// Returns delays that grow from `first` to `max`, scattered by `seed` (any number; each process its own).
    pub fn new(first: Duration, max: Duration, seed: u64) -> Backoff {
        Backoff { first, max, next: first, random: seed }
    }

    /// Returns the next delay: between half of the current step and the whole of it.
    pub fn step(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        let half = step / 2;
        let share = u32::try_from(self.draw() >> 48).expect("16 bits are left");
        half + half * share / 0xFFFF
    }

    /// Begins anew with the first delay.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// `SplitMix64` (Steele, Lea, Flood 2014): good enough to scatter, and a number of state.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_never_leave_their_step() {
        let (first, max) = (Duration::from_millis(200), Duration::from_secs(15));
        let mut seen = Vec::new();
        for seed in 0..200 {
            let mut backoff = Backoff::new(first, max, seed);
            let mut step = first;
            for _ in 0..12 {
                let delay = backoff.step();
                assert!(step / 2 <= delay && delay <= step, "seed {seed}: {delay:?} in a step of {step:?}");
                step = (step * 2).min(max);
                seen.push(delay);
            }
            backoff.reset();
            assert!(backoff.step() <= first);
        }
        seen.sort();
        seen.dedup();
        assert!(seen.len() > 2_000, "two hundred seeds knock at different times: {}", seen.len());
    }
}
