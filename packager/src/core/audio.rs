//! The audio of a feed: packets in, parts out, on the master clock.
//!
//! Audio follows the video's segments: the first frame at or after a segment's start begins it. It can only be placed up to
//! where the cuts are known, so it runs behind the video, never ahead. Its times follow the master clock by samples
//! that are a few ticks longer or shorter than their packets (timeline.md, invariant 4); what is missing is filled with
//! silence, packet by packet, so that `tfdt` stays contiguous and a player's buffer has no hole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::id::{Epoch, StreamKey};
use bicast_shared::packet::MediaPacket;
use bytes::Bytes;

use crate::core::cadence::Cut;
use crate::core::cmaf::{Sample, SampleKind};
use crate::core::maps::Maps;
use crate::core::past::PastRendition;
use crate::core::plan::{Plans, SegmentPlan};
use crate::core::reorder::{Ordered, Patience, Reorder};
use crate::core::sound::{Sound, SoundFormat, SoundFrame, Unpacker, most_stretch};
use crate::core::window::{Init, WindowLimits};
use crate::core::writer::Writer;

/// No packet for this long: what is due is filled with silence. DTX sends one every 400 ms.
const SILENT: Duration = Duration::from_millis(500);
/// Packets that wait for the video to tell where it cuts: 20 s.
const MOST_QUEUED: usize = 1_024;

/// The audio of a feed.
#[derive(Debug)]
pub struct AudioTrack {
    key: StreamKey,
    format: SoundFormat,
    cut: Cut,
    channels: u8,
    reorder: Reorder,
    ordered: Vec<Ordered>,
    unpacker: Unpacker,
    unpacked: Vec<SoundFrame>,
    queue: VecDeque<AudioFrame>,
    pending: Option<Pending>,
    /// The segment that grows, none before the first and after an end.
    plan: Option<SegmentPlan>,
    newest: Option<u64>,
    heard: Option<Instant>,
    /// How far behind the known cuts its newest frame stood when it came.
    lag: i64,
    init: Option<Arc<Init>>,
    writer: Writer,
    lost: u64,
    /// This track decides the cuts: there is no video.
    drives: bool,
    ended_at: Option<(Epoch, i64)>,
}

/// A frame on the master clock.
#[derive(Debug)]
struct AudioFrame {
    epoch: Epoch,
    at: i64,
    ticks: i64,
    data: Bytes,
}

/// A sample whose duration is not known yet.
#[derive(Debug)]
struct Pending {
    at: i64,
    ticks: i64,
    data: Bytes,
}

impl AudioTrack {
    /// The audio of a feed, whose publisher said so many `channels`. `drives` when there is no video.
    #[must_use]
    pub fn new(
        sound: Sound,
        cut: Cut,
        channels: u8,
        drives: bool,
        patience: Patience,
        limits: WindowLimits,
    ) -> Self {
        let Sound { key, format } = sound;
        let channels = format.channels(channels);
        let init = format.init(channels).map(|data| Arc::new(Init { number: 0, data }));
        Self {
            key,
            format,
            cut,
            channels,
            reorder: Reorder::new(patience),
            ordered: Vec::new(),
            unpacker: Unpacker::new(format),
            unpacked: Vec::new(),
            queue: VecDeque::new(),
            pending: None,
            plan: None,
            newest: None,
            heard: None,
            lag: 0,
            init,
            writer: Writer::new(limits),
            lost: 0,
            drives,
            ended_at: None,
        }
    }

    /// The stream it takes.
    #[must_use]
    pub const fn key(&self) -> StreamKey {
        self.key
    }

    /// How it is coded.
    #[must_use]
    pub const fn format(&self) -> SoundFormat {
        self.format
    }

    /// Channels of sound.
    #[must_use]
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// What it has written.
    #[must_use]
    pub const fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The same, for the store.
    pub const fn writer_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Its playlist goes on.
    pub fn restore(&mut self, past: PastRendition) {
        let last = past.segments.last().map(|last| &last.head);
        if let (Some(init), Some(last)) = (&self.init, last) {
            let other = init.data != last.init.data;
            let number = last.init.number.wrapping_add(u32::from(other));
            self.init = Some(Arc::new(Init { number, data: init.data.clone() }));
        }
        self.newest = last.map(|last| last.number);
        self.writer.restore(past);
    }

