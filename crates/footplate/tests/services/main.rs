//! Services as real processes: started, found again, restarted, contained, ended without a trace.

mod adopting;
mod bad;
mod judged;
mod living;
mod machine;
mod notifying;
mod site;
mod systemd;
