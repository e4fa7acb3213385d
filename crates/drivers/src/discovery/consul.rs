//! Consul's catalog, by way of the Consul agent that is asked (API v1: `/v1/agent/service`, `/v1/agent/check`; as 1.8 speaks it).
//!
//! The agent of a host is a service `footplate-agent` with a check that ends by its time to live. Every instance has a check that
//! is an alias of it, which costs no request, and one more that is critical while it takes no requests. So one registration
//! changes everything about an instance, and one request keeps all of a host's instances alive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::name::HostName;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::naming::service_name;
use super::{Catalog, DiscoveryError, Instance, InstanceName, Listed, Reason, Renewed, Standing};
use crate::cause::chain;
use crate::http::{ANSWER_WITHIN, Answer, Http, encoded};
use crate::secret::Secret;

/// The service that stands for an agent.
pub const AGENT_SERVICE: &str = "footplate-agent";
/// After so long without a sign of life Consul removes an instance by itself: a host that is gone for good leaves nothing behind.
const REMOVED_AFTER: &str = "24h";
/// A check of this kind is only ever set by whoever registers it, and this is the longest it can wait.
const FOR_EVER: &str = "8760h";

/// Where Consul is and how services are called in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Scheme, host and port of the Consul agent that is asked: the host's own, if it has one.
    pub url: String,
    /// Who we are to it.
    pub token: Option<Secret>,
    /// The authority to trust for `https`, as a PEM file, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The template of a service's name, with `{environment}`, `{app}` and `{group}`.
    pub name: String,
    /// Tags of every instance, besides its environment and its release.
    pub tags: Vec<String>,
    /// Which site of footplate's: the store's root. Several may share a Consul.
    pub site: String,
}

/// Consul's catalog.
pub struct Consul {
    http: Http<DiscoveryError>,
    settings: Settings,
    ttl: Duration,
    host: HostName,
    /// The id of the agent's own service.
    id: String,
}

/// What `/v1/agent/services` says of one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Registered {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    meta: BTreeMap<String, String>,
}

impl Consul {
    /// Prepares a catalog; sends nothing.
    pub fn open(settings: Settings, ttl: Duration, host: &HostName) -> Result<Self, DiscoveryError> {
        let http = Http::open("Consul", &settings.url, settings.ca_file.as_deref());
        let http = http.map_err(|error| DiscoveryError::Misconfigured(chain(&error)))?;
        let site = match settings.site.trim_matches('/') {
            "" => "footplate".to_owned(),
            site => site.replace('/', "."),
        };
        Ok(Self { http, id: format!("{site}:{host}"), settings, ttl, host: host.clone() })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, DiscoveryError> {
        let mut request = self.http.client().request(method, format!("{}/v1/agent/{path}", self.http.url()));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = &self.settings.token {
            request = request.header("X-Consul-Token", token.expose());
        }
        self.http.send(request, ANSWER_WITHIN).await
    }

    /// Returns the answer, if Consul did what it was asked.
    fn done(&self, answer: Answer) -> Result<Answer, DiscoveryError> {
        let said = || String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.http.denied(said())),
            _ if said().contains("ACL not found") || said().contains("Permission denied") => {
                Err(self.http.denied(said()))
            }
            status => Err(self.http.unavailable(format!("{status}: {}", said()))),
        }
    }

    async fn register(&self, service: &Value) -> Result<(), DiscoveryError> {
        let path = "service/register?replace-existing-checks=true";
        self.ask(Method::PUT, path, Some(service)).await.and_then(|answer| self.done(answer)).map(drop)
    }

    fn alive(&self) -> String {
        format!("{}:alive", self.id)
    }

    fn meta(&self) -> Value {
        json!({ "footplate": self.settings.site, "host": self.host.as_str() })
    }
}

#[async_trait]
impl Catalog for Consul {
    fn describe(&self) -> String {
        self.http.describe()
    }

    fn id(&self, name: &InstanceName) -> String {
        format!("{}:{name}", self.id)
    }

