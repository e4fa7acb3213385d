//! An app of three process groups as real processes: `web` with a port behind a real router, `worker` that takes jobs from a
//! folder and beats its heart, `tidy` that runs by a schedule. Deployed whole, and one of them alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate::api::{
    By, Delivery, Deploy, Overrides, Planned, RollBack, RolloutStatus, Status, TargetStatus,
};
use footplate::client::ClientError;
use footplate_core::name::GroupName;
use footplate_core::release::service::{Check, Health, Kind, Probe, Stop};
use footplate_core::release::{Schedule, Service, Workload};
use footplate_core::rollout::{Pace, Policy, Portion, Strategy};
use footplate_core::target::Readiness;

use crate::serving::{self, Router, builtin};
use crate::site::{Site, deploy, path, refusal, within};

const HOSTS: [&str; 2] = ["web-1", "web-2"];

/// Takes jobs out of the queue, one at a time, and finishes what it took when it is asked to end; says who it is, and complains when
/// another one is up on its host. Whoever asks it to end asks `mv` as well, which may have moved a job by then.
const WORKER: &str = r#"
    host=$HOST
    mkdir "$ROOT/up-$host" 2>/dev/null || echo "$RELEASE met another on $host" >> "$ROOT/met"
    trap 'ends=yes' TERM
    echo "$host $RELEASE $$" >> "$ROOT/workers"
    while [ -z "$ends" ]; do
        touch "$HEARTBEAT"
        for job in "$ROOT"/queue/*; do
            [ -z "$ends" ] || break
            taken="$ROOT/taken-$host-$$"
            mv "$job" "$taken" 2>/dev/null
            [ -s "$taken" ] && read number < "$taken" && : > "$taken" && echo "$RELEASE $number" >> "$ROOT/done"
        done
        sleep 0.1
    done
    rmdir "$ROOT/up-$host" 2>/dev/null"#;

/// Runs for a while, and finishes what it began when it is asked to end.
const TIDY: &str = r#"
    trap '' TERM
    host=$HOST
    echo "begin $host $RELEASE $$" >> "$ROOT/runs"
    sleep 1
    echo "end $host $RELEASE $$" >> "$ROOT/runs""#;

struct Shop {
    site: Site,
    router: Router,
}

impl Shop {
    async fn open() -> Self {
        let mut site = Site::with_hosts(&HOSTS).await;
        let router = builtin(site.folder.path().join("router")).await;
        site.start_agent_beside("edge", "edge", Some(router.config.clone()));
        std::fs::create_dir(site.folder.path().join("queue")).unwrap();
        Self { site, router }
    }

    async fn push(&self, version: &str, strategy: Strategy, alone: bool, worker: &str) {
        let Workload::Service { hooks, mut services } = serving::workload("web") else { unreachable!() };
        let heart = |within| Probe {
            interval: Duration::from_millis(100),
            ..Probe::new(Check::Heartbeat { within: Duration::from_millis(within) })
        };
        let root = self.site.folder.path().display().to_string();
        let env = || BTreeMap::from([("ROOT".to_owned(), root.clone())]);
        let worker = Service {
            env: env(),
            health: Health {
                readiness: Some(heart(800)),
                healthy_time_min: Duration::from_millis(1500),
                start_deadline: Duration::from_secs(4),
                unready_deadline: Duration::from_secs(2),
                ..Health::default()
            },
            ..Service::worker(worker)
        };
        let schedule = Schedule::Every(Duration::from_millis(1500));
        let tidy = Service {
            env: env(),
            stop: Stop { grace: Duration::from_secs(10), ..Stop::default() },
            ..Service::new(TIDY, Kind::Scheduled { schedule })
        };
        services.extend([(group("worker"), worker), (group("tidy"), tidy)]);
        let pace = Pace {
            alone,
            watch: Duration::from_millis(200),
            ..serving::delivery(strategy.clone()).policy.pace
        };
        let delivery = Delivery {
            groups: services.keys().cloned().collect(),
            policy: Policy { strategy, pace, ..Policy::default() },
            ..serving::delivery(Strategy::Barrier)
        };
        let workload = Workload::Service { hooks, services };
        self.site.push_workload(version, version, workload, delivery).await.unwrap();
    }

    /// Deploys what was pushed, and expects how it ends.
    async fn ship(&self, version: &str, groups: &[&str], code: u8) -> RolloutStatus {
        self.begin(version, groups).await.unwrap();
        let end = self.site.end().await;
        assert_eq!(end.exit_code, Some(code), "{}", end.sentence);
        end
    }

    async fn begin(&self, version: &str, groups: &[&str]) -> Result<Planned, ClientError> {
        self.site.client.deploy(&self.order(version, groups)).await
    }

    fn order(&self, version: &str, groups: &[&str]) -> Deploy {
        Deploy { groups: named(groups), ..deploy(version, Overrides::default()) }
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.site.folder.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn poll_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let poll = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(what, poll).await;
    }

    fn add_jobs(&self, jobs: std::ops::Range<u32>) {
        let root = self.site.folder.path();
        for job in jobs {
            // Whole before it stands in the queue.
            let draft = root.join(format!("draft-{job}"));
            std::fs::write(&draft, format!("{job}\n")).unwrap();
            std::fs::rename(draft, root.join(format!("queue/{job}"))).unwrap();
        }
    }

    async fn all_jobs_are_done_once(&self, jobs: u32) {
        self.poll_until("all jobs are done", |shop| shop.lines("done").len() >= jobs as usize).await;
        let done = self.lines("done");
        let numbers: BTreeSet<&str> = done.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!((numbers.len(), done.len()), (jobs as usize, jobs as usize), "{done:?}");
    }

    /// Expects that from now on the schedule runs this release alone on every host, and that no run of another was cut.
    async fn the_schedule_follows(&self, version: &str) {
        let past = self.lines("runs").len();
        let begun = |runs: &[String], host: &str| {
            runs.iter().filter(|line| line.starts_with(&format!("begin {host} {version} "))).count()
        };
        // Between two of its runs another release would have had one.
        let is_seen = |shop: &Self| HOSTS.iter().all(|host| begun(&shop.lines("runs")[past..], host) > 1);
        self.poll_until("the schedule runs it twice more", is_seen).await;
        let runs = self.lines("runs");
        let is_other = |run: &&str| !run.contains(&format!(" {version} "));
        for run in runs.iter().filter_map(|line| line.strip_prefix("begin ")).filter(is_other) {
            assert!(runs.contains(&format!("end {run}")), "the run `{run}` was cut: {runs:?}");
        }
        let late: Vec<&str> =
            runs[past..].iter().filter_map(|line| line.strip_prefix("begin ")).filter(is_other).collect();
        assert!(late.is_empty(), "{late:?} began after the rollout: {runs:?}");
    }

    /// Returns which processes answer with this release, one a host.
    async fn answering(&self, version: &str) -> BTreeSet<String> {
        let asked = async {
            let mut answers = BTreeSet::new();
            while answers.len() < HOSTS.len() {
                let answer = reqwest::get(format!("http://{}/", self.router.address)).await.unwrap();
                let text = answer.text().await.unwrap();
                if text.starts_with(&format!("{version} by process")) {
                    answers.insert(text);
                }
            }
            answers
        };
        within(&format!("both hosts answer with {version}"), asked).await
    }
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn named(groups: &[&str]) -> BTreeSet<GroupName> {
    groups.iter().map(|name| group(name)).collect()
}

fn rolling() -> Strategy {
    Strategy::Rolling { batch: Portion::Count(1) }
}

/// What a process group runs, by the targets' own reports.
fn runs(status: &Status, name: &str, version: &str) -> bool {
    let mut targets = status.apps[0].targets.iter().filter(|target| target.target.group.as_str() == name);
    targets.all(|target| target.live.as_ref().is_some_and(|live| live.as_str() == version))
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_may_not_meet_and_a_schedule_follow_a_rolling_rollout() {
    let shop = Shop::open().await;
    shop.push("1", rolling(), true, WORKER).await;
    shop.ship("1", &[], 0).await;
    shop.add_jobs(0..20);
    shop.poll_until("the schedule runs", |shop| !shop.lines("runs").is_empty()).await;
    shop.push("2", rolling(), true, WORKER).await;
    shop.begin("2", &[]).await.unwrap();
    shop.add_jobs(20..40);
    assert_eq!(shop.site.end().await.exit_code, Some(0));
    shop.all_jobs_are_done_once(40).await;
    shop.the_schedule_follows("2").await;
    assert_eq!(shop.lines("met"), Vec::<String>::new());
    assert_eq!(shop.lines("workers").len(), 4, "{:?}", shop.lines("workers"));
    shop.answering("2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_a_schedule_follow_a_canary() {
    let shop = Shop::open().await;
    let canary = Strategy::Canary { ramp: vec!["20%".parse().unwrap()], batch: Portion::Count(1) };
    shop.push("1", canary.clone(), false, WORKER).await;
    shop.ship("1", &[], 0).await;
    shop.poll_until("the schedule runs", |shop| !shop.lines("runs").is_empty()).await;
    shop.push("2", canary, false, WORKER).await;
    shop.begin("2", &[]).await.unwrap();
    shop.add_jobs(0..30);
    assert_eq!(shop.site.end().await.exit_code, Some(0));
    shop.all_jobs_are_done_once(30).await;
    shop.the_schedule_follows("2").await;
    shop.answering("2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_group_goes_on_and_back_while_the_others_stay_as_they_are() {
    let shop = Shop::open().await;
    shop.push("1", rolling(), false, WORKER).await;
    shop.ship("1", &[], 0).await;
    let web = shop.answering("1").await;
    shop.push("2", rolling(), false, WORKER).await;
    let planned = shop.site.client.plan(&shop.order("2", &["worker"])).await.unwrap();
    assert_eq!((planned.groups, planned.required.len()), (named(&["worker"]), 2));
    let stays: Vec<String> =
        planned.untouched.iter().map(|(group, release)| format!("{group} {release}")).collect();
    assert_eq!(stays, ["tidy 1", "web 1"]);
    let end = shop.ship("2", &["worker"], 0).await;
    assert_eq!(end.sentence, "process group `worker` of `production.shop` runs `2` on 2 targets");
    let status = shop.site.until("the worker runs it", async |status| runs(status, "worker", "2")).await;
    assert!(runs(&status, "web", "1") && runs(&status, "tidy", "1"), "{:?}", status.apps[0].targets);
    let is_ready = |target: &TargetStatus| {
        target.service.as_ref().is_some_and(|service| service.readiness == Readiness::Ready)
    };
    assert!(status.apps[0].targets.iter().all(is_ready), "{:?}", status.apps[0].targets);
    let apart = |status: &Status| {
        let apart = status.apps[0].apart.iter();
        apart.map(|(group, one)| format!("{group} {}", one.current.as_ref().unwrap().id)).collect::<Vec<_>>()
    };
    assert_eq!(apart(&status), ["worker 2"]);
    assert_eq!(shop.answering("1").await, web, "the same processes answer");
    let back = RollBack { path: path(), to: None, groups: named(&["worker"]), by: By::default() };
    shop.site.client.roll_back(&back).await.unwrap();
    assert_eq!(shop.site.end().await.exit_code, Some(0));
    shop.site.until("the worker is back", async |status| runs(status, "worker", "1")).await;
    assert_eq!(shop.answering("1").await, web, "the same processes answer");
    let releases: Vec<String> =
        shop.lines("workers").iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(releases, ["1", "1", "2", "2", "1", "1"]);
    shop.site.open_gate().await;
    let refused = refusal(shop.begin("2", &["poller"]).await.unwrap_err());
    assert_eq!(
        refused,
        "cannot deploy `2` to process group `poller` of `production.shop`: the release has no process group \
         `poller` there; it has process groups `tidy`, `web` and `worker`; next: name process groups that it has"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_heart_never_beats_is_taken_back_with_its_last_words() {
    let shop = Shop::open().await;
    shop.push("1", rolling(), false, WORKER).await;
    shop.ship("1", &[], 0).await;
    let web = shop.answering("1").await;
    let mute = "echo 'cannot reach the queue: connection refused'; exec sleep 1000";
    shop.push("2", rolling(), false, mute).await;
    let end = shop.ship("2", &["worker"], 1).await;
    let output = end.record.outcome().unwrap().output().to_owned();
    assert!(output.contains("cannot reach the queue"), "{}: {output}", end.sentence);
    assert!(end.sentence.contains("web-1/worker could not start `2`"), "{}", end.sentence);
    let status = shop.site.until("the worker is back", async |status| runs(status, "worker", "1")).await;
    assert!(status.apps[0].apart.is_empty(), "{:?}", status.apps[0].apart);
    assert_eq!(shop.lines("workers").len(), 2, "the old workers were never stopped");
    assert_eq!(shop.answering("1").await, web, "the same processes answer");
}
