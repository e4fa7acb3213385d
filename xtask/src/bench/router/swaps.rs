//! Memory of the router over many swaps under load: every swap is to a version and an endpoint that were never there.

use super::proxies::{put_table, start_router};
use super::service::Service;
use super::{CLIENTS, Ground};
use crate::failure::Failure;
use std::process::Command;
use std::time::Duration;

/// How long each version has the traffic.
const TURN: Duration = Duration::from_millis(20);
/// Swaps before memory is measured first: until then buffers and histograms come into being.
const SWAPS_BEFORE: usize = 100;

/// Returns how much memory has grown after the first swaps, in MiB.
pub fn growth(ground: &Ground, swaps: usize) -> Result<f64, Failure> {
    let services = [Service::start(ground, "swap-a")?, Service::start(ground, "swap-b")?];
    let folder = ground.folder.path().join("swaps");
    let address = super::proxies::free_address()?;
    let router = start_router(ground, &folder, &address, "swaps")?;
    put_table(&folder, 1, "0", &services[0].address)?;
    let seconds = (swaps + SWAPS_BEFORE) as u64 * 30 / 1_000 + 2;
    let mut load = Command::new("taskset");
    load.args(["--cpu-list", &ground.cores.1.to_string()]).arg(&ground.load);
    load.args(["closed", &address, CLIENTS, &seconds.to_string()]);
    let mut load = crate::bench::process::Process::start(load, &ground.folder.path().join("swaps-load.log"))?;
    let mut early = 0;
    for swap in 0..swaps + SWAPS_BEFORE {
        put_table(&folder, swap as u64 + 2, &(swap + 1).to_string(), &services[swap % 2].address)?;
        std::thread::sleep(TURN);
        if swap == SWAPS_BEFORE {
            early = router.memory().unwrap_or(0);
        }
    }
    let late = router.memory().unwrap_or(0);
    load.wait(Duration::from_secs(seconds + 10))?;
    let said = std::fs::read_to_string(ground.folder.path().join("swaps-load.log")).unwrap_or_default();
    if !said.contains("\"failed\":0") {
        return Err(Failure::new("requests failed during swaps", said.trim(), super::NEXT));
    }
    eprintln!("{swaps} swaps: {} KiB, then {} KiB", early >> 10, late >> 10);
    Ok((late as f64 - early as f64) / f64::from(1 << 20))
}
