//! Services that go through trouble of their own: a stranger has their port, or they crash while nobody looks.

use std::net::{Ipv4Addr, TcpListener};

use footplate::api::{Overrides, Status};
use footplate_core::record::Stored;
use footplate_core::release::Workload;
use footplate_core::release::service::{Kind, Ports};
use footplate_core::rollout::Strategy;
use footplate_core::target::Lapse;
use footplate_core::traffic::{EndpointState, Route};
use footplate_drivers::service::keeper::Keepers;
use footplate_drivers::service::{Status as Service, Supervisor};
use rustix::process::{Pid, Signal};

use crate::serving::{delivery, workload};
use crate::site::{Site, target, within};

impl Site {
    fn keepers(&self, host: &str) -> Keepers {
        Keepers::new(&self.host_folder(host).join("services"), env!("CARGO_BIN_EXE_footplate").into())
    }
}

/// Returns how the only service of a host stands.
async fn only(keepers: &Keepers) -> Service {
    keepers.list().await.unwrap().pop().unwrap()
}

fn kill(service: &Service) {
    let pid = Pid::from_raw(service.pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_which_a_file_cannot_be_read_keeps_no_other_from_starting_and_restarting() {
    let site = Site::with_hosts(&["web-1"]).await;
    let broken = site.host_folder("web-1").join("services/production.other.web.1");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("order.json"), "{").unwrap();
    site.ship_service("1", "web", Strategy::BlueGreen, 0).await;
    let keepers = site.keepers("web-1");
    let name = "production.shop.web.1".parse().unwrap();
    let before = keepers.status(&name).await.unwrap().unwrap();
    kill(&before);
    let told = async {
        while keepers.status(&name).await.unwrap().unwrap().pid().is_none_or(|pid| Some(pid) == before.pid())
        {
            tokio::task::yield_now().await;
        }
    };
    within("it is started again", told).await;
    site.ship_service("2", "web", Strategy::BlueGreen, 0).await;
    std::fs::remove_dir_all(&broken).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_port_a_stranger_took_gets_another_and_its_route_follows() {
    let site = Site::with_hosts(&["web-1"]).await;
    site.ship_service("1", "web", Strategy::BlueGreen, 0).await;
    let keepers = site.keepers("web-1");
    let before = only(&keepers).await;
    let port = before.port.unwrap();
    kill(&before);
    let taken = async {
        loop {
            if let Ok(stranger) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return stranger;
            }
            tokio::task::yield_now().await;
        }
    };
    let _stranger = within("a stranger has the port", taken).await;
    let moved = async {
        loop {
            let now = only(&keepers).await.port.unwrap();
            // The stranger listens, and never answers.
            if now != port
                && reqwest::get(format!("http://127.0.0.1:{now}/")).await.is_ok_and(|it| it.status() == 200)
            {
                return now;
            }
        }
    };
    let now = within("it answers at another port", moved).await;
    let follows = async {
        loop {
            tokio::task::yield_now().await;
            // While nothing of it is ready there is none.
            let route = site.read_by_hand("routes/production.shop.web/web-1").await;
            let Some(route) = route else { continue };
            let Stored::Known(route) = serde_json::from_slice::<Stored<Route>>(&route).unwrap() else {
                panic!("our own format")
            };
            let serves = |state| state == EndpointState::Serving;
            if route.endpoints.values().any(|it| it.address == format!("127.0.0.1:{now}") && serves(it.state))
            {
                return;
            }
        }
    };
    within("its route follows", follows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_for_which_no_port_is_left_says_so_and_what_to_do() {
    let site = Site::with_hosts(&["web-1"]).await;
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    let mut workload = workload("web");
    let Workload::Service { services, .. } = &mut workload else { panic!("a service") };
    for service in services.values_mut() {
        let Kind::Web { ports, .. } = &mut service.kind else { panic!("with a port") };
        *ports = Ports { first: port, last: port };
    }
    site.push_workload("1", "1", workload, delivery(Strategy::BlueGreen)).await.unwrap();
    site.deploy("1", Overrides::default()).await.unwrap();
    let said = site.end().await.sentence;
    let expected = format!("every port from {port} to {port} is taken; widen `ports`");
    assert!(said.contains(&expected), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_agent_is_away_is_told_when_it_is_back() {
    let mut site = Site::with_hosts(&["web-1"]).await;
    site.ship_service("1", "web", Strategy::BlueGreen, 0).await;
    let keepers = site.keepers("web-1");
    site.kill_agent("web-1");
    kill(&only(&keepers).await);
    let again = async {
        while !(only(&keepers).await.restarts == 1 && only(&keepers).await.is_running()) {
            tokio::task::yield_now().await;
        }
    };
    within("its keeper has started it again", again).await;
    site.start_agent("web-1");
    let is_told = async |status: &Status| {
        let failed = target(status, "web-1").into_iter().flat_map(|target| target.failed.values());
        failed.into_iter().any(|failure| failure.lapse == Some(Lapse::Crashed(1)))
    };
    site.until("the crash is told", is_told).await;
}