    /// Packets left out since the beginning: malformed ones, and those that came when their time was over.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// When a missing packet is given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reorder.poll_timeout()
    }

    /// Takes a packet as it came.
    pub fn handle_packet(&mut self, packet: MediaPacket, plans: &mut Plans, maps: &Maps) {
        self.heard = Some(packet.received);
        let mut ordered = std::mem::take(&mut self.ordered);
        self.reorder.handle_packet(packet, &mut ordered);
        self.handle_ordered(&mut ordered, plans, maps);
        self.ordered = ordered;
    }

    /// Time has passed. `alive` says whether anything of the feed arrives.
    pub fn handle_timeout(&mut self, now: Instant, alive: bool, plans: &mut Plans, maps: &Maps) {
        let mut ordered = std::mem::take(&mut self.ordered);
        self.reorder.handle_timeout(now, &mut ordered);
        self.handle_ordered(&mut ordered, plans, maps);
        self.ordered = ordered;
        self.advance(plans);
        let silent = self.heard.is_none_or(|heard| now >= heard + SILENT);
        if alive && silent && self.queue.is_empty() && !self.drives {
            self.fill_behind(now, plans);
        }
    }

    /// Places the frames whose cuts are known.
    pub fn advance(&mut self, plans: &Plans) {
        while let Some(frame) = self.queue.front() {
            let Some(mark) = plans.watermark(self.writer.rate()) else { return };
            if self.drives || frame.at < mark {
                let Some(frame) = self.queue.pop_front() else { return };
                if !self.place(&frame, plans) {
                    self.queue.push_front(frame);
                    return;
                }
            } else {
                return;
            }
        }
    }

    /// Media of `epoch` ends at `edge` (ticks of this track; none: where it stands): what belongs before is written, and the
    /// segment is closed.
    pub fn finish(&mut self, epoch: Epoch, edge: Option<i64>, plans: &mut Plans, maps: &Maps) {
        if self.plan.as_ref().is_none_or(|plan| plan.epoch > epoch) {
            return;
        }
        let mut ordered = std::mem::take(&mut self.ordered);
        self.reorder.flush(&mut ordered);
        self.handle_ordered(&mut ordered, plans, maps);
        self.ordered = ordered;
        let edge = edge.unwrap_or(i64::MAX);
        while let Some(frame) = self.queue.front().filter(|frame| frame.epoch <= epoch) {
            if frame.at >= edge {
                break;
            }
            if let Some(frame) = self.queue.pop_front() {
                self.place(&frame, plans);
            }
        }
        if edge != i64::MAX {
            self.silence_until(edge, plans);
        }
        self.end_run(plans);
    }

    /// The end of media in an epoch that drove the cuts. Once.
    pub fn take_ended(&mut self) -> Option<(Epoch, i64)> {
        self.ended_at.take()
    }

    fn end_run(&mut self, plans: &mut Plans) {
        if let Some(pending) = self.pending.take() {
            self.write(pending.data, pending.ticks);
        }
        self.writer.end();
        if let Some(plan) = self.plan.take() {
            self.ended_at = Some((plan.epoch, self.writer.edge()));
        }
        if self.drives {
            plans.advance(self.writer.edge());
        }
    }

    fn handle_ordered(&mut self, ordered: &mut Vec<Ordered>, plans: &mut Plans, maps: &Maps) {
        for event in ordered.drain(..) {
            // A lost packet leaves a hole in time, which silence fills when the next one is placed.
            let Ordered::Packet(packet) = event else {
                self.lost += self.unpacker.handle_lost();
                continue;
            };
            if packet.payload.is_empty() {
                continue;
            }
            let mut frames = std::mem::take(&mut self.unpacked);
            let at = packet.stamp.media_time.0;
            self.lost += self.unpacker.handle(at, packet.payload.clone(), &mut frames);
            if self.drives && !frames.is_empty() {
                self.follow_stamps(&packet, plans, maps);
            }
            let rate = self.writer.rate();
            let slewed = maps
                .version(packet.stamp.map_version)
                .map_or(0, |map| map.track(packet.key.track, rate).slewed_nanos);
            let slewed = bicast_shared::time::scale(slewed, i64::from(rate.hz()), 1_000_000_000);
            for SoundFrame { at, ticks, data } in frames.drain(..) {
                let at = at + slewed;
                if let Some(mark) = plans.watermark(rate) {
                    self.lag = (mark - at).max(0);
                }
                self.queue.push_back(AudioFrame { epoch: packet.stamp.epoch, at, ticks, data });
                if self.queue.len() > MOST_QUEUED {
                    self.queue.pop_front();
                    self.lost += 1;
                }
            }
            self.unpacked = frames;
        }
        self.advance(plans);
    }

    /// Where there is no video, the audio's own stamps say where segments begin.
    fn follow_stamps(&mut self, packet: &MediaPacket, plans: &mut Plans, maps: &Maps) {
        let stamp = packet.stamp;
        let Some(number) = stamp.segment.map(|number| number.0) else { return };
        let newest = plans.newest().map(|plan| (plan.number, plan.epoch));
        if newest.is_some_and(|(newest, _)| number <= newest) {
            return;
        }
        let Some(map) = maps.version(stamp.map_version) else { return };
        let skipped = newest.is_some_and(|(newest, _)| number > newest + 1);
        let hole = self.queue.back().map(|frame| frame.at).or(self.pending.as_ref().map(|p| p.at));
        let silent = hole.is_some_and(|at| stamp.media_time.0 - at > self.cut.longest_segment);
        let restart = newest.is_some_and(|(_, epoch)| epoch != stamp.epoch) || skipped || silent;
        if restart && let Some((_, epoch)) = newest {
            self.finish(epoch, None, plans, maps);
        }
        let start = stamp.segment_start;
        plans.push(SegmentPlan { number, epoch: stamp.epoch, start, map, discontinuity: restart, restart });
    }

    /// Places a frame. False when it has to wait.
    fn place(&mut self, frame: &AudioFrame, plans: &Plans) -> bool {
        let rate = self.writer.rate();
        let Some(plan) = &self.plan else {
            let Some(next) = plans.of_epoch(frame.epoch, self.newest) else { return false };
            let start = plans.start(next, rate);
            if frame.epoch < next.epoch || frame.at < start {
                return true;
            }
            // The segments of all renditions have the same numbers: sound that comes late begins with silence.
            if frame.at - start < self.format.silence().1 {
                self.begin(next.clone(), frame.at);
                let at = self.writer.edge();
                self.pending = Some(Pending { at, ticks: frame.ticks, data: frame.data.clone() });
            } else {
                self.begin_silent(next.clone(), start);
                self.silence_until(frame.at, plans);
                self.emit(frame.at, frame.ticks, frame.data.clone(), plans);
            }
            return true;
        };
        if frame.epoch > plan.epoch {
            // The old publisher's media is not over yet, or the new one's first segment is not known.
            return false;
        }
        let Some(pending) = &self.pending else { return true };
        let next = pending.at + pending.ticks;
        if frame.at - next <= -pending.ticks.min(frame.ticks) {
            // Its time has been filled with silence.
            self.lost += 1;
            return true;
        }
        if frame.at - next >= frame.ticks {
            self.silence_until(frame.at, plans);
        }
        self.emit(frame.at, frame.ticks, frame.data.clone(), plans);
        true
    }

    /// Silence until less than a packet of it is missing before `to`.
    fn silence_until(&mut self, to: i64, plans: &Plans) {
        let (silence, ticks) = self.format.silence();
        while let Some(pending) = &self.pending {
            let next = pending.at + pending.ticks;
            if to - next < ticks {
                return;
            }
            self.emit(next, ticks, Bytes::from_static(silence), plans);
        }
    }

    /// The next sample, wanted at `at`: ends the one before within the few ticks that it may be stretched by.
    fn emit(&mut self, at: i64, ticks: i64, data: Bytes, plans: &Plans) {
        if let Some(pending) = self.pending.take() {
            let most = most_stretch(pending.ticks);
            let stretch = (at - pending.at - pending.ticks).clamp(-most, most);
            self.write(pending.data, pending.ticks + stretch);
        }
        let at = self.writer.edge();
        let rate = self.writer.rate();
        let next = self.plan.as_ref().and_then(|plan| plans.after(Some(plan.number)));
        if let Some(next) = next.filter(|next| !next.restart && at >= plans.start(next, rate)) {
            self.begin(next.clone(), at);
        } else if self.writer.part_ticks() + ticks > self.cut.part {
            self.writer.end_part();
        }
        self.pending = Some(Pending { at, ticks, data });
    }

    fn begin(&mut self, plan: SegmentPlan, at: i64) {
        let Some(init) = self.init.clone() else { return };
        let at = at.max(self.writer.edge());
        self.writer.begin(&plan, at, at, init);
        self.newest = Some(plan.number);
        self.plan = Some(plan);
    }

    fn begin_silent(&mut self, plan: SegmentPlan, at: i64) {
        self.begin(plan, at);
        let (silence, ticks) = self.format.silence();
        self.pending = Some(Pending { at: self.writer.edge(), ticks, data: Bytes::from_static(silence) });
    }

    fn write(&mut self, data: Bytes, ticks: i64) {
        let duration = u32::try_from(ticks).unwrap_or(1);
        if self.writer.part_ticks() + ticks > self.cut.part {
            self.writer.end_part();
        }
        self.writer.push(Sample { duration, composition: 0, kind: SampleKind::Sync, data });
    }

    /// No packet has come for a while but the video goes on: a muted or dead microphone must not stop the picture.
    fn fill_behind(&mut self, now: Instant, plans: &Plans) {
        let rate = self.writer.rate();
        let Some(mark) = plans.watermark(rate) else { return };
        let behind = self.lag.max(rate.ticks(SILENT));
        let to = mark - behind;
        if self.plan.is_none() {
            // It never came, or the publisher has returned without it.
            let Some(next) = plans.after(self.newest) else { return };
            let start = plans.start(next, rate);
            if to < start {
                return;
            }
            self.begin_silent(next.clone(), start);
            tracing::debug!(stream = %self.key, ?now, "no audio: silence is written");
        }
        self.silence_until(to, plans);
    }
}
