//! `[judge]` and `[kpi.NAME]` in `footplate.toml`, for all environments or for one: how a new release is judged.
//!
//! Invariants: an environment begins with what stands for all of them, a KPI with what it has been so far; whatever comes out has been
//! checked, so that a plan by which nobody could judge is a mistake of the file.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::release::Workload;
use footplate_core::release::service::Kind;
use footplate_core::traffic::Share;
use footplate_core::verdict::kpi::{Bound, Silence, Then, Tolerance};
use footplate_core::verdict::source::{Asked, Command, Http, OF_ROUTER, OfService, Prometheus};
use footplate_core::verdict::{
    Drawn, Factor, Judging, Kpi, KpiName, Measure, Number, OnUnknown, Plan, Source,
};

use super::table::Table;

/// The shortest watch in which anything can be found once a release has all requests.
const AFTER_MIN: Duration = Duration::from_secs(90);

/// What is judged so far: by itself, or by the tables that were read.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    /// Whether any table asks for it.
    is_asked_for: bool,
    /// What a table says of that itself.
    enabled: Option<bool>,
    /// Whether a release has services.
    has_services: bool,
    judging: Judging,
}

/// The kinds of sources as they are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Router,
    Prometheus,
    Http,
    Command,
    Service,
}

/// What a command prints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Events,
    Number,
}

impl Judge {
    /// Returns what judges once a table asks for it: the KPIs of requests, where a release has a port. With a barrier nothing answers
    /// beside it: it is held against what was before.
    pub(super) fn usual(workload: &Workload) -> Self {
        let services = match workload {
            Workload::Service { services, .. } => Some(services),
            Workload::Command(_) | Workload::ReleaseDir(_) => None,
        };
        let mut webs =
            services.into_iter().flatten().filter(|(_, service)| matches!(service.kind, Kind::Web { .. }));
        let by_requests = webs.clone().next().is_some();
        let drawn = match webs.any(|(_, service)| service.sticky.is_some()) {
            true => Drawn::Client,
            false => Drawn::Request,
        };
        let mut judging = Judging::of_requests(drawn);
        if !by_requests {
            judging.plan.kpis.clear();
            judging.sources.clear();
        }
        Self { is_asked_for: false, enabled: None, has_services: services.is_some(), judging }
    }

    /// Reads `[judge]` and `[kpi]` of this table, on top of what is judged so far.
    pub(super) fn read(&self, table: &mut Table) -> Self {
        let mut judge = self.clone();
        if let Some(mut rules) = table.table("judge") {
            judge.is_asked_for = true;
            judge.read_rules(&mut rules);
            rules.finish();
        }
        for (name, mut kpi) in table.named_tables("kpi") {
            judge.is_asked_for = true;
            match name.value.parse::<KpiName>() {
                Ok(parsed) => judge.read_kpi(parsed, &mut kpi),
                Err(error) => kpi.mistake(name.span, "this is no KPI's name", error.to_string()),
            }
            kpi.finish();
        }
        judge
    }

    /// Returns what judges; nothing when nobody does.
    pub(super) fn finish(self, table: &Table) -> Option<Judging> {
        if !self.enabled.unwrap_or(self.is_asked_for) {
            return None;
        }
        if let Some((what, right)) = self.is_in_vain() {
            table.mistake(table.span(), what, right);
            return None;
        }
        if let Err(error) = self.judging.check() {
            table.mistake(table.span(), "nobody could judge by this", error.to_string());
        }
        Some(self.judging)
    }

    /// Returns why nobody would judge although a table asks for it, and what to do.
    fn is_in_vain(&self) -> Option<(String, &'static str)> {
        let what = |why: &str| format!("nobody would judge: {why}");
        if !self.has_services {
            let why = what("files and hooks have nothing that runs");
            return Some((
                why,
                "take the tables [judge] and [kpi] out, or set `enabled` in [judge] to false",
            ));
        }
        let right = "name a KPI in a table [kpi.NAME], or set `enabled` in [judge] to false";
        self.judging.plan.kpis.is_empty().then(|| (what("there is no KPI"), right))
    }

