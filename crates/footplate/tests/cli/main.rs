//! The command line as its users see it: the real program, its streams and its exit codes.

mod build;
mod configuration;
mod doctor;
mod errors;
mod gated;
mod init;
mod judge;
mod over_tls;
mod pacing;
mod program;
mod reference;
mod routing;
mod site;
mod up;
mod with_hosts;
mod without_hosts;
