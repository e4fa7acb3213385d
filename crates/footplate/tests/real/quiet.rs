//! What an agent costs when nothing happens, and when one deployment does.

use std::fs;
use std::time::Instant;

use footplate_testkit::Proxy;
use tokio::runtime::Runtime;

use crate::site::Site;
use footplate_testkit::process::{Process, eventually};

/// The most requests of an agent and a deployment.
const REQUESTS_MAX: u64 = 6;
/// The most requests of an idle agent, per second.
const IDLE_REQUESTS_PER_SECOND_MAX: f64 = 0.2;
/// The most memory of its own of an idle agent, in bytes; held in release builds. The pages of the program's file are
/// not its own: all processes of the program share them, and the kernel maps more of them than are used.
const MEMORY_MAX: u64 = 10 * 1024 * 1024;

/// Starts `h1` with a proxy between it and the store that counts.
fn counted(site: &mut Site, runtime: &Runtime) -> Proxy {
    let store = site.store_address().trim_start_matches("http://").parse().expect("an address");
    let proxy = runtime.block_on(Proxy::start(store)).expect("a free port");
    site.kill_agent("h1");
    let address = proxy.url();
    let command = site.program(&["-v", "agent", "--host", "h1", "--store", &address, "--folder", "h1"]);
    let mut agent = Process::start("h1", command);
    agent.wait_for("announced");
    site.agents.insert("h1".to_owned(), agent);
    proxy
}

#[test]
fn an_agent_makes_six_requests_a_deployment_and_few_when_idle() {
    let runtime = Runtime::new().expect("threads");
    let mut site = Site::start();
    let proxy = counted(&mut site, &runtime);
    for version in ["2", "3", "4"] {
        site.push(version);
        proxy.take_request_lines();
        let before = proxy.requests();
        site.deploy(version).must_be_done();
        site.all_run(version);
        let lines: Vec<String> = proxy.take_request_lines();
        let renewals = lines.iter().filter(|line| line.contains("/session/renew")).count() as u64;
        let requests = proxy.requests() - before - renewals;
        println!("deployment of {version}: {requests} requests: {lines:#?}");
        assert!(requests <= REQUESTS_MAX, "{lines:#?}");
    }
    for app in 0..5 {
        site.push_app(&format!("app{app}"), "1", "true", "true");
        let mut ran = site.operator(&["deploy", &format!("app{app}@1")]);
        assert!(ran.wait().success(), "{}", ran.said());
    }
    eventually("the last app is there", || site.folder().join("h1/apps/production/app4/live").exists());
    let renewals = |lines: &[String]| lines.iter().filter(|line| line.contains("/session/renew")).count();
    eventually("a renewal begins the watch", || renewals(&proxy.take_request_lines()) > 0);
    let (begun, mut lines) = (Instant::now(), Vec::new());
    eventually("two more renewals end it", || {
        lines.extend(proxy.take_request_lines());
        renewals(&lines) >= 2
    });
    let (idle, elapsed) = (lines.len(), begun.elapsed());
    let process = site.agents["h1"].id();
    let (memory, resident) = (bytes_of(process, "RssAnon:"), bytes_of(process, "VmRSS:"));
    println!(
        "idle with six apps: {idle} requests in {elapsed:?}, {} KiB of its own, {} KiB resident",
        memory / 1024,
        resident / 1024
    );
    assert!(idle as f64 <= elapsed.as_secs_f64() * IDLE_REQUESTS_PER_SECOND_MAX, "{lines:#?}");
    assert!(cfg!(debug_assertions) || memory <= MEMORY_MAX, "{memory} bytes of its own");
}

fn bytes_of(process: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|text| text.starts_with(line)).expect("every process has memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kib * 1024
}
