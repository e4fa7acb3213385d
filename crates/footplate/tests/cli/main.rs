//! The command line as its users see it: the real program, its streams and its exit codes.

mod configuration;
mod errors;
mod init;
mod program;
mod reference;
