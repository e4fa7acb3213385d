//! `controller.toml`: where the controller listens and what it keeps. `docs/reference/controller.toml` shows every key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use footplate_core::name::LaneName;
use footplate_drivers::kpi;

use super::mistake::Mistakes;
use super::store::StoreSettings;
use super::table::{self, Findings, Table};

/// The file's name in `/etc/footplate`.
pub const FILE_NAME: &str = "controller.toml";
/// The controller's own folder unless told otherwise.
pub const FOLDER_DEFAULT: &str = "/var/lib/footplate/controller";
/// The lane it acts on unless told otherwise.
pub const LANE_DEFAULT: &str = "main";
/// Where the API listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7701";

/// What a `controller.toml` says; what is absent is decided by the next layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerFile {
    /// Where the API listens.
    pub listen: Option<SocketAddr>,
    /// The address that hosts reach it at, when it is another: `https://deploy.example.org`.
    pub advertise: Option<String>,
    /// The controller's own folder: ledger, artifacts, token.
    pub folder: Option<PathBuf>,
    /// The lane it acts on.
    pub lane: Option<LaneName>,
    /// How many pushed releases of an app stay that no environment keeps.
    pub keep_pushed: Option<u32>,
    /// The certificate chain for https, as a PEM file.
    pub certificate: Option<PathBuf>,
    /// Its key, as a PEM file.
    pub key: Option<PathBuf>,
    /// Whom the judge may ask for KPIs, and with what.
    pub kpi: kpi::Settings,
    /// Where orders go.
    pub store: StoreSettings,
}

impl ControllerFile {
    /// Parses the text of a `controller.toml`; relative paths in it begin at `folder`.
    pub fn parse(path: &str, text: &str, folder: &Path) -> Result<Self, Mistakes> {
        Self::parse_with(path, text, folder, &Findings::default())
    }

    /// Parses like [`ControllerFile::parse`] and leaves in `findings` which keys there are.
    pub fn parse_with(path: &str, text: &str, folder: &Path, findings: &Findings) -> Result<Self, Mistakes> {
        table::parse(path, text, findings, |root| Some(read(root, folder)))
    }
}

fn read(root: &mut Table, folder: &Path) -> ControllerFile {
    let mut file = ControllerFile {
        listen: root.parsed("listen"),
        advertise: root.text("advertise").map(|found| found.value),
        folder: read_path(root, "folder", folder),
        lane: root.parsed("lane"),
        keep_pushed: root.count("keep_pushed"),
        ..ControllerFile::default()
    };
    if let Some(mut tls) = root.table("tls") {
        file.certificate = read_path(&mut tls, "certificate", folder);
        file.key = read_path(&mut tls, "key", folder);
        if file.certificate.is_some() != file.key.is_some() {
            tls.mistake(tls.span(), "half of [tls] is missing", "expected both `certificate` and `key`");
        }
        tls.finish();
    }
    file.kpi = read_kpi(root, folder);
    if let Some(store) = root.table("store") {
        file.store = StoreSettings::read(store, folder);
    }
    file
}

/// Reads whom the judge may ask. What a repository says names a program or a token by its name alone.
fn read_kpi(root: &mut Table, folder: &Path) -> kpi::Settings {
    let mut settings = kpi::Settings {
        commands: read_path(root, "kpi_commands", folder),
        ca_file: read_path(root, "kpi_ca", folder),
        ..kpi::Settings::default()
    };
    for (name, mut table) in root.named_tables("kpi_token") {
        let (file, url) = (read_path(&mut table, "file", folder), table.text("url"));
        for (key, right) in [
            ("file", "name the file that holds it"),
            ("url", "say for which address it is: url = \"https://…\""),
        ] {
            if !table.has(key) {
                table.mistake(table.span(), format!("`kpi_token.{}.{key}` is missing", name.value), right);
            }
        }
        if let (Some(file), Some(url)) = (file, url) {
            settings.tokens.insert(name.value, kpi::Token { file, url: url.value });
        }
        table.finish();
    }
    settings
}

fn read_path(table: &mut Table, key: &str, folder: &Path) -> Option<PathBuf> {
    table.text(key).map(|found| folder.join(found.value))
}
