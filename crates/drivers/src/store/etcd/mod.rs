//! etcd through its JSON gateway (`/v3/`, etcd 3.4 and later): no gRPC, no code generator.
//!
//! The gateway's traps, measured on 3.4.23: keys and values are base64; 64-bit numbers are strings; zero values are left
//! out; a watch is one JSON object a line; an error inside a stream is an object `{"error": …}` and then the end.

mod client;
mod store;
mod transaction;
mod watch;
mod wire;

pub use store::Etcd;
