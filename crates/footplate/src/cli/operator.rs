//! The person at the command line: which controller they mean, with which token, and under which name.

use std::path::{Path, PathBuf};

use footplate_core::name::Actor;

use super::{Globals, Ui};
use crate::api::{By, Problem, ProblemKind};
use crate::client::{Client, ClientError};
use crate::config::context::{self, Context};
use crate::failure::{Exit, Failure};
use crate::secret::Secret;
use crate::trust;

/// What a command needs to know about who runs it.
#[derive(Clone, Debug)]
pub struct Operator {
    globals: Globals,
    /// Where answers go.
    pub ui: Ui,
}

impl Operator {
    /// Takes the flags that every command understands.
    pub fn new(globals: Globals) -> Self {
        let ui = Ui::new(globals.json);
        Self { globals, ui }
    }

    /// Tells whether the person asked for the program's own log.
    pub fn wants_the_log(&self) -> bool {
        self.globals.verbose > 0
    }

    /// Returns the data directory: the flag, else the nearest one, else `.footplate` here.
    pub fn data(&self) -> PathBuf {
        let nearest = || std::env::current_dir().ok().and_then(|here| context::nearest(&here));
        self.globals.data.clone().or_else(nearest).unwrap_or_else(|| PathBuf::from(context::DATA_FOLDER))
    }

    /// Returns the controller's address and, when one is known, the token for it.
    pub fn controller(&self) -> Result<(String, Option<Secret>), Failure> {
        let file = Context::read(&self.data())?;
        let token_file = self.token_file_beside(file.as_ref());
        let address = self.globals.controller.clone();
        let address = address.or_else(|| file.map(|file| file.controller));
        let address = address.unwrap_or_else(|| context::CONTROLLER_DEFAULT.to_owned());
        let token = token_file.as_deref().map(Secret::read).transpose()?;
        Ok((address, token))
    }

    /// Returns the file that holds the token, when one is known.
    pub fn token_file(&self) -> Option<PathBuf> {
        self.token_file_beside(Context::read(&self.data()).ok().flatten().as_ref())
    }

    fn token_file_beside(&self, file: Option<&Context>) -> Option<PathBuf> {
        let meant = self.meant(file).map(|file| file.token_file.clone());
        self.globals.token_file.clone().or(meant)
    }

    /// The data directory's token and authority are for the controller that it names, and for no other.
    fn meant<'a>(&self, file: Option<&'a Context>) -> Option<&'a Context> {
        let named = self.globals.controller.as_deref().map(|address| address.trim_end_matches('/'));
        file.filter(|file| named.is_none_or(|named| named == file.controller))
    }

    /// Returns a client for the controller; does not connect yet.
    pub fn client(&self) -> Result<Client, Failure> {
        let (address, token) = self.controller()?;
        if !address.starts_with("http://") && !address.starts_with("https://") {
            return Err(Failure::new(Exit::Usage, format!("`{address}` is no controller's address"))
                .because_of("it begins with neither http:// nor https://")
                .next("give `--controller http://HOST:PORT`"));
        }
        self.client_of(&address, token.as_ref().map_or("", Secret::expose), None)
    }

    /// Returns a client for the controller at `address`; `ca_file` is trusted when the person names no authority.
    pub fn client_of(&self, address: &str, token: &str, ca_file: Option<&Path>) -> Result<Client, Failure> {
        let file = Context::read(&self.data())?;
        let beside = self.meant(file.as_ref()).and_then(|file| file.ca_file.clone());
        let named = self.globals.ca_file.clone().or(beside);
        let Some(file) = named.as_deref().or(ca_file).filter(|_| address.starts_with("https:")) else {
            return Ok(Client::new(address, token));
        };
        let roots = trust::read(file).map_err(|error| {
            Failure::new(Exit::Usage, format!("cannot prepare to talk to {address}"))
                .because(&error)
                .next("name a PEM file with the authority's certificate, with `--ca-file`")
        })?;
        Ok(Client::trusting(address, token, roots))
    }

    /// Returns the name that the history records; none leaves it to the token.
    pub fn actor(&self) -> Result<Option<Actor>, Failure> {
        actor(self.globals.actor.clone(), std::env::var("USER").ok())
    }

    /// Returns who gives an order with this reason.
    pub fn by(&self, reason: Option<&str>) -> Result<By, Failure> {
        Ok(By { reason: reason.map(str::to_owned), actor: self.actor()? })
    }

    /// Turns an answer of the controller into what the person reads; `what` says what we were doing.
    pub fn failed(&self, what: &str, error: ClientError) -> Failure {
        match error {
            ClientError::Problem(problem) => Failure::from(*problem),
            ClientError::File { .. } => Failure::new(Exit::Failed, what).because(&error),
            ClientError::Untrusted { ref source, .. } => {
                Failure::new(Exit::Unreachable, what).because(&error).next(advice(source))
            }
            ClientError::Unreachable { .. } | ClientError::Foreign { .. } => {
                Failure::new(Exit::Unreachable, what).because(&error).next(
                    "start a controller with `footplate up` or `footplate controller`, or name another with `--controller`",
                )
            }
        }
    }
}

/// Says what to do about a certificate.
fn advice(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext};
    match error {
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "call it with `--controller` by a name that its certificate holds"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "give the controller a certificate that is still good, and start it again"
        }
        _ => "name the authority that signed its certificate with `--ca-file`",
    }
}

/// Returns the name given with `--as`, else the user's; the failure blames the one that was taken.
fn actor(named: Option<String>, user: Option<String>) -> Result<Option<Actor>, Failure> {
    let named = named.filter(|name| !name.is_empty());
    let (name, what, next) = match (named, user.filter(|name| !name.is_empty())) {
        (Some(name), _) => (name, "cannot use the name given with `--as`", "give another"),
        (None, Some(user)) => (user, "cannot use the name in the variable USER", "give one with `--as NAME`"),
        (None, None) => return Ok(None),
    };
    let wrong = |error| Failure::new(Exit::Usage, what).because(&error).next(next);
    name.parse().map(Some).map_err(wrong)
}

impl From<Problem> for Failure {
    /// Keeps the three parts; the kind decides the exit code.
    fn from(problem: Problem) -> Self {
        let exit = match problem.kind {
            ProblemKind::Invalid => Exit::Usage,
            ProblemKind::Unknown | ProblemKind::Denied | ProblemKind::Refused => Exit::Refused,
            ProblemKind::Unavailable => Exit::Unreachable,
            ProblemKind::Internal => Exit::Failed,
        };
        let failure = problem.because.into_iter().fold(Failure::new(exit, problem.what), Failure::because_of);
        match problem.next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_used_is_blamed_on_where_it_came_from() {
        let blamed = |named: Option<&str>, user: Option<&str>| {
            format!(
                "{:?}",
                actor(named.map(str::to_owned), user.map(str::to_owned)).expect_err("it is blamed")
            )
        };
        assert!(blamed(None, Some("a\nb")).contains("the variable USER"));
        assert!(blamed(Some("a\nb"), Some("ann")).contains("`--as`"));
        assert_eq!(actor(Some("bob".to_owned()), Some("a\nb".to_owned())), Ok("bob".parse().ok()));
        assert_eq!(actor(None, Some(String::new())), Ok(None));
    }
}
