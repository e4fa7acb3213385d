//! Depro's agents and commands as processes, against the real Consul and against our own server.

#![allow(clippy::unwrap_used, missing_docs)] // A failed unwrap is a failed test, and stories document themselves.

mod crash;
mod faults;
mod mixed;
mod operator;
mod original;
mod place;
mod readme;

/// Plays a story on both stores.
macro_rules! on_both {
    ($($(#[$about:meta])* async fn $name:ident($place:ident) $story:block)*) => {$(
        mod $name {
            use super::*;
            $(#[$about])*
            async fn story($place: Place) $story

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_consul() {
                story(Place::open(Kind::Consul).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_our_own_store() {
                story(Place::open(Kind::Embedded).await).await;
            }
        }
    )*};
}
pub(crate) use on_both;
