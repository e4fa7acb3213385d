//! Agents whose process ends around them.

use tokio::runtime::Builder;

use super::site::{DEADLINE, Site, eventually, id, order, release, target};

/// How often it is tried: whether the agent looks at its workers while they are gone and it is not is even chances.
const TRIES: u32 = 10;

#[test]
fn a_runtime_that_ends_under_an_agent_ends_its_workers_without_a_panic() {
    let outside = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for _ in 0..TRIES {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let site = Site::new();
        let agent = {
            let _inside = runtime.enter();
            site.start("web-1")
        };
        let first = order(1, Some("1"), &[release("1", "", "")]);
        runtime.block_on(async {
            site.assign("web-1", &first).await;
            site.report("web-1", "release", |report| report.runs(&id("1"))).await;
        });
        // The agent stands still in the middle of a step, its workers end, and then it goes on to the end of that step.
        let (told, go) = site.weather.stall();
        outside.block_on(site.assign_to("web-1", &target(), &order(2, Some("1"), &[release("1", "", "")])));
        told.recv_timeout(DEADLINE).expect("it looks for orders");
        let tasks = runtime.handle().clone();
        runtime.shutdown_background();
        outside.block_on(async {
            eventually("all tasks are told to end", || tasks.metrics().num_alive_tasks() == 0).await;
            go.send(()).expect("it waits");
            let ended = agent.cut_off().await;
            assert!(ended.is_cancelled(), "{ended}");
        });
    }
}
