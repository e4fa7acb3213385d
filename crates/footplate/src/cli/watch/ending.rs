//! What is said at the end of a rollout that was watched: all of it fits on a screen.

use std::collections::BTreeMap;

use footplate_core::name::ReleaseId;
use footplate_core::rollout::{Few, Outcome, REASON_CHARS_MAX, Rollout};
use footplate_core::target::Verb;

use super::{Ended, Ordered, moved, place, title};
use crate::api::{self, AppStatus, AppTraffic, HostStatus, RolloutStatus, TargetStatus};
use crate::cli::{Operator, when};
use crate::failure::{Exit, Failure, printable_line};

/// How much of a service's output is repeated beside the reason.
const OUTPUT_LINES_MAX: usize = 3;

/// Says how it ended, and fails as it failed. One that was taken back by whom it is told to ends well when nothing is left of it.
pub(super) fn conclude(
    operator: &Operator,
    ended: &Ended,
    traffic: Option<&AppTraffic>,
    is_taken_back: bool,
) -> Result<(), Failure> {
    let record = &ended.rollout.record;
    let exit = exit(&ended.rollout, is_taken_back);
    if operator.ui.is_json() {
        operator.ui.show(&Ordered(ended.rollout.clone()))?;
    }
    if exit == Exit::Done {
        let took = when::stopwatch(ended.elapsed);
        operator.ui.say(format!("{}: {} ({took})", title(&ended.rollout), ended.rollout.sentence));
        let told = match is_taken_back {
            true => aftermath(&ended.app, record, traffic).lines().map(str::to_owned).collect(),
            false => [left_behind(&ended.app, record, &ended.hosts), killed(&ended.app, record)].concat(),
        };
        told.iter().for_each(|line| operator.ui.say(line));
        return Ok(());
    }
    let fault = if is_taken_back { "is not taken back from" } else { "does not run" };
    let what = format!("`{}` in {} {fault} {}", moved(record), record.path.environment, record.to.id);
    let place = place(&record.path);
    let failure = Failure::new(exit, what).because_of(ended.rollout.sentence.clone());
    let told = [outputs(&ended.app, &ended.rollout), aftermath(&ended.app, record, traffic)];
    let told: Vec<String> = told.into_iter().filter(|text| !text.is_empty()).collect();
    let failure = if told.is_empty() { failure } else { failure.details(told.join("\n")) };
    let evidence = match record.judging() {
        Some(_) => format!("`footplate verdict {place}` shows what it was judged by, "),
        None => String::new(),
    };
    Err(failure.next(format!(
        "{evidence}`footplate logs {place}` shows what it printed, `footplate status {place}` what runs; mend it, push it, and deploy again"
    )))
}

pub(super) fn exit(rollout: &RolloutStatus, is_taken_back: bool) -> Exit {
    match rollout.exit_code {
        _ if is_taken_back && rollout.record.outcome().is_some_and(Outcome::is_undone) => Exit::Done,
        Some(0) if !is_taken_back => Exit::Done,
        Some(4) => Exit::Deadline,
        _ => Exit::Failed,
    }
}

/// Lists the targets that run something else all the same, as their hosts were away, or set aside by somebody.
fn left_behind(app: &AppStatus, record: &Rollout, hosts: &[HostStatus]) -> Vec<String> {
    let is_behind = |target: &&TargetStatus| {
        let is_moved = record.groups.contains(&target.target.group) && !record.requires(&target.target);
        is_moved && target.live.as_ref() != Some(&record.to.id)
    };
    let mut alike: BTreeMap<(Option<&ReleaseId>, &str), Vec<String>> = BTreeMap::new();
    for target in app.targets.iter().filter(is_behind) {
        let host = hosts.iter().find(|host| host.host == target.target.host);
        let why = match host.and_then(|host| host.set_aside.as_deref()) {
            Some(set_aside) => set_aside,
            None if !target.alive => "its agent is not alive; it follows when it comes back",
            // It follows now, or is none of the app's any more.
            None => continue,
        };
        alike.entry((target.live.as_ref(), why)).or_default().push(target.target.to_string());
    }
    let line = |((live, why), targets): ((Option<&ReleaseId>, &str), Vec<String>)| {
        let live = live.map_or("nothing".to_owned(), |live| format!("`{live}`"));
        printable_line(&format!("left out: {}, with {live}: {why}", Few::new(targets, 0)))
    };
    alike.into_iter().map(line).collect()
}

