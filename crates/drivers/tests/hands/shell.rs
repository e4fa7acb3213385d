//! Starting, watching and ending processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use footplate_drivers::shell::{self, End, Finished, Script, User};
use footplate_drivers::workload::command;
use tokio_util::sync::CancellationToken;

use crate::support::eventually;

const LONG: Duration = Duration::from_secs(20);

fn sh(folder: &Path, text: &str) -> Script {
    Script::new("sh", folder).arguments(["-c", text]).deadline(LONG)
}

async fn run(folder: &Path, text: &str) -> Finished {
    shell::run(&sh(folder, text), &CancellationToken::new()).await.unwrap()
}

fn is_alive(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[tokio::test]
async fn both_outputs_come_in_the_order_written() {
    let folder = tempfile::tempdir().unwrap();
    let finished = run(folder.path(), "echo one; echo two >&2; echo three; exit 3").await;
    assert_eq!(finished.output, "one\ntwo\nthree\n");
    assert_eq!(finished.end, End::Exited(3));
    assert!(!finished.succeeded());
}

#[tokio::test]
async fn standard_input_is_empty_and_the_environment_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let mut script =
        sh(folder.path(), "cat; pwd; env | cut -d= -f1 | sort | tr '\\n' ' '").variable("COLOUR", "red");
    let finished = shell::run(&script, &CancellationToken::new()).await.unwrap();
    let lines: Vec<_> = finished.output.lines().collect();
    assert_eq!(Path::new(lines[0]), folder.path().canonicalize().unwrap());
    let allowed =
        ["COLOUR", "HOME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHLVL", "TMPDIR", "TZ", "USER", "_"];
    for name in lines[1].split_whitespace() {
        assert!(allowed.contains(&name), "{name} must not reach a script");
    }
    assert!(lines[1].contains("COLOUR"));
    script.program = "no-such-program".into();
    let error = shell::run(&script, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("no-such-program"), "{error}");
    assert!(error.next().contains("installed"));
}

#[tokio::test]
async fn a_deadline_ends_the_script_and_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let script = sh(folder.path(), "sleep 1000 & echo $! > child; echo begun; wait")
        .deadline(Duration::from_millis(300));
    let finished = shell::run(&script, &CancellationToken::new()).await.unwrap();
    assert_eq!(finished.end, End::DeadlinePassed);
    assert_eq!(finished.output, "begun\n", "what it said before is kept");
    let child = fs::read_to_string(folder.path().join("child")).unwrap();
    eventually("the child ends", || !is_alive(&child)).await;
}

#[tokio::test]
async fn a_script_that_ignores_the_polite_signal_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut script = sh(folder.path(), "trap '' TERM; echo $$ > me; while :; do sleep 0.05; done");
    script.grace = Duration::from_millis(200);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (script, stop) = (script.clone(), stop.clone());
        async move { shell::run(&script, &stop).await }
    });
    eventually("it runs", || folder.path().join("me").exists()).await;
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().end, End::Stopped);
    assert!(!is_alive(&fs::read_to_string(folder.path().join("me")).unwrap()));
}

#[tokio::test]
async fn a_script_may_tidy_up_when_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        sh(folder.path(), "trap 'echo tidy; exit 0' TERM; echo $$ > me; while :; do sleep 0.05; done");
    let stop = CancellationToken::new();
    let me = folder.path().join("me");
    let stopper = async {
        eventually("it runs", || me.exists()).await;
        stop.cancel();
    };
    let (finished, ()) = tokio::join!(shell::run(&script, &stop), stopper);
    let finished = finished.unwrap();
    assert_eq!(finished.end, End::Stopped);
    assert!(finished.output.ends_with("tidy\n"), "{}", finished.output);
}

#[tokio::test]
async fn a_dropped_run_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let script = sh(folder.path(), "sleep 1000 & echo $! > child; echo $$ > me; wait");
    let stop = CancellationToken::new();
    let me = folder.path().join("me");
    tokio::select! {
        _ = shell::run(&script, &stop) => panic!("it must not end"),
        () = eventually("it runs", || me.exists()) => {}
    }
    for name in ["me", "child"] {
        let process = fs::read_to_string(folder.path().join(name)).unwrap();
        eventually("it is gone", || !is_alive(&process)).await;
    }
}

#[tokio::test]
async fn what_a_script_leaves_behind_neither_hangs_us_nor_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let finished = run(folder.path(), "sleep 1000 & echo $! > child; echo done").await;
    assert_eq!((finished.end, finished.output.as_str()), (End::Exited(0), "done\n"));
    assert!(finished.elapsed < Duration::from_secs(10), "it must not wait for the child");
    let child = fs::read_to_string(folder.path().join("child")).unwrap();
    assert!(is_alive(&child), "`./server &` is a way to start a service");
    run(folder.path(), &format!("kill -9 {child}")).await;
}

