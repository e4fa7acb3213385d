//! A site of real processes: a store, a controller, agents, a router with an agent beside it, and one app whose service is swapped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use footplate_drivers::service::keeper::Keepers;
use footplate_drivers::service::{Phase, Supervisor};
use footplate_testkit::free_port;
use footplate_testkit::process::{Process, eventually};
use tokio::runtime::Runtime;

use crate::front::Front;

/// The host of the router.
const EDGE: &str = "edge";

/// The site; whatever runs on it ends with it.
pub struct Site<F> {
    /// The router.
    pub front: F,
    controller: Option<Process>,
    agents: BTreeMap<String, Process>,
    store: Process,
    store_port: u16,
    controller_port: u16,
    runtime: Runtime,
    folder: tempfile::TempDir,
}

/// How a version is shipped: lines of `[rollout]`, and what its service is started with.
#[derive(Clone, Debug)]
pub struct Version<'a> {
    pub name: &'a str,
    pub rollout: &'a str,
    pub arguments: &'a str,
    /// Further lines of `[service.web]`.
    pub service: &'a str,
}

impl<'a> Version<'a> {
    /// A good version.
    pub fn good(name: &'a str, rollout: &'a str) -> Self {
        Self { name, rollout, arguments: "serve", service: "" }
    }
}

impl<F: Front> Site<F> {
    /// Starts everything, with so many hosts that run the app.
    pub fn start(hosts: usize) -> Self {
        footplate::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let (store_port, controller_port) = (free_port(), free_port());
        let listen = format!("127.0.0.1:{store_port}");
        let arguments = ["store", "serve", "--listen", &listen, "--folder", "store"];
        let mut store = Process::start("the store", program(folder.path(), &arguments));
        store.wait_for("The store answers at");
        let front = F::start(folder.path());
        let runtime = Runtime::new().expect("a runtime");
        let (controller, agents) = (None, BTreeMap::new());
        let mut site =
            Self { front, controller, agents, store, store_port, controller_port, runtime, folder };
        site.start_controller();
        site.start_agent(EDGE);
        for number in 1..=hosts {
            site.start_agent(&format!("web-{number}"));
        }
        let all: Vec<String> = site.agents.keys().cloned().collect();
        eventually("all agents have joined", || {
            let listed = site.operator(&["hosts", "list", "--json"]).1;
            all.iter().all(|host| listed.contains(&format!("\"{host}\"")))
        });
        site
    }

    /// Returns the site's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns where the store answers.
    pub fn store(&self) -> String {
        format!("http://127.0.0.1:{}", self.store_port)
    }

    /// Returns the names of the agents that run.
    pub fn agents(&self) -> Vec<String> {
        self.agents.keys().cloned().collect()
    }

    /// Starts the controller at its own address.
    pub fn start_controller(&mut self) {
        let listen = format!("127.0.0.1:{}", self.controller_port);
        let store = self.store();
        let arguments = ["controller", "--listen", &listen, "--store", &store, "--folder", "controller"];
        let mut controller = Process::start("the controller", program(self.folder(), &arguments));
        controller.wait_for("acting: this controller holds the lease");
        self.controller = Some(controller);
    }

    /// Kills the controller, as power loss would.
    pub fn kill_controller(&mut self) {
        self.controller.take().expect("it runs").kill();
    }

    /// Starts the agent of a host; the edge's looks after the router.
    pub fn start_agent(&mut self, host: &str) {
        let (role, router) = match host == EDGE {
            true => (EDGE, format!("[router]\n{}\n", self.front.settings())),
            false => ("web", String::new()),
        };
        let config = format!(
            "host = {host:?}\nfolder = {host:?}\n[labels]\nrole = {role:?}\n[store]\naddress = {:?}\n{router}",
            self.store()
        );
        let path = self.folder().join(format!("{host}.toml"));
        fs::write(&path, config).expect("room");
        let arguments = ["agent", "--config", path.to_str().expect("text")];
        let agent = Process::start(host, program(self.folder(), &arguments));
        self.agents.insert(host.to_owned(), agent);
    }

    /// Kills the agent of a host, as power loss would.
    pub fn kill_agent(&mut self, host: &str) {
        self.agents.remove(host).expect("it runs").kill();
    }

