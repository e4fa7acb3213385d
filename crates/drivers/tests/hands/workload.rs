//! Prepare, activate, clean and observe on real files.

use std::fs;

use footplate_core::release::Hooks;
use footplate_core::target::Verb;
use footplate_drivers::shell::End;
use footplate_drivers::workload::{self, Output, Settings, WorkloadError};
use tokio_util::sync::CancellationToken;

use crate::support::{Place, eventually, hook, listing, placement, release, scripts};

fn go_on() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test]
async fn a_release_goes_live_and_back() {
    let place = Place::new();
    let target = place.open().await;
    let one =
        place.release("1", &[("a", "one"), ("bin/run", "!run"), ("link", "->a")], Hooks::default()).await;
    let two = place.release("2", &[("a", "two")], Hooks::default()).await;

    assert_eq!(target.observe().await.unwrap(), workload::Observed::default());
    assert_eq!(target.prepare(&one, &place.artifacts, &go_on()).await.unwrap(), Output::default());
    assert_eq!(place.live("a"), None, "prepared is not live");
    target.activate(&one, &go_on()).await.unwrap();
    assert_eq!(
        listing(&place.target().join("live/")),
        ["a 644 \"one\"", "bin/ 755", "bin/run 755 \"run\"", "link -> a"]
    );

    target.prepare(&two, &place.artifacts, &go_on()).await.unwrap();
    assert_eq!(place.live("a").as_deref(), Some("one"));
    target.activate(&two, &go_on()).await.unwrap();
    assert_eq!(place.live("a").as_deref(), Some("two"));
    let seen = target.observe().await.unwrap();
    assert_eq!(seen.live, Some(two.id.clone()));
    assert!(seen.live_since.is_some() && seen.drift.is_none() && seen.unfinished.is_none());
    assert_eq!(seen.prepared, [one.id.clone(), two.id.clone()].into());

    target.activate(&one, &go_on()).await.unwrap();
    assert_eq!(place.live("a").as_deref(), Some("one"));
    assert_eq!(fs::read_link(place.target().join("live")).unwrap().to_str(), Some("versions/1"), "relative");
}

#[tokio::test]
async fn hooks_see_the_release_and_their_output_is_kept() {
    let place = Place::new();
    let target = place.open().await;
    let say = "echo $APP $ENVIRONMENT $GROUP $HOST $VERSION $RELEASE from [$PREVIOUS]; pwd; cat a; ls $LIVE/";
    let hooks = Hooks { prepare: hook(&format!("{say}; true")), activated: hook(say) };
    let one = place.release("1", &[("a", "one\n")], hooks.clone()).await;
    let two = place.release("2", &[("a", "two\n")], hooks).await;
    for next in [&one, &two] {
        target.prepare(next, &place.artifacts, &go_on()).await.unwrap();
        target.activate(next, &go_on()).await.unwrap();
    }
    let folder = place.target().canonicalize().unwrap().join("versions/2");
    let expected = format!("shop production files web1 2 2 from [1]\n{}\ntwo\na\n", folder.display());
    for verb in [Verb::Prepare, Verb::Activate] {
        let kept = target.output(&two.id, verb).await.unwrap().unwrap();
        assert!(kept.starts_with(&expected), "{kept}");
        assert!(kept.contains("[it ended with status 0 after "), "{kept}");
    }
}

#[tokio::test]
async fn a_failing_prepare_hook_changes_nothing_and_says_why() {
    let place = Place::new();
    let target = place.open().await;
    let one = place.release("1", &[("a", "one")], Hooks::default()).await;
    target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    target.activate(&one, &go_on()).await.unwrap();
    let before = listing(&place.target().join("versions"));

    let hooks = Hooks { prepare: hook("echo no database >&2; exit 4"), activated: None };
    let bad = place.release("2", &[("a", "two")], hooks).await;
    let error = target.prepare(&bad, &place.artifacts, &go_on()).await.unwrap_err();
    assert_eq!(error.to_string(), "the prepare hook of release 2 failed: it ended with status 4");
    assert_eq!(error.output().unwrap().text, "no database\n");
    assert!(error.next().contains("push a new version"));
    assert_eq!(listing(&place.target().join("versions")), before, "nothing of it is left");
    assert_eq!(place.live("a").as_deref(), Some("one"));
    assert!(target.output(&bad.id, Verb::Prepare).await.unwrap().unwrap().contains("no database"));
    assert!(matches!(target.activate(&bad, &go_on()).await, Err(WorkloadError::NotPrepared(_))));
}

