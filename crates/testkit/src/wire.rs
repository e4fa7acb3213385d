//! Messages of HTTP/1.1 as bytes on a socket: just enough to drive a proxy from both sides and to notice every flaw.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The head of a request or an answer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The first line.
    pub first: String,
    /// Names in small letters, and values.
    pub lines: Vec<(String, String)>,
}

impl Head {
    /// Returns the first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the status of an answer.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Tells whether the sender will close the connection.
    pub fn closes(&self) -> bool {
        let old = self.first.contains("HTTP/1.0");
        self.get("connection").map_or(old, |value| value.to_ascii_lowercase().contains("close"))
    }
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the end of the connection.
    End,
}

/// Reads messages from a socket, one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    io: R,
    buffer: Vec<u8>,
    from: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `io`.
    pub fn new(io: R) -> Reader<R> {
        Reader { io, buffer: Vec::with_capacity(16 << 10), from: 0 }
    }

    /// Returns the socket, and what was read from it and not yet used.
    pub fn into_parts(self) -> (R, Vec<u8>) {
        (self.io, self.buffer[self.from..].to_vec())
    }

    /// Returns the socket, to write to it.
    pub fn io(&mut self) -> &mut R {
        &mut self.io
    }

    /// Reads more; an end is an error.
    async fn more(&mut self) -> Result<()> {
        if self.from == self.buffer.len() {
            self.buffer.clear();
            self.from = 0;
        }
        match self.io.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads a head; nothing when the connection ended before it began.
    ///
    /// # Errors
    /// The connection ended or broke within the head, or it is none.
    pub async fn head(&mut self) -> Result<Option<Head>> {
        loop {
            let rest = &self.buffer[self.from..];
            if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = parse(&rest[..end])?;
                self.from += end + 4;
                return Ok(Some(head));
            }
            let is_empty = rest.is_empty();
            match self.more().await {
                Err(error) if is_empty && error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
        }
    }

    /// Reads a body to its end and gives every piece to `take`. Returns its size.
    ///
    /// # Errors
    /// The connection ended or broke within the body, or its framing is wrong.
    pub async fn body(&mut self, framing: Framing, mut take: impl FnMut(&[u8])) -> Result<u64> {
        match framing {
            Framing::Length(size) => self.exactly(size, &mut take).await,
            Framing::Chunked => self.chunks(&mut take).await,
            Framing::End => {
                let mut size = 0;
                loop {
                    match self.some(u64::MAX, &mut take).await {
                        Ok(more) => size += more,
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(size),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Reads between one byte and `most`.
    pub async fn some(&mut self, most: u64, take: &mut impl FnMut(&[u8])) -> Result<u64> {
        if self.from == self.buffer.len() {
            self.more().await?;
        }
        let here = (self.buffer.len() - self.from).min(usize::try_from(most).unwrap_or(usize::MAX));
        take(&self.buffer[self.from..self.from + here]);
        self.from += here;
        Ok(here as u64)
    }

    async fn exactly(&mut self, size: u64, take: &mut impl FnMut(&[u8])) -> Result<u64> {
        let mut left = size;
        while left > 0 {
            left -= self.some(left, take).await?;
        }
        Ok(size)
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            let rest = &self.buffer[self.from..];
            if let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.from += end + 2;
                return Ok(line);
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self, take: &mut impl FnMut(&[u8])) -> Result<u64> {
        let mut sum = 0;
        loop {
            let line = self.line().await?;
            let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| Error::new(ErrorKind::InvalidData, format!("no chunk: {line:?}")))?;
            self.exactly(size, take).await?;
            sum += size;
            let mut end = self.line().await?;
            while size == 0 && !end.is_empty() {
                end = self.line().await?;
            }
            if !end.is_empty() {
                return Err(Error::new(ErrorKind::InvalidData, "a chunk is longer than its size"));
            }
            if size == 0 {
                return Ok(sum);
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Head> {
    let text = String::from_utf8_lossy(bytes);
    let mut all = text.split("\r\n");
    let first = all.next().unwrap_or_default().to_owned();
    let pairs = all.map(|line| {
        let (name, value) =
            line.split_once(':').ok_or(Error::new(ErrorKind::InvalidData, format!("no header: {line:?}")))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok(Head { first, lines: pairs.collect::<Result<_>>()? })
}

/// Tells how the body of a request is framed.
pub fn of_request(head: &Head) -> Framing {
    framing(head).unwrap_or(Framing::Length(0))
}

/// Tells how the body of an answer to `method` is framed.
pub fn of_answer(head: &Head, method: &str) -> Framing {
    match head.status() {
        100..200 | 204 | 304 => Framing::Length(0),
        _ if method == "HEAD" => Framing::Length(0),
        _ => framing(head).unwrap_or(Framing::End),
    }
}

fn framing(head: &Head) -> Option<Framing> {
    if head.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Some(Framing::Chunked);
    }
    head.get("content-length").and_then(|size| size.parse().ok()).map(Framing::Length)
}
