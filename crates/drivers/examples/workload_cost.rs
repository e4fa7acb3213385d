//! What preparing and switching cost on this machine: `cargo run --release -p footplate-drivers --example workload_cost`.
//!
//! 200 targets (or as many as the first argument says) in one process prepare a tiny release at once, then switch at
//! once; below it the same number of bare renames, each with its fsync. Files go to the folder named by the second argument.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_core::moment::Moment;
use footplate_core::release::{Hooks, Release, Scripts, Workload as Kind};
use footplate_drivers::archive;
use footplate_drivers::artifact::{ArtifactStore, Directory, Fetch};
use footplate_drivers::disk::HeldFolder;
use footplate_drivers::shell::{self, Script};
use footplate_drivers::workload::{self, Placement, Settings, Workload};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let count = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(200);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join(format!("footplate-cost-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&folder, count).await;
    fs::remove_dir_all(&folder)?;
    measured
}

async fn measure(folder: &Path, count: usize) -> Result<(), Failure> {
    let artifacts: Arc<dyn Fetch> = Arc::new(tiny(folder).await?);
    let release = release(folder, "1", Kind::ReleaseDir(Hooks::default()))?;
    let (prepare, switch) = all(folder, "dir", count, &artifacts, &release).await?;
    println!("{count} release directories: prepare {prepare:?}, switch {switch:?}");
    println!("  each, one after the other: {:?}", one_by_one(folder, &artifacts, &release).await?);
    println!("{count} bare renames with fsync, one after the other: {:?}", bare_renames(folder, count)?);
    let lines = vec!["true".to_owned()];
    let scripts = Scripts {
        shell: "bash".to_owned(),
        deploy: lines.clone(),
        rollout: lines,
        clean: Vec::new(),
        deadline: Duration::from_secs(60),
    };
    let (prepare, switch) =
        all(folder, "cmd", count, &artifacts, &self::release(folder, "2", Kind::Command(scripts))?).await?;
    println!("{count} command releases (bash, `true`): prepare {prepare:?}, switch {switch:?}");
    println!("{count} bare scripts, all at once: {:?}", bare_scripts(folder, count).await?);
    Ok(())
}

async fn tiny(folder: &Path) -> Result<Directory, Failure> {
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("bin"))?;
    fs::write(tree.join("index.html"), "hello")?;
    fs::write(tree.join("bin/run"), "#!/bin/sh\n")?;
    let packed = archive::pack(&tree, &folder.join("packed"), 0)?;
    let artifacts = Directory::open(&folder.join("artifacts"))?;
    artifacts.put(&packed.artifact, &folder.join("packed")).await?;
    Ok(artifacts)
}

fn release(folder: &Path, id: &str, workload: Kind) -> Result<Release, Failure> {
    let has_files = matches!(workload, Kind::ReleaseDir(_));
    Ok(Release {
        id: id.parse()?,
        app: "shop".parse()?,
        version: id.parse()?,
        commit: None,
        summary: None,
        artifact: has_files.then(|| archive::digest_file(&folder.join("packed"))).transpose()?,
        workload,
        created_at: Moment::default(),
        variables: Default::default(),
        routes: Default::default(),
        signature: None,
    })
}

async fn open(folder: &Path, kind: &str, number: usize) -> Result<Arc<dyn Workload>, Failure> {
    let root = HeldFolder::take(&folder.join(format!("{kind}{number}")))?;
    let placement = Placement {
        root: root.ok_or("the folder is in use")?,
        host: format!("web{number}").parse()?,
        name: "production.shop.files".parse()?,
    };
    Ok(workload::open(placement, Settings::default()).await?)
}

/// Returns how long it took until all were prepared, and then until all had switched.
async fn all(
    folder: &Path,
    kind: &str,
    count: usize,
    artifacts: &Arc<dyn Fetch>,
    release: &Release,
) -> Result<(Duration, Duration), Failure> {
    let mut targets = Vec::new();
    for number in 0..count {
        targets.push(open(folder, kind, number).await?);
    }
    let mut elapsed = Vec::new();
    for switch in [false, true] {
        let begun = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for target in &targets {
            let (target, artifacts, release) = (Arc::clone(target), Arc::clone(artifacts), release.clone());
            running.spawn(async move {
                let stop = CancellationToken::new();
                match switch {
                    false => target.prepare(&release, &*artifacts, &stop).await,
                    true => target.activate(&release, &stop).await,
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        elapsed.push(begun.elapsed());
    }
    Ok((elapsed[0], elapsed[1]))
}

async fn one_by_one(
    folder: &Path,
    artifacts: &Arc<dyn Fetch>,
    release: &Release,
) -> Result<(Duration, Duration), Failure> {
    const ROUNDS: u32 = 20;
    let stop = CancellationToken::new();
    let (mut prepare, mut switch) = (Duration::ZERO, Duration::ZERO);
    for number in 0..ROUNDS {
        let target = open(folder, "one", number as usize).await?;
        let begun = Instant::now();
        target.prepare(release, &**artifacts, &stop).await?;
        prepare += begun.elapsed();
        let begun = Instant::now();
        target.activate(release, &stop).await?;
        switch += begun.elapsed();
    }
    Ok((prepare / ROUNDS, switch / ROUNDS))
}

fn bare_renames(folder: &Path, count: usize) -> Result<Duration, Failure> {
    let handle = File::open(folder)?;
    let begun = Instant::now();
    for number in 0..count {
        std::os::unix::fs::symlink(format!("versions/{number}"), folder.join("live.new"))?;
        fs::rename(folder.join("live.new"), folder.join("live"))?;
        handle.sync_all()?;
    }
    Ok(begun.elapsed())
}

async fn bare_scripts(folder: &Path, count: usize) -> Result<Duration, Failure> {
    let script = Script::new("bash", folder).arguments(["-c", "true"]);
    let begun = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..count {
        let script = script.clone();
        running.spawn(async move { shell::run(&script, &CancellationToken::new()).await });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(begun.elapsed())
}
