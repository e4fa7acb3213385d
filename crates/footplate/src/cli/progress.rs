//! Shows a rollout while it runs: one line a host, bars above twenty, plain lines without a terminal.
//!
//! Invariants: only stderr; what it shows is a function of the status alone ([`View`]), and no text of a host breaks or
//! repaints a line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use footplate_core::moment::{Moment, in_words};
use footplate_core::name::Target;
use footplate_core::rollout::Phase;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Ui;
use super::state::stage_word;
use super::when::stopwatch;
use crate::api::{AppStatus, RolloutStatus, Stage, TargetStatus};
use crate::failure::printable_line;

/// Above so many targets there are bars instead of lines.
const LINES_MAX: usize = 20;

/// What is shown of a rollout at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// "shop in production, rollout 7 to 1.4.2".
    pub title: String,
    /// Whether it goes in steps.
    pub goes_in_steps: bool,
    /// Where it is when it goes in steps: the core's words.
    pub step: Option<String>,
    /// What it waits for, or how it ended: the core's sentence.
    pub sentence: String,
    /// How long it will wait, seen from the controller.
    pub left: Option<Duration>,
    /// Whether it is over; the command itself says how.
    pub ended: bool,
    /// What each target does.
    pub targets: BTreeMap<Target, String>,
    /// How many have the release ready.
    pub prepared: usize,
    /// How many run it.
    pub live: usize,
}

impl View {
    /// Returns what there is to show of a rollout and its app, as they were at this moment of the controller's clock.
    pub fn of(app: &AppStatus, rollout: &RolloutStatus, at: Moment) -> Self {
        let record = &rollout.record;
        let back = matches!(record.phase, Phase::TurningBack { .. });
        let goal = |target: &TargetStatus| {
            let release = if back { record.from_of(&target.target.group) } else { Some(&record.to) };
            release.map(|release| release.id.clone())
        };
        let taking_part = || app.targets.iter().filter(|target| record.requires(&target.target));
        let runs_goal = |target: &TargetStatus| target.live == goal(target);
        let has_goal = |target: &TargetStatus| {
            runs_goal(target) || goal(target).is_some_and(|goal| target.prepared.contains(&goal))
        };
        Self {
            title: printable_line(&super::watch::title(rollout)),
            goes_in_steps: record.goes_in_steps(),
            step: rollout.step.as_deref().map(printable_line),
            sentence: printable_line(&rollout.sentence),
            left: rollout.until.map(|until| until.since(at)),
            ended: rollout.ended,
            targets: taking_part().map(|target| (target.target.clone(), word(target, rollout))).collect(),
            prepared: taking_part().filter(|target| has_goal(target)).count(),
            live: taking_part().filter(|target| runs_goal(target)).count(),
        }
    }

    /// Returns the lines that are new since `before`: one for all targets of which the same is new, or their number when
    /// there are many.
    pub fn news(&self, before: Option<&View>) -> Vec<String> {
        let mut lines = Vec::new();
        if before.is_none() {
            lines.push(self.title.clone());
        }
        if self.targets.len() > LINES_MAX {
            let counts = |view: &View| (view.prepared, view.live);
            if before.map(counts) != Some(counts(self)) {
                lines.push(format!(
                    "{} of {} prepared, {} live",
                    self.prepared,
                    self.targets.len(),
                    self.live
                ));
            }
        } else {
            let known = |target: &Target| before.and_then(|before| before.targets.get(target));
            // At the end all are steady, which the last sentence says better.
            let steady = stage_word(Stage::Steady);
            let failed = stage_word(Stage::Failed);
            // Of a rollout in steps its steps are told, and what fails.
            let is_told =
                |word: &String| *word != steady && (!self.goes_in_steps || word.starts_with(failed));
            let changed = self.targets.iter().filter(|(_, word)| is_told(word));
            let mut alike: BTreeMap<&String, Vec<String>> = BTreeMap::new();
            for (target, word) in changed.filter(|(target, word)| known(target) != Some(*word)) {
                alike.entry(word).or_default().push(target.to_string());
            }
            lines.extend(alike.into_iter().map(|(word, targets)| format!("{} {word}", targets.join(", "))));
        }
        let step = |view: &View| view.step.clone();
        let is_next = self.step.is_some() && before.is_none_or(|before| step(before) != step(self));
        if is_next && !self.ended {
            lines.extend(step(self));
        }
        let is_news = before.is_none_or(|before| subject(&before.sentence) != subject(&self.sentence));
        // What a step that begins waits for stands in it.
        if is_news && !is_next && !self.ended {
            lines.push(self.sentence.clone());
        }
        lines
    }
}

/// Returns a sentence without the time that is left: a clock that ticks is no news.
fn subject(sentence: &str) -> &str {
    sentence.rsplit_once(", for another ").map_or(sentence, |(subject, _)| subject)
}

