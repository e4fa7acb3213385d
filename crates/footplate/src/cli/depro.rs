//! The command line of `footplate depro`, and of the same program called `depro`: the original's, word for word.
//!
//! Invariants: flags stand before or after the version, with one dash or two, as `-x=y` or `-x y`; exit codes are the
//! original's: 0 done, 1 wrong flags or configuration, 2 failed, 127 no such command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

use crate::depro::config::{self, FLAGS, Settings};
use crate::depro::stop::Stop;
use crate::depro::tree::Version;
use crate::depro::{agent, deploy, query, talk};
use crate::secret::Secret;

/// The version of the original whose command line this is.
const ORIGINAL: &str = "1.0.0";

const HELP: &str = "Depro: versioned code on every host, through Consul

usage: depro COMMAND [FLAGS]

Commands:
  agent     serve the deployments of this host
  deploy    bring a version to every node, switch, and wait for the end
  query     show how far every node is with a version
  version   print the version

`depro COMMAND --help` shows the flags of a command.";

const AGENT_HELP: &str = "usage: depro agent [FLAGS]

Serves the deployments of this host until a signal ends it.

Flags:
  -config-dir DIR     configuration: every *.json of a directory, by name; repeatable
  -config-file FILE   configuration: one file; repeatable
  -name NAME          name in the tree [default: the host's name]
  -server ADDRESS     Consul, or a Footplate store [default: 127.0.0.1:8500]
  -datacenter NAME    Consul's datacenter
  -token TOKEN        Consul's token
  -auth USER:PASSWORD HTTP basic authentication
  -prefix PREFIX      without effect; each deployment has its own
  -adopt              take every directory that the original made for whole

A configuration:
  {
    \"name\": \"worker-1\",
    \"server\": \"localhost:8500\",
    \"deployments\": [
      {
        \"id\": \"api\",
        \"path\": \"/data/deploy/api/\",
        \"prefix\": \"api/version\",
        \"shell\": \"bash\",
        \"deploy\": [\"curl -fsS http://artifacts.example/api/$VERSION.tar.gz | tar xzf - || exit 1\"],
        \"rollout\": [\"ln -sfn $DEPLOYMENT_PATH/$VERSION $DEPLOYMENT_PATH/live\"],
        \"clean\": []
      }
    ]
  }

Examples:
  depro agent -config-dir=/etc/depro/
  depro agent -config-file /etc/depro/api.json -name worker-2";

const DEPLOY_HELP: &str = "usage: depro deploy VERSION [FLAGS]

Brings a version to every node, makes it the current one when all have it, and waits until all run it.

Flags:
  -prefix PREFIX              where the tree stands [default: deploy/versions]
  -nodes N                    at least so many nodes must have it [default: 1]
  -timeout DURATION           time for all nodes to have it [default: 10m]
  -activate-timeout DURATION  time for all nodes to run it [default: 2m]
  -config FILE                configuration
  -server ADDRESS             Consul, or a Footplate store [default: 127.0.0.1:8500]
  -datacenter NAME            Consul's datacenter
  -token TOKEN                Consul's token
  -auth USER:PASSWORD         HTTP basic authentication

Exit codes: 0 every node runs it, 1 wrong flags or configuration, 2 it failed or the time was over.

Examples:
  depro deploy 585ecfab -prefix=api/version -nodes=3
  depro deploy -config /etc/depro/cli.json 1.4.1        the version before: a rollback runs no deploy script";

const QUERY_HELP: &str = "usage: depro query [VERSION] [FLAGS]

Shows how far every node is with a version, or with the current one.

Flags:
  -prefix PREFIX       where the tree stands [default: deploy/versions]
  -config FILE         configuration
  -server ADDRESS      Consul, or a Footplate store [default: 127.0.0.1:8500]
  -datacenter NAME     Consul's datacenter
  -token TOKEN         Consul's token
  -auth USER:PASSWORD  HTTP basic authentication

Example:
  depro query -prefix=api/version";

/// Returns the arguments from `depro` on, when the program is called so or this is its first word.
pub fn called(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let program = Path::new(arguments.first()?).file_name()?;
    let from = if program == "depro" { 0 } else { 1 };
    (from == 0 || arguments.get(1).is_some_and(|word| word == "depro")).then(|| arguments[from..].to_vec())
}