    async fn list(&self) -> Result<Listed, DiscoveryError> {
        let answer = self.ask(Method::GET, "services", None).await?;
        let answer = self.done(answer)?;
        let all: BTreeMap<String, Registered> = serde_json::from_slice(&answer.body).map_err(|error| {
            self.http.unavailable(format!("its list of services cannot be read: {error}"))
        })?;
        let is_ours = |service: &Registered| {
            let says = |key: &str| service.meta.get(key).map(String::as_str);
            says("footplate") == Some(&self.settings.site) && says("host") == Some(self.host.as_str())
        };
        let (agents, ours): (Vec<_>, Vec<_>) =
            all.into_values().filter(is_ours).partition(|service| service.id == self.id);
        let instances = ours.into_iter().map(|service| (service.id, parse(&service.meta)));
        Ok(Listed { instances: instances.collect(), is_announced: !agents.is_empty() })
    }

    async fn announce(&self) -> Result<(), DiscoveryError> {
        let mut meta = self.meta();
        meta["version"] = json!(env!("CARGO_PKG_VERSION"));
        let check = json!({
            "CheckID": self.alive(),
            "Name": format!("footplate's agent of {} lives", self.host),
            "TTL": format!("{}ms", self.ttl.as_millis()),
            "Status": "passing",
        });
        self.register(&json!({ "ID": self.id, "Name": AGENT_SERVICE, "Meta": meta, "Checks": [check] }))
            .await?;
        // Consul keeps the state of a check that it knows, and ours may have ended meanwhile.
        self.renew().await.map(drop)
    }

    async fn renew(&self) -> Result<Renewed, DiscoveryError> {
        let path = format!("check/pass/{}", encoded(&self.alive(), ""));
        let answer = self.ask(Method::PUT, &path, None).await?;
        let said = String::from_utf8_lossy(&answer.body);
        // The first is said by 1.8, the second by later ones.
        if said.contains("does not have associated TTL") || answer.status == StatusCode::NOT_FOUND {
            return Ok(Renewed::Forgotten);
        }
        self.done(answer).map(|_| Renewed::Yes)
    }

    async fn withdraw(&self) -> Result<(), DiscoveryError> {
        self.remove(&self.id).await
    }

    async fn enter(&self, name: &InstanceName, instance: &Instance) -> Result<(), DiscoveryError> {
        self.register(&self.render(name, instance)).await
    }

    async fn remove(&self, id: &str) -> Result<(), DiscoveryError> {
        let path = format!("service/deregister/{}", encoded(id, ""));
        let answer = self.ask(Method::PUT, &path, None).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            _ => self.done(answer).map(drop),
        }
    }
}

impl Consul {
    /// Renders an instance as Consul's definition of a service.
    fn render(&self, name: &InstanceName, instance: &Instance) -> Value {
        let InstanceName { target, release } = name;
        let id = self.id(name);
        let alive = json!({
            "CheckID": format!("{id}:alive"),
            "Name": format!("footplate's agent of {} lives", self.host),
            "AliasService": self.id,
            "Status": "passing",
            "DeregisterCriticalServiceAfter": REMOVED_AFTER,
        });
        let (state, weight, checks) = match instance.standing {
            Standing::Serving(weight) => ("serving", weight.max(1), vec![alive]),
            Standing::Out(reason) => {
                let state = json!({
                    "CheckID": format!("{id}:state"),
                    "Name": "it takes requests",
                    "TTL": FOR_EVER,
                    "Status": "critical",
                    "Notes": notes(reason),
                });
                (reason.word(), 1, vec![state, alive])
            }
        };
        let (environment, app) = (target.path.environment.as_str(), target.path.app.as_str());
        let mut meta = self.meta();
        meta["environment"] = json!(environment);
        meta["app"] = json!(app);
        meta["group"] = json!(target.group.as_str());
        meta["release"] = json!(release.as_str());
        meta["version"] = json!(release.version());
        meta["state"] = json!(state);
        let own = [environment, release.as_str()];
        let tags: Vec<&str> = own.into_iter().chain(self.settings.tags.iter().map(String::as_str)).collect();
        json!({
            "ID": id,
            "Name": service_name(&self.settings.name, target),
            "Tags": tags,
            "Address": instance.address.ip().to_string(),
            "Port": instance.address.port(),
            "Meta": meta,
            "Weights": { "Passing": weight, "Warning": 1 },
            "Checks": checks,
        })
    }
}

