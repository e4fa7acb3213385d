//! A small site for stories: hosts in temporary folders, a controller, and the client that a person would use.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use footplate::agent::{self, Access, AgentConfig, Limits};
use footplate::api::{
    By, Clean, Delivery, Deploy, GateChange, GateOrder, Order, OrderVerb, Overrides, Planned, Push, RollBack,
    RolloutStatus, Status, TargetStatus, Wanted,
};
use footplate::client::{Client, ClientError};
use footplate::controller;
use footplate_core::gate::Test;
use footplate_core::name::AppPath;
use footplate_core::release::{Hook, Hooks, Workload};
use footplate_core::retention::Retention;
use footplate_core::rollout::Policy;
use footplate_core::selector::Labels;
use footplate_drivers::archive;
use footplate_drivers::discovery;
use footplate_drivers::router::Config;
use footplate_drivers::service::Supervisor;
use footplate_drivers::service::keeper::Keepers;
use footplate_drivers::store::memory::Memory;
use footplate_drivers::store::{Applied, Scope, Store, Transaction, Write};
use footplate_drivers::workload::Settings;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How long anything in these stories may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Site {
    pub store: Arc<Memory>,
    pub folder: TempDir,
    pub client: Client,
    pub controller_stop: CancellationToken,
    controllers: usize,
    ended: Option<tokio::task::JoinHandle<()>>,
    agents: BTreeMap<String, CancellationToken>,
    lives: BTreeMap<String, tokio::task::AbortHandle>,
    elsewhere: Option<Elsewhere>,
}

/// A store of another kind, and the catalog that agents enter their services in.
pub struct Elsewhere {
    pub store: Arc<dyn Store>,
    pub discovery: discovery::Config,
}

impl Site {
    /// Starts a controller and an agent for each name.
    pub async fn with_hosts(names: &[&str]) -> Self {
        Self::elsewhere(names, None).await
    }

    /// Does so on another store perhaps, and with a catalog.
    pub async fn elsewhere(names: &[&str], elsewhere: Option<Elsewhere>) -> Self {
        footplate::install_crypto_provider();
        let store = Arc::new(Memory::default());
        let folder = tempfile::tempdir().unwrap();
        let nobody = Client::new("http://127.0.0.1:1", "");
        let mut site = Self {
            store,
            folder,
            client: nobody,
            controller_stop: CancellationToken::new(),
            controllers: 0,
            ended: None,
            agents: BTreeMap::new(),
            lives: BTreeMap::new(),
            elsewhere,
        };
        site.client = site.start_controller().await;
        for name in names {
            site.start_agent(name);
        }
        let wanted = names.len();
        site.until("the agents have joined", async |status: &Status| {
            status.hosts.iter().filter(|host| host.alive).count() == wanted
        })
        .await;
        site
    }

    /// Stops the controller and starts it again on the same folder.
    pub async fn restart_controller(&mut self) {
        self.controller_stop.cancel();
        if let Some(ended) = self.ended.take() {
            ended.await.unwrap();
        }
        self.controllers -= 1;
        self.client = self.start_controller().await;
    }

    /// Starts another controller on the same store and returns a client for it; stopped by `controller_stop`.
    pub async fn start_controller(&mut self) -> Client {
        self.start_controller_on(self.shared_store()).await
    }

    /// Starts another controller on this view of the store.
    pub async fn start_controller_on(&mut self, store: Arc<dyn Store>) -> Client {
        self.controllers += 1;
        self.controller_stop = CancellationToken::new();
        let config = controller::Config {
            lane: "main".parse().unwrap(),
            data: self.folder.path().join(format!("controller-{}", self.controllers)),
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: None,
            tls: None,
            keep_pushed: 2,
            kpi: footplate_drivers::kpi::Settings::default(),
            acts: true,
        };
        let mut running = controller::start(config, store, self.controller_stop.clone()).await.unwrap();
        if self.controllers == 1 {
            running.wait_until_acting(PATIENCE).await.unwrap();
        }
        let client = Client::new(&running.base, &running.token);
        self.ended = Some(running.ended);
        client
    }

