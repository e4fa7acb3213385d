//! Any address that answers with JSON: the numbers stand where JSON pointers say.

use async_trait::async_trait;
use footplate_core::verdict::source::{self, Asked, Names};
use serde_json::Value;

use super::client::Address;
use super::{Ask, Counter, Counters, KpiError, KpiOpenError, Settings, Told};
use crate::http::encoded;

/// An address and what is looked for in its answers.
pub(super) struct Http {
    address: Address,
    ask: Asked,
}

impl Http {
    /// Prepares to ask; asks nothing.
    pub fn open(source: &source::Http, names: &Names, settings: &Settings) -> Result<Self, KpiOpenError> {
        let url = names.fill(&source.url, |name| encoded(name, ""));
        let address = Address::open(&url, source.token.as_deref(), settings)?;
        let ask =
            source.ask.map(|pointer| names.fill(pointer, |name| name.replace('~', "~0").replace('/', "~1")));
        Ok(Self { address, ask })
    }
}

#[async_trait]
impl Ask for Http {
    async fn fetch(&self) -> Result<Told, KpiError> {
        let answer = self.address.get(self.address.url.clone()).await?;
        read(&answer, &self.ask).map_err(|why| self.address.nonsense(why))
    }
}

/// Reads the numbers of a JSON value.
pub(super) fn read(answer: &Value, ask: &Asked) -> Result<Told, String> {
    let number = |pointer: &str| {
        let found = answer.pointer(pointer).ok_or_else(|| format!("nothing stands at `{pointer}`"))?;
        found.as_f64().ok_or_else(|| format!("what stands at `{pointer}` is no number"))
    };
    let counter = |pointer: &str| number(pointer).map(Counter::sum);
    Ok(match ask {
        Asked::Number { canary, baseline } => {
            Told::Number { canary: number(canary)?, baseline: baseline.as_deref().map(number).transpose()? }
        }
        Asked::Counters { canary, canary_of, baseline, baseline_of } => Told::Counters(Box::new(Counters {
            canary: counter(canary)?,
            canary_of: counter(canary_of)?,
            baseline: counter(baseline)?,
            baseline_of: counter(baseline_of)?,
        })),
    })
}
