//! Any program that routes by a file of its own, in the manner of confd: the file is rendered from a template, checked by a command,
//! put in place, and loaded by another command.
//!
//! Invariants: a file that its check refuses never takes the place of the one that stands; one that was put in place and
//! could not be loaded gives way to the one before, which is loaded again when it is wanted. What such a program still has in flight nobody says: an endpoint that
//! leaves counts as busy for a fixed time after the load that took it out.

mod context;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use footplate_core::traffic::Pool;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{After, EndpointName, Facts, Router, RouterError};
use crate::disk::{self, DiskError};
use crate::shell::{self, Script};
use crate::{blocking, chain};
pub use settings::Settings;

/// How long a check or a load may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long what was refused is not tried again.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(10);
/// How much work a template may be, in steps of its engine: one that never ends is stopped.
const FUEL: u64 = 50_000_000;

/// A program that routes by a file.
pub struct Template {
    settings: Settings,
    standing: Mutex<Standing>,
}

/// What the driver knows.
#[derive(Default)]
struct Standing {
    /// The text that was loaded last, once that is known.
    loaded: Option<String>,
    /// Since when each endpoint takes no new request.
    left: BTreeMap<EndpointName, Instant>,
    /// The text that was refused last, when, and in what words.
    refusal: Option<(String, Instant, String)>,
}

impl Template {
    /// Makes the driver. Nothing is read yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, standing: Mutex::default() }
    }

    fn refused(&self, said: impl Into<String>) -> RouterError {
        RouterError::Refused { router: self.describe(), said: said.into() }
    }

    async fn render(&self, pools: &[Pool]) -> Result<String, RouterError> {
        let path = self.settings.template.clone();
        let source =
            blocking(move || std::fs::read_to_string(&path).map_err(disk::failed("read", &path))).await?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax());
        environment.set_fuel(Some(FUEL));
        let context = context::of(pools, &self.settings.values).map_err(|said| self.refused(said))?;
        let name = self.settings.template.display().to_string();
        environment
            .render_named_str(&name, &source, Serde(context))
            .map_err(|error| self.refused(format!("its template cannot be rendered: {}", chain(&error))))
    }

    /// Checks a text, puts it in place and has it loaded; returns what was said against it.
    ///
    /// From the moment it is in place until a load succeeds nobody knows what is in force: a command that failed may have
    /// loaded it all the same.
    async fn load(&self, standing: &mut Standing, text: &str) -> Result<Result<(), String>, RouterError> {
        let file = &self.settings.file;
        let candidate = disk::with_suffix(file, ".candidate");
        write(&candidate, text.as_bytes().to_vec(), file).await?;
        if let Some(check) = &self.settings.check
            && let Err(said) = self.run(check, &candidate).await?
        {
            return Ok(Err(format!("its check refuses {}: {said}", candidate.display())));
        }
        let (before, mark) = (read(file).await?, self.mark());
        standing.loaded = None;
        blocking(move || disk::remove_file(&mark)).await?;
        rename(&candidate, file).await?;
        let outcome = self.run(&self.settings.reload, file).await;
        if let (Err(_) | Ok(Err(_)), Some(before)) = (&outcome, before) {
            write(&candidate, before, file).await?;
            rename(&candidate, file).await?;
        }
        Ok(outcome?.map_err(|said| format!("`{}` failed: {said}", self.settings.reload)))
    }

    /// Runs a command of the settings by the shell, with `FILE` naming the file that it is about.
    async fn run(&self, command: &str, file: &Path) -> Result<Result<(), String>, RouterError> {
        let folder = self.settings.file.parent().unwrap_or(Path::new("/"));
        let arguments: [OsString; 2] = ["-c".into(), command.into()];
        let script =
            Script::new("/bin/sh", folder).arguments(arguments).variable("FILE", file).deadline(PATIENCE);
        let finished = shell::run(&script, &CancellationToken::new()).await?;
        let said = finished.output.trim();
        Ok(match finished.succeeded() {
            true => Ok(()),
            false if said.is_empty() => Err(finished.end.to_string()),
            false => Err(said.to_owned()),
        })
    }

    /// The mark of what was loaded outlives the driver: a load that was cut short is done again, and no other.
    fn mark(&self) -> PathBuf {
        disk::with_suffix(&self.settings.file, ".loaded")
    }

    async fn was_loaded(&self, text: &str) -> Result<bool, DiskError> {
        let stands = read(&self.settings.file).await?.is_some_and(|stands| stands == text.as_bytes());
        let marked = read(&self.mark()).await?.is_some_and(|mark| mark == digest(text).as_bytes());
        Ok(stands && marked)
    }
}

