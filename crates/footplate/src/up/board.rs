//! What `footplate up` shows: what is live where, and a step to try next.

use std::path::Path;

use crate::api::Status;
use crate::cli::table;

/// Returns what is live where, a line a target.
pub fn live(status: &Status, hosts: &Path) -> String {
    let rows = status.apps.iter().flat_map(|app| {
        app.targets.iter().map(move |target| {
            let live = target.live.as_ref().map_or("nothing".to_owned(), ToString::to_string);
            let folder = hosts.join(target.target.host.as_str()).join("apps");
            let folder = folder.join(app.path.environment.as_str()).join(app.path.app.as_str()).join("live");
            vec![
                target.target.host.to_string(),
                format!("{}.{}", app.path, target.target.group),
                live,
                target.drift.clone().unwrap_or_default(),
                folder.display().to_string(),
            ]
        })
    });
    format!("\n{}\n", table(&["HOST", "TARGET", "LIVE", "DRIFT", "FOLDER"], rows))
}

/// Returns a step to try next, after a commit that shipped or one that failed.
pub fn next_step(repository: &Path, data: &Path, shipped: bool, commit: &str, is_example: bool) -> String {
    let folder = repository.display();
    if !shipped {
        return format!(
            "\n{commit} did not ship; what was live stays live.\n\
             next: mend it in {folder} and commit again; it ships by itself.\n"
        );
    }
    let program = std::env::current_exe().map_or("footplate".to_owned(), |path| path.display().to_string());
    let example = "
  echo '<p>Hello again</p></html>' > site/about.html && git commit -am 'Change a page'
    and watch it ship here; a page without </html> is stopped by the prepare hook";
    format!(
        "\nTry next, in another terminal:\n  \
           cd {folder}{}\n  \
           {program} --data {} status\n    \
             what runs where; `rollback`, `history` and `logs` work too\n\
         Ctrl-C stops everything.\n",
        if is_example { example } else { "" },
        data.display()
    )
}
