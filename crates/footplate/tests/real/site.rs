//! A site of real processes: a store, a controller, agents, and one app whose releases can be told apart.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use footplate_testkit::free_port;

use footplate_testkit::process::{DEADLINE, Process, eventually};

/// The hosts of a site.
pub const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// The exit code of a command that found nobody who could act.
const UNREACHABLE: i32 = 5;

/// A store, a controller and agents, in a folder that goes away.
pub struct Site {
    /// The store, while it runs.
    pub store: Option<Process>,
    /// The controller, while it runs.
    pub controller: Option<Process>,
    /// The agents that run.
    pub agents: BTreeMap<String, Process>,
    /// How hosts reach the controller, when not by its own address.
    pub advertise: Option<String>,
    folder: tempfile::TempDir,
    store_port: u16,
    controller_port: u16,
}

impl Site {
    /// Starts a store, a controller and three agents, and deploys version 1.
    pub fn start() -> Site {
        let mut site = Site::without_agents();
        for host in HOSTS {
            site.start_agent(host, None);
        }
        site.push("1");
        site.deploy("1").must_be_done();
        site.all_run("1");
        site
    }

    /// Starts a store and a controller.
    pub fn without_agents() -> Site {
        let mut site = Site {
            store: None,
            controller: None,
            agents: BTreeMap::new(),
            advertise: None,
            folder: tempfile::tempdir().expect("a folder"),
            store_port: free_port(),
            controller_port: free_port(),
        };
        site.start_store();
        site.start_controller(None);
        site
    }