    /// Returns the operator's token.
    pub fn token(&self) -> String {
        let file = self.folder.path().join(format!("controller-{}/token", self.controllers));
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// Writes to the store behind everybody's back.
    pub async fn write_by_hand(&self, writes: Vec<Write>) {
        for writes in writes.chunks(60) {
            let transaction = Transaction { guards: Vec::new(), writes: writes.to_vec() };
            assert_eq!(self.store.apply(&transaction).await.unwrap(), Applied::Yes);
        }
    }

    /// Returns what stands under a key.
    pub async fn read_by_hand(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.store.read(&Scope::Key(key.to_owned())).await.unwrap();
        found.entries.get(key).map(|entry| entry.value.clone())
    }

    pub fn start_agent(&mut self, name: &str) {
        self.start_agent_beside(name, "web", None);
    }

    /// Starts an agent with a role of its own, and a router perhaps.
    pub fn start_agent_beside(&mut self, name: &str, role: &str, router: Option<Config>) {
        let store = self.shared_store();
        let config = AgentConfig {
            host: name.parse().unwrap(),
            store: Access::Open(store),
            labels: Labels::from([("role".to_owned(), role.to_owned())]),
            address: "here".to_owned(),
            folder: self.host_folder(name),
            limits: Limits::default(),
            settings: Settings::default(),
            services_at: std::net::Ipv4Addr::LOCALHOST.into(),
            program: env!("CARGO_BIN_EXE_footplate").into(),
            router,
            discovery: self.elsewhere.as_ref().map(|elsewhere| elsewhere.discovery.clone()),
            is_alone: false,
        };
        let stop = CancellationToken::new();
        self.agents.insert(name.to_owned(), stop.clone());
        let life = tokio::spawn(async move { agent::run(config, stop).await.unwrap() });
        self.lives.insert(name.to_owned(), life.abort_handle());
    }

    /// Ends an agent without a word; what it keeps running goes on.
    pub fn kill_agent(&mut self, name: &str) {
        self.lives.remove(name).expect("a running agent").abort();
    }

    /// Tells the agents that start from now on of another catalog, or of none.
    pub fn discover(&mut self, change: impl FnOnce(&mut discovery::Config)) {
        change(&mut self.elsewhere.as_mut().expect("a catalog").discovery);
    }

    fn shared_store(&self) -> Arc<dyn Store> {
        match &self.elsewhere {
            Some(elsewhere) => Arc::clone(&elsewhere.store),
            None => self.store.clone(),
        }
    }

    pub fn stop_agent(&mut self, name: &str) {
        self.agents.remove(name).expect("a running agent").cancel();
    }

    pub fn host_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join("hosts").join(name)
    }

    /// Returns what `live/index.html` says on a host.
    pub fn page(&self, host: &str) -> Option<String> {
        let live = self.host_folder(host).join("apps/production/shop/live/index.html");
        std::fs::read_to_string(live).ok()
    }

    /// Pushes a version whose page says its name, with these hooks.
    pub async fn push(&self, version: &str, hooks: Hooks) -> Result<(), ClientError> {
        self.push_page(version, &format!("<p>{version}</p>"), hooks).await
    }

    pub async fn push_page(&self, version: &str, page: &str, hooks: Hooks) -> Result<(), ClientError> {
        let delivery = Delivery {
            selector: "role=web".parse().unwrap(),
            groups: ["files".parse().unwrap()].into(),
            policy: Policy::default(),
            retention: Retention { keep: 2, newer_than: None },
            freezes: Vec::new(),
        };
        self.push_workload(version, page, Workload::ReleaseDir(hooks), delivery).await
    }

