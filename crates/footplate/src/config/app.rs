//! `footplate.toml`: what a repository says about its app. `docs/reference/footplate.toml` shows every key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::artifact::ArtifactRef;
use footplate_core::gate::{Halt, Window};
use footplate_core::name::{AppName, EnvironmentName, GroupName, InvalidName, Version};
use footplate_core::release::{Hook, Hooks, Routes, Scripts, Variables, Workload};
use footplate_core::retention::Retention;
use footplate_core::rollout::{Delivery, Policy};
use footplate_core::selector::Selector;
use footplate_core::verdict::Judging;

use super::gate::{self, Gate};
use super::kpi::Judge;
use super::mistake::Mistakes;
use super::reach;
use super::rollout;
use super::service;
use super::table::{self, Findings, Table, TextOrTable};
use crate::api::Push;

/// The file's name at the root of the app's folder.
pub const FILE_NAME: &str = "footplate.toml";

/// The process group of an app without services.
pub const FILES: &str = "files";
/// The environment of an app that names none.
const ENVIRONMENT_DEFAULT: &str = "production";
const HOOK_DEADLINE: Duration = Duration::from_secs(600);
/// How long a build may take unless told otherwise.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(1800);

/// A whole `footplate.toml`, valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppConfig {
    /// The app's name.
    pub app: AppName,
    /// How a commit becomes files; none when the folder itself is shipped.
    pub build: Option<Build>,
    /// What a target does with a release.
    pub workload: Workload,
    /// The rules of a rollout.
    pub policy: Policy,
    /// How many releases stay.
    pub retain: Retention,
    /// Where it runs; at least one.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

/// `[build]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Runs in a clean worktree of the commit; none when `output` is in the repository as it is.
    pub command: Option<String>,
    /// The folder that becomes the artifact, below the repository's root; `.` for all of it.
    pub output: String,
    /// How long the command may run.
    pub deadline: Duration,
}

/// `[environments.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Which hosts run the app: `role=web`.
    pub hosts: Selector,
    /// Plain variables of its services, hooks and scripts.
    pub env: Variables,
    /// The requests that its services answer here, when the environment says so.
    pub routes: Routes,
    /// How a new release is judged here; nothing when nobody does.
    pub judging: Option<Judging>,
    /// Which deployments halt the gate here.
    pub halt: Halt,
    /// When nothing is deployed here.
    pub freezes: Vec<Window>,
}

impl AppConfig {
    /// Parses the text of a `footplate.toml`; `path` is how messages name the file.
    pub fn parse(path: &str, text: &str) -> Result<Self, Mistakes> {
        Self::parse_with(path, text, &Findings::default())
    }

    /// Parses like [`AppConfig::parse`] and leaves in `findings` which keys there are.
    pub fn parse_with(path: &str, text: &str, findings: &Findings) -> Result<Self, Mistakes> {
        table::parse(path, text, findings, read)
    }

    /// Returns what the controller is told of a version of this app.
    pub fn push(
        &self,
        version: Version,
        commit: Option<String>,
        summary: Option<String>,
        artifact: Option<ArtifactRef>,
    ) -> Push {
        let delivery = |environment: &Environment| Delivery {
            selector: environment.hosts.clone(),
            groups: self.groups(),
            policy: Policy {
                judging: environment.judging.clone(),
                halt: environment.halt,
                ..self.policy.clone()
            },
            retention: self.retain.clone(),
            freezes: environment.freezes.clone(),
        };
        let environments =
            self.environments.iter().map(|(name, environment)| (name.clone(), delivery(environment)));
        Push {
            app: self.app.clone(),
            version,
            commit,
            summary,
            artifact,
            workload: self.workload.clone(),
            variables: self.variables(),
            routes: self.routes(),
            environments: environments.collect(),
            actor: None,
        }
    }

