//! The gate on the stage: it is kept from the first line on, and obeyed in stories that say `gated`.

use footplate_core::gate::{Door, Fix, Halt, Lock, Opening, Test};

use super::{Stage, length};

/// Takes the word `--fix` off a release's name.
pub fn marked(what: &str) -> (&str, Option<Fix>) {
    match what.strip_suffix(" --fix") {
        Some(what) => (what, Some(Fix::default())),
        None => (what, None),
    }
}

impl Stage {
    /// Returns the gate as those see it whom it may keep out.
    pub fn door(&self) -> Door {
        let gate = if self.is_gated { self.gate.clone() } else { Default::default() };
        Door { gate, frozen: Vec::new() }
    }

    /// `lock bob 60s`, `halts always`, `open`.
    pub fn at_the_gate(&mut self, verb: &str, rest: &str) {
        let path = self.current.path.clone();
        self.gate = match verb {
            "lock" => {
                let (owner, time) = rest.split_once(' ').expect("lock NAME TIME");
                let (since, until) = (self.now, self.now + length(time));
                let lock = Lock { owner: owner.parse().unwrap(), reason: "a sale".to_owned(), since, until };
                self.gate.lock(&path, lock).unwrap()
            }
            "halts" => {
                self.delivery.policy.halt = match rest {
                    "always" => Halt::Always,
                    "never" => Halt::Never,
                    _ => Halt::Users,
                };
                self.current.delivery.policy.halt = self.delivery.policy.halt;
                return;
            }
            _ => {
                let test = Test::Written("tests/basket.rs".to_owned());
                let whys = vec!["it broke".to_owned()];
                self.gate
                    .open(&path, None, Opening { by: "ann".parse().unwrap(), at: self.now, whys, test })
                    .unwrap()
            }
        };
    }

    pub fn told_of_the_gate(&self) -> String {
        match &self.gate.halted {
            None => "the gate is not halted".to_owned(),
            Some(halted) => {
                let fixed =
                    halted.fixed_by.as_ref().map(|fixed| format!(", fixed by rollout {}", fixed.rollout));
                format!("halted: {}{}", halted.sentence(), fixed.unwrap_or_default())
            }
        }
    }
}