/// Runs the command that the arguments name. They begin with the program's own name (`depro`), as the system gives them.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let arguments = arguments.into_iter().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.trim_start_matches('-'), rest),
        None => ("", &[][..]),
    };
    let asks = |argument: &String| matches!(argument.as_str(), "-h" | "-help" | "--help");
    let help = rest.iter().take_while(|argument| *argument != "--").any(asks);
    let done = match (command, help) {
        ("agent", true) => show(AGENT_HELP),
        ("deploy", true) => show(DEPLOY_HELP),
        ("query", true) => show(QUERY_HELP),
        ("agent", false) => run_agent(rest),
        ("deploy", false) => run_deploy(rest),
        ("query", false) => run_query(rest),
        ("version", _) if arguments[0].starts_with('-') => {
            talk::explain(ORIGINAL);
            Ok(())
        }
        ("version", _) => show(&format!("Depro {ORIGINAL} (footplate {})", env!("CARGO_PKG_VERSION"))),
        ("h" | "help", _) => {
            talk::explain(HELP);
            Ok(())
        }
        _ => {
            talk::explain(HELP);
            return ExitCode::from(127);
        }
    };
    done.map_or_else(|stop| stop.report(), |()| ExitCode::SUCCESS)
}

fn show(text: &str) -> Result<(), Stop> {
    talk::say(text);
    Ok(())
}

fn run_agent(arguments: &[String]) -> Result<(), Stop> {
    let line =
        Line::parse(arguments, &[&SHARED[..], &["name", "config-dir", "config-file"]].concat(), &["adopt"])?;
    line.takes_words(0, "agent")?;
    let settings = settings(&line, &["config-dir", "config-file"])?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let config = config::agent(&settings, host.trim())?;
    let adopt = line.switches.contains(&"adopt".to_owned());
    listen();
    block_on(agent::run(config, adopt))
}

fn run_deploy(arguments: &[String]) -> Result<(), Stop> {
    let line = Line::parse(
        arguments,
        &[&SHARED[..], &["config", "nodes", "timeout", "activate-timeout"]].concat(),
        &[],
    )?;
    line.takes_words(1, "deploy")?;
    let Some(version) = line.words.first() else {
        return Err(Stop::usage("there is no version to deploy")
            .next("name one: `depro deploy VERSION -prefix=PREFIX`"));
    };
    let version = parse_version(version)?;
    let config = config::command(&settings(&line, &["config"])?)?;
    block_on(deploy::deploy(&config, &version))
}

fn run_query(arguments: &[String]) -> Result<(), Stop> {
    let line = Line::parse(arguments, &[&SHARED[..], &["config"]].concat(), &[])?;
    line.takes_words(1, "query")?;
    let version = line.words.first().map(|word| parse_version(word)).transpose()?;
    let config = config::command(&settings(&line, &["config"])?)?;
    block_on(query::query(&config, version.as_ref()))
}

fn parse_version(word: &str) -> Result<Version, Stop> {
    word.parse()
        .map_err(|error| Stop::usage(format!("{error}")).next("nothing was changed; give another version"))
}

/// One thread: an agent sleeps nearly always, and a hundred of them may share a machine.
fn block_on(work: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Stop::failed("cannot start").because(error.to_string()))?.block_on(work)
}

