//! A whole site of real processes: a store, a controller and agents, in a folder that goes away.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::program::{Ran, folder, program, run};

/// How long a role may take to say that it is there.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A role that runs; it is killed when dropped.
pub struct Role {
    child: Child,
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended by itself; what matters is that it is gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Role {
    /// Starts the program and waits until a line of its stderr holds `sign`; returns that line.
    pub fn start(folder: &Path, arguments: &[&str], sign: &str) -> (Role, String) {
        let mut command = program(folder);
        let child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the program starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let role = Role { child };
        let (tell, told) = mpsc::channel();
        // Reads to the end, so that the role never waits for us.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        let begun = Instant::now();
        let mut said = Vec::new();
        while let Ok(line) = told.recv_timeout(START_DEADLINE.saturating_sub(begun.elapsed())) {
            if line.contains(sign) {
                return (role, line);
            }
            said.push(line);
        }
        panic!("{arguments:?} did not say {sign:?}: {said:#?}");
    }

    /// Sends it what Ctrl-C sends and returns its exit code.
    pub fn interrupt(mut self) -> i32 {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
        self.child.wait().expect("it ends").code().expect("it ended by itself")
    }

    /// Waits until it ends by itself; tells whether it ended well.
    pub fn ends(mut self) -> bool {
        self.child.wait().expect("it ends").success()
    }

    /// Tells it to end and waits until it has.
    pub fn stop(mut self) -> bool {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").success()
    }
}

/// A store, a controller and agents.
pub struct Site {
    folder: tempfile::TempDir,
    /// Where the store answers.
    pub store: String,
    /// Where the controller answers.
    pub controller: String,
    token_file: PathBuf,
    /// What runs; stopped in the order given.
    pub roles: Vec<Role>,
}

impl Site {
    /// Starts a store and a controller.
    pub fn start() -> Site {
        let folder = folder();
        let store = ["store", "serve", "--listen", "127.0.0.1:0", "--folder", "store"];
        let (store_role, said) = Role::start(folder.path(), &store, "The store answers at ");
        let store = address(&said, "The store answers at ");
        let mut site = Site {
            token_file: folder.path().join("controller/token"),
            folder,
            store,
            controller: String::new(),
            roles: Vec::new(),
        };
        site.start_controller();
        site.roles.push(store_role);
        site
    }

    /// Starts a controller.
    pub fn start_controller(&mut self) {
        let sign = "The controller answers at ";
        let arguments =
            ["controller", "--listen", "127.0.0.1:0", "--store", &self.store, "--folder", "controller"];
        let (role, said) = Role::start(self.folder.path(), &arguments, sign);
        self.controller = address(&said, sign);
        self.roles.insert(0, role);
    }

    /// Starts an agent for each host and waits until the controller sees them.
    pub fn start_agents(&mut self, hosts: &[&str]) {
        for host in hosts {
            let store = self.store.clone();
            let arguments =
                ["agent", "--host", host, "--folder", host, "--store", &store, "--label", "role=web"];
            let (role, _) = Role::start(self.folder.path(), &arguments, "The agent of ");
            self.roles.insert(0, role);
        }
        self.eventually(&["hosts", "list"], |answer| {
            let alive = |name: &&str| {
                let hosts = answer.as_array().expect("a list of hosts");
                hosts.iter().any(|host| host["host"] == **name && host["alive"] == true)
            };
            hosts.iter().all(alive)
        });
    }

    /// Returns the page that is live on a host.
    pub fn page(&self, host: &str) -> Option<String> {
        let live = format!("{host}/apps/production/hello/live/index.html");
        std::fs::read_to_string(self.folder().join(live)).ok()
    }

    /// Returns the folder that commands run in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command against the controller.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_in(self.folder(), arguments)
    }

    /// Runs a command against the controller, in another folder.
    pub fn run_in(&self, folder: &Path, arguments: &[&str]) -> Ran {
        let token = self.token_file.display().to_string();
        let common = ["--controller", &self.controller, "--token-file", &token];
        run(folder, &[arguments, &common].concat())
    }

    /// Runs a command that must succeed and returns its stdout.
    pub fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs a command with `--json` that must succeed and returns its answer.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let stdout = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
    }

    /// Asks until the answer fulfils `is`, or fails after a minute.
    pub fn eventually(
        &self,
        arguments: &[&str],
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let answer = self.json(arguments);
            if is(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{arguments:?} stays at {answer:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Writes a version of the app `hello` into a folder, with this prepare hook.
    pub fn app(&self, page: &str, prepare: &str) -> PathBuf {
        let app = self.folder().join("hello");
        std::fs::create_dir_all(app.join("site")).expect("a folder");
        std::fs::write(app.join("site/index.html"), page).expect("a page");
        let config = format!(
            "app = \"hello\"\n[build]\noutput = \"site\"\n[hooks]\nprepare = {}\n[environments.production]\nhosts = \"*\"\n",
            toml::Value::from(prepare)
        );
        std::fs::write(app.join("footplate.toml"), config).expect("a configuration");
        app
    }

    /// Pushes a version of `hello`.
    pub fn push(&self, version: &str, page: &str, prepare: &str) -> Ran {
        let app = self.app(page, prepare);
        self.run(&["push", "--app-folder", &app.display().to_string(), "--version", version])
    }
}

/// Finds the address that follows `sign` in a line.
pub fn address(said: &str, sign: &str) -> String {
    let rest = &said[said.find(sign).expect("the sign is there") + sign.len()..];
    rest.split([';', ' ']).next().expect("an address").trim_end_matches('.').to_owned()
}
