//! What a person means: which app, which release.

use footplate_core::fleet::{Current, Pushed};
use footplate_core::name::AppPath;
use footplate_core::release::Release;
use footplate_core::rollout::Rollout;

use super::plan;
use super::site::Site;
use crate::api::{Problem, ProblemKind, Wanted};

/// Refuses to touch an app of which something cannot be read.
pub(super) fn refuse_unreadable(site: &Site, path: &AppPath, what: &str) -> Result<(), Problem> {
    match site.unreadable_of(path) {
        None => Ok(()),
        Some((key, why)) => Err(Problem::new(
            ProblemKind::Refused,
            what,
            format!("`{key}` cannot be read: {why}"),
            "upgrade this footplate; nothing was changed",
        )),
    }
}

/// Returns an app's record and latest rollout, or the apps there are.
pub(super) fn known<'a>(
    site: &'a Site,
    path: &AppPath,
    what: &str,
) -> Result<(&'a Current, Option<&'a Rollout>), Problem> {
    refuse_unreadable(site, path, what)?;
    let app = site.apps.get(path);
    let current = app.and_then(|app| app.current.as_ref());
    let unknown = || Problem::new(ProblemKind::Unknown, what, "it was never deployed", &known_ones(site));
    Ok((current.ok_or_else(unknown)?, app.and_then(|app| app.rollout.as_ref())))
}

/// Says which apps there are, for somebody who named another.
pub(super) fn known_ones(site: &Site) -> String {
    let apps: Vec<String> = site.apps.keys().map(|path| format!("`{path}`")).collect();
    match apps.is_empty() {
        true => "deploy it first".to_owned(),
        false => format!("there are {}", apps.join(", ")),
    }
}

/// Finds the release that a person means.
pub(super) fn find<'a>(
    site: &'a Site,
    path: &AppPath,
    wanted: &Wanted,
    what: &str,
) -> Result<&'a Pushed, Problem> {
    let of_app = || site.releases.iter().filter(|((app, _), _)| *app == path.app).map(|(_, pushed)| pushed);
    let newest = || of_app().max_by_key(|pushed| pushed.release.created_at);
    let found: Vec<&Pushed> = match wanted {
        Wanted::Newest => newest().into_iter().collect(),
        _ => of_app().filter(|pushed| names(wanted, &pushed.release)).collect(),
    };
    let exact = |pushed: &&Pushed| matches!(wanted, Wanted::Name(name) if pushed.release.id.as_str() == name);
    let refuse = |because: String, next: String| {
        let kind = ProblemKind::Unknown;
        Err(Problem::new(kind, what, because, &next))
    };
    match (found.iter().find(|pushed| exact(pushed)), found.as_slice()) {
        (Some(pushed), _) | (None, [pushed]) => Ok(pushed),
        (None, []) => {
            let newest =
                newest().map(|pushed| format!("; the newest of `{}` is `{}`", path.app, pushed.release.id));
            let next = format!("push it first with `footplate push`{}", newest.unwrap_or_default());
            refuse(format!("no release {} was pushed", plan::wanted(wanted)), next)
        }
        (None, several) => {
            let ids: Vec<String> = several.iter().map(|pushed| format!("`{}`", pushed.release.id)).collect();
            refuse(
                format!("{} can mean {}", plan::wanted(wanted), ids.join(", ")),
                "name one of them".to_owned(),
            )
        }
    }
}

/// Finds the release that a person means among those that the hosts keep; one with exactly that name comes first.
pub(super) fn find_kept<'a>(current: &'a Current, wanted: &Wanted) -> Option<&'a Release> {
    let exact = |release: &&Release| matches!(wanted, Wanted::Name(name) if release.id.as_str() == name);
    current.kept().find(exact).or_else(|| current.kept().find(|release| names(wanted, release)))
}

/// Tells whether a person's words name this release.
fn names(wanted: &Wanted, release: &Release) -> bool {
    const COMMIT_DIGITS_MIN: usize = 7;
    match wanted {
        Wanted::Newest => false,
        Wanted::Digest(digest) => {
            release.artifact.as_ref().is_some_and(|artifact| artifact.digest == *digest)
        }
        Wanted::Name(name) => {
            let short = name.len() >= COMMIT_DIGITS_MIN;
            release.id.as_str() == name
                || release.commit.as_ref().is_some_and(|commit| short && commit.starts_with(name.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use footplate_core::fleet::{Past, Track};
    use footplate_core::generation::Generation;
    use footplate_core::moment::Moment;
    use footplate_core::release::{Hooks, Workload};
    use footplate_core::rollout::{Delivery, Kind};

    use super::*;

    #[test]
    fn of_the_kept_releases_the_one_with_exactly_that_name_is_meant() {
        let release = |id: &str| Release {
            commit: Some("1a2b3c4d5e6f".to_owned()),
            ..Release::new(
                "shop".parse().unwrap(),
                id.parse().unwrap(),
                Workload::ReleaseDir(Hooks::default()),
                Moment::default(),
            )
        };
        let path = AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() };
        let delivery = Delivery::new("role=web".parse().unwrap(), BTreeSet::new());
        let past = Past { release: release("1a2b3c4"), until: Moment::default(), left_by: Kind::Deploy };
        let current = Current {
            track: Track { release: Some(release("1a2b3c4-again")), past: vec![past], ..Track::default() },
            ..Current::new(path, delivery, Generation::default())
        };
        let meant =
            |name: &str| find_kept(&current, &Wanted::Name(name.to_owned())).map(|r| r.id.to_string());
        assert_eq!(meant("1a2b3c4").as_deref(), Some("1a2b3c4"));
        assert_eq!(meant("1a2b3c4d").as_deref(), Some("1a2b3c4-again"));
        assert_eq!(meant("9"), None);
    }
}