    pub async fn push_workload(
        &self,
        version: &str,
        page: &str,
        workload: Workload,
        delivery: Delivery,
    ) -> Result<(), ClientError> {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("index.html"), page).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("artifact.tar.zst");
        let packed = archive::pack(tree.path(), &file, 0).unwrap();
        self.client.put_artifact(&packed.artifact.digest, &file).await?;
        let push = Push {
            app: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
            commit: None,
            summary: None,
            actor: None,
            artifact: Some(packed.artifact),
            workload,
            variables: Default::default(),
            routes: Default::default(),
            environments: [("production".parse().unwrap(), delivery)].into(),
        };
        self.client.push(&push).await.map(drop)
    }

    pub async fn deploy(&self, version: &str, overrides: Overrides) -> Result<Planned, ClientError> {
        self.client.deploy(&deploy(version, overrides)).await
    }

    pub async fn roll_back(&self, to: Option<&str>) -> Result<Planned, ClientError> {
        let to = to.map(|to| Wanted::Name(to.to_owned()));
        self.client
            .roll_back(&RollBack { path: path(), to, groups: BTreeSet::new(), by: By::default() })
            .await
    }

    /// Says why what was taken back had to be: then others may be deployed.
    pub async fn open_gate(&self) {
        let test = Test::Impossible("it was a story".to_owned());
        let change = GateChange::Open { whys: vec!["it was a story".to_owned()], test, of: None };
        let by = By { reason: None, actor: Some("ann".parse().unwrap()) };
        self.client.change_gate(&GateOrder { path: path(), change, by }).await.unwrap();
    }

    pub async fn order(&self, verb: OrderVerb) -> Result<RolloutStatus, ClientError> {
        self.client.order(&Order { path: path(), verb, by: By::default() }).await
    }

    pub async fn clean(&self, release: Option<&str>) -> Result<Vec<String>, ClientError> {
        let release = release.map(|release| Wanted::Name(release.to_owned()));
        let clean = Clean { path: path(), release, plan: false, actor: None };
        let cleaned = self.client.clean(&clean).await?;
        Ok(cleaned.removed.iter().map(ToString::to_string).collect())
    }

    /// Pushes and deploys a version that is well, and waits for its end.
    pub async fn ship(&self, version: &str) {
        self.push(version, Hooks::default()).await.unwrap();
        self.deploy(version, Overrides::default()).await.unwrap();
        assert_eq!(self.end().await.exit_code, Some(0));
    }

    /// Waits for the end of the rollout under way and returns it.
    pub async fn end(&self) -> RolloutStatus {
        let status = self.until("the rollout has ended", async |status: &Status| ended(status)).await;
        rollout(&status).clone()
    }

    /// Waits until something is so, and returns the status in which it was.
    pub async fn until<F>(&self, what: &str, is_so: F) -> Status
    where
        F: AsyncFn(&Status) -> bool,
    {
        let waiting = async {
            let mut seen = 0;
            loop {
                if let Ok(status) = self.client.app_status(&path(), seen, Duration::from_millis(200)).await {
                    if is_so(&status).await {
                        return status;
                    }
                    seen = status.change;
                }
            }
        };
        within(what, waiting).await
    }
}

/// Services outlive their agents; those of a story end with it.
impl Drop for Site {
    fn drop(&mut self) {
        let folders: Vec<PathBuf> =
            self.agents.keys().map(|name| self.host_folder(name).join("services")).collect();
        let end = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for folder in folders.iter().filter(|folder| folder.exists()) {
                    let keepers = Keepers::new(folder, env!("CARGO_BIN_EXE_footplate").into());
                    for (name, _) in keepers.look().await.unwrap_or_default() {
                        drop(keepers.stop(&name).await);
                    }
                }
            });
        };
        drop(std::thread::spawn(end).join());
    }
}

/// Returns the result of something that must not take for ever.
pub async fn within<T>(what: &str, story: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, story).await.unwrap_or_else(|_| panic!("waited too long until {what}"))
}

pub fn path() -> AppPath {
    AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() }
}

pub fn deploy(version: &str, overrides: Overrides) -> Deploy {
    let release = Wanted::Name(version.to_owned());
    let by = By { reason: None, actor: Some("ann".parse().unwrap()) };
    Deploy { path: path(), release, groups: BTreeSet::new(), overrides, fix: None, by }
}

pub fn rollout(status: &Status) -> &RolloutStatus {
    status.apps[0].rollout.as_ref().expect("a rollout")
}

pub fn ended(status: &Status) -> bool {
    status.apps.first().is_some_and(|app| app.rollout.as_ref().is_some_and(|rollout| rollout.ended))
}

pub fn target<'a>(status: &'a Status, host: &str) -> Option<&'a TargetStatus> {
    status.apps.first()?.targets.iter().find(|target| target.target.host.as_str() == host)
}

pub fn runs(status: &Status, host: &str, version: &str) -> bool {
    target(status, host).and_then(|target| target.live.as_ref()).is_some_and(|live| live.as_str() == version)
}

pub fn prepare(command: &str) -> Hooks {
    Hooks { prepare: Some(hook(command)), activated: None }
}

pub fn activated(command: &str) -> Hooks {
    Hooks { prepare: None, activated: Some(hook(command)) }
}

fn hook(command: &str) -> Hook {
    Hook { command: command.to_owned(), deadline: Duration::from_secs(20) }
}

/// Returns the three parts of a refusal in one text.
pub fn refusal(error: ClientError) -> String {
    match error {
        ClientError::Problem(problem) => {
            format!(
                "{}: {}; next: {}",
                problem.what,
                problem.because.join(": "),
                problem.next.unwrap_or_default()
            )
        }
        other => panic!("not a refusal: {other}"),
    }
}
