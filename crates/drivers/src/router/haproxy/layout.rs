//! Which release stands in which track of a pool, and which endpoint in which slot.
//!
//! A pool has a few **tracks**, one for each release that takes requests at the same time; a track is a backend of HAProxy
//! and has **slots**, one for each host, which are its servers. HAProxy is told of a new endpoint by filling a slot, so
//! it needs new tracks, slots or pools (its *structure*) only rarely.
//!
//! Invariants: what stands somewhere stays there as long as it is told; what has left keeps its place until another
//! needs it, so that requests still in flight are known by name; nothing shrinks while HAProxy runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use footplate_core::name::{HostName, ReleaseId};
use footplate_core::release::{Entrance, Requests, Sticky};
use footplate_core::traffic::{Member, Pool};
use serde::{Deserialize, Serialize};

/// How many tracks a new pool gets: the old release, the new one, and one that still finishes what it began.
const TRACKS_MIN: usize = 3;
/// How many slots a track has at least.
const SLOTS_MIN: usize = 4;
/// The largest weight that HAProxy knows.
const WEIGHT_MAX: u32 = 256;

/// Every pool with its tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// By the name of the process group, which HAProxy's backends carry too.
    pub(super) pools: BTreeMap<String, Tracks>,
}

/// The tracks of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tracks {
    /// Whether it was told of last.
    pub(super) is_told: bool,
    /// The requests that belong to it.
    pub(super) entrances: BTreeSet<Entrance>,
    /// By what a client stays with its release.
    pub(super) sticky: Option<Sticky>,
    /// What a request may take.
    #[serde(default)]
    pub(super) requests: Requests,
    /// What goes into such a client's draw.
    pub(super) salt: String,
    /// In the order of their numbers, from 1 on.
    pub(super) tracks: Vec<Track>,
}

/// One release's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Track {
    /// Who stands here, or stood here last.
    pub(super) release: Option<ReleaseId>,
    /// When it was last given to a release: the higher, the later.
    given: u64,
    /// Its part of the requests, in millionths.
    pub(super) share: u32,
    /// In the order of their numbers, from 1 on.
    pub(super) slots: Vec<Option<Slot>>,
}

/// One endpoint's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    /// On which host.
    pub(super) host: HostName,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its part of its track's requests, at most 256.
    pub(super) weight: u32,
    /// What it may do.
    pub(super) state: State,
}

/// What an endpoint may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It takes requests.
    Serving,
    /// It takes no new one.
    Draining,
    /// It is told of no more.
    Gone,
}

/// The number of a track and of a slot in it, both from 1 on.
pub(super) type Place = (usize, usize);

impl Layout {
    /// Gives every endpoint of these pools a place. A pool that never had one waits for its first: it would only be one more
    /// load. One that has none for a moment keeps its requests.
    ///
    /// # Errors
    /// An endpoint that takes requests has no address of a network; the layout is not to be used then.
    pub(super) fn place(&mut self, pools: &[Pool]) -> Result<(), String> {
        for tracks in self.pools.values_mut() {
            tracks.forget();
        }
        for pool in pools {
            if pool.members.is_empty() && !self.pools.contains_key(&pool.target.to_string()) {
                continue;
            }
            let tracks = self.pools.entry(pool.target.to_string()).or_insert_with(|| Tracks::new(pool));
            tracks.reach(pool)?;
            tracks.place(pool)?;
        }
        Ok(())
    }

    /// Lists whose requests are whose, the most exact host first and then the longest path.
    pub(super) fn entrances(&self) -> Vec<(&Entrance, &str)> {
        let all = self.pools.iter();
        let mut all: Vec<_> = all
            .flat_map(|(name, tracks)| tracks.entrances.iter().map(move |entrance| (entrance, name.as_str())))
            .collect();
        all.sort_by_key(|(entrance, _)| {
            let is_pattern = entrance.host().starts_with('*');
            (is_pattern, std::cmp::Reverse((entrance.host().len(), entrance.path().len())))
        });
        all
    }

    /// Returns how many tracks the pool with the most has.
    pub(super) fn tracks_max(&self) -> usize {
        self.pools.values().map(|tracks| tracks.tracks.len()).max().unwrap_or(TRACKS_MIN)
    }

    /// Takes out the pools that are told of no more. For a moment when HAProxy's structure changes anyway.
    pub(super) fn prune(&mut self) {
        self.pools.retain(|_, tracks| tracks.is_told);
    }

    /// Returns these places with everybody still let in who was before: by them both the old shares and these find somebody.
    pub(super) fn bridge(&self, before: &Self) -> Self {
        let mut bridge = self.clone();
        for (name, tracks) in &mut bridge.pools {
            let old = before.pools.get(name).map(|tracks| tracks.tracks.as_slice()).unwrap_or_default();
            for (track, stood) in tracks.tracks.iter_mut().zip(old) {
                if track.release == stood.release {
                    track.readmit(stood);
                }
            }
        }
        bridge
    }

    /// Returns the same tracks and slots with nobody in them.
    pub(super) fn emptied(&self) -> Self {
        let mut empty = self.clone();
        for tracks in empty.pools.values_mut() {
            tracks.salt.clear();
            for track in &mut tracks.tracks {
                *track = Track { slots: vec![None; track.slots.len()], ..Track::default() };
            }
        }
        empty
    }
}

impl Track {
    fn readmit(&mut self, before: &Self) {
        for (slot, stood) in self.slots.iter_mut().zip(&before.slots) {
            if let (Some(slot), Some(stood)) = (slot.as_mut(), stood)
                && stood.state == State::Serving
                && (&slot.host, slot.address) == (&stood.host, stood.address)
            {
                slot.state = State::Serving;
            }
        }
    }
}

