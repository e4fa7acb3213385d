//! Programs that route by a file, shown with the real nginx.

use std::path::PathBuf;
use std::time::Duration;

use footplate_drivers::router::template::Settings;
use footplate_drivers::router::{Config, RouterError, open};
use footplate_testkit::load::Load;
use footplate_testkit::{Server, cached_program, eventually, free_port};

use crate::site::{PATIENCE, Site};

const TEMPLATE: &str = r#"worker_processes 1;
daemon off;
pid {{ values.folder }}/nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
{% for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] %}
  {{ kind }}_temp_path {{ values.folder }}/{{ kind }};
{% endfor %}
  upstream nobody { server 127.0.0.1:1; }
{% for pool in pools %}
  upstream {{ pool.group }} {
{% for endpoint in pool.endpoints if not endpoint.draining %}
    server {{ endpoint.address }} weight={{ endpoint.share }};
{% endfor %}
  }
{% endfor %}
  server {
    listen {{ values.listen }};
    location / { proxy_pass http://{{ "web" if pools else "nobody" }}; }
  }
}
"#;

/// A site before which nginx stands, as its driver's file says.
struct Nginx {
    site: Site,
    settings: Settings,
    server: Option<Server>,
}

impl Nginx {
    fn prepare(drain: Duration) -> Self {
        let mut site = Site::builtin_to_come();
        let folder = site.folder.path().to_owned();
        site.address = ([127, 0, 0, 1], free_port()).into();
        let program = cached_program("nginx/usr/sbin/nginx").unwrap();
        let log = folder.join("errors.log");
        let nginx = format!("{} -e {}", program.display(), log.display());
        std::fs::write(folder.join("nginx.conf.j2"), TEMPLATE).unwrap();
        let file = folder.join("nginx.conf");
        // Nothing to reload before it runs.
        let reload = format!("test ! -s {0}/nginx.pid || {nginx} -s reload -c $FILE", folder.display());
        let mut settings = Settings { drain, ..Settings::new(folder.join("nginx.conf.j2"), file, &reload) };
        settings.check = Some(format!("{nginx} -t -q -c $FILE"));
        let values = [("folder", folder.display().to_string()), ("listen", site.address.to_string())];
        settings.values = values.map(|(name, value)| (name.to_owned(), value)).into();
        site.router = open(&Config::Template(settings.clone()));
        Self { site, settings, server: None }
    }

    /// Starts nginx on the first file of its driver.
    async fn start(drain: Duration) -> Self {
        let mut nginx = Self::prepare(drain);
        nginx.site.follow("a/1", "1:100").await;
        let program = cached_program("nginx/usr/sbin/nginx").unwrap();
        let folder = nginx.site.folder.path();
        let log = folder.join("errors.log").display().to_string();
        let file = nginx.settings.file.display().to_string();
        let arguments = vec!["-c".to_owned(), file, "-e".to_owned(), log];
        nginx.server = Some(Server::start(program, arguments, folder.join("nginx.log")).unwrap());
        let address = nginx.site.address;
        let answers = async || tokio::net::TcpStream::connect(address).await.is_ok();
        eventually("nginx answers", PATIENCE, answers).await;
        nginx
    }

    fn mark(&self) -> PathBuf {
        self.settings.file.with_file_name("nginx.conf.loaded")
    }
}

/// A master that is killed leaves its workers to themselves: it is asked to end, and ends them.
impl Drop for Nginx {
    fn drop(&mut self) {
        let Some(server) = self.server.take().filter(|server| !server.has_ended()) else { return };
        let ended = server.end(PATIENCE);
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }
}

