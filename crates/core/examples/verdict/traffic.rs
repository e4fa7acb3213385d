//! Simulated traffic of two versions, second by second: who asks, which version answers, what fails, how long it takes.
//!
//! Invariants: a seed gives the same traffic always; every rule that is compared sees the same one. Versions are drawn at random, for
//! each request or for each client. Times are 97 % around 40 ms and 3 % around 300 ms, both log-normal: a p99 of about 350 ms.

use footplate_core::traffic::counts::Histogram;
use footplate_core::verdict::{Cause, Cuts};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What both versions are like, and who asks them.
#[derive(Clone)]
pub struct World {
    /// Requests in a second.
    pub requests: u32,
    /// The canary's share by second: from when on, which.
    pub ramp: Vec<(u32, f64)>,
    /// How often requests fail on the baseline and on the canary.
    pub errors: (f64, f64),
    /// How much longer all answers, and how much longer the slow ones take on the canary.
    pub slower: (f64, f64),
    /// Whether one in twenty spans of ten seconds has a tenth of all requests fail, on both versions.
    pub bursts: bool,
    /// Who asks.
    pub clients: Clients,
    /// How often in a second one of ten instances (the canary is one of them) stands still, for two seconds.
    pub stalls: f64,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq)]
pub enum Clients {
    /// Another client each time.
    Many,
    /// The same, but errors come in batches of this many on average: a client that fails asks again, four times a second, and stays with
    /// its version, or is drawn anew each time.
    Batches { mean: f64, stay: bool },
    /// One address carries everything; each request is drawn.
    One,
    /// So many clients ask in turn and stay with their version; some of them fail always, whichever version it is.
    Few { clients: u64, broken: f64 },
}

/// One second of both versions.
#[derive(Clone, Default)]
pub struct Second {
    /// The share in force.
    pub share: f64,
    /// Requests of the canary and of the baseline.
    pub of: [u64; 2],
    /// How many failed.
    pub failed: [u64; 2],
    /// How many were slower than each cut, and than half a second.
    pub slow: [[u64; 2]; 4],
    /// The keys that failed, with the version of the first failure.
    pub causes: Vec<Cause>,
    /// Requests of the ten busiest keys.
    pub busiest: u64,
}

const MAIN: (f64, f64) = (40.0, 0.4);
const SLOW: (f64, f64) = (300.0, 0.35);
const SLOW_PART: f64 = 0.03;
/// The bound of a published rule, in milliseconds.
const HALF_A_SECOND: f64 = 500.0;

/// Traffic that goes on.
pub struct Traffic {
    world: World,
    random: SmallRng,
    second: u32,
    pub cuts: Cuts,
    /// How often each cut is exceeded on the canary and on the baseline.
    exceeded: [[f64; 2]; 4],
    /// Batches that go on: key, version, failures to come.
    batches: Vec<(u64, usize, u32)>,
    is_burst: bool,
    /// Seconds that a stall of the canary or of one instance of the baseline still lasts.
    stalled: [u32; 2],
}

impl Traffic {
    /// Begins, with thirty seconds of the baseline alone, from which the cuts are frozen.
    pub fn new(world: &World, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let before: Histogram =
            (0..world.requests * 30).map(|_| (bucket(draw_time(&mut random)), 1)).collect();
        let cuts = Cuts::freeze(&before);
        let of = |cut: Option<u64>| {
            cut.map_or([0.0; 2], |cut| exceeded(cut as f64 / 1000.0 * 1.0005, world.slower))
        };
        let [p50, p90, p99] = cuts.times().map(of);
        let exceeded = [p50, p90, p99, exceeded(HALF_A_SECOND, world.slower)];
        let world = world.clone();
        Self {
            world,
            random,
            second: 0,
            cuts,
            exceeded,
            batches: Vec::new(),
            is_burst: false,
            stalled: [0; 2],
        }
    }

    /// Returns the next second.
    pub fn next_second(&mut self) -> Second {
        let share =
            self.world.ramp.iter().rev().find(|(from, _)| *from <= self.second).map_or(0.0, |step| step.1);
        if self.second.is_multiple_of(10) {
            self.is_burst = self.world.bursts && self.random.random_bool(0.05);
        }
        self.stall();
        let mut second = Second { share, ..Second::default() };
        for number in 0..self.world.requests {
            self.request(&mut second, number);
        }
        self.go_on_with_batches(&mut second);
        self.second += 1;
        second
    }

