//! `footplate up` as a newcomer meets it: an empty folder, one command, a commit that ships and one that does not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::program::{folder, program, run};

/// How long any step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A `footplate up` that runs; killed when the story ends early.
struct Up {
    child: Child,
    lines: Receiver<String>,
    told: Vec<String>,
}

impl Up {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = program(folder)
            .args(["up", "--router", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (tell, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let other = tell.clone();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| other.send(line))
        });
        Self { child, lines, told: Vec::new() }
    }

    /// Waits until it says something with this text.
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it never said {text:?}; it said\n{}", self.told.join("\n"));
            };
            self.told.push(line);
            if self.told.last().is_some_and(|line| line.contains(text)) {
                return;
            }
        }
    }

    /// Sends Ctrl-C, waits for the end, and returns the exit code and all that was said.
    fn stop(mut self) -> (Option<i32>, String) {
        self.signal();
        let code = self.child.wait().expect("it ends").code();
        self.told.extend(self.lines.iter());
        (code, std::mem::take(&mut self.told).join("\n"))
    }

    /// Sends Ctrl-C and returns the exit code.
    fn interrupt(mut self) -> Option<i32> {
        self.signal();
        self.child.wait().expect("it ends").code()
    }

    fn signal(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(sent.success());
    }
}

/// A story that ended early leaves no service behind: they are not children of `up`.
impl Drop for Up {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal();
            drop(self.child.wait());
        }
    }
}

/// Returns the address that the router serves at.
fn router(up: &mut Up) -> String {
    up.wait_for("A router serves at http://");
    let line = up.told.last().expect("just said");
    let (_, address) = line.split_once("http://").expect("just found");
    address.trim_end_matches("/.").to_owned()
}

/// Asks for a page, and returns the whole answer.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it serves");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// Counts the processes that work in a folder or for it.
fn processes_of(folder: &Path) -> usize {
    let folder = folder.canonicalize().expect("it is there");
    let is_of = |entry: &fs::DirEntry| {
        let place = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        place.starts_with(&folder) || String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy())
    };
    fs::read_dir("/proc").expect("linux").map_while(Result::ok).filter(is_of).count()
}

/// Makes a repository `shop` whose prepare hook is this one; returns what runs git in it.
fn shop(folder: &Path, prepare: &str) -> impl Fn(&[&str]) + use<> {
    let repository = folder.join("shop");
    fs::create_dir(&repository).expect("made");
    let config = format!("app = \"shop\"\n[hooks]\nprepare = \"{prepare}\"\n");
    fs::write(repository.join("footplate.toml"), config).expect("written");
    let git = move |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(&repository).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]);
        assert!(git.args(arguments).status().expect("git runs").success());
    };
    git(&["init", "--quiet"]);
    git
}

fn commit(repository: &Path, page: &str, message: &str) {
    fs::write(repository.join("site/about.html"), page).expect("written");
    let mut git = Command::new("git");
    git.current_dir(repository).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]);
    assert!(git.args(["commit", "--quiet", "-am", message]).status().expect("git runs").success());
}

fn live_pages(folder: &Path) -> Vec<String> {
    let host = |number| folder.join(format!(".footplate/hosts/host-{number}/apps/production/hello.web/live"));
    (1..=3).map(|number| fs::read_to_string(host(number).join("site/about.html")).expect("live")).collect()
}