fn notes(reason: Reason) -> &'static str {
    match reason {
        Reason::Standby => "it is up and has yet to be let in",
        Reason::Draining => "it takes no new request and finishes those that it has",
        Reason::Unready => "it does not pass its health checks",
        Reason::NoShare => "its release gets no part of the traffic now",
    }
}

/// Renders what an agent needs in Consul, as an ACL policy, to enter services there whose names begin with `prefix`.
pub fn rights(prefix: &str) -> String {
    let rule = |kind: &str, name: &str| format!("{kind} \"{name}\" {{\n  policy = \"write\"\n}}\n");
    format!(
        "# Services in Consul's catalog: the agent's own, and those that it enters.\n{}{}",
        rule("service", AGENT_SERVICE),
        rule("service_prefix", prefix)
    )
}

fn parse(meta: &BTreeMap<String, String>) -> Option<InstanceName> {
    let says = |key: &str| meta.get(key);
    let target = format!("{}.{}.{}", says("environment")?, says("app")?, says("group")?);
    Some(InstanceName { target: target.parse().ok()?, release: says("release")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consul(site: &str) -> Consul {
        let settings = Settings {
            url: "http://127.0.0.1:8500".to_owned(),
            token: None,
            ca_file: None,
            name: crate::discovery::NAME_DEFAULT.to_owned(),
            tags: vec!["http".to_owned()],
            site: site.to_owned(),
        };
        Consul::open(settings, Duration::from_secs(60), &"web-1".parse().expect("a host")).expect("it opens")
    }

    fn name() -> InstanceName {
        let target = "production.shop.web_site".parse().expect("a target");
        InstanceName { target, release: "1.2+3".parse().expect("a release") }
    }

    #[test]
    fn an_instance_is_said_whole_and_its_name_comes_back() {
        let consul = consul("footplate/");
        let address = "10.0.0.7:20001".parse().expect("an address");
        let said = consul.render(&name(), &Instance { address, standing: Standing::Serving(1000) });
        assert_eq!(said["ID"], "footplate:web-1:production.shop.web_site:1.2+3");
        assert_eq!(said["Name"], "production-shop-web---site");
        assert_eq!((&said["Address"], &said["Port"]), (&json!("10.0.0.7"), &json!(20001)));
        assert_eq!(said["Tags"], json!(["production", "1.2+3", "http"]));
        assert_eq!((&said["Meta"]["version"], &said["Meta"]["state"]), (&json!("1.2"), &json!("serving")));
        assert_eq!(said["Weights"]["Passing"], 1000);
        assert_eq!(said["Checks"].as_array().map(Vec::len), Some(1));
        let meta = serde_json::from_value(said["Meta"].clone()).expect("texts");
        assert_eq!(parse(&meta), Some(name()));
    }

    #[test]
    fn what_takes_no_requests_is_critical_and_says_why() {
        let address = "10.0.0.7:20001".parse().expect("an address");
        for reason in [Reason::Standby, Reason::Draining, Reason::Unready, Reason::NoShare] {
            let instance = Instance { address, standing: Standing::Out(reason) };
            let said = consul("footplate/").render(&name(), &instance);
            assert_eq!(said["Meta"]["state"], reason.word());
            assert_eq!(said["Checks"][0]["Status"], "critical");
            assert!(said["Checks"][0]["Notes"].as_str().is_some_and(|notes| !notes.is_empty()));
        }
    }

    #[test]
    fn sites_that_share_a_consul_have_ids_of_their_own() {
        let ids = ["footplate/", "", "teams/one/"].map(|site| consul(site).id);
        assert_eq!(ids, ["footplate:web-1", "footplate:web-1", "teams.one:web-1"]);
    }
}
