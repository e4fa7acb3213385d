//! `[rollout]` in `footplate.toml`: how an app's hosts are moved.

use footplate_core::rollout::{
    OnFailedActivation, OnVanished, Pace, Policy, Portion, Strategy, StrategyWord, batch_default,
    ramp_default,
};
use footplate_core::traffic::Share;

use super::table::Table;

/// Reads the table; what it does not say is as usual.
pub fn read(table: Option<Table>) -> Policy {
    let mut policy = Policy::default();
    let Some(mut table) = table else { return policy };
    table.planned(&["on_unknown", "approvals"]);
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
    table.finish();
    policy
}

fn read_pace(table: &mut Table) -> Pace {
    let mut pace = Pace::default();
    set(&mut pace.step_deadline, table.duration("step_deadline"));
    set(&mut pace.watch, table.duration("watch"));
    set(&mut pace.soak, table.duration("soak"));
    set(&mut pace.failures_max, table.count("failures"));
    set(&mut pace.alone, table.flag("alone"));
    set(&mut pace.hold_steps, table.flag("hold_steps"));
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
