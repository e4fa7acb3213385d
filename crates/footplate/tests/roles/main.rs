//! The roles together: a real controller and real agents in one process, on the memory store, used through the API.

mod deploying;
mod guarding;
mod site;
mod steering;
mod taking_over;
