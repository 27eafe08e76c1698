//! A feed as it is packaged: the bus's packets and the feed's info in, snapshots out.
//!
//! An epoch is packaged once its info is known and its first segment has begun; its packets are held until then. It goes on
//! in the playlists that are there, behind a discontinuity. Where those cannot express it (other kinds of tracks, another
//! codec, other numbers in the headers: [`Lineup`]), they are ended and another [`Instance`] begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::feed::info::{FeedInfo, FeedState};
use bicast_shared::id::{Epoch, StreamKey, TrackId};
use bicast_shared::media::TrackKind;
use bicast_shared::packet::MediaPacket;

use crate::core::held::Held;
use crate::core::instance::{Instance, Totals};
use crate::core::lineup::{Lineup, refusal};
use crate::core::maps::Maps;
use crate::core::past::Past;
use crate::core::reorder::Patience;
use crate::core::snapshot::FeedSnapshot;

/// How much of a feed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How much media is listed.
    pub window: Duration,
    /// How much of it may be held in memory: all that is listed where nothing is stored.
    pub held: Duration,
    /// How much later somebody may still ask for what is no longer listed: viewers who stay behind.
    pub late: Duration,
    /// Bytes of media in memory, for all renditions together.
    pub bytes: usize,
    /// Bytes of media in the store, for all renditions together.
    pub stored_bytes: usize,
    /// How long a missing packet is waited for.
    pub patience: Patience,
}

/// Nothing arrived for this long: the publisher is silent.
const SILENT: Duration = Duration::from_secs(1);
/// How often overdue parts are looked for.
const TICK: Duration = Duration::from_millis(50);
/// Instances that are over and wait to be taken. They are taken after every input, which ends one at most.
const MOST_OVER: usize = 4;

/// The packager of one feed.
#[derive(Debug)]
pub struct FeedPackager {
    limits: Limits,
    info: Arc<FeedInfo>,
    /// The newest epoch whose packets are packaged or refused.
    epoch: Option<Epoch>,
    held: Held,
    instance: Option<Instance>,
    /// Instances that are over, until they are taken.
    over: VecDeque<FeedSnapshot>,
    /// What instances that are over had written.
    before: Totals,
    refused: Option<String>,
    last_packet: Option<Instant>,
    last_tick: Option<Instant>,
    /// When a packet of the track that drives the cuts last came.
    last_driver: Option<Instant>,
    /// Sound goes on without its picture: no part can be placed until the picture returns.
    stuck: bool,
    ended: bool,
    away: bool,
    changed: bool,
    maps: Maps,
}

impl FeedPackager {
    /// A feed from which nothing has come yet.
    #[must_use]
    pub fn new(limits: Limits, info: Arc<FeedInfo>) -> Self {
        Self {
            limits,
            info,
            epoch: None,
            held: Held::default(),
            instance: None,
            over: VecDeque::new(),
            before: Totals::default(),
            refused: None,
            last_packet: None,
            last_tick: None,
            ended: false,
            away: false,
            last_driver: None,
            stuck: false,
            changed: false,
            maps: Maps::default(),
        }
    }

    /// A feed whose playlists go on, as a process before left them. `info` is the feed's, whose publisher is away.
    #[must_use]
    pub fn restore(limits: Limits, info: Arc<FeedInfo>, past: Past) -> Self {
        let instance = Instance::restore(past, &info, limits);
        let epoch = Some(info.epoch);
        let mut feed =
            Self { instance: Some(instance), epoch, away: true, changed: true, ..Self::new(limits, info) };
        feed.handle_map(&feed.info.clone());
        feed
    }

