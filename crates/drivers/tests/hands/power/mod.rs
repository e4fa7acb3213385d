//! Power loss: the recorded system calls of prepare, activate and clean, cut off after every one of them.
//!
//! The test runs itself under strace in a child process, replays what it recorded onto a model file system where only
//! what was synced is sure to survive, and checks the promises in what could be found after each cut.

mod model;
mod trace;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use footplate_core::name::ReleaseId;
use footplate_core::release::{Hooks, Release};
use footplate_drivers::artifact::Directory;
use footplate_drivers::workload::{self, Settings};
use tokio_util::sync::CancellationToken;

use crate::support::{Place, hook, placement, release, scripts};
use model::{Disk, Image, Node, Survival};
use trace::Step;

/// Names the folder of the recorded run; set only in the recorded process.
const VARIABLE: &str = "FOOTPLATE_POWER_TEST";
/// What the recorded process does, in order.
const STORY: [(&str, &str); 8] = [
    ("prepare", "1"),
    ("activate", "1"),
    ("prepare", "2"),
    ("activate", "2"),
    ("activate", "1"),
    ("prepare", "3"),
    ("activate", "3"),
    ("clean", "2"),
];

/// What each complete release holds, byte for byte.
fn trees() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    BTreeMap::from([
        ("1", vec![("built", "one\n"), ("deep/er/file", "first"), ("index", "version one")]),
        ("2", vec![("built", "two\n"), ("deep/er/file", "second"), ("index", "version two")]),
        ("3", vec![("built", "three\n"), ("index", "version three")]),
    ])
}

async fn releases(place: &Place) -> Vec<Release> {
    let trees = trees();
    let files = |id: &str| trees[id].iter().filter(|(name, _)| *name != "built").copied().collect::<Vec<_>>();
    let one = Hooks { prepare: hook("echo one > built"), activated: None };
    let two = Hooks { prepare: hook("echo two > built"), activated: hook("true") };
    let three = scripts(&["echo three > built"], &["true"], &[]);
    vec![
        place.release("1", &files("1"), one).await,
        place.release("2", &files("2"), two).await,
        release("3", Some(place.artifact(&files("3")).await), three),
    ]
}

/// The recorded process. Run by itself, without its variable, it has nothing to do.
#[tokio::test]
async fn recorded_process() {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let releases: Vec<Release> =
        serde_json::from_slice(&fs::read(folder.join("releases.json")).unwrap()).unwrap();
    let artifacts = Directory::open(&folder.join("artifacts")).unwrap();
    let target = workload::open(placement(&folder.join("root")), Settings::default()).await.unwrap();
    let go_on = CancellationToken::new();
    for (verb, id) in STORY {
        let release = releases.iter().find(|release| release.id.as_str() == id).unwrap();
        trace::announce("begin");
        match verb {
            "prepare" => target.prepare(release, &artifacts, &go_on).await,
            "activate" => target.activate(release, &go_on).await,
            _ => target.clean(&release.id, Some(release), &go_on).await,
        }
        .unwrap();
        trace::announce("end");
    }
}

/// Records the story once and returns its steps, with the folder it was played in.
async fn record() -> (Place, Vec<Release>, Vec<Step>) {
    let place = Place::new();
    let folder = place.folder.path().canonicalize().unwrap();
    let releases = releases(&place).await;
    fs::write(folder.join("releases.json"), serde_json::to_vec(&releases).unwrap()).unwrap();
    fs::create_dir(folder.join("root")).unwrap();
    let log = folder.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-xx", "-s", "1000000", "-qq", "-e", trace::FILTER, "-o"]).arg(&log);
    strace.arg(std::env::current_exe().unwrap()).args([
        "--exact",
        "power::recorded_process",
        "--test-threads=1",
    ]);
    let played = strace.env(VARIABLE, &folder).output().expect(
        "strace records the system calls of this proof; install it (`apt-get install strace`) or run `cargo xtask test`",
    );
    assert!(
        played.status.success(),
        "the recorded process failed: {}",
        String::from_utf8_lossy(&played.stderr)
    );
    let steps = trace::parse(&fs::read_to_string(log).unwrap(), &folder.join("root"));
    (place, releases, steps)
}

/// What the process had been told to do, and what of it was over, when the power went.
#[derive(Default)]
struct Progress {
    doing: Option<(&'static str, &'static str)>,
    live: Option<&'static str>,
    prepared: BTreeSet<&'static str>,
    done: usize,
}

impl Progress {
    fn take(&mut self, word: &str) {
        if word == "begin" {
            self.doing = Some(STORY[self.done]);
            if let Some(("clean", id)) = self.doing {
                self.prepared.remove(id);
            }
            return;
        }
        let (verb, id) = self.doing.take().unwrap();
        self.done += 1;
        match verb {
            "prepare" => {
                self.prepared.insert(id);
            }
            "activate" => self.live = Some(id),
            _ => {}
        }
    }

    fn may_be_live(&self, id: Option<&str>) -> bool {
        id == self.live
            || (id.is_some() && self.doing.is_some_and(|(verb, next)| verb == "activate" && id == Some(next)))
    }
}

