//! `footplate gate`: see it, open it, lock it, freeze it.

use std::fmt;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use footplate_core::gate::{Closure, Date, Days, Halted, Opened, Test, TimeOfDay, Weekday, Window, ZoneName};
use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppPath, WindowName};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Operator;
use super::app::AppArgs;
use super::when::{ago, stamp};
use crate::api::{By, GateChange, GateOrder, GateStatus};
use crate::config::duration;
use crate::failure::{Exit, Failure};
use crate::{clock, freeze};

/// Show the gate of an app, which lets deployments begin; open, lock or freeze it
///
/// When a deployment that users had is taken back, the gate is halted: nothing is deployed but what is marked as the fix
/// (`footplate deploy --fix`) until somebody says why it happened. Rollbacks always pass.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  footplate gate shop                  why it is closed, and what leads on
  footplate gate shop --check          exit code 0 when it is open, 3 when it is closed
  footplate gate open shop             answer why it happened
  footplate gate lock shop --for 2h --reason \"the sale begins\""
)]
pub struct GateArgs {
    #[command(subcommand)]
    command: Option<GateCommand>,
    #[command(flatten)]
    app: AppArgs,
    /// Exit with code 3 when it is closed
    #[arg(long)]
    check: bool,
}

/// What is done to a gate.
#[derive(Subcommand, Debug)]
enum GateCommand {
    /// End a halt by saying why it happened and which test shows it
    ///
    /// On a terminal the questions come one after the other: why it happened, why that did, and so on, five at most.
    #[command(after_help = "Examples:
  footplate gate open shop
  footplate gate open shop --why \"the basket was empty\" --why \"nobody tried an old session\" --test tests/basket.rs
  footplate gate open shop --why \"the disk of web-3 broke\" --no-test \"because disks break\"")]
    Open(OpenArgs),
    /// Keep everybody else's deployments out for a while
    #[command(after_help = "Examples:
  footplate gate lock shop --for 2h --reason \"the sale begins\"
  footplate gate lock shop --until \"2026-12-01 18:00\" --reason \"the auditors are here\"")]
    Lock(LockArgs),
    /// Take a lock off
    #[command(after_help = "Examples:
  footplate gate unlock shop                one's own
  footplate gate unlock shop --owner ada")]
    Unlock(UnlockArgs),
    /// Set a freeze window: times in which nothing is deployed
    ///
    /// `[gate.freeze.NAME]` in footplate.toml does the same for good.
    #[command(after_help = "Examples:
  footplate gate freeze shop --name weekend --days saturday,sunday --reason \"nobody is there\"
  footplate gate freeze shop --name holidays --dates 2026-12-24,2027-01-01 --zone Europe/Berlin --reason \"holidays\"")]
    Freeze(FreezeArgs),
    /// End a freeze window that was set by hand
    #[command(after_help = "Examples:\n  footplate gate unfreeze shop --name weekend")]
    Unfreeze(UnfreezeArgs),
}

#[derive(Args, Debug)]
struct OpenArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Why it happened; again: why that did; at most five times
    #[arg(long = "why", value_name = "TEXT")]
    whys: Vec<String>,
    /// Where the test is that fails for what happened: an address or a path
    #[arg(long, value_name = "WHERE", conflicts_with = "no_test")]
    test: Option<String>,
    /// Why no test is possible
    #[arg(long, value_name = "TEXT")]
    no_test: Option<String>,
}

#[derive(Args, Debug)]
struct LockArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long, such as 2h
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, required_unless_present = "until")]
    length: Option<Duration>,
    /// Until when by this machine's clock, such as "2026-12-01 18:00"
    #[arg(long, value_name = "WHEN", value_parser = local, conflicts_with = "length")]
    until: Option<Moment>,
}

#[derive(Args, Debug)]
struct UnlockArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Whose lock [default: one's own]
    #[arg(long, value_name = "NAME")]
    owner: Option<Actor>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Args, Debug)]