/// Lists the processes that a process has started and that are there.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let of: u32 = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        (of == parent).then_some(process)
    });
    processes.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_ends_with_its_workers_and_those_that_a_reload_left() {
    let mut nginx = Nginx::start(Duration::ZERO).await;
    let master = nginx.server.as_ref().and_then(Server::pid).unwrap();
    let _slow = nginx.site.begin("/stream/300/50", "a/1").await;
    nginx.site.follow("a/2", "2:100").await;
    eventually("a worker leaves and another has come", PATIENCE, async || children(master).len() == 2).await;
    let workers = children(master);
    drop(nginx);
    let alive = |process: &&u32| std::path::Path::new(&format!("/proc/{process}")).exists();
    assert_eq!(workers.iter().filter(alive).collect::<Vec<_>>(), Vec::<&u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_follows_by_reloads_and_what_leaves_is_busy_for_its_time() {
    let mut nginx = Nginx::start(Duration::from_millis(700)).await;
    let site = &mut nginx.site;
    let load = Load { keep_alive: false, ..Load::new(site.address, 2) }.start();
    let slow = site.begin("/stream/30/50", "a/1").await;
    site.follow("a/1 drains a/2", "1:0 2:100").await;
    assert_eq!(site.busy().await, Some(vec!["a/1".to_owned()]), "its time has just begun");
    assert_eq!(site.router.counts().await.unwrap(), None, "what nobody counts is not zero");
    // The old workers of nginx go on for a moment after the command is done.
    eventually("the new release answers", PATIENCE, async || site.backends["a/2"].requests() > 10).await;
    site.until_busy(&[]).await;
    let answer = slow.await.unwrap().unwrap();
    assert!(answer.matches("piece").count() == 30, "{answer}");
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
    let before = site.backends["a/1"].requests();
    site.answers(50).await;
    assert_eq!(site.backends["a/1"].requests(), before, "who has left gets nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_check_refuses_takes_nobodys_place() {
    let mut nginx = Nginx::start(Duration::ZERO).await;
    let before = std::fs::read_to_string(&nginx.settings.file).unwrap();
    std::fs::write(&nginx.settings.template, TEMPLATE.replace("access_log off;", "sparkle on;")).unwrap();
    let pool = nginx.site.pool("a/2", "2:100").await;
    let said = nginx.site.router.follow(&[pool]).await.unwrap_err().to_string();
    assert!(
        said.contains("unknown directive \"sparkle\"") && said.contains("nginx.conf.candidate"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&nginx.settings.file).unwrap(), before);
    std::fs::write(&nginx.settings.template, "{{ pools[7].name }}").unwrap();
    let said = nginx.site.router.follow(&[]).await.unwrap_err().to_string();
    assert!(said.contains("cannot be rendered") && said.contains("undefined"), "{said}");
    assert_eq!(nginx.site.answers(20).await.keys().collect::<Vec<_>>(), ["a/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_fails_leaves_the_file_that_was_there_and_a_restart_reloads_nothing() {
    let mut nginx = Nginx::prepare(Duration::ZERO);
    let (count, fails) = (nginx.site.folder.path().join("count"), nginx.site.folder.path().join("fails"));
    nginx.settings.reload = format!("echo . >> {}; test ! -e {}", count.display(), fails.display());
    let reloads = || std::fs::read_to_string(&count).unwrap_or_default().lines().count();
    nginx.site.router = open(&Config::Template(nginx.settings.clone()));
    nginx.site.follow("a/1", "1:100").await;
    nginx.site.follow("a/1", "1:100").await;
    nginx.site.router = open(&Config::Template(nginx.settings.clone()));
    nginx.site.follow("a/1", "1:100").await;
    assert_eq!(reloads(), 1);
    let before = std::fs::read_to_string(&nginx.settings.file).unwrap();
    std::fs::write(&fails, "").unwrap();
    let pool = nginx.site.pool("a/2", "2:100").await;
    for _ in 0..3 {
        let said = nginx.site.router.follow(std::slice::from_ref(&pool)).await.unwrap_err();
        assert!(
            matches!(&said, RouterError::Refused { .. }) && said.to_string().contains("status 1"),
            "{said}"
        );
    }
    assert_eq!(
        (reloads(), std::fs::read_to_string(&nginx.settings.file).unwrap()),
        (2, before),
        "tried once"
    );
    std::fs::remove_file(&fails).unwrap();
    nginx.site.follow("a/1", "1:100").await;
    assert_eq!(reloads(), 3, "the file before it has to be loaded again: what failed may be in force");
    nginx.site.follow("a/1", "1:100").await;
    assert_eq!(reloads(), 3);
    std::fs::remove_file(nginx.mark()).unwrap();
    nginx.site.router = open(&Config::Template(nginx.settings.clone()));
    nginx.site.follow("a/1", "1:100").await;
    assert_eq!(reloads(), 4, "nobody knows whether it was loaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_cannot_be_run_leaves_the_file_that_was_there_and_nothing_as_loaded() {
    let mut nginx = Nginx::prepare(Duration::ZERO);
    nginx.settings.reload = "true".to_owned();
    nginx.site.router = open(&Config::Template(nginx.settings.clone()));
    nginx.site.follow("a/1", "1:100").await;
    let before = std::fs::read_to_string(&nginx.settings.file).unwrap();
    // No program can be given such an argument.
    nginx.settings.reload = "true \0".to_owned();
    nginx.site.router = open(&Config::Template(nginx.settings.clone()));
    let pool = nginx.site.pool("a/2", "2:100").await;
    let said = nginx.site.router.follow(&[pool]).await.unwrap_err();
    assert!(matches!(said, RouterError::Program(_)), "{said}");
    assert_eq!(std::fs::read_to_string(&nginx.settings.file).unwrap(), before);
    assert!(!nginx.mark().exists());
}
