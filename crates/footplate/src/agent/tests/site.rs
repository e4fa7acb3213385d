//! A small site for tests: the memory store behind a weather of our choosing, and agents in folders of their own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::record::{Barrier, Key, Stored, Written};
use footplate_core::release::{Hook, Hooks, Release, Workload};
use footplate_core::target::{Assignment, Report, Switch};
use footplate_drivers::router;
use footplate_drivers::store::memory::Memory;
use footplate_drivers::store::{
    Applied, Revision, Scope, SessionId, Snapshot, Store, StoreError, Transaction, Write,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Access, AgentConfig, AgentError, Limits};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A store that counts what it is asked and can be out of reach.
pub struct Weather {
    inner: Arc<Memory>,
    down: watch::Sender<bool>,
    /// How many of the next reads of a barrier panic, as a driver with a fault would.
    faults: AtomicU32,
    requests: Mutex<Vec<String>>,
    /// How often a barrier was asked for in vain.
    barriers_refused: AtomicU32,
    /// Where the next look for orders holds up its thread: it says so, and waits for a word.
    stall: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl Weather {
    /// Cuts the store off, or brings it back.
    pub fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }

    /// Makes so many of the next reads of a barrier panic.
    pub fn plant_faults(&self, count: u32) {
        self.faults.store(count, Ordering::Relaxed);
    }

    /// Returns how many are left.
    pub fn faults_left(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Has whoever looks for orders next hold up its thread; returns what says so, and what lets it go on.
    pub fn stall(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((tell, told), (go, wait)) = (mpsc::channel(), mpsc::channel());
        *self.stall.lock().expect("no test panics while it stalls") = Some((tell, wait));
        (told, go)
    }

    fn hold_up(&self) {
        let stall = self.stall.lock().expect("no test panics while it stalls").take();
        if let Some((tell, wait)) = stall {
            // A test that ended early waits for nobody.
            tell.send(()).ok();
            wait.recv_timeout(DEADLINE).ok();
        }
    }

    /// Returns the requests since the last call, in order.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().expect("no test panics while it counts"))
    }

    /// Waits until so many more questions for a barrier were left without an answer.
    pub async fn refuses_barriers(&self, count: u32) {
        let refused = || self.barriers_refused.load(Ordering::Relaxed);
        let before = refused();
        eventually("the barrier is asked for in vain", || refused() >= before + count).await;
    }

    async fn pass<T>(
        &self,
        request: String,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut down = self.down.subscribe();
        let asks_orders = request.starts_with("wait") && request.contains("hosts/");
        let mut answer = std::pin::pin!(answer);
        let answer = std::future::poll_fn(|context| {
            if asks_orders {
                self.hold_up();
            }
            answer.as_mut().poll(context)
        });
        let asks_barrier = request.contains("barriers/");
        if !*down.borrow() {
            self.requests.lock().expect("no test panics while it counts").push(request);
        }
        tokio::select! {
            biased;
            _ = down.wait_for(|down| *down) => {
                self.barriers_refused.fetch_add(u32::from(asks_barrier), Ordering::Relaxed);
                Err(StoreError::Unreachable {
                    driver: "memory",
                    address: "nowhere".to_owned(),
                    source: "the test cut it off".into(),
                })
            }
            answer = answer => answer,
        }
    }
}

#[async_trait]
impl Store for Weather {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        let request = format!("read {scope:?}");
        let one_less = |count: u32| count.checked_sub(1);
        let hit = request.contains("barriers/")
            && self.faults.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        assert!(!hit, "the planted fault");
        self.pass(request, self.inner.read(scope)).await
    }

    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        self.pass(format!("wait {scope:?}"), self.inner.wait(scope, seen, patience)).await
    }

    async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError> {
        let keys: Vec<&String> = transaction
            .writes
            .iter()
            .map(|write| match write {
                Write::Put(key, _)
                | Write::PutEphemeral(key, ..)
                | Write::Delete(key)
                | Write::DeletePrefix(key) => key,
            })
            .collect();
        self.pass(format!("apply {keys:?}"), self.inner.apply(transaction)).await
    }

    async fn open_session(&self, label: &str, ttl: Duration) -> Result<SessionId, StoreError> {
        self.pass("open_session".to_owned(), self.inner.open_session(label, ttl)).await
    }

    async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.pass("renew_session".to_owned(), self.inner.renew_session(session)).await
    }

    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.pass("close_session".to_owned(), self.inner.close_session(session)).await
    }
}

