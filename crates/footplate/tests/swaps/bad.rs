//! Bad versions: each comes no further than its canary or batch, is undone, costs users nothing, and is explained on one screen.

use std::path::Path;
use std::process::ExitStatus;

use footplate_testkit::load::{Load, Running};
use footplate_testkit::process::eventually;
use tokio::runtime::Runtime;

use crate::front::{Builtin, Front};
use crate::site::{Site, Version};

/// The lines of a terminal.
const SCREEN: usize = 24;
/// The hosts, of which one is the canary or the first batch.
const HOSTS: usize = 2;
/// Watched for long enough that a flaw shows, which comes after a second.
const CANARY: &str = "strategy = \"canary\"\nramp = [\"10%\", \"50%\"]\nbatch = \"1\"\nwatch = \"20s\"\nstep_deadline = \"60s\"";
const ROLLING: &str = "strategy = \"rolling\"\nbatch = \"1\"\nwatch = \"20s\"\nstep_deadline = \"60s\"";

/// A site that runs a good version, and clients that may notice nothing of a bad one.
struct Story<F> {
    site: Site<F>,
    runtime: Runtime,
    loads: Vec<Running>,
}

impl<F: Front> Story<F> {
    fn begin() -> Self {
        let site = Site::<F>::start(HOSTS);
        site.must_ship(&Version::good("1", "watch = \"0s\""));
        let runtime = Runtime::new().expect("a runtime");
        let load = Load { path: "/small".into(), ..Load::new(site.front.address(), 2) };
        let loads = {
            let _inside = runtime.enter();
            vec![load.start(), Load { keep_alive: false, ..load }.start()]
        };
        Self { site, runtime, loads }
    }

    /// Deploys a version that must not arrive; returns what the person read, which fits on a screen.
    fn ship(&self, version: &Version) -> String {
        let mut deploy = self.site.ship(version);
        let ended = deploy.wait();
        self.judge(ended, deploy.said())
    }

    fn judge(&self, ended: ExitStatus, said: String) -> String {
        println!("{said}\n({} lines)", said.lines().count());
        assert_eq!(ended.code(), Some(1), "{said}");
        assert!(said.lines().count() <= SCREEN, "{said}");
        let mut lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        lines.sort_unstable();
        let twice: Vec<_> = lines.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "said twice: {twice:?}\n{said}");
        said
    }

    /// Returns what there is to read of hooks and services once all is over, which must come to hold some words.
    fn logs(&self, words: &str) -> String {
        let mut logs = String::new();
        eventually(&format!("the logs say {words:?}"), || {
            logs = self.site.operator(&["logs", "shop"]).1;
            logs.contains(words)
        });
        logs
    }

    /// Checks that the version came to one host at most, that all run the first one, and that nobody noticed.
    fn must_be_undone(self, version: &str) {
        let site = &self.site;
        let hosts: Vec<String> = (1..=HOSTS).map(|number| format!("web-{number}")).collect();
        let tried = |host: &&String| has_run(site.folder(), host, version);
        assert!(
            hosts.iter().filter(tried).count() <= 1,
            "{:?}",
            hosts.iter().filter(tried).collect::<Vec<_>>()
        );
        eventually("the bad version is gone and the good one runs", || {
            hosts
                .iter()
                .all(|host| site.service(host, version).is_none() && site.service(host, "1").is_some())
        });
        for load in self.loads {
            let outcome = self.runtime.block_on(load.stop());
            assert!(outcome.requests > 50, "{}", outcome.requests);
            assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
        }
    }
}

fn has_run(site: &Path, host: &str, release: &str) -> bool {
    site.join(host).join(format!("services/production.shop.web.{release}")).exists()
}

#[test]
fn one_that_never_listens_stops_at_its_batch() {
    let story = Story::<Builtin>::begin();
    let said = story.ship(&Version { arguments: "silent", ..Version::good("2", ROLLING) });
    assert!(said.contains("did not become ready within 4 s"), "{said}");
    assert!(said.contains("waiting for a licence that never comes"), "{said}");
    eventually("its files are gone", || {
        !has_run(story.site.folder(), "web-1", "2") && !has_run(story.site.folder(), "web-2", "2")
    });
    story.logs("waiting for a licence that never comes");
    story.must_be_undone("2");
}

#[test]
fn one_that_answers_500_to_health_stops_at_its_canary() {
    let story = Story::<Builtin>::begin();
    let said = story.ship(&Version { arguments: "sick", ..Version::good("2", CANARY) });
    assert!(said.contains("it answered 500 to /health"), "{said}");
    story.must_be_undone("2");
}

#[test]
fn one_that_crashes_after_a_while_stops_at_its_canary() {
    let story = Story::<Builtin>::begin();
    let said = story.ship(&Version { arguments: "crash 1500", ..Version::good("2", CANARY) });
    assert!(
        said.contains("/web started `2`, but it crashed 1 s after its start: it ended with status 1"),
        "{said}"
    );
    assert!(said.contains("the connection to the database was lost"), "{said}");
    assert!(!said.contains("could not start"), "{said}");
    story.logs("the connection to the database was lost");
    story.must_be_undone("2");
}

#[test]
fn one_that_leaks_stops_at_its_canary() {
    let story = Story::<Builtin>::begin();
    let leaks = Version { arguments: "leak", service: "memory = \"64MiB\"", ..Version::good("2", CANARY) };
    let said = story.ship(&leaks);
    assert!(said.contains("it used more than its 64 MiB of memory and was killed"), "{said}");
    story.must_be_undone("2");
}

#[test]
fn one_that_ignores_term_is_named_where_a_good_one_took_its_place() {
    let site = Site::<Builtin>::start(HOSTS);
    let arguments = format!("deaf {}", site.folder().join("told").display());
    let rolling = "strategy = \"rolling\"\nbatch = \"1\"\nwatch = \"0s\"";
    site.must_ship(&Version { arguments: &arguments, ..Version::good("1", rolling) });
    let mut deploy = site.ship(&Version::good("2", rolling));
    let ended = deploy.wait();
    let said = deploy.said();
    assert!(ended.success(), "{said}");
    let named = "web-1/web and web-2/web could not stop `1`: it did not end within its grace and was killed";
    assert!(
        said.contains(named) && said.contains("next: see its last lines with `footplate logs shop`"),
        "{said}"
    );
    let (_, history) = site.operator(&["history", "shop"]);
    let is_named = |line: &&str| line.ends_with(&format!("`production.shop`: {named}"));
    assert_eq!(history.lines().filter(is_named).count(), 1, "{history}");
}

#[test]
fn one_that_ignores_term_is_killed_when_it_is_taken_back() {
    let story = Story::<Builtin>::begin();
    let told = story.site.folder().join("told");
    let arguments = format!("deaf {}", told.display());
    let mut deploy = story.site.ship(&Version { arguments: &arguments, ..Version::good("2", CANARY) });
    let hosts = ["web-1", "web-2"];
    eventually("it is up", || hosts.iter().any(|host| story.site.log(host, "2").contains("listens on")));
    let (aborted, said) = story.site.operator(&["abort", "shop", "--reason", "it is deaf"]);
    assert!(aborted.success(), "{said}");
    let ended = deploy.wait();
    let said = story.judge(ended, deploy.said());
    assert!(said.contains("aborted"), "{said}");
    assert!(said.contains("/web:\nit did not end within its grace and was killed"), "{said}");
    assert!(told.exists(), "it was told to end, and stayed until it was killed");
    story.logs("it did not end within its grace and was killed");
    story.must_be_undone("2");
}
