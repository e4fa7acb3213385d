//! One line of HAProxy's log: what became of one request. Formats: HAProxy's configuration manual, sections 8.2.4 (custom
//! formats) and 8.5 (session state at disconnection).

use std::net::SocketAddr;

use footplate_core::traffic::counts::{Fault, Tally};
use footplate_router::count::Times;

/// What the front end writes for each request: backend, server's address, status, state, retries, and the microseconds from the request's
/// head to the answer's.
pub(super) const FORMAT: &str = "%b %si:%sp %ST %ts %rc %[var(txn.answered),sub(txn.begun)]";

/// A request that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The track's backend.
    pub(super) backend: &'a str,
    /// The server, when one was chosen.
    pub(super) address: Option<SocketAddr>,
    status: u16,
    end: End,
    retries: u64,
    microseconds: Option<u64>,
}

/// How the last attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    Cut,
    Failed(Fault),
    Left,
}

impl<'a> Line<'a> {
    /// Reads a line; nothing when it is none of ours.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let backend = words.next()?;
        let address = words.next()?.parse().ok();
        // A client that left before any answer has -1.
        let status = words.next()?.parse().unwrap_or(0);
        let end = end(words.next()?)?;
        let retries = words.next()?.trim_start_matches('+').parse().ok()?;
        let microseconds = words.next().and_then(|word| word.parse::<i64>().ok());
        // The clock may have been set back meanwhile.
        let microseconds = microseconds.map(|time| u64::try_from(time).unwrap_or(0));
        Some(Self { backend, address, status, end, retries, microseconds })
    }

    /// Counts it. What was tried again failed before: HAProxy does not say how, most often nobody took the connection.
    pub(super) fn count(&self, tally: &mut Tally) {
        tally.requests += 1;
        tally.retries += self.retries;
        if self.retries > 0 {
            *tally.faults.entry(Fault::Connect).or_default() += self.retries;
        }
        match self.end {
            End::Answered | End::Cut => self.count_answer(tally),
            End::Failed(fault) => *tally.faults.entry(fault).or_default() += 1,
            End::Left => tally.left += 1,
        }
    }

    fn count_answer(&self, tally: &mut Tally) {
        let class = self.status / 100;
        let Some(number) = tally.answers.get_mut(usize::from(class).wrapping_sub(1)) else { return };
        *number += 1;
        tally.cut += u64::from(self.end == End::Cut);
        if let (Some(time), Ok(class)) = (self.microseconds, u8::try_from(class)) {
            tally.times.entry(class).or_default().record(Times::rounded(time), 1);
        }
    }
}

/// Reads the state: who ended the session, and in which phase. Nothing for what HAProxy answered by itself.
fn end(state: &str) -> Option<End> {
    let (who, phase) = (state.chars().next()?, state.chars().nth(1)?);
    Some(match (who, phase) {
        ('L', _) | ('P' | 'R' | 'I', 'R' | 'T') => return None,
        ('C' | 'c', 'R' | 'Q' | 'C' | 'H') => End::Left,
        (_, 'Q' | 'C') => End::Failed(Fault::Connect),
        ('s', 'H') => End::Failed(Fault::Timeout),
        (_, 'H') => End::Failed(Fault::Broken),
        ('-' | 'C' | 'c', _) => End::Answered,
        (_, 'D' | 'L') => End::Cut,
        _ => End::Answered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_ends_as_one_thing() {
        for (line, expected) in [
            (
                "shop.1 127.0.0.1:80 200 -- 0 412",
                r#"{"requests":1,"answers":[0,1,0,0,0],"times":{"2":[412,1]}}"#,
            ),
            ("shop.1 127.0.0.1:80 503 -- 0 9", r#"{"requests":1,"answers":[0,0,0,0,1],"times":{"5":[9,1]}}"#),
            (
                "shop.1 127.0.0.1:80 200 CD 0 -3",
                r#"{"requests":1,"answers":[0,1,0,0,0],"times":{"2":[1,1]}}"#,
            ),
            (
                "shop.1 127.0.0.1:80 200 SD 0 5",
                r#"{"requests":1,"answers":[0,1,0,0,0],"cut":1,"times":{"2":[5,1]}}"#,
            ),
            (
                "shop.1 127.0.0.1:80 200 -- +2 7",
                r#"{"requests":1,"retries":2,"answers":[0,1,0,0,0],"faults":{"connect":2},"times":{"2":[7,1]}}"#,
            ),
            (
                "shop.1 127.0.0.1:80 503 SC 3 -",
                r#"{"requests":1,"retries":3,"answers":[0,0,0,0,0],"faults":{"connect":4}}"#,
            ),
            ("shop.1 -:- 503 SC 0 -", r#"{"requests":1,"answers":[0,0,0,0,0],"faults":{"connect":1}}"#),
            (
                "shop.1 127.0.0.1:80 502 SH 0 -",
                r#"{"requests":1,"answers":[0,0,0,0,0],"faults":{"broken":1}}"#,
            ),
            (
                "shop.1 127.0.0.1:80 502 PH 0 -",
                r#"{"requests":1,"answers":[0,0,0,0,0],"faults":{"broken":1}}"#,
            ),
            (
                "shop.1 127.0.0.1:80 504 sH 0 -",
                r#"{"requests":1,"answers":[0,0,0,0,0],"faults":{"timeout":1}}"#,
            ),
            ("shop.1 127.0.0.1:80 -1 CH 0 -", r#"{"requests":1,"answers":[0,0,0,0,0],"left":1}"#),
        ] {
            let mut tally = Tally::default();
            Line::parse(line).unwrap().count(&mut tally);
            assert_eq!(serde_json::to_string(&tally).unwrap(), expected, "{line}");
            let ends = tally.answers.iter().sum::<u64>() + tally.faults.values().sum::<u64>() + tally.left;
            assert_eq!(tally.requests + tally.retries, ends, "{line}");
        }
        let mut tally = Tally::default();
        for time in [2_047, 5_000, 5_001] {
            Line::parse(&format!("shop.1 127.0.0.1:80 200 -- 0 {time}")).unwrap().count(&mut tally);
        }
        let times: Vec<_> = tally.times[&2].pairs().collect();
        assert_eq!(times, [(2_047, 1), (5_003, 2)], "neighbours are one above two milliseconds");
        for line in ["", "shop.1", "shop.1 -:- 200 LR 0 -", "shop.1 -:- 400 PR 0 -", "shop.1 -:- 200 -- x -"]
        {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }
}
