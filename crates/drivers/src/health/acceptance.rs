//! Tries the acceptance hook against one service: a command, or a request to its endpoint.
//!
//! Invariants: it ends within its deadline, with all its processes; what it printed is kept, bounded; when it is stopped
//! nothing is said of the service.

use std::time::{Duration, Instant};

use footplate_core::target::{AcceptanceHook, Trial};
use tokio_util::sync::CancellationToken;

use super::{Asker, Place, SAID_CHARS_MAX, last_words, refused};
use crate::shell::{self, End, Script};

/// The most of an answer's body that is kept.
const BODY_BYTES_MAX: usize = 4096;

/// How a trial went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What it printed, or what was answered.
    pub output: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Asker {
    /// Tries a hook against the service in `place`, whose endpoint is at `address` (`ADDRESS:PORT`). `step` counts the steps that
    /// it went through before. Nothing when `stop` fired: then all its processes are gone.
    pub async fn accept(
        &self,
        hook: &AcceptanceHook,
        address: Option<&str>,
        step: u32,
        place: &Place,
        stop: &CancellationToken,
    ) -> Option<Tried> {
        let begun = Instant::now();
        let tried = match (&hook.trial, address) {
            (Trial::Command { command }, _) => {
                run(&script(command, hook.deadline, address, step, place), command, stop).await
            }
            (Trial::Request { .. }, None) => Some(Tried::default()),
            (Trial::Request { path, status }, Some(address)) => {
                let url = format!("http://{address}{path}");
                let asked = self.request(&url, path, *status);
                tokio::select! {
                    asked = tokio::time::timeout(hook.deadline, asked) => Some(asked.unwrap_or_else(|_| late(path, hook.deadline))),
                    () = stop.cancelled() => None,
                }
            }
        };
        tried.map(|tried| Tried { elapsed: begun.elapsed(), ..tried })
    }

    async fn request(&self, url: &str, path: &str, expected: u16) -> Tried {
        let mut answer = match self.client.get(url).send().await {
            Ok(answer) => answer,
            Err(error) => return failed(refused(&error), String::new()),
        };
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        let mut cut = None;
        while body.len() < BODY_BYTES_MAX {
            match answer.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => {
                    cut = Some(crate::chain(&error));
                    break;
                }
            }
        }
        body.truncate(BODY_BYTES_MAX);
        let output = String::from_utf8_lossy(&body).into_owned();
        match cut {
            _ if status != expected => {
                failed(format!("it answered {status} to {path}, and {expected} was expected"), output)
            }
            Some(why) => failed(format!("its answer to {path} broke off: {why}"), output),
            None => Tried { output, ..Tried::default() },
        }
    }
}

fn script(command: &str, deadline: Duration, address: Option<&str>, step: u32, place: &Place) -> Script {
    let mut script = Script::new("/bin/sh", &place.directory).arguments(["-c", command]).deadline(deadline);
    script.environment.clone_from(&place.environment);
    script.user.clone_from(&place.user);
    script.grace = Duration::ZERO;
    if let Some((host, port)) = address.and_then(|address| address.rsplit_once(':')) {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        script = script.variable("ADDRESS", host).variable("PORT", port);
    }
    script.variable("STEP", step.to_string())
}

async fn run(script: &Script, command: &str, stop: &CancellationToken) -> Option<Tried> {
    let finished = match shell::run(script, stop).await {
        Ok(finished) => finished,
        Err(error) => return Some(failed(crate::chain(&error), String::new())),
    };
    match finished.end {
        End::Stopped => None,
        End::Exited(0) => Some(Tried { output: finished.output, ..Tried::default() }),
        end => {
            let last = finished.output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let said = last_words(last);
            let colon = if said.is_empty() { "" } else { ": " };
            let why = format!("`{}` failed: {end}{colon}{said}", last_words(command));
            Some(failed(why, finished.output))
        }
    }
}

fn failed(why: String, output: String) -> Tried {
    Tried { failure: Some(why), output, ..Tried::default() }
}

fn late(path: &str, deadline: Duration) -> Tried {
    let path: String = path.chars().take(SAID_CHARS_MAX).collect();
    failed(format!("it did not answer to {path} within {} ms", deadline.as_millis()), String::new())
}