/// What a rollout waits for, with a clock that ticks between two looks at it.
#[derive(Clone, Debug)]
struct Wait {
    sentence: String,
    until: Option<Instant>,
}

impl Wait {
    fn text(&self, now: Instant) -> String {
        let subject = subject(&self.sentence);
        let most = if self.sentence.ends_with(" at most") { " at most" } else { "" };
        match self.until.filter(|_| subject.len() < self.sentence.len()) {
            None => self.sentence.clone(),
            Some(until) => {
                let left = Duration::from_secs(until.saturating_duration_since(now).as_secs());
                format!("{subject}, for another {}{most}", in_words(left))
            }
        }
    }
}

/// Where a target is, in one word, and why when it failed: also when that is over and the old release runs steadily.
fn word(target: &TargetStatus, rollout: &RolloutStatus) -> String {
    let failure = target.failed.get(&rollout.record.to.id);
    match failure.filter(|_| rollout.ended || target.stage == Stage::Failed) {
        Some(failure) => format!("{}: {}", stage_word(Stage::Failed), printable_line(&failure.reason)),
        None => stage_word(target.stage).to_owned(),
    }
}

/// Draws views as they come.
pub struct Progress {
    ui: Ui,
    begun: Instant,
    last: Option<View>,
    drawing: Option<Drawing>,
}

impl Progress {
    /// Begins to show a rollout.
    pub fn new(ui: Ui) -> Self {
        let drawing = (ui.is_terminal() && !ui.is_json()).then(Drawing::new);
        Self { ui, begun: Instant::now(), last: None, drawing }
    }

    /// Shows the newest state, as it was at this moment of the controller's clock.
    pub fn update(&mut self, app: &AppStatus, rollout: &RolloutStatus, at: Moment) {
        let view = View::of(app, rollout, at);
        match &mut self.drawing {
            Some(drawing) => drawing.draw(&view),
            None => {
                let elapsed = stopwatch(self.begun.elapsed());
                for line in view.news(self.last.as_ref()) {
                    self.ui.say(format!("{elapsed} {line}"));
                }
            }
        }
        self.last = Some(view);
    }

    /// Says something beside the drawing.
    pub fn say(&self, text: &str) {
        match &self.drawing {
            Some(drawing) => drawing.all.suspend(|| self.ui.say(text)),
            None => self.ui.say(text),
        }
    }

    /// Leaves the last state standing and returns how long it took.
    pub fn finish(self) -> Duration {
        if let Some(drawing) = self.drawing {
            drawing.leave();
        }
        self.begun.elapsed()
    }
}

/// The lines on a terminal that are drawn over.
struct Drawing {
    all: MultiProgress,
    heading: ProgressBar,
    wait: Arc<Mutex<Wait>>,
    lines: BTreeMap<Target, ProgressBar>,
    bars: Option<[ProgressBar; 2]>,
}

impl Drawing {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let heading = all.add(ProgressBar::new_spinner());
        let wait = Arc::new(Mutex::new(Wait { sentence: String::new(), until: None }));
        let ticking = Arc::clone(&wait);
        let write = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let text = ticking.lock().unwrap_or_else(PoisonError::into_inner).text(Instant::now());
            out.write_str(&text).expect("a line in memory takes everything");
        };
        heading
            .set_style(style("{spinner} {prefix}  {elapsed_precise}{msg}\n  {wait}").with_key("wait", write));
        heading.enable_steady_tick(Duration::from_millis(200));
        Self { all, heading, wait, lines: BTreeMap::new(), bars: None }
    }

    fn draw(&mut self, view: &View) {
        self.heading.set_prefix(view.title.clone());
        self.heading.set_message(view.step.as_ref().map(|step| format!("\n  {step}")).unwrap_or_default());
        let until = view.left.map(|left| Instant::now() + left);
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner) =
            Wait { sentence: view.sentence.clone(), until };
        if view.targets.len() > LINES_MAX {
            self.draw_bars(view);
        } else {
            self.draw_lines(view);
        }
    }

    fn draw_lines(&mut self, view: &View) {
        let width = view.targets.keys().map(|target| target.to_string().len()).max().unwrap_or(0);
        for (target, word) in &view.targets {
            let line = self.lines.entry(target.clone()).or_insert_with(|| {
                let line = self.all.add(ProgressBar::new_spinner());
                line.set_style(style("  {msg}"));
                line
            });
            line.set_message(format!("{:width$}  {word}", target.to_string()));
            line.tick();
        }
    }

    fn draw_bars(&mut self, view: &View) {
        let all = &self.all;
        let bars = self.bars.get_or_insert_with(|| {
            ["prepared", "live"].map(|name| {
                let bar = all.add(ProgressBar::new(0));
                bar.set_style(style("  {prefix:8} [{bar:40}] {pos} of {len}"));
                bar.set_prefix(name);
                bar
            })
        });
        for (bar, count) in bars.iter().zip([view.prepared, view.live]) {
            bar.set_length(view.targets.len() as u64);
            bar.set_position(count as u64);
        }
    }

    fn leave(self) {
        self.heading.finish_and_clear();
        let bars = self.bars.into_iter().flatten();
        self.lines.into_values().chain(bars).for_each(|line| line.abandon());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates here are constant and valid")
}

