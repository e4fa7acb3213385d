//! Mixed clusters: the original's command with our agents, our command with the original's agents.

use std::time::Duration;

use footplate_drivers::store::Config;
use footplate_drivers::store::consul::{Behavior, Client, SessionRequest};
use footplate_testkit::eventually;
use serde_json::json;
use tokio::sync::watch;

use crate::on_both;
use crate::original::{OriginalAgent, original_deploy, original_deploy_seen};
use crate::place::{Kind, Place, SOON};

const ROLLOUT: &str = "test -e code || echo $VERSION >> $DEPLOYMENT_PATH/early; echo $VERSION >> $DEPLOYMENT_PATH/rollouts; \
                       ln -sfn $DEPLOYMENT_PATH/$VERSION $DEPLOYMENT_PATH/live";

/// A session of somebody else.
pub fn session() -> SessionRequest {
    SessionRequest {
        name: "somebody else".to_owned(),
        ttl: Duration::from_secs(60),
        lock_delay: Duration::from_millis(1),
        behavior: Behavior::Delete,
    }
}

fn client(place: &Place) -> Client {
    Client::open(&Config::new(&place.proxy.url()).unwrap()).unwrap()
}

impl Place {
    /// An original agent whose deploy waits at the gate `deploy-NODE`.
    async fn original_agent(&self, node: &str) -> OriginalAgent {
        let gate =
            format!("while ! [ -e {}/deploy-{node} ]; do sleep 0.02; done", self.folder.path().display());
        let deploy = format!("{gate}; echo $VERSION > code");
        OriginalAgent::start(client(self), &self.prefix, node, self.path(node), &deploy, ROLLOUT).await
    }
}

/// Deploys version 1 to `a` and `b` with the original's command, and lets `a` end its deploy, alone, once that command has
/// seen both.
///
/// The command looks only at who changed since its last round: a round that brings the first sight of `b` together with
/// the end of `a` would hold it back, and its next one never comes.
async fn deploy_while_b_is_busy(place: &Place, client: &Client) -> i32 {
    let (seen, mut nodes) = watch::channel(0);
    let deploy = original_deploy_seen(client, &place.prefix, "1", 2, SOON, &seen);
    let open_the_gate = async {
        nodes.wait_for(|nodes| *nodes == 2).await.expect("the command still looks");
        place.open_gate("deploy-a");
    };
    tokio::join!(deploy, open_the_gate).0
}

on_both! {
    /// The fake has the fault that the mixed stories are about; else they would prove nothing.
    async fn the_original_among_itself_rolls_out_early(place) {
        let _agents = [place.original_agent("a").await, place.original_agent("b").await];
        assert_eq!(deploy_while_b_is_busy(&place, &client(&place)).await, 0);
        place.eventually_lines("b", "early", &["1"]).await;
        // Its word on the rollout must be out before its deploy ends, or the two may come in either order.
        place.eventually("1/b", "active").await;
        place.open_gate("deploy-b");
        place.eventually("1/b", "available").await;
    }

    async fn our_agents_obey_the_originals_command_and_never_early(place) {
        let _agents = ["a", "b"].map(|node| place.agent_with(node, json!([place.deployment(node, true)])));
        let client = client(&place);
        assert_eq!(deploy_while_b_is_busy(&place, &client).await, 0);
        place.eventually("1/a", "active").await;
        assert_eq!(place.get("1/b").await.as_deref(), Some("deploying"), "`current` was set early, and is a wish");
        place.open_gate("deploy-b");
        place.eventually("1/b", "active").await;
        assert_eq!(place.lines("b", "early"), [""; 0]);
        assert_eq!(original_deploy(&client, &place.prefix, "2", 2, SOON).await, 0);
        place.eventually("2/a", "active").await;
        place.eventually("2/b", "active").await;
        assert_eq!(original_deploy(&client, &place.prefix, "1", 2, SOON).await, 0);
        place.eventually("1/a", "active").await;
        place.eventually("2/b", "available").await;
        assert_eq!((place.live("a").as_deref(), place.live("b").as_deref()), (Some("1"), Some("1")));
    }

    async fn our_command_waits_for_the_originals_agents(place) {
        let _agents = [place.original_agent("a").await, place.original_agent("b").await];
        place.open_gate("deploy-a");
        let deploying = tokio::spawn(place.command(&["deploy", "1", "-nodes=2"]).output());
        place.eventually("1/a", "available").await;
        place.eventually("1/b", "").await;
        assert_eq!(place.get("current").await, None);
        place.open_gate("deploy-b");
        let ended = crate::place::ended(deploying.await.unwrap().unwrap());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for node in ["a", "b"] {
            assert_eq!(place.live(node).as_deref(), Some("1"));
            assert_eq!(place.lines(node, "early"), [""; 0]);
        }
        place.deploy(&["2", "-nodes=2"]).await;
        place.deploy(&["1", "-nodes=2"]).await;
        assert_eq!((place.live("a").as_deref(), place.live("b").as_deref()), (Some("1"), Some("1")));
    }

    async fn old_and_new_agents_switch_together(place) {
        let _original = place.original_agent("old").await;
        let _ours = place.agent_with("new", json!([place.deployment("new", true)]));
        let deploying = tokio::spawn(place.command(&["deploy", "1", "-nodes=2"]).output());
        place.open_gate("deploy-old");
        place.eventually("1/old", "available").await;
        assert_eq!(place.live("old"), None);
        place.open_gate("deploy-new");
        assert_eq!(deploying.await.unwrap().unwrap().status.code(), Some(0));
        assert_eq!((place.live("old").as_deref(), place.live("new").as_deref()), (Some("1"), Some("1")));
    }

    /// Fault 7 of the original's agents: a `current` that keeps its value moves nobody.
    async fn our_command_moves_an_original_agent_that_current_did_not(place) {
        let _agent = place.original_agent("a").await;
        place.open_gate("deploy-a");
        place.deploy(&["1"]).await;
        place.remove("1/").await;
        eventually("the original cleans even the current version", SOON, || async { !place.path("a").join("1").exists() }).await;
        place.deploy(&["1"]).await;
        assert_eq!(place.lines("a", "rollouts"), ["1", "1"]);
        assert_eq!(place.get("current").await.as_deref(), Some("1"));
    }

    async fn the_originals_directories_are_taken_over_when_current_confirms_them(place) {
        let original = place.original_agent("a").await;
        place.open_gate("deploy-a");
        place.deploy(&["1"]).await;
        place.deploy(&["2"]).await;
        drop(original);
        std::fs::write(place.path("a").join("2/kept"), "").unwrap();
        std::fs::write(place.path("a").join("1/kept"), "").unwrap();
        for key in ["1/a", "2/a"] {
            place.remove(key).await;
        }
        let _agent = place.agent("a");
        place.eventually("2/a", "active").await;
        place.eventually("1/a", "available").await;
        assert!(place.path("a").join("2/kept").exists(), "`current` names it: taken over");
        assert!(!place.path("a").join("1/kept").exists(), "nobody vouches for it: deployed again");
    }
}
