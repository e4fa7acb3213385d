//! `footplate top`: how requests go, live.
//!
//! Invariants: a frame is a function of what the controller told and of the terminal's size; a line keeps its place while the
//! apps are the same; without a terminal there are only plain lines.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use footplate_core::moment::Moment;
use footplate_core::name::{AppName, EnvironmentName};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::screen::Screen;
use super::signal::stop_on_signal;
use super::{Operator, traffic, when};
use crate::api::AppTraffic;
use crate::clock;
use crate::config::duration;
use crate::failure::{Exit, Failure, printable_line};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// The width of each column but the first and the last.
const WIDTHS: [usize; 7] = [7, 7, 7, 6, 7, 8, 8];

/// Show requests, errors and times of each version, live
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate top                  every app with endpoints, redrawn every second; q ends it
  footplate top shop             one app
  footplate top --once           once, then end
  footplate top --json | jq .    an object a second, for programs

Columns: the share of the requests that a release should get, and gets; requests a second; attempts that failed (5xx or no
answer, before anything is tried again) a second and of all; times until the answer began; endpoints. `?` is what no router
tells, `-` what there was none of.")]
pub struct TopArgs {
    /// App [default: all]
    app: Option<AppName>,
    /// Environment [default: all]
    #[arg(long, short, value_name = "NAME")]
    environment: Option<EnvironmentName>,
    /// Show it once and end
    #[arg(long)]
    once: bool,
    /// Over how long it is counted, at most 60s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    over: Duration,
}

/// What the controller told at one moment.
#[derive(Debug, Serialize)]
struct Frame {
    at: Moment,
    apps: Vec<AppTraffic>,
    /// Why it is old.
    #[serde(skip)]
    stale: Option<String>,
}

/// Shows how requests go until somebody ends it.
pub async fn top(operator: &Operator, args: &TopArgs) -> Result<(), Failure> {
    let mut frame = look(operator, args).await?;
    if args.once {
        return written(&if operator.ui.is_json() { json(&frame) } else { joined(&frame.whole()) });
    }
    let stop = stop_on_signal();
    let screen = match io::stdout().is_terminal() && !operator.ui.is_json() {
        true => Some(Screen::open(&stop).map_err(|error| unwritable(&error))?),
        false => None,
    };
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    while !stop.is_cancelled() {
        match &screen {
            Some(screen) => {
                let (width, height) = Screen::size();
                screen.draw(&frame.fitted(width, height)).map_err(|error| unwritable(&error))?;
            }
            None if operator.ui.is_json() => written(&json(&frame))?,
            None => written(&joined(&frame.plain()))?,
        }
        tokio::select! {
            () = stop.cancelled() => break,
            _ = beat.tick() => (),
        }
        // What is shown stays while nobody answers, and says so.
        match next(operator, args, &stop).await {
            Some(Ok(fresh)) => frame = fresh,
            Some(Err(failure)) if screen.is_some() => frame.stale = Some(failure.gist().to_owned()),
            Some(Err(failure)) => return Err(failure),
            None => break,
        }
    }
    Ok(())
}

async fn next(
    operator: &Operator,
    args: &TopArgs,
    stop: &CancellationToken,
) -> Option<Result<Frame, Failure>> {
    tokio::select! {
        () = stop.cancelled() => None,
        looked = look(operator, args) => Some(looked),
    }
}

async fn look(operator: &Operator, args: &TopArgs) -> Result<Frame, Failure> {
    let what = "cannot read the traffic";
    let told = operator.client()?.traffic(None, args.over).await;
    let mut apps = told.map_err(|error| operator.failed(what, error))?;
    apps.retain(|app| {
        args.app.as_ref().is_none_or(|name| *name == app.path.app)
            && args.environment.as_ref().is_none_or(|name| *name == app.path.environment)
    });
    match &args.app {
        Some(app) if apps.is_empty() => {
            Err(Failure::new(Exit::Refused, format!("cannot show the traffic of `{app}`"))
                .because_of("no service of it with an address is up")
                .next(format!("see what runs with `footplate status {app}`")))
        }
        _ => Ok(Frame { at: clock::now(), apps, stale: None }),
    }
}

impl Frame {
    /// Returns all lines, however many and long.
    fn whole(&self) -> Vec<String> {
        let mut lines = vec![self.title(), String::new(), self.line(&traffic::HEADING.map(str::to_owned))];
        if self.apps.is_empty() {
            lines.push("no service with an address is up".to_owned());
        }
        for app in &self.apps {
            let state = app.rollout.as_ref().map(|rollout| format!(": {rollout}")).unwrap_or_default();
            lines.push(printable_line(&format!("{} in {}{state}", app.path.app, app.path.environment)));
            let closed = app.gate.as_ref().map(|gate| printable_line(&format!("  gate closed: {gate}")));
            lines.extend(closed);
            lines.extend(traffic::rows(app).iter().map(|row| self.line(row)));
            lines.extend(traffic::silence(app).map(|silence| format!("  {silence}")));
        }
        lines
    }

