//! One binary: picks the role from the command line.

fn main() {}
