//! The variables that scripts and hooks see.

use std::ffi::OsString;

use footplate_core::name::ReleaseId;
use footplate_core::release::Release;

use super::Placement;

/// Returns the variables of a release's scripts; `docs/reference` lists them for users.
///
/// `RELEASE`, `VERSION`, `COMMIT` (when known) · `APP`, `ENVIRONMENT`, `GROUP`, `HOST` · `RELEASE_DIR` its folder, `LIVE` the
/// link that names the live release · `PREVIOUS` the release that was live when the script began, or empty.
pub(super) fn of_release(
    placement: &Placement,
    release: &Release,
    live: Option<&ReleaseId>,
) -> Vec<(String, OsString)> {
    let folder = placement.folder();
    let text = |text: &str| OsString::from(text);
    let mut variables = vec![
        ("RELEASE", text(release.id.as_str())),
        ("VERSION", text(release.version.as_str())),
        ("APP", text(release.app.as_str())),
        ("ENVIRONMENT", text(placement.name.path.environment.as_str())),
        ("GROUP", text(placement.name.group.as_str())),
        ("HOST", text(placement.host.as_str())),
        ("RELEASE_DIR", folder.join("versions").join(release.id.as_str()).into()),
        ("LIVE", folder.join("live").into()),
        ("PREVIOUS", text(live.map_or("", ReleaseId::as_str))),
    ];
    variables.extend(release.commit.as_deref().map(|commit| ("COMMIT", text(commit))));
    // The app's own come first: what Footplate says of a run is never hidden by them.
    let own = release.variables_in(&placement.name.path.environment).map(|(name, value)| (name, text(value)));
    own.chain(variables).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the five variables of the original Depro for a target of ours.
pub(super) fn of_depro(placement: &Placement, release: &Release) -> Vec<(String, OsString)> {
    let path = placement.name.path.to_string();
    let variables = [
        ("VERSION", release.version.as_str().into()),
        ("AGENT_NAME", placement.host.as_str().into()),
        ("DEPLOYMENT_ID", path.clone().into()),
        ("DEPLOYMENT_PREFIX", path.into()),
        ("DEPLOYMENT_PATH", placement.folder().into_os_string()),
    ];
    variables.into_iter().map(|(name, value): (&str, OsString)| (name.to_owned(), value)).collect()
}
