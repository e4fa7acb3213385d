//! What a rollout waits for and how far it is, in words that every place prints as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::outcome::{Few, count};
use super::standing::{Standing, named};
use super::{Observation, Part, Phase, Rollout, WayBack};
use crate::moment::in_words;
use crate::name::{Actor, AppName, HostName, ReleaseId, Target};

/// What a rollout waits for, and how long it will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// For nothing: it is over.
    Nothing,
    /// For hosts to join.
    Hosts {
        /// How many match.
        have: usize,
        /// How many must.
        want: usize,
        /// Until it fails.
        left: Duration,
    },
    /// For targets to reach a state.
    Targets {
        /// What they do: `prepared`, `running `2``, `back on `1``.
        state: String,
        /// How many are there.
        there: usize,
        /// Of how many.
        of: usize,
        /// The hosts that are not; none when only the controller must look again.
        missing: Few,
        /// Until it fails, turns back or ends.
        left: Duration,
    },
    /// For routers to follow the newest table.
    Routers {
        /// Which; none when only the controller must look again.
        which: Few,
        /// Until it turns back.
        left: Duration,
    },
    /// For requests in flight on what is to stop.
    Requests {
        /// Until it goes on without them.
        left: Duration,
    },
    /// For nothing bad to happen.
    Watch {
        /// To which release.
        release: ReleaseId,
        /// Until it goes on.
        left: Duration,
    },
    /// For a proof that the new release is not worse, or for a person to promote it without one.
    Proof {
        /// Of which app.
        app: AppName,
        /// Of which release.
        release: ReleaseId,
        /// What is known so far, in a sentence.
        known: String,
        /// Until it goes on or back, as its rules say.
        left: Duration,
    },
    /// For a person to promote it.
    Promotion {
        /// Of which app.
        app: AppName,
        /// Until it fails.
        left: Duration,
    },
    /// For a person to resume it.
    Resume {
        /// Of which app.
        app: AppName,
        /// Who paused it.
        by: Actor,
        /// Until it fails.
        left: Duration,
    },
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingOn::Nothing => f.write_str("nothing"),
            WaitingOn::Hosts { have, want, left } => {
                let more = count(want - have, "more host");
                write!(f, "{more} to join ({have} of {want} there), for another {}", in_words(*left))
            }
            WaitingOn::Targets { state, there, of, missing, left } => {
                // Nobody is missing: what was seen here the controller has yet to act on.
                let missing = if missing.is_empty() {
                    "the controller's next look".to_owned()
                } else {
                    missing.to_string()
                };
                write!(f, "{missing} ({there} of {of} targets {state}), for another {}", in_words(*left))
            }
            WaitingOn::Routers { which, left } if which.is_empty() => {
                write!(f, "the controller's next look, for another {}", in_words(*left))
            }
            WaitingOn::Routers { which, left } => {
                write!(f, "{which} to follow the new shares, for another {}", in_words(*left))
            }
            WaitingOn::Requests { left } => {
                write!(f, "requests in flight on what is to stop, for another {} at most", in_words(*left))
            }
            WaitingOn::Watch { release, left } => {
                write!(f, "nothing bad to happen to `{release}`, for another {}", in_words(*left))
            }
            WaitingOn::Proof { app, release, known, left } => {
                let known = if known.is_empty() { String::new() } else { format!(" ({known})") };
                let left = in_words(*left);
                write!(
                    f,
                    "proof that `{release}` is not worse{known}, or somebody to run `footplate promote {app}`, for another {left}"
                )
            }
            WaitingOn::Promotion { app, left } => {
                write!(f, "somebody to run `footplate promote {app}`, for another {}", in_words(*left))
            }
            WaitingOn::Resume { app, by, left } => {
                let left = in_words(*left);
                write!(f, "somebody to run `footplate resume {app}` ({by} paused it), for another {left}")
            }
        }
    }
}

