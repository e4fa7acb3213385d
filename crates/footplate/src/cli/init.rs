//! `footplate init`: looks at a folder and writes a commented `footplate.toml`.
//!
//! Invariant: nothing that is there is overwritten; what it writes is valid.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use footplate_core::name::AppName;
use serde::Serialize;

use super::Operator;
use crate::config::app::FILE_NAME;
use crate::failure::{Exit, Failure};

/// Look at a folder and write a commented footplate.toml for it
///
/// Knows package.json, Cargo.toml, requirements.txt, Makefile and static pages; the name comes from the git remote or
/// from the folder. A footplate.toml that is there stays as it is.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate init
  footplate init ../shop --app shop
  footplate init --print             only print it")]
pub struct InitArgs {
    /// Folder of the app
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Name of the app [default: from the git remote, else from the folder]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// Print the file instead of writing it
    #[arg(long)]
    print: bool,
}

/// What a folder was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recipe {
    /// What it looks like, for the comment at the top.
    looks_like: &'static str,
    /// The build command, if one is needed.
    build: Option<String>,
    /// The folder that becomes the artifact.
    output: String,
    /// The prepare hook, if one suggests itself.
    prepare: Option<String>,
}

/// A `footplate.toml` for a folder.
#[derive(Serialize)]
struct Drafted {
    app: AppName,
    looks_like: &'static str,
    file: String,
    text: String,
}

impl fmt::Display for Drafted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Writes a `footplate.toml`.
pub fn init(operator: &Operator, args: &InitArgs) -> Result<(), Failure> {
    let what = || format!("cannot write a footplate.toml for `{}`", args.folder.display());
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, what()).because(&error);
    let folder = args.folder.canonicalize().map_err(failed)?;
    let app = args.app.clone().unwrap_or_else(|| name_of(&folder));
    let recipe = look(&folder);
    let text = render(&app, &recipe);
    let file = folder.join(FILE_NAME);
    let drafted = Drafted { app, looks_like: recipe.looks_like, file: file.display().to_string(), text };
    if args.print {
        return operator.ui.show(&drafted);
    }
    let opened = fs::OpenOptions::new().write(true).create_new(true).open(&file);
    match opened.and_then(|mut open| open.write_all(drafted.text.as_bytes())) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::new(Exit::Refused, what())
                .because_of("there is one already, and it stays as it is")
                .next("see what would be written with `footplate init --print`"))
        }
        Err(error) => Err(failed(error)),
        Ok(()) if operator.ui.is_json() => operator.ui.show(&drafted),
        Ok(()) => {
            let Drafted { app, looks_like, file, .. } = drafted;
            operator.ui.say(format!("Wrote {file} for `{app}`: {looks_like}."));
            operator
                .ui
                .say("Next: look at it, commit it, then `footplate up --repository .` on this machine,");
            operator
                .ui
                .say("or `footplate build --push` and `footplate deploy` with a controller of your own.");
            Ok(())
        }
    }
}

/// Looks at a folder; the first match counts.
fn look(folder: &Path) -> Recipe {
    let has = |name: &str| folder.join(name).is_file();
    let plain = |looks_like, output: &str| Recipe {
        looks_like,
        build: None,
        output: output.to_owned(),
        prepare: None,
    };
    if has("package.json") {
        return look_at_package(folder);
    }
    if has("Cargo.toml") {
        return Recipe {
            build: Some(
                "cargo build --release --locked && mkdir -p dist && find target/release -maxdepth 1 -type f \
                 -perm -u+x -exec cp {} dist/ ';'"
                    .to_owned(),
            ),
            ..plain("a Rust package", "dist/")
        };
    }
    if has("requirements.txt") {
        let prepare = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
        return Recipe { prepare: Some(prepare.to_owned()), ..plain("a Python app", ".") };
    }
    if has("Makefile") {
        return Recipe { build: Some("make".to_owned()), ..plain("a folder with a Makefile", ".") };
    }
    let pages = ["public", "site", "dist", "."]
        .into_iter()
        .find(|below| folder.join(below).join("index.html").is_file());
    match pages {
        Some(".") => plain("static pages", "."),
        Some(below) => plain("static pages", &format!("{below}/")),
        None => plain("plain files", "."),
    }
}