    /// Returns the site's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns where the store answers.
    pub fn store_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.store_port)
    }

    /// Returns the store's own address.
    pub fn store_socket(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.store_port).into()
    }

    /// Returns the controller's own address.
    pub fn controller_socket(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.controller_port).into()
    }

    /// Returns a command of the program, without anything from this environment that it would listen to.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FOOTPLATE_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.folder());
        command
    }

    /// Starts the store at its own address, with whatever it held.
    pub fn start_store(&mut self) {
        let listen = format!("127.0.0.1:{}", self.store_port);
        let command = self.program(&["store", "serve", "--listen", &listen, "--folder", "store"]);
        let mut store = Process::start("the store", command);
        store.wait_for("The store answers at");
        self.store = Some(store);
    }

    /// Starts the controller at its own address; it kills itself at `failpoint`.
    pub fn start_controller(&mut self, failpoint: Option<&str>) {
        let listen = format!("127.0.0.1:{}", self.controller_port);
        let store = self.store_address();
        let arguments = ["controller", "--listen", &listen, "--store", &store, "--folder", "controller"];
        let mut command = self.program(&arguments);
        command.envs(failpoint.map(|name| ("FOOTPLATE_FAILPOINTS", name)));
        command.envs(self.advertise.as_ref().map(|address| ("FOOTPLATE_ADVERTISE", address)));
        let mut controller = Process::start("the controller", command);
        if failpoint.is_none() {
            controller.wait_for("The controller answers at");
        }
        self.controller = Some(controller);
    }

    /// Starts the agent of a host; it kills itself at `failpoint`.
    pub fn start_agent(&mut self, host: &str, failpoint: Option<&str>) {
        let store = self.store_address();
        let arguments = ["-v", "agent", "--host", host, "--store", &store, "--folder", host];
        let mut command = self.program(&arguments);
        command.envs(failpoint.map(|name| ("FOOTPLATE_FAILPOINTS", name)));
        self.agents.insert(host.to_owned(), Process::start(host, command));
    }

    /// Kills the agent of a host, as power loss would.
    pub fn kill_agent(&mut self, host: &str) {
        self.agents.remove(host).expect("it runs").kill();
    }

    /// Makes a version known, with a page that names it and hooks that leave traces.
    pub fn push(&self, version: &str) {
        self.push_with(version, "cp page prepared", "cp page activated");
    }

    /// Makes a version known, with these hooks.
    pub fn push_with(&self, version: &str, prepare: &str, activated: &str) {
        self.push_app("shop", version, prepare, activated);
    }

    /// Makes a version of any app known.
    pub fn push_app(&self, name: &str, version: &str, prepare: &str, activated: &str) {
        let app = self.folder().join(name);
        fs::create_dir_all(app.join("files")).expect("room");
        fs::write(app.join("files/page"), version).expect("room");
        let config = format!(
            "app = \"{name}\"\n[build]\noutput = \"files\"\n[hooks]\nprepare = {prepare:?}\nactivated = {activated:?}\n\
             [retain]\nkeep = 2\n[environments.production]\nhosts = \"*\"\n"
        );
        fs::write(app.join("footplate.toml"), config).expect("room");
        let mut ran = self.operator(&["push", "--app-folder", name, "--version", version]);
        assert!(ran.wait().success(), "{}", ran.said());
    }

    /// Begins to deploy a version; the command's end tells the rollout's.
    pub fn deploy(&self, version: &str) -> Rollout {
        self.deploy_with(version, &[])
    }

    /// Begins to deploy a version with further flags.
    pub fn deploy_with(&self, version: &str, flags: &[&str]) -> Rollout {
        let what = format!("shop@{version}");
        let nodes = HOSTS.len().to_string();
        let arguments = [&["deploy", &what, "--nodes", &nodes], flags].concat();
        Rollout { command: self.operator(&arguments) }
    }

    /// Deploys a version, again and again while no controller can act.
    pub fn deploy_patiently(&self, version: &str) {
        eventually(&format!("a controller takes the order for {version}"), || {
            self.deploy(version).ends_well_unless_refused()
        });
    }

    /// Runs a command of the operator.
    pub fn operator(&self, arguments: &[&str]) -> Process {
        let controller = format!("http://127.0.0.1:{}", self.controller_port);
        let token = self.folder().join("controller/token").display().to_string();
        let common = ["--controller", &controller, "--token-file", &token];
        Process::start("a command", self.program(&[arguments, &common].concat()))
    }

    /// Returns a path in the app's files on a host.
    pub fn path(&self, host: &str, path: &str) -> PathBuf {
        self.folder().join(host).join("apps/production/shop").join(path)
    }

    /// Returns what is live on a host, after checking that it is whole.
    pub fn live(&self, host: &str) -> Option<String> {
        let target = fs::read_link(self.path(host, "live")).ok()?;
        let version = target.file_name().expect("a release's folder").to_str().expect("text").to_owned();
        let mark = self.path(host, &format!("versions/.{version}.complete"));
        assert!(fs::symlink_metadata(&mark).is_ok(), "{host}: `live` is {version}, which has no mark");
        for file in ["page", "prepared"] {
            let path = self.path(host, &format!("versions/{version}/{file}"));
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{host}: {}: {error}", path.display()));
            assert_eq!(text, version, "{host}: {file}");
        }
        Some(version)
    }

    /// Checks that every host runs one of two releases, whole.
    pub fn all_are(&self, old: &str, new: &str) {
        for host in HOSTS {
            let live = self.live(host);
            assert!(live.as_deref() == Some(old) || live.as_deref() == Some(new), "{host} runs {live:?}");
        }
    }

    /// Waits until every host runs this release, its hook included.
    pub fn all_run(&self, version: &str) {
        for host in HOSTS {
            eventually(&format!("{host} runs {version}"), || {
                let hook = fs::read_to_string(self.path(host, "live/activated"));
                self.live(host).as_deref() == Some(version) && hook.is_ok_and(|text| text == version)
            });
        }
    }
}

/// A rollout that somebody watches.
pub struct Rollout {
    command: Process,
}

impl Rollout {
    /// Waits for its end, which must be a good one.
    pub fn must_be_done(mut self) {
        let ended = self.command.wait();
        assert!(ended.success(), "{ended}:\n{}", self.command.said());
    }

    /// Waits for its end, which must be a good one, or that of an order that nobody took: `false` then.
    pub fn ends_well_unless_refused(mut self) -> bool {
        let ended = self.command.wait();
        assert!(ended.success() || ended.code() == Some(UNREACHABLE), "{ended}:\n{}", self.command.said());
        ended.success()
    }

    /// Waits for its end and says what it was.
    pub fn end(mut self) -> String {
        format!("{}: {}", self.command.wait(), self.command.said())
    }

    /// Returns what the command has said.
    pub fn said(&self) -> String {
        self.command.said()
    }

    /// Tells whether it goes on.
    pub fn goes_on(&mut self) -> bool {
        self.command.is_running()
    }
}

/// Returns a generator whose seed is printed, and can be given back in `FOOTPLATE_SEED`.
pub fn random() -> rand::rngs::SmallRng {
    let given = std::env::var("FOOTPLATE_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("FOOTPLATE_SEED={seed} replays this, deadline {DEADLINE:?}");
    rand::SeedableRng::seed_from_u64(seed)
}
