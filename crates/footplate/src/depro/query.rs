//! `depro query`: what `current` names, and how far every node is.

use std::time::Duration;

use footplate_drivers::chain;
use footplate_drivers::store::StoreError;

use super::config::CommandConfig;
use super::listing::standings;
use super::stop::Stop;
use super::talk;
use super::tree::Version;
use super::wire::Wire;

/// Prints how the nodes stand with a version, or with the current one.
pub async fn query(config: &CommandConfig, version: Option<&Version>) -> Result<(), Stop> {
    let wire = Wire::open(&config.connection).map_err(|error| Stop::address(chain(&error)))?;
    let current =
        wire.current(&config.prefix, 0, Duration::ZERO).await.map_err(|error| failed(&error))?.value;
    let Some(current) = current.version else {
        talk::say(format!("No version is current below '{}'", config.prefix));
        return Ok(());
    };
    let version = version.unwrap_or(&current);
    let pairs =
        wire.version(&config.prefix, version, 0, Duration::ZERO).await.map_err(|error| failed(&error))?;
    let active = if *version == current { " (active)" } else { "" };
    talk::say(format!("Version '{version}'{active}"));
    for (node, state) in standings(&config.prefix, version, &pairs.value) {
        talk::say(format!("{state:>10} | {node}"));
    }
    Ok(())
}

fn failed(error: &StoreError) -> Stop {
    Stop::failed("cannot ask the store")
        .line(format!("Failed to query: {error}"))
        .because(chain(error))
        .next("check that the store runs, and the address and token given")
}
