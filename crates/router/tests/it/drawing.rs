//! The draw, over many seeds: shares, weights, keys. And what a client with a key gets to see.

use std::collections::BTreeSet;

use footplate_router::choose::{self, Candidate};
use footplate_router::key;
use footplate_router::table::{Stickiness, WHOLE};
use footplate_testkit::backend::Backend;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::site::{Site, endpoint, service};

/// Tells whether a count of `n` draws lies within six standard deviations of `part`: outside is one run in 500 million.
fn is_near(count: u64, n: u64, part: f64) -> bool {
    let (mean, deviation) = (n as f64 * part, (n as f64 * part * (1.0 - part)).sqrt());
    (count as f64 - mean).abs() <= 6.0 * deviation.max(1.0)
}

proptest! {
    #[test]
    fn each_version_is_drawn_by_its_share(seed: u64, cuts in prop::collection::vec(0..=WHOLE, 0..5)) {
        let mut cuts: Vec<u32> = cuts.into_iter().chain([0, WHOLE]).collect();
        cuts.sort_unstable();
        let shares: Vec<u32> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut random = SmallRng::seed_from_u64(seed);
        let mut counts = vec![0; shares.len()];
        for _ in 0..5_000 {
            counts[choose::version(shares.iter().copied(), random.random()).unwrap()] += 1;
        }
        for (count, share) in counts.iter().zip(&shares) {
            prop_assert!(is_near(*count, 5_000, f64::from(*share) / f64::from(WHOLE)), "{:?} {:?}", counts, shares);
            prop_assert!(*share > 0 || *count == 0);
        }
    }

    #[test]
    fn a_key_in_a_share_stays_in_while_the_share_grows(key: [u8; 8], shares in prop::collection::vec(0..=WHOLE, 1..10)) {
        let mut shares = shares;
        shares.sort_unstable();
        let point = key::point("salt", &key);
        let mut was_in = false;
        for share in shares {
            let is_in = choose::version([share, WHOLE - share], point) == Some(0);
            prop_assert!(is_in || !was_in);
            was_in = is_in;
        }
    }

    #[test]
    fn at_rest_endpoints_are_drawn_by_weight(seed: u64, weights in prop::collection::vec(1..=1_000_u32, 1..6)) {
        let candidates: Vec<Candidate> = weights.iter().map(|weight| Candidate { weight: *weight, in_flight: 0 }).collect();
        let total: u32 = weights.iter().sum();
        let mut random = SmallRng::seed_from_u64(seed);
        let mut counts = vec![0; weights.len()];
        for _ in 0..5_000 {
            counts[choose::endpoint(&candidates, random.random()).unwrap()] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert!(is_near(*count, 5_000, f64::from(*weight) / f64::from(total)), "{:?} {:?}", counts, weights);
        }
    }

    #[test]
    fn load_follows_the_weights(seed: u64, weights in prop::collection::vec(1..=100_u32, 2..6)) {
        let mut candidates: Vec<Candidate> = weights.iter().map(|weight| Candidate { weight: *weight, in_flight: 0 }).collect();
        let mut random = SmallRng::seed_from_u64(seed);
        for _ in 0..10_000 {
            let place = choose::endpoint(&candidates, random.random()).unwrap();
            candidates[place].in_flight += 1;
        }
        let total: u32 = weights.iter().sum();
        for candidate in &candidates {
            let fair = 10_000.0 * f64::from(candidate.weight) / f64::from(total);
            prop_assert!((candidate.in_flight as f64 - fair).abs() <= 0.1 * fair + 20.0, "{:?}", candidates);
        }
    }
}

#[test]
fn keys_spread_evenly_and_another_salt_chooses_others() {
    let inside = |salt: &str| -> BTreeSet<u32> {
        let keys = 0..100_000_u32;
        keys.filter(|key| {
            choose::version([100_000, 900_000], key::point(salt, key.to_string().as_bytes())) == Some(0)
        })
        .collect()
    };
    let (one, two) = (inside("one"), inside("two"));
    for chosen in [&one, &two] {
        assert!(is_near(chosen.len() as u64, 100_000, 0.1), "{}", chosen.len());
    }
    let both = one.intersection(&two).count() as u64;
    assert!(is_near(both, 100_000, 0.01), "salts are independent: {both}");
}

#[tokio::test]
async fn a_client_with_a_key_stays_with_its_version() {
    let mut site = Site::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let endpoints = vec![endpoint("a", "1", one.address), endpoint("b", "2", two.address)];
    let mut shop = service(&[("1", 500_000), ("2", 500_000)], endpoints);
    let cookie = |give| Stickiness::Cookie { name: "id".into(), salt: "s".into(), give };
    for (stickiness, header) in [
        (cookie(false), "Cookie: x=1; id="),
        (Stickiness::Header { name: "X-User".into(), salt: "s".into() }, "X-User: "),
    ] {
        shop.stickiness = stickiness;
        site.route(shop.clone()).await;
        let mut seen = BTreeSet::new();
        for client in 0..12 {
            let expected =
                choose::version([500_000, 500_000], key::point("s", client.to_string().as_bytes()));
            for _ in 0..3 {
                let reply =
                    site.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{header}{client}\r\n\r\n")).await;
                assert_eq!(reply.body, ["one", "two"][expected.unwrap()], "{header}{client}");
                seen.insert(reply.body);
            }
        }
        assert_eq!(seen.len(), 2);
    }
    shop.stickiness = Stickiness::Address { salt: "s".into() };
    site.route(shop.clone()).await;
    let first = site.get("/").await.body;
    for _ in 0..10 {
        assert_eq!(site.get("/").await.body, first);
    }
    shop.stickiness = cookie(true);
    site.route(shop).await;
    let first = site.get("/").await;
    let given = first.head.get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for _ in 0..10 {
        let again = site.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {given}\r\n\r\n")).await;
        assert_eq!((again.body.as_str(), again.head.get("set-cookie")), (first.body.as_str(), None));
    }
}
