//! Depro's configuration: JSON files, environment and flags, laid over each other.
//!
//! Invariants: flag over file over environment over default, so that a file that worked for the original works here and
//! a flag is never overruled; later files win field by field and their deployments are appended; names of fields are
//! read without case, unknown ones are ignored, only the first JSON value of a file counts: all as in the original.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::duration;
use super::stop::Stop;
use super::tree::{Node, Prefix};
use crate::secret::Secret;

/// The prefix of `deploy` and `query` when none is given.
const PREFIX: &str = "deploy/versions";
/// How long an agent's question may stay open. Long, because every question costs the store; renewals tell if it lives.
const WAIT: Duration = Duration::from_secs(60);
/// How long a deploy waits for all nodes to have the version.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a deploy waits for all nodes to run it.
const ACTIVATE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a script may run.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(3600);
/// What to do about a flag that cannot be used.
pub const FLAGS: &str = "`--help` after the command lists its flags and shows an example";
/// What to do about a login that cannot be used.
pub const LOGIN: &str = "write it as `user:password`";
/// What to do about a configuration that cannot be used.
const EXAMPLE: &str = "mend the file; `footplate depro agent --help` shows an example";

/// Everything that can be said in a file, in the environment or by flags. Absent and empty mean the same.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Host and port, or URL, of Consul.
    pub server: Option<String>,
    /// For HTTP basic authentication.
    pub username: Option<String>,
    /// For HTTP basic authentication.
    #[serde(deserialize_with = "secret")]
    pub password: Option<Secret>,
    /// Consul's token.
    #[serde(deserialize_with = "secret")]
    pub token: Option<Secret>,
    /// Consul's datacenter.
    pub datacenter: Option<String>,
    /// Where the tree of `deploy` and `query` stands.
    pub prefix: Option<String>,
    /// Go duration. Agent: how long a question stays open. `deploy`: how long to wait for the nodes.
    pub wait: Option<String>,
    /// The agent's name.
    pub name: Option<String>,
    /// At least so many nodes must have the version.
    pub nodes: Option<u32>,
    /// How long `deploy` waits for the nodes to have the version; wins over `wait`.
    pub timeout: Option<String>,
    /// How long `deploy` waits for the nodes to run the version.
    #[serde(rename = "activatetimeout")]
    pub activate_timeout: Option<String>,
    /// What an agent serves.
    pub deployments: Vec<DeploymentSettings>,
}

/// One deployment as a file has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DeploymentSettings {
    id: Option<String>,
    path: Option<String>,
    prefix: Option<String>,
    shell: Option<String>,
    deploy: Option<Vec<String>>,
    rollout: Option<Vec<String>>,
    clean: Option<Vec<String>>,
    timeout: Option<String>,
    strict: Option<bool>,
}

impl Settings {
    /// Parses one file's text. The error says where in it the mistake is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let first = serde_json::Deserializer::from_str(text).into_iter::<Value>().next();
        let value =
            first.ok_or("it is empty; an empty configuration is `{}`")?.map_err(|error| error.to_string())?;
        serde_path_to_error::deserialize(without_case(value)).map_err(|error| error.to_string())
    }

    /// Reads the environment. `look_up` returns a variable's value.
    pub fn environment(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, Stop> {
        let look_up =
            |names: &[&str]| names.iter().filter_map(|name| look_up(name)).find(|value| !value.is_empty());
        let mut settings = Self {
            server: look_up(&["DEPRO_SERVER", "CONSUL_HTTP_ADDR"]),
            token: look_up(&["DEPRO_TOKEN", "CONSUL_HTTP_TOKEN"]).map(Secret::new),
            datacenter: look_up(&["DEPRO_DATACENTER"]),
            prefix: look_up(&["DEPRO_PREFIX"]),
            name: look_up(&["DEPRO_NAME"]),
            ..Self::default()
        };
        if let Some(text) = look_up(&["DEPRO_AUTH"]) {
            settings
                .authenticate(&text)
                .map_err(|why| Stop::usage("cannot use DEPRO_AUTH").because(why).next(LOGIN))?;
        }
        Ok(settings)
    }

    /// Takes `user:password`.
    pub fn authenticate(&mut self, text: &str) -> Result<(), String> {
        let (user, password) = text.split_once(':').ok_or("it has no colon")?;
        self.username = Some(user.to_owned());
        self.password = Some(Secret::new(password));
        Ok(())
    }

    /// Returns these settings with `upper` laid over them.
    #[must_use]
    pub fn under(mut self, upper: Settings) -> Settings {
        self.deployments.extend(upper.deployments);
        Settings {
            server: said(upper.server).or(self.server),
            username: said(upper.username).or(self.username),
            password: upper.password.or(self.password),
            token: upper.token.filter(|token| !token.expose().is_empty()).or(self.token),
            datacenter: said(upper.datacenter).or(self.datacenter),
            prefix: said(upper.prefix).or(self.prefix),
            wait: said(upper.wait).or(self.wait),
            name: said(upper.name).or(self.name),
            nodes: upper.nodes.filter(|nodes| *nodes > 0).or(self.nodes),
            timeout: said(upper.timeout).or(self.timeout),
            activate_timeout: said(upper.activate_timeout).or(self.activate_timeout),
            deployments: self.deployments,
        }
    }
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Some(Secret::new(String::deserialize(deserializer)?)))
}

fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Returns the value with all names of fields in small letters and without nulls.
fn without_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_lowercase(), without_case(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_case).collect(),
        other => other,
    }
}

/// Reads files and directories in the order given; in a directory every `*.json`, by name, not deeper.
pub fn read(paths: &[PathBuf]) -> Result<Settings, Stop> {
    let mut settings = Settings::default();
    for path in paths {
        for file in files(path)? {
            settings = settings.under(read_file(&file)?);
        }
    }
    Ok(settings)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Stop> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = |error: std::io::Error| unreadable(path, &error);
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        if file.extension().is_some_and(|extension| extension == "json") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(file: &Path) -> Result<Settings, Stop> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    Settings::parse(&text).map_err(|why| {
        Stop::usage(format!("cannot use the configuration {}", file.display())).because(why).next(EXAMPLE)
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Stop {
    Stop::usage(format!("cannot read the configuration {}", path.display()))
        .because(error.to_string())
        .next("name a file or a directory that this user can read")
}

/// How to reach the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Host and port, or URL.
    pub server: String,
    /// For HTTP basic authentication.
    pub login: Option<(String, Secret)>,
    /// Consul's token.
    pub token: Option<Secret>,
    /// Consul's datacenter.
    pub datacenter: Option<String>,
}

impl From<&Settings> for Connection {
    fn from(settings: &Settings) -> Self {
        let password = || settings.password.clone().unwrap_or_else(|| Secret::new(""));
        Self {
            server: settings.server.clone().unwrap_or_else(|| "127.0.0.1:8500".to_owned()),
            login: settings.username.clone().map(|user| (user, password())),
            token: settings.token.clone(),
            datacenter: settings.datacenter.clone(),
        }
    }
}

/// What `depro agent` runs with.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Its name in the tree.
    pub name: Node,
    /// The store.
    pub connection: Connection,
    /// How long a question to the store may stay open.
    pub wait: Duration,
    /// What it serves, at least one.
    pub deployments: Vec<Deployment>,
}

/// One deployment of an agent.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Its name for people and scripts.
    pub id: String,
    /// Its tree.
    pub prefix: Prefix,
    /// The prefix as written, for scripts.
    pub prefix_text: String,
    /// The folder of its versions, as written: scripts get it so.
    pub path: PathBuf,
    /// What runs the scripts.
    pub shell: String,
    /// Makes a version whole.
    pub deploy: Vec<String>,
    /// Switches to a version.
    pub rollout: Vec<String>,
    /// Undoes what `deploy` did outside of the directory.
    pub clean: Vec<String>,
    /// How long a script may run.
    pub timeout: Duration,
    /// Whether the first failing command ends a script.
    pub strict: bool,
}

