//! Judges what the dependencies bring in against `deny.toml`: licences, banned and doubled packages, foreign sources.
//!
//! Reads the part of cargo-deny's file format that we use, because installing cargo-deny costs more than building all of
//! Footplate (see docs/decisions/0010). Where cargo-deny is installed it runs as well, on the same file.

use crate::failure::Failure;
use crate::program;
use crate::workspace::Workspace;
use serde::Deserialize;
use std::collections::BTreeSet;

const NEXT: &str = "choose another library, or change deny.toml in a commit that says why";

/// What `cargo metadata` tells of a package.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The part of `deny.toml` that is judged here.
#[derive(Deserialize)]
struct Policy {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ban {
    name: String,
    #[serde(default)]
    deny_multiple_versions: bool,
}

/// Judges every package of the lock file that our targets build.
pub fn check(workspace: &Workspace) -> Result<(), Failure> {
    let path = workspace.root().join("deny.toml");
    let unreadable = |because: String| Failure::new("cannot read deny.toml", because, "restore it from git");
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let policy: Policy = toml::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let mut cargo = workspace.cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    for target in &policy.graph.targets {
        cargo.args(["--filter-platform", target]);
    }
    let metadata = program::read(&mut cargo, "commit the Cargo.lock that belongs to the manifests")?;
    let metadata: Metadata = serde_json::from_str(&metadata).map_err(|error| {
        Failure::new("cannot read cargo's metadata", error, "report this with `cargo --version`")
    })?;
    let findings = judge(&policy, &metadata.packages);
    if !findings.is_empty() {
        return Err(Failure::new("the dependencies break deny.toml", findings.join("\n           "), NEXT));
    }
    if program::is_installed("cargo-deny") {
        let mut deny = workspace.cargo();
        deny.args(["deny", "--log-level", "error", "--offline", "check", "licenses", "bans", "sources"]);
        program::perform(&mut deny, NEXT)?;
    }
    Ok(())
}

/// Lists what breaks the policy, one sentence each.
fn judge(policy: &Policy, packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let Package { name, version, license, source } = package;
        let license = license.as_deref().unwrap_or("none");
        if !is_allowed(license, &policy.licenses.allow) {
            findings.push(format!("{name} {version}: its licence `{license}` is not in the allow-list"));
        }
        if source.as_deref().is_some_and(|source| source.starts_with("git+")) {
            findings.push(format!("{name} {version}: comes from a git repository, not from the registry"));
        }
    }
    for Ban { name, deny_multiple_versions } in &policy.bans.deny {
        let versions: Vec<&str> = packages
            .iter()
            .filter(|package| package.name == *name)
            .map(|package| package.version.as_str())
            .collect();
        match (deny_multiple_versions, versions.len()) {
            (false, 1..) => findings.push(format!("{name}: banned")),
            (true, 2..) => findings.push(format!("{name}: {} at once", versions.join(" and "))),
            _ => {}
        }
    }
    findings
}

/// Judges an SPDX expression: `OR` leaves us the choice, `AND` does not. The old spelling `A/B` means `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    any_of(&words, allowed)
}

fn any_of(words: &[&str], allowed: &BTreeSet<String>) -> bool {
    split(words, "OR").iter().any(|part| split(part, "AND").iter().all(|part| one(part, allowed)))
}

fn one(words: &[&str], allowed: &BTreeSet<String>) -> bool {
    match words {
        ["(", inner @ .., ")"] => any_of(inner, allowed),
        words => allowed.contains(&words.join(" ")),
    }
}

/// Splits at a word that stands outside parentheses.
fn split<'a>(words: &'a [&'a str], at: &str) -> Vec<&'a [&'a str]> {
    let mut depth = 0i32;
    words
        .split(|word| {
            depth += i32::from(*word == "(") - i32::from(*word == ")");
            depth == 0 && *word == at
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: &str, source: &str) -> Package {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Package { name: name.into(), version: version.into(), license: text(license), source: text(source) }
    }

    #[test]
    fn a_choice_of_licences_is_allowed_when_one_of_them_is() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR X) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT AND X) OR GPL-3.0", "none", ""] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn banned_doubled_and_foreign_packages_are_found() {
        let policy = "graph = { targets = [] }\nlicenses = { allow = [\"MIT\"] }\n\
                      bans = { deny = [{ name = \"cmake\" }, { name = \"tokio\", deny-multiple-versions = true }] }";
        let policy: Policy = toml::from_str(policy).unwrap();
        let packages = [
            package("cmake", "1.0.0", "MIT", ""),
            package("tokio", "1.0.0", "MIT", ""),
            package("tokio", "2.0.0", "MIT", ""),
            package("other", "1.0.0", "", "git+https://example.test"),
        ];
        let findings = judge(&policy, &packages).join("; ");
        for part in ["cmake: banned", "tokio: 1.0.0 and 2.0.0 at once", "`none`", "from a git repository"] {
            assert!(findings.contains(part), "{part} is not in {findings}");
        }
        assert!(judge(&policy, &packages[1..2]).is_empty());
    }
}
