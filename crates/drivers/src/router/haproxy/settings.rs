//! What a driver of HAProxy needs to know.

use std::path::PathBuf;

/// Where HAProxy is, what it listens on, and what an administrator adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The driver's folder: the generated configuration and what it remembers.
    pub folder: PathBuf,
    /// The socket of HAProxy's master process (its option `-S`).
    pub master: PathBuf,
    /// The program, for checks of the configuration: a path, or a name in `PATH`.
    pub program: PathBuf,
    /// What the front end listens on: what follows `bind`, such as `*:443 ssl crt /etc/tls/site.pem`.
    pub listen: Vec<String>,
    /// The folder with the administrator's files.
    pub extend: Option<PathBuf>,
    /// Configuration files that HAProxy reads before the generated one.
    pub beside: Vec<PathBuf>,
    /// Whether the driver starts HAProxy when it does not run. Else somebody else does, systemd most often.
    pub starts: bool,
}

impl Settings {
    /// Returns the settings of Debian's own HAProxy with the generated configuration in this folder, listening on port 80.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            master: "/run/haproxy-master.sock".into(),
            program: "haproxy".into(),
            listen: vec!["*:80".to_owned()],
            extend: None,
            beside: Vec::new(),
            starts: false,
        }
    }

    /// Returns the generated configuration's path.
    pub fn configuration_file(&self) -> PathBuf {
        self.folder.join("footplate.cfg")
    }

    pub(super) fn shares_file(&self) -> PathBuf {
        self.folder.join("shares.map")
    }

    pub(super) fn memory_file(&self) -> PathBuf {
        self.folder.join("memory.json")
    }
}
