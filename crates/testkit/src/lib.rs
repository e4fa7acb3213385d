//! Real servers for tests: Consul and etcd, each on free ports in a folder of its own, gone when the test is.
