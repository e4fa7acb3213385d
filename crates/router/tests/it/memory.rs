//! What remains of versions that are gone: the counts of the latest few.

use footplate_router::table::WHOLE;
use footplate_testkit::backend::Backend;
use footplate_testkit::load::Load;

use crate::site::{PATIENCE, Site, endpoint, service};

/// Returns the resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_flat_over_swaps() {
    let mut site = Site::start().await;
    let backends = [Backend::start("one").await, Backend::start("two").await];
    let mut load = None;
    let mut early = 0;
    for number in 0..150 {
        // Each swap is to a version, an endpoint and a name that were never there.
        let name = format!("version-{number}");
        site.route(service(&[(&name, WHOLE)], vec![endpoint(&name, &name, backends[number % 2].address)]))
            .await;
        let load = load.get_or_insert_with(|| Load::new(site.address(), 8).start());
        let done = load.done();
        footplate_testkit::eventually("requests", PATIENCE, async || load.done() > done + 30).await;
        if number == 30 {
            early = resident();
        }
    }
    let outcome = load.unwrap().stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
    let report = site.report().await;
    assert_eq!(
        report.services["shop"].versions.len(),
        5,
        "of versions that are gone only the latest four stay counted"
    );
    for backend in &backends {
        footplate_testkit::eventually("connections end", PATIENCE, async || backend.open() <= 16).await;
    }
    let grown = resident().saturating_sub(early);
    assert!(grown < 20 << 10, "{grown} KiB more than after 30 swaps ({early} KiB)");
}