#[cfg(test)]
mod tests {
    use footplate_core::target::Failure;

    use super::*;
    use crate::cli::fixture::{NOW, app, failed_prepare, rollout, target};

    fn view(targets: Vec<TargetStatus>, sentence: &str) -> View {
        let rollout = rollout(&targets, sentence);
        View::of(&app(targets, Some(rollout.clone())), &rollout, NOW)
    }

    #[test]
    fn without_a_terminal_each_target_is_named_when_it_changes() {
        let waits = "waiting for web-1 and web-2 (0 of 2 targets prepared), for another 10 min";
        let first = view(
            vec![
                target("web-1", "1", &["1"], Stage::Preparing),
                target("web-2", "1", &["1"], Stage::Preparing),
            ],
            waits,
        );
        assert_eq!(
            first.news(None),
            ["shop in production, rollout 7 to 2", "web-1/files, web-2/files preparing", waits]
        );
        let mut failed = target("web-2", "1", &["1"], Stage::Failed);
        failed.failed.insert("2".parse().expect("a release"), failed_prepare());
        let second = view(
            vec![target("web-1", "1", &["1", "2"], Stage::Prepared), failed],
            "waiting for web-1 and web-2 (0 of 2 targets prepared), for another 9 min 59 s",
        );
        assert_eq!(
            second.news(Some(&first)),
            ["web-2/files failed: the prepare hook ended with status 1", "web-1/files prepared"],
            "a clock that ticks is no news"
        );
        assert_eq!((second.prepared, second.live), (1, 0));
    }

    #[test]
    fn a_host_repaints_and_forges_no_line() {
        let mut lying = target("web-1", "1", &["1"], Stage::Failed);
        let reason = "\x1b[2J\x1b[1;1Hhook failed\nweb-2/files live\u{9b}31m".to_owned();
        lying.failed.insert("2".parse().expect("a release"), Failure { reason, ..failed_prepare() });
        let view = view(vec![lying], "\x1b]0;all is well\x07web-1 failed");
        let lines = view.news(None);
        let shown = lines.iter().chain(view.targets.values()).chain([&view.sentence]);
        assert!(shown.into_iter().all(|line| !line.contains(char::is_control)), "{lines:?}");
        assert!(lines[1].contains("hook failed"), "{lines:?}");
    }

    #[test]
    fn a_step_is_told_once_and_its_clock_ticks() {
        let targets = || vec![target("web-1", "1", &["1", "2"], Stage::Prepared)];
        let at =
            |step: &str, sentence: &str| View { step: Some(step.to_owned()), ..view(targets(), sentence) };
        let first = at("step 1 of 2, starting: `2` on 1 of 2 hosts", "waiting for web-1, for another 9 s");
        let second = at("step 1 of 2, starting: `2` on 1 of 2 hosts", "waiting for web-1, for another 8 s");
        let third =
            at("step 1 of 2, watching: `2` on 1 of 2 hosts", "waiting for nothing bad, for another 8 s");
        assert_eq!(first.news(None)[2..], [first.step.clone().unwrap_or_default()]);
        assert_eq!(second.news(Some(&first)), Vec::<String>::new());
        assert_eq!(third.news(Some(&second)), [third.step.clone().unwrap_or_default()]);
        let now = Instant::now();
        let wait = |sentence: &str| {
            let until = Some(now + Duration::from_secs(61));
            Wait { sentence: sentence.to_owned(), until }.text(now + Duration::from_secs(2))
        };
        assert_eq!(wait("waiting for web-1, for another 9 s"), "waiting for web-1, for another 59 s");
        assert_eq!(
            wait("waiting for it, for another 9 s at most"),
            "waiting for it, for another 59 s at most"
        );
        assert_eq!(wait("`shop` runs `2`"), "`shop` runs `2`");
    }

    #[test]
    fn above_twenty_targets_they_are_counted() {
        let targets = |prepared: usize| {
            let state = |number| {
                if number < prepared {
                    (["1", "2"].as_slice(), Stage::Prepared)
                } else {
                    (["1"].as_slice(), Stage::Preparing)
                }
            };
            (0..100)
                .map(|number| target(&format!("web-{number}"), "1", state(number).0, state(number).1))
                .collect()
        };
        let first = view(targets(0), "x");
        let second = view(targets(60), "x");
        assert_eq!(second.news(Some(&first)), ["60 of 100 prepared, 0 live"]);
    }
}