#[tokio::test]
async fn a_failing_activated_hook_leaves_the_switch_and_is_known_as_unfinished() {
    let place = Place::new();
    let target = place.open().await;
    let one = place.release("1", &[("a", "one")], Hooks::default()).await;
    let hooks = Hooks { prepare: None, activated: hook("test -e $HOME/never/there/is/such") };
    let two = place.release("2", &[("a", "two")], hooks).await;
    for release in [&one, &two] {
        target.prepare(release, &place.artifacts, &go_on()).await.unwrap();
    }
    target.activate(&one, &go_on()).await.unwrap();
    let error = target.activate(&two, &go_on()).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Script { end: End::Exited(1), .. }), "{error}");
    let seen = target.observe().await.unwrap();
    assert_eq!((seen.live, seen.unfinished), (Some(two.id.clone()), Some(two.id.clone())));
    target.activate(&one, &go_on()).await.unwrap();
    let seen = target.observe().await.unwrap();
    assert_eq!((seen.live, seen.unfinished), (Some(one.id.clone()), None));
}

#[tokio::test]
async fn scripts_run_as_one_shell_and_the_last_command_counts() {
    let place = Place::new();
    let target = place.open().await;
    let say = "echo $VERSION $AGENT_NAME $DEPLOYMENT_ID $DEPLOYMENT_PREFIX $DEPLOYMENT_PATH";
    let workload =
        scripts(&["colour=red", "false", "cd /", "echo $colour; pwd"], &[say], &["echo bye; exit 9"]);
    let one = release("1", None, workload);
    let output = target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    assert_eq!(output.text, "red\n/\n", "a failing command in the middle is ignored, as the original does");
    let output = target.activate(&one, &go_on()).await.unwrap();
    let path = place.target();
    assert_eq!(output.text, format!("1 web1 production.shop production.shop {}\n", path.display()));
    assert_eq!(target.observe().await.unwrap().live, Some(one.id.clone()));

    let two = release("2", None, scripts(&["true"], &["false"], &[]));
    target.prepare(&two, &place.artifacts, &go_on()).await.unwrap();
    let error = target.activate(&two, &go_on()).await.unwrap_err();
    assert_eq!(error.to_string(), "the rollout script of release 2 failed: it ended with status 1");
    assert_eq!(
        target.observe().await.unwrap().live,
        Some(one.id.clone()),
        "a failed rollout is not remembered"
    );

    target.activate(&release("2", None, scripts(&[], &["true"], &[])), &go_on()).await.unwrap();
    let output = target.clean(&one.id, Some(&one), &go_on()).await.unwrap();
    assert_eq!(output.text, "bye\n", "its exit status does not matter");
    assert_eq!(target.observe().await.unwrap().prepared, [two.id].into());
}

