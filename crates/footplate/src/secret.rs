//! Tokens and passwords: read from files, never printed.

pub use footplate_drivers::Secret;
use footplate_drivers::SecretError;

use crate::failure::{Exit, Failure};

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        let mut causes = footplate_drivers::causes(&error).into_iter();
        let failure = Failure::new(Exit::Usage, causes.next().unwrap_or_default());
        causes.fold(failure, Failure::because_of).next(error.next())
    }
}
