//! Keeps the beginning and the end of what a script said, and cuts it into lines as it comes.
//!
//! Invariant: neither holds more than its bound, however much is printed.

use std::collections::VecDeque;

/// The longest line handed over as one piece, in bytes; a longer one is cut.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The first and the last bytes of a stream.
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_bytes_max: usize,
    tail_bytes_max: usize,
    omitted: u64,
}

impl Capture {
    pub(super) fn new(bytes_max: usize) -> Self {
        let head_bytes_max = bytes_max / 2;
        let tail_bytes_max = bytes_max - head_bytes_max;
        Self { head: Vec::new(), tail: VecDeque::new(), head_bytes_max, tail_bytes_max, omitted: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.head_bytes_max - self.head.len());
        self.head.extend(&bytes[..fits]);
        self.tail.extend(&bytes[fits..]);
        let over = self.tail.len().saturating_sub(self.tail_bytes_max);
        self.tail.drain(..over);
        self.omitted += over as u64;
    }

    /// Returns the text, with a line in the middle where something is missing, and how many bytes are missing.
    pub(super) fn finish(self) -> (String, u64) {
        let mut bytes = self.head;
        if self.omitted > 0 {
            bytes.extend(format!("\n[… {} bytes left out …]\n", self.omitted).bytes());
        }
        bytes.extend(self.tail);
        (String::from_utf8_lossy(&bytes).into_owned(), self.omitted)
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
pub(super) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], each_line: &mut (dyn FnMut(&str) + Send)) {
        for &byte in bytes {
            if byte != b'\n' {
                self.open.push(byte);
            }
            if byte == b'\n' || self.open.len() >= LINE_BYTES_MAX {
                each_line(&String::from_utf8_lossy(&self.open));
                self.open.clear();
            }
        }
    }

    pub(super) fn finish(&mut self, each_line: &mut (dyn FnMut(&str) + Send)) {
        if !self.open.is_empty() {
            each_line(&String::from_utf8_lossy(&self.open));
            self.open.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_keeps_its_beginning_and_its_end() {
        let mut capture = Capture::new(10);
        for piece in [&b"abc"[..], b"defgh", b"ijklm", b"nop"] {
            capture.push(piece);
        }
        assert_eq!(capture.finish(), ("abcde\n[… 6 bytes left out …]\nlmnop".to_owned(), 6));
    }

    #[test]
    fn a_short_output_is_kept_whole() {
        let mut capture = Capture::new(10);
        capture.push(b"0123456789");
        assert_eq!(capture.finish(), ("0123456789".to_owned(), 0));
    }

    #[test]
    fn lines_come_out_whole_however_they_came_in() {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        for piece in [&b"on"[..], b"e\n\ntw", b"o"] {
            lines.push(piece, &mut |line| seen.push(line.to_owned()));
        }
        lines.finish(&mut |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["one", "", "two"]);
    }
}
