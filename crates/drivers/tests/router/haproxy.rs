//! What HAProxy's driver has for itself: reloads, restarts, and an administrator's own files.

use std::time::Duration;

use footplate_core::name::TargetName;
use footplate_core::traffic::Pool;
use footplate_core::traffic::counts::FailedRequest;
use footplate_drivers::router::{After, Config, RouterError, open};
use footplate_testkit::eventually;
use footplate_testkit::load::Load;

use crate::site::{PATIENCE, Site, ask};

impl Site {
    fn configuration(&self) -> String {
        std::fs::read_to_string(self.settings().configuration_file()).unwrap()
    }

    /// Writes one of the administrator's files.
    pub fn extend(&self, name: &str, text: &str) {
        let folder = self.settings().extend.unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    /// Says something to HAProxy's master process.
    async fn say(&self, line: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::UnixStream::connect(self.settings().master).await.unwrap();
        socket.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Returns the ids of HAProxy's processes: the one that takes connections first.
    pub async fn workers(&self) -> Vec<String> {
        let told = self.say("show proc").await;
        let lines = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.filter(|words| words.get(1) == Some(&"worker")).map(|words| words[0].to_owned()).collect()
    }

    /// Has the configuration loaded anew, as an administrator would; the master process replaces itself and answers nothing.
    pub async fn reload(&self) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::UnixStream::connect(self.settings().master).await.unwrap();
        socket.write_all(b"reload\n").await.unwrap();
        drop(socket.read_to_end(&mut Vec::new()).await);
    }

    /// Returns how often HAProxy was reloaded.
    async fn reloads(&self) -> u32 {
        let told = self.say("show proc").await;
        let master = told.lines().find(|line| line.contains(" master ")).expect("it lists itself");
        master.split_whitespace().nth(2).and_then(|word| word.parse().ok()).expect("a number")
    }

    pub async fn try_to_follow(&self, pools: &[Pool]) -> String {
        footplate_drivers::chain(&self.router.follow(pools).await.unwrap_err())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_and_shares_change_without_a_reload() {
    let mut site = Site::haproxy().await;
    site.follow("a/1", "1:100").await;
    let workers = site.workers().await;
    for (members, shares) in [
        ("a/1 a/2 b/1", "1:90 2:10"),
        ("a/2 b/2 a/1 drains", "1:0 2:100"),
        ("a/2 b/2", "2:100"),
        ("a/3", "3:100"),
    ] {
        site.follow(members, shares).await;
    }
    assert_eq!(site.answers(20).await.keys().collect::<Vec<_>>(), ["a/3"]);
    assert_eq!(site.workers().await, workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_haproxy_that_was_killed_begins_as_it_was_told_last_before_anybody_tells_it() {
    let mut site = Site::haproxy().await;
    site.follow("a/1 b/1", "1:100").await;
    site.follow("a/1 drains b/1 a/2", "1:0 2:100").await;
    let haproxy = site.haproxy.as_ref().unwrap();
    haproxy.kill().unwrap();
    haproxy.start_again().unwrap();
    site.wait_for_haproxy().await;
    assert_eq!(site.answers(100).await.keys().collect::<Vec<_>>(), ["a/2"]);
    let workers = site.workers().await;
    site.follow("a/1 drains b/1 a/2", "1:50 2:50").await;
    let answers = site.answers(100).await;
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["a/2", "b/1"], "told again, without a reload");
    assert_eq!(site.workers().await, workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_restarts_disturbs_nothing_and_knows_what_is_in_flight() {
    let mut site = Site::haproxy().await;
    site.follow("a/1", "1:100").await;
    let workers = site.workers().await;
    let slow = site.begin("/slow/2000", "a/1").await;
    site.open_again();
    site.follow("a/2", "2:100").await;
    assert_eq!(site.busy().await, Some(vec!["a/1".to_owned()]));
    assert!(slow.await.unwrap().unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(site.workers().await, workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_by_hand_is_changed_back() {
    let mut site = Site::haproxy().await;
    site.follow("a/1 b/1", "1:100").await;
    let worker = site.workers().await.remove(0);
    let shares = site.settings().folder.join("shares.map");
    for command in [
        "set server production.shop.web.1/1 state maint".to_owned(),
        "set server production.shop.web.1/2 addr 127.0.0.1 port 9".to_owned(),
        "set server production.shop.web.1/2 weight 1".to_owned(),
        format!("set map {} production.shop.web 0:0:0:0", shares.display()),
    ] {
        site.say(&format!("@!{worker} {command}")).await;
    }
    site.follow("a/1 b/1", "1:100").await;
    assert_eq!(site.answers(100).await.keys().collect::<Vec<_>>(), ["a/1", "b/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_of_the_administrator_is_told_in_haproxys_words_and_changes_nothing() {
    let mut site = Site::haproxy().await;
    site.follow("a/1", "1:100").await;
    let (workers, before) = (site.workers().await, site.configuration());
    site.extend("frontend.cfg", "http-request sparkle\n");
    site.follow("a/2", "2:100").await;
    assert_eq!(site.answers(20).await.keys().collect::<Vec<_>>(), ["a/2"], "what fits is followed");
    assert!(!site.configuration().contains("sparkle"));
    let pools = [site.pool("a/2", "2:100").await, site.pool_of("production.zoo.web", "c/1", "1:100").await];
    site.router.follow(&pools).await.unwrap();
    assert!(site.configuration().contains("production.zoo.web.1"), "a new pool comes without the mistake");
    assert!(!site.configuration().contains("sparkle"));
    assert_ne!(site.configuration(), before);
    assert_ne!(site.workers().await, workers);
    let candidate = site.settings().folder.join("footplate.cfg.candidate");
    site.extend("frontend.cfg", "http-request set-header X-Edge one\n");
    eventually("the mended file is in force", PATIENCE, async || {
        site.router.follow(&pools).await.unwrap();
        site.configuration().contains("set-header X-Edge one")
    })
    .await;
    assert!(!candidate.exists());
    let head = site.begin_anywhere("/head").await.await.unwrap().unwrap();
    assert!(head.contains("x-edge: one"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_configuration_that_is_refused_is_an_error_with_what_haproxy_said() {
    let mut site = Site::haproxy_to_come();
    site.extend("defaults.cfg", "timeout sparkle 1s\n");
    let pool = site.pool("a/1", "1:100").await;
    let said = site.try_to_follow(&[pool]).await;
    assert!(said.contains("sparkle") && said.contains("footplate.cfg.candidate"), "{said}");
    assert!(!site.settings().configuration_file().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_told_and_the_old_configuration_stays() {
    let mut site = Site::haproxy().await;
    site.follow("a/1", "1:100").await;
    let before = site.configuration();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    site.extend("frontend.cfg", &format!("bind {address}\n"));
    let pool = site.pool("a/2", "2:100").await;
    site.router.follow(&[pool]).await.unwrap();
    assert_eq!(site.answers(20).await.keys().collect::<Vec<_>>(), ["a/2"]);
    assert!(!site.configuration().contains(&address.to_string()));
    assert!(before.contains("production.shop.web.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_load_fails_no_request_and_old_processes_count_as_in_flight() {
    let mut site = Site::haproxy().await;
    site.follow("a/1 b/1", "1:100").await;
    let loads = [true, false].map(|keep_alive| Load { keep_alive, ..Load::new(site.address, 2) }.start());
    let slow = site.begin_anywhere("/stream/60/100").await;
    let first = site.busy_for_long().await;
    for app in 0..5 {
        let pools = [
            site.pool("a/1 b/1", "1:100").await,
            site.pool_of(&format!("production.zoo{app}.web"), "c/1", "1:100").await,
        ];
        site.router.follow(&pools).await.unwrap();
    }
    assert!(site.workers().await.len() > 1, "an old process finishes the long answer");
    for load in loads {
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "of {}: {:?}", outcome.requests, outcome.failures);
    }
    site.follow("a/2", "2:100").await;
    assert!(site.busy().await.unwrap().contains(&first), "it is in flight in the old process");
    let answer = slow.await.unwrap().unwrap();
    assert!(answer.matches("piece").count() == 60 && answer.ends_with("0\r\n\r\n"), "it was cut off");
    eventually("the old processes are gone", PATIENCE, async || site.workers().await.len() == 1).await;
    site.until_busy(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_by_somebody_else_is_waited_for_and_not_repeated() {
    let mut site = Site::haproxy().await;
    site.follow("a/1 b/1", "1:100").await;
    let before = site.reloads().await;
    let loads = [true, false].map(|keep_alive| Load { keep_alive, ..Load::new(site.address, 2) }.start());
    for shares in ["1:90 2:10", "1:50 2:50", "1:0 2:100", "1:30 2:70", "1:100 2:0", "1:20 2:80"] {
        let pools = [site.pool("a/1 b/1 a/2 b/2", shares).await];
        site.reload().await;
        eventually("it follows", PATIENCE, async || site.router.follow(&pools).await.is_ok()).await;
    }
    eventually("the last process is in charge", PATIENCE, async || !site.workers().await.is_empty()).await;
    assert_eq!(site.reloads().await - before, 6, "each once");
    for load in loads {
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "of {}: {:?}", outcome.requests, outcome.failures);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_socket_is_said_and_the_configuration_lies_ready() {
    let mut site = Site::haproxy_to_come();
    let pool = site.pool("a/1", "1:100").await;
    let said = site.router.follow(&[pool]).await.unwrap_err();
    assert!(matches!(said, RouterError::Silent { .. }), "{said}");
    assert!(site.configuration().contains("production.shop.web.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_counted_for_its_release_with_its_end_and_time() {
    let mut site = Site::haproxy().await;
    site.follow("a/1 a/2", "1:50 2:50").await;
    let ask = async |path: &str| {
        let load = Load { path: path.to_owned(), ..Load::new(site.address, 4) }.start();
        eventually("the requests are done", PATIENCE, async || load.done() >= 300).await;
        load.stop().await
    };
    let (good, bad) = (ask("/").await, ask("/status/500").await);
    let slow = site.begin_anywhere("/slow/1000").await;
    let target = "production.shop.web".parse().unwrap();
    let of = |counts: &footplate_core::traffic::counts::Counts, release: &str| {
        counts.of(&target, &release.parse().unwrap()).cloned().unwrap_or_default()
    };
    let all = async || {
        let counts = site.router.counts().await.unwrap().unwrap();
        let mut all = of(&counts, "1");
        all.add(&of(&counts, "2"));
        all
    };
    assert_eq!(all().await.in_flight, 1);
    slow.await.unwrap().unwrap();
    let expected = good.requests + bad.requests + 1;
    eventually("all are counted", PATIENCE, async || all().await.requests == expected).await;
    let counts = site.router.counts().await.unwrap().unwrap();
    let seen = all().await;
    assert_eq!((seen.answers, seen.retries), ([0, good.requests + 1, 0, 0, bad.requests], 0));
    let of_first = good.served_by["a/1"] + bad.served_by["a/1"];
    assert!(of(&counts, "1").requests.abs_diff(of_first) <= 1, "{counts:?}");
    let times = &seen.times[&2];
    assert_eq!((times.len(), times.above(900_000)), (good.requests + 1, 1), "one took a second");
    let between = times.pairs().filter(|(time, _)| (1..10_000).contains(time)).count();
    assert!(between > 10, "times are finer than milliseconds: {times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_told_with_its_client_and_how_busy_clients_are() {
    let mut site = Site::haproxy().await;
    site.follow("a/1", "1:100").await;
    for path in ["/status/500?token=secret", "/break", "/status/404"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        ask(site.address, request).await.unwrap();
    }
    let target: TargetName = "production.shop.web".parse().unwrap();
    let mut after = After::default();
    let facts = async |after: &After| site.router.facts(after).await.unwrap().unwrap();
    eventually("both are told", PATIENCE, async || facts(&After::default()).await.failed.len() >= 2).await;
    let told = facts(&after).await;
    let client = footplate_router::key::point("", &[127, 0, 0, 1]);
    assert!(told.failed.iter().all(|failed| failed.key == client && failed.target == target), "{told:?}");
    let said = |failed: &FailedRequest| format!("{} {} {:?}", failed.method, failed.path, failed.how);
    let said: Vec<String> = told.failed.iter().map(said).collect();
    assert_eq!(said.first().map(String::as_str), Some("GET /status/500 Status(500)"));
    assert!(said.contains(&"GET /break Fault(Broken)".to_owned()), "{said:?}");
    assert!(said.iter().all(|said| !said.contains("404")), "{said:?}");
    after = After { line: told.counts.line.clone(), number: told.failed.last().unwrap().number };
    assert_eq!(facts(&after).await.failed, []);
    let load = Load { pause: Duration::from_millis(20), ..Load::new(site.address, 1) }.start();
    eventually("one client carries all", PATIENCE, async || {
        let busiest = facts(&after).await.busiest.get(&target).copied().unwrap_or_default();
        busiest.sampled >= 20 && busiest.of_ten == busiest.sampled
    })
    .await;
    drop(load);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_nobody_for_a_moment_keeps_its_requests_through_a_reload() {
    let mut site = Site::haproxy().await;
    let reached = |mut pool: Pool, entrance: &str| {
        pool.entrances = [entrance.parse().unwrap()].into();
        pool
    };
    let shop = reached(site.pool("a/1", "1:100").await, "shop.example.com/");
    let unseen = reached(site.pool_of("production.later.web", "", "").await, "later.example.com/");
    site.router.follow(std::slice::from_ref(&shop)).await.unwrap();
    let restarting = reached(site.pool("", "").await, "shop.example.com/");
    let blog = reached(site.pool_of("production.blog.web", "b/1", "1:100").await, "*/");
    site.router.follow(&[blog.clone(), unseen, restarting]).await.unwrap();
    assert!(site.configuration().contains("production.blog.web.1"), "the structure changed meanwhile");
    let status = async |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = crate::site::ask(site.address, request).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("elsewhere.example.com").await, "200");
    assert_eq!(status("shop.example.com").await, "503", "they are the shop's, and nobody else's");
    assert!(!site.configuration().contains("production.later.web"), "what was never up costs no reload");
    let workers = site.workers().await;
    site.router.follow(&[blog, shop]).await.unwrap();
    assert_eq!(status("shop.example.com").await, "200");
    assert_eq!(site.workers().await, workers, "it comes back without a reload");
}

/// Ends a HAProxy that the driver started, by the id that it left.
struct Started(std::path::PathBuf);

impl Drop for Started {
    fn drop(&mut self) {
        let id = std::fs::read_to_string(&self.0).ok().and_then(|text| text.trim().parse().ok());
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            let gone = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            assert!(gone.is_ok() || gone == Err(rustix::io::Errno::SRCH), "{gone:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_requests_holds_as_far_as_haproxy_can() {
    let mut site = Site::haproxy().await;
    let mut pool = site.pool("a/1", "1:100").await;
    let usual = pool.clone();
    pool.requests.body_bytes_max = Some(10);
    pool.requests.answer = Duration::from_millis(200);
    pool.requests.silence = Duration::from_millis(100);
    pool.requests.retries = 0;
    let status = async |line: &str| {
        let said = format!("{line}\r\nhost: a\r\nconnection: close\r\n\r\n");
        ask(site.address, said).await.unwrap().split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (pool, [large, slow]) in [(&pool, ["413", "504"]), (&usual, ["200", "200"])] {
        site.router.follow(std::slice::from_ref(pool)).await.unwrap();
        assert_eq!(status("GET / HTTP/1.1").await, "200");
        assert_eq!(status("GET /slow/1000 HTTP/1.1").await, slow);
        let large_one =
            "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 11\r\n\r\n01234567890";
        let answer = ask(site.address, large_one.to_owned()).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(large), "{answer}");
    }
    pool.requests.silence = Duration::ZERO;
    site.router.follow(&[pool]).await.unwrap();
    assert_eq!(
        status("GET /slow/1000 HTTP/1.1").await,
        "200",
        "one time stands for both, and never is never"
    );
    assert!(site.configuration().contains("timeout server 24d"), "{}", site.configuration());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_else_starts_haproxy_the_driver_does_and_again_when_it_was_killed() {
    let mut site = Site::haproxy_to_come();
    let settings = footplate_drivers::router::haproxy::Settings { starts: true, ..site.settings() };
    let started = Started(settings.folder.join("haproxy.pid"));
    site.router = open(&Config::Haproxy(settings));
    site.follow("a/1", "1:100").await;
    assert_eq!(site.answers(20).await.keys().collect::<Vec<_>>(), ["a/1"]);
    let first = std::fs::read_to_string(&started.0).unwrap();
    drop(Started(started.0.clone()));
    eventually("it is gone", PATIENCE, async || tokio::net::TcpStream::connect(site.address).await.is_err())
        .await;
    let pool = site.pool("a/2", "2:100").await;
    let follows = async || site.router.follow(std::slice::from_ref(&pool)).await.is_ok();
    eventually("it was started again", PATIENCE, follows).await;
    assert_eq!(site.answers(20).await.keys().collect::<Vec<_>>(), ["a/2"]);
    assert_ne!(std::fs::read_to_string(&started.0).unwrap(), first);
}