impl Tracks {
    fn new(pool: &Pool) -> Self {
        let slots = (2 * pool.members.len()).max(SLOTS_MIN).next_power_of_two();
        let track = Track { slots: vec![None; slots], ..Track::default() };
        let (entrances, sticky, requests, salt) = Default::default();
        Self { is_told: true, entrances, sticky, requests, salt, tracks: vec![track; TRACKS_MIN] }
    }

    fn forget(&mut self) {
        self.is_told = false;
        for track in &mut self.tracks {
            track.share = 0;
            for slot in track.slots.iter_mut().flatten() {
                slot.state = State::Gone;
            }
        }
    }

    /// Notes which requests belong to the pool, by what clients stay, and what a request may take.
    fn reach(&mut self, pool: &Pool) -> Result<(), String> {
        let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        self.sticky = pool.stickiness.as_ref().map(|stickiness| stickiness.by.clone());
        if let Some(Sticky::Cookie { name, .. } | Sticky::Header { name }) = &self.sticky
            && !is_plain(name)
        {
            return Err(format!("its configuration can hold no name like `{}`", name.escape_debug()));
        }
        self.entrances = pool.entrances.clone();
        self.requests = pool.requests.clone();
        self.salt = pool.stickiness.as_ref().map(|stickiness| stickiness.salt.clone()).unwrap_or_default();
        Ok(())
    }

    fn place(&mut self, pool: &Pool) -> Result<(), String> {
        self.is_told = true;
        for member in pool.members.iter().filter(|member| !member.is_draining) {
            let track = self.track_for(&member.release, pool);
            self.tracks[track].fill(slot(member, pool)?);
        }
        for member in pool.members.iter().filter(|member| member.is_draining) {
            let track = self.tracks.iter_mut().find(|track| track.release.as_ref() == Some(&member.release));
            if let Some(slot) = track.and_then(|track| track.slot_of(&member.host)) {
                slot.state = State::Draining;
            }
        }
        let slots = self.tracks.iter().map(|track| track.slots.len()).max().unwrap_or(SLOTS_MIN);
        for track in &mut self.tracks {
            track.slots.resize(slots.next_power_of_two(), None);
            let share = track.release.as_ref().and_then(|release| pool.shares.get(release));
            track.share = share.map_or(0, |share| share.millionths());
        }
        Ok(())
    }

    /// Returns the track of a release: its own, else a free one, else the one that was left longest ago, else a new one.
    fn track_for(&mut self, release: &ReleaseId, pool: &Pool) -> usize {
        let stands = |track: &Track| track.release.as_ref() == Some(release);
        if let Some(own) = self.tracks.iter().position(stands) {
            return own;
        }
        let is_needed = |id: &ReleaseId| pool.members.iter().any(|member| member.release == *id);
        let free = self.tracks.iter().enumerate();
        let free = free.filter(|(_, track)| !track.release.as_ref().is_some_and(is_needed));
        let free =
            free.min_by_key(|(_, track)| (track.release.is_some(), track.given)).map(|(place, _)| place);
        let given = 1 + self.tracks.iter().map(|track| track.given).max().unwrap_or(0);
        let slots = vec![None; self.tracks.first().map_or(SLOTS_MIN, |track| track.slots.len())];
        let track = Track { release: Some(release.clone()), given, share: 0, slots };
        let Some(place) = free else {
            self.tracks.push(track);
            return self.tracks.len() - 1;
        };
        self.tracks[place] = track;
        place
    }

    /// Returns below which of a million draws each track has the request, the first track first.
    pub(super) fn bounds(&self) -> Vec<u32> {
        let mut bound = 0;
        let add = |track: &Track| {
            bound += track.share;
            bound
        };
        self.tracks.iter().map(add).collect()
    }

    /// Lists the places that somebody holds or held.
    pub(super) fn places(&self) -> impl Iterator<Item = (Place, &ReleaseId, &Slot)> {
        self.tracks.iter().zip(1..).flat_map(|(track, number)| {
            let held = move |slot| Some((track.release.as_ref()?, Option::as_ref(slot)?));
            let slots = track.slots.iter().zip(1..);
            slots.filter_map(move |(slot, place)| {
                held(slot).map(|(release, slot)| ((number, place), release, slot))
            })
        })
    }
}

impl Track {
    fn slot_of(&mut self, host: &HostName) -> Option<&mut Slot> {
        self.slots.iter_mut().flatten().find(|slot| slot.host == *host)
    }

    fn fill(&mut self, fresh: Slot) {
        if let Some(own) = self.slot_of(&fresh.host) {
            *own = fresh;
            return;
        }
        let is_left = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.state == State::Gone);
        let place = self.slots.iter().position(Option::is_none);
        match place.or_else(|| self.slots.iter().position(is_left)) {
            Some(place) => self.slots[place] = Some(fresh),
            None => self.slots.push(Some(fresh)),
        }
    }
}

fn slot(member: &Member, pool: &Pool) -> Result<Slot, String> {
    let address = member.address.parse();
    let address = address.map_err(|_| format!("`{}` is no address", member.address.escape_debug()))?;
    let heaviest = pool.members.iter().map(|member| member.weight).max().unwrap_or(0);
    let weight = match heaviest {
        0..=WEIGHT_MAX => member.weight,
        _ if member.weight == 0 => 0,
        _ => {
            let scaled = u64::from(member.weight) * u64::from(WEIGHT_MAX) / u64::from(heaviest);
            u32::try_from(scaled).expect("at most 256").max(1)
        }
    };
    Ok(Slot { host: member.host.clone(), address, weight, state: State::Serving })
}

#[cfg(test)]
mod tests;
