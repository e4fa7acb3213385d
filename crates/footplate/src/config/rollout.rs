//! `[rollout]` in `footplate.toml`: how an app's hosts are moved.

use std::time::Duration;

use footplate_core::rollout::{
    During, OnFailedActivation, OnVanished, Pace, Policy, Portion, Strategy, StrategyWord, batch_default,
    ramp_default,
};
use footplate_core::target::{AcceptanceHook, Trial};
use footplate_core::traffic::Share;

use super::table::{Table, TextOrTable};

/// How long the acceptance hook may take, when nobody says.
const ACCEPTANCE_DEADLINE: Duration = Duration::from_secs(60);

/// Reads the table; what it does not say is as usual.
pub fn read(table: Option<Table>) -> Policy {
    let mut policy = Policy::default();
    let Some(mut table) = table else { return policy };
    if table.has("on_unknown") {
        table.mistake(table.span(), "`rollout.on_unknown` is a rule of the judge", "write it in [judge]");
    }
    table.planned(&["approvals"]);
    let failed = [("rollback", OnFailedActivation::Rollback), ("keep", OnFailedActivation::Keep)];
    let vanished = [("fail", OnVanished::Fail), ("go_on", OnVanished::GoOn)];
    policy.strategy = read_strategy(&mut table);
    policy.pace = read_pace(&mut table);
    set(&mut policy.nodes_min, table.count("nodes"));
    set(&mut policy.prepare_deadline, table.duration("prepare_deadline"));
    set(&mut policy.activate_deadline, table.duration("activate_deadline"));
    set(&mut policy.hold, table.flag("hold"));
    set(&mut policy.hold_deadline, table.duration("hold_deadline"));
    set(&mut policy.on_failed_activation, table.choice("on_failed_activation", &failed));
    set(&mut policy.on_vanished, table.choice("on_vanished", &vanished));
    let during = [("refuse", During::Refuse), ("wait", During::Wait), ("replace", During::Replace)];
    set(&mut policy.during, table.choice("during", &during));
    policy.acceptance = read_acceptance(&mut table);
    policy.pace.accept = policy.acceptance.is_some();
    table.finish();
    policy
}

fn read_acceptance(table: &mut Table) -> Option<AcceptanceHook> {
    let hook = |trial| AcceptanceHook { trial, deadline: ACCEPTANCE_DEADLINE, group: None };
    let mut long = match table.text_or_table("acceptance")? {
        TextOrTable::Text(command) => return Some(hook(Trial::Command { command: command.value })),
        TextOrTable::Table(long) => long,
    };
    let (command, path, status) = (long.text("command"), long.text("path"), long.count("status"));
    let (deadline, group) = (long.duration("deadline"), long.parsed("group"));
    if let Some(path) = path.as_ref().filter(|path| !is_path(&path.value)) {
        long.mistake(path.span.clone(), "this is no path", "begin it with a slash: \"/ready\"");
    }
    let status = status.map(|status| u16::try_from(status).ok().filter(|status| (200..600).contains(status)));
    if status == Some(None) {
        long.mistake(long.span(), "`rollout.acceptance.status` is none", "write a status from 200 to 599");
    }
    if status.is_some() && path.is_none() {
        long.mistake(long.span(), "only a request has a status", "take `status` out, or name a path");
    }
    let trial = match (command, path) {
        (Some(command), None) => Some(Trial::Command { command: command.value }),
        (None, Some(path)) => {
            Some(Trial::Request { path: path.value, status: status.flatten().unwrap_or(200) })
        }
        _ => {
            long.mistake(long.span(), "the acceptance hook tries one thing", "say one of command and path");
            None
        }
    };
    long.finish();
    Some(AcceptanceHook { deadline: deadline.unwrap_or(ACCEPTANCE_DEADLINE), group, ..hook(trial?) })
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && c != '#')
}

fn read_pace(table: &mut Table) -> Pace {
    let mut pace = Pace::default();
    set(&mut pace.step_deadline, table.duration("step_deadline"));
    set(&mut pace.watch, table.duration("watch"));
    set(&mut pace.soak, table.duration("soak"));
    set(&mut pace.failures_max, table.count("failures"));
    set(&mut pace.crashes_max, table.count("crashes"));
    set(&mut pace.alone, table.flag("alone"));
    set(&mut pace.hold_steps, table.flag("hold_steps"));
    pace.surge_max = table.parsed_or_count("max_surge");
    pace.unavailable_max = table.parsed_or_count("max_unavailable");
    pace
}

fn read_strategy(table: &mut Table) -> Strategy {
    let words = [
        ("barrier", StrategyWord::Barrier),
        ("rolling", StrategyWord::Rolling),
        ("canary", StrategyWord::Canary),
        ("blue_green", StrategyWord::BlueGreen),
    ];
    let word = table.choice("strategy", &words).unwrap_or(StrategyWord::Barrier);
    let batch: Option<Portion> = table.parsed_or_count("batch");
    let ramp = read_ramp(table);
    match word {
        StrategyWord::Barrier => Strategy::Barrier,
        StrategyWord::Rolling => Strategy::Rolling { batch: batch.unwrap_or_else(batch_default) },
        StrategyWord::Canary => Strategy::Canary { ramp, batch: batch.unwrap_or_else(batch_default) },
        StrategyWord::BlueGreen => Strategy::BlueGreen,
    }
}

fn read_ramp(table: &mut Table) -> Vec<Share> {
    let Some(found) = table.texts("ramp") else {
        return ramp_default();
    };
    let mut ramp: Vec<Share> = Vec::new();
    for text in found {
        match text.value.parse::<Share>() {
            Err(error) => table.mistake(text.span, error.to_string(), "write percent, such as \"5%\""),
            Ok(share) if ramp.last().is_some_and(|before| *before >= share) || share == Share::NONE => {
                let right = "write shares that grow, such as [\"1%\", \"10%\", \"50%\"]";
                table.mistake(text.span, format!("{share} is not more than the share before it"), right);
            }
            Ok(share) => ramp.push(share),
        }
    }
    ramp
}

fn set<T>(rule: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *rule = given;
    }
}