#[tokio::test]
async fn what_is_live_is_never_cleaned() {
    let place = Place::new();
    let target = place.open().await;
    let one = place.release("1", &[("a", "one")], Hooks::default()).await;
    target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    target.activate(&one, &go_on()).await.unwrap();
    let error = target.clean(&one.id, Some(&one), &go_on()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot clean release 1: it is live");
    assert_eq!(place.live("a").as_deref(), Some("one"));
    target.clean(&"7".parse().unwrap(), None, &go_on()).await.unwrap();
}

#[tokio::test]
async fn a_release_with_other_bytes_under_one_name_is_refused() {
    let place = Place::new();
    let target = place.open().await;
    let one = place.release("1", &[("a", "one")], Hooks::default()).await;
    let other = place.release("1", &[("a", "other")], Hooks::default()).await;
    target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    for refused in
        [target.prepare(&other, &place.artifacts, &go_on()).await, target.activate(&other, &go_on()).await]
    {
        assert!(matches!(refused, Err(WorkloadError::Conflict { .. })));
    }
    assert_eq!(fs::read_to_string(place.target().join("versions/1/a")).unwrap(), "one");
}

#[tokio::test]
async fn a_directory_without_its_mark_does_not_exist() {
    let place = Place::new();
    let one = place.release("1", &[("a", "one")], Hooks::default()).await;
    let debris = place.target().join("versions/1");
    fs::create_dir_all(debris.join("deep")).unwrap();
    fs::write(debris.join("deep/stranger"), "").unwrap();
    fs::write(place.target().join("versions/.2.fetch"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", place.target().join("live.new")).unwrap();
    let target = place.open().await;
    assert!(target.observe().await.unwrap().prepared.is_empty());
    assert_eq!(
        listing(&place.target().join("versions")),
        Vec::<String>::new(),
        "opening removes what is half-made"
    );
    target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    target.activate(&one, &go_on()).await.unwrap();
    assert_eq!(listing(&place.target().join("live/")), ["a 644 \"one\""]);
}

#[tokio::test]
async fn drift_is_told() {
    let place = Place::new();
    let target = place.open().await;
    let live = place.target().join("live");
    std::os::unix::fs::symlink("versions/9", &live).unwrap();
    let seen = target.observe().await.unwrap();
    assert_eq!(seen.drift.as_deref(), Some("`live` points at versions/9, which is no complete release"));
    fs::remove_file(&live).unwrap();
    fs::write(&live, "").unwrap();
    assert_eq!(target.observe().await.unwrap().drift.as_deref(), Some("`live` is not a link"));
    let one = place.release("1", &[("a", "one")], Hooks::default()).await;
    target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    target.activate(&one, &go_on()).await.unwrap();
    assert_eq!(target.observe().await.unwrap().live, Some(one.id), "activating repairs it");
}

#[tokio::test]
async fn a_rollback_does_not_wait_behind_a_preparation() {
    let place = Place::new();
    let target = place.open().await;
    let one = place.release("1", &[("a", "one")], Hooks::default()).await;
    let hangs = Hooks { prepare: hook("touch ../../hook-runs; sleep 1000"), activated: None };
    let two = place.release("2", &[("a", "two")], hangs).await;
    target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    let stop = CancellationToken::new();
    let meanwhile = async {
        eventually("the hook runs", || place.target().join("hook-runs").exists()).await;
        target.activate(&one, &go_on()).await.unwrap();
        assert_eq!(place.live("a").as_deref(), Some("one"));
        stop.cancel();
    };
    let (prepared, ()) = tokio::join!(target.prepare(&two, &place.artifacts, &stop), meanwhile);
    let error = prepared.unwrap_err();
    assert!(error.was_stopped() && error.to_string().ends_with("it was stopped"), "{error}");
    assert!(!place.target().join("versions/2").exists());
}

#[tokio::test]
async fn a_release_asked_for_twice_at_once_is_prepared_once() {
    let place = Place::new();
    let target = place.open().await;
    let hooks = Hooks { prepare: hook("echo run >> ../../runs; sleep 0.1"), activated: None };
    let one = place.release("1", &[("a", "one")], hooks).await;
    let stop = go_on();
    let prepare = || target.prepare(&one, &place.artifacts, &stop);
    let (a, b, c) = tokio::join!(prepare(), prepare(), prepare());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(fs::read_to_string(place.target().join("runs")).unwrap(), "run\n");
}

#[tokio::test]
async fn a_dropped_preparation_is_begun_again() {
    let place = Place::new();
    let target = place.open().await;
    let hooks =
        Hooks { prepare: hook("[ -e ../../first ] || { touch ../../first; sleep 1000; }"), activated: None };
    let one = place.release("1", &[("a", "one")], hooks).await;
    let stop = go_on();
    tokio::select! {
        _ = target.prepare(&one, &place.artifacts, &stop) => panic!("its hook hangs"),
        () = eventually("the hook runs", || place.target().join("first").exists()) => {}
    }
    assert!(target.observe().await.unwrap().prepared.is_empty());
    target.prepare(&one, &place.artifacts, &go_on()).await.unwrap();
    assert_eq!(target.observe().await.unwrap().prepared, [one.id].into());
}

#[tokio::test]
async fn only_so_many_outputs_are_kept() {
    let place = Place::new();
    let settings = Settings { outputs_max: 3, output_bytes_max: 100, ..Settings::default() };
    let target = workload::open(placement(&place.root()), settings).await.unwrap();
    for number in 1..=6 {
        let talks = scripts(&["head -c 5000 /dev/zero | tr '\\0' x"], &[], &[]);
        let release = release(&number.to_string(), None, talks);
        let output = target.prepare(&release, &place.artifacts, &go_on()).await.unwrap();
        assert_eq!(output.omitted_bytes, 4900);
    }
    let kept: Vec<_> = fs::read_dir(place.target().join("output")).unwrap().collect();
    assert_eq!(kept.len(), 3);
    assert!(target.output(&"1".parse().unwrap(), Verb::Prepare).await.unwrap().is_none());
    assert!(target.output(&"6".parse().unwrap(), Verb::Prepare).await.unwrap().unwrap().len() < 300);
}