    /// So much is kept from now on. What was held in other instances stays as it is.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        if let Some(instance) = &mut self.instance {
            instance.set_limits(&limits);
        }
    }

    /// The process stops, and another one may go on with the playlists: everything that is here is written, and nothing ends.
    pub fn hold(&mut self) {
        self.finish();
        self.note_away(true);
    }

    /// The store has the listed segments of this rendition of the [current](FeedSnapshot::instance) instance up to `number`.
    pub fn handle_stored(&mut self, rendition: &str, number: u64) {
        if let Some(instance) = &mut self.instance {
            // Nothing that is listed changes: what is let go leaves with the next snapshot.
            instance.handle_stored(rendition, number);
        }
    }

    /// The store is full, and this rendition has something that it should take: the oldest that it has of it is given up.
    pub fn make_room(&mut self, rendition: &str) {
        if let Some(instance) = &mut self.instance {
            instance.make_room(rendition);
            self.changed = true;
        }
    }

    /// The name of the current instance of its playlists; none before they begin.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_ref().map(Instance::name)
    }

    /// The streams it reads.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamKey> {
        let video = self.info.track(TrackKind::Video).into_iter().flat_map(|track| track.streams());
        let audio = self.info.track(TrackKind::Audio).and_then(|track| track.streams().next());
        video.chain(audio).collect()
    }

    /// Takes the current mapping to UTC, which the packets that follow may refer to.
    pub fn handle_map(&mut self, info: &FeedInfo) {
        if let Some(map) = &info.map {
            self.maps.handle_map(map);
        }
    }

    /// The feed is over, or packaging stops: everything that is here is written.
    pub fn end(&mut self) {
        self.finish();
        self.changed |= !self.ended;
        self.ended = true;
    }

    /// Takes what is known about the feed now.
    pub fn handle_info(&mut self, now: Instant, info: &Arc<FeedInfo>) {
        if Arc::ptr_eq(&self.info, info) && self.epoch.is_some() {
            return;
        }
        self.info = info.clone();
        self.handle_map(info);
        self.take_epoch(now);
        match info.state {
            FeedState::Offline => self.finish(),
            FeedState::Ended => self.end(),
            FeedState::Starting | FeedState::Live => {}
        }
        self.note_away(info.state == FeedState::Offline);
    }

    /// Takes a packet from the bus.
    pub fn handle_packet(&mut self, now: Instant, packet: MediaPacket) {
        self.last_packet = Some(now);
        if packet.stamp.segment.is_some() {
            self.last_driver = Some(now);
            self.note_stuck(false);
        }
        self.note_away(false);
        if self.epoch.is_some_and(|known| packet.stamp.epoch <= known) {
            self.process(packet);
            return;
        }
        if self.held.is_empty() {
            // Whatever becomes of the new epoch, the one before ends here.
            self.finish();
        }
        self.held.push(packet);
        self.take_epoch(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.last_tick = Some(now);
        let alive = self.info.state == FeedState::Live
            && self.last_packet.is_some_and(|last| now.saturating_duration_since(last) < SILENT);
        let Some(instance) = &mut self.instance else { return };
        let target = Duration::from_secs(u64::from(instance.lineup().header.target_duration));
        let stuck = self.last_driver.is_some_and(|last| now.saturating_duration_since(last) > target);
        instance.handle_timeout(now, alive, &self.maps);
        self.note_written();
        self.note_away(!alive && self.last_packet.is_some());
        self.note_stuck(stuck);
    }

    /// When [`Self::handle_timeout`] should next be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.instance.as_ref()?.poll_timeout();
        let tick = if self.away { None } else { self.last_tick.or(self.last_packet).map(|last| last + TICK) };
        [due, tick].into_iter().flatten().min()
    }

    /// Whether [`Self::snapshot`] has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// An instance that is over, as its viewers may go on fetching it. Once.
    pub fn take_over(&mut self) -> Option<FeedSnapshot> {
        self.over.pop_front()
    }

    /// The track that needs a keyframe, if one does. Once.
    pub fn take_keyframe_wanted(&mut self) -> Option<TrackId> {
        self.instance.as_mut()?.take_keyframe_wanted()
    }

    /// What was written since the feed began.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.before + self.instance.as_ref().map(Instance::totals).unwrap_or_default()
    }

    /// The picture that playlists are printed from.
    #[must_use]
    pub fn snapshot(&self) -> FeedSnapshot {
        let playlists = self.instance.as_ref().map(Instance::snapshot).unwrap_or_default();
        let Totals { discontinuities, lost, .. } = self.totals();
        FeedSnapshot {
            ended: self.ended,
            away: self.away || self.stuck,
            refused: self.refused.clone().or(playlists.refused),
            discontinuities,
            lost_access_units: lost,
            ..playlists
        }
    }

    /// The epoch of the newest info is packaged from now on, if that can be.
    fn take_epoch(&mut self, now: Instant) {
        let info = self.info.clone();
        if self.epoch.is_some_and(|known| info.epoch <= known) {
            return;
        }
        let (Some(lineup), Some(first)) = (Lineup::of(&info), self.held.first_segment(info.epoch)) else {
            return;
        };
        if !self.instance.as_ref().is_some_and(|instance| instance.lineup().goes_on_with(&lineup)) {
            self.retire();
            self.refused = refusal(&info, &lineup);
            self.instance = (!lineup.is_empty()).then(|| Instance::new(lineup, &info, first, self.limits));
            self.changed = true;
        }
        self.epoch = Some(info.epoch);
        self.last_tick = Some(now);
        for packet in self.held.take(info.epoch) {
            self.process(packet);
        }
    }

    /// The current instance is over.
    fn retire(&mut self) {
        let Some(mut instance) = self.instance.take() else { return };
        instance.finish(&self.maps);
        self.before = self.before + instance.totals();
        let last = FeedSnapshot { ended: true, ..instance.snapshot() };
        // What could never be played was never asked for.
        if last.playable() {
            self.over.push_back(last);
        }
        if self.over.len() > MOST_OVER {
            self.over.pop_front();
        }
    }

    fn process(&mut self, packet: MediaPacket) {
        if let Some(instance) = &mut self.instance {
            instance.handle_packet(packet, &self.maps);
            self.note_written();
        }
    }

    /// The publisher has left, or the feed is over: everything that is here is written.
    fn finish(&mut self) {
        if let Some(instance) = &mut self.instance {
            instance.finish(&self.maps);
            self.note_written();
        }
    }

    fn note_written(&mut self) {
        self.changed |= self.instance.as_mut().is_some_and(Instance::take_changed);
    }

    fn note_stuck(&mut self, stuck: bool) {
        if self.stuck != stuck {
            self.stuck = stuck;
            self.changed = true;
        }
    }

    fn note_away(&mut self, away: bool) {
        if self.away != away {
            self.away = away;
            self.changed = true;
        }
    }
}
