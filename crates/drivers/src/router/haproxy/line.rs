//! One line of HAProxy's log: what became of one request. Formats: HAProxy's configuration manual, sections 8.2.4 (custom
//! formats) and 8.5 (session state at disconnection).

use std::net::{IpAddr, SocketAddr};
use std::str::SplitAsciiWhitespace;
use std::time::Duration;

use footplate_core::release::Sticky;
use footplate_core::traffic::counts::{Fault, Tally};
use footplate_router::count::{self, Times};
use footplate_router::failed::How;
use footplate_router::key::{self, Client};

/// What the front end writes for each request: backend, server's address, status, state, retries, the microseconds from the request's
/// head to the answer's and the milliseconds to its end; who asks: the address, whether a cookie was just given, the hash of that by which it
/// stays with its release; and for what: method and path. The path is last, so that nothing else is cut off with it. A cookie may be all that
/// it takes to be its owner, and an administrator may have the lines in a file: so it is hashed by HAProxy.
pub(super) const FORMAT: &str = "%b %si:%sp %ST %ts %rc %[var(txn.answered),sub(txn.begun)] %Ta %ci %[var(txn.given)] \
     %[var(txn.key),xxh64] %HM %HPO";

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
    milliseconds: u64,
    /// Who asks, and for what; nothing where the line says nothing of it.
    pub(super) asked: Option<Asked<'a>>,
}

/// Who asks, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    address: IpAddr,
    /// The hash of the cookie or header by which it stays with its release, when it has one.
    value: Option<&'a str>,
    pub(super) method: &'a str,
    /// Empty when the request had none that could be read.
    pub(super) path: &'a str,
}

/// By what clients stay with their release, and what goes into the hash of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Staying {
    pub(super) sticky: Option<Sticky>,
    pub(super) salt: String,
}

impl<'a> Asked<'a> {
    fn parse(mut words: SplitAsciiWhitespace<'a>) -> Option<Self> {
        let address = words.next()?.parse().ok()?;
        let was_given = words.next()? != "-";
        let value = Some(words.next()?).filter(|value| *value != "-" && !was_given);
        Some(Self { address, value, method: words.next()?, path: words.next().unwrap_or_default() })
    }

    /// Returns the client's key: that of its address as the built-in router has it, that of its cookie or header by HAProxy's hash.
    pub(super) fn key(&self, staying: &Staying) -> u64 {
        let address = Client::Address(self.address);
        let client = match (&staying.sticky, &self.value) {
            (Some(Sticky::Address), _) => Client::Point(key::point_of_address(&staying.salt, self.address)),
            (Some(Sticky::Cookie { .. } | Sticky::Header { .. }), Some(value)) => {
                Client::Point(key::point(&staying.salt, value.as_bytes()))
            }
            (Some(Sticky::Cookie { .. } | Sticky::Header { .. }), None) | (None, _) => address,
        };
        client.key()
    }
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
        let milliseconds = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let asked = Asked::parse(words);
        Some(Self { backend, address, status, end, retries, microseconds, milliseconds, asked })
    }

    /// Returns how its attempts failed by their release's fault: the last one, and one for all that were tried again.
    pub(super) fn failures(&self) -> impl Iterator<Item = How> {
        let last = match self.end {
            End::Answered | End::Cut => {
                How::of(count::End::Answer { status: self.status, time: Duration::ZERO })
            }
            End::Failed(Fault::Connect) => Some(How::Fault(count::Fault::Connect)),
            End::Failed(Fault::Timeout) => Some(How::Fault(count::Fault::Timeout)),
            End::Failed(Fault::Broken) => Some(How::Fault(count::Fault::Broken)),
            End::Failed(Fault::Stale) | End::Left => None,
        };
        (self.retries > 0).then_some(How::Fault(count::Fault::Connect)).into_iter().chain(last)
    }

    /// Returns how long it took, in microseconds: until the head of the answer, or as exactly as HAProxy says until there was none.
    pub(super) fn time_us(&self) -> u64 {
        self.microseconds.unwrap_or(self.milliseconds.saturating_mul(1_000))
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
    fn a_client_has_a_key_by_what_keeps_it_with_its_release_and_else_by_its_address() {
        let key = |line: &str, sticky: Option<Sticky>| {
            let staying = Staying { sticky, salt: "salt".to_owned() };
            Line::parse(line).unwrap().asked.unwrap().key(&staying)
        };
        let plain = "shop.1 127.0.0.1:80 200 -- 0 412 1 127.0.0.1 - - GET /";
        let header = || Some(Sticky::Header { name: "x".to_owned() });
        let of_address = key::point("", &[127, 0, 0, 1]);
        assert_eq!((key(plain, None), key(plain, header())), (of_address, of_address));
        assert_eq!(key(plain, Some(Sticky::Address)), key::point("salt", &[127, 0, 0, 1]));
        let known = "shop.1 - 200 -- 0 412 1 127.0.0.1 - -77 GET /";
        assert_eq!((key(known, header()), key(known, None)), (key::point("salt", b"-77"), of_address));
        // Who was just given a cookie may never show it again.
        assert_eq!(key("shop.1 - 200 -- 0 412 1 127.0.0.1 3f-2 -77 GET /", header()), of_address);
    }

    #[test]
    fn what_failed_is_said_with_what_was_asked_for_and_how_long_it_took() {
        let said = |line: &str| {
            let line = Line::parse(line).unwrap();
            let how: Vec<How> = line.failures().collect();
            let asked = line.asked.as_ref().map(|asked| (asked.method.to_owned(), asked.path.to_owned()));
            (how, asked, line.time_us())
        };
        let (connect, timeout) = (How::Fault(count::Fault::Connect), How::Fault(count::Fault::Timeout));
        let cart = Some(("GET".to_owned(), "/cart".to_owned()));
        let end = "127.0.0.1 - - GET /cart";
        assert_eq!(
            said(&format!("shop.1 - 500 -- 0 412 1 {end}")),
            (vec![How::Status(500)], cart.clone(), 412)
        );
        assert_eq!(
            said(&format!("shop.1 - 504 sH +1 - 30 {end}")),
            (vec![connect, timeout], cart.clone(), 30_000)
        );
        assert_eq!(said(&format!("shop.1 - 404 -- 0 412 1 {end}")), (vec![], cart, 412));
        assert_eq!(said("shop.1 - -1 CH 0 - 7"), (vec![], None, 7_000));
    }

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