/// One store, one folder for each host.
pub struct Site {
    /// What the controller of the story writes to.
    pub store: Arc<Memory>,
    /// What the agents see of it.
    pub weather: Arc<Weather>,
    /// How the agents of this site work.
    pub limits: Limits,
    folder: TempDir,
}

/// One running agent.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
    folder: PathBuf,
}

impl Running {
    /// Ends the agent as a signal would.
    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("it ends")
            .expect("no panic")
            .expect("it began");
    }

    /// Waits until the agent gives up, and returns why.
    pub async fn refused(self) -> AgentError {
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("it ends").expect("no panic");
        ended.expect_err("it could not begin")
    }

    /// Waits until its runtime has ended it, and returns why it did not come to an end of its own.
    pub async fn cut_off(self) -> tokio::task::JoinError {
        tokio::time::timeout(DEADLINE, self.task).await.expect("it ends").expect_err("it was cut off")
    }

    /// Ends the agent without any goodbye.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()), "it was still running");
        let lock = std::fs::File::open(self.folder.join("lock")).expect("it had a folder");
        eventually("its workers are gone", || lock.try_lock().is_ok()).await;
    }
}

impl Site {
    /// Makes a site without agents.
    pub fn new() -> Self {
        let store = Arc::new(Memory::default());
        let weather = Weather {
            inner: Arc::clone(&store),
            down: watch::Sender::new(false),
            faults: AtomicU32::new(0),
            requests: Mutex::default(),
            barriers_refused: AtomicU32::new(0),
            stall: Mutex::default(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Limits { look_every: Duration::from_millis(300), ..Limits::default() };
        Self { store, weather: Arc::new(weather), limits, folder }
    }

    /// Starts an agent for `host`, in the folder `folder`.
    pub fn start_in(&self, host: &str, folder: &str) -> Running {
        self.start_with(host, folder, Access::Open(Arc::clone(&self.weather) as Arc<dyn Store>))
    }

    /// Starts an agent that comes to a store in its own way.
    pub fn start_with(&self, host: &str, folder: &str, store: Access) -> Running {
        self.start_all(host, folder, store, None)
    }

    /// Starts the agent of `host` beside a router.
    pub fn start_beside(&self, host: &str, router: &Path) -> Running {
        let store = Access::Open(Arc::clone(&self.weather) as Arc<dyn Store>);
        self.start_all(host, host, store, Some(router::Config::Builtin(router.to_owned())))
    }

    fn start_all(&self, host: &str, folder: &str, store: Access, router: Option<router::Config>) -> Running {
        crate::install_crypto_provider();
        let config = AgentConfig {
            host: host.parse().expect("a host"),
            address: "127.0.0.1".to_owned(),
            store,
            labels: Default::default(),
            folder: self.folder.path().join(folder),
            limits: self.limits,
            settings: Default::default(),
            services_at: std::net::Ipv4Addr::LOCALHOST.into(),
            program: agent::program(),
            router,
            discovery: None,
            is_alone: false,
        };
        let (stop, folder) = (CancellationToken::new(), config.folder.clone());
        let task = tokio::spawn(agent::run(config, stop.clone()));
        Running { stop, task, folder }
    }

    /// Starts the agent of `host`, in the folder of that name.
    pub fn start(&self, host: &str) -> Running {
        self.start_in(host, host)
    }

    /// Returns a path in the files of the one app on `host`.
    pub fn path(&self, host: &str, path: &str) -> PathBuf {
        self.folder.path().join(host).join("apps/production/shop").join(path)
    }

    /// Returns a file of the site's own, for hooks to write to.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives `host` an order for the one app.
    pub async fn assign(&self, host: &str, order: &Assignment) {
        self.assign_to(host, &target(), order).await;
    }

    /// Gives `host` an order for another app.
    pub async fn assign_to(&self, host: &str, target: &TargetName, order: &Assignment) {
        let key = Key::Assignment(host.parse().expect("a host"), target.clone());
        self.put(&key, serde_json::to_vec(&Written(order)).expect("plain data")).await;
    }

    /// Opens the one app's barrier.
    pub async fn open_barrier(&self, counter: u64) {
        let barrier = Barrier { generation: Generation::new(1, counter) };
        let key = Key::Barrier(target().path);
        self.put(&key, serde_json::to_vec(&Written(&barrier)).expect("plain data")).await;
    }

    /// Writes to the store as the controller would.
    pub async fn put(&self, key: &Key, value: Vec<u8>) {
        let writes = vec![Write::Put(key.to_string(), value)];
        let applied = self.store.apply(&Transaction { guards: vec![], writes }).await;
        assert_eq!(applied.expect("the memory store is always there"), Applied::Yes);
    }

    /// Waits until the store holds, below `prefix`, what `found` looks for.
    pub async fn until<T>(
        &self,
        prefix: &str,
        what: &str,
        mut found: impl FnMut(&Snapshot) -> Option<T>,
    ) -> T {
        let scope = Scope::Prefix(prefix.to_owned());
        let mut seen = Revision(0);
        let mut last = Snapshot::default();
        let search = async {
            loop {
                let news =
                    self.store.wait(&scope, seen, DEADLINE).await.expect("the memory store is always there");
                let Some(snapshot) = news else { continue };
                if let Some(found) = found(&snapshot) {
                    return found;
                }
                seen = snapshot.revision;
                last = snapshot;
            }
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(found) => found,
            Err(_) => panic!("no {what} in time; the store holds {:#?}", shown(&last)),
        }
    }

    /// Waits until the report of `host` is as `wanted` says.
    pub async fn report(&self, host: &str, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let key = report_key(host);
        self.until(&key, what, |snapshot| report_of(snapshot, &key).filter(&wanted)).await
    }

    /// Waits until the agent of `host` is announced.
    pub async fn alive(&self, host: &str) {
        let key = Key::Presence(host.parse().expect("a host")).to_string();
        self.until(&key, "presence", |snapshot| snapshot.entries.get(&key).map(drop)).await;
    }

    /// Returns where `live` points on `host`.
    pub fn live(&self, host: &str) -> Option<String> {
        let link = std::fs::read_link(self.path(host, "live")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }
}

/// Waits until `claim` holds.
pub async fn eventually(what: &str, claim: impl Fn() -> bool) {
    let search = async {
        while !claim() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn shown(snapshot: &Snapshot) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    snapshot.entries.iter().map(|(key, entry)| (key.clone(), text(&entry.value))).collect()
}

/// Returns the one app's target.
pub fn target() -> TargetName {
    "production.shop.files".parse().expect("a target")
}

/// Returns the key of the one app's report.
pub fn report_key(host: &str) -> String {
    Key::Report(host.parse::<HostName>().expect("a host"), target()).to_string()
}

/// Returns a report out of a snapshot.
pub fn report_of(snapshot: &Snapshot, key: &str) -> Option<Report> {
    match serde_json::from_slice(&snapshot.entries.get(key)?.value).expect("a report") {
        Stored::Known(report) => Some(report),
        Stored::Newer(_) => None,
    }
}

/// Returns a release's id.
pub fn id(text: &str) -> ReleaseId {
    text.parse().expect("a release's name")
}

/// Returns a release without files, with these hooks (none when empty).
pub fn release(name: &str, prepare: &str, activated: &str) -> Release {
    let hook = |command: &str| {
        let deadline = Duration::from_secs(60);
        (!command.is_empty()).then(|| Hook { command: command.to_owned(), deadline })
    };
    Release {
        id: id(name),
        app: "shop".parse().expect("an app"),
        version: name.split('+').next().unwrap_or(name).parse().expect("a version"),
        commit: None,
        summary: None,
        artifact: None,
        workload: Workload::ReleaseDir(Hooks { prepare: hook(prepare), activated: hook(activated) }),
        created_at: Moment::from_millis(0),
        variables: Default::default(),
        routes: Default::default(),
        signature: None,
    }
}

/// Returns an order to run `run` and keep `keep`.
pub fn order(counter: u64, run: Option<&str>, keep: &[Release]) -> Assignment {
    Assignment::to_run(Generation::new(1, counter), run.map(id), keep.to_vec())
}

/// Returns an order to switch to `to` once the barrier has reached the order's own generation.
pub fn switching(to: &str, order: Assignment) -> Assignment {
    let switch = Switch { to: id(to), barrier: order.generation };
    Assignment { switch: Some(switch), ..order }
}