/// Lists what a rollout that arrived had to kill.
fn killed(app: &AppStatus, record: &Rollout) -> Vec<String> {
    let killed = api::killed(record, app.targets.iter().map(|target| (&target.target, &target.failed)));
    let place = place(&record.path);
    let next = format!(
        "  next: see its last lines with `footplate logs {place}`; a longer `grace` in its [service.NAME.stop] leaves it more time"
    );
    let lines = killed.iter().map(|sentence| printable_line(sentence));
    lines.chain((!killed.is_empty()).then_some(next)).collect()
}

/// The output of each target that failed the rollout's release; many targets with one story are told once.
fn outputs(app: &AppStatus, rollout: &RolloutStatus) -> String {
    let mut stories: Vec<(String, Vec<String>)> = Vec::new();
    for target in &app.targets {
        let Some(failure) = target.failed.get(&rollout.record.to.id) else { continue };
        // It tells of an earlier rollout to the same release.
        if failure.verb == Verb::Stop && failure.at < rollout.record.begun_at {
            continue;
        }
        // What the sentence says already is not said again.
        let head: String = failure.reason.chars().take(REASON_CHARS_MAX).collect();
        let reason = if rollout.sentence.contains(&head) { "" } else { failure.reason.as_str() };
        let story = format!("{reason}\n{}", failure.output.trim_end()).trim_start().to_owned();
        match stories.iter_mut().find(|(known, _)| *known == story) {
            Some((_, hosts)) => hosts.push(target.target.to_string()),
            None => stories.push((story, vec![target.target.to_string()])),
        }
    }
    if stories.is_empty() {
        // Targets that went back say no more of what failed; the record kept the last lines.
        let output = last_lines(rollout.record.outcome().map_or("", Outcome::output));
        return if output.is_empty() { String::new() } else { format!("its last lines:\n{output}") };
    }
    let told = stories.iter().map(|(story, hosts)| format!("{}:\n{story}", hosts.join(", ")));
    told.collect::<Vec<_>>().join("\n\n")
}

/// Returns as much of what a release printed as leaves room for the rest on a screen.
fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.trim_end().lines().collect();
    lines[lines.len().saturating_sub(OUTPUT_LINES_MAX)..].join("\n")
}

/// Says what was undone, and what users had of the release meanwhile.
pub(super) fn aftermath(app: &AppStatus, record: &Rollout, traffic: Option<&AppTraffic>) -> String {
    let mut told = Vec::new();
    let went_back = matches!(record.outcome(), Some(Outcome::TurnedBack { .. }));
    if let Some(former) = record.former().filter(|_| went_back) {
        // What was new is gone again, and runs nothing.
        let ran = |target: &&TargetStatus| record.from_of(&target.target.group).is_some();
        let taking_part = || app.targets.iter().filter(|target| record.requires(&target.target)).filter(ran);
        let is_back = |target: &&TargetStatus| {
            record.from_of(&target.target.group).map(|from| &from.id) == target.live.as_ref()
        };
        let back = taking_part().filter(is_back).count();
        told.push(format!("undone: {back} of {} targets run {former} again", taking_part().count()));
    }
    if let (true, Some(Outcome::TurnedBack { missing, more, .. })) = (record.joins, record.outcome()) {
        let all = record.required().count();
        let gone = all.saturating_sub(missing.len() + *more as usize);
        told.push(format!("undone: `{}` is gone from {gone} of {all} targets", record.to.id));
    }
    let groups = traffic.iter().flat_map(|traffic| &traffic.groups);
    for group in groups.filter(|group| record.groups.contains(&group.group)) {
        let release = group.releases.iter().find(|release| release.release == record.to.id);
        if let Some(release) = release.filter(|release| release.requests_total > 0) {
            let (requests, errors) = (release.requests_total, release.errors_total);
            told.push(format!(
                "`{}` of {} got {requests} requests, and failed {errors} of them",
                release.release, group.group
            ));
        }
    }
    told.join("\n")
}
