//! What can go wrong in one fleet, and how often. Every knob is drawn from the seed; many are at rest in any one fleet.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Chances are per step of the actor that the fault belongs to.
#[derive(Clone, Debug)]
pub struct Knobs {
    pub hosts: usize,
    pub groups: usize,
    pub steps: usize,
    /// A change in the store wakes nobody; the next look is at the next poll.
    pub wake_lost: f64,
    /// A look although nothing changed.
    pub wake_repeated: f64,
    pub agent_killed: f64,
    pub host_reimaged: f64,
    pub host_joins: f64,
    pub host_slow: f64,
    pub host_cut_off: f64,
    pub prepare_fails: f64,
    pub activate_fails: f64,
    pub live_changed_by_hand: f64,
    pub order_deleted_by_hand: f64,
    pub record_deleted_by_hand: f64,
    pub controller_killed: f64,
    pub controller_stopped: f64,
    pub store_down: f64,
    pub store_restored: f64,
    pub person_acts: f64,
    /// How many of a person's acts disturb what is under way.
    pub person_interrupts: f64,
    /// Whether most releases have services, so that rollouts go in steps.
    pub services: bool,
    /// Whether releases differ in the process groups that they have.
    pub brings: bool,
    pub routers: usize,
    pub start_fails: f64,
    pub accept_fails: f64,
    pub service_dies: f64,
    pub service_unready: f64,
    pub host_reboots: f64,
    /// Its agent starts again with other labels, and matches no longer, or again.
    pub host_relabelled: f64,
    pub router_slow: f64,
    pub router_cut_off: f64,
    pub router_killed: f64,
    /// Its agent is killed and started again, and it serves on.
    pub router_left: f64,
}

impl Knobs {
    pub fn draw(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x6b6e_6f62);
        // Half of the faults rest in any one fleet: a fault is best seen where not everything is on fire.
        let mut chance = |most: f64| if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..most) };
        let mut knobs = Self {
            hosts: 0,
            groups: 0,
            steps: 0,
            wake_lost: chance(0.8),
            wake_repeated: chance(0.5),
            agent_killed: chance(0.008),
            host_reimaged: chance(0.004),
            host_joins: chance(0.01),
            host_slow: chance(0.008),
            host_cut_off: chance(0.005),
            prepare_fails: chance(0.03),
            activate_fails: chance(0.06),
            live_changed_by_hand: chance(0.006),
            order_deleted_by_hand: chance(0.01),
            record_deleted_by_hand: chance(0.01),
            controller_killed: chance(0.02),
            controller_stopped: chance(0.02),
            store_down: chance(0.004),
            store_restored: chance(0.03),
            person_acts: 0.0,
            person_interrupts: chance(0.5),
            services: false,
            brings: false,
            routers: 0,
            start_fails: chance(0.15),
            accept_fails: chance(0.1),
            service_dies: chance(0.004),
            service_unready: chance(0.008),
            host_reboots: chance(0.003),
            host_relabelled: 0.0,
            router_slow: chance(0.01),
            router_cut_off: chance(0.006),
            router_killed: chance(0.006),
            router_left: chance(0.015),
        };
        knobs.hosts = rng.random_range(1..=5);
        knobs.groups = rng.random_range(1..=2);
        knobs.steps = rng.random_range(400..=1200);
        knobs.person_acts = rng.random_range(0.005..0.03);
        knobs.services = rng.random_bool(0.6);
        if knobs.services {
            knobs.hosts = knobs.hosts.min(4);
            knobs.steps *= 2;
        }
        knobs.routers = rng.random_range(0..=2);
        if knobs.services && rng.random_bool(0.6) {
            knobs.set_in_order();
        }
        knobs.brings = knobs.services && knobs.groups > 1 && rng.random_bool(0.25);
        if rng.random_bool(0.25) {
            knobs.host_relabelled = rng.random_range(0.001..0.006);
        }
        knobs
    }

    /// Keeps the store and the routers whole, so that no request may be lost.
    fn set_in_order(&mut self) {
        self.routers = self.routers.max(1);
        for chance in [
            &mut self.store_down,
            &mut self.store_restored,
            &mut self.router_slow,
            &mut self.router_cut_off,
            &mut self.router_killed,
        ] {
            *chance = 0.0;
        }
    }

    /// Tells whether neither the store nor routers have misfortunes.
    pub fn in_order(&self) -> bool {
        let misfortunes =
            [self.store_down, self.store_restored, self.router_slow, self.router_cut_off, self.router_killed];
        misfortunes.iter().all(|chance| *chance == 0.0)
    }
}