    fn request(&mut self, second: &mut Second, number: u32) {
        let key = match self.world.clients {
            // Drawn only for those that fail.
            Clients::Many | Clients::Batches { .. } => 0,
            Clients::One => 1,
            Clients::Few { clients, .. } => {
                (u64::from(self.second) * u64::from(self.world.requests) + u64::from(number)) % clients
            }
        };
        let version = match self.world.clients {
            Clients::Few { .. } => usize::from(point(key, self.salt()) >= second.share),
            _ => usize::from(self.random.random::<f64>() >= second.share),
        };
        second.of[version] += 1;
        second.busiest += u64::from(self.world.clients == Clients::One);
        self.time(second, version);
        let fails =
            [self.world.errors.1, self.world.errors.0][version].max(if self.is_burst { 0.1 } else { 0.0 });
        match self.world.clients {
            Clients::Batches { mean, .. } if self.random.random::<f64>() < fails / mean => {
                let key = self.random.random();
                let more = self.random.random::<f64>().ln() / (1.0 - 1.0 / mean).ln();
                fail(second, key, version);
                self.batches.push((key, version, more as u32));
            }
            Clients::Batches { .. } => {}
            Clients::Few { broken, .. } if point(key, 7) < broken => fail(second, key, version),
            clients if self.random.random::<f64>() < fails => {
                let key = if clients == Clients::Many { self.random.random() } else { key };
                fail(second, key, version);
            }
            _ => {}
        }
    }

    /// The salt of the draw: another one for each run, as each rollout has its own.
    fn salt(&self) -> u64 {
        self.cuts.times()[2].unwrap_or(0) ^ (self.exceeded[0][0].to_bits())
    }

    fn time(&mut self, second: &mut Second, version: usize) {
        let is_stalled = self.stalled[version] > 0 && (version == 0 || self.random.random_bool(1.0 / 9.0));
        let drawn: f64 = if is_stalled { 0.0 } else { self.random.random() };
        for (slow, exceeded) in second.slow.iter_mut().zip(&self.exceeded) {
            slow[version] += u64::from(drawn < exceeded[version]);
        }
    }

    fn stall(&mut self) {
        self.stalled = self.stalled.map(|seconds| seconds.saturating_sub(1));
        for (version, instances) in [(0, 0.1), (1, 0.9)] {
            if self.world.stalls > 0.0 && self.random.random::<f64>() < self.world.stalls * instances {
                self.stalled[version] = 2;
            }
        }
    }

    /// Clients that failed ask again four times in a second.
    fn go_on_with_batches(&mut self, second: &mut Second) {
        let Clients::Batches { stay, .. } = self.world.clients else { return };
        for (key, version, left) in &mut self.batches {
            for _ in 0..(*left).min(4) {
                let version =
                    if stay { *version } else { usize::from(self.random.random::<f64>() >= second.share) };
                second.of[version] += 1;
                fail(second, *key, version);
                *left -= 1;
            }
        }
        self.batches.retain(|(_, _, left)| *left > 0);
    }
}

fn fail(second: &mut Second, key: u64, version: usize) {
    second.failed[version] += 1;
    if !second.causes.iter().any(|cause| cause.key == key) {
        second.causes.push(Cause { key, is_canarys: version == 0 });
    }
}

/// A point from 0 to 1 for a key.
fn point(key: u64, salt: u64) -> f64 {
    SmallRng::seed_from_u64(key.wrapping_mul(0x9e37_79b9) ^ salt).random()
}

fn draw_time(random: &mut SmallRng) -> f64 {
    let (median, spread) = if random.random::<f64>() < SLOW_PART { SLOW } else { MAIN };
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    median * (spread * normal).exp()
}

/// Microseconds, exact to about a thousandth, as the built-in router counts them.
fn bucket(milliseconds: f64) -> u64 {
    let microseconds = (milliseconds * 1000.0) as u64;
    let unit = 1 << (64 - microseconds.leading_zeros()).saturating_sub(11);
    microseconds / unit * unit
}

/// How often a time is exceeded on the canary (slower by so much) and on the baseline.
fn exceeded(milliseconds: f64, slower: (f64, f64)) -> [f64; 2] {
    let above = |(median, spread): (f64, f64), factor: f64| {
        0.5 * libm::erfc((milliseconds / (median * factor)).ln() / spread / std::f64::consts::SQRT_2)
    };
    let mixed = |main: f64, slow: f64| (1.0 - SLOW_PART) * above(MAIN, main) + SLOW_PART * above(SLOW, slow);
    [mixed(slower.0, slower.0 * slower.1), mixed(1.0, 1.0)]
}