    /// Returns its process groups: `files` alone when it has no services.
    pub fn groups(&self) -> BTreeSet<GroupName> {
        match &self.workload {
            Workload::Service { services, .. } => services.keys().cloned().collect(),
            Workload::Command(_) | Workload::ReleaseDir(_) => {
                BTreeSet::from([FILES.parse().expect("it is a valid name")])
            }
        }
    }

    fn routes(&self) -> BTreeMap<EnvironmentName, Routes> {
        let given = self.environments.iter().filter(|(_, environment)| !environment.routes.is_empty());
        given.map(|(name, environment)| (name.clone(), environment.routes.clone())).collect()
    }

    fn variables(&self) -> BTreeMap<EnvironmentName, Variables> {
        let given = self.environments.iter().filter(|(_, environment)| !environment.env.is_empty());
        given.map(|(name, environment)| (name.clone(), environment.env.clone())).collect()
    }
}

fn read(root: &mut Table) -> Option<AppConfig> {
    root.planned(&["router", "notify", "settings"]);
    let app = root.parsed("app");
    if !root.has("app") {
        root.mistake(0..0, "`app` is missing", "begin the file with app = \"NAME\"");
    }
    let workload = read_workload(root);
    let workload = with_services(root, workload);
    let build = root.table("build").map(read_build);
    let mut policy = rollout::read(root.table("rollout"));
    if let Workload::Service { services, .. } = &workload {
        policy.pace.drain = services.values().map(|service| service.drain).max().unwrap_or_default();
    }
    check_acceptance(root, &policy, &workload);
    let retain = read_retain(root.table("retain"));
    let judge = Judge::usual(&workload).read(root);
    let gate = gate::read(root.table("gate"));
    let environments = read_environments(root, &workload, &judge, &gate);
    Some(AppConfig { app: app?, build, workload, policy, retain, environments })
}

/// Finds an acceptance hook that would never be tried.
fn check_acceptance(root: &Table, policy: &Policy, workload: &Workload) {
    let Some(hook) = &policy.acceptance else { return };
    let Workload::Service { services, .. } = workload else {
        let right = "take it out; files are judged by their hooks";
        return root.mistake(0..0, "`rollout.acceptance` tries services, and there are none", right);
    };
    if let Some(group) = hook.group.as_ref().filter(|group| !services.contains_key(*group)) {
        let what = format!("`rollout.acceptance.group` names `{group}`, and there is no such service");
        root.mistake(0..0, what, "name a service of this file");
    }
}

fn read_build(mut table: Table) -> Build {
    let build = Build {
        command: table.text("command").map(|found| found.value),
        output: read_output(&mut table).unwrap_or_else(|| ".".to_owned()),
        deadline: table.duration("deadline").unwrap_or(BUILD_DEADLINE),
    };
    table.finish();
    build
}

fn read_output(table: &mut Table) -> Option<String> {
    let found = table.text("output")?;
    let leaves = found.value.starts_with('/') || found.value.split('/').any(|part| part == "..");
    if leaves || found.value.is_empty() {
        table.mistake(
            found.span,
            "`build.output` is not in the repository",
            "expected a folder below its root, such as \"dist/\"",
        );
        return None;
    }
    Some(found.value)
}

fn read_workload(root: &mut Table) -> Workload {
    let hooks = root.table("hooks");
    let command = root.table("command");
    match (hooks, command) {
        (Some(hooks), Some(command)) => {
            let right = "an app is either files with [hooks] or scripts with [command]; take one out";
            command.mistake(command.span(), "`hooks` and `command` exclude each other", right);
            read_scripts(command);
            Workload::ReleaseDir(read_hooks(hooks))
        }
        (None, Some(command)) => {
            if root.has("build") {
                let right = "an app of scripts has no files to build; take [build] or [command] out";
                command.mistake(command.span(), "`build` and `command` exclude each other", right);
            }
            if root.has("service") {
                let right = "an app of scripts starts its own services; take [service] or [command] out";
                command.mistake(command.span(), "`service` and `command` exclude each other", right);
            }
            Workload::Command(read_scripts(command))
        }
        (Some(hooks), None) => Workload::ReleaseDir(read_hooks(hooks)),
        (None, None) => Workload::ReleaseDir(Hooks::default()),
    }
}

