//! Programs of a folder.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use footplate_core::verdict::source::Command;
use footplate_core::verdict::{Measure, Source};
use footplate_drivers::kpi::{self, Kpi, Settings};
use tempfile::TempDir;

use crate::contract::{self, Site, Trouble, names, number, why};

struct Programs(TempDir);

fn write(folder: &Path, text: &str) {
    // A new file each time: one that runs cannot be written.
    let (fresh, path) = (folder.join("fresh"), folder.join("orders"));
    std::fs::write(&fresh, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

fn open(folder: &Path, measure: &Measure) -> Kpi {
    let arguments = vec!["{canary}".to_owned(), "{app} in {environment}".to_owned()];
    let source = Source::Command(Command { name: "orders".to_owned(), arguments });
    let settings = Settings { commands: Some(folder.to_owned()), ..Settings::default() };
    kpi::open(&source, measure, &names(), &settings).unwrap().unwrap()
}

#[async_trait]
impl Site for Programs {
    async fn set(&self, [canary, canary_of, baseline, baseline_of]: [u64; 4]) {
        let json = format!(
            r#"{{"canary": {canary}, "canary_of": {canary_of}, "baseline": {baseline}, "baseline_of": {baseline_of}}}"#
        );
        write(self.0.path(), &format!("echo talk; echo more >&2; echo '{json}'"));
    }

    async fn trouble(&self, trouble: Trouble) {
        let text = match trouble {
            Trouble::Silent => "sleep 3600",
            Trouble::Nonsense => "echo no database >&2; exit 3",
            Trouble::NotANumber => {
                r#"echo '{"canary": "NaN", "canary_of": null, "baseline": "inf", "baseline_of": 1}'"#
            }
            Trouble::Missing => "echo '{}'",
        };
        write(self.0.path(), text);
    }

    fn open(&self, measure: &Measure) -> Kpi {
        open(self.0.path(), measure)
    }

    fn is_exact_over_resets(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_program_holds_the_contract() {
    contract::holds(&Programs(tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn a_program_has_its_arguments_and_nothing_of_ours_and_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("child");
    write(
        folder.path(),
        &format!(
            "echo \"$1|$2|$FOOTPLATE_TOKEN_FILE|$CARGO\" > {0}/said; sleep 3600 & echo $! > {0}/child; wait",
            folder.path().display()
        ),
    );
    let told = why(open(folder.path(), &number()).ask().await);
    assert!(told.contains("`orders`") && told.contains("deadline"), "{told}");
    let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
    assert_eq!(said.trim(), "1.3|shop in production||");
    let child = std::fs::read_to_string(mark).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    let is_gone = || {
        // A zombie is dead, whoever has yet to look at it.
        let state = std::fs::read_to_string(&stat).unwrap_or_default();
        std::future::ready(state.is_empty() || state.contains(") Z "))
    };
    footplate_testkit::eventually("the child is gone", std::time::Duration::from_secs(10), is_gone).await;
}

#[tokio::test]
async fn a_program_that_strangers_may_write_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "echo '{\"canary\": 1}'");
    let path = folder.path().join("orders");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(why(open(folder.path(), &number()).ask().await).contains("anybody may write"));
    std::fs::remove_file(&path).unwrap();
    assert!(why(open(folder.path(), &number()).ask().await).contains("cannot be looked at"));
}

#[test]
fn without_a_folder_no_program_is_run() {
    let source = Source::Command(Command { name: "orders".to_owned(), arguments: Vec::new() });
    let error = kpi::open(&source, &number(), &names(), &Settings::default()).err().expect("no folder");
    assert!(error.next().contains("kpi_commands"));
}
