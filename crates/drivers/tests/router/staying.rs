//! Clients that stay with a version while it has a share: by cookie, header and address, on every router that draws for itself.
//!
//! Keys and salts are the same in each run, so that its figures are too; only cookies that the router gives are drawn.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use footplate_core::release::Sticky;
use footplate_core::traffic::Stickiness;
use footplate_testkit::wire::{Head, Reader};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::contract::{assert_parts, stories};
use crate::site::Site;

/// How many clients there are: within six standard deviations of a share of 30 % are 22 to 38 %.
const CLIENTS: u32 = 600;

stories!(
    clients_stay_by_a_cookie_of_their_own,
    clients_stay_by_a_cookie_that_the_router_gives,
    clients_stay_by_a_header,
    clients_stay_by_their_address,
    without_a_key_each_request_is_a_draw_of_its_own,
    another_salt_chooses_other_clients,
);

/// What a client is known by, if by anything.
#[derive(Clone, Debug)]
struct Client {
    /// Its lines of a request's head.
    lines: String,
    address: Ipv4Addr,
}

impl Client {
    fn nobody() -> Self {
        Self { lines: String::new(), address: Ipv4Addr::LOCALHOST }
    }

    fn with(line: String) -> Self {
        Self { lines: format!("{line}\r\n"), ..Self::nobody() }
    }

    /// Sends a request over a connection of its own; returns the release that answered, and the answer's head.
    async fn ask(&self, address: SocketAddr) -> (String, Head) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.address, 0).into()).unwrap();
        let mut socket = socket.connect(address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{}\r\n", self.lines);
        socket.write_all(request.as_bytes()).await.unwrap();
        let head = Reader::new(socket).head().await.unwrap().expect("an answer");
        assert_eq!(head.status(), 200, "{head:?}");
        let (_, release) = head.get("served-by").unwrap().split_once('/').unwrap();
        (release.to_owned(), head)
    }
}

impl Site {
    /// Has two releases on three hosts, the second with this share, among clients who stay by `by`.
    async fn divide(&mut self, by: &Sticky, salt: &str, share: u32) {
        let mut pool = self.pool("a/1 b/1 a/2", &format!("1:{} 2:{share}", 100 - share)).await;
        pool.stickiness = Some(Stickiness { by: by.clone(), salt: salt.to_owned() });
        self.router.follow(&[pool]).await.unwrap();
    }

    /// Asks once for each client; returns who answered.
    async fn releases(&self, clients: &[Client]) -> Vec<String> {
        let mut releases = Vec::new();
        for client in clients {
            releases.push(client.ask(self.address).await.0);
        }
        releases
    }
}

/// Asserts that each client stays while a share stands, that new ones come by the share, and that whoever is in stays in while it grows.
async fn assert_that_they_stay(site: &mut Site, by: Sticky, clients: &[Client]) {
    site.divide(&by, "salt", 30).await;
    let first = site.releases(clients).await;
    assert_parts(&counted(&first), &[("1", 0.7), ("2", 0.3)]);
    for _ in 0..2 {
        assert_eq!(site.releases(clients).await, first, "{by:?}");
    }
    site.divide(&by, "salt", 60).await;
    let grown = site.releases(clients).await;
    assert_parts(&counted(&grown), &[("1", 0.4), ("2", 0.6)]);
    let left = first.iter().zip(&grown).filter(|(first, grown)| *first == "2" && *grown == "1").count();
    assert_eq!(left, 0, "{by:?}: a client that was in is out while the share grows");
    site.divide(&by, "salt", 100).await;
    assert_eq!(counted(&site.releases(clients).await).keys().collect::<Vec<_>>(), ["2"]);
    site.divide(&by, "salt", 30).await;
    assert_eq!(site.releases(clients).await, first, "{by:?}: the same share again is the same clients again");
}

fn counted(releases: &[String]) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    releases.iter().for_each(|release| *counted.entry(release.clone()).or_default() += 1);
    counted
}