/// Makes services of the files, when there are any.
fn with_services(root: &mut Table, workload: Workload) -> Workload {
    let services = service::read_all(root);
    match workload {
        Workload::ReleaseDir(hooks) if !services.is_empty() => Workload::Service { hooks, services },
        _ => workload,
    }
}

fn read_hooks(mut table: Table) -> Hooks {
    table.planned(&["drain", "clean"]);
    let hooks =
        Hooks { prepare: read_hook(&mut table, "prepare"), activated: read_hook(&mut table, "activated") };
    table.finish();
    hooks
}

fn read_hook(table: &mut Table, key: &str) -> Option<Hook> {
    match table.text_or_table(key)? {
        TextOrTable::Text(found) => Some(Hook { command: found.value, deadline: HOOK_DEADLINE }),
        TextOrTable::Table(mut long) => {
            let command = long.text("command");
            if !long.has("command") {
                long.mistake(long.span(), format!("`hooks.{key}.command` is missing"), "say what to run");
            }
            let deadline = long.duration("deadline").unwrap_or(HOOK_DEADLINE);
            long.finish();
            Some(Hook { command: command?.value, deadline })
        }
    }
}

fn read_scripts(mut table: Table) -> Scripts {
    let scripts = Scripts {
        shell: table.choice("shell", &[("bash", "bash"), ("sh", "sh")]).unwrap_or("bash").to_owned(),
        deploy: read_script(&mut table, "deploy"),
        rollout: read_script(&mut table, "rollout"),
        clean: read_script(&mut table, "clean"),
        deadline: table.duration("deadline").unwrap_or(HOOK_DEADLINE),
    };
    table.finish();
    scripts
}

fn read_script(table: &mut Table, key: &str) -> Vec<String> {
    table.texts(key).unwrap_or_default().into_iter().map(|line| line.value).collect()
}

fn read_retain(table: Option<Table>) -> Retention {
    let mut retain = Retention::default();
    let Some(mut table) = table else { return retain };
    retain.keep = table.count("keep").unwrap_or(retain.keep);
    retain.newer_than = table.duration("newer_than");
    table.finish();
    retain
}

fn read_environments(
    root: &mut Table,
    workload: &Workload,
    judge: &Judge,
    gate: &Gate,
) -> BTreeMap<EnvironmentName, Environment> {
    let mut environments = BTreeMap::new();
    if !root.has("environments") {
        let name = ENVIRONMENT_DEFAULT.parse().expect("it is a valid name");
        let judging = judge.clone().finish(root);
        let Gate { halt, freezes } = gate.clone();
        let halt = halt.unwrap_or_default();
        environments.insert(name, Environment { judging, halt, freezes, ..Environment::default() });
    }
    for (name, mut table) in root.named_tables("environments") {
        table.planned(&["approvals"]);
        let routes = reach::read_here(&mut table, workload);
        let env = service::read_env(&mut table);
        let judging = judge.read(&mut table).finish(&table);
        let Gate { halt, freezes } = gate::read(table.table("gate")).over(gate);
        let halt = halt.unwrap_or_default();
        let hosts = table.parsed("hosts").unwrap_or_default();
        if !table.has("hosts") {
            let right = "say which: hosts = \"role=web\", or \"*\" for every host";
            table.mistake(table.span(), format!("`environments.{}.hosts` is missing", name.value), right);
        }
        let parsed: Result<EnvironmentName, InvalidName> = name.value.parse();
        match parsed {
            Ok(parsed) => {
                let environment = Environment { hosts, env, routes, judging, halt, freezes };
                environments.insert(parsed, environment);
            }
            Err(error) => table.mistake(name.span, "this is no environment's name", error.to_string()),
        }
        table.finish();
    }
    environments
}
