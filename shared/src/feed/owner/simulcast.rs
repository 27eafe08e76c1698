//! The owner of a picture in several encodings: their clocks are joined before they leave, and their cuts are common.

use std::time::{Duration, Instant};

use super::layers::{Layers, Room, Verdict};
use super::pairing::{Held, Pairing};
use super::stream::{Placed, StreamClock};
use super::{FeedOwner, RtpInput};
use crate::feed::info::CadenceRule;
use crate::id::StreamKey;
use crate::media::{Codec, TrackKind};
use crate::packet::MediaPacket;
use crate::time::{ClockRate, MediaTime, ProgramTime};

impl FeedOwner {
    /// The next packet that was held back, stamped: those of a layer wait until it is known how its clock stands to the
    /// others'. To be asked for after every packet and every sender report, until there is none.
    pub fn poll_released(&mut self) -> Option<MediaPacket> {
        self.released.pop_front()
    }

    /// How far apart the keyframes of the layers are, where a segment has begun that not all running layers had one for.
    /// Once for each.
    pub fn take_misaligned(&mut self) -> Option<Duration> {
        self.misaligned.take()
    }

    /// The encodings of the picture of the publisher that comes.
    pub(super) fn begin_layers(&mut self) {
        let picture = self.info.track(TrackKind::Video);
        let renditions: Vec<_> =
            picture.into_iter().flat_map(|track| &track.renditions).map(|rendition| rendition.id).collect();
        self.layers = Layers::new(renditions.into_iter());
        self.info.layers.clear();
        self.released.clear();
    }

    /// Whether the stream is one of several encodings of the picture.
    pub(super) fn is_layer(&self, key: StreamKey) -> bool {
        self.layers.any() && self.info.track(TrackKind::Video).is_some_and(|track| track.id == key.track)
    }

    /// Whether the stream is a layer that has no clock while another one has.
    pub(super) fn is_unpaired(&self, key: StreamKey) -> bool {
        let begun = self.streams.get(&key).is_some_and(StreamClock::has_begun);
        !begun && self.is_layer(key) && self.layers.reference(key.rendition).is_some()
    }

    /// Holds a packet of a layer without a clock, and those before it, until there is one.
    pub(super) fn hold(&mut self, now: Instant, utc: ProgramTime, key: StreamKey, input: RtpInput) {
        let Some(rate) = self.streams.get(&key).map(StreamClock::rate) else { return };
        let Some(layer) = self.layers.get_mut(key.rendition) else { return };
        layer.pairing.get_or_insert_with(|| Pairing::new(rate, now)).hold(Held { now, utc, input });
        self.pair(now, key);
    }

    /// A sender report of a layer without a clock may be what gives it one.
    pub(super) fn handle_report_of_unpaired(
        &mut self,
        now: Instant,
        key: StreamKey,
        ntp: u64,
        timestamp: u32,
    ) {
        let pairing = self.layers.get_mut(key.rendition).and_then(|layer| layer.pairing.as_mut());
        if let Some(pairing) = pairing {
            pairing.handle_report(ntp, timestamp);
            self.pair(now, key);
        }
    }

    /// A sender report of a stream whose clock is known; others are found by it.
    pub(super) fn note_report(&mut self, key: StreamKey, ntp: u64, at: MediaTime) {
        if self.is_layer(key)
            && let Some(layer) = self.layers.get_mut(key.rendition)
        {
            layer.reference.handle_report(ntp, at);
        }
    }

    /// Gives a layer its clock if that can be told now, and stamps what was held.
    fn pair(&mut self, now: Instant, key: StreamKey) {
        let Some(begin) = self.epoch_start.map(|(_, nanos)| nanos) else { return };
        let pairing = self.layers.get_mut(key.rendition).and_then(|layer| layer.pairing.take());
        let (Some(pairing), Some(reference)) = (pairing, self.layers.reference(key.rendition)) else {
            return;
        };
        let Some(offset) = pairing.offset(now, reference) else {
            if let Some(layer) = self.layers.get_mut(key.rendition) {
                layer.pairing = Some(pairing);
            }
            return;
        };
        if let Some(layer) = self.layers.get_mut(key.rendition) {
            layer.reference = pairing.reference(offset);
        }
        let Some(clock) = self.streams.get_mut(&key) else { return };
        // What is older than the epoch would stand in the one before.
        let begin = crate::time::scale(begin, i64::from(clock.rate().hz()), 1_000_000_000);
        let mut held = pairing.into_held(offset);
        held.retain(|(time, _)| time.0 >= begin);
        let Some((time, Held { now: at, input, .. })) = held.first() else { return };
        tracing::debug!(stream = %key, waited = ?now.saturating_duration_since(*at), "the clock of a layer is known");
        clock.begin_epoch(*at, input.sequence_number, input.timestamp, *time);
        for (_, Held { now, utc, input }) in held {
            let Some(codec) = self.codec(key) else { return };
            if let Some(packet) = self.stamp(now, utc, key, codec, input) {
                self.released.push_back(packet);
            }
        }
    }