/// Resolves an agent's configuration. `host` is its name when nothing else says one.
pub fn agent(settings: &Settings, host: &str) -> Result<AgentConfig, Stop> {
    let wrong = |what: &str, why: String| Stop::usage(format!("cannot use {what}")).because(why).next(FLAGS);
    let name = settings.name.as_deref().unwrap_or(host);
    let name = name.parse().map_err(|error| wrong("the agent's name", format!("{error}")))?;
    let deployments: Vec<Deployment> =
        settings.deployments.iter().map(deployment).collect::<Result<_, _>>()?;
    if deployments.is_empty() {
        return Err(Stop::usage("there is nothing to do for this agent")
            .because("no configuration names a deployment")
            .next("give one with `-config-dir DIRECTORY` or `-config-file FILE`"));
    }
    for (at, one) in deployments.iter().enumerate() {
        if let Some(other) =
            deployments[..at].iter().find(|other| other.prefix == one.prefix || other.path == one.path)
        {
            return Err(wrong(
                &format!("the deployment `{}`", one.id),
                format!("it has the path or the prefix of `{}`; each needs its own", other.id),
            ));
        }
    }
    let wait = length(settings.wait.as_deref(), WAIT).map_err(|why| wrong("`wait`", why))?;
    Ok(AgentConfig {
        name,
        connection: settings.into(),
        wait: wait.max(Duration::from_millis(100)),
        deployments,
    })
}

fn deployment(from: &DeploymentSettings) -> Result<Deployment, Stop> {
    let prefix_text = from.prefix.clone().unwrap_or_default();
    let id = said(from.id.clone()).unwrap_or_else(|| prefix_text.clone());
    let wrong =
        |why: String| Stop::usage(format!("cannot use the deployment `{id}`")).because(why).next(EXAMPLE);
    let path = said(from.path.clone()).ok_or_else(|| wrong("it has no `path`".to_owned()))?;
    let prefix = prefix_text.parse().map_err(|error| wrong(format!("{error}")))?;
    let shell = said(from.shell.clone()).unwrap_or_else(|| "bash".to_owned()).to_lowercase();
    if !["bash", "sh"].contains(&shell.as_str()) {
        return Err(wrong(format!("its shell is `{shell}`; `bash` and `sh` are known here")));
    }
    let rollout = from.rollout.clone().unwrap_or_default();
    if rollout.is_empty() {
        return Err(wrong("it has no `rollout`: nothing would ever become active".to_owned()));
    }
    let timeout = length(from.timeout.as_deref(), SCRIPT_TIMEOUT).map_err(wrong)?;
    Ok(Deployment {
        prefix,
        path: path.into(),
        shell,
        rollout,
        timeout,
        deploy: from.deploy.clone().unwrap_or_default(),
        clean: from.clean.clone().unwrap_or_default(),
        strict: from.strict.unwrap_or_default(),
        prefix_text,
        id,
    })
}

/// What `depro deploy` and `depro query` run with.
#[derive(Clone, Debug)]
pub struct CommandConfig {
    /// The store.
    pub connection: Connection,
    /// The tree.
    pub prefix: Prefix,
    /// At least so many nodes must have the version.
    pub nodes_min: usize,
    /// How long to wait for all nodes to have it.
    pub prepare_timeout: Duration,
    /// How long to wait for all nodes to run it.
    pub activate_timeout: Duration,
}

/// Resolves the configuration of `deploy` and `query`.
pub fn command(settings: &Settings) -> Result<CommandConfig, Stop> {
    let wrong = |what: &str, why: String| Stop::usage(format!("cannot use {what}")).because(why).next(FLAGS);
    let prefix = settings.prefix.as_deref().unwrap_or(PREFIX);
    let prepare = settings.timeout.as_deref().or(settings.wait.as_deref());
    let activate = settings.activate_timeout.as_deref();
    Ok(CommandConfig {
        connection: settings.into(),
        prefix: prefix.parse().map_err(|error| wrong("the prefix", format!("{error}")))?,
        nodes_min: settings.nodes.map_or(1, |nodes| nodes as usize),
        prepare_timeout: length(prepare, PREPARE_TIMEOUT).map_err(|why| wrong("the timeout", why))?,
        activate_timeout: length(activate, ACTIVATE_TIMEOUT).map_err(|why| wrong("the timeout", why))?,
    })
}

fn length(text: Option<&str>, default: Duration) -> Result<Duration, String> {
    text.map_or(Ok(default), duration::parse)
}

#[cfg(test)]
mod tests;
