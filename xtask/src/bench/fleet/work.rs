//! What the agents are given to do: the original's scripts, release directories, and both with random lengths.

/// One kind of work; each is an app of its own in the same fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// The scripts the original was measured with: prepare does nothing, activation makes a link.
    Scripts,
    /// A release directory of a few small files, no hooks.
    Directories,
    /// The original's scripts with a prepare of random length between 0 and 2 s, another for each host and run.
    SlowScripts,
    /// A release directory with a prepare hook of such a random length.
    SlowDirectories,
}

/// The shell of the original.
pub const SHELL: &str = "bash";
/// What the original's measured configuration prepares with.
pub const PREPARE: &str = "true";
/// What it activates with. Scripts run in `HOST/apps/ENVIRONMENT/APP/versions/RELEASE`.
pub const ACTIVATE: &str = "ln -sfn $VERSION ../../../../../link";
/// Takes as long as the file `HOST/delay` says, in seconds.
pub const PREPARE_SLOWLY: &str = "sleep $(cat ../../../../../delay)";

impl Work {
    /// Every kind, the quick ones first.
    pub const ALL: [Work; 4] = [Work::Scripts, Work::Directories, Work::SlowScripts, Work::SlowDirectories];

    /// Returns the app's name.
    pub fn app(self) -> &'static str {
        match self {
            Work::Scripts => "scripts",
            Work::Directories => "directories",
            Work::SlowScripts => "slow-scripts",
            Work::SlowDirectories => "slow-directories",
        }
    }

    /// Says whether the hosts take random times to prepare.
    pub fn is_slow(self) -> bool {
        matches!(self, Work::SlowScripts | Work::SlowDirectories)
    }

    /// Renders the app's `footplate.toml`.
    pub fn render(self) -> String {
        let body = match self {
            Work::Scripts => format!("[command]\ndeploy = [\"{PREPARE}\"]\nrollout = [\"{ACTIVATE}\"]\n"),
            Work::SlowScripts => {
                format!("[command]\ndeploy = [\"{PREPARE_SLOWLY}\"]\nrollout = [\"{ACTIVATE}\"]\n")
            }
            Work::Directories => String::new(),
            Work::SlowDirectories => format!("[hooks]\nprepare = \"{PREPARE_SLOWLY}\"\n"),
        };
        format!("app = \"{}\"\n\n{body}\n[environments.production]\nhosts = \"*\"\n", self.app())
    }
}
