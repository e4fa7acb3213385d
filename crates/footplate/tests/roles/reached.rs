//! Which service a request reaches, by host and path, and who stays with a canary.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use footplate::api::{By, Deploy, Overrides, Push, Wanted};
use footplate_core::name::{AppPath, GroupName};
use footplate_core::release::{Entrance, Sticky, Workload};
use footplate_core::rollout::{Portion, Strategy};

use crate::serving::{Router, builtin, delivery, haproxy, workload};
use crate::site::{Site, deploy, refusal, within};

/// Two services, `web` of one host and `admin` below `/admin` of any, whose clients stay with a version by their user.
fn two() -> Workload {
    let mut workload = workload("web");
    let Workload::Service { services, .. } = &mut workload else { unreachable!("it has services") };
    let web: GroupName = "web".parse().unwrap();
    let mut admin = services[&web].clone();
    let route = |text: &str| Some([text.parse::<Entrance>().unwrap()].into());
    services.get_mut(&web).unwrap().routes = route("shop.example.com/");
    services.get_mut(&web).unwrap().sticky = Some(Sticky::Header { name: "user".to_owned() });
    admin.routes = route("*/admin");
    services.insert("admin".parse().unwrap(), admin);
    workload
}

/// Asks the router and returns who answered: `web 1`, or a status.
async fn ask(router: SocketAddr, host: &str, path: &str, user: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("http://{router}{path}")).header("host", host).header("user", user);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let group = answer.headers().get("group").map(|group| group.to_str().unwrap().to_owned());
    let body = answer.text().await.unwrap();
    match group {
        Some(group) => format!("{group} {}", body.split(' ').next().unwrap_or_default()),
        None => status.as_u16().to_string(),
    }
}

/// Asks once for each of 40 users.
async fn round(router: SocketAddr) -> Vec<String> {
    let mut answers = Vec::new();
    for user in 0..40 {
        answers.push(ask(router, "shop.example.com", "/", &user.to_string()).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reach_the_service_whose_they_are_and_clients_stay_with_a_canary() {
    let site = Site::with_hosts(&["web-1"]).await;
    let router = builtin(site.folder.path().join("router")).await;
    reach_and_stay(site, router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_haproxy_too_requests_reach_their_service_and_clients_stay_with_a_canary() {
    let site = Site::with_hosts(&["web-1"]).await;
    let router = haproxy(site.folder.path().join("router")).await;
    reach_and_stay(site, router).await;
}

async fn reach_and_stay(mut site: Site, router: Router) {
    site.start_agent_beside("edge", "edge", Some(router.config.clone()));
    let ramp = vec!["50%".parse().unwrap()];
    let mut delivery = delivery(Strategy::Canary { ramp, batch: Portion::Count(1) });
    delivery.groups.insert("admin".parse().unwrap());
    delivery.policy.pace.hold_steps = true;
    site.push_workload("1", "1", two(), delivery.clone()).await.unwrap();
    site.deploy("1", Overrides::default()).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    let reached = async { while ask(router.address, "shop.example.com", "/", "ann").await != "web 1" {} };
    within("the first release answers", reached).await;
    for (host, path, expected) in [
        ("shop.example.com", "/", "web 1"),
        ("SHOP.example.com", "/admin", "web 1"),
        ("other.example.com", "/admin/users", "admin 1"),
        ("other.example.com", "/administer", "404"),
        ("other.example.com", "/", "404"),
    ] {
        assert_eq!(ask(router.address, host, path, "ann").await, expected, "{host}{path}");
    }
    site.push_workload("2", "2", two(), delivery).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    site.until("the first step waits", async |status| {
        crate::site::rollout(status).record.phase.word() == "holding"
    })
    .await;
    site.order(footplate::api::OrderVerb::Promote).await.unwrap();
    // Were every request a draw of its own, two rounds would be the same once in 2^40.
    let stays = async {
        let mut before = round(router.address).await;
        loop {
            let now = round(router.address).await;
            let new = now.iter().filter(|answer| *answer == "web 2").count();
            if now == before && (8..=32).contains(&new) {
                return;
            }
            before = now;
        }
    };
    within("half of the clients have the new release, and stay with it", stays).await;
    site.order(footplate::api::OrderVerb::Abort).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_another_app_are_refused_before_anything_begins() {
    let site = Site::with_hosts(&["web-1"]).await;
    let mut delivery = delivery(Strategy::Barrier);
    delivery.groups.insert("admin".parse().unwrap());
    site.push_workload("1", "1", two(), delivery.clone()).await.unwrap();
    site.deploy("1", Overrides::default()).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    let environment: footplate_core::name::EnvironmentName = "production".parse().unwrap();
    let push = Push {
        app: "blog".parse().unwrap(),
        version: "1".parse().unwrap(),
        commit: None,
        summary: None,
        artifact: None,
        workload: two(),
        variables: BTreeMap::new(),
        routes: BTreeMap::new(),
        environments: [(environment.clone(), delivery)].into(),
        actor: None,
    };
    site.client.push(&push).await.unwrap();
    let path = AppPath { environment: environment.clone(), app: "blog".parse().unwrap() };
    let order = Deploy { path, ..deploy("1", Overrides::default()) };
    let told = refusal(site.client.plan(&order).await.unwrap_err());
    assert_eq!(
        told,
        "cannot deploy `1` of `production.blog`: the requests to `*/admin` of process group `admin` are those of \
         `production.shop.admin`; next: give it requests of its own: routes = [\"HOST/PATH\"] in [service.admin], or in \
         [environments.production.service.admin]; [] if no router sends it any"
    );
    assert_eq!(refusal(site.client.deploy(&order).await.unwrap_err()), told);
    let own = |group: &str, route: &str| {
        (group.parse::<GroupName>().unwrap(), [route.parse::<Entrance>().unwrap()].into())
    };
    let here = BTreeMap::from([own("admin", "blog.example.com/admin"), own("web", "blog.example.com/")]);
    let version = "2".parse().unwrap();
    site.client.push(&Push { version, routes: [(environment, here)].into(), ..push }).await.unwrap();
    let release = Wanted::Name("2".to_owned());
    site.client.plan(&Deploy { release, by: By::default(), ..order }).await.unwrap();
}
