//! Stories of agents: the memory store, real release directories, and a controller played by the test.

mod deploying;
mod joining;
mod repairing;
mod site;