    fn read_rules(&mut self, table: &mut Table) {
        let unknown =
            [("hold", OnUnknown::Hold), ("promote", OnUnknown::Promote), ("rollback", OnUnknown::Rollback)];
        let judging = &mut self.judging;
        self.enabled = table.flag("enabled").or(self.enabled);
        set(&mut judging.on_unknown, table.choice("on_unknown", &unknown));
        set(&mut judging.unknown_max, table.duration("unknown_max"));
        if let Some(after) = table.duration("after") {
            if !after.is_zero() && after < AFTER_MIN {
                let right = "expected \"0s\", or at least \"90s\": it takes fourteen looks of five seconds and more to find anything";
                table.mistake(table.span(), "`after` is too short to find anything", right);
            }
            judging.after = after;
        }
        for (key, part) in [
            ("false_rollback", &mut judging.plan.false_rollback),
            ("false_promotion", &mut judging.plan.false_promotion),
        ] {
            let Some(given) = table.parsed::<Share>(key) else { continue };
            if given == Share::NONE || given > Share::from_millionths(500_000) {
                let right = "expected more than 0% and at most 50%";
                table.mistake(table.span(), format!("`{key}` is {given}"), right);
            } else {
                *part = given;
            }
        }
    }

    fn read_kpi(&mut self, name: KpiName, table: &mut Table) {
        let before = self.judging.plan.kpis.remove(&name).zip(self.judging.sources.remove(&name));
        let enabled = table.flag("enabled").unwrap_or(true);
        let read = read_kpi(&name, table, before);
        if let Some((kpi, source)) = read.filter(|_| enabled) {
            self.judging.plan.kpis.insert(name.clone(), kpi);
            self.judging.sources.insert(name, source);
        }
    }
}

fn read_kpi(name: &KpiName, table: &mut Table, before: Option<(Kpi, Source)>) -> Option<(Kpi, Source)> {
    let (kpi, source) = before.unzip();
    let says = [("events", Says::Events), ("number", Says::Number)];
    let (source, says) = match read_source(name, table, source)? {
        source @ Source::Command(_) => {
            let before = kpi.as_ref().map(|kpi| says_of(&kpi.measure));
            (source, table.choice("says", &says).or(before).unwrap_or(Says::Events))
        }
        source => {
            let says = if source.says_events() == Some(true) { Says::Events } else { Says::Number };
            (source, says)
        }
    };
    let before = kpi.as_ref().map(|kpi| &kpi.measure);
    let measure = match says {
        Says::Events => Measure::Events(read_tolerance(name, table, before)),
        Says::Number => Measure::Number(read_bound(table, &source, before)),
    };
    let usual = Kpi {
        weight: usual_of(name).map_or(1, |kpi| kpi.weight),
        measure: measure.clone(),
        silence: Silence { patience: patience(&source), then: Then::Unknown },
        warm_up: Duration::ZERO,
    };
    let mut kpi = Kpi { measure, ..kpi.unwrap_or(usual) };
    let then = [("unknown", Then::Unknown), ("worse", Then::Worse), ("go_on", Then::GoOn)];
    set(&mut kpi.weight, table.count("weight"));
    set(&mut kpi.silence.patience, table.duration("silence"));
    set(&mut kpi.silence.then, table.choice("on_silence", &then));
    set(&mut kpi.warm_up, table.duration("warm_up"));
    let mut alone = Judging::of_requests(Drawn::Request);
    alone.plan.kpis = BTreeMap::from([(name.clone(), kpi.clone())]);
    alone.sources = BTreeMap::from([(name.clone(), source.clone())]);
    if let Err(error) = alone.check() {
        table.mistake(table.span(), "nobody could judge by this", error.to_string());
        return None;
    }
    Some((kpi, source))
}

