//! A single-node key-value server that speaks a named subset of Consul's KV API.
