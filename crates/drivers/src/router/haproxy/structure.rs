//! Puts the files of a layout in place, and has HAProxy load them where it could not follow otherwise.

use std::io;
use std::time::{Duration, Instant};

use super::configuration::{Configuration, render};
use super::extension::Extension;
use super::files::Memory;
use super::layout::Layout;
use super::master::Processes;
use super::{Haproxy, Refusal, Standing, program};
use crate::blocking;
use crate::router::{Router, RouterError};

/// How long a new process may take to be in charge after a reload or a start.
const LOAD_PATIENCE: Duration = Duration::from_secs(20);
/// How long a master that refuses is taken for one that replaces itself, as it does when somebody else reloads it.
const REPLACE_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked meanwhile.
const LOAD_POLL: Duration = Duration::from_millis(20);
/// How long a structure that was refused is not tried again.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(10);

impl Haproxy {
    /// Puts a layout in force as far as only files and a reload can; returns it without what went on the occasion.
    ///
    /// The administrator's files as they are now are tried first, then as HAProxy took them last: a mistake in them holds
    /// up no rollout that needs nothing new.
    pub(super) async fn settle(
        &self,
        standing: &mut Standing,
        layout: Layout,
        log_port: u16,
    ) -> Result<Layout, RouterError> {
        let running = self.running().await?;
        let taken = standing.memory.as_ref().filter(|memory| memory.is_taken);
        let taken = taken.map(|memory| memory.extension.clone());
        let extend = self.settings.extend.clone();
        let extension = blocking(move || Extension::read(extend.as_deref())).await;
        let (mut attempts, mut refusal) = match extension {
            Ok(fresh) => (vec![fresh], None),
            Err(error) => (Vec::new(), Some(crate::chain(&error))),
        };
        attempts.extend(taken);
        attempts.dedup();
        for extension in attempts {
            let memory = Memory { layout: layout.clone(), is_taken: true, extension, log_port };
            match self.try_out(standing, memory, running.as_deref()).await? {
                Ok(layout) => {
                    standing.complain(refusal, &self.describe());
                    return Ok(layout);
                }
                Err(said) => refusal = refusal.or(Some(said)),
            }
        }
        Err(self.refused(refusal.unwrap_or_default()))
    }

    /// Returns the structure that HAProxy runs with; nothing when it does not run.
    async fn running(&self) -> Result<Option<String>, RouterError> {
        let deadline = Instant::now() + REPLACE_PATIENCE;
        loop {
            match self.workers().await {
                Ok((current, _)) => return Ok(Some(current.structure)),
                Err(RouterError::Silent { source, .. })
                    if is_replacing(&source) && Instant::now() < deadline =>
                {
                    tokio::time::sleep(LOAD_POLL).await;
                }
                Err(RouterError::Silent { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the layout once it is in force as far as the structure goes, or why HAProxy does not take it.
    async fn try_out(
        &self,
        standing: &mut Standing,
        mut memory: Memory,
        running: Option<&str>,
    ) -> Result<Result<Layout, String>, RouterError> {
        let before = standing.memory.as_ref().map(|memory| memory.layout.clone()).unwrap_or_default();
        let configuration = render(&self.settings, &memory);
        if running == Some(configuration.structure.as_str()) {
            self.files.put(&memory, &self.bridge(&memory, &before), &configuration).await?;
        } else {
            memory.layout.prune();
            let configuration = render(&self.settings, &memory);
            if let Err(said) = self.restructure(standing, &memory, &before, &configuration).await? {
                return Ok(Err(said));
            }
        }
        let layout = memory.layout.clone();
        standing.memory = Some(memory);
        Ok(Ok(layout))
    }

    /// Returns what stands in place while the shares change.
    fn bridge(&self, memory: &Memory, before: &Layout) -> Configuration {
        render(&self.settings, &Memory { layout: memory.layout.bridge(before), ..memory.clone() })
    }

    async fn restructure(
        &self,
        standing: &mut Standing,
        memory: &Memory,
        before: &Layout,
        configuration: &Configuration,
    ) -> Result<Result<(), String>, RouterError> {
        if let Some(said) = standing.refused_lately(&configuration.structure) {
            return Ok(Err(said));
        }
        let mut outcome = match self.files.stands(configuration).await? {
            true => Ok(()),
            false => program::check(&self.settings, &self.files.propose(configuration).await?).await?,
        };
        if outcome.is_ok() {
            let before = self.files.put(memory, &self.bridge(memory, before), configuration).await?;
            outcome = self.load(&configuration.structure).await?;
            if outcome.is_err() {
                self.files.put_back(before).await?;
            }
        }
        if let Err(said) = &outcome {
            let (structure, said) = (configuration.structure.clone(), said.clone());
            standing.refusal = Some(Refusal { structure, since: Instant::now(), said });
        }
        Ok(outcome)
    }

    /// Has the file that is in place loaded, by a reload or a start, and waits until its structure is in force.
    async fn load(&self, structure: &str) -> Result<Result<(), String>, RouterError> {
        let before = match self.master.processes().await {
            Ok(before) => {
                tracing::info!("{} loads its configuration anew", self.describe());
                self.master.reload().await.map_err(|error| self.silent(error))?;
                before
            }
            Err(error) if !self.settings.starts => return Err(self.silent(error)),
            Err(_) => {
                tracing::info!("{} is started", self.describe());
                if let Err(said) = program::start(&self.settings).await? {
                    return Ok(Err(said));
                }
                Processes::default()
            }
        };
        let deadline = Instant::now() + LOAD_PATIENCE;
        while Instant::now() < deadline {
            // A master that replaces itself refuses for a moment; it is asked again.
            if let Ok(now) = self.master.processes().await
                && let Some(outcome) = self.judge(&before, &now, structure).await?
            {
                return Ok(outcome);
            }
            tokio::time::sleep(LOAD_POLL).await;
        }
        Ok(Err(format!("it did not run with the new configuration in {LOAD_PATIENCE:?}; its log says why")))
    }

    /// Tells how loading went, once that can be told.
    async fn judge(
        &self,
        before: &Processes,
        now: &Processes,
        structure: &str,
    ) -> Result<Option<Result<(), String>>, RouterError> {
        if now.failed_reloads > before.failed_reloads {
            let said = "it could not begin with a configuration that its own check took; its log says why";
            return Ok(Some(Err(said.to_owned())));
        }
        let Some(process) = now.current.filter(|process| Some(*process) != before.current) else {
            return Ok(None);
        };
        Ok(match self.look(process).await?.map(|worker| worker.structure) {
            Some(found) if found == structure => Some(Ok(())),
            Some(found) if found.is_empty() => {
                let file = self.settings.configuration_file();
                Some(Err(format!(
                    "it runs without {}; add `-f` and that file to its command line",
                    file.display()
                )))
            }
            _ => None,
        })
    }
}

/// Tells whether a master's socket is there with nobody behind it, or whoever was is just gone: it may be replacing itself.
fn is_replacing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

impl Standing {
    fn refused_lately(&self, structure: &str) -> Option<String> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.structure == structure)?;
        (refusal.since.elapsed() < REFUSAL_PATIENCE).then(|| refusal.said.clone())
    }

    /// Says once that HAProxy goes on without what the administrator's files say now.
    fn complain(&mut self, refusal: Option<String>, router: &str) {
        if let Some(said) = &refusal
            && self.complaint.as_ref() != Some(said)
        {
            tracing::warn!(
                "{router} goes on with its files as they were\n  because: {said}\n  next: mend them; they are read again by themselves"
            );
        }
        self.complaint = refusal;
    }
}
