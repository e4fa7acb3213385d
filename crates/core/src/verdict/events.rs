//! One KPI that counts events: its tests, fed look by look.
//!
//! Invariants: which test counts a window is decided before it begins; when another takes over it goes on with the evidence of the
//! one before (a product of e-processes over times that follow each other is one). What is "not worse" needs every raw event;
//! what is "worse" counts causes.

use std::time::Duration;

use super::blocks::Blocks;
use super::cause::{Causes, Drawn};
use super::drawing::Drawing;
use super::evidence::{self, Evidence, ln};
use super::interval::Shares;
use super::kpi::{Alternatives, Counting, Tolerance};
use super::rate::RateTest;
use super::reading::{Side, Split};
use super::share::{Bet, SLOWER, ShareTest, WORSE};
use super::sign::{self, SignTest};
use super::window::{Busiest, Part, Pool, Window};
use crate::moment::Moment;
use crate::traffic::Share;

/// How many facts against the canary there must be at least: two are never enough, however unlikely they were.
const FACTS_MIN: u64 = 3;

/// What is known of one KPI.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    tolerance: Tolerance,
    /// What counts now; nothing before the first look.
    counting: Option<Counting>,
    worse: Trial,
    /// How many facts fell to the canary.
    against: u64,
    not_worse: Trial,
    above: Option<RateTest>,
    below: Option<RateTest>,
    /// The same where a few clients make most requests: each test counts only while the other does not, so their evidence multiplies.
    below_by_blocks: Option<Blocks>,
    /// The sign test over all windows, whatever counts.
    second: SignTest,
    window: Window,
    pool: Pool,
    drawn: Drawn,
    drawing: Drawing,
    causes: Causes,
    busiest: Busiest,
    shares: Shares,
    canary: Side,
    baseline: Side,
}

/// The test that counts now, and the evidence of those before.
#[derive(Clone, Debug, PartialEq)]
struct Trial {
    before: Evidence,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Share(ShareTest),
    Sign(SignTest),
}

impl Trial {
    fn evidence(&self) -> Evidence {
        self.before.then(match &self.test {
            Test::Share(test) => test.evidence(),
            Test::Sign(test) => test.evidence(),
        })
    }

    fn go_on_by(&mut self, test: Test) {
        *self = Trial { before: self.evidence(), test };
    }
}

impl Events {
    /// Begins to judge.
    pub fn new(tolerance: &Tolerance, drawn: Drawn) -> Self {
        let trial = || Trial { before: Evidence::NONE, test: Test::Sign(SignTest::default()) };
        let limit = |share: Option<Share>| share.map(Share::part);
        let absolute = tolerance.worse_than.is_none().then_some(tolerance.worse_above).flatten();
        Self {
            counting: None,
            worse: trial(),
            against: 0,
            not_worse: trial(),
            above: limit(tolerance.worse_above).map(RateTest::above),
            below: limit(tolerance.fine_below.or(absolute)).map(RateTest::below),
            below_by_blocks: limit(tolerance.fine_below.or(absolute)).map(Blocks::below),
            second: SignTest::default(),
            window: Window::default(),
            pool: Pool::default(),
            drawn,
            drawing: Drawing::default(),
            causes: Causes::new(drawn),
            busiest: Busiest::default(),
            shares: Shares::default(),
            canary: Side::default(),
            baseline: Side::default(),
            tolerance: tolerance.clone(),
        }
    }

    /// Counts one look, with the canary's share where it is known; that is believed as long as requests come by it.
    pub fn count(&mut self, at: Moment, over: Duration, known: Option<f64>, split: &Split) {
        self.canary.add(split.canary);
        self.baseline.add(split.baseline);
        let of = (split.canary.of, split.baseline.of);
        let known = self.drawing.believed(at, known, of, self.drawn);
        self.busiest.add(at, of.0 + of.1, split.busiest.unwrap_or(0));
        // Where clients are drawn the share is one of clients: what part of the requests they make is measured.
        let of_requests = known.filter(|_| self.drawn == Drawn::Request);
        let is_new = self.window.is_new(at);
        let part = Part { share: of_requests, of, events: (split.canary.events, split.baseline.events) };
        if let Some(window) = self.window.add(at, over, part) {
            self.close(window.share, window.canary, window.baseline);
        }
        if is_new {
            self.choose(split);
        }
        let (facts, share) = match (self.counting, &split.causes) {
            (Some(Counting::Causes), Some(causes)) => (self.causes.count(at, causes), known),
            (Some(Counting::Causes), None) => ((0, 0), known),
            _ => (part.events, of_requests),
        };
        self.count_rates(over, split, facts.0);
        let measured = || self.pool.add(of, facts);
        if let Some((share, canary, baseline)) =
            share.map(|share| (share, facts.0, facts.1)).or_else(measured)
        {
            self.count_facts(share, canary, baseline);
        }
    }

