//! Which service a request belongs to: by host, then by the longest path.
//!
//! The path is compared as it was sent, byte by byte and by whole segments: nothing is decoded and `..` is no way out.

use std::collections::{BTreeMap, HashMap};

use crate::table::Table;

/// The routes of a table, ready to be asked.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<String, Paths>,
    below: HashMap<String, Paths>,
    any: Paths,
}

/// Paths of one host, the longest first, each with the service's place in the table.
type Paths = Vec<(String, usize)>;

impl Routes {
    /// Reads the routes of a table.
    pub fn of(table: &Table) -> Routes {
        let mut routes = Routes::default();
        for (place, service) in table.services.values().enumerate() {
            for route in &service.routes {
                let host = route.host.to_ascii_lowercase();
                let path = route.path.trim_end_matches('/').to_owned();
                let paths = match host.strip_prefix("*.") {
                    _ if host == "*" => &mut routes.any,
                    Some(suffix) => routes.below.entry(suffix.to_owned()).or_default(),
                    None => routes.exact.entry(host).or_default(),
                };
                paths.push((path, place));
            }
        }
        let all = routes.exact.values_mut().chain(routes.below.values_mut()).chain([&mut routes.any]);
        all.for_each(|paths| paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len())));
        routes
    }

    /// Finds the place of the service in the table's order. `host` may have a port and capitals.
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        if !self.exact.is_empty() || !self.below.is_empty() {
            let host = without_port(host);
            let lower;
            let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => {
                    lower = host.to_ascii_lowercase();
                    lower.as_str()
                }
                false => host,
            };
            let host = host.strip_suffix('.').unwrap_or(host);
            let exact = self.exact.get(host).and_then(|paths| longest(paths, path));
            if let Some(place) = exact.or_else(|| self.find_below(host, path)) {
                return Some(place);
            }
        }
        longest(&self.any, path)
    }

    /// Tries each domain above the host, the nearest first.
    fn find_below(&self, host: &str, path: &str) -> Option<usize> {
        let mut rest = host;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(place) = self.below.get(above).and_then(|paths| longest(paths, path)) {
                return Some(place);
            }
            rest = above;
        }
        None
    }

    /// Lists every route with its service's place, for a reader.
    pub fn list(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        let hosts = self.exact.iter().map(|(host, paths)| (host.clone(), paths));
        let below = self.below.iter().map(|(host, paths)| (format!("*.{host}"), paths));
        for (host, paths) in hosts.chain(below).chain([("*".to_owned(), &self.any)]) {
            all.extend(paths.iter().map(|(path, place)| (format!("{host}{path}/"), *place)));
        }
        all
    }
}

fn longest(paths: &Paths, path: &str) -> Option<usize> {
    let takes = |beginning: &str| match path.strip_prefix(beginning) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || beginning.is_empty(),
        None => false,
    };
    paths.iter().find(|(beginning, _)| takes(beginning)).map(|(_, place)| *place)
}

/// Cuts the port off a host, also off `[::1]:80`.
pub fn without_port(host: &str) -> &str {
    match (host.starts_with('['), host.rfind(':')) {
        (true, _) => host.rfind(']').map_or(host, |end| &host[..=end]),
        (false, Some(colon)) => &host[..colon],
        (false, None) => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Route, Service};

    fn routes(all: &[(&str, &str, &str)]) -> Routes {
        let mut table = Table::default();
        for (service, host, path) in all {
            let service: &mut Service = table.services.entry((*service).to_owned()).or_default();
            service.routes.push(Route { host: (*host).into(), path: (*path).into() });
        }
        Routes::of(&table)
    }

    #[test]
    fn the_most_exact_host_and_then_the_longest_path_wins() {
        let routes = routes(&[
            ("0", "*", "/"),
            ("1", "*.example.com", "/"),
            ("2", "shop.example.com", "/"),
            ("3", "shop.example.com", "/api/"),
            ("4", "*", "/only"),
        ]);
        for (host, path, place) in [
            ("other.test", "/", 0),
            ("other.test", "/only", 4),
            ("other.test", "/only/x", 4),
            ("other.test", "/onlyx", 0),
            ("a.example.com", "/api/x", 1),
            ("a.b.example.com", "/", 1),
            ("example.com", "/", 0),
            ("shop.example.com", "/x", 2),
            ("SHOP.example.com:8080", "/api", 3),
            ("shop.example.com.", "/api/y", 3),
            ("shop.example.com", "/apis", 2),
            ("[::1]:80", "/", 0),
        ] {
            assert_eq!(routes.find(host, path), Some(place), "{host}{path}");
        }
    }

    #[test]
    fn a_request_that_no_route_takes_belongs_to_nobody() {
        let routes = routes(&[("0", "shop.example.com", "/api")]);
        assert_eq!(routes.find("shop.example.com", "/"), None);
        assert_eq!(routes.find("other.example.com", "/api"), None);
    }

    #[test]
    fn a_path_without_a_slash_before_it_is_no_way_into_another_route() {
        let routes = routes(&[("0", "*", "/"), ("1", "*", "/private")]);
        assert_eq!(routes.find("x", "/private/.."), Some(1));
        assert_eq!(routes.find("x", "/%70rivate"), Some(0));
        assert_eq!(routes.find("x", "*"), Some(0), "the server-wide form belongs to the root");
    }
}
