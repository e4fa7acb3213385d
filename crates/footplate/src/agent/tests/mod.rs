//! Stories of agents: the memory store, real release directories, and a controller played by the test.

mod bytes;
mod deploying;
mod ending;
mod joining;
mod presence;
mod repairing;
mod routing;
mod site;