#[test]
fn a_newcomers_commit_ships_and_a_bad_one_changes_nothing() {
    let folder = folder();
    let repository = folder.path().join(".footplate/example");
    let mut up = Up::start(folder.path());
    up.wait_for("Try next");
    let first = live_pages(folder.path());
    commit(&repository, "<p>Hello again</p></html>\n", "Change a page");
    up.wait_for(": Change a page");
    up.wait_for(" is live.");
    assert_eq!(live_pages(folder.path()), vec!["<p>Hello again</p></html>\n"; 3]);
    assert_ne!(first[0], "<p>Hello again</p></html>\n");
    commit(&repository, "<p>cut", "A bad page \x1b[2J");
    up.wait_for(": A bad page \u{fffd}[2J");
    up.wait_for("could not prepare");
    up.wait_for("about.html is cut off");
    up.wait_for("did not ship");
    let stamp = |line: &&String| line.contains(" WARN ") || line.contains(" INFO ");
    assert_eq!(up.told.iter().find(stamp), None, "the log is no reading for a newcomer");
    let log = fs::read_to_string(folder.path().join(".footplate/footplate.log")).expect("a log");
    assert!(log.contains("cannot prepare"), "{log}");
    assert_eq!(live_pages(folder.path()), vec!["<p>Hello again</p></html>\n"; 3]);
    let status = run(folder.path(), &["status", "--json"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("\"hello\""), "{}", status.stdout);
    let history = run(folder.path(), &["history", "hello", "--limit", "200", "--json"]);
    let entries: serde_json::Value = serde_json::from_str(&history.stdout).expect("entries");
    let entries = entries.as_array().expect("a list");
    assert_eq!(entries.iter().filter(|entry| entry["kind"] == "push").count(), 3, "{}", history.stdout);
    let of_others = entries.iter().filter(|entry| entry["actor"] != "ada");
    assert_eq!(of_others.count(), 0, "{}", history.stdout);
    assert_eq!(up.interrupt(), Some(0));
}

#[test]
fn visitors_are_answered_while_a_service_is_replaced_and_meet_no_bad_one() {
    let folder = folder();
    let repository = folder.path().join(".footplate/example");
    let mut up = Up::start_with(folder.path(), &["--metrics", "127.0.0.1:0"]);
    let router = router(&mut up);
    up.wait_for("Prometheus reads the router's counts at http://");
    let line = up.told.last().expect("just said").clone();
    let counts = line.split_once("http://").expect("just found").1.trim_end_matches("/metrics.");
    up.wait_for("Try next");
    let first = get(&router, "/");
    let requests = "footplate_router_attempts_total{service=\"production.hello.web\"";
    assert!(get(counts, "/metrics").contains(requests), "{}", get(counts, "/metrics"));
    assert!(first.starts_with("HTTP/1.1 200 OK") && first.contains("Hello from footplate"), "{first}");
    let server = fs::read_to_string(repository.join("server.pl")).expect("the example's server");
    fs::write(repository.join("server.pl"), server.replace("200 OK", "500 Oops")).expect("written");
    commit(&repository, "<p>With a server that is ill</p></html>\n", "Break the server");
    up.wait_for(": Break the server");
    let mut asked = 0;
    while !up.told.iter().any(|line| line.contains("did not ship")) {
        let page = get(&router, "/about.html");
        assert!(page.starts_with("HTTP/1.1 200 OK") && !page.contains("is ill"), "{page}");
        asked += 1;
        up.told.extend(up.lines.try_iter());
    }
    assert!(asked > 0);
    let said = up.told.join("\n");
    assert!(said.contains("could not start") && said.contains("it answered 500"), "{said}");
    up.signal();
    assert_eq!(up.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(processes_of(folder.path()), 0, "nothing goes on without `up`");
    let mut again = Up::start(folder.path());
    let same = self::router(&mut again);
    assert_eq!(same, router);
    again.wait_for("HOST");
    let deadline = Instant::now() + PATIENCE;
    while !get(&router, "/").starts_with("HTTP/1.1 200 OK") {
        assert!(Instant::now() < deadline, "{}", get(&router, "/"));
    }
}

#[test]
fn the_second_start_goes_on_where_the_first_was() {
    let folder = folder();
    let start = || run(folder.path(), &["up", "--once", "--router", "127.0.0.1:0"]);
    let once = start();
    assert_eq!(once.code, 0, "{}", once.stderr);
    assert!(once.stderr.contains("`production.hello` runs"), "{}", once.stderr);
    let again = start();
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(!again.stderr.contains("Commit "), "nothing is shipped twice: {}", again.stderr);
    assert!(again.stderr.contains("`production.hello` runs"), "it says how that ended: {}", again.stderr);
    assert!(again.stdout.contains("host-3"), "{}", again.stdout);
}

#[test]
fn a_second_up_in_the_same_folder_is_refused() {
    let folder = folder();
    let mut up = Up::start(folder.path());
    up.wait_for("Watching");
    let second = run(folder.path(), &["up", "--once"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("cannot start the store"), "{}", second.stderr);
    assert!(second.stderr.contains("next:"), "{}", second.stderr);
    assert_eq!(up.interrupt(), Some(0));
}

#[test]
fn other_users_of_the_machine_cannot_use_the_store() {
    let folder = folder();
    let mut up = Up::start(folder.path());
    up.wait_for("Watching");
    let status = run(folder.path(), &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    let address =
        status["store"].as_str().and_then(|store| store.split(' ').next_back()).expect("an address");
    let mut stranger = TcpStream::connect(address).expect("the store listens on loopback");
    let request =
        "PUT /v1/kv/footplate/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    stranger.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stranger.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(up.interrupt(), Some(0));
}

#[test]
fn once_tells_again_that_a_commit_does_not_run_and_ends_when_there_is_none() {
    let folder = folder();
    let git = shop(folder.path(), "false");
    let up = || {
        run(
            folder.path(),
            &["up", "--once", "--agents", "1", "--router", "127.0.0.1:0", "--repository", "shop"],
        )
    };
    let none = up();
    assert_eq!(none.code, 2, "{}", none.stderr);
    assert!(none.stderr.contains("cannot find the newest commit"), "{}", none.stderr);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "It cannot be prepared"]);
    let first = up();
    assert_eq!(first.code, 1, "{}", first.stderr);
    let second = up();
    assert_eq!(second.code, 1, "{}", second.stderr);
}

#[test]
fn ctrl_c_in_the_middle_of_a_rollout_stops_it_well_and_the_next_start_goes_on_at_the_same_address() {
    let folder = folder();
    let let_go = folder.path().join("let-go");
    let git = shop(folder.path(), &format!("test -e {} || exec sleep 600", let_go.display()));
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "It takes long"]);
    let start = || Up::start_with(folder.path(), &["--agents", "1", "--repository", "shop"]);
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let mut up = start();
        up.wait_for("Store, controller");
        addresses.extend(up.told.pop());
        up.wait_for("waiting for host-1");
        let (code, said) = up.stop();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("Stopping") && !said.contains("error:"), "{said}");
    }
    assert_eq!(addresses[0], addresses[1]);
    fs::write(&let_go, "").expect("written");
    let mut up = start();
    up.wait_for("`production.shop` runs");
    assert_eq!(up.interrupt(), Some(0));
}

#[test]
fn a_router_that_does_not_serve_is_not_said_to_and_ends_up_with_its_words() {
    let folder = folder();
    let table = folder.path().join(".footplate/router/table.json");
    fs::create_dir_all(table.parent().expect("it has a folder")).expect("made");
    fs::write(&table, "{ cut").expect("written");
    let start = || run(folder.path(), &["up", "--once", "--agents", "1", "--router", "127.0.0.1:0"]);
    let up = start();
    assert_eq!(up.code, 1, "{}", up.stderr);
    assert!(!up.stderr.contains("A router serves"), "{}", up.stderr);
    let words = ["error: cannot start the router at 127.0.0.1:", "because: it ended with status 1"];
    for part in words.into_iter().chain(["cannot read the table in FOLDER", "next: mend what it says"]) {
        assert!(up.stderr.contains(part), "{part}: {}", up.stderr);
    }
    assert_eq!(processes_of(folder.path()), 0, "nothing is left of it");
    fs::remove_file(&table).expect("it is there");
    let again = start();
    assert_eq!(again.code, 0, "{}", again.stderr);
}
