//! `[router]` of `agent.toml`: which router the agent tells where requests go. docs/reference/routers.md describes each.

use std::path::{Path, PathBuf};

use footplate_drivers::router::{Config, haproxy, template};

use super::table::{Found, Table};

/// Where HAProxy's generated configuration lies unless told otherwise.
const HAPROXY_FOLDER_DEFAULT: &str = "/var/lib/footplate/haproxy";

#[derive(Clone, Copy)]
enum Kind {
    Builtin,
    Haproxy,
    Template,
}

const KINDS: [(&str, Kind); 3] =
    [("builtin", Kind::Builtin), ("haproxy", Kind::Haproxy), ("template", Kind::Template)];

/// Reads the table; relative paths begin at `folder`, the file's own.
pub fn read(mut table: Table, folder: &Path) -> Option<Config> {
    let has_kind = table.has("kind");
    let kind = match table.choice("kind", &KINDS) {
        None if has_kind => return None,
        kind => kind.unwrap_or(Kind::Builtin),
    };
    let config = match kind {
        Kind::Builtin => builtin(&mut table, folder),
        Kind::Haproxy => Some(haproxy(&mut table, folder)),
        Kind::Template => template(&mut table, folder),
    };
    table.finish();
    config
}

fn builtin(table: &mut Table, folder: &Path) -> Option<Config> {
    let Some(found) = table.text("folder") else {
        if !table.has("folder") {
            table.mistake(
                table.span(),
                "`router.folder` is missing",
                "name the folder of the `footplate router` here",
            );
        }
        return None;
    };
    Some(Config::Builtin(folder.join(found.value)))
}

fn haproxy(table: &mut Table, folder: &Path) -> Config {
    let usual =
        haproxy::Settings::new(path(table, "folder", folder).unwrap_or(HAPROXY_FOLDER_DEFAULT.into()));
    let listen = table.texts("listen").map(|listen| lines(table, listen));
    let beside = table.texts("beside").unwrap_or_default();
    Config::Haproxy(haproxy::Settings {
        master: path(table, "master", folder).unwrap_or(usual.master),
        program: program(table, folder).unwrap_or(usual.program),
        listen: listen.unwrap_or(usual.listen),
        extend: table.text("extend").map(|found| folder.join(found.value)),
        beside: beside.into_iter().map(|found| folder.join(found.value)).collect(),
        starts: table.flag("starts").unwrap_or(usual.starts),
        folder: usual.folder,
    })
}

fn template(table: &mut Table, folder: &Path) -> Option<Config> {
    let [template, file, reload] = ["template", "file", "reload"].map(|key| {
        let found = table.text(key).map(|found| found.value);
        if found.is_none() && !table.has(key) {
            let right = match key {
                "template" => "name the template, such as \"nginx.conf.j2\"",
                "file" => "name the file that it becomes",
                _ => "name the command that has the file loaded, such as \"systemctl reload nginx\"",
            };
            table.mistake(table.span(), format!("`router.{key}` is missing"), right);
        }
        found
    });
    let check = table.text("check").map(|found| found.value);
    let drain = table.duration("drain");
    let values = table.named_texts("values");
    let usual = template::Settings::new(folder.join(template?), folder.join(file?), &reload?);
    Some(Config::Template(template::Settings { check, drain: drain.unwrap_or(usual.drain), values, ..usual }))
}

/// Reads a path that stands in HAProxy's configuration and in its commands, which have marks of their own.
fn path(table: &mut Table, key: &str, folder: &Path) -> Option<PathBuf> {
    let found = table.text(key)?;
    let path = folder.join(&found.value);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if !path.display().to_string().chars().all(is_plain) {
        let right = "expected a path of letters, digits and / . _ - + @ :";
        table.mistake(found.span, format!("`router.{key}` is not valid"), right);
    }
    Some(path)
}

fn lines(table: &Table, found: Vec<Found<String>>) -> Vec<String> {
    for line in &found {
        if line.value.trim().is_empty() || line.value.contains(char::is_control) {
            let right = "expected what follows `bind`, such as \"*:443 ssl crt /etc/tls/site.pem\"";
            table.mistake(line.span.clone(), "`router.listen` is not valid", right);
        }
    }
    if found.is_empty() {
        table.mistake(table.span(), "`router.listen` is empty", "name an address, such as \"*:80\"");
    }
    found.into_iter().map(|line| line.value).collect()
}

/// Reads a program: a path, or a name to be found in `PATH`.
fn program(table: &mut Table, folder: &Path) -> Option<PathBuf> {
    let found = table.text("program")?.value;
    Some(if found.contains('/') { folder.join(found) } else { found.into() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::agent::AgentFile;

    fn read(table: &str) -> Result<Config, String> {
        let file = AgentFile::parse("agent.toml", &format!("[router]\n{table}"), Path::new("/etc/footplate"));
        file.map(|file| file.router.expect("a router")).map_err(|mistakes| mistakes.render())
    }

    #[test]
    fn each_kind_has_keys_of_its_own_and_paths_begin_at_the_file() {
        assert_eq!(read("folder = \"r\""), Ok(Config::Builtin("/etc/footplate/r".into())));
        let Ok(Config::Haproxy(settings)) = read("kind = \"haproxy\"\nextend = \"own\"") else {
            panic!("it is")
        };
        let expected = haproxy::Settings {
            extend: Some("/etc/footplate/own".into()),
            ..haproxy::Settings::new("/var/lib/footplate/haproxy")
        };
        assert_eq!(settings, expected);
        let table = "kind = \"template\"\ntemplate = \"a.j2\"\nfile = \"/etc/a\"\nreload = \"true\"\nvalues = { a = \"b\" }";
        let Ok(Config::Template(settings)) = read(table) else { panic!("it is") };
        let values = [("a".to_owned(), "b".to_owned())].into();
        let usual = template::Settings::new("/etc/footplate/a.j2", "/etc/a", "true");
        assert_eq!(settings, template::Settings { values, ..usual });
    }

    #[test]
    fn every_mistake_is_shown_with_what_would_be_right() {
        for (table, expected) in [
            ("kind = \"haprxy\"", "did you mean `haproxy`?"),
            ("kind = \"builtin\"", "`router.folder` is missing"),
            ("folder = \"r\"\nlisten = [\"*:80\"]", "unknown key `router.listen`"),
            ("kind = \"haproxy\"\nlisten = []", "`router.listen` is empty"),
            ("kind = \"haproxy\"\nlisten = [\"*:80\\nbind *:81\"]", "`router.listen` is not valid"),
            ("kind = \"haproxy\"\nfolder = \"a b\"", "expected a path of letters"),
            ("kind = \"haproxy\"\nstarts = \"yes\"", "true or false"),
            ("kind = \"template\"\nfile = \"a\"\nreload = \"true\"", "`router.template` is missing"),
            ("kind = \"template\"\ndrain = \"long\"", "`router.reload` is missing"),
        ] {
            let said = read(table).expect_err(table);
            assert!(said.contains(expected), "{table}: {said}");
        }
    }
}