#[async_trait]
impl Router for Template {
    fn describe(&self) -> String {
        format!("the router that reads {}", self.settings.file.display())
    }

    async fn follow(&self, pools: &[Pool]) -> Result<(), RouterError> {
        let mut standing = self.standing.lock().await;
        let text = self.render(pools).await?;
        if standing.loaded.is_none() && self.was_loaded(&text).await? {
            standing.loaded = Some(text.clone());
        }
        if standing.loaded.as_ref() != Some(&text) {
            if let Some(said) = standing.refused_lately(&text) {
                return Err(self.refused(said));
            }
            if let Err(said) = self.load(&mut standing, &text).await? {
                standing.refusal = Some((text, Instant::now(), said.clone()));
                return Err(self.refused(said));
            }
            let (mark, bytes) = (self.mark(), digest(&text).into_bytes());
            blocking(move || disk::write_atomically(&mark, &bytes)).await?;
            standing.loaded = Some(text);
        }
        standing.note(pools);
        Ok(())
    }

    /// What leaves is busy until its time is over: the program does not say when it is done.
    async fn in_flight(&self) -> Result<Option<BTreeSet<EndpointName>>, RouterError> {
        let standing = self.standing.lock().await;
        let busy = standing.left.iter().filter(|(_, since)| since.elapsed() < self.settings.drain);
        Ok(Some(busy.map(|(name, _)| name.clone()).collect()))
    }

    /// Nobody counts what such a program does.
    async fn facts(&self, _: &After) -> Result<Option<Facts>, RouterError> {
        Ok(None)
    }
}

impl Standing {
    fn refused_lately(&self, text: &str) -> Option<String> {
        let (refused, since, said) = self.refusal.as_ref()?;
        (refused == text && since.elapsed() < REFUSAL_PATIENCE).then(|| said.clone())
    }

    /// Notes who takes no new request from now on.
    fn note(&mut self, pools: &[Pool]) {
        let members = pools.iter().flat_map(|pool| pool.members.iter().map(move |member| (pool, member)));
        let leaving = members.filter(|(_, member)| member.is_draining).map(|(pool, member)| {
            let (service, endpoint) = member.name(pool);
            EndpointName { service, endpoint }
        });
        let leaving: BTreeSet<EndpointName> = leaving.collect();
        self.left.retain(|name, _| leaving.contains(name));
        for name in leaving {
            self.left.entry(name).or_insert_with(Instant::now);
        }
    }
}

/// A line that holds only a tag leaves none behind, so that a file looks as it would be written by hand.
fn syntax() -> SyntaxConfig {
    let builder = &mut SyntaxConfig::builder();
    builder.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    builder.build().expect("the marks are the usual ones")
}

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a candidate that may be read by whoever may read the file it is for; by everybody when there is none yet.
async fn write(candidate: &Path, bytes: Vec<u8>, file: &Path) -> Result<(), DiskError> {
    let (candidate, file) = (candidate.to_owned(), file.to_owned());
    blocking(move || {
        disk::write_atomically(&candidate, &bytes)?;
        let rights =
            std::fs::metadata(&file).map_or(Permissions::from_mode(0o644), |found| found.permissions());
        std::fs::set_permissions(&candidate, rights).map_err(disk::failed("change the mode of", &candidate))
    })
    .await
}

async fn rename(candidate: &Path, file: &Path) -> Result<(), DiskError> {
    let (candidate, file) = (candidate.to_owned(), file.to_owned());
    blocking(move || {
        std::fs::rename(&candidate, &file).map_err(disk::failed("replace", &file))?;
        disk::sync_folder(file.parent().unwrap_or(Path::new("/")))
    })
    .await
}

async fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    let path = path.to_owned();
    blocking(move || match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk::failed("read", &path)(error)),
    })
    .await
}