fn cookie(give: bool) -> Sticky {
    Sticky::Cookie { name: "id".to_owned(), give }
}

fn header() -> Sticky {
    Sticky::Header { name: "X-User".to_owned() }
}

async fn clients_stay_by_a_cookie_of_their_own(mut site: Site) {
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| Client::with(format!("cookie: theme=dark; id=client-{n}; x=y"))).collect();
    assert_that_they_stay(&mut site, cookie(false), &clients).await;
}

async fn clients_stay_by_a_cookie_that_the_router_gives(mut site: Site) {
    site.divide(&cookie(true), "salt", 30).await;
    let (mut first, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (release, head) = Client::nobody().ask(site.address).await;
        let given = head.get("set-cookie").unwrap_or_else(|| panic!("it gives one: {head:?}"));
        assert!(given.starts_with("id=") && given.contains("HttpOnly"), "{given}");
        clients.push(Client::with(format!("cookie: {}", given.split(';').next().unwrap())));
        first.push(release);
    }
    let (again, head) = clients[0].ask(site.address).await;
    assert_eq!((&again, head.get("set-cookie")), (&first[0], None), "it is given once");
    assert_eq!(site.releases(&clients).await, first, "the first answer counts already");
    assert_that_they_stay(&mut site, cookie(true), &clients).await;
}

async fn clients_stay_by_a_header(mut site: Site) {
    let clients: Vec<_> = (0..CLIENTS).map(|n| Client::with(format!("x-user: client-{n}"))).collect();
    assert_that_they_stay(&mut site, header(), &clients).await;
}

async fn clients_stay_by_their_address(mut site: Site) {
    let address = |n: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 7, 0, 1)) + n);
    let clients: Vec<_> = (0..CLIENTS).map(|n| Client { address: address(n), ..Client::nobody() }).collect();
    assert_that_they_stay(&mut site, Sticky::Address, &clients).await;
}

async fn without_a_key_each_request_is_a_draw_of_its_own(mut site: Site) {
    for by in [cookie(false), header()] {
        site.divide(&by, "salt", 30).await;
        let seen = site.releases(&vec![Client::nobody(); CLIENTS as usize]).await;
        assert_parts(&counted(&seen), &[("1", 0.7), ("2", 0.3)]);
    }
}

async fn another_salt_chooses_other_clients(mut site: Site) {
    let clients: Vec<_> = (0..CLIENTS).map(|n| Client::with(format!("x-user: client-{n}"))).collect();
    let mut seen = Vec::new();
    for salt in ["one", "two"] {
        site.divide(&header(), salt, 30).await;
        seen.push(site.releases(&clients).await);
    }
    let both = seen[0].iter().zip(&seen[1]).map(|(one, two)| format!("{one} {two}"));
    let expected = [("1 1", 0.49), ("1 2", 0.21), ("2 1", 0.21), ("2 2", 0.09)];
    assert_parts(&counted(&both.collect::<Vec<_>>()), &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_stay_through_a_reload_and_a_restart_of_haproxy() {
    let mut site = Site::haproxy().await;
    let clients: Vec<_> = (0..100).map(|n| Client::with(format!("cookie: id=client-{n}"))).collect();
    site.divide(&cookie(false), "salt", 30).await;
    let first = site.releases(&clients).await;
    let mut pool = site.pool("a/1 b/1 a/2", "1:70 2:30").await;
    pool.stickiness = Some(Stickiness { by: cookie(false), salt: "salt".to_owned() });
    let other = site.pool_of("production.zoo.web", "c/1", "1:100").await;
    site.router.follow(&[other, pool]).await.unwrap();
    assert_eq!(site.releases(&clients).await, first, "the structure changed");
    let haproxy = site.haproxy.as_ref().unwrap();
    haproxy.kill().unwrap();
    haproxy.start_again().unwrap();
    site.wait_for_haproxy().await;
    assert_eq!(site.releases(&clients).await, first, "it was killed");
}
