//! HAProxy with TLS and HTTP/2, as docs/reference/routers.md shows it to an administrator.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use footplate_testkit::{Certificates, eventually, free_port};
use reqwest::{Certificate, Client, StatusCode, Version, redirect};
use tokio::task::JoinHandle;

use crate::site::{PATIENCE, Site};

const PAGE: &str = include_str!("../../../../docs/reference/routers.md");

/// A HAProxy that is set up as the page says, with the page's paths and ports made the test's own.
struct Secure {
    site: Site,
    /// `https://127.0.0.1:PORT`
    url: String,
    /// Those of all certificates that were made, the newest last.
    authorities: Vec<PathBuf>,
}

impl Secure {
    async fn start() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut site = Site::haproxy_to_come();
        let url = format!("127.0.0.1:{}", free_port());
        let line =
            PAGE.lines().find_map(|line| line.strip_prefix("listen = [\"*:80\", \"")).expect("the example");
        let line = line.strip_suffix("\"]").expect("two addresses");
        let file = site.folder.path().join("site.pem");
        let line = line.replace("*:443", &url).replace("/etc/tls/site.pem", &file.display().to_string());
        assert!(line.starts_with(&format!("{url} ssl crt {}", file.display())), "{line}");
        site.listen = vec![line];
        for part in ["global.cfg", "frontend.cfg"] {
            let lines = PAGE
                .split(&format!("```haproxy\n# {part}\n"))
                .nth(1)
                .and_then(|rest| rest.split("```").next());
            site.extend(part, lines.expect("the page shows it"));
        }
        let mut secure = Self { url: format!("https://{url}"), authorities: Vec::new(), site };
        let first = secure.certificate("first");
        secure.show(&first);
        secure.site.start_haproxy().await;
        secure
    }

    /// Makes a certificate with an authority of its own; returns the text of its file.
    fn certificate(&mut self, name: &str) -> String {
        let folder = self.site.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let made = Certificates::write(&folder).unwrap();
        self.authorities.push(made.ca_file);
        [made.certificate_file, made.key_file].map(|file| std::fs::read_to_string(file).unwrap()).concat()
    }

    /// Puts a certificate in place, as whoever renews it does.
    fn show(&self, text: &str) {
        std::fs::write(self.site.folder.path().join("site.pem"), text).unwrap();
    }

    /// A client with connections of its own that trusts these authorities alone.
    fn client(&self, is_old: bool, trusted: &[PathBuf]) -> Client {
        let trusted =
            trusted.iter().map(|file| Certificate::from_pem(&std::fs::read(file).unwrap()).unwrap());
        let client = Client::builder().no_proxy().tls_certs_only(trusted).redirect(redirect::Policy::none());
        let client = if is_old { client.http1_only() } else { client };
        client.timeout(PATIENCE).build().unwrap()
    }

    /// Starts clients that ask without a pause, every other in HTTP/1.1.
    fn load(&self) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = [false, true, false, true].map(|is_old| {
            let (client, url, stop, done) = (
                self.client(is_old, &self.authorities),
                self.url.clone(),
                Arc::clone(&stop),
                Arc::clone(&done),
            );
            let expected = if is_old { Version::HTTP_11 } else { Version::HTTP_2 };
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match ask(&client, &url, expected).await {
                        Ok(()) => done.fetch_add(1, Ordering::Relaxed),
                        Err(said) => {
                            failures.push(format!("{expected:?}: {said}"));
                            0
                        }
                    };
                }
                failures
            })
        });
        Load { stop, done, clients: clients.into() }
    }
}

async fn ask(client: &Client, url: &str, expected: Version) -> Result<(), String> {
    let answer = client.get(url).send().await.map_err(|error| footplate_drivers::chain(&error))?;
    let (status, version) = (answer.status(), answer.version());
    answer.bytes().await.map_err(|error| footplate_drivers::chain(&error))?;
    if status != StatusCode::OK || version != expected {
        return Err(format!("{status} in {version:?}"));
    }
    Ok(())
}