/// Says what a rollout waits for, by name and with the time left.
pub fn waiting_on(rollout: &Rollout, seen: &Observation) -> WaitingOn {
    let app = rollout.path.app.clone();
    if let Some(pause) = &rollout.paused {
        let left = (pause.at + rollout.policy.hold_deadline).since(seen.now);
        return WaitingOn::Resume { app, by: pause.actor.clone(), left };
    }
    let left = rollout.phase.until().map_or(Duration::ZERO, |until| until.since(seen.now));
    let targets = |state: String, standing: &dyn Fn(&Target) -> bool| {
        let missing: BTreeSet<Target> = rollout.required().filter(|target| !standing(target)).collect();
        let of = rollout.required().count();
        WaitingOn::Targets { state, there: of - missing.len(), of, missing: named(&missing, seen), left }
    };
    match &rollout.phase {
        Phase::Preparing { .. } if rollout.hosts_missing() > 0 => {
            WaitingOn::Hosts { have: rollout.hosts.len(), want: rollout.nodes_min(), left }
        }
        Phase::Preparing { .. } => {
            targets("prepared".to_owned(), &|t| rollout.prepared(seen, t) == Standing::There)
        }
        Phase::Holding { .. } => WaitingOn::Promotion { app, left },
        Phase::Stepping { step, part, .. } => waiting_in_steps(rollout, seen, *step, *part, left),
        Phase::Switching { .. } => targets(format!("running `{}`", rollout.to.id), &|t| {
            rollout.activated(seen, t) == Standing::There
        }),
        Phase::TurningBack { .. } if rollout.way_back() == Some(WayBack::Shifting) => {
            WaitingOn::Routers { which: rollout.laggards(seen), left }
        }
        Phase::TurningBack { .. } if rollout.way_back() == Some(WayBack::Draining) => {
            WaitingOn::Requests { left }
        }
        Phase::TurningBack { .. } => {
            let state = match rollout.former() {
                Some(from) => format!("back on {from}"),
                None => format!("without `{}`", rollout.to.id),
            };
            targets(state, &|t| rollout.came_back(seen, t) == Standing::There)
        }
        Phase::Ended { .. } => WaitingOn::Nothing,
    }
}

fn waiting_in_steps(
    rollout: &Rollout,
    seen: &Observation,
    step: u32,
    part: Part,
    left: Duration,
) -> WaitingOn {
    let late = rollout.late(seen, part);
    let of = rollout.targets_up(step).max(late.len());
    let targets = |state: String| {
        let missing = named(&late, seen);
        WaitingOn::Targets { state, there: of.saturating_sub(late.len()), of, missing, left }
    };
    match part {
        Part::Holding => WaitingOn::Promotion { app: rollout.path.app.clone(), left },
        Part::Starting if late.is_empty() => WaitingOn::Routers { which: rollout.laggards(seen), left },
        Part::Starting => targets(format!("with a healthy `{}`", rollout.to.id)),
        Part::Accepting => targets(format!("that accepted `{}`", rollout.to.id)),
        Part::Stopping => targets("without the old release".to_owned()),
        Part::Calling | Part::Withdrawing | Part::Shifting => {
            WaitingOn::Routers { which: rollout.laggards(seen), left }
        }
        Part::Emptying | Part::Draining => WaitingOn::Requests { left },
        Part::Watching if rollout.is_tried_again(step) => {
            targets(format!("that accepted `{}` again", rollout.to.id))
        }
        Part::Watching if rollout.awaits_proof() => WaitingOn::Proof {
            app: rollout.path.app.clone(),
            release: rollout.to.id.clone(),
            known: seen.judged.as_ref().map(|judged| judged.sentence.clone()).unwrap_or_default(),
            left,
        },
        Part::Settling => targets(format!("ready with `{}`", rollout.to.id)),
        Part::Watching => WaitingOn::Watch { release: rollout.to.id.clone(), left },
    }
}

/// How many targets a rollout waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// These have not reached the state that the phase is about.
    pub targets: usize,
    /// Of these.
    pub of: usize,
}