fn read_source(name: &KpiName, table: &mut Table, before: Option<Source>) -> Option<Source> {
    let words = [
        ("router", Word::Router),
        ("prometheus", Word::Prometheus),
        ("http", Word::Http),
        ("command", Word::Command),
        ("service", Word::Service),
    ];
    let is_said = table.has("source");
    let said = table.choice("source", &words);
    if is_said && said.is_none() {
        return None;
    }
    let usual = || OF_ROUTER.contains(&name.as_str()).then_some(Word::Router);
    let Some(word) = said.or(before.as_ref().map(word_of)).or_else(usual) else {
        let right = "say where it comes from: source = \"prometheus\", \"http\", \"command\", \"service\" or \"router\"";
        table.mistake(table.span(), format!("`kpi.{name}.source` is missing"), right);
        return None;
    };
    let before = before.filter(|source| word_of(source) == word);
    match (word, before) {
        (Word::Router, _) => Some(Source::Router),
        (Word::Prometheus, before) => {
            let before = match before {
                Some(Source::Prometheus(it)) => Some((it.url, it.ask, it.token)),
                _ => None,
            };
            read_asked(name, table, before)
                .map(|(url, ask, token)| Source::Prometheus(Prometheus { url, ask, token }))
        }
        (Word::Http, before) => {
            let before = match before {
                Some(Source::Http(it)) => Some((it.url, it.ask, it.token)),
                _ => None,
            };
            read_asked(name, table, before).map(|(url, ask, token)| Source::Http(Http { url, ask, token }))
        }
        (Word::Command, before) => read_command(name, table, before),
        (Word::Service, before) => {
            let what = [("restarts", OfService::Restarts), ("memory_slope", OfService::MemorySlope)];
            let told = table.choice("what", &what).map(|what| Source::Service { what });
            if told.is_none() && before.is_none() && !table.has("what") {
                let right = "expected what = \"restarts\" or \"memory_slope\"";
                table.mistake(table.span(), format!("`kpi.{name}.what` is missing"), right);
            }
            told.or(before)
        }
    }
}

/// The address, what is asked, and the token's name.
type AskedAt = (String, Asked, Option<String>);

fn read_asked(name: &KpiName, table: &mut Table, before: Option<AskedAt>) -> Option<AskedAt> {
    let [url, canary, canary_of, baseline, baseline_of, token] =
        ["url", "canary", "canary_of", "baseline", "baseline_of", "token"]
            .map(|key| table.text(key).map(|found| found.value));
    let (url_before, ask_before, token_before) = match before {
        Some((url, ask, token)) => (Some(url), Some(ask), token),
        None => (None, None, None),
    };
    let says_nothing = [&canary, &canary_of, &baseline, &baseline_of].iter().all(|text| text.is_none());
    let ask = match (canary, canary_of, baseline, baseline_of) {
        (Some(canary), None, baseline, None) => Some(Asked::Number { canary, baseline }),
        (Some(canary), Some(canary_of), Some(baseline), Some(baseline_of)) => {
            Some(Asked::Counters { canary, canary_of, baseline, baseline_of })
        }
        _ => ask_before.filter(|_| says_nothing),
    };
    let url = url.or(url_before);
    if ask.is_none() {
        let right = "for a number say `canary`, and `baseline` unless a `limit` judges; for events say all of canary, canary_of, baseline and baseline_of";
        table.mistake(table.span(), format!("`kpi.{name}` does not say what is asked"), right);
    }
    if url.is_none() && !table.has("url") {
        table.mistake(
            table.span(),
            format!("`kpi.{name}.url` is missing"),
            "say whom to ask: url = \"http://…\"",
        );
    }
    Some((url?, ask?, token.or(token_before)))
}

fn read_command(name: &KpiName, table: &mut Table, before: Option<Source>) -> Option<Source> {
    let before = match before {
        Some(Source::Command(it)) => Some(it),
        _ => None,
    };
    let program = table.text("command").map(|found| found.value);
    let arguments: Option<Vec<String>> =
        table.texts("arguments").map(|texts| texts.into_iter().map(|text| text.value).collect());
    let is_other = program.is_some();
    let Some(program) = program.or_else(|| before.as_ref().map(|before| before.name.clone())) else {
        let right =
            "name a program of the folder `kpi_commands` in the controller's file: command = \"orders\"";
        table.mistake(table.span(), format!("`kpi.{name}.command` is missing"), right);
        return None;
    };
    let before = before.filter(|_| !is_other).map(|before| before.arguments);
    Some(Source::Command(Command { name: program, arguments: arguments.or(before).unwrap_or_default() }))
}

