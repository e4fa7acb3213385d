//! A service that nobody here wrote, through three of its published versions.

use std::process::Command;

use footplate_testkit::process::Process;

use crate::site::example;

#[test]
fn a_real_service_goes_through_three_published_versions_under_load() {
    let mut script = Command::new("examples/registry-service.sh");
    script.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    script.env("FOOTPLATE", env!("CARGO_BIN_EXE_footplate")).env("CUSTOMERS", example("customers"));
    let mut ran = Process::start("the script", script);
    let ended = ran.wait();
    assert!(ended.success(), "{ended}: {}", ran.said());
    println!("{}", ran.said());
}
