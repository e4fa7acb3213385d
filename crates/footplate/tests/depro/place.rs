//! A place to deploy to: a store, a folder for every node, agents and commands as real processes.
//!
//! Scripts wait at gates (files that a test makes), so that a story decides what happens first and never guesses.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use footplate_drivers::store::Config;
use footplate_drivers::store::consul::{Client, Condition, Removal};
use footplate_testkit::{Brood, Consul, ConsulSetup, Proxy, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

/// How long anything may take that should happen soon. Generous: the machine may be busy.
pub const SOON: Duration = Duration::from_secs(40);

/// Which store a story is played on.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The real one, shared by all stories of this program.
    Consul,
    /// Ours, one for each story.
    Embedded,
}

static CONSUL: OnceCell<Consul> = OnceCell::const_new();
static PLACES: AtomicU32 = AtomicU32::new(0);

/// A store with a tree of its own, seen through a proxy. Whatever a story leaves running ends with it: a killed agent's scripts
/// are groups of their own, and would wait at their gates for ever.
pub struct Place {
    /// The commands of this place, and all that they start. It ends before the folder goes.
    pub brood: Brood,
    pub proxy: Proxy,
    pub client: Client,
    pub prefix: String,
    pub folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub async fn open(kind: Kind) -> Place {
        footplate::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let address = match kind {
            Kind::Consul => {
                let start = || async { Consul::start(ConsulSetup::default()).await.unwrap() };
                CONSUL.get_or_init(start).await.address()
            }
            Kind::Embedded => embedded(&folder.path().join("store")).await,
        };
        Place::at(address, folder).await
    }

    /// A place on a store that the story has started itself.
    pub async fn at(address: std::net::SocketAddr, folder: TempDir) -> Place {
        let proxy = Proxy::start(address).await.unwrap();
        let client = Client::open(&Config::new(&format!("http://{address}")).unwrap()).unwrap();
        let prefix = format!("story{}/version", PLACES.fetch_add(1, Ordering::Relaxed));
        Place { brood: Brood::default(), proxy, client, prefix, folder }
    }

    pub fn path(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    /// A deployment whose deploy waits at the gate `deploy-NODE` when `gated`, and whose rollout tells on itself when it
    /// runs too early.
    pub fn deployment(&self, node: &str, gated: bool) -> Value {
        let gate =
            format!("while ! [ -e {}/deploy-{node} ]; do sleep 0.02; done", self.folder.path().display());
        let gate = if gated { gate } else { "true".to_owned() };
        json!({
            "id": "app",
            "path": format!("{}/", self.path(node).display()),
            "prefix": format!("/{}/", self.prefix),
            "shell": "bash",
            "deploy": ["touch half", gate, "echo $VERSION > code", "echo $VERSION >> $DEPLOYMENT_PATH/deploys"],
            "rollout": [
                "test -e code || echo $VERSION >> $DEPLOYMENT_PATH/early",
                "echo $VERSION >> $DEPLOYMENT_PATH/rollouts",
                "ln -sfn $DEPLOYMENT_PATH/$VERSION $DEPLOYMENT_PATH/live",
            ],
            "clean": ["echo $VERSION >> $DEPLOYMENT_PATH/cleaned"],
        })
    }

    /// Lets every script pass that waits at this gate.
    pub fn open_gate(&self, name: &str) {
        std::fs::write(self.folder.path().join(name), "").unwrap();
    }

    /// Starts an agent with one plain deployment.
    pub fn agent(&self, node: &str) -> Agent {
        self.agent_with(node, json!([self.deployment(node, false)]))
    }

    /// Starts an agent with these deployments.
    pub fn agent_with(&self, node: &str, deployments: Value) -> Agent {
        let file = self.folder.path().join(format!("{node}.json"));
        let config = json!({"name": node, "wait": "60s", "deployments": deployments});
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = self.command(&["agent", "-config-file", &file.to_string_lossy()]);
        self.start(node, &mut command)
    }

    pub fn start(&self, node: &str, command: &mut Command) -> Agent {
        let log = self.folder.path().join(format!("{node}.log"));
        let open = || std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = command.stdout(open()).stderr(open()).stdin(Stdio::null()).spawn().unwrap();
        Agent { child, log }
    }

    /// A `depro` command that talks to this place's store.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
        command.arg("depro").args(arguments).env("DEPRO_SERVER", self.proxy.address().to_string());
        command.env("DEPRO_PREFIX", &self.prefix).env("TMPDIR", self.folder.path()).kill_on_drop(true);
        let (variable, mark) = self.brood.variable();
        command.env(variable, mark);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().await.unwrap())
    }

    /// Deploys and expects success.
    pub async fn deploy(&self, arguments: &[&str]) -> String {
        let ended =
            self.run(&[&["deploy", "-timeout=40s", "-activate-timeout=40s"], arguments].concat()).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    }

    pub async fn get(&self, key: &str) -> Option<String> {
        let pair = self.client.get(&format!("{}/{key}", self.prefix), None).await.unwrap().value;
        pair.map(|pair| String::from_utf8(pair.value).unwrap())
    }

    pub async fn put(&self, key: &str, value: &str) {
        let key = format!("{}/{key}", self.prefix);
        self.client.put(&key, value, 0, &Condition::Always).await.unwrap();
    }

    /// Removes what begins with this key.
    pub async fn remove(&self, key: &str) {
        self.client.delete(&format!("{}/{key}", self.prefix), Removal::Recurse).await.unwrap();
    }

    /// All keys below the prefix with their values, for messages and for "nothing else was written".
    pub async fn keys(&self) -> Vec<(String, String)> {
        let pairs = self.client.list(&format!("{}/", self.prefix), None).await.unwrap().value;
        let cut = self.prefix.len() + 1;
        pairs
            .into_iter()
            .map(|pair| (pair.key[cut..].to_owned(), String::from_utf8(pair.value).unwrap()))
            .collect()
    }

    /// Polls until a key says this.
    pub async fn eventually(&self, key: &str, value: &str) {
        let what = format!("{key} says {value:?}");
        eventually(&what, SOON, || async { self.get(key).await.as_deref() == Some(value) }).await;
    }

    /// Polls until a key is gone.
    pub async fn eventually_gone(&self, key: &str) {
        eventually(&format!("{key} is gone"), SOON, || async { self.get(key).await.is_none() }).await;
    }

    /// The lines that scripts of a node wrote into a file of its deployment's path.
    pub fn lines(&self, node: &str, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(node).join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Polls until a node's file has these lines.
    pub async fn eventually_lines(&self, node: &str, file: &str, lines: &[&str]) {
        let what = format!("{file} of {node} has the lines {lines:?}");
        eventually(&what, SOON, || async { self.lines(node, file) == lines }).await;
    }

    /// The version that a node's `live` link points at.
    pub fn live(&self, node: &str) -> Option<String> {
        let target = std::fs::read_link(self.path(node).join("live")).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// Starts our own server in this process.
pub async fn embedded(folder: &Path) -> std::net::SocketAddr {
    let mut config = footplate_kv::Config::loopback(folder);
    config.listen.set_port(0);
    let server = footplate_kv::Server::open(config).await.unwrap();
    let listener = server.bind().await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
    address
}

pub fn ended(output: std::process::Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A running agent; killed on drop.
pub struct Agent {
    pub child: Child,
    log: PathBuf,
}

impl Agent {
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; returns the exit code.
    pub async fn end(&mut self) -> Option<i32> {
        tokio::time::timeout(SOON, self.child.wait()).await.expect("the agent ends").unwrap().code()
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