struct FreezeArgs {
    #[command(flatten)]
    app: AppArgs,
    /// What it is called
    #[arg(long, value_name = "NAME")]
    name: WindowName,
    /// Every week on these days, such as saturday,sunday
    #[arg(long, value_name = "DAYS", value_delimiter = ',', required_unless_present = "dates")]
    days: Vec<Weekday>,
    /// Once, from the first day to the last, such as 2026-12-24,2027-01-01
    #[arg(long, value_name = "FIRST,LAST", value_delimiter = ',', num_args = 1.., conflicts_with = "days")]
    dates: Vec<Date>,
    /// From which time of day on
    #[arg(long, value_name = "TIME", default_value = "00:00")]
    from: TimeOfDay,
    /// Until which time of day; of the next day when that is not after `--from`
    #[arg(long, value_name = "TIME", default_value = "24:00")]
    to: TimeOfDay,
    /// By the clocks of which time zone, such as Europe/Berlin [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    zone: Option<ZoneName>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Args, Debug)]
struct UnfreezeArgs {
    #[command(flatten)]
    app: AppArgs,
    /// What it is called
    #[arg(long, value_name = "NAME")]
    name: WindowName,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Shows a gate or gives it an order.
pub async fn gate(operator: &Operator, args: &GateArgs) -> Result<(), Failure> {
    match &args.command {
        None => show(operator, args).await,
        Some(GateCommand::Open(args)) => open(operator, args).await,
        Some(GateCommand::Lock(args)) => {
            let until = args.until.or(args.length.map(|length| clock::now() + length));
            let until = until.expect("clap demands one of the two");
            let change = GateChange::Lock { until };
            order(operator, &args.app.path()?, change, operator.by(Some(&args.reason))?).await
        }
        Some(GateCommand::Unlock(args)) => {
            let change = GateChange::Unlock { owner: args.owner.clone() };
            order(operator, &args.app.path()?, change, operator.by(args.reason.as_deref())?).await
        }
        Some(GateCommand::Freeze(args)) => {
            let change = GateChange::Freeze { window: window(args)? };
            order(operator, &args.app.path()?, change, operator.by(None)?).await
        }
        Some(GateCommand::Unfreeze(args)) => {
            let change = GateChange::Unfreeze { name: args.name.clone() };
            order(operator, &args.app.path()?, change, operator.by(args.reason.as_deref())?).await
        }
    }
}

async fn show(operator: &Operator, args: &GateArgs) -> Result<(), Failure> {
    let path = args.app.path()?;
    let status = read(operator, &path).await?;
    let closed = status.sentences.join("; ");
    let is_closed = status.is_closed;
    operator.ui.show(&Shown(status))?;
    if args.check && is_closed {
        let what = format!("the gate of `{path}` is closed");
        return Err(Failure::new(Exit::Refused, what).because_of(closed).next("see what leads on above"));
    }
    Ok(())
}

async fn read(operator: &Operator, path: &AppPath) -> Result<GateStatus, Failure> {
    let told = operator.client()?.gate(path).await;
    told.map_err(|error| operator.failed(&format!("cannot show the gate of `{path}`"), error))
}

async fn order(operator: &Operator, path: &AppPath, change: GateChange, by: By) -> Result<(), Failure> {
    let what = format!("cannot change the gate of `{path}`");
    let order = GateOrder { path: path.clone(), change, by };
    let status = operator.client()?.change_gate(&order).await;
    operator.ui.show(&Shown(status.map_err(|error| operator.failed(&what, error))?))
}

async fn open(operator: &Operator, args: &OpenArgs) -> Result<(), Failure> {
    let path = args.app.path()?;
    let given = match (&args.test, &args.no_test) {
        (Some(test), _) => Some(Test::Written(test.clone())),
        (None, Some(why)) => Some(Test::Impossible(why.trim_start_matches("because ").to_owned())),
        (None, None) => None,
    };
    let mut of = None;
    let (whys, test) = match (args.whys.is_empty(), given) {
        (false, Some(test)) => (args.whys.clone(), test),
        (_, given) if std::io::stdin().is_terminal() => {
            let status = read(operator, &path).await?;
            if let Some(halted) = &status.gate.halted {
                operator.ui.say(told(&path, halted, status.at));
                of = Some(halted.rollout);
            }
            ask(operator, &args.whys, given)?
        }
        (whys_missing, _) => {
            let (because, next) = match whys_missing {
                true => (
                    "nobody has said yet why it happened",
                    "say it with `--why \"…\"`, repeated for each why and because",
                ),
                false => (
                    "nobody has said yet which test shows it",
                    "name it with `--test URL-or-path`, or say `--no-test \"because …\"`",
                ),
            };
            let what = format!("cannot open the gate of `{path}`");
            return Err(Failure::new(Exit::Usage, what).because_of(because).next(next));
        }
    };
    order(operator, &path, GateChange::Open { whys, test, of }, operator.by(None)?).await
}

/// Asks on the terminal for what was not given.
fn ask(operator: &Operator, given: &[String], test: Option<Test>) -> Result<(Vec<String>, Test), Failure> {
    const QUESTIONS: [&str; 5] =
        ["Why did it happen?", "Why did that?", "Why did that?", "Why did that?", "Why did that?"];
    let mut whys = given.to_vec();
    for question in QUESTIONS.iter().filter(|_| given.is_empty()) {
        let hint = if whys.is_empty() { "" } else { " (empty when that is the cause)" };
        let answer = answer(operator, &format!("{question}{hint} "))?;
        match answer.is_empty() {
            true if whys.is_empty() => continue,
            true => break,
            false => whys.push(answer),
        }
    }
    let test = match test {
        Some(test) => test,
        None => match answer(operator, "Where is the test that fails for it (empty when there is none)? ")? {
            none if none.is_empty() => Test::Impossible(answer(operator, "Why is no test possible? ")?),
            place => Test::Written(place),
        },
    };
    Ok((whys, test))
}

fn answer(operator: &Operator, question: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, "cannot ask on the terminal")
            .because(&error)
            .next("give `--why` and `--test`")
    };
    operator.ui.say("");
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}

