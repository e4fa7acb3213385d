//! What had to be killed in a rollout, in the words that the history and the command line share.

use std::collections::BTreeMap;

use footplate_core::name::{ReleaseId, Target};
use footplate_core::rollout::{Few, Outcome, Rollout};
use footplate_core::target::{Failure, Verb};

/// Names the services that a rollout stopped and that did not end within their grace, a sentence for each release: what ran
/// before when it arrived, else what it led to. Takes what failed on each target.
pub fn killed<'a>(
    record: &Rollout,
    failed: impl IntoIterator<Item = (&'a Target, &'a BTreeMap<ReleaseId, Failure>)>,
) -> Vec<String> {
    let arrived = record.outcome().is_some_and(Outcome::arrived);
    let mut alike: BTreeMap<(&ReleaseId, &str), (Vec<String>, &Failure)> = BTreeMap::new();
    for (target, failed) in failed.into_iter().filter(|(target, _)| record.groups.contains(&target.group)) {
        let stopped = if arrived { record.from_of(&target.group) } else { Some(&record.to) };
        let Some((id, failure)) = stopped.and_then(|release| failed.get_key_value(&release.id)) else {
            continue;
        };
        // What ran before was started since it failed like that; what was only tried may tell of an earlier rollout.
        if failure.verb == Verb::Stop && (arrived || failure.at >= record.begun_at) {
            let (targets, _) = alike.entry((id, &failure.reason)).or_insert((Vec::new(), failure));
            targets.push(target.to_string());
        }
    }
    let sentence = |((id, reason), (targets, failure)): ((&ReleaseId, &str), (Vec<String>, &Failure))| {
        failure.blame(&Few::new(targets, 0), id, reason)
    };
    alike.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use footplate_core::moment::Moment;
    use footplate_core::rollout::Phase;

    use super::*;
    use crate::api::Stage;
    use crate::cli::fixture::{NOW, failed_prepare, rollout, target};

    fn told(outcome: Outcome, release: &str, at: Moment) -> Vec<String> {
        let mut targets = ["web-1", "web-2"].map(|host| target(host, "2", &["2"], Stage::Steady));
        let mut record = rollout(&targets, "").record;
        record.phase = Phase::Ended { at: NOW, outcome };
        let reason = "it did not end within its grace and was killed".to_owned();
        let failure = Failure { verb: Verb::Stop, reason, at, ..failed_prepare() };
        for target in &mut targets {
            target.failed.insert(release.parse().expect("a release"), failure.clone());
        }
        killed(&record, targets.iter().map(|target| (&target.target, &target.failed)))
    }

    fn failed() -> Outcome {
        Outcome::Failed { why: "it broke".to_owned().into(), deadline: false }
    }

    #[test]
    fn what_was_left_is_named_at_a_good_end_and_what_was_tried_at_a_bad_one() {
        let killed = |id| {
            format!(
                "web-1/files and web-2/files could not stop `{id}`: it did not end within its grace and was killed"
            )
        };
        assert_eq!(told(Outcome::Done, "1", NOW), [killed("1")]);
        assert_eq!(told(failed(), "2", NOW), [killed("2")]);
    }

    #[test]
    fn what_another_rollout_killed_is_not_named() {
        let before = Moment::from_millis(NOW.as_millis() - 60_000);
        assert_eq!(told(failed(), "2", before), Vec::<String>::new());
        assert_eq!(told(Outcome::Done, "0", NOW), Vec::<String>::new());
    }
}
