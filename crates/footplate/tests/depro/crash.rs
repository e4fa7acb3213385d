//! Agents killed, stores that go away, sessions lost, an agent without root; and what a deployment costs the store.

use std::os::unix::fs::{PermissionsExt, chown};

use footplate_testkit::{Consul, ConsulSetup, eventually};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;

use crate::on_both;
use crate::place::{Kind, Place, SOON};

on_both! {
    async fn fault_9_no_trouble_with_the_store_ends_an_agent(place) {
        place.proxy.refuse().await;
        let agent = place.agent("a");
        eventually("the trouble is told", SOON, || async { agent.log().contains("we keep trying") }).await;
        place.proxy.accept().await.unwrap();
        place.deploy(&["1"]).await;
        place.proxy.answer("500 Internal Server Error", &[], "No cluster leader");
        place.proxy.cut().await;
        eventually("it is told again", SOON, || async { agent.log().matches("we keep trying").count() == 2 }).await;
        assert_eq!(place.live("a").as_deref(), Some("1"), "what runs keeps running");
        place.proxy.clear();
        place.deploy(&["2"]).await;
        assert_eq!(agent.log().matches("the store answers again").count(), 2, "{}", agent.log());
    }

    async fn fault_9_a_lost_session_is_replaced_and_everything_said_again(place) {
        let _agent = place.agent("a");
        place.deploy(&["1"]).await;
        let key = format!("{}/1/a", place.prefix);
        let holder = || async { place.client.get(&key, None).await.unwrap().value.and_then(|pair| pair.holder()) };
        let first = holder().await.unwrap();
        place.client.destroy_session(&first).await.unwrap();
        assert_eq!(holder().await, None, "its keys vanish with it");
        place.eventually("1/a", "active").await;
        assert_ne!(holder().await, Some(first));
        assert_eq!(place.lines("a", "rollouts"), ["1"], "nothing runs again");
        place.deploy(&["2"]).await;
    }

    async fn a_killed_agent_is_back_at_once_with_what_it_had(place) {
        let agent = place.agent("a");
        place.deploy(&["1"]).await;
        agent.kill().await;
        place.put("2/", "").await;
        let _agent = place.agent("a");
        place.eventually("2/a", "available").await;
        place.eventually("1/a", "active").await;
        assert_eq!(place.lines("a", "rollouts"), ["1"], "what is live is not rolled out again");
        assert_eq!(place.lines("a", "deploys"), ["1", "2"]);
    }

    async fn an_agent_killed_in_a_rollout_rolls_out_again(place) {
        let mut deployment = place.deployment("a", false);
        let gate = format!("while ! [ -e {}/go ]; do sleep 0.02; done", place.folder.path().display());
        deployment["rollout"].as_array_mut().unwrap().push(json!(gate));
        let agent = place.agent_with("a", json!([deployment.clone()]));
        place.put("current", "1").await;
        place.eventually_lines("a", "rollouts", &["1"]).await;
        agent.kill().await;
        let _agent = place.agent_with("a", json!([deployment]));
        place.eventually_lines("a", "rollouts", &["1", "1"]).await;
        place.open_gate("go");
        place.eventually("1/a", "active").await;
    }

    async fn a_node_removed_by_hand_and_a_directory_removed_by_hand_are_repaired(place) {
        let _agent = place.agent("a");
        place.deploy(&["1"]).await;
        place.deploy(&["2"]).await;
        std::fs::remove_dir_all(place.path("a").join("1")).unwrap();
        place.deploy(&["1"]).await;
        assert_eq!(place.lines("a", "early"), [""; 0]);
        place.remove("1/a").await;
        place.eventually("1/a", "active").await;
    }

    async fn an_emptied_store_takes_nothing_away(place) {
        let _agent = place.agent("a");
        place.deploy(&["1"]).await;
        place.deploy(&["2"]).await;
        place.remove("").await;
        place.put("3/", "").await;
        place.eventually("3/a", "available").await;
        place.eventually_lines("a", "cleaned", &["1"]).await;
        assert_eq!(place.live("a").as_deref(), Some("2"));
        assert!(place.path("a").join("2/code").exists(), "what is live stays");
    }

    async fn fault_15_an_agent_needs_no_root(place) {
        let folder = place.folder.path();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let temporary = folder.join("temporary");
        for own in [place.path("a"), temporary.clone()] {
            std::fs::create_dir(&own).unwrap();
            if rustix::process::geteuid().is_root() {
                chown(&own, Some(65534), Some(65534)).unwrap();
            }
        }
        let file = folder.join("a.json");
        std::fs::write(&file, json!({"name": "a", "deployments": [place.deployment("a", false)]}).to_string()).unwrap();
        let mut command = place.command(&["agent", "-config-file", &file.to_string_lossy()]);
        command.env("TMPDIR", &temporary);
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let agent = place.start("a", &mut command);
        place.deploy(&["1"]).await;
        assert_eq!(place.live("a").as_deref(), Some("1"), "{}", agent.log());
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the script files are gone");
    }

    async fn a_story_that_fails_leaves_nothing_running(place) {
        let (sender, handles) = tokio::sync::oneshot::channel();
        let failing = tokio::spawn(async move {
            let _agent = place.agent_with("a", json!([place.deployment("a", true)]));
            place.put("1/", "").await;
            let half = place.path("a").join("1/half");
            eventually("the deploy script runs", SOON, || async { half.exists() }).await;
            // What sleeps between two looks at the gate comes and goes.
            let handle = |id| pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok();
            sender.send(place.brood.living().into_iter().filter_map(handle).collect::<Vec<_>>()).unwrap();
            panic!("the story fails, as it should");
        });
        assert!(failing.await.unwrap_err().is_panic());
        let handles = handles.await.unwrap();
        assert!(handles.len() >= 2, "an agent and its script: {handles:?}");
        for handle in handles {
            let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&Timespec::default())).unwrap();
            assert_eq!(ended, 1, "a process of the story lives on");
        }
    }

    async fn a_deployment_costs_an_agent_few_requests(place) {
        let nodes: Vec<String> = (0..12).map(|n| format!("n{n}")).collect();
        let _agents: Vec<_> = nodes.iter().map(|node| place.agent(node)).collect();
        place.deploy(&["1", "-nodes=12"]).await;
        let before = place.proxy.requests();
        place.deploy(&["2", "-nodes=12"]).await;
        let per_agent = (place.proxy.requests() - before) as f64 / 12.0;
        println!("{per_agent:.1} requests per agent and deployment, with those of the command");
        assert!(per_agent <= 14.0, "{per_agent:.1} requests per agent; the original needs 18 to 68");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consul_that_is_killed_and_started_again_finds_its_agents() {
    let consul = Consul::start(ConsulSetup { durable: true, ..ConsulSetup::default() }).await.unwrap();
    let place = Place::at(consul.address(), tempfile::tempdir().unwrap()).await;
    let agents = [place.agent("a"), place.agent("b")];
    place.deploy(&["1", "-nodes=2"]).await;
    consul.server().kill().unwrap();
    eventually("the trouble is told", SOON, || async { agents[0].log().contains("we keep trying") }).await;
    consul.start_again().await.unwrap();
    place.eventually("1/a", "active").await;
    place.deploy(&["2", "-nodes=2"]).await;
    for node in ["a", "b"] {
        assert_eq!(place.live(node).as_deref(), Some("2"));
        assert_eq!(place.lines(node, "rollouts"), ["1", "2"]);
    }
}
