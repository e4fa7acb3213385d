//! The acceptance hook on real hosts: tried before users get a release and after each step, explained when it fails, ended when it is overtaken.

use std::path::{Path, PathBuf};
use std::time::Duration;

use footplate::api::{Delivery, OrderVerb, Overrides, Status};
use footplate_core::rollout::{Portion, Strategy};
use footplate_core::target::{AcceptanceHook, Trial};
use footplate_testkit::eventually;

use crate::serving::{delivery, workload};
use crate::site::{PATIENCE, Site, rollout, runs, target};

fn accepted(trial: Trial, deadline: Duration) -> Delivery {
    let mut delivery = delivery(Strategy::Rolling { batch: Portion::Count(1) });
    delivery.policy.acceptance = Some(AcceptanceHook { trial, deadline, group: None });
    delivery.policy.pace.accept = true;
    delivery
}

fn command(command: String) -> Trial {
    Trial::Command { command }
}

impl Site {
    async fn ship_accepted(&self, version: &str, arguments: &str, trial: Trial) -> (Option<u8>, String) {
        let delivery = accepted(trial, Duration::from_secs(10));
        self.push_workload(version, version, workload(arguments), delivery).await.unwrap();
        self.deploy(version, Overrides::default()).await.unwrap();
        let end = self.end().await;
        (end.exit_code, end.sentence)
    }
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_tried_on_the_new_release_alone_and_again_after_each_step() {
    let site = Site::with_hosts(&["web-1", "web-2"]).await;
    let notes = site.folder.path().join("tried");
    let curious = |notes: &Path| {
        let said = "$RELEASE $GROUP $STEP $HOST $ADDRESS:$PORT";
        command(format!("exec 9>&1; echo \"{said}\" >> {}; echo looked", notes.display()))
    };
    assert_eq!(site.ship_accepted("1", "web", curious(&notes)).await.0, Some(0));
    let told = lines(&notes);
    let begins = |line: &String| line.starts_with("1 web 0 web-");
    assert_eq!(told.iter().filter(|line| begins(line)).count(), 2, "once on each host, before: {told:?}");
    assert_eq!(told.len(), 3, "and on the first once more, after the only step: {told:?}");
    assert!(told[2].starts_with("1 web 1 web-1 127.0.0.1:2"), "{told:?}");
    let notes = site.folder.path().join("tried-again");
    assert_eq!(site.ship_accepted("2", "web", curious(&notes)).await.0, Some(0));
    let steps: Vec<String> =
        lines(&notes).iter().map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(steps, ["2 web 0 web-1", "2 web 1 web-1", "2 web 0 web-2", "2 web 2 web-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_not_accepted_is_taken_back_and_explained() {
    let site = Site::with_hosts(&["web-1"]).await;
    let fine = || command("true".to_owned());
    assert_eq!(site.ship_accepted("1", "web", fine()).await.0, Some(0));
    let broken = command("echo 'buying a shirt'; echo 'no payment' >&2; exit 3".to_owned());
    let (code, said) = site.ship_accepted("2", "web", broken).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("web-1/web could not accept `2`"), "{said}");
    assert!(said.contains("it ended with status 3: no payment"), "{said}");
    let status = site.until("the first runs", async |status: &Status| runs(status, "web-1", "1")).await;
    assert!(rollout(&status).record.outcome().unwrap().output().contains("buying a shirt"));
    let ready = |path: &str, status| Trial::Request { path: path.to_owned(), status };
    assert_eq!(site.ship_accepted("3", "web 204", ready("/ready", 204)).await.0, Some(0));
    let (code, said) = site.ship_accepted("4", "web", ready("/ready?all", 204)).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("it answered 200 to /ready?all, and 204 was expected"), "{said}");
    let passes_once = "test $STEP = 0 || { echo 'users complain'; exit 1; }".to_owned();
    let (code, said) = site.ship_accepted("5", "web", command(passes_once)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("users complain"), "{said}");
    site.until("the third runs again", async |status: &Status| runs(status, "web-1", "3")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_ends_with_its_deadline_or_when_it_is_overtaken() {
    let site = Site::with_hosts(&["web-1"]).await;
    assert_eq!(site.ship_accepted("1", "web", command("true".to_owned())).await.0, Some(0));
    let note: PathBuf = site.folder.path().join("hanging");
    let hang = || command(format!("sleep 600 & echo $! > {}; wait", note.display()));
    let delivery = accepted(hang(), Duration::from_millis(500));
    site.push_workload("2", "2", workload("web"), delivery).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    let said = site.end().await.sentence;
    assert!(said.contains("it did not end before its deadline and was killed"), "{said}");
    std::fs::remove_file(&note).unwrap();
    let delivery = accepted(hang(), Duration::from_secs(600));
    site.push_workload("3", "3", workload("web"), delivery).await.unwrap();
    site.deploy("3", Overrides::default()).await.unwrap();
    eventually("the hook runs", PATIENCE, async || !lines(&note).is_empty()).await;
    let child = lines(&note).remove(0);
    site.order(OrderVerb::Abort).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(1));
    // A dead child that nobody has reaped yet is as good as gone.
    let ended = |stat: &str| stat.contains(") Z");
    let is_there = || std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !ended(&stat));
    eventually("all its processes are gone", PATIENCE, async || !is_there()).await;
    let status = site.until("the first runs", async |status: &Status| runs(status, "web-1", "1")).await;
    let failed = &target(&status, "web-1").unwrap().failed;
    assert!(failed.is_empty(), "what was overtaken is no failure: {failed:?}");
}
