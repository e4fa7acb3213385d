//! Who is given which place.

use footplate_core::traffic::Share;

use super::*;

/// `web-1/1 web-2/1 drains`, and the shares `1: 100`.
fn pool(members: &str, shares: &str) -> Pool {
    let mut list: Vec<Member> = Vec::new();
    for word in members.split_whitespace() {
        match word.split_once('/') {
            Some((host, release)) => list.push(Member {
                host: host.parse().unwrap(),
                release: release.parse().unwrap(),
                address: format!("127.0.0.1:{}", 1000 + list.len()),
                weight: 100,
                is_draining: false,
            }),
            None => list.last_mut().unwrap().is_draining = true,
        }
    }
    let shares = shares.split_whitespace().map(|pair| {
        let (release, percent) = pair.split_once(':').unwrap();
        (release.parse().unwrap(), Share::from_millionths(10_000 * percent.parse::<u32>().unwrap()))
    });
    Pool {
        target: "production.shop.web".parse().unwrap(),
        entrances: [Entrance::any()].into(),
        stickiness: None,
        requests: footplate_core::release::Requests::default(),
        shares: shares.collect(),
        members: list,
    }
}

fn told(layout: &mut Layout, members: &str, shares: &str) -> String {
    layout.place(&[pool(members, shares)]).unwrap();
    let tracks = &layout.pools["production.shop.web"];
    let places = tracks.places().map(|((track, slot), release, held)| {
        let state = match held.state {
            State::Serving => "",
            State::Draining => " drains",
            State::Gone => " gone",
        };
        format!("{track}.{slot} {}/{release}{state}", held.host)
    });
    format!("{}; {:?}", places.collect::<Vec<_>>().join(", "), tracks.bounds())
}

#[test]
fn what_stands_stays_and_what_left_is_known_until_its_place_is_needed() {
    let mut layout = Layout::default();
    for (members, shares, expected) in [
        ("a/1 b/1", "1:100", "1.1 a/1, 1.2 b/1; [1000000, 1000000, 1000000]"),
        ("a/2 a/1 drains b/1", "1:90 2:10", "1.1 a/1 drains, 1.2 b/1, 2.1 a/2; [900000, 1000000, 1000000]"),
        ("a/2 b/2", "2:100", "1.1 a/1 gone, 1.2 b/1 gone, 2.1 a/2, 2.2 b/2; [0, 1000000, 1000000]"),
        (
            "a/3 b/2",
            "2:50 3:50",
            "1.1 a/1 gone, 1.2 b/1 gone, 2.1 a/2 gone, 2.2 b/2, 3.1 a/3; [0, 500000, 1000000]",
        ),
        (
            "a/4 b/3",
            "3:50 4:50",
            "1.1 a/4, 2.1 a/2 gone, 2.2 b/2 gone, 3.1 a/3 gone, 3.2 b/3; [500000, 500000, 1000000]",
        ),
        ("", "", "1.1 a/4 gone, 2.1 a/2 gone, 2.2 b/2 gone, 3.1 a/3 gone, 3.2 b/3 gone; [0, 0, 0]"),
    ] {
        assert_eq!(told(&mut layout, members, shares), expected, "{members}");
    }
}

#[test]
fn tracks_and_slots_grow_when_all_are_taken_and_only_then() {
    let mut layout = Layout::default();
    let expected = "1.1 a/1, 2.1 b/2, 3.1 c/3, 4.1 d/4; [250000, 500000, 750000, 1000000]";
    assert_eq!(told(&mut layout, "a/1 b/2 c/3 d/4", "1:25 2:25 3:25 4:25"), expected);
    let slots = |layout: &Layout| layout.pools["production.shop.web"].tracks[0].slots.len();
    assert_eq!(slots(&layout), 8);
    told(&mut layout, "a/1 b/1 c/1 d/1 e/1 f/1 g/1 h/1", "1:100");
    assert_eq!(slots(&layout), 8);
    told(&mut layout, "a/1 b/1 c/1 d/1 e/1 f/1 g/1 h/1 i/1", "1:100");
    assert_eq!(slots(&layout), 16);
}

#[test]
fn the_most_exact_host_comes_first_and_then_the_longest_path() {
    let mut pool = pool("a/1", "1:100");
    let entrances =
        ["*/", "*.example.com/", "*/api", "shop.example.com/", "shop.example.com/api", "*.a.example.com/"];
    pool.entrances = entrances.map(|entrance| entrance.parse().unwrap()).into();
    let mut layout = Layout::default();
    layout.place(&[pool]).unwrap();
    let order: Vec<String> = layout.entrances().iter().map(|(entrance, _)| entrance.to_string()).collect();
    let expected =
        ["shop.example.com/api", "shop.example.com/", "*.a.example.com/", "*.example.com/", "*/api", "*/"];
    assert_eq!(order, expected);
}

#[test]
fn weights_fit_into_what_haproxy_knows() {
    let mut pool = pool("a/1 b/1 c/1", "1:100");
    for (member, weight) in pool.members.iter_mut().zip([1000, 500, 1]) {
        member.weight = weight;
    }
    let mut layout = Layout::default();
    layout.place(&[pool.clone()]).unwrap();
    let places = layout.pools["production.shop.web"].places();
    assert_eq!(places.map(|(_, _, slot)| slot.weight).collect::<Vec<_>>(), [256, 128, 1]);
    pool.members[0].address = "web-1:80 disabled".to_owned();
    assert_eq!(layout.place(&[pool]).unwrap_err(), "`web-1:80 disabled` is no address");
}

/// Tells whether each track that gets requests by these shares has somebody who takes them by those places.
fn everybody_is_found(shares: &Layout, places: &Layout) -> bool {
    shares.pools.iter().all(|(name, tracks)| {
        let places = &places.pools[name].tracks;
        tracks
            .tracks
            .iter()
            .zip(places)
            .filter(|(track, _)| track.share > 0)
            .all(|(_, places)| places.slots.iter().flatten().any(|slot| slot.state == State::Serving))
    })
}

#[test]
fn whoever_loads_the_files_while_they_are_written_finds_somebody_for_every_share() {
    let mut layout = Layout::default();
    layout.place(&[pool("a/1 b/1", "1:100")]).unwrap();
    let mut were_bridges_needed = false;
    for (members, shares) in [
        ("a/2 b/1 a/1 drains", "1:50 2:50"),
        ("a/2 b/2 b/1 drains", "2:100"),
        ("a/3 b/3 a/2 drains b/2 drains", "3:100"),
        ("a/2 b/2 a/3 drains b/3 drains", "2:100"),
        ("a/4 b/4", "4:100"),
    ] {
        let before = layout.clone();
        layout.place(&[pool(members, shares)]).unwrap();
        let bridge = layout.bridge(&before);
        assert!(everybody_is_found(&before, &bridge), "the bridge by the old shares: {members}");
        assert!(everybody_is_found(&layout, &bridge), "the bridge by the new shares: {members}");
        assert!(everybody_is_found(&layout, &layout), "in the end: {members}");
        were_bridges_needed |= !everybody_is_found(&before, &layout);
        were_bridges_needed |= !everybody_is_found(&layout, &before);
    }
    assert!(were_bridges_needed);
}
