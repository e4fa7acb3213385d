//! Promise 1: a target activates only a release that it has completely prepared.

use footplate_core::target::Action;

use super::{Fact, Promise, Scene, hold};

pub struct PreparedFirst;

impl Promise for PreparedFirst {
    fn name(&self) -> &'static str {
        "prepared first"
    }

    fn judge(&mut self, fact: &Fact, _: &Scene) -> Result<(), String> {
        match fact {
            Fact::Begun { target, action: Action::Activate(release), disk } => {
                hold(disk.prepared.contains(release), || {
                    format!("{target} activates {release}, which it has not prepared")
                })
            }
            _ => Ok(()),
        }
    }
}