fn look_at_package(folder: &Path) -> Recipe {
    let text = fs::read_to_string(folder.join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let install = if folder.join("package-lock.json").is_file() { "npm ci" } else { "npm install" };
    let builds = package["scripts"]["build"].is_string();
    Recipe {
        looks_like: "a Node package",
        build: Some(if builds { format!("{install} && npm run build") } else { install.to_owned() }),
        output: if builds { "dist/" } else { "." }.to_owned(),
        prepare: None,
    }
}

/// Returns the name of the git remote, else of the folder, made fit for an app's name.
fn name_of(folder: &Path) -> AppName {
    let config = fs::read_to_string(folder.join(".git/config")).unwrap_or_default();
    let remote = config.lines().find_map(|line| line.trim().strip_prefix("url = "));
    let remote = remote.and_then(|url| url.trim_end_matches(".git").rsplit(['/', ':']).next());
    let own = folder.file_name().and_then(|name| name.to_str());
    let fit = |name: &str| {
        let lower = name.to_lowercase();
        let label: String =
            lower.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        label.trim_matches(|c| c == '-' || c == '_').chars().take(63).collect::<String>().parse().ok()
    };
    let named = [remote, own].into_iter().flatten().find_map(fit);
    named.unwrap_or_else(|| "app".parse().expect("it is a valid name"))
}

/// Renders the file with every choice that suggests itself, and the others as comments.
fn render(app: &AppName, recipe: &Recipe) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let command = recipe
        .build
        .as_ref()
        .map_or("# command = \"make\"".to_owned(), |build| format!("command = {}", quoted(build)));
    let prepare = match &recipe.prepare {
        Some(prepare) => format!("prepare = {}", quoted(prepare)),
        None => "# prepare   = \"./deploy/prepare\"     # a failure leaves everything as it is".to_owned(),
    };
    format!(
        r#"# How footplate ships this app. It looks like {looks_like}.
# Every key is explained in docs/reference/footplate.toml of the footplate project.
app = "{app}"

# What `footplate build` and a watched repository make of a commit.
[build]
{command}
output = {output}

# Run in the release's folder on every host: prepare before the switch, activated right after it.
# A script that a hook names must be among the files that are shipped, so below `output`.
[hooks]
{prepare}
# activated = "./deploy/activated"

[rollout]
strategy = "barrier"                      # all hosts prepare first, then all switch at once
# prepare_deadline = "10m"
# on_failed_activation = "rollback"       # or "keep"

[retain]
keep = 3                                  # releases that stay on the hosts

[environments.production]
hosts = "*"                               # or labels such as "role=web"; `*` is every host
"#,
        looks_like = recipe.looks_like,
        output = quoted(&recipe.output),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::app::AppConfig;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().expect("below the folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
        folder
    }

    fn written_for(files: &[(&str, &str)]) -> AppConfig {
        let folder = folder_with(files);
        let text = render(&name_of(folder.path()), &look(folder.path()));
        AppConfig::parse("footplate.toml", &text).unwrap_or_else(|mistakes| panic!("{}", mistakes.render()))
    }

    #[test]
    fn what_it_writes_is_valid_for_every_kind_of_folder() {
        for (files, output) in [
            (vec![("package.json", r#"{"scripts":{"build":"vite"}}"#), ("package-lock.json", "{}")], "dist/"),
            (vec![("package.json", "not json")], "."),
            (vec![("Cargo.toml", "")], "dist/"),
            (vec![("requirements.txt", "flask")], "."),
            (vec![("Makefile", "all:")], "."),
            (vec![("public/index.html", "hi")], "public/"),
            (vec![("index.html", "hi")], "."),
            (vec![], "."),
        ] {
            let config = written_for(&files);
            assert_eq!(config.build.expect("a build table").output, output, "{files:?}");
            assert_eq!(config.environments.len(), 1);
        }
    }

    #[test]
    fn the_name_comes_from_the_git_remote() {
        let remote = "[remote \"origin\"]\n\turl = git@example.org:team/Web.Shop.git\n";
        assert_eq!(written_for(&[(".git/config", remote)]).app.as_str(), "web-shop");
    }

    #[test]
    fn a_lock_file_makes_the_build_repeatable() {
        let config = written_for(&[("package.json", "{}"), ("package-lock.json", "{}")]);
        assert_eq!(config.build.expect("a build table").command.as_deref(), Some("npm ci"));
    }
}
