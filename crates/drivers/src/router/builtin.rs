//! Footplate's own router, told over the socket in its folder. The contract is docs/reference/router-api.md.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::traffic::{Member, Pool};
use footplate_router::report::Report;
use footplate_router::table::{Endpoint, Route, Service, State, Table, Version};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::{EndpointName, Router, RouterError};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The name of its socket, in its folder.
const SOCKET: &str = "control.sock";
const TABLE: &str = "http://router/v1/table";
const COUNTS: &str = "http://router/v1/counts";

/// Footplate's own router.
pub struct Builtin {
    folder: PathBuf,
    client: reqwest::Client,
    /// The revision of the table that it was told last, by us.
    told: Mutex<u64>,
}

impl Builtin {
    /// Makes the driver of the router in this folder.
    pub fn new(folder: &Path) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).unix_socket(folder.join(SOCKET));
        let client = client.build().expect("nothing in it depends on the machine");
        Self { folder: folder.to_owned(), client, told: Mutex::default() }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Vec<u8>, RouterError> {
        let silent = |source| RouterError::Silent { router: self.describe(), source };
        let answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(silent)?;
        match status.is_success() {
            true => Ok(body.to_vec()),
            false => Err(self.refused(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))),
        }
    }

    async fn read<T: DeserializeOwned>(&self, address: &str) -> Result<T, RouterError> {
        let body = self.ask(self.client.get(address)).await?;
        serde_json::from_slice(&body).map_err(|error| self.refused(error.to_string()))
    }

    fn refused(&self, said: String) -> RouterError {
        RouterError::Refused { router: self.describe(), said }
    }
}

#[async_trait]
impl Router for Builtin {
    fn describe(&self) -> String {
        format!("the router in {}", self.folder.display())
    }

    /// Its table's revision only rises; what it has from before, from us or another, is read first.
    async fn follow(&self, pools: &[Pool]) -> Result<(), RouterError> {
        let mut told = self.told.lock().await;
        let mut table = table(pools).map_err(|said| self.refused(said))?;
        let stands: Table = self.read(TABLE).await?;
        table.revision = stands.revision;
        if stands != table {
            table.revision += 1;
            self.ask(self.client.put(TABLE).json(&table)).await?;
        }
        *told = table.revision;
        Ok(())
    }

    async fn in_flight(&self) -> Result<Option<BTreeSet<EndpointName>>, RouterError> {
        let told = *self.told.lock().await;
        let report: Report = self.read(COUNTS).await?;
        if report.revision < told {
            return Ok(None);
        }
        let mut busy = BTreeSet::new();
        for (service, counts) in &report.services {
            let with = counts.endpoints.iter().filter(|endpoint| endpoint.counts.in_flight > 0);
            busy.extend(
                with.map(|endpoint| EndpointName {
                    service: service.clone(),
                    endpoint: endpoint.name.clone(),
                }),
            );
        }
        Ok(Some(busy))
    }
}

/// Returns the router's table of these pools, or why it cannot be made.
fn table(pools: &[Pool]) -> Result<Table, String> {
    let mut table = Table::default();
    for pool in pools {
        let endpoints: Result<Vec<Endpoint>, String> = pool.members.iter().map(endpoint).collect();
        let versions = pool
            .shares
            .iter()
            .map(|(release, share)| Version { name: release.to_string(), share: share.millionths() });
        let service = Service {
            routes: vec![Route { host: "*".to_owned(), path: "/".to_owned() }],
            versions: versions.collect(),
            endpoints: endpoints?,
            ..Service::default()
        };
        table.services.insert(pool.target.to_string(), service);
    }
    Ok(table)
}

fn endpoint(member: &Member) -> Result<Endpoint, String> {
    let address = member.address.parse().map_err(|_| format!("`{}` is no address", member.address))?;
    Ok(Endpoint {
        name: format!("{}/{}", member.host, member.release),
        address,
        version: member.release.to_string(),
        state: if member.is_draining { State::Draining } else { State::Ready },
        weight: member.weight,
    })
}
