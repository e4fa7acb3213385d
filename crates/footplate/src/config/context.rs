//! Which controller the command line talks to: the file that `footplate up` leaves in its data directory.
//!
//! Invariant: flag > environment > file > default. The file never holds a token, only where one is kept.

use std::path::{Path, PathBuf};

use super::mistake::Mistakes;
use super::table::{self, Findings, Table};
use crate::failure::{Exit, Failure};

/// The data directory's name below the working folder.
pub const DATA_FOLDER: &str = ".footplate";
/// The file's name in the data directory.
pub const FILE_NAME: &str = "context.toml";
/// Where a controller listens unless told otherwise.
pub const CONTROLLER_DEFAULT: &str = "http://127.0.0.1:7701";

/// Where the controller is and which file holds the token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The controller's address: `http://127.0.0.1:7701`.
    pub controller: String,
    /// The file that holds the token; a relative path begins at the data directory.
    pub token_file: PathBuf,
    /// The authority to trust for https, as a PEM file; the system's when absent.
    pub ca_file: Option<PathBuf>,
}

impl Context {
    /// Reads the context file of a data directory; `None` when there is none.
    pub fn read(data: &Path) -> Result<Option<Self>, Failure> {
        let path = data.join(FILE_NAME);
        let shown = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let mut context = Self::parse(&shown, &text)?;
                context.token_file = data.join(context.token_file);
                context.ca_file = context.ca_file.map(|file| data.join(file));
                Ok(Some(context))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(Exit::Usage, format!("cannot read `{shown}`"))
                .because(&error)
                .next("give `--controller` and `--token-file`, or make the file readable")),
        }
    }

    /// Writes the context file of a data directory, whole or not at all.
    pub fn write(&self, data: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(data)?;
        let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().as_ref());
        let mut text = format!(
            "# Written by footplate: which controller the commands in this folder talk to.\n\
             controller = {}\ntoken_file = {}\n",
            toml::Value::from(self.controller.as_str()),
            quoted(&self.token_file),
        );
        if let Some(file) = &self.ca_file {
            text.push_str(&format!("ca_file = {}\n", quoted(file)));
        }
        let draft = data.join(format!("{FILE_NAME}.new"));
        std::fs::write(&draft, text)?;
        std::fs::rename(&draft, data.join(FILE_NAME))
    }

    /// Parses the text of a context file; `path` is how messages name it.
    pub fn parse(path: &str, text: &str) -> Result<Self, Mistakes> {
        table::parse(path, text, &Findings::default(), |root: &mut Table| {
            let controller = root.text("controller").map(|found| found.value);
            let token_file = root.text("token_file").map(|found| PathBuf::from(found.value));
            let ca_file = root.text("ca_file").map(|found| PathBuf::from(found.value));
            if !root.has("controller") {
                root.mistake(0..0, "`controller` is missing", "expected controller = \"http://HOST:PORT\"");
            }
            Some(Context {
                controller: controller?,
                token_file: token_file.unwrap_or("operator.token".into()),
                ca_file,
            })
        })
    }
}

/// Returns the nearest data directory that has a context file: of `start` or of a folder above it.
pub fn nearest(start: &Path) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(DATA_FOLDER)).find(|data| data.join(FILE_NAME).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_found_from_a_folder_below() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("src/deep");
        std::fs::create_dir_all(&below).expect("folders");
        let data = folder.path().join(DATA_FOLDER);
        let context = Context {
            controller: "http://127.0.0.1:9".to_owned(),
            token_file: PathBuf::from("tokens/a \"quoted\" name"),
            ca_file: Some("ca.pem".into()),
        };
        context.write(&data).expect("written");
        assert_eq!(nearest(&below), Some(data.clone()));
        let read = Context::read(&data).expect("valid").expect("there");
        assert_eq!(read.controller, context.controller);
        assert_eq!(read.token_file, data.join(context.token_file));
        assert_eq!(read.ca_file, Some(data.join("ca.pem")));
    }

    #[test]
    fn a_wrong_context_file_is_underlined() {
        let mistakes = Context::parse("context.toml", "controler = \"x\"\n").expect_err("a wrong key");
        assert!(mistakes.render().contains("did you mean `controller`?"), "{}", mistakes.render());
    }
}
