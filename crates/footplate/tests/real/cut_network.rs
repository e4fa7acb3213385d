//! A host whose network is cut, by a namespace of its own and a pair of virtual cables. Needs root.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::is_long;
use crate::site::{HOSTS, Site};
use footplate_testkit::process::{Process, eventually, poll_pause};

/// A namespace with one cable to this one; gone when dropped.
struct Island {
    name: String,
    here: Ipv4Addr,
}

impl Island {
    fn make(number: u8) -> Island {
        // Two runs at once are told apart by their process.
        let run = u8::try_from(std::process::id() % 200).expect("below 200");
        let island =
            Island { name: format!("fp{run}x{number}"), here: Ipv4Addr::new(10, 231 + number, run, 1) };
        let (name, here, there) = (&island.name, island.here, Ipv4Addr::new(10, 231 + number, run, 2));
        for line in [
            format!("ip netns add {name}"),
            format!("ip link add {name}a type veth peer name {name}b netns {name}"),
            format!("ip addr add {here}/30 dev {name}a"),
            format!("ip link set {name}a up"),
            format!("ip -n {name} addr add {there}/30 dev {name}b"),
            format!("ip -n {name} link set {name}b up"),
            format!("ip -n {name} link set lo up"),
        ] {
            run_line(&line);
        }
        island
    }

    fn cut(&self) {
        run_line(&format!("ip link set {}a down", self.name));
    }

    fn mend(&self) {
        run_line(&format!("ip link set {}a up", self.name));
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "delete", &self.name]).status());
    }
}

fn run_line(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let ran = Command::new(words[0]).args(&words[1..]).output().expect("iproute2 is installed");
    assert!(
        ran.status.success(),
        "{line}: {}; this test makes networks, which needs root",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// Passes connections to `address` of the island's cable on to a port of loopback.
fn relay(here: Ipv4Addr, to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((here, 0)).expect("the cable has this address");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(to) else { continue };
            let (near_too, far_too) =
                (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
            std::thread::spawn(move || pour(near, far));
            std::thread::spawn(move || pour(far_too, near_too));
        }
    });
    address
}

fn pour(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    // The other direction ends by itself when either side has gone.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// A site whose `h2` is on an island.
fn with_island(number: u8) -> (Site, Island) {
    let island = Island::make(number);
    let mut site = Site::without_agents();
    let controller = relay(island.here, site.controller_socket());
    site.controller.take().expect("it runs").stop();
    site.advertise = Some(format!("http://{controller}"));
    site.start_controller(None);
    let store = relay(island.here, site.store_socket());
    for host in ["h1", "h3"] {
        site.start_agent(host, None);
    }
    let address = format!("http://{store}");
    let own = ["-v", "agent", "--host", "h2", "--store", &address, "--folder", "h2"];
    // The cable's address is none of loopback, and nobody else is on it.
    let own = site.program(&[&own[..], &["--store-insecure-private-network"]].concat());
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &island.name]).arg(own.get_program()).args(own.get_args());
    command.current_dir(site.folder());
    site.agents.insert("h2".to_owned(), Process::start("h2", command));
    site.push("1");
    site.deploy("1").must_be_done();
    site.all_run("1");
    (site, island)
}

#[test]
fn a_host_that_is_cut_off_is_waited_for_and_nothing_switches_without_it() {
    let (site, island) = with_island(0);
    island.cut();
    site.push("2");
    let mut rollout = site.deploy("2");
    for host in ["h1", "h3"] {
        eventually("the others are prepared", || site.path(host, "versions/.2.complete").is_symlink());
    }
    let (begun, cut) = (Instant::now(), Duration::from_secs(if is_long() { 90 } else { 2 }));
    while begun.elapsed() < cut {
        site.all_are("1", "1");
        poll_pause();
    }
    assert!(rollout.goes_on(), "{}", rollout.said());
    island.mend();
    rollout.must_be_done();
    site.all_run("2");
}

#[test]
fn a_host_that_is_cut_off_before_the_switch_follows_when_it_is_back() {
    let (site, island) = with_island(1);
    site.push("2");
    let rollout = site.deploy_with("2", &["--hold"]);
    for host in HOSTS {
        eventually("all are prepared", || site.path(host, "versions/.2.complete").is_symlink());
    }
    eventually("the rollout can be promoted", || site.operator(&["promote", "shop"]).wait().success());
    island.cut();
    for host in ["h1", "h3"] {
        eventually("the others switch", || site.live(host).as_deref() == Some("2"));
    }
    let (begun, cut) = (Instant::now(), Duration::from_secs(if is_long() { 60 } else { 2 }));
    while begun.elapsed() < cut {
        site.all_are("1", "2");
        poll_pause();
    }
    island.mend();
    rollout.must_be_done();
    site.all_run("2");
}
