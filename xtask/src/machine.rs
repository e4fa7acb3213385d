//! The machine that a figure was measured on: what a reader needs to compare it with theirs, and no more.
//! Never its name, its address or a path on it.

use serde::Serialize;
use std::fmt;
use std::fs;

/// Cores, memory and software of this machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub system: String,
    pub kernel: String,
}

impl Machine {
    /// Reads what `/proc` and `/etc/os-release` tell; what cannot be read is called unknown.
    pub fn read() -> Machine {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kib = field(&text("/proc/meminfo"), "MemTotal", ':')
            .and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
        Machine {
            processor: field(&text("/proc/cpuinfo"), "model name", ':')
                .unwrap_or_else(|| "unknown processor".into()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib.unwrap_or(0).div_ceil(1 << 20),
            system: field(&text("/etc/os-release"), "PRETTY_NAME", '=')
                .unwrap_or_else(|| "unknown system".into()),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, cores, memory_gib, system, kernel } = self;
        write!(out, "{processor}, {cores} cores, {memory_gib} GiB; {system}, Linux {kernel}")
    }
}

/// Returns the value of the first line `NAME separator VALUE`, without quotes.
fn field(text: &str, name: &str, separator: char) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(separator));
    let value = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value).next()?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_both_spellings() {
        assert_eq!(field("MemTotal:   2048 kB\n", "MemTotal", ':').as_deref(), Some("2048 kB"));
        assert_eq!(
            field("NAME=a\nPRETTY_NAME=\"A System\"\n", "PRETTY_NAME", '=').as_deref(),
            Some("A System")
        );
        assert_eq!(field("", "NAME", '='), None);
    }
}