#[tokio::test]
async fn a_child_that_never_stops_talking_does_not_hide_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let finished = run(folder.path(), "yes & echo $! > child; exit 7").await;
    assert_eq!(finished.end, End::Exited(7));
    let child = fs::read_to_string(folder.path().join("child")).unwrap();
    eventually("the closed pipe ends it", || !is_alive(&child)).await;
}

#[tokio::test]
async fn a_long_output_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut script = sh(folder.path(), "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last");
    script.output_bytes_max = 1000;
    let finished = shell::run(&script, &CancellationToken::new()).await.unwrap();
    assert!(finished.output.starts_with("first\n") && finished.output.ends_with("\nlast\n"));
    assert!(finished.output.len() < 1100);
    assert_eq!(finished.omitted_bytes, 3_000_012 - 1000);
}

#[tokio::test]
async fn lines_are_handed_over_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let script = sh(folder.path(), "echo one; until [ -e go ]; do sleep 0.01; done; printf two");
    let mut seen = Vec::new();
    let mut on_line = |line: &str| {
        seen.push(line.to_owned());
        if line == "one" {
            fs::write(&go, "").unwrap();
        }
    };
    let finished = shell::run_streaming(&script, &CancellationToken::new(), &mut on_line).await.unwrap();
    assert!(finished.succeeded(), "it goes on only when its first line was seen");
    assert_eq!(seen, ["one", "two"]);
}

#[tokio::test]
async fn leftovers_of_a_former_life_are_found_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("run");
    fs::create_dir(&runs).unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    // As an agent that was killed leaves it: a run file, and a script with a child in a session of its own.
    let text = "setsid sleep 1000 & echo $! > child; echo $$ > me; exec sleep 1000";
    let mut script = std::process::Command::new("sh");
    script.args(["-c", text]).current_dir(folder.path()).env(shell::RUN_VARIABLE, id);
    let mut running = script.spawn().unwrap();
    fs::write(runs.join("1.prepare"), id).unwrap();
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    eventually("it runs", || folder.path().join("me").exists()).await;

    let (tx, rx) = std::sync::mpsc::channel();
    let looked = runs.clone();
    std::thread::spawn(move || tx.send(shell::end_leftovers(&looked, LONG)));
    // Its parent, this test, has to reap it, as init does for a real orphan.
    running.wait().unwrap();
    assert_eq!(rx.recv().unwrap().unwrap(), ["1.prepare"]);
    for name in ["me", "child"] {
        assert!(!is_alive(&fs::read_to_string(folder.path().join(name)).unwrap()), "{name} is ended");
    }
    assert!(is_alive(&bystander.id().to_string()), "nobody else is hit");
    assert!(!runs.join("1.prepare").exists());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[tokio::test]
async fn a_run_file_exists_only_while_the_script_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut script = sh(folder.path(), "cat this.run; printf ' '; printenv FOOTPLATE_RUN");
    script.run_file = Some(folder.path().join("this.run"));
    let finished = shell::run(&script, &CancellationToken::new()).await.unwrap();
    let (file, variable) = finished.output.trim().split_once(' ').unwrap();
    assert_eq!(file, variable);
    assert!(!folder.path().join("this.run").exists());
}

#[tokio::test]
async fn a_script_runs_as_another_user_or_says_that_it_may_not() {
    let nobody = User::named("nobody").unwrap();
    let mut script = sh(Path::new("/"), "id -u; id -G; echo $USER $HOME");
    script.user = Some(nobody.clone());
    let ran = shell::run(&script, &CancellationToken::new()).await;
    if rustix::process::getuid().is_root() {
        let expected = format!("{}\n{}\nnobody {}\n", nobody.uid, nobody.gid, nobody.home);
        assert_eq!(ran.unwrap().output, expected);
    } else {
        let said = footplate_drivers::chain(&ran.unwrap_err());
        assert!(said.contains("not permitted"), "{said}");
    }
    assert_eq!(User::named("no such user").unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_script_that_is_too_long_says_what_to_do() {
    let lines = vec![format!("true {}", "x".repeat(200_000))];
    let script = command::script("bash", &lines, Path::new("/")).unwrap();
    let error = shell::run(&script, &CancellationToken::new()).await.unwrap_err();
    assert!(error.next().starts_with("put the script into a file"), "{}", footplate_drivers::chain(&error));
}
