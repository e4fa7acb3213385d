//! How people name an app, its environment and one of its releases on the command line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use footplate_core::artifact::Digest;
use footplate_core::name::{AppName, AppPath, EnvironmentName, GroupName, Version};

use crate::api::Wanted;
use crate::config::app::{AppConfig, FILE_NAME};
use crate::failure::{Exit, Failure};

/// The environment that is meant when none is named.
pub const ENVIRONMENT_DEFAULT: &str = "production";

/// The app of a command.
#[derive(clap::Args, Debug)]
pub struct AppArgs {
    /// App [default: the one of the nearest footplate.toml]
    app: Option<AppName>,
    #[command(flatten)]
    environment: EnvironmentArgs,
}

impl AppArgs {
    /// Returns the app in its environment.
    pub fn path(&self) -> Result<AppPath, Failure> {
        let app = self.app.clone().map_or_else(app_here, Ok)?;
        Ok(self.environment.path(app))
    }
}

/// The environment of a command.
#[derive(clap::Args, Debug)]
pub struct EnvironmentArgs {
    /// Environment
    #[arg(
        long,
        short,
        env = "FOOTPLATE_ENVIRONMENT",
        hide_env_values = true,
        default_value = ENVIRONMENT_DEFAULT,
        value_name = "NAME"
    )]
    environment: EnvironmentName,
}

impl EnvironmentArgs {
    /// Returns `app` in this environment.
    pub fn path(&self, app: AppName) -> AppPath {
        AppPath { environment: self.environment.clone(), app }
    }
}

/// The process groups of a command.
#[derive(clap::Args, Debug)]
pub struct GroupArgs {
    /// Only these process groups, such as worker or web,worker; the app's others stay as they are
    #[arg(long = "group", short, value_name = "GROUP", value_delimiter = ',')]
    groups: Vec<GroupName>,
}

impl GroupArgs {
    /// Returns the process groups that were chosen; none when all are meant.
    pub fn chosen(&self) -> BTreeSet<GroupName> {
        self.groups.iter().cloned().collect()
    }
}

/// `APP` or `APP@RELEASE`.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The app.
    pub app: AppName,
    /// The release; the one pushed last when absent.
    pub release: Option<Wanted>,
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (app, release) = match text.split_once('@') {
            Some((app, release)) => (app, Some(parse_release(release)?)),
            None => (text, None),
        };
        Ok(Self { app: app.parse().map_err(|error| format!("{error}"))?, release })
    }
}

/// Parses how a person names a release: a version, the beginning of a commit id, or a digest.
pub fn parse_release(text: &str) -> Result<Wanted, String> {
    if text.starts_with("sha256:") {
        return text.parse::<Digest>().map(Wanted::Digest).map_err(|error| error.to_string());
    }
    // A later release of the same code is named VERSION+N.
    let version = text.rsplit_once('+').map_or(text, |(version, _)| version);
    version.parse::<Version>().map_err(|error| error.to_string())?;
    Ok(Wanted::Name(text.to_owned()))
}

/// Finds and reads the nearest `footplate.toml`, of this folder or of one above it.
pub fn config_here() -> Result<(PathBuf, AppConfig), Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(Exit::Failed, "cannot tell the working folder").because(&error))?;
    let found = here.ancestors().find(|folder| folder.join(FILE_NAME).is_file());
    let folder = found.ok_or_else(|| {
        Failure::new(Exit::Usage, "no app is named")
            .because_of("neither this folder nor one above it has a footplate.toml")
            .next("name the app, or write a footplate.toml with `footplate init`")
    })?;
    Ok((folder.to_owned(), config_of(folder)?))
}

/// Reads the `footplate.toml` of a folder.
pub fn config_of(folder: &Path) -> Result<AppConfig, Failure> {
    let file = folder.join(FILE_NAME);
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read `{}`", file.display()))
            .because(&error)
            .next("write one with `footplate init`")
    })?;
    let here = std::env::current_dir().unwrap_or_default();
    let shown = file.strip_prefix(&here).unwrap_or(&file);
    Ok(AppConfig::parse(&shown.display().to_string(), &text)?)
}

fn app_here() -> Result<AppName, Failure> {
    config_here().map(|(_, config)| config.app)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        groups: GroupArgs,
    }

    fn chosen(words: &str) -> Result<String, String> {
        let line = Line::try_parse_from(["line"].into_iter().chain(words.split_whitespace()));
        let line = line.map_err(|error| error.to_string())?;
        Ok(line.groups.chosen().iter().map(GroupName::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn process_groups_are_named_between_commas_or_one_by_one() {
        for (line, expected) in [
            ("", ""),
            ("--group web,worker", "web worker"),
            ("--group=worker,web -g tidy", "tidy web worker"),
            ("-g web -g web", "web"),
        ] {
            assert_eq!(chosen(line), Ok(expected.to_owned()), "{line}");
        }
        for line in ["--group web,,worker", "--group Web,worker", "--group web;worker"] {
            let said = chosen(line).expect_err("it is no list of names");
            assert!(said.contains("is not a valid process group name"), "{line}: {said}");
        }
    }
}
