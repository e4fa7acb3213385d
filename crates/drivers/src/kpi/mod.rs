//! KPIs of other systems: one question at a time, one answer for the stretch since the last one.
//!
//! Invariants: an answer comes within [`ASK_WITHIN`]; whatever is not a fresh, finite, sensible number is [`Said::Nothing`] with a reason, never
//! zero and never "healthy"; events are differences of counters, exact over restarts of what counts; no reason shows a token.
//! What routers and agents tell is not asked here.

mod client;
mod command;
mod counters;
mod http;
pub mod prometheus;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use footplate_core::verdict::source::Names;
use footplate_core::verdict::{Measure, Number, Said, Source};

pub use counters::Counter;
use counters::Counting;

/// How long one answer may take.
pub const ASK_WITHIN: Duration = Duration::from_secs(2);
/// The most characters of a reason.
const REASON_CHARS_MAX: usize = 300;

/// A system that knows a KPI. Each driver is one; [`Kpi`] makes answers of what it tells.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Asks once and returns what it tells now. May be dropped at any await: [`Kpi::ask`] waits no longer than [`ASK_WITHIN`].
    async fn fetch(&self) -> Result<Told, KpiError>;
}

/// What a system tells at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A number of each version; of the canary alone where nothing else was asked.
    Number {
        /// The canary's.
        canary: f64,
        /// The baseline's.
        baseline: Option<f64>,
    },
    /// Counters since whenever they began.
    Counters(Box<Counters>),
}

/// How often it happened so far on each version, and of how many.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters {
    /// How often on the canary.
    pub canary: Counter,
    /// Of how many there.
    pub canary_of: Counter,
    /// How often on the baseline.
    pub baseline: Counter,
    /// Of how many there.
    pub baseline_of: Counter,
}

/// Why a system told nothing.
#[derive(Debug, thiserror::Error)]
pub enum KpiError {
    /// It does not answer.
    #[error("{address} does not answer")]
    Unreachable {
        /// Scheme, host and port.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answers that it will not.
    #[error("{address} answers {status}: {answer}")]
    Refused {
        /// Scheme, host and port.
        address: String,
        /// The status of its answer.
        status: u16,
        /// What it said, cut off.
        answer: String,
    },
    /// What it says is no answer to the question.
    #[error("{address} says what is of no use: {why}")]
    Nonsense {
        /// Scheme, host and port, or the program's name.
        address: String,
        /// Why.
        why: String,
    },
    /// The program could not be run, or failed.
    #[error("the command `{name}` failed: {why}")]
    Command {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] crate::SecretError),
}

/// Why a source cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum KpiOpenError {
    /// The controller's file names no folder of programs.
    #[error("no folder of commands is named on this machine")]
    NoCommands,
    /// It names no such token.
    #[error("no token `{0}` is named on this machine")]
    NoToken(String),
    /// The token is for another address, or would be shown to the network.
    #[error("the token `{token}` is not sent to {address}: {why}")]
    NotForIt {
        /// The token's name.
        token: String,
        /// Scheme, host and port.
        address: String,
        /// Why not.
        why: &'static str,
    },
    /// Its address is none.
    #[error("its address is none: {0}")]
    Address(String),
    /// The authority cannot be used, or no client can be made.
    #[error("no client can be made")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl KpiOpenError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> &'static str {
        match self {
            KpiOpenError::NoCommands => {
                "name it: kpi_commands = \"/etc/footplate/kpi\" in controller.toml, or `footplate up --kpi-commands FOLDER`"
            }
            KpiOpenError::NoToken(_) => "name it in controller.toml: [kpi_token.NAME] with `file` and `url`",
            KpiOpenError::NotForIt { .. } => {
                "use the address that `url` in [kpi_token.NAME] names, by https or on this machine"
            }
            KpiOpenError::Address(_) => "write http://HOST:PORT/ or https://HOST/",
            KpiOpenError::Client(_) => "look at the file of the authority",
        }
    }
}

/// What this machine allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the programs that may be run.
    pub commands: Option<PathBuf>,
    /// The tokens, by name.
    pub tokens: BTreeMap<String, Token>,
    /// The authority that servers are known by, as a PEM file; the system's when absent.
    pub ca_file: Option<PathBuf>,
}

/// A token, and for whom it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The file that holds it, which its owner alone may read.
    pub file: PathBuf,
    /// The address whose scheme, host and port it is for: what an app's repository says cannot send it elsewhere.
    pub url: String,
}

/// One KPI's source, with what it told last.
pub struct Kpi {
    source: Box<dyn Ask>,
    counting: Counting,
}

/// Prepares to ask a source for what a KPI measures; asks nothing. Returns nothing for what routers and agents tell.
pub fn open(
    source: &Source,
    measure: &Measure,
    names: &Names,
    settings: &Settings,
) -> Result<Option<Kpi>, KpiOpenError> {
    let source: Box<dyn Ask> = match source {
        Source::Router | Source::Service { .. } => return Ok(None),
        Source::Prometheus(source) => Box::new(prometheus::Prometheus::open(source, names, settings)?),
        Source::Http(source) => Box::new(http::Http::open(source, names, settings)?),
        Source::Command(source) => {
            let says_events = matches!(measure, Measure::Events(_));
            Box::new(command::Command::open(source, says_events, names, settings)?)
        }
    };
    Ok(Some(Kpi::new(source)))
}

impl Kpi {
    /// Asks this system from now on.
    pub fn new(source: Box<dyn Ask>) -> Self {
        Self { source, counting: Counting::default() }
    }

    /// Asks once and returns what happened since the last answer that told of events; numbers are of this moment.
    ///
    /// The first answer of a source with counters is nothing, because nobody knows when they began. What could not be asked
    /// goes with the next answer.
    pub async fn ask(&mut self) -> Said {
        let told = match tokio::time::timeout(ASK_WITHIN, self.source.fetch()).await {
            Err(_) => Err(format!("it did not answer within {} s", ASK_WITHIN.as_secs())),
            Ok(Err(error)) => Err(crate::chain(&error)),
            Ok(Ok(told)) => Ok(told),
        };
        let said = told.and_then(|told| said(told, &mut self.counting, Instant::now()));
        said.unwrap_or_else(|why| Said::Nothing(reason(&why)))
    }
}

/// Makes an answer of what was told at one moment.
fn said(told: Told, counting: &mut Counting, now: Instant) -> Result<Said, String> {
    match told {
        Told::Counters(counters) => counting.count(*counters, now).map(Said::Events),
        Told::Number { canary, baseline } => {
            let number = |value: f64| {
                Number::new(value).ok_or_else(|| format!("its number is {value}, which is none"))
            };
            Ok(Said::Numbers { canary: number(canary)?, baseline: baseline.map(number).transpose()? })
        }
    }
}

fn reason(why: &str) -> String {
    why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect()
}
