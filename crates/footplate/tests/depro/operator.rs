//! What an operator sees: exit codes, lines, retries, and the order of a graceful end.

use footplate_testkit::eventually;
use rustix::process::Signal;
use serde_json::json;

use crate::on_both;
use crate::place::{Kind, Place, SOON};

/// A deployment that fails where it is told to: at `deploy` or `rollout`, as long as the file `broken` exists.
fn fragile(place: &Place, node: &str, step: &str) -> serde_json::Value {
    let mut deployment = place.deployment(node, false);
    let line =
        format!("test ! -e {}/broken || {{ echo the disk is full; exit 1; }}", place.folder.path().display());
    deployment[step].as_array_mut().unwrap().insert(0, json!(line));
    deployment
}

on_both! {
    async fn a_failed_deploy_fails_the_command_and_the_next_one_tries_again(place) {
        let _agents = [place.agent_with("a", json!([fragile(&place, "a", "deploy")])), place.agent("b")];
        place.open_gate("broken");
        let ended = place.run(&["deploy", "1", "-nodes=2"]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stdout.contains("! a #failed"), "{ended:?}");
        assert!(ended.stdout.contains("Failed to deploy '1': Version '1' deployment failed"), "{ended:?}");
        assert_eq!(place.get("current").await, None);
        std::fs::remove_file(place.folder.path().join("broken")).unwrap();
        place.deploy(&["1", "-nodes=2"]).await;
        assert_eq!(place.live("a").as_deref(), Some("1"));
    }

    async fn a_failed_rollout_fails_the_command_and_the_next_one_tries_again(place) {
        let agent = place.agent_with("a", json!([fragile(&place, "a", "rollout")]));
        let _other = place.agent("b");
        place.open_gate("broken");
        let ended = place.run(&["deploy", "1", "-nodes=2"]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stdout.contains("Version '1' marked for rollout"), "{ended:?}");
        assert!(ended.stderr.contains("the rollout script failed on a"), "{ended:?}");
        assert!(agent.log().contains("the disk is full"), "{}", agent.log());
        std::fs::remove_file(place.folder.path().join("broken")).unwrap();
        place.deploy(&["1", "-nodes=2"]).await;
        assert_eq!(place.live("a").as_deref(), Some("1"));
        assert_eq!(place.lines("b", "rollouts"), ["1"], "who runs it already is left alone");
        assert_eq!(place.lines("b", "deploys"), ["1"]);
    }

    async fn a_rollback_runs_no_deploy_script_and_waits_behind_none(place) {
        let _agent = place.agent_with("a", json!([place.deployment("a", true)]));
        place.open_gate("deploy-a");
        place.deploy(&["1"]).await;
        place.deploy(&["2"]).await;
        std::fs::remove_file(place.folder.path().join("deploy-a")).unwrap();
        place.put("3/", "").await;
        place.eventually("3/a", "deploying").await;
        place.deploy(&["1"]).await;
        assert_eq!(place.live("a").as_deref(), Some("1"));
        assert_eq!(place.lines("a", "deploys"), ["1", "2"]);
        assert_eq!(place.get("3/a").await.as_deref(), Some("deploying"));
    }

    async fn the_lines_and_exit_codes_are_the_originals(place) {
        let _agent = place.agent("a");
        let stdout = place.deploy(&["1"]).await;
        for line in [
            "Starting deployment of version '1'",
            "+ 1@a",
            "Version '1' deployed to all nodes, starting rollout.",
            "Version '1' marked for rollout",
            "Version '1' successfully deployed",
        ] {
            assert!(stdout.lines().any(|said| said == line), "{line} is not in {stdout}");
        }
        for (arguments, code) in [
            (vec!["query"], 0),
            (vec!["query", "unknown"], 0),
            (vec!["version"], 0),
            (vec!["deploy", "--help"], 0),
            (vec!["deploy"], 1),
            (vec!["deploy", "a/b"], 1),
            (vec!["deploy", ".."], 1),
            (vec!["deploy", "2", "-colour=red"], 1),
            (vec!["deploy", "2", "-config=/nowhere.json"], 1),
            (vec!["agent"], 1),
            (vec!["deploy", "2", "-server=127.0.0.1:1"], 2),
            (vec!["query", "-server=127.0.0.1:1"], 2),
            (vec!["deploy", "2", "-nodes=2", "-timeout=300ms"], 2),
            (vec!["frobnicate"], 127),
            (vec![], 127),
        ] {
            let ended = place.run(&arguments).await;
            assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        }
        let ended = place.run(&["deploy", "2", "-nodes=2", "-timeout=300ms"]).await;
        assert!(ended.stdout.contains("Failed to deploy '2': Deployment failed or timed out during preperation phase."));
        assert!(ended.stderr.contains("1 more node"), "{ended:?}");
    }

    async fn a_deploy_that_nobody_reads_goes_on_to_its_end(place) {
        let _agent = place.agent("a");
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        let mut deploy = place.command(&["deploy", "1"]);
        deploy.stdout(gone.try_clone().unwrap()).stderr(gone);
        assert_eq!(deploy.status().await.unwrap().code(), Some(0));
        assert_eq!(place.live("a").as_deref(), Some("1"));
    }

    async fn a_node_that_lives_under_the_current_version_is_waited_for_without_nodes(place) {
        let _agents = ["a", "b"].map(|node| place.agent_with(node, json!([place.deployment(node, true)])));
        place.open_gate("deploy-a");
        place.open_gate("deploy-b");
        place.deploy(&["1", "-nodes=2"]).await;
        std::fs::remove_file(place.folder.path().join("deploy-b")).unwrap();
        let deploying = tokio::spawn(place.command(&["deploy", "2"]).output());
        place.eventually("2/a", "available").await;
        place.eventually("2/b", "deploying").await;
        assert_eq!(place.get("current").await.as_deref(), Some("1"));
        place.open_gate("deploy-b");
        assert_eq!(deploying.await.unwrap().unwrap().status.code(), Some(0));
    }

    async fn a_signal_ends_scripts_and_session_in_order(place) {
        let mut agent = place.agent_with("a", json!([place.deployment("a", true)]));
        place.put("1/", "").await;
        place.eventually("1/a", "deploying").await;
        let half = place.path("a").join("1/half");
        eventually("the deploy script runs", SOON, || async { half.exists() }).await;
        agent.signal(Signal::TERM);
        assert_eq!(agent.end().await, Some(0), "{}", agent.log());
        assert_eq!(place.get("1/a").await, None, "the session is closed, not left to expire");
        place.open_gate("deploy-a");
        assert_eq!(place.lines("a", "deploys"), [""; 0], "the script was ended with its agent");
        let _agent = place.agent("a");
        place.eventually("1/a", "available").await;
    }

    async fn a_second_signal_ends_the_agent_at_once(place) {
        let mut deployment = place.deployment("a", false);
        let gate = format!("while ! [ -e {}/never ]; do sleep 0.02; done", place.folder.path().display());
        deployment["rollout"] = json!(["touch begun", gate]);
        let mut agent = place.agent_with("a", json!([deployment]));
        place.put("current", "1").await;
        let begun = place.path("a").join("1/begun");
        eventually("the rollout has begun", SOON, || async { begun.exists() }).await;
        agent.signal(Signal::QUIT);
        eventually("the first signal is heard", SOON, || async { agent.log().contains("ending") }).await;
        agent.signal(Signal::INT);
        assert_eq!(agent.end().await, Some(1), "{}", agent.log());
    }
}
