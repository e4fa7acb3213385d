//! What `footplate up` shows: what is live where, and a step to try next.

use std::net::SocketAddr;
use std::path::Path;

use footplate_core::name::TargetName;
use footplate_drivers::workload::folder_of;

use crate::api::{AppStatus, Status, TargetStatus};
use crate::cli::table;
use crate::config::app::FILES;

/// So many targets are shown; `footplate status --all` has the rest.
const ROWS_MAX: usize = 20;

/// Returns what is live where, a line a target; nothing before the first deployment.
pub fn live(status: &Status, hosts: &Path) -> String {
    let all = || status.apps.iter().flat_map(|app| app.targets.iter().map(move |target| (app, target)));
    if all().next().is_none() {
        return String::new();
    }
    let drifts = all().any(|(_, target)| target.drift.is_some());
    let rows = all().take(ROWS_MAX).map(|(app, target)| row(app, target, hosts, drifts));
    let mut heading = vec!["HOST", "TARGET", "LIVE", "FOLDER"];
    if drifts {
        heading.push("DRIFT");
    }
    let table = table(&heading, rows);
    match all().count().saturating_sub(ROWS_MAX) {
        0 => format!("\n{table}\n"),
        more => format!("\n{table}and {more} more: `footplate status --all`\n\n"),
    }
}

fn row(app: &AppStatus, target: &TargetStatus, hosts: &Path, drifts: bool) -> Vec<String> {
    let host = &target.target.host;
    let name = TargetName { path: app.path.clone(), group: target.target.group.clone() };
    let folder = folder_of(&hosts.join(host.as_str()).join("apps"), &name);
    let mut row = vec![
        host.to_string(),
        name.to_string(),
        target.live.as_ref().map_or("nothing".to_owned(), ToString::to_string),
        folder.join("live").display().to_string(),
    ];
    row.extend(drifts.then(|| target.drift.clone().unwrap_or_default()));
    row
}

/// Returns what is said after a commit that did not ship.
pub fn not_shipped(repository: &Path, commit: &str) -> String {
    format!(
        "{commit} did not ship; what was live stays live.\n  \
           next: mend it in {} and commit again; it ships by itself.\n",
        repository.display()
    )
}

/// Returns what is said after a commit that shipped, when all is known already.
pub fn shipped(commit: &str) -> String {
    format!("{commit} is live. The next commit ships by itself; Ctrl-C stops everything.\n")
}

/// Tells whether something that was deployed takes requests.
pub fn has_services(status: &Status) -> bool {
    status.apps.iter().flat_map(|app| &app.targets).any(|target| target.target.group.as_str() != FILES)
}

/// Returns the steps to try after the first commit that shipped; `router` is where services are reached.
pub fn next_steps(repository: &Path, data: &Path, router: Option<SocketAddr>, is_example: bool) -> String {
    let program = std::env::current_exe().map_or("footplate".to_owned(), |path| path.display().to_string());
    let visit = router.map_or_else(String::new, |router| format!("Open http://{router}/ in a browser.\n"));
    let example = r#"
  sed -i 's/Hello from/Greetings from/' site/index.html && git commit -am 'Greet'
    and watch it go from host to host
  sed -i '/<.html>/d' site/index.html && git commit -am 'Break a page'
    its prepare hook stops it: nothing changes, and you read why
  git revert --no-edit HEAD && sed -i 's/200 OK/500 Oops/' server.pl && git commit -am 'Break the server'
    the first host finds it ill and takes it back: no visitor was sent there"#;
    format!(
        "{visit}Try next, in another terminal:\n  \
           cd {}{}\n  \
           {program} --data {} status\n    \
             what runs where; `rollback`, `history` and `logs` work too\n\
         Ctrl-C stops everything.\n",
        repository.display(),
        if is_example { example } else { "" },
        data.display()
    )
}
