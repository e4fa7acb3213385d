//! The counts in Prometheus' text format (version 0.0.4).

use std::fmt::Write;

use crate::count::{Counts, Times};
use crate::report::{Report, Service, Stand};

/// The upper edges of the published buckets, in microseconds. `GET /v1/counts` has every microsecond.
const EDGES_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// One family of samples.
struct Family {
    text: String,
}

impl Family {
    fn new(name: &str, kind: &str, help: &str) -> Family {
        Family { text: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n") }
    }

    fn add(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.text, "{name}{labels} {value}").expect("a string takes every text");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes a report as text.
pub fn render(report: &Report) -> String {
    let families = [clients(report), revision(report), attempts(report), answers(report), faults(report)];
    let more = [in_flight(report), endpoints(report), times(report)];
    families.into_iter().chain(more).map(|family| family.text).collect()
}

fn versions(report: &Report) -> impl Iterator<Item = ([(&'static str, &str); 2], &crate::report::Version)> {
    report.services.iter().flat_map(|(service, counts)| {
        let versions = counts.versions.iter();
        versions.map(move |(version, counts)| {
            ([("service", service.as_str()), ("version", version.as_str())], counts)
        })
    })
}

fn clients(report: &Report) -> Family {
    let name = "footplate_router_connections_open";
    let mut family = Family::new(name, "gauge", "Connections of clients now.");
    family.add(name, &[], report.clients.open);
    for (name, help, value) in [
        ("footplate_router_connections_total", "Connections of clients.", report.clients.connections),
        ("footplate_router_unrouted_total", "Requests that no route took.", report.clients.unrouted),
        ("footplate_router_bad_total", "Requests refused for what they are.", report.clients.bad),
    ] {
        let mut other = Family::new(name, "counter", help);
        other.add(name, &[], value);
        family.text.push_str(&other.text);
    }
    family
}

fn revision(report: &Report) -> Family {
    let name = "footplate_router_table_revision";
    let mut family = Family::new(name, "gauge", "Revision of the table in force.");
    family.add(name, &[], report.revision);
    family
}

fn attempts(report: &Report) -> Family {
    let name = "footplate_router_attempts_total";
    let mut family = Family::new(name, "counter", "Attempts at endpoints: first ones and retries.");
    for ([service, version], counts) in versions(report) {
        let Counts { requests, retries, .. } = counts.counts;
        family.add(name, &[service, version, ("kind", "first")], requests);
        family.add(name, &[service, version, ("kind", "retry")], retries);
    }
    family
}

fn answers(report: &Report) -> Family {
    let name = "footplate_router_answers_total";
    let mut family = Family::new(name, "counter", "Answers of endpoints by status class, before any retry.");
    for ([service, version], counts) in versions(report) {
        for (number, class) in counts.counts.answers.iter().zip(["1xx", "2xx", "3xx", "4xx", "5xx"]) {
            family.add(name, &[service, version, ("class", class)], number);
        }
    }
    family
}

fn faults(report: &Report) -> Family {
    let name = "footplate_router_faults_total";
    let mut family = Family::new(name, "counter", "Attempts without an answer, before any retry.");
    for ([service, version], counts) in versions(report) {
        for (fault, number) in &counts.counts.faults {
            let word = format!("{fault:?}").to_lowercase();
            family.add(name, &[service, version, ("kind", &word)], number);
        }
        family.add(name, &[service, version, ("kind", "left")], counts.counts.left);
        family.add(name, &[service, version, ("kind", "cut")], counts.counts.cut);
    }
    family
}

fn in_flight(report: &Report) -> Family {
    let name = "footplate_router_in_flight";
    let mut family = Family::new(name, "gauge", "Requests under way now.");
    for (labels, counts) in versions(report) {
        family.add(name, &labels, counts.counts.in_flight);
    }
    for (name, help, of) in [
        (
            "footplate_router_waiting",
            "Requests that wait for an endpoint now.",
            waiting as fn(&Service) -> u64,
        ),
        ("footplate_router_no_endpoint_total", "Requests told that there is no endpoint.", refused),
    ] {
        let kind = if name.ends_with("total") { "counter" } else { "gauge" };
        let mut other = Family::new(name, kind, help);
        for (service, counts) in &report.services {
            other.add(name, &[("service", service)], of(counts));
        }
        family.text.push_str(&other.text);
    }
    family
}

fn waiting(service: &Service) -> u64 {
    service.waiting
}

fn refused(service: &Service) -> u64 {
    service.refused
}

fn endpoints(report: &Report) -> Family {
    let name = "footplate_router_endpoint_up";
    let mut family = Family::new(name, "gauge", "Whether an endpoint takes new requests.");
    for (service, counts) in &report.services {
        for endpoint in &counts.endpoints {
            let is_up = endpoint.state == Stand::Ready && !endpoint.is_away;
            let labels =
                [("service", service.as_str()), ("version", &endpoint.version), ("endpoint", &endpoint.name)];
            family.add(name, &labels, u8::from(is_up));
        }
    }
    family
}

fn times(report: &Report) -> Family {
    let name = "footplate_router_answer_seconds";
    let mut family = Family::new(name, "histogram", "Time until the head of an answer, by attempt.");
    let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
    for ([service, version], counts) in versions(report) {
        for encoded in &counts.times {
            let mut times = Times::default();
            times.add_encoded(std::slice::from_ref(encoded));
            let class = format!("{}xx", encoded.class);
            let labels = [service, version, ("class", class.as_str())];
            for edge in EDGES_US {
                let edge_text = (edge as f64 / 1e6).to_string();
                let labels = [service, version, ("class", class.as_str()), ("le", &edge_text)];
                family.add(&bucket, &labels, times.at_most(edge));
            }
            family.add(&bucket, &[service, version, ("class", &class), ("le", "+Inf")], times.len());
            family.add(&sum, &labels, times.sum() as f64 / 1e6);
            family.add(&count, &labels, times.len());
        }
    }
    family
}
