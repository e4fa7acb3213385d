//! The seed of a random test: new each time, printed, and set by `FOOTPLATE_KV_SEED` to play a run again.

/// Returns the seed of this run.
pub fn seed() -> u64 {
    let given = std::env::var("FOOTPLATE_KV_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("FOOTPLATE_KV_SEED={seed}");
    seed
}
