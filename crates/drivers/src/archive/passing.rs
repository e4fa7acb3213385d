//! What is decompressed, on its way to whoever reads the archive.

use std::io::{self, Read};

use tokio_util::sync::CancellationToken;

/// Counts what is decompressed, and the zeros at its end; ends when it is told to.
pub(super) struct Passing<'a, R> {
    pub inner: R,
    pub stop: &'a CancellationToken,
    pub bytes: u64,
    pub zeros: u64,
}

impl<R: Read> Read for Passing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("it was stopped"));
        }
        let bytes = self.inner.read(buffer)?;
        self.bytes += bytes as u64;
        match buffer[..bytes].iter().rposition(|byte| *byte != 0) {
            Some(last) => self.zeros = (bytes - 1 - last) as u64,
            None => self.zeros += bytes as u64,
        }
        Ok(bytes)
    }
}
