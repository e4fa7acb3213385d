//! `requests` of a service in `footplate.toml`: what a router lets a request of it take.

use std::str::FromStr;
use std::time::Duration;

use footplate_core::release::Requests;

use super::duration;
use super::table::Table;

/// The most times that a request is tried again.
const RETRIES_MAX: u32 = 10;

/// Reads `requests`; nothing where the file says nothing of it.
pub(super) fn read(table: &mut Table) -> Option<Requests> {
    let mut table = table.table("requests")?;
    let mut requests =
        Requests { body_bytes_max: table.parsed::<Size>("body").map(|size| size.0), ..Requests::default() };
    for (key, time) in [
        ("answer", &mut requests.answer),
        ("silence", &mut requests.silence),
        ("tunnel", &mut requests.tunnel),
    ] {
        if let Some(Patience(given)) = table.parsed(key) {
            *time = given;
        }
    }
    requests.hold = table.duration("hold").unwrap_or(requests.hold);
    if let Some(times) = table.count("retries") {
        requests.retries = times;
    }
    if requests.retries > RETRIES_MAX {
        let right = format!("expected a number from 0 to {RETRIES_MAX}");
        table.mistake(table.span(), "a request is tried again too often", right);
    }
    table.finish();
    Some(requests)
}

/// How long something may take: a length of time, or `never` too long, which is zero.
struct Patience(Duration);

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match duration::parse(text) {
            _ if text == "never" => Ok(Self(Duration::ZERO)),
            Ok(length) if length < Duration::from_millis(1) => {
                Err("no answer is as fast; \"never\" takes the limit away".to_owned())
            }
            Ok(length) => Ok(Self(length)),
            Err(expected) => Err(format!("{expected}, or \"never\" for no limit")),
        }
    }
}

/// The size of a body: `64KiB`, `10MiB`.
struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a size such as \"64KiB\", \"10MiB\" or \"1GiB\"".to_owned();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?);
        let shift = match unit.trim() {
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(expected()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use footplate_core::release::Workload;

    use super::*;
    use crate::config::app::AppConfig;

    /// Returns what a file says of its only service, or all its mistakes.
    fn requests(said: &str) -> Result<Requests, String> {
        let text = format!("app = \"shop\"\n[service.web]\ncommand = \"serve\"\n{said}\n");
        let config = AppConfig::parse("footplate.toml", &text).map_err(|mistakes| mistakes.render())?;
        let Workload::Service { services, .. } = config.workload else { panic!("it has a service") };
        Ok(services.into_values().next().unwrap().requests)
    }

    #[test]
    fn what_a_file_says_of_requests_is_what_its_service_has() {
        assert_eq!(requests(""), Ok(Requests::default()));
        assert_eq!(requests("requests = {}"), Ok(Requests::default()), "it need not say all");
        let said = "requests = { body = \"64KiB\", answer = \"5s\", silence = \"never\", tunnel = \"2h\", retries = 0, hold = \"0s\" }";
        let expected = Requests {
            body_bytes_max: Some(64 << 10),
            answer: Duration::from_secs(5),
            silence: Duration::ZERO,
            tunnel: Duration::from_secs(7_200),
            retries: 0,
            hold: Duration::ZERO,
        };
        assert_eq!(requests(said), Ok(expected));
        for (said, expected) in [
            ("requests = { body = \"10MB\" }", "expected a size"),
            ("requests = { answer = \"0s\" }", "\"never\" takes the limit away"),
            ("requests = { silence = \"long\" }", "or \"never\" for no limit"),
            ("requests = { retries = 11 }", "tried again too often"),
            ("requests = { anser = \"1s\" }", "anser"),
            ("kind = \"worker\"\nrequests = {}", "a service without a port answers no requests"),
        ] {
            let told = requests(said).unwrap_err();
            assert!(told.contains(expected), "{said}: {told}");
        }
    }

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        for (text, bytes) in [("1KiB", 1 << 10), ("10 MiB", 10 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(text.parse::<Size>().map(|size| size.0), Ok(bytes), "{text}");
        }
        for text in ["", "10", "0MiB", "10MB", "-1KiB", "99999999999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
        for (text, millis) in [("250ms", 250), ("5m", 300_000), ("never", 0)] {
            let parsed = text.parse::<Patience>().map(|patience| patience.0);
            assert_eq!(parsed, Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["0s", "always", ""] {
            assert!(text.parse::<Patience>().is_err_and(|said| said.contains("never")), "{text:?}");
        }
    }
}
