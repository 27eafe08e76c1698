//! A picture in several encodings: every layer gets the same segments, with the same numbers and discontinuities.
//!
//! The owner's stamps say where segments begin; no layer decides. One that has nothing for a segment gets it all the same: what
//! is missing for a moment is filled as in any picture (`pictures`), and a layer that has sent nothing for a second is a gap
//! until its next keyframe, so that players go on in another one.

use std::time::Instant;

use bicast_shared::id::{Epoch, StreamKey};
use bicast_shared::media::{Codec, decoder_configuration};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::{ClockRate, MediaTime};
use bytes::Bytes;

use crate::core::gate::{Cut, Gate};
use crate::core::maps::Maps;
use crate::core::plan::{Plans, SegmentPlan};
use crate::core::video::{FILL_DELAY, VideoTrack};

/// The layers of a feed's picture.
#[derive(Debug)]
pub struct Layers {
    rate: ClockRate,
    codec: Codec,
    /// The longest that a segment may be, in ticks.
    longest: i64,
    gate: Gate,
    layers: Vec<Layer>,
    /// Where the current epoch began.
    since: MediaTime,
    /// The newest time that is known, and when it came.
    told: Option<(MediaTime, Instant)>,
    ended: Option<(Epoch, i64)>,
}

#[derive(Debug)]
struct Layer {
    track: VideoTrack,
    /// How its newest keyframe is coded.
    configuration: Option<Bytes>,
    /// What of the common plans it has begun.
    plans: Plans,
}

impl Layers {
    /// Layers on the clock `rate` whose segments last at most `longest` ticks.
    #[must_use]
    pub fn new(tracks: Vec<VideoTrack>, rate: ClockRate, codec: Codec, longest: i64) -> Self {
        let layer = |track| Layer { track, configuration: None, plans: Plans::new(rate) };
        let layers = tracks.into_iter().map(layer).collect();
        Self {
            rate,
            codec,
            longest,
            gate: Gate::default(),
            layers,
            since: MediaTime(0),
            told: None,
            ended: None,
        }
    }

    /// Whether a stream is one of them.
    #[must_use]
    pub fn has(&self, key: StreamKey) -> bool {
        self.layers.iter().any(|layer| layer.track.key() == key)
    }

    /// The layers, in their order.
    pub fn tracks(&self) -> impl Iterator<Item = &VideoTrack> {
        self.layers.iter().map(|layer| &layer.track)
    }

    /// The same, to change them.
    pub fn tracks_mut(&mut self) -> impl Iterator<Item = &mut VideoTrack> {
        self.layers.iter_mut().map(|layer| &mut layer.track)
    }

    /// Takes a packet of a layer as it came. `plans` are those that the sound follows.
    pub fn handle_packet(&mut self, packet: MediaPacket, plans: &mut Plans, maps: &Maps) {
        let (stamp, received) = (packet.stamp, packet.received);
        let cut = self.gate.push(packet);
        let known = stamp.segment.map(|_| (stamp.epoch, stamp.media_time, received));
        self.follow(cut, known, plans, maps);
    }

    /// Takes what a packet of sound tells that stands at `at` on the picture's clock, while no picture comes.
    pub fn handle_sound(&mut self, packet: &MediaPacket, at: MediaTime, plans: &mut Plans, maps: &Maps) {
        let cut = self.gate.tell(packet);
        self.follow(cut, Some((packet.stamp.epoch, at, packet.received)), plans, maps);
    }

    /// Time has passed. `alive` says whether anything of the feed arrives.
    pub fn handle_timeout(&mut self, now: Instant, alive: bool, maps: &Maps) {
        for Layer { track, plans, .. } in &mut self.layers {
            track.handle_timeout(now, false, plans, maps);
        }
        if let Some((at, received)) = self.told.filter(|_| alive) {
            let since = now.saturating_duration_since(received);
            self.fill_behind(at.0 + self.rate.ticks(since), maps);
        }
    }

