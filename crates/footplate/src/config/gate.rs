//! `[gate]` in `footplate.toml`: what halts an app's gate, and when nothing is deployed.

use std::collections::BTreeSet;

use footplate_core::gate::{Days, ENTRIES_MAX, Halt, TimeOfDay, Weekday, Window};

use super::table::{Found, Table};
use crate::freeze;

/// What one `[gate]` table says; what it does not say is as it is one storey higher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Which deployments halt it.
    pub halt: Option<Halt>,
    /// When nothing is deployed. An environment's windows stand beside the app's.
    pub freezes: Vec<Window>,
}

impl Gate {
    /// Returns what an environment says over what the app says.
    pub fn over(&self, app: &Gate) -> Gate {
        let own = |window: &&Window| !self.freezes.iter().any(|other| other.name == window.name);
        let inherited = app.freezes.iter().filter(own).cloned();
        Gate {
            halt: self.halt.or(app.halt),
            freezes: self.freezes.iter().cloned().chain(inherited).collect(),
        }
    }
}

/// Reads the table.
pub fn read(table: Option<Table>) -> Gate {
    let Some(mut table) = table else { return Gate::default() };
    let words = [("users", Halt::Users), ("always", Halt::Always), ("never", Halt::Never)];
    let halt = table.choice("halt", &words);
    let windows = table.named_tables("freeze");
    if windows.len() > ENTRIES_MAX {
        let right = format!("{ENTRIES_MAX} are the most");
        table.mistake(table.span(), "too many freeze windows", right);
    }
    let freezes = windows.into_iter().filter_map(|(name, window)| read_window(name, window)).collect();
    table.finish();
    Gate { halt, freezes }
}

fn read_window(name: Found<String>, mut table: Table) -> Option<Window> {
    let days = read_days(&mut table);
    let from = table.parsed("from").unwrap_or(TimeOfDay::MIDNIGHT);
    let to = table.parsed("to").unwrap_or(TimeOfDay::END);
    let zone = table.parsed("zone");
    let reason = table.text("reason").map(|found| found.value);
    for (key, right) in [
        ("zone", "say by whose clocks: zone = \"Europe/Berlin\""),
        ("reason", "say why: reason = \"nobody is there\""),
    ] {
        if !table.has(key) {
            table.mistake(name.span.clone(), format!("`{}.{key}` is missing", name.value), right);
        }
    }
    if let Some(zone) = zone.as_ref().filter(|zone| !freeze::knows(zone)) {
        let what = format!("no time zone is called `{zone}`");
        table.mistake(table.span(), what, "name one as IANA does, such as \"Europe/Berlin\"");
    }
    if let Some(Days::Dates { first, last }) = &days
        && (last, to) <= (first, from)
    {
        table.mistake(table.span(), "the window ends before it begins", "put the first day first");
    }
    let parsed = match name.value.parse() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let error: footplate_core::name::InvalidName = error;
            table.mistake(name.span, "this is no window's name", error.to_string());
            None
        }
    };
    table.finish();
    Some(Window { name: parsed?, days: days?, from, to, zone: zone?, reason: reason? })
}

fn read_days(table: &mut Table) -> Option<Days> {
    let (days, dates) = (table.texts("days"), table.texts("dates"));
    match (days, dates) {
        (Some(days), None) if !days.is_empty() => {
            let days: Option<BTreeSet<Weekday>> =
                days.iter().map(|day| parsed(table, day)).collect::<Vec<_>>().into_iter().collect();
            days.map(Days::Days)
        }
        (None, Some(dates)) if dates.len() == 2 => {
            let (first, last) = (parsed(table, &dates[0]), parsed(table, &dates[1]));
            Some(Days::Dates { first: first?, last: last? })
        }
        _ => {
            let right = "say one of days = [\"saturday\", \"sunday\"] and dates = [\"FIRST\", \"LAST\"]";
            table.mistake(table.span(), "a freeze window has days of the week or two dates", right);
            None
        }
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(table: &Table, found: &Found<String>) -> Option<T> {
    let wrong = |error: T::Err| table.mistake(found.span.clone(), "this is no day", error.to_string());
    found.value.parse().map_err(wrong).ok()
}
