//! Which releases stay on the hosts.