/// Clients at work.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    async fn until_more_are_done(&self, more: u64) {
        let wanted = self.done.load(Ordering::Relaxed) + more;
        let is_done = async || self.done.load(Ordering::Relaxed) >= wanted;
        eventually("requests are answered", PATIENCE, is_done).await;
    }

    /// Lets every client finish, and returns how many requests were answered.
    async fn must_be_whole(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            let failures = client.await.unwrap();
            assert!(
                failures.is_empty(),
                "{} requests failed: {:?}",
                failures.len(),
                &failures[..failures.len().min(5)]
            );
        }
        self.done.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_shows_gives_tls_http_2_and_a_way_there() {
    let mut secure = Secure::start().await;
    secure.site.follow("a/1", "1:100").await;
    for (is_old, version) in [(false, Version::HTTP_2), (true, Version::HTTP_11)] {
        let answer = secure
            .client(is_old, &secure.authorities)
            .get(format!("{}/head", secure.url))
            .send()
            .await
            .unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, version));
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
        let head = answer.text().await.unwrap();
        assert!(
            head.starts_with("GET /head HTTP/1.1") && head.contains("x-forwarded-proto: https"),
            "{head}"
        );
    }
    let plain = format!("http://{}/there?a=b", secure.site.address);
    let answer = secure.client(true, &[]).get(plain).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(answer.headers()["location"], format!("https://{}/there?a=b", secure.site.address));
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_and_reloads_fail_no_request_over_tls_and_http_2() {
    let mut secure = Secure::start().await;
    secure.site.follow("a/1 b/1", "1:100").await;
    let load = secure.load();
    for release in 2..=6 {
        let old = release - 1;
        for (members, shares) in [
            (format!("a/{release} a/{old} b/{old}"), format!("{release}:10 {old}:90")),
            (
                format!("a/{release} a/{old} drains b/{release} b/{old} drains"),
                format!("{release}:100 {old}:0"),
            ),
        ] {
            secure.site.follow(&members, &shares).await;
            load.until_more_are_done(50).await;
        }
        secure.site.until_busy_only(&format!("/{release}")).await;
        secure.site.follow(&format!("a/{release} b/{release}"), &format!("{release}:100")).await;
        for host in ["a", "b"] {
            secure.site.backends.remove(&format!("{host}/{old}")).unwrap().kill().await;
        }
    }
    for app in 0..3 {
        let pools = [
            secure.site.pool("a/6 b/6", "6:100").await,
            secure.site.pool_of(&format!("production.zoo{app}.web"), "c/1", "1:100").await,
        ];
        secure.site.router.follow(&pools).await.unwrap();
        load.until_more_are_done(50).await;
    }
    let answered = load.must_be_whole().await;
    println!("{answered} requests over TLS, none failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_after_a_reload_and_a_broken_one_changes_nothing() {
    let mut secure = Secure::start().await;
    secure.site.follow("a/1", "1:100").await;
    let second = secure.certificate("second");
    let load = secure.load();
    let trusted = secure.authorities[1..].to_vec();
    let sees_it =
        async |secure: &Secure| ask(&secure.client(false, &trusted), &secure.url, Version::HTTP_2).await;
    secure.show(&second);
    sees_it(&secure).await.unwrap_err();
    secure.site.reload().await;
    eventually("the new certificate is shown", PATIENCE, async || sees_it(&secure).await.is_ok()).await;
    let pool = secure.site.pool("a/2", "2:100").await;
    let follows = async || secure.site.router.follow(std::slice::from_ref(&pool)).await.is_ok();
    eventually("it follows", PATIENCE, follows).await;
    load.until_more_are_done(50).await;
    load.must_be_whole().await;
    eventually("the old process is gone", PATIENCE, async || secure.site.workers().await.len() == 1).await;
    let before = secure.site.workers().await;
    secure.show("no certificate");
    let pools = [pool, secure.site.pool_of("production.zoo.web", "c/1", "1:100").await];
    let said = secure.site.try_to_follow(&pools).await;
    assert!(said.contains("site.pem"), "{said}");
    sees_it(&secure).await.unwrap();
    assert_eq!(secure.site.workers().await, before);
}