/// Says which promise is broken in what was found after a cut.
fn judge(image: &Image, progress: &Progress) -> Result<(), String> {
    let target = Path::new("production/shop");
    let trees = trees();
    let is_whole = |id: &str| {
        let folder = target.join("versions").join(id);
        let files =
            image.iter().filter(|(path, _)| path.starts_with(&folder)).filter_map(
                |(path, node)| match node {
                    Node::File(bytes) => {
                        let name = path.strip_prefix(&folder).ok()?.to_str()?;
                        Some((name.to_owned(), String::from_utf8_lossy(bytes).into_owned()))
                    }
                    _ => None,
                },
            );
        let expected = trees[id].iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        files.eq(expected)
    };
    let live = match image.get(&target.join("live")) {
        None => None,
        Some(Node::Link(to)) => {
            Some(to.strip_prefix("versions/").ok_or_else(|| format!("`live` points at {to}"))?)
        }
        Some(_) => return Err("`live` is not a link".to_owned()),
    };
    if !progress.may_be_live(live) {
        return Err(format!("`live` is {live:?} and not {:?} or what is being activated", progress.live));
    }
    if let Some(id) = live.filter(|id| !is_whole(id)) {
        return Err(format!("release {id} is live and not whole"));
    }
    for id in trees.keys() {
        let marked = image.contains_key(&target.join(format!("versions/.{id}.complete")));
        let exists = image.contains_key(&target.join("versions").join(id));
        if marked && exists && !is_whole(id) {
            return Err(format!("release {id} is marked as complete and not whole"));
        }
        if progress.prepared.contains(id) && !(marked && exists) {
            return Err(format!("release {id} was prepared and is not there"));
        }
    }
    Ok(())
}

/// Cuts after every step, in every way; hands over each image, and returns the first broken promise.
fn cut_everywhere(steps: &[Step], mut each: impl FnMut(&Image, &Progress)) -> Result<usize, String> {
    let mut disk = Disk::default();
    let mut progress = Progress::default();
    let mut cuts = 0;
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Announced(word) => progress.take(word),
            step => disk.apply(step),
        }
        let ways = [Survival::Synced, Survival::Everything, Survival::NamesWithoutBytes];
        let random = (0..8).map(|seed| Survival::Random(seed + 8 * number as u64));
        for way in ways.into_iter().chain(random) {
            let image = disk.after_power_loss(way);
            let broken = judge(&image, &progress);
            broken.map_err(|why| format!("after step {number} ({step:?}), {way:?} left: {why}"))?;
            each(&image, &progress);
            cuts += 1;
        }
    }
    Ok(cuts)
}

#[tokio::test]
async fn after_a_power_loss_at_any_moment_live_is_old_or_new_and_whole() {
    let (place, releases, steps) = record().await;
    let mut images = HashSet::new();
    let mut to_recover = Vec::new();
    let cuts = cut_everywhere(&steps, |image, progress| {
        if images.insert(image.clone()) && images.len() % 16 == 1 {
            to_recover.push((image.clone(), progress.live));
        }
    });
    let cuts = cuts.unwrap_or_else(|broken| panic!("{broken}"));
    println!(
        "{} steps, {cuts} cuts, {} different images, {} recovered",
        steps.len(),
        images.len(),
        to_recover.len()
    );
    assert!(steps.len() > 100 && images.len() > 100, "the recording must hold the whole story");
    let end = Disk::replay(&steps).after_power_loss(Survival::Everything);
    assert_eq!(end, model::read(&place.root()), "the model is what the disk is");
    for (image, live) in to_recover {
        recover(&place, &releases, &image, live).await;
    }
}

/// Writes an image to the real disk, and expects that an agent takes it from there to the end of the story.
async fn recover(place: &Place, releases: &[Release], image: &Image, live: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    model::write(image, folder.path());
    let target = workload::open(placement(folder.path()), Settings::default()).await.unwrap();
    let seen = target.observe().await.unwrap();
    assert!(seen.live.is_some() || live.is_none(), "what was live is live after the reboot");
    let go_on = CancellationToken::new();
    for release in releases {
        target.prepare(release, &place.artifacts, &go_on).await.unwrap();
    }
    let last = &releases[2];
    target.activate(last, &go_on).await.unwrap();
    let seen = target.observe().await.unwrap();
    let all: BTreeSet<ReleaseId> = releases.iter().map(|release| release.id.clone()).collect();
    assert_eq!((seen.live, seen.unfinished, seen.prepared), (Some(last.id.clone()), None, all));
    let found = model::read(folder.path());
    let mut progress = Progress { live: Some("3"), ..Progress::default() };
    progress.prepared.extend(["1", "2", "3"]);
    judge(&found, &progress).unwrap_or_else(|broken| panic!("after recovery: {broken}"));
}

#[tokio::test]
async fn the_proof_notices_a_missing_sync() {
    let (_place, _, steps) = record().await;
    let without = |is_left_out: fn(&Step) -> bool| {
        let steps: Vec<Step> = steps.iter().filter(|step| !is_left_out(step)).cloned().collect();
        cut_everywhere(&steps, |_, _| {}).unwrap_err()
    };
    println!("{}", without(|step| matches!(step, Step::SyncAll)));
    println!("{}", without(|step| matches!(step, Step::Sync(path) if path.ends_with("versions"))));
    println!("{}", without(|step| matches!(step, Step::Sync(path) if path.ends_with("shop"))));
}
