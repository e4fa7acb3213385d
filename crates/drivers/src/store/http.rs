//! The network drivers' HTTP client: its failures are the store's.

use super::{Config, StoreError};
use crate::cause::chain;
use crate::http::HttpError;

pub use crate::http::Handler;
pub(super) use crate::http::{ANSWER_WITHIN, Answer, excerpt};

pub(super) type Http = crate::http::Http<StoreError>;

/// Prepares a client; sends nothing. Fails on a CA file that cannot be read.
pub(super) fn open(driver: &'static str, config: &Config) -> Result<Http, StoreError> {
    let opened = Http::open(driver, config.address.url(), config.ca_file.as_deref());
    opened.map_err(|error| StoreError::Misconfigured(chain(&error)))
}

impl From<HttpError> for StoreError {
    fn from(error: HttpError) -> StoreError {
        match error {
            HttpError::Unreachable { driver, address, source } => {
                StoreError::Unreachable { driver, address, source }
            }
            HttpError::Unavailable { driver, address, answer } => {
                StoreError::Unavailable { driver, address, answer }
            }
            HttpError::Denied { driver, address, answer } => StoreError::Denied { driver, address, answer },
        }
    }
}