/// Counts the targets that the phase waits for; nothing when it waits for people or for hosts to join.
pub fn missing(rollout: &Rollout, seen: &Observation) -> Option<Missing> {
    let count = |is_there: &dyn Fn(&Target) -> bool| Missing {
        targets: rollout.required().filter(|target| !is_there(target)).count(),
        of: rollout.required().count(),
    };
    match &rollout.phase {
        Phase::Preparing { .. } if rollout.hosts_missing() > 0 => None,
        Phase::Preparing { .. } => Some(count(&|t| rollout.prepared(seen, t) == Standing::There)),
        Phase::Switching { .. } => Some(count(&|t| rollout.activated(seen, t) == Standing::There)),
        Phase::TurningBack { .. } => Some(count(&|t| rollout.came_back(seen, t) == Standing::There)),
        Phase::Stepping { step, part, .. } => {
            let late = rollout.late(seen, *part).len();
            (late > 0).then(|| Missing { targets: late, of: rollout.targets_up(*step).max(late) })
        }
        Phase::Holding { .. } | Phase::Ended { .. } => None,
    }
}

/// How far one target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Its agent is not there.
    Gone,
    /// It has not prepared the release yet.
    Preparing,
    /// It has prepared the release and runs what ran before.
    Prepared,
    /// It runs the release.
    Live,
    /// It could not prepare or activate it.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
    /// It has yet to go back to what ran before.
    GoingBack,
    /// It went back to what ran before.
    Back,
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetState::Gone => f.write_str("gone"),
            TargetState::Preparing => f.write_str("preparing"),
            TargetState::Prepared => f.write_str("prepared"),
            TargetState::Live => f.write_str("live"),
            TargetState::Failed { reason } => write!(f, "failed: {reason}"),
            TargetState::GoingBack => f.write_str("going back"),
            TargetState::Back => f.write_str("back"),
        }
    }
}

/// How far a rollout is, target by target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every target that it waits for, in order of its name.
    pub targets: BTreeMap<Target, TargetState>,
}

impl Progress {
    /// Returns how many targets fulfil this.
    pub fn count(&self, is: impl Fn(&TargetState) -> bool) -> usize {
        self.targets.values().filter(|state| is(state)).count()
    }

    /// Lists the hosts that take part.
    pub fn hosts(&self) -> BTreeSet<&HostName> {
        self.targets.keys().map(|target| &target.host).collect()
    }
}

impl fmt::Display for Progress {
    /// Writes the counts: `5 targets: 2 prepared, 2 live, 1 failed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |state: &TargetState| match state {
            TargetState::Failed { .. } => "failed".to_owned(),
            other => other.to_string(),
        };
        let order = ["preparing", "prepared", "live", "going back", "back", "failed", "gone"];
        let counts: Vec<String> = order
            .iter()
            .map(|name| (self.count(|state| word(state) == **name), name))
            .filter(|(number, _)| *number > 0)
            .map(|(number, name)| format!("{number} {name}"))
            .collect();
        write!(f, "{}", count(self.targets.len(), "target"))?;
        if counts.is_empty() { Ok(()) } else { write!(f, ": {}", counts.join(", ")) }
    }
}

/// Tells how far every required target is.
pub fn progress(rollout: &Rollout, seen: &Observation) -> Progress {
    Progress {
        targets: rollout.required().map(|target| (target.clone(), state(rollout, seen, &target))).collect(),
    }
}

fn state(rollout: &Rollout, seen: &Observation, target: &Target) -> TargetState {
    if !rollout.leads_forward() {
        return match rollout.came_back(seen, target) {
            Standing::There => TargetState::Back,
            _ if !seen.is_alive(&target.host) => TargetState::Gone,
            _ => TargetState::GoingBack,
        };
    }
    match (rollout.activated(seen, target), rollout.prepared(seen, target)) {
        (Standing::There, _) => TargetState::Live,
        (Standing::Failed(failure), _) | (_, Standing::Failed(failure)) => {
            TargetState::Failed { reason: failure.reason.clone() }
        }
        _ if !seen.is_alive(&target.host) => TargetState::Gone,
        (_, Standing::There) => TargetState::Prepared,
        _ => TargetState::Preparing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_nobody_is_missing_the_controller_is_waited_for() {
        let told = |missing: Few, there| {
            let left = Duration::from_secs(60);
            WaitingOn::Targets { state: "prepared".to_owned(), there, of: 3, missing, left }.to_string()
        };
        let rest = "targets prepared), for another 1 min";
        assert_eq!(told(Few::default(), 3), format!("the controller's next look (3 of 3 {rest}"));
        assert_eq!(told(Few::new(["web-1".to_owned()], 0), 2), format!("web-1 (2 of 3 {rest}"));
    }
}
