//! What an archive may still do while it is read. Pure.

use super::limits::Limits;
use super::unpack::UnpackError;

/// What the archive may still do.
pub(super) struct Budget<'a> {
    pub(super) limits: &'a Limits,
    pub(super) packed_bytes: u64,
    pub(super) bytes_max: u64,
}

impl Budget<'_> {
    pub(super) fn check_bytes(&self, bytes: u64) -> Result<(), UnpackError> {
        if bytes <= self.bytes_max {
            return Ok(());
        }
        Err(UnpackError::TooMuch(if self.bytes_max == self.limits.bytes_max {
            format!("it unpacks to {bytes} bytes or more; {} is the most", self.bytes_max)
        } else {
            format!(
                "its {} bytes unpack to {bytes} or more, over {} for each; that is a bomb",
                self.packed_bytes, self.limits.ratio_max
            )
        }))
    }

    pub(super) fn check_entries(&self, entries: u64) -> Result<(), UnpackError> {
        if entries <= self.limits.entries_max {
            return Ok(());
        }
        Err(UnpackError::TooMuch(format!("it has more than {} entries", self.limits.entries_max)))
    }
}