fn window(args: &FreezeArgs) -> Result<Window, Failure> {
    let days = match args.dates.as_slice() {
        [] => Days::Days(args.days.iter().copied().collect()),
        [first, last] if (last, args.to) > (first, args.from) => Days::Dates { first: *first, last: *last },
        _ => {
            return Err(Failure::new(Exit::Usage, "cannot tell which days are meant")
                .because_of("`--dates` takes the first day and the last, in this order")
                .next("write `--dates 2026-12-24,2027-01-01`"));
        }
    };
    Ok(Window {
        name: args.name.clone(),
        days,
        from: args.from,
        to: args.to,
        zone: args.zone.clone().unwrap_or_else(freeze::zone_here),
        reason: args.reason.clone(),
    })
}

/// Parses a moment by this machine's clock.
fn local(text: &str) -> Result<Moment, String> {
    let expected = || "expected a day and a time, such as \"2026-12-01 18:00\"".to_owned();
    let local: DateTime = text.parse().map_err(|_| expected())?;
    let stamp = TimeZone::system().to_timestamp(local).map_err(|_| expected())?;
    u64::try_from(stamp.as_millisecond()).map(Moment::from_millis).map_err(|_| expected())
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(GateStatus);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GateStatus { path, at, is_closed, closures, windows, gate, waiting, .. } = &self.0;
        let state = if *is_closed { "closed" } else { "open" };
        writeln!(f, "gate of {} in {}: {state}", path.app, path.environment)?;
        for closure in closures {
            match closure {
                Closure::Halted(halted) => write!(f, "{}", told(path, halted, *at))?,
                Closure::Locked(lock) => writeln!(
                    f,
                    "  {}\n    next: wait until {}, ask {}, or `footplate gate unlock {} --owner '{}'`",
                    closure.sentence(*at),
                    stamp(lock.until),
                    lock.owner,
                    path.app,
                    lock.owner
                )?,
                Closure::Frozen(frozen) => {
                    writeln!(f, "  {}\n    next: wait until {}", closure.sentence(*at), stamp(frozen.until))?;
                }
            }
        }
        for window in windows {
            writeln!(f, "  window of footplate.toml: {window}")?;
        }
        for freeze in &gate.freezes {
            writeln!(f, "  window set by {} {}: {}", freeze.owner, ago(*at, freeze.since), freeze.window)?;
        }
        if let Some(waiting) = waiting {
            writeln!(f, "  {}; {} ordered it {}", waiting.sentence, waiting.actor, ago(*at, waiting.since))?;
        }
        if let Some(Opened { halted, opening }) = &gate.opened {
            let Halted { rollout, release, .. } = halted;
            let (when, by) = (ago(*at, opening.at), &opening.by);
            writeln!(f, "  opened {when} by {by} after rollout {rollout} to {release}: {opening}")?;
        }
        Ok(())
    }
}

/// Renders why a gate is halted, with the last lines that were printed and the commands that lead on.
fn told(path: &AppPath, halted: &Halted, at: Moment) -> String {
    let sentence = Closure::Halted(halted.clone()).sentence(at);
    let lines = halted.output.lines().map(|line| format!("    | {line}\n")).collect::<String>();
    let (evidence, open) = (halted.evidence(path), halted.way_open(path));
    format!(
        "  {sentence}\n{lines}    evidence: `{evidence}`\n    next: `{open}`, or bring the fix with `footplate deploy --fix`\n"
    )
}
