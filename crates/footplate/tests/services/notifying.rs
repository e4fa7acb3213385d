//! Services that say by themselves that they are ready, as systemd's do.

use std::time::{Duration, Instant};

use footplate_core::release::service::{Check, Probe};
use footplate_drivers::health::{Answer, Asker, Place};
use footplate_drivers::service::{Order, Phase, Supervisor};

use crate::site::{Site, kill, name, pid};

const MUTE: &str = "it has not said READY=1 to its NOTIFY_SOCKET";

/// A worker that may `say` something, and `wait_for` a file.
fn worker(site: &Site, script: &str) -> Order {
    let send = "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[1].encode(), os.environ[\"NOTIFY_SOCKET\"])";
    let words = format!(
        "say() {{ python3 -c 'import os, socket, sys; {send}' \"$1\" && echo \"said $1\"; }}\n\
         wait_for() {{ until [ -e \"$1\" ]; do sleep 0.01; done; }}\n{script}"
    );
    Order { notifies: true, ..site.worker("1", &words) }
}

impl Site {
    fn make(&self, file: &str) {
        std::fs::write(self.services().join("..").join(file), "").expect("written");
    }

    async fn asked(&self) -> Answer {
        let place = Place { notified: self.status("1").await.notified, ..Place::default() };
        Asker::new().ask(&Probe::new(Check::Notify), &place).await
    }

    async fn poll(&self, expected: &Answer) {
        let begun = Instant::now();
        while self.asked().await != *expected {
            assert!(begun.elapsed() < Duration::from_secs(60), "not {expected:?}: {}", self.log("1"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn poll_said(&self, word: &str) {
        crate::site::eventually(word, || self.log("1").contains(&format!("said {word}"))).await;
    }
}

#[tokio::test]
async fn it_is_ready_from_its_word_on_until_it_says_that_it_stops() {
    let site = Site::new();
    let script = "say STATUS=loading; wait_for go; say \"$(printf 'STATUS=up\\nREADY=1')\"; wait_for leave; say STOPPING=1; exec sleep 1000";
    site.keepers.start(&worker(&site, script)).await.expect("started");
    site.poll_said("STATUS=loading").await;
    assert_eq!(site.asked().await, Answer::Bad(MUTE.to_owned()), "it only loads");
    site.make("go");
    site.poll(&Answer::Good).await;
    site.make("leave");
    site.poll(&Answer::Bad(MUTE.to_owned())).await;
}

#[tokio::test]
async fn each_process_says_it_for_itself_and_a_new_keeper_knows_it() {
    let site = Site::new();
    let order = worker(
        &site,
        "[ -e mute ] || say READY=1; wait_for leave; rm leave; say STOPPING=1; exec sleep 1000",
    );
    site.keepers.start(&order).await.expect("started");
    site.poll(&Answer::Good).await;
    let before = site.status("1").await;
    kill(site.keeper_of("1").expect("it has a keeper"));
    site.eventually("1", |status| status.phase == Phase::Forsaken).await;
    assert_eq!(site.another().revive().await.expect("revived"), [name("1")]);
    assert_eq!((pid(&site.status("1").await), site.asked().await), (pid(&before), Answer::Good));
    site.make("leave");
    site.poll(&Answer::Bad(MUTE.to_owned())).await;
    site.keepers.restart(&name("1")).await.expect("restarted");
    site.poll(&Answer::Good).await;
    site.make("mute");
    site.keepers.restart(&name("1")).await.expect("restarted");
    assert!(site.status("1").await.is_running());
    assert_eq!(site.asked().await, Answer::Bad(MUTE.to_owned()), "what the one before said is forgotten");
}

#[tokio::test]
async fn who_is_not_asked_for_it_has_no_socket() {
    let site = Site::new();
    let order = site.worker("1", "echo \"said ${NOTIFY_SOCKET:-nothing}\"; exec sleep 1000");
    site.keepers.start(&order).await.expect("started");
    site.poll_said("nothing").await;
}