/// The agent's lines go to stderr, where service managers collect them.
fn listen() {
    let level = match std::env::var("DEPRO_LOG").as_deref() {
        Ok("debug") => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    subscriber.with_ansi(false).with_target(false).init();
}

/// The flags that every command takes.
const SHARED: [&str; 5] = ["server", "prefix", "auth", "token", "datacenter"];

/// Lays flags over files over the environment.
fn settings(line: &Line, files: &[&str]) -> Result<Settings, Stop> {
    let paths: Vec<PathBuf> = line
        .flags
        .iter()
        .filter(|(name, _)| files.contains(&name.as_str()))
        .map(|(_, path)| path.into())
        .collect();
    let environment = Settings::environment(|name| std::env::var(name).ok())?;
    Ok(environment.under(config::read(&paths)?).under(line.settings()?))
}

/// A command line, taken apart.
#[derive(Debug, Default, PartialEq)]
struct Line {
    flags: Vec<(String, String)>,
    switches: Vec<String>,
    words: Vec<String>,
}

impl Line {
    /// Takes a command line apart. `flags` want a value, `switches` do not.
    fn parse(arguments: &[String], flags: &[&str], switches: &[&str]) -> Result<Self, Stop> {
        let mut line = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let dashed = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
            let Some(dashed) = dashed.filter(|name| !name.is_empty() || argument == "--") else {
                line.words.push(argument.clone());
                continue;
            };
            if argument == "--" {
                line.words.extend(rest.by_ref().cloned());
                break;
            }
            let (name, value) = match dashed.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (dashed, None),
            };
            if switches.contains(&name) {
                line.switches.push(name.to_owned());
            } else if flags.contains(&name) {
                let value = value.or_else(|| rest.next().cloned());
                let value = value
                    .ok_or_else(|| Stop::usage(format!("flag needs an argument: -{name}")).next(FLAGS))?;
                line.flags.push((name.to_owned(), value));
            } else {
                return Err(Stop::usage(format!("flag provided but not defined: -{name}")).next(FLAGS));
            }
        }
        Ok(line)
    }

    fn takes_words(&self, most: usize, command: &str) -> Result<(), Stop> {
        match self.words.get(most) {
            None => Ok(()),
            Some(word) => {
                Err(Stop::usage(format!("`{}` is one word too many for `{command}`", word.escape_debug()))
                    .next(FLAGS))
            }
        }
    }

    /// Returns what the flags say; of a repeated one the last counts.
    fn settings(&self) -> Result<Settings, Stop> {
        let last: BTreeMap<&str, &String> =
            self.flags.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let text = |name: &str| last.get(name).map(|value| (*value).clone());
        let nodes = text("nodes").map(|nodes| {
            nodes.parse().map_err(|_| {
                Stop::usage(format!("invalid value \"{}\" for flag -nodes", nodes.escape_debug()))
                    .next("give a whole number of nodes")
            })
        });
        let mut settings = Settings {
            server: text("server"),
            token: text("token").map(Secret::new),
            datacenter: text("datacenter"),
            prefix: text("prefix"),
            name: text("name"),
            nodes: nodes.transpose()?,
            timeout: text("timeout"),
            activate_timeout: text("activate-timeout"),
            ..Settings::default()
        };
        if let Some(login) = text("auth") {
            settings
                .authenticate(&login)
                .map_err(|why| Stop::usage("cannot use -auth").because(why).next(config::LOGIN))?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Line, Stop> {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Line::parse(&arguments, &["prefix", "nodes", "auth"], &["adopt"])
    }

    #[test]
    fn flags_stand_before_and_after_the_version_with_one_dash_or_two() {
        for text in [
            "585ecfab -prefix=api/version -nodes=3",
            "-prefix api/version --nodes 3 585ecfab",
            "--prefix=api/version 585ecfab -nodes 3",
            "-nodes=1 -prefix=api/version -nodes=3 -- 585ecfab",
        ] {
            let line = parse(text).expect(text);
            assert_eq!(line.words, ["585ecfab"], "{text}");
            let settings = line.settings().expect(text);
            assert_eq!(
                (settings.prefix.as_deref(), settings.nodes),
                (Some("api/version"), Some(3)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_program_is_depro_by_its_name_or_by_its_first_word() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(called(&words("/usr/bin/depro deploy 1")), Some(words("/usr/bin/depro deploy 1")));
        assert_eq!(called(&words("footplate depro deploy 1")), Some(words("depro deploy 1")));
        assert_eq!(called(&words("footplate deploy depro")), None);
        assert_eq!(called(&[]), None);
    }

    #[test]
    fn a_wrong_flag_is_told_as_go_tells_it() {
        for text in ["-colour=red 1", "1 -prefix", "1 -nodes=many", "1 -nodes=-1", "1 -auth=user"] {
            let stop = parse(text).and_then(|line| line.settings()).expect_err(text);
            assert_eq!(stop.code(), 1, "{text}");
            assert!(format!("{stop:?}").contains("next: Some"), "{stop:?}");
        }
        assert_eq!(parse("1 2").expect("parsed").takes_words(1, "deploy").expect_err("too many").code(), 1);
    }
}
