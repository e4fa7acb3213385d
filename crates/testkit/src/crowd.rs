//! Clients of every kind at once: one-shot and keep-alive, with small and large bodies in both directions, and WebSockets.
//!
//! The service is [`crate::backend`], or whatever answers to the same paths.

use std::net::SocketAddr;
use std::time::Duration;

use crate::load::{Load, Running};
use crate::long::Sockets;

/// How long those with large bodies rest at least between their requests.
const PAUSE_LARGE: Duration = Duration::from_millis(10);

/// Starts clients of every kind, each with its name; inside a runtime. `pause` is how long each rests between its requests.
pub fn start(address: SocketAddr, pause: Duration) -> Vec<(&'static str, Running)> {
    let small = Load { path: "/small".into(), pause, ..Load::new(address, 6) };
    let pause = pause.max(PAUSE_LARGE);
    let upload = Load {
        method: "POST".into(),
        path: "/echo".into(),
        body: vec![b'u'; 50_000],
        pause,
        ..Load::new(address, 2)
    };
    let download = Load { path: "/bytes/200000".into(), pause, ..Load::new(address, 2) };
    let stream = Load { path: "/stream/10/20".into(), ..Load::new(address, 4) };
    let one_shot = |load: &Load| Load { keep_alive: false, ..load.clone() };
    let loads = [
        ("keep-alive", small.clone()),
        ("one-shot", Load { clients: 3, ..one_shot(&small) }),
        ("upload", upload.clone()),
        ("upload, one-shot", Load { clients: 1, ..one_shot(&upload) }),
        ("download", download),
        ("stream", stream),
    ];
    let sockets = Sockets { address, clients: 4, echoes: 20, pause: Duration::from_millis(20) };
    let running = loads.into_iter().map(|(name, load)| (name, load.start()));
    running.chain([("socket", sockets.start())]).collect()
}
