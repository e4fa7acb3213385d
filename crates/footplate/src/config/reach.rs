//! `routes` and `sticky` of a service in `footplate.toml`: which requests are its own, and who stays with a version.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::name::GroupName;
use footplate_core::release::{Entrance, Routes, Service, Sticky, Workload};

use super::table::{Found, Table};

/// How a route is written.
const ROUTE_EXPECTED: &str =
    "expected HOST/PATH, such as \"shop.example.com/\", \"*.shop.example.com/api\" or \"*/api\"";

/// Reads `routes`: which requests it answers.
pub(super) fn read_routes(table: &mut Table) -> Option<BTreeSet<Entrance>> {
    let found = table.texts("routes")?;
    let mut routes = BTreeSet::new();
    for text in found {
        match text.value.parse::<Entrance>() {
            Err(error) => {
                let what = format!("`{}` is no route: {}", error.text, error.why);
                table.mistake(text.span, what, ROUTE_EXPECTED);
            }
            Ok(route) => {
                if !routes.insert(route.clone()) {
                    table.mistake(text.span, format!("`{route}` is there twice"), "take one out");
                }
            }
        }
    }
    Some(routes)
}

/// Reads `sticky`: by what a client stays with its version.
pub(super) fn read_sticky(table: &mut Table) -> Option<Sticky> {
    let mut table = table.table("sticky")?;
    let (cookie, header) = (table.text("cookie"), table.text("header"));
    let (address, give) = (table.flag("address").filter(|by| *by), table.flag("give").unwrap_or(false));
    for name in cookie.iter().chain(&header) {
        let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.value.is_empty() || !name.value.chars().all(fits) {
            let what = format!("`{}` can be no name of a cookie or header", name.value.escape_debug());
            table.mistake(name.span.clone(), what, "use letters, digits, `-` and `_`");
        }
    }
    if give && cookie.is_none() {
        table.mistake(table.span(), "only a cookie can be given", "take `give` out, or name the cookie");
    }
    let by = [
        cookie.map(|name| Sticky::Cookie { name: name.value, give }),
        header.map(|name| Sticky::Header { name: name.value }),
        address.map(|_| Sticky::Address),
    ];
    let mut by: Vec<Sticky> = by.into_iter().flatten().collect();
    if by.len() != 1 {
        table.mistake(
            table.span(),
            "clients are told apart by one thing",
            "say one of cookie, header and address",
        );
    }
    table.finish();
    by.pop()
}

/// Reads `[environments.NAME.service.NAME]`: what a service is like in this environment alone.
pub(super) fn read_here(table: &mut Table, workload: &Workload) -> Routes {
    let mut routes = Routes::new();
    for (name, mut here) in table.named_tables("service") {
        let found = read_routes(&mut here);
        let known = match workload {
            Workload::Service { services, .. } => {
                services.iter().find(|(group, _)| group.as_str() == name.value)
            }
            Workload::Command(_) | Workload::ReleaseDir(_) => None,
        };
        match (known, found) {
            (None, _) => {
                let what = format!("there is no `[service.{}]`", name.value.escape_debug());
                here.mistake(name.span, what, "name a service of this file");
            }
            (Some((_, service)), Some(_)) if !service.takes_connections() => {
                let right = "take its routes out, or give it a port: kind = \"web\"";
                here.mistake(name.span, "a service without a port answers no requests", right);
            }
            (Some((group, _)), Some(found)) => drop(routes.insert(group.clone(), found)),
            (Some(_), None) => {}
        }
        here.finish();
    }
    routes
}

/// Finds a service whose requests another one before it claims in the same file.
pub(super) fn check_claims(services: &BTreeMap<GroupName, Service>, name: &Found<String>, table: &Table) {
    let own = services.iter().find(|(group, _)| group.as_str() == name.value);
    let Some(routes) = own.and_then(|(_, service)| service.routes.as_ref()) else { return };
    for (group, other) in services.iter().filter(|(group, _)| group.as_str() != name.value) {
        let theirs = other.routes.iter().flatten();
        for route in theirs.filter(|route| routes.contains(route)) {
            let what = format!("the requests to `{route}` belong to `service.{group}` already");
            table.mistake(name.span.clone(), what, "take the route out of one of them");
        }
    }
}