    /// Returns the lines of a screen of this size: what does not fit is cut, and said.
    fn fitted(&self, width: usize, height: usize) -> Vec<String> {
        let mut lines = self.whole();
        if lines.len() > height {
            let more = lines.len() - height + 1;
            lines.truncate(height - 1);
            lines.push(format!("… {more} more lines: name an app, or make the window taller"));
        }
        lines.into_iter().map(|line| cut(&line, width)).collect()
    }

    /// Returns a line for each release that says everything, for those who read without a screen.
    fn plain(&self) -> Vec<String> {
        let stamp = when::stamp(self.at);
        let mut lines = Vec::new();
        for app in &self.apps {
            for row in traffic::rows(app) {
                let columns = traffic::HEADING.iter().skip(1).zip(&row[1..]);
                let columns = columns
                    .map(|(name, value)| format!("{}={}", name.to_lowercase(), value.replace(' ', "")));
                let columns: Vec<String> = columns.collect();
                lines.push(format!("{stamp} {} {} {}", app.path, row[0], columns.join(" ")));
            }
            lines.extend(traffic::silence(app).map(|silence| format!("{stamp} {} {silence}", app.path)));
        }
        lines
    }

    fn title(&self) -> String {
        let over = self.apps.iter().filter_map(traffic::over).max();
        let over = over.map(|over| format!(", {over}")).unwrap_or_default();
        let stale = self.stale.as_ref().map(|why| format!(" ({why}; asking again)")).unwrap_or_default();
        format!("footplate top{over}, {}{stale}", when::stamp(self.at))
    }

    /// Lays one row out: the name to the left, numbers to the right, each at its place.
    fn line(&self, row: &[String; 9]) -> String {
        let names = self.apps.iter().flat_map(traffic::rows).map(|row| row[0].chars().count());
        let width = names.max().unwrap_or_default().max(18);
        let mut line = format!("  {:width$}", row[0]);
        for (value, width) in row[1..8].iter().zip(WIDTHS) {
            line.push_str(&format!(" {value:>width$}"));
        }
        format!("{line}  {}", row[8])
    }
}

/// Cuts a line to a width, and shows that it was cut.
fn cut(line: &str, width: usize) -> String {
    match line.chars().count() > width {
        true => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => line.to_owned(),
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn json(frame: &Frame) -> String {
    format!("{}\n", serde_json::to_string(frame).expect("answers have text keys only"))
}

/// Writes to stdout. A reader that has seen enough ends the command.
fn written(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| unwritable(&error)),
    }
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "cannot write what was read").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{NOW, traffic, unknown_traffic};

    fn frame() -> Frame {
        let mut moving = traffic();
        moving.rollout = Some("rollout 7 to 2, step 2 of 4, watching: 5% of the requests to `2`".to_owned());
        let mut other = unknown_traffic();
        other.path.app = "search".parse().expect("a name");
        Frame { at: NOW, apps: vec![moving, other], stale: None }
    }

    #[test]
    fn a_frame_has_a_line_for_each_release_at_its_place() {
        insta::assert_snapshot!(joined(&frame().whole()));
        let places = |frame: &Frame| -> Vec<Option<usize>> {
            frame.whole().iter().map(|line| line.find("ready").or_else(|| line.find("ENDPOINTS"))).collect()
        };
        let mut later = frame();
        let measured = later.apps[0].groups[0].releases[0].measured.as_mut().expect("it tells");
        (measured.requests_per_second, measured.p99_us) = (98_765.0, None);
        assert!(places(&frame()).iter().zip(places(&later)).all(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => one.abs_diff(other) <= 2,
            _ => true,
        }));
    }

    #[test]
    fn a_small_terminal_gets_what_fits_and_is_told_so() {
        for (width, height) in [(80, 24), (40, 6), (12, 3), (1, 1)] {
            let lines = frame().fitted(width, height);
            assert!(lines.len() <= height, "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
        }
        insta::assert_snapshot!(joined(&frame().fitted(60, 6)));
    }

    #[test]
    fn without_a_terminal_each_release_is_a_line() {
        insta::assert_snapshot!(joined(&frame().plain()));
    }

    #[test]
    fn an_old_frame_says_so() {
        let stale = Some("cannot reach the controller at http://127.0.0.1:7701".to_owned());
        let title = Frame { stale, ..frame() }.title();
        assert!(
            title.ends_with("(cannot reach the controller at http://127.0.0.1:7701; asking again)"),
            "{title}"
        );
    }
}
