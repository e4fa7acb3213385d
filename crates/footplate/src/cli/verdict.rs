//! `footplate verdict`.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use footplate_core::name::{AppName, AppPath};
use footplate_core::traffic::counts::{FailedRequest, How};
use footplate_core::verdict::Recording;
use footplate_core::verdict::recording::FORMAT;
use serde::Serialize;

use super::Operator;
use super::app::EnvironmentArgs;
use crate::api::JudgedStage;
use crate::evidence::{Sample, Shown, Subject};
use crate::failure::{Exit, Failure};

/// Show what a deployment was judged by, and why: counts, the evidence over time, and the sentence that decided
///
/// The controller keeps what the judge heard; the verdict is computed from that anew, and is the same.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate verdict shop                      the newest that was judged
  footplate verdict shop 7                    deployment 7
  footplate verdict shop 7 --html verdict.html
  footplate verdict shop 7 --recording r.json  for `footplate judge --recording`

Exit codes: 0 whatever was found, 3 no such verdict, 5 no controller.")]
pub struct VerdictArgs {
    /// App
    app: AppName,
    /// Number of the deployment [default: the newest that was judged]
    #[arg(value_name = "DEPLOYMENT")]
    number: Option<u64>,
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Write the evidence as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write what was heard to a file, which `footplate judge --recording` judges again
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Stages(Vec<Shown>);

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, shown) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{shown}")?;
        }
        Ok(())
    }
}

/// Shows what a deployment was judged by.
pub async fn verdict(operator: &Operator, args: &VerdictArgs) -> Result<(), Failure> {
    let path = args.environment.path(args.app.clone());
    let what = format!("cannot show the verdict on `{}` in {}", path.app, path.environment);
    let stages = operator.client()?.verdict(&path, args.number).await;
    let stages = stages.map_err(|error| operator.failed(&what, error))?;
    let mut shown = stages.iter().map(|stage| shown(&path, stage, &what)).collect::<Result<Vec<_>, _>>()?;
    // It ended with the last stage.
    let count = shown.len();
    shown.iter_mut().take(count.saturating_sub(1)).for_each(|shown| shown.subject.ended = None);
    // A page and a file are of what decided: the last stage.
    if let (Some(file), Some(last)) = (&args.html, shown.last()) {
        super::judge::write(file, &last.page())?;
    }
    if let (Some(file), Some(last)) = (&args.recording, stages.last()) {
        let text = serde_json::to_string(&last.recording).expect("a recording has text keys only");
        super::judge::write(file, &(text + "\n"))?;
    }
    operator.ui.show(&Stages(shown))
}

fn shown(path: &AppPath, stage: &JudgedStage, what: &str) -> Result<Shown, Failure> {
    let before = stage.baseline.as_ref().map_or("the release before".to_owned(), ToString::to_string);
    let (when, baseline) = match stage.stage.as_str() {
        "after" => (", with all requests", "what was before".to_owned()),
        _ => ("", before),
    };
    let subject = Subject {
        title: format!("{} in {}, deployment {}{when}", path.app, path.environment, stage.rollout),
        canary: stage.canary.to_string(),
        baseline,
        ended: stage.ended.clone(),
        said_then: None,
    };
    let samples = stage.failed.iter().map(|failed| sample(stage, failed)).collect();
    let replayed = Shown::new(subject.clone(), &stage.recording, samples);
    let mut shown = match (replayed, &stage.verdict) {
        // What the oldest trials heard is forgotten; their verdicts are not.
        (Ok(shown), Some(verdict)) if shown.readings == 0 => Shown { verdict: verdict.clone(), ..shown },
        (Ok(shown), _) => shown,
        (Err(error), Some(verdict)) => {
            tracing::warn!(%error, "what was heard cannot be judged again; this is what was found then");
            let nothing = Recording { readings: Vec::new(), format: FORMAT, ..stage.recording.clone() };
            let shown = Shown::new(subject, &nothing, Vec::new());
            let shown = shown.map_err(|error| Failure::new(Exit::Failed, what).because(&error))?;
            Shown { verdict: verdict.clone(), ..shown }
        }
        (Err(error), None) => return Err(Failure::new(Exit::Failed, what).because(&error)),
    };
    let said_then = stage.verdict.as_ref().map(|verdict| verdict.sentence.clone());
    shown.subject.said_then = said_then.filter(|said| *said != shown.verdict.sentence);
    Ok(shown)
}

fn sample(stage: &JudgedStage, failed: &FailedRequest) -> Sample {
    let end = match failed.how {
        How::Status(status) => status.to_string(),
        How::Fault(fault) => format!("{fault:?}").to_lowercase(),
    };
    Sample {
        at: failed.at,
        is_canarys: failed.release == stage.canary,
        method: failed.method.clone(),
        path: failed.path.clone(),
        end,
        took: failed.time,
    }
}
