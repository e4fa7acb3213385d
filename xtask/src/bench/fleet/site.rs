//! A whole site of real processes on this machine: a store, a controller, agents. It ends when it is dropped; its files stay until the benchmark ends.

use super::Subject;
use super::work::Work;
use crate::bench::process::{Process, poll};
use crate::bench::proxy::Proxy;
use crate::bench::server::{Kind, Server, free_address, request};
use crate::failure::Failure;
use crate::program;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The running programs and where their files are.
pub struct Site {
    pub kind: Kind,
    pub agents: Vec<Process>,
    pub proxy: Option<Proxy>,
    pub server: Server,
    controller: Process,
    api: SocketAddr,
    place: PathBuf,
    binary: PathBuf,
}

const START_DEADLINE: Duration = Duration::from_secs(120);

impl Site {
    /// Starts everything and waits until every agent is known. `counted` puts a counting proxy before the agents.
    pub fn open(subject: &Subject, kind: Kind, agents: usize, counted: bool) -> Result<Site, Failure> {
        let (binary, place) = (&subject.binary, subject.place()?);
        let server = Server::start(kind, binary, &place.join("store"))?;
        let api = free_address()?;
        let settings = format!("listen = \"{api}\"\nfolder = {:?}\n", place.join("controller"));
        let store = kind.url(server.address);
        let command = role(binary, "controller", &place.join("controller.toml"), &settings, &store)?;
        let controller = Process::start(command, &place.join("controller.log"))?;
        let mut site = Site {
            kind,
            agents: Vec::new(),
            proxy: None,
            server,
            controller,
            api,
            place,
            binary: binary.into(),
        };
        poll("the controller", START_DEADLINE, || {
            site.controller.check()?;
            // Refused connections are what a controller that is starting looks like.
            Ok(request(api, "GET", "/v1/health", "").ok().filter(|answer| answer.status == 200))
        })?;
        site.start_agents(agents, counted)?;
        Ok(site)
    }

    fn start_agents(&mut self, agents: usize, counted: bool) -> Result<(), Failure> {
        if counted {
            let proxy = Proxy::open(self.server.address);
            self.proxy = Some(
                proxy.map_err(|error| Failure::new("cannot open the proxy", error, "stop other servers"))?,
            );
        }
        let store = self.kind.url(self.proxy.as_ref().map_or(self.server.address, Proxy::address));
        for number in 0..agents {
            let folder = self.host(number);
            fs::create_dir_all(&folder)
                .map_err(|error| Failure::new("cannot make a host's folder", error, "check the disk"))?;
            let settings = format!("host = \"{}\"\nfolder = {folder:?}\n", host_name(number));
            let command = role(&self.binary, "agent", &folder.join("agent.toml"), &settings, &store)?;
            self.agents.push(Process::start(command, &folder.join("log"))?);
        }
        poll("all agents to be known", START_DEADLINE, || {
            self.agents.iter_mut().try_for_each(Process::check)?;
            let hosts: serde_json::Value = self.ask(&["hosts", "list", "--json"])?;
            let alive =
                hosts.as_array().map_or(0, |hosts| hosts.iter().filter(|host| host["alive"] == true).count());
            Ok((alive == agents).then_some(()))
        })
    }

    /// Returns the folder that stands for one host.
    pub fn host(&self, number: usize) -> PathBuf {
        self.place.join("hosts").join(host_name(number))
    }

    /// Returns the folder of an app's target on one host.
    pub fn target(&self, number: usize, app: &str) -> PathBuf {
        self.host(number).join("apps/production").join(app)
    }

    /// Returns a folder for files of the benchmark itself.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// Returns a command of the program, set up to talk to this site's controller.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("FOOTPLATE_CONTROLLER", format!("http://{}", self.api));
        command.env("FOOTPLATE_TOKEN_FILE", self.place.join("controller/token"));
        command
    }

    /// Runs a reading command and parses its JSON.
    pub fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value, Failure> {
        let text = program::read(&mut self.command(arguments), "run it by hand against a site of your own")?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::new(
                format!("cannot read the answer of {}", arguments.join(" ")),
                error,
                "see docs/reference/cli.md",
            )
        })
    }

    /// Registers a version of an app, made from a folder of a few small files.
    pub fn push(&self, work: Work, version: &str) -> Result<(), Failure> {
        let folder = self.scratch("apps").join(work.app());
        let failure = |error| Failure::new("cannot write the app to push", error, "check the disk");
        fs::create_dir_all(&folder).map_err(failure)?;
        fs::write(folder.join("footplate.toml"), work.render()).map_err(failure)?;
        for file in 0..5 {
            fs::write(folder.join(format!("file-{file}")), format!("{file} of {version}\n"))
                .map_err(failure)?;
        }
        let mut command = self.command(&["push", "--version", version]);
        program::read(command.current_dir(&folder), "run it by hand").map(drop)
    }
}

/// Returns the command that starts a role with a configuration file of its own.
fn role(binary: &Path, role: &str, file: &Path, settings: &str, store: &str) -> Result<Command, Failure> {
    fs::write(file, format!("{settings}\n[store]\naddress = \"{store}\"\n"))
        .map_err(|error| Failure::new("cannot write a role's configuration", error, "check the disk"))?;
    let mut command = Command::new(binary);
    command.arg(role).arg("--config").arg(file);
    Ok(command)
}

fn host_name(number: usize) -> String {
    format!("host-{number:05}")
}
