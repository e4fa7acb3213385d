//! Twenty thousand random requests.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::operations::pick;
use super::pair::Pair;
use crate::seed::seed;

const REQUESTS: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_random_requests_find_no_difference_to_consul() {
    let mut random = SmallRng::seed_from_u64(seed());
    let mut pair = Pair::start().await;
    for number in 0..REQUESTS {
        if number % 60 == 0 {
            let behavior = if random.random_bool(0.5) { "delete" } else { "release" };
            let body =
                format!(r#"{{"Checks": [], "LockDelay": "0s", "Behavior": "{behavior}", "Name": "n"}}"#);
            pair.open_session(&body).await;
        }
        let request = pick(&mut random);
        // Mostly the newest sessions and indexes, so that they are often the living ones.
        let session = pair.sessions() - 1 - random.random_range(0..pair.sessions().min(4));
        let index = pair.indexes().saturating_sub(1 + random.random_range(0..12));
        pair.ask(request.method, &request.path, &request.body, session, index).await;
    }
    pair.stop().await;
}
