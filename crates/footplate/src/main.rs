//! One binary: picks the role from the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    footplate::install_crypto_provider();
    footplate::cli::main(std::env::args_os())
}