    /// When [`Self::handle_timeout`] should be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.tracks().filter_map(VideoTrack::poll_timeout).min()
    }

    /// Nothing more comes for now: what is here is written, and the segments ended.
    pub fn finish(&mut self, plans: &mut Plans, maps: &Maps) {
        self.hand_on(true, maps);
        self.end(maps);
        if let Some((_, edge)) = self.ended {
            plans.advance(edge);
        }
        self.told = None;
    }

    /// Where and in which epoch media was ended, if it was. Once.
    pub fn take_ended(&mut self) -> Option<(Epoch, i64)> {
        self.ended.take()
    }

    /// Whether a keyframe is needed. True once.
    pub fn take_keyframe_wanted(&mut self) -> bool {
        self.layers.iter_mut().filter_map(|layer| layer.track.take_keyframe_wanted().then_some(())).count()
            > 0
    }

    fn follow(
        &mut self,
        cut: Option<Cut>,
        known: Option<(Epoch, MediaTime, Instant)>,
        plans: &mut Plans,
        maps: &Maps,
    ) {
        if let Some(cut) = cut {
            self.begin(cut, plans, maps);
        }
        let Some((epoch, at, received)) = known else { return };
        self.gate.advance(epoch, at);
        self.hand_on(false, maps);
        plans.advance(at.0);
        if self.told.is_none_or(|(newest, _)| at > newest) {
            self.told = Some((at, received));
        }
    }

    /// The packets whose segment is known go to their tracks.
    fn hand_on(&mut self, all: bool, maps: &Maps) {
        for packet in self.gate.release(all) {
            if let Some(layer) = self.layers.iter_mut().find(|layer| layer.track.key() == packet.key) {
                if let Some(now) = configuration(self.codec, &packet) {
                    layer.configuration = Some(now);
                }
                layer.track.handle_packet(packet, &mut layer.plans, maps);
            }
        }
    }

    /// A segment begins, in all layers.
    fn begin(&mut self, cut: Cut, plans: &mut Plans, maps: &Maps) {
        let Some(map) = maps.version(cut.map_version) else { return };
        let newest = plans.newest().map(|plan| (plan.number, plan.epoch, plan.start));
        let number = cut.number.0;
        let restart = newest.is_some_and(|(newest, epoch, start)| {
            epoch != cut.epoch || number > newest + 1 || cut.start - start > self.longest
        });
        if restart {
            self.end(maps);
        }
        if restart || newest.is_none() {
            self.since = cut.start;
        }
        let discontinuity = restart || self.changes(cut);
        let plan = SegmentPlan { number, epoch: cut.epoch, start: cut.start, map, discontinuity, restart };
        for layer in &mut self.layers {
            layer.track.announce(plan.clone());
        }
        plans.push(plan);
    }

    /// Whether some layer needs another init segment from this cut on. The first packets of all its keyframes are here.
    fn changes(&self, cut: Cut) -> bool {
        self.layers.iter().any(|Layer { track, configuration: before, .. }| {
            let mut held = self.gate.held().filter(|packet| {
                let stamp = packet.stamp;
                packet.key == track.key() && stamp.epoch == cut.epoch && stamp.media_time >= cut.start
            });
            let other = |now: &Bytes| before.as_ref().is_some_and(|before| before != now);
            track.lacks_init()
                || held.any(|packet| configuration(self.codec, packet).is_some_and(|now| other(&now)))
        })
    }

    /// What is behind `at` for too long is filled: a moment for a layer that runs, at once for one that does not.
    fn fill_behind(&mut self, at: i64, maps: &Maps) {
        let second = i64::from(self.rate.hz());
        for Layer { track, plans, .. } in &mut self.layers {
            let newest = track.newest().unwrap_or(self.since.0).max(self.since.0);
            let absent = at - newest > second;
            if absent {
                track.lose();
            }
            let delay = if absent { track.frame_ticks() * 2 } else { self.rate.ticks(FILL_DELAY) };
            track.catch_up(at - delay, plans, maps);
        }
    }

    fn end(&mut self, maps: &Maps) {
        for Layer { track, plans, .. } in &mut self.layers {
            track.flush(plans, maps);
        }
        let reached = self.tracks().filter_map(VideoTrack::reached).max();
        for Layer { track, plans, .. } in &mut self.layers {
            if let Some(reached) = reached {
                track.end_at(reached, plans, maps);
            }
            track.finish(plans, maps);
            // The sound goes as far as the longest of them.
            self.ended = self.ended.max(track.take_ended());
        }
    }
}

/// What a keyframe's packet says to a decoder, if it does.
fn configuration(codec: Codec, packet: &MediaPacket) -> Option<Bytes> {
    let payload = &packet.payload;
    let found = decoder_configuration(codec, payload).filter(|_| packet.stamp.keyframe)?;
    Some(payload.slice_ref(found))
}
