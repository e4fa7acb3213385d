//! Promise 5: who does not hold the lease changes nothing of the controller's; and an agent only what is its own.

use footplate_core::record::{Key, Writer};

use super::{Fact, Promise, Scene, hold};
use crate::controller::lease;
use crate::store::Author;

pub struct OneController;

impl Promise for OneController {
    fn name(&self) -> &'static str {
        "one controller"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        let Fact::Wrote { author, write, .. } = fact else { return Ok(()) };
        match author {
            Author::Controller(_) if matches!(write.key, Key::Lease(_)) => Ok(()),
            Author::Controller(session) => {
                let holder = scene.store.entries.get(&lease()).and_then(|entry| entry.session);
                hold(write.key.writer() == Writer::Controller, || {
                    format!("a controller writes {}", write.key)
                })?;
                hold(holder == Some(*session), || format!("{} is written without the lease", write.key))
            }
            Author::Agent(writer) => {
                hold(write.key.writer() == *writer, || format!("{writer:?} writes {}", write.key))
            }
            Author::Person => Ok(()),
        }
    }
}