    /// Runs a command of the operator and returns how it ended and what it said on either output.
    pub fn operator(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let mut ran = self.begin(arguments);
        (ran.wait(), ran.said())
    }

    /// Begins a command of the operator.
    pub fn begin(&self, arguments: &[&str]) -> Process {
        let controller = format!("http://127.0.0.1:{}", self.controller_port);
        let token = self.folder().join("controller/token").display().to_string();
        let common = ["--controller", &controller, "--token-file", &token];
        Process::start("a command", program(self.folder(), &[arguments, &common].concat()))
    }

    /// Makes a version known.
    pub fn push(&self, version: &Version) {
        let Version { name, rollout, arguments, service } = version;
        let app = self.folder().join("shop");
        fs::create_dir_all(app.join("files")).expect("room");
        fs::write(app.join("files/page"), name).expect("room");
        let config = format!(
            "app = \"shop\"\n[build]\noutput = \"files\"\n\
             [service.web]\ncommand = \"exec {} {arguments}\"\nports = \"12000-18999\"\n{service}\n\
             [service.web.health]\npath = \"/health\"\ninterval = \"100ms\"\nhealthy_time = \"200ms\"\nstart_deadline = \"4s\"\n\
             [service.web.stop]\ngrace = \"1s\"\n[rollout]\n{rollout}\n[retain]\nkeep = 2\n\
             [environments.production]\nhosts = \"role=web\"\n",
            example("shop").display()
        );
        fs::write(app.join("footplate.toml"), config).expect("room");
        let (ended, said) = self.operator(&["push", "--app-folder", "shop", "--version", name]);
        assert!(ended.success(), "{said}");
    }

    /// Makes a version known and begins to deploy it.
    pub fn ship(&self, version: &Version) -> Process {
        self.push(version);
        self.begin(&["deploy", &format!("shop@{}", version.name)])
    }

    /// Makes a version known and deploys it, which must succeed.
    pub fn must_ship(&self, version: &Version) {
        must_be_done(&mut self.ship(version));
    }

    /// Returns the first file of a service's output on a host.
    pub fn log(&self, host: &str, release: &str) -> String {
        let name = format!("services/production.shop.web.{release}/output.log");
        fs::read_to_string(self.folder().join(host).join(name)).unwrap_or_default()
    }

    /// Returns the process of a service on a host, while it runs.
    pub fn service(&self, host: &str, release: &str) -> Option<i32> {
        let keepers = keepers(&self.folder().join(host));
        let list = self.runtime.block_on(keepers.list()).expect("listed");
        let found = list.into_iter().find(|status| status.name.release.as_str() == release)?;
        match found.phase {
            Phase::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }
}

/// Services outlive their agents; those of a story end with it.
impl<F> Drop for Site<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for agent in self.agents.values() {
                eprintln!("an agent said:\n{}", agent.said());
            }
            let controller = self.controller.as_ref().map(Process::said);
            eprintln!(
                "the controller said:\n{}\nthe store said:\n{}",
                controller.unwrap_or_default(),
                self.store.said()
            );
        }
        for (host, agent) in std::mem::take(&mut self.agents) {
            agent.kill();
            let keepers = keepers(&self.folder.path().join(host));
            self.runtime.block_on(async {
                for status in keepers.list().await.unwrap_or_default() {
                    // It may have ended by itself; what matters is that it is gone.
                    drop(keepers.stop(&status.name).await);
                }
            });
        }
    }
}

fn keepers(agent: &Path) -> Keepers {
    Keepers::new(&agent.join("services"), env!("CARGO_BIN_EXE_footplate").into())
}

/// Returns a command of the program, without anything from this environment that it would listen to.
pub fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FOOTPLATE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(folder);
    command
}

/// Returns an example, which cargo builds beside the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("we run");
    test.ancestors().nth(2).expect("tests lie in `deps`").join("examples").join(name)
}

/// Waits for the good end of a deployment.
pub fn must_be_done(deploy: &mut Process) {
    let ended = deploy.wait();
    assert!(ended.success(), "{ended}: {}", deploy.said());
}
