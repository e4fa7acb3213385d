//! What hooks and scripts printed, posted to the controller as best we can. The workload keeps it on the host as well.
//!
//! Invariants: nobody waits for the controller; the queue has a bound, and what does not fit is dropped, because the
//! last lines of a failure are in the report anyway; a token is never logged.

use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::target::{Source, Verb};
use tokio::sync::mpsc;

use super::clients::Clients;
use super::hands::Done;
use crate::api::{OutputPost, path};
use crate::clock;

/// How many outputs wait for a controller that does not answer.
const QUEUE_LENGTH_MAX: usize = 32;
/// How long one post may take.
const POST_DEADLINE: Duration = Duration::from_secs(10);
/// The pauses between the tries of one post.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];

/// Where workers leave output.
#[derive(Clone)]
pub struct Outputs {
    host: HostName,
    queue: mpsc::Sender<Post>,
}

struct Post {
    /// The path below a controller's address.
    path: String,
    body: OutputPost,
    sources: Vec<Source>,
}

impl Outputs {
    /// Makes the place to leave output at, and the loop that posts it.
    pub fn new(host: HostName, clients: Arc<Clients>) -> (Self, Poster) {
        let (queue, posts) = mpsc::channel(QUEUE_LENGTH_MAX);
        (Self { host, queue }, Poster { posts, clients })
    }

    /// Queues what an action printed for the controllers that serve the order's artifacts.
    pub fn send(
        &self,
        target: &TargetName,
        release: &ReleaseId,
        verb: Verb,
        done: &Done,
        sources: &[Source],
    ) {
        let bad = done.failure.as_ref().or(done.unwilling.as_ref());
        if done.output.is_empty() && bad.is_none() {
            return;
        }
        let end = bad.map_or_else(String::new, |reason| format!("{reason}\n"));
        let post = Post {
            path: output_path(&self.host, target, release, verb),
            body: OutputPost {
                at: clock::now(),
                ok: bad.is_none(),
                text: format!("{}{end}", done.output),
                elapsed: done.elapsed,
            },
            sources: sources.to_vec(),
        };
        if self.queue.try_send(post).is_err() {
            tracing::debug!(app = %target, %release, "an output is not sent: too many wait for the controller");
        }
    }
}

/// The loop that posts output.
pub struct Poster {
    posts: mpsc::Receiver<Post>,
    clients: Arc<Clients>,
}

impl Poster {
    /// Posts one output after the other. Ends only by being dropped.
    pub async fn run(mut self) {
        while let Some(post) = self.posts.recv().await {
            if !self.post(&post).await {
                tracing::debug!(path = post.path, "an output is not sent: no controller took it");
            }
        }
        std::future::pending().await
    }

    async fn post(&self, post: &Post) -> bool {
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            for (address, token) in post.sources.iter().filter_map(controller) {
                if self.try_post(&format!("{address}{}", post.path), token, &post.body).await {
                    return true;
                }
            }
        }
        false
    }

    async fn try_post(&self, url: &str, token: &str, body: &OutputPost) -> bool {
        let client = self.clients.of(url);
        let sent = client.post(url).bearer_auth(token).json(body).timeout(POST_DEADLINE).send().await;
        sent.is_ok_and(|answer| answer.status().is_success())
    }
}

/// Returns the controller's address and the token for it, when the source is a controller and not a mere file server.
pub(super) fn controller(source: &Source) -> Option<(&str, &str)> {
    Some((source.base.strip_suffix(path::ARTIFACTS)?, source.token.as_deref()?))
}

fn output_path(host: &HostName, target: &TargetName, release: &ReleaseId, verb: Verb) -> String {
    // A release's name may hold a `+`, which some servers read as a space unless it is written as `%2B`.
    let release = release.as_str().replace('+', "%2B");
    format!("{}/{host}/{target}/{release}/{verb}", path::OUTPUTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_goes_to_the_controller_that_serves_the_artifacts() {
        let base = "http://10.0.0.1:7701/v1/artifacts".to_owned();
        let source = Source { base, token: Some("t".to_owned()) };
        assert_eq!(controller(&source), Some(("http://10.0.0.1:7701", "t")));
        let files = Source { base: "http://10.0.0.1/files".to_owned(), token: Some("t".to_owned()) };
        assert_eq!(controller(&files), None);
        let host = "h1".parse().expect("a host");
        let target = "production.shop.files".parse().expect("a target");
        let release = "1.0+2".parse().expect("a release");
        assert_eq!(
            output_path(&host, &target, &release, Verb::Prepare),
            "/v1/outputs/h1/production.shop.files/1.0%2B2/prepare"
        );
    }
}