/// Reads how often something may happen, beginning with what was so far, or with what is usual for the name.
fn read_tolerance(name: &KpiName, table: &mut Table, before: Option<&Measure>) -> Tolerance {
    let usual = match (before, usual_of(name).map(|kpi| kpi.measure)) {
        (Some(Measure::Events(before)), _) => before.clone(),
        (_, Some(Measure::Events(usual))) => usual,
        _ => match usual_of(&errors()).map(|kpi| kpi.measure) {
            Some(Measure::Events(usual)) => usual,
            _ => unreachable!("errors are events"),
        },
    };
    let (worse_than, worse_above) =
        (table.parsed::<Factor>("worse_than"), table.parsed::<Share>("worse_above"));
    let not_worse_than = table.parsed::<Factor>("not_worse_than");
    let fine_below = table.parsed::<Share>("fine_below");
    let is_relative = worse_than.is_some() || worse_above.is_none();
    // Who takes a release that is three times as bad for good cannot want proof that it is not twice as bad.
    let moved = |factor: Factor| {
        let thousandths = usual.not_worse_than.value() * factor.value() * 1000.0;
        Factor::from_thousandths((thousandths.round() as u32).min(1_000_000))
    };
    Tolerance {
        worse_than: worse_than.or(usual.worse_than.filter(|_| is_relative)),
        worse_above: worse_above.or(usual.worse_above),
        not_worse_than: not_worse_than.or(worse_than.map(moved)).unwrap_or(usual.not_worse_than),
        fine_below: fine_below.or(usual.fine_below.filter(|_| worse_above.is_none())),
        ..usual
    }
}

/// Reads how large a number may be.
fn read_bound(table: &mut Table, source: &Source, before: Option<&Measure>) -> Bound {
    let usual = match (before, source) {
        (Some(Measure::Number(before)), _) => before.clone(),
        (_, Source::Service { what: OfService::Restarts }) => {
            Bound { worse_than: Some(Factor::ONE), limit: None, is_low_bad: false, is_part: false }
        }
        _ => Bound { worse_than: None, limit: None, is_low_bad: false, is_part: false },
    };
    Bound {
        worse_than: table.parsed("worse_than").or(usual.worse_than),
        limit: table.number("limit").and_then(Number::new).or(usual.limit),
        is_low_bad: table.flag("low_is_bad").unwrap_or(usual.is_low_bad),
        is_part: false,
    }
}

fn says_of(measure: &Measure) -> Says {
    match measure {
        Measure::Events(_) => Says::Events,
        Measure::Number(_) => Says::Number,
    }
}

fn word_of(source: &Source) -> Word {
    match source {
        Source::Router => Word::Router,
        Source::Prometheus(_) => Word::Prometheus,
        Source::Http(_) => Word::Http,
        Source::Command(_) => Word::Command,
        Source::Service { .. } => Word::Service,
    }
}

/// For how long a source need say nothing: one that others fill by and by is slower than a router.
fn patience(source: &Source) -> Duration {
    match source {
        Source::Router => Duration::from_secs(10),
        Source::Prometheus(_) | Source::Http(_) | Source::Command(_) | Source::Service { .. } => {
            Duration::from_secs(60)
        }
    }
}

/// Returns what is usual for a KPI of this name.
fn usual_of(name: &KpiName) -> Option<Kpi> {
    Plan::of_requests(Drawn::Request).kpis.remove(name)
}

fn errors() -> KpiName {
    "errors".parse().expect("it is a name")
}

fn set<T>(rule: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *rule = given;
    }
}

#[cfg(test)]
mod tests;
