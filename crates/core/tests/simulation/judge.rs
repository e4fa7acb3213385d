//! A judge: what it finds of a rollout follows from when that began, and comes after a while or never.

use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::rollout::{Judged, Phase, Rollout};
use footplate_core::verdict::Standing;

/// Returns what the judge says of the latest rollout; nothing before users have anything of its release.
pub fn judged(rollout: Option<&Rollout>, now: Moment) -> Option<Judged> {
    let rollout = rollout.filter(|rollout| rollout.judging().is_some() && rollout.lets_in())?;
    if !matches!(rollout.phase, Phase::Stepping { .. }) {
        return None;
    }
    // Mixed well enough that neighbours differ.
    let lot = (rollout.begun_at.as_millis() ^ rollout.number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let found_at = rollout.begun_at + Duration::from_secs(10 + lot / 8 % 60);
    let standing = match lot % 8 {
        _ if now < found_at => Standing::Unknown,
        0..=2 => Standing::NotWorse,
        3 | 4 => Standing::Worse,
        _ => Standing::Unknown,
    };
    let is_doubtful = standing == Standing::Unknown && lot % 8 == 7;
    let sentence = format!("the lot is {}", lot % 8);
    Some(Judged { rollout: rollout.number, at: now, standing, is_doubtful, sentence })
}
