//! The site of the benchmark: a store, a controller, two hosts, and a router with an agent beside it. Services end with it.

use super::NEXT;
use super::front::{Front, Kind};
use crate::bench::process::{Process, poll};
use crate::bench::router::{Ground, free_address};
use crate::failure::Failure;
use crate::program;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_DEADLINE: Duration = Duration::from_secs(60);
/// How the store, the controller and a person's commands are started: they have machines of their own elsewhere, and here they share
/// the services' core, to which they yield.
const ELSEWHERE: [&str; 3] = ["nice", "-n", "19"];
/// The hosts that run the service.
const HOSTS: [&str; 2] = ["web-1", "web-2"];

/// How a version is taken live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    Barrier,
    Rolling,
    Canary,
    BlueGreen,
}

impl Strategy {
    pub const ALL: [Strategy; 4] =
        [Strategy::Barrier, Strategy::Rolling, Strategy::Canary, Strategy::BlueGreen];

    /// Returns its name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Barrier => "barrier",
            Strategy::Rolling => "rolling",
            Strategy::Canary => "canary",
            Strategy::BlueGreen => "blue/green",
        }
    }

    /// Returns the lines of `[rollout]`.
    fn lines(self) -> &'static str {
        match self {
            Strategy::Barrier => "strategy = \"barrier\"",
            Strategy::Rolling => "strategy = \"rolling\"\nbatch = \"1\"",
            Strategy::Canary => "strategy = \"canary\"\nramp = [\"10%\", \"50%\"]\nbatch = \"1\"",
            Strategy::BlueGreen => "strategy = \"blue_green\"",
        }
    }
}

/// The running programs.
pub struct Site<'a> {
    pub front: Front,
    ground: &'a Ground,
    /// The program of the service.
    shop: &'a Path,
    place: PathBuf,
    api: String,
    version: usize,
    /// The agents, the controller and the store, ended in this order.
    roles: Vec<Process>,
}

impl<'a> Site<'a> {
    /// Starts everything and waits until all agents are known.
    pub fn open(ground: &'a Ground, kind: Kind, shop: &'a Path) -> Result<Site<'a>, Failure> {
        let place = ground.folder.path().join(format!("site-{}", kind.name()));
        fs::create_dir_all(&place).map_err(cannot_write)?;
        let front = Front::start(ground, kind, &place)?;
        let (api, store) = (free_address()?, free_address()?);
        let folder = |name: &str| place.join(name).display().to_string();
        let program = ground.router.display().to_string();
        let start = |name: &str, arguments: &[&str]| {
            ground.start(name, ground.cores.1, &ground.router, arguments, &[])
        };
        let start_elsewhere = |name: &str, arguments: &[&str]| {
            let words = [&ELSEWHERE[1..], &[&program], arguments].concat();
            ground.start(name, ground.cores.1, Path::new(ELSEWHERE[0]), &words, &[])
        };
        let server =
            start_elsewhere("store", &["store", "serve", "--listen", &store, "--folder", &folder("store")])?;
        poll("the store", START_DEADLINE, || Ok(std::net::TcpStream::connect(&store).ok()))?;
        let store = format!("http://{store}");
        let arguments =
            ["controller", "--listen", &api, "--store", &store, "--folder", &folder("controller")];
        let controller = start_elsewhere("controller", &arguments)?;
        let mut roles = Vec::new();
        for (host, role, rest) in [
            (HOSTS[0], "web", String::new()),
            (HOSTS[1], "web", String::new()),
            ("edge", "edge", format!("[router]\n{}\n", front.settings)),
        ] {
            let path = place.join(format!("{host}.toml"));
            let text = format!(
                "host = {host:?}\nfolder = {:?}\n[labels]\nrole = {role:?}\n[store]\naddress = {store:?}\n{rest}",
                place.join(host)
            );
            fs::write(&path, text).map_err(cannot_write)?;
            roles.push(start(host, &["agent", "--config", &path.display().to_string()])?);
        }
        let count = roles.len();
        roles.extend([controller, server]);
        let mut site = Site { front, ground, shop, place, api, version: 0, roles };
        poll("all agents to be known", START_DEADLINE, || {
            site.roles.iter_mut().try_for_each(Process::check)?;
            let listed = site.footplate(&["hosts", "list", "--json"]).unwrap_or_default();
            let status = site.footplate(&["status", "--json"]).unwrap_or_default();
            let is_whole =
                listed.matches("\"alive\": true").count() == count && status.contains("\"controller\": {");
            Ok(is_whole.then_some(()))
        })?;
        Ok(site)
    }

    fn footplate(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &self.ground.cores.1.to_string()]).args(ELSEWHERE);
        command.arg(&self.ground.router).args(arguments);
        command.env("FOOTPLATE_CONTROLLER", format!("http://{}", self.api));
        command.env("FOOTPLATE_TOKEN_FILE", self.place.join("controller/token"));
        program::read(command.current_dir(&self.place), NEXT)
    }

    /// Makes the next version known and returns how it will go live: the strategies take turns.
    pub fn push(&mut self) -> Result<Strategy, Failure> {
        let app = self.place.join("app");
        fs::create_dir_all(app.join("files")).map_err(cannot_write)?;
        let strategy = Strategy::ALL[self.version % Strategy::ALL.len()];
        self.version += 1;
        let version = self.version.to_string();
        fs::write(app.join("files/version"), &version).map_err(cannot_write)?;
        let config = format!(
            "app = \"shop\"\n[build]\noutput = \"files\"\n[service.web]\ncommand = \"exec {} serve\"\n\
             ports = \"12000-18999\"\n[service.web.health]\npath = \"/\"\ninterval = \"100ms\"\nhealthy_time = \"200ms\"\n\
             [rollout]\n{}\nwatch = \"0s\"\n[environments.production]\nhosts = \"role=web\"\n",
            self.shop.display(),
            strategy.lines()
        );
        fs::write(app.join("footplate.toml"), config).map_err(cannot_write)?;
        self.footplate(&["push", "--app-folder", "app", "--version", &version])?;
        Ok(strategy)
    }

    /// Deploys what was pushed last.
    pub fn deploy(&self) -> Result<(), Failure> {
        self.footplate(&["deploy", &format!("shop@{}", self.version)]).map(drop)
    }

    /// Starts a process like a service's, which nobody asks.
    pub fn start_idle(&self) -> Result<Process, Failure> {
        self.ground.start(
            "idle",
            self.ground.cores.1,
            &self.ground.load,
            &["serve", "127.0.0.1:0", "100"],
            &[],
        )
    }
}

/// Services outlive their agents: keepers and services have the site's folder in their command line or as their working folder.
impl Drop for Site<'_> {
    fn drop(&mut self) {
        self.roles.clear();
        for process in here(&self.place) {
            // It may have ended by itself since it was listed.
            drop(Command::new("kill").args(["-KILL", &process]).status());
        }
    }
}

fn here(place: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_here = |id: &String| {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let folder = fs::read_link(format!("/proc/{id}/cwd")).unwrap_or_default();
        let mut words = arguments.split(|byte| *byte == 0);
        folder.starts_with(place)
            || words.any(|word| Path::new(&*String::from_utf8_lossy(word)).starts_with(place))
    };
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_here).collect()
}

fn cannot_write(error: std::io::Error) -> Failure {
    Failure::new("cannot write in the benchmark's folder", error, "free some space")
}