    /// Chooses what counts in the window that begins, by what was seen before it.
    fn choose(&mut self, split: &Split) {
        let counting = match self.tolerance.counting {
            Counting::Causes if split.causes.is_none() || self.busiest.carry_most() => Counting::Windows,
            counting => counting,
        };
        if self.counting == Some(counting) {
            return;
        }
        self.counting = Some(counting);
        let (worse, not_worse) = match counting {
            Counting::Windows => (Test::Sign(SignTest::default()), Test::Sign(SignTest::default())),
            Counting::Causes | Counting::Looks => {
                let bets: &[Bet] = match self.tolerance.alternatives {
                    Alternatives::Worse => &WORSE,
                    Alternatives::Slower => &SLOWER,
                };
                let not_worse = ShareTest::not_worse(self.tolerance.not_worse_than.value());
                (Test::Share(ShareTest::worse(self.worse_than(), bets)), Test::Share(not_worse))
            }
        };
        self.worse.go_on_by(worse);
        self.not_worse.go_on_by(not_worse);
    }

    /// Counts facts that came at this share.
    fn count_facts(&mut self, share: f64, canary: u64, baseline: u64) {
        if let Test::Share(test) = &mut self.worse.test {
            self.against += canary;
            self.shares.count(share, canary, baseline);
            match self.tolerance.counting {
                Counting::Looks => test.count_as_one(share, canary, baseline),
                Counting::Causes | Counting::Windows => test.count(share, canary, baseline),
            }
        }
        if let Test::Share(test) = &mut self.not_worse.test {
            test.count(share, canary, baseline);
        }
    }

    /// Counts what one look says of the canary alone: causes against it, every event for it.
    fn count_rates(&mut self, over: Duration, split: &Split, facts: u64) {
        if let Some(test) = &mut self.above {
            test.count(split.canary.of, facts);
        }
        match (&mut self.below, &mut self.below_by_blocks) {
            (_, Some(blocks)) if self.busiest.carry_most() => blocks.count(over, split.canary),
            (Some(test), _) => test.count(split.canary.of, split.canary.events),
            (None, _) => {}
        }
    }

    /// Counts a window that is over.
    fn close(&mut self, share: f64, canary: u64, baseline: u64) {
        let score = sign::worse(self.worse_than(), share, canary, baseline);
        self.second.count(score);
        if let Test::Sign(test) = &mut self.worse.test {
            self.against += u64::from(canary > 0);
            test.count(score);
        }
        if let Test::Sign(test) = &mut self.not_worse.test {
            test.count(sign::not_worse(self.tolerance.not_worse_than.value(), share, canary, baseline));
        }
    }

    fn worse_than(&self) -> f64 {
        self.tolerance.worse_than.map_or(1.0, super::kpi::Factor::value)
    }

    /// Returns the evidence that the canary is worse: by ratio, by its own part of the requests, or by both where both are asked for.
    ///
    /// While there are hardly any facts it is none at most: of too little traffic nothing is known.
    pub fn worse(&self) -> Evidence {
        let most = if self.against < FACTS_MIN { Evidence::NONE } else { Evidence::from_ln(f64::INFINITY) };
        most.and(match (&self.above, self.tolerance.worse_than) {
            (Some(above), Some(_)) => self.worse.evidence().and(above.evidence()),
            (Some(above), None) => above.evidence(),
            (None, _) => self.worse.evidence(),
        })
    }

    /// Returns the evidence that it is not worse: against "as many times as often, and not below what is fine either".
    pub fn not_worse(&self) -> Evidence {
        let by_ratio = self.not_worse.evidence();
        match (self.fine(), self.tolerance.worse_than) {
            (Some(fine), Some(_)) => {
                let half = -ln(2.0);
                evidence::mean([(half, by_ratio.ln()), (half, fine.ln())].into_iter())
            }
            (Some(fine), None) => fine,
            (None, _) => by_ratio,
        }
    }

    /// Returns the evidence that it happens to less than what is fine; nothing where no such part is said.
    fn fine(&self) -> Option<Evidence> {
        let by_blocks = self.below_by_blocks.as_ref()?.evidence();
        Some(self.below.as_ref()?.evidence().then(by_blocks))
    }

    /// Returns the evidence of the sign test over all windows: right also where one cause has many events in five seconds.
    pub fn second_opinion(&self) -> Evidence {
        self.second.evidence()
    }

    /// Returns what counts now; nothing before the first look.
    pub fn counting(&self) -> Option<Counting> {
        self.counting
    }

    /// Tells whether a few keys carry most of the traffic.
    pub fn is_concentrated(&self) -> bool {
        self.busiest.carry_most()
    }

    /// Returns what is tolerated.
    pub fn tolerance(&self) -> &Tolerance {
        &self.tolerance
    }

    /// Returns everything that was counted of the canary and of the baseline.
    pub fn sides(&self) -> (Side, Side) {
        (self.canary, self.baseline)
    }

    /// Returns the facts by share.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }
}
