//! What the original Depro needed on two cores with Consul 1.8.7, as it was measured: minimum / median / maximum.

use super::work::Work;

/// One measured quantity of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Start to last activation, in seconds.
    ToLast,
    /// Switch to last activation, in seconds.
    Switch,
    /// Hosts that were not ready at the switch.
    Unfinished,
    /// Hosts that switched before they were ready.
    Early,
    /// Requests of one agent for one deployment.
    Requests,
    /// Deletion until the last host's folder is gone, in seconds.
    Cleanup,
}

/// Returns the original's figure, where there is one. Its slow scripts stand beside ours of both kinds; it has no
/// release directories, so its scripts stand beside them.
pub fn figure(quantity: Quantity, work: Work, agents: usize) -> Option<&'static str> {
    let (noop, slow) = figures(quantity, agents)?;
    let figure = if work.is_slow() { slow } else { noop };
    (!figure.is_empty()).then_some(figure)
}

fn figures(quantity: Quantity, agents: usize) -> Option<(&'static str, &'static str)> {
    use Quantity::{Cleanup, Early, Requests, Switch, ToLast, Unfinished};
    Some(match (quantity, agents) {
        (ToLast, 1) => ("0.006 / 0.008 / 0.011", ""),
        (ToLast, 10) => ("0.049 / 0.093 / 0.096", ""),
        (ToLast, 50) => ("0.269 / 0.388 / 0.866", ""),
        (ToLast, 100) => ("0.532 / 0.708 / 1.015", ""),
        (ToLast, 200) => ("1.546 / 2.203 / 2.674", ""),
        (Switch, 50) => ("0.104 / 0.164 / 0.488", ""),
        (Switch, 100) => ("0.200 / 0.243 / 0.299", ""),
        (Switch, 200) => ("0.654 / 0.853 / 1.764", ""),
        (Unfinished, 10) => ("0", "9"),
        (Unfinished, 50) => ("0", "45 to 49"),
        (Unfinished, 100) => ("0", "87 to 99"),
        (Early, 10) => ("0", "9"),
        (Early, 50) => ("0", "43 to 48"),
        (Early, 100) => ("0", "85 to 92"),
        (Requests, 1) => ("18 to 19", ""),
        (Requests, 10) => ("18 to 25", "32 to 38"),
        (Requests, 50) => ("24 to 28", "59 to 68"),
        (Requests, 100) => ("21 to 26", "61 to 67"),
        (Cleanup, 1) => ("0.006 / 0.007 / 0.007", ""),
        (Cleanup, 10) => ("0.017 / 0.019 / 0.021", ""),
        (Cleanup, 50) => ("0.106 / 0.120 / 0.167", ""),
        (Cleanup, 100) => ("0.146 / 0.156 / 0.181", ""),
        (Cleanup, 200) => ("0.301 / 0.356 / 0.555", ""),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_only_beside_what_was_measured() {
        assert_eq!(figure(Quantity::Switch, Work::Directories, 200), Some("0.654 / 0.853 / 1.764"));
        assert_eq!(figure(Quantity::Early, Work::SlowScripts, 100), Some("85 to 92"));
        assert_eq!(figure(Quantity::ToLast, Work::SlowScripts, 100), None);
        assert_eq!(figure(Quantity::ToLast, Work::Scripts, 7), None);
    }
}