    /// A packet of a layer was placed: it may be the one that decides where a segment begins, in all layers.
    #[expect(clippy::too_many_arguments, reason = "what is known of one packet")]
    pub(super) fn handle_layer(
        &mut self,
        now: Instant,
        utc: ProgramTime,
        key: StreamKey,
        codec: Codec,
        placed: Placed,
        keyframe: bool,
        input: &RtpInput,
    ) {
        let Some(rate) = self.streams.get(&key).map(StreamClock::rate) else { return };
        let (at, id) = (placed.time, key.rendition);
        let (new_frame, new_keyframe) = self.layers.handle_packet(now, id, at, keyframe, input.payload.len());
        let new_parameters = self.layers.get_mut(id).is_some_and(|layer| {
            layer.reference.handle_packet(now, input.timestamp, at);
            keyframe && layer.handle_parameters(codec, &input.payload)
        });
        if self.driver().is_none_or(|track| track.id != key.track) {
            return;
        }
        if new_parameters {
            self.cuts.handle_new_parameters();
        }
        if new_frame {
            self.relation.handle_frame(at, rate, utc);
            self.cuts.handle_picture();
        }
        if self.layers.lead(now) == Some(id) {
            self.handle_lead(now, placed, new_keyframe);
        }
        let cadence = &self.info.cadence;
        if new_keyframe && self.cuts.is_due(at, true, rate, cadence) {
            self.layers.propose(id, at);
        }
        self.decide(now, rate);
        let overdue = new_frame
            && !self.layers.has_candidate()
            && self.cuts.is_due(at, false, rate, &self.info.cadence);
        if overdue {
            self.cut_layers(at, rate);
            self.count_vain(false, true);
        }
        if new_frame && !self.layers.has_candidate() {
            self.ask_for_cut(at, rate);
        }
        if let Some(infos) = self.layers.take_infos(now) {
            self.info.layers = infos;
            self.changed = true;
        }
    }

    /// What the layer shows that stands for all: the cadence, and whether requests are answered.
    fn handle_lead(&mut self, now: Instant, placed: Placed, new_keyframe: bool) {
        if let Some(ticks) = placed.interval {
            self.cadence.handle_interval(ticks);
        }
        if new_keyframe {
            self.vain = 0;
            let answer = self.driver_requests().is_some_and(|requests| requests.handle_keyframe(now));
            self.cadence.handle_keyframe(now, answer);
        }
        self.handle_timeout(now);
        if new_keyframe {
            self.slow_down();
        }
    }

    fn decide(&mut self, now: Instant, rate: ClockRate) {
        loop {
            let cadence = &self.info.cadence;
            let room = Room {
                start: self.cuts.open_since(),
                longest: rate.ticks(self.cuts.longest(cadence)),
                answers: cadence.rule == CadenceRule::OnRequest,
            };
            match self.layers.decide(now, rate, room) {
                None => return,
                Some(Verdict::Moved) => {
                    if let Some(requests) = self.driver_requests().filter(|_| room.answers) {
                        requests.want();
                    }
                }
                Some(Verdict::Cut { at, common }) => {
                    self.cut_layers(at, rate);
                    if !common {
                        self.misaligned = Some(self.layers.misalignment());
                    }
                    return;
                }
            }
        }
    }

    fn cut_layers(&mut self, at: MediaTime, rate: ClockRate) {
        self.cuts.cut(at);
        self.layers.handle_cut(at, rate);
        if self.relation.handle_cut() {
            self.take_map();
        }
    }
}
