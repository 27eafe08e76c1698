//! The video of a feed: packets in, parts out, each frame at exactly its media time.
//!
//! # Time
//! What is missing is filled (`pictures`) as time goes by, half a second behind it, so that a late frame still finds its
//! place. When nothing at all arrives any more, it stops: the publisher is on its way out, and what it sends when it returns
//! begins behind a discontinuity. hls.js waits at the end of its buffer meanwhile and goes on by itself; a second of gaps
//! would make it seek instead. Where only the picture is silent, the owner goes on to begin segments by the sound's time, and
//! they are filled like any other.
//!
//! # Loss
//! A damaged frame and all that follow it until the next keyframe are left out and counted, and a keyframe is asked for.

mod announced;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::id::{Epoch, StreamKey};
use bicast_shared::media::Codec;
use bicast_shared::packet::{MediaPacket, Stamp};
use bicast_shared::time::ClockRate;

use self::announced::Announced;
use crate::core::cadence::Cut;
use crate::core::cmaf::init;
use crate::core::coding::{self, VideoConfig};
use crate::core::decode_order::DecodeOrder;
use crate::core::depacketizer::{AccessUnit, Depacketizer};
use crate::core::lineup::Picture;
use crate::core::maps::Maps;
use crate::core::past::PastRendition;
use crate::core::pictures::{Pending, Pictures};
use crate::core::plan::{Plans, SegmentPlan};
use crate::core::reorder::{Ordered, Patience, Reorder};
use crate::core::snapshot::RenditionMedia;
use crate::core::stand_in::StandIn;
use crate::core::window::{Init, WindowLimits};
use crate::core::writer::Writer;

/// How far behind the clock missing frames are filled in: a frame or a repair that is later than this is late.
pub(super) const FILL_DELAY: Duration = Duration::from_millis(500);

/// The video of a feed.
#[derive(Debug)]
pub struct VideoTrack {
    key: StreamKey,
    codec: Codec,
    rate: ClockRate,
    cut: Cut,
    reorder: Reorder,
    ordered: Vec<Ordered>,
    depacketizer: Depacketizer,
    order: DecodeOrder,
    frame: Option<Frame>,
    pictures: Pictures,
    /// Frames are being written: a keyframe has begun a segment of this epoch.
    running: bool,
    /// Whose frames are being written.
    epoch: Epoch,
    /// How long before it is shown the first frame of a segment is decoded, in ticks.
    lead: i64,
    /// The next segment does not continue the one before.
    restart: bool,
    /// The next segment has another init segment.
    new_init: bool,
    /// Frames are left out until a keyframe comes.
    broken: Option<Broken>,
    /// Parameter sets that came without a picture.
    loose: AccessUnit,
    init: Option<Arc<Init>>,
    lost: u64,
    refused: Option<String>,
    keyframe_wanted: bool,
    /// Media was ended here, in ticks: what follows begins behind a discontinuity.
    ended_at: Option<(Epoch, i64)>,
    /// It is one of several layers, whose segments are announced; none where its own frames tell them.
    announced: Option<Announced>,
    /// Parameter sets that wait for a segment which may begin with another init segment.
    coming: Option<VideoConfig>,
    /// How it was described when its playlist was left behind that now goes on.
    before: Described,
}

/// How players are told of a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// RFC 6381.
    pub codecs: String,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

/// Why frames are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// Something they depend on is missing. A keyframe was last asked for then (never, for none).
    Damage(Option<Instant>),
    /// They need another init segment, which the next segment brings.
    Init,
}

/// A keyframe is asked for again when none came for this long.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The frame that is arriving.
#[derive(Debug, Clone, Copy)]
struct Frame {
    stamp: Stamp,
    /// The number of the segment that its packets say it belongs to.
    segment: Option<u64>,
    decode: i64,
    received: Instant,
}

impl VideoTrack {
    /// The video of a feed, cut by `cut`. `independent`: every segment can be decoded by itself. None where its codec is not
    /// packaged.
    #[must_use]
    pub fn new(
        Picture { key, rate, codec, .. }: Picture,
        cut: Cut,
        independent: bool,
        patience: Patience,
        limits: WindowLimits,
    ) -> Option<Self> {
        Some(Self {
            key,
            codec,
            rate,
            cut,
            reorder: Reorder::new(patience),
            ordered: Vec::new(),
            depacketizer: Depacketizer::new(codec)?,
            order: DecodeOrder::new(cut.frame),
            frame: None,
            pictures: Pictures::new(cut, Writer::new(limits), StandIn::new(codec), independent),
            running: false,
            epoch: Epoch(0),
            lead: 0,
            restart: false,
            new_init: false,
            broken: None,
            loose: AccessUnit::default(),
            init: None,
            lost: 0,
            refused: None,
            keyframe_wanted: false,
            ended_at: None,
            announced: None,
            coming: None,
            before: Described::default(),
        })
    }

    /// The same as one of several layers, whose segments begin as [announced](Self::announce).
    #[must_use]
    pub fn announced(self) -> Self {
        Self { announced: Some(Announced::default()), ..self }
    }

    /// The stream it takes.
    #[must_use]
    pub const fn key(&self) -> StreamKey {
        self.key
    }

    /// What it has written.
    #[must_use]
    pub const fn writer(&self) -> &Writer {
        &self.pictures.writer
    }

    /// The same, for the store.
    pub const fn writer_mut(&mut self) -> &mut Writer {
        &mut self.pictures.writer
    }

    /// Its playlist goes on.
    pub fn restore(&mut self, past: PastRendition) {
        if let RenditionMedia::Video { width, height, .. } = past.media {
            self.before = Described { codecs: past.codecs.clone(), width, height };
        }
        self.init = past.segments.iter().rev().map(|s| &s.head.init).find(|init| !init.is_missing()).cloned();
        self.pictures.writer.restore(past);
    }

    /// How players are told of it; without codecs before a keyframe has come.
    #[must_use]
    pub fn described(&self) -> Described {
        let now = self.config().map(|config| Described {
            codecs: config.codecs.clone(),
            width: config.width,
            height: config.height,
        });
        now.unwrap_or_else(|| self.before.clone())
    }

    /// What the bitstream says, once a keyframe has come.
    #[must_use]
    pub fn config(&self) -> Option<&VideoConfig> {
        self.pictures.stand_in.config().map(|config| &**config)
    }

    /// Frames left out since the beginning.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost + self.pictures.lost()
    }

    /// Why nothing can be shown, in words.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Whether a keyframe is needed. True once.
    pub fn take_keyframe_wanted(&mut self) -> bool {
        std::mem::take(&mut self.keyframe_wanted)
    }

    /// Where and in which epoch media was ended, if it was: other renditions end there too. Once.
    pub fn take_ended(&mut self) -> Option<(Epoch, i64)> {
        self.ended_at.take()
    }

    /// When a missing packet is given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reorder.poll_timeout()
    }

    /// Takes a packet as it came.
    pub fn handle_packet(&mut self, packet: MediaPacket, plans: &mut Plans, maps: &Maps) {
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
        if let Some(Broken::Damage(asked)) = &mut self.broken
            && self.running
            && asked.is_none_or(|asked| now >= asked + ASK_AGAIN)
        {
            *asked = Some(now);
            self.keyframe_wanted = true;
        }
        if alive && self.running {
            self.fill_behind(now, plans, maps);
        }
    }

    /// The owner begins a segment although no picture comes: `plan` says which. It is filled with what can stand in for one.
    pub fn handle_cut(&mut self, plan: SegmentPlan, plans: &mut Plans, maps: &Maps) {
        let follows = self.announced.is_some();
        if (self.frame.is_none() && !follows) || plans.newest().map(|plan| plan.number) >= Some(plan.number) {
            return;
        }
        if self.depacketizer.has_ended() {
            self.end_frame(plans, maps);
        }
        // That frame may have been the one that the segment begins with.
        let newest = plans.newest().map(|plan| plan.number);
        if newest >= Some(plan.number) {
            return;
        }
        let begun = self.writer().edge() - self.writer().segment_ticks();
        let start = plan.start.0 - self.lead;
        let skipped = newest.is_some_and(|newest| plan.number > newest + 1);
        if skipped || start - begun > self.cut.longest_segment {
            self.end_run(plans);
        }
        if self.running {
            self.pictures.settle(start);
        }
        self.restart |= !self.running;
        let plan = self.with_breaks(plan);
        let Some(init) = self.init_of(&plan) else { return };
        (self.restart, self.new_init) = (false, false);
        (self.running, self.epoch) = (true, plan.epoch);
        let at = start.max(self.writer().edge());
        self.pictures.writer.begin(&plan, at, at + self.lead, init);
        plans.push(plan);
    }

    /// Nothing more comes for now: what is here is written, and the segment ended.
    pub fn finish(&mut self, plans: &mut Plans, maps: &Maps) {
        self.flush(plans, maps);
        self.end_run(plans);
        self.frame = None;
    }

    /// What is here is written.
    pub(in crate::core) fn flush(&mut self, plans: &mut Plans, maps: &Maps) {
        let mut ordered = std::mem::take(&mut self.ordered);
        self.reorder.flush(&mut ordered);
        self.handle_ordered(&mut ordered, plans, maps);
        self.ordered = ordered;
        self.end_frame(plans, maps);
    }

    fn handle_ordered(&mut self, ordered: &mut Vec<Ordered>, plans: &mut Plans, maps: &Maps) {
        for event in ordered.drain(..) {
            match event {
                Ordered::Lost(_) => self.depacketizer.handle_lost(),
                Ordered::Packet(packet) if packet.payload.is_empty() => {}
                Ordered::Packet(packet) => self.handle_in_order(&packet, plans, maps),
            }
        }
    }

    fn handle_in_order(&mut self, packet: &MediaPacket, plans: &mut Plans, maps: &Maps) {
        let stamp = packet.stamp;
        let same = self.frame.is_some_and(|frame| {
            frame.stamp.media_time == stamp.media_time && frame.stamp.epoch == stamp.epoch
        });
        if !same {
            self.end_frame(plans, maps);
            if self.frame.is_some_and(|frame| frame.stamp.epoch != stamp.epoch) {
                self.end_run(plans);
            }
            self.begin_frame(packet, plans, maps);
        }
        if let Some(frame) = &mut self.frame {
            // The first packets of a frame may not show that it is a keyframe and begins a segment.
            let newer = stamp.segment.map(|number| number.0).filter(|number| frame.segment < Some(*number));
            if newer.is_some() {
                frame.segment = newer;
                frame.stamp = stamp;
            }
        }
        self.depacketizer.handle_payload(&packet.payload, packet.marker);
    }

    /// The first packet of the next frame: its timestamp ends the sample before it.
    fn begin_frame(&mut self, packet: &MediaPacket, plans: &mut Plans, maps: &Maps) {
        let stamp = packet.stamp;
        let given = stamp.decode_time.map(|time| time.0);
        let decode = self.order.next(stamp.media_time.0, given);
        let segment = stamp.segment.map(|number| number.0);
        let frame = Frame { stamp, segment, decode, received: packet.received };
        self.frame = Some(frame);
        if !self.running {
            return;
        }
        self.begin_announced(segment, plans, maps);
        let newest = plans.newest().map(|plan| plan.number);
        let begun = self.pictures.writer.edge() - self.pictures.writer.segment_ticks();
        let skipped = segment > newest.map(|number| number + 1);
        if skipped || decode - begun > self.cut.longest_segment {
            // Nothing came for so long that the segment cannot be stretched over it.
            self.end_run(plans);
            self.keyframe_wanted = true;
            return;
        }
        let ticks = self.pictures.writer.part_ticks() + (decode - self.pictures.writer.edge());
        if segment > newest {
            self.begin_segment(frame, plans, maps);
        } else if ticks + self.cut.frame > self.cut.part
            || self.cut.is_full(ticks, self.pictures.writer.part_samples() + 1)
        {
            self.pictures.settle(decode);
        }
        plans.advance(decode.min(stamp.media_time.0));
    }

    fn begin_segment(&mut self, frame: Frame, plans: &mut Plans, maps: &Maps) {
        let (Some(number), Some(map)) = (frame.segment, maps.version(frame.stamp.map_version)) else {
            return;
        };
        let (epoch, start) = (frame.stamp.epoch, frame.stamp.segment_start);
        let plan = SegmentPlan { number, epoch, start, map, discontinuity: false, restart: false };
        let plan = self.with_breaks(plan);
        let Some(init) = self.init_of(&plan) else { return };
        // Its first frames may be missing: it begins where the owner says, not with what is left of it.
        let composition = frame.stamp.media_time - bicast_shared::time::MediaTime(frame.decode);
        let mut decode = (start.0 - composition).min(frame.decode);
        if self.pictures.writer.open().is_some() {
            self.pictures.settle(decode);
        }
        decode = decode.max(self.pictures.writer.edge());
        (self.epoch, self.lead) = (frame.stamp.epoch, composition);
        // Where its first frames came too late the date is that of what is written.
        self.pictures.writer.begin(&plan, decode, decode + composition, init);
        plans.push(plan);
        (self.restart, self.new_init) = (false, false);
    }

    /// The frame's last packet has come (or never will).
    fn end_frame(&mut self, plans: &mut Plans, maps: &Maps) {
        let Some(mut unit) = self.depacketizer.finish() else { return };
        let Some(frame) = self.frame else { return };
        if unit.intact && !unit.picture {
            if unit.has_parameters() {
                self.loose = unit;
            }
            return;
        }
        if unit.intact && unit.keyframe {
            unit.complete_with(std::mem::take(&mut self.loose));
            self.broken = self.handle_keyframe(&unit, frame, plans, maps);
        } else if self.broken.is_none() && (!unit.intact || self.pictures.is_adrift()) {
            self.broken = Some(Broken::Damage(None));
        }
        if !self.running {
            return;
        }
        if self.broken.is_some() {
            self.lost += 1;
            return;
        }
        // Its decode time moved if it was the one to begin with.
        let Some(frame) = self.frame else { return };
        if frame.segment > plans.newest().map(|plan| plan.number) {
            self.begin_segment(frame, plans, maps);
        }
        self.pictures.settle(frame.decode);
        self.pictures.stand_in.show(&unit.units, unit.keyframe);
        self.pictures.place(Pending {
            decode: frame.decode,
            presentation: frame.stamp.media_time.0,
            keyframe: unit.keyframe,
            data: coding::sample(self.codec, &unit.units),
        });
    }

    /// A whole keyframe: takes over its parameter sets and, where nothing runs yet, begins. Says why it cannot be used.
    fn handle_keyframe(
        &mut self,
        unit: &AccessUnit,
        frame: Frame,
        plans: &mut Plans,
        maps: &Maps,
    ) -> Option<Broken> {
        match VideoConfig::of_keyframe(self.codec, unit, self.config()) {
            Ok(None) => {}
            Ok(Some(config)) => {
                if !self.take_config(config, frame, plans) {
                    return Some(Broken::Init);
                }
            }
            Err(error) => {
                self.refused = Some(format!("the video cannot be read: {error}"));
                return Some(Broken::Damage(None));
            }
        }
        self.refused = None;
        if !self.running {
            self.begin_announced(frame.segment, plans, maps);
        }
        if !self.running && frame.segment.is_some() {
            self.start(frame, plans, maps);
        }
        None
    }

    /// Takes over new parameter sets. False when they have to wait for the next segment.
    fn take_config(&mut self, config: VideoConfig, frame: Frame, plans: &mut Plans) -> bool {
        let fresh = self.pictures.is_fresh();
        let begins = frame.segment > plans.newest().map(|plan| plan.number) || fresh;
        if self.running && (!begins || !self.may_change(plans)) {
            // Another init segment needs a discontinuity, which only a segment can begin with: wait for the next one.
            self.coming = self.announced.is_some().then_some(config);
            return false;
        }
        let known = self.init.is_some();
        self.coming = None;
        let number = self.init.as_ref().map_or(0, |init| init.number + 1);
        let Some(data) = init::video(&config) else {
            self.refused = Some("the video's parameter sets are too large".into());
            return false;
        };
        let init = Arc::new(Init { number, data });
        if self.running && fresh {
            // Its segment has begun with its first packet, and nothing of it is published.
            if self.announced.is_none() {
                plans.mark_discontinuity();
            }
            self.pictures.writer.amend(init.clone(), known);
        } else {
            self.new_init = self.running;
        }
        self.set_config(config, init);
        true
    }

    fn set_config(&mut self, config: VideoConfig, init: Arc<Init>) {
        if let Some(depth) = config.reorder_frames {
            self.order.set_depth(depth as usize);
        }
        self.init = Some(init);
        self.pictures.stand_in.set_config(Arc::new(config));
    }

    /// The first keyframe of an epoch begins the first segment, even when frames before it were lost.
    fn start(&mut self, frame: Frame, plans: &mut Plans, maps: &Maps) {
        if frame.segment <= plans.newest().map(|plan| plan.number) {
            return;
        }
        self.restart |= self.pictures.writer.window().newest().is_some();
        self.order.restart();
        let given = frame.stamp.decode_time.map(|time| time.0);
        let decode = self.order.next(frame.stamp.media_time.0, given).max(self.pictures.writer.edge());
        let mut first = Frame { decode, ..frame };
        if self.announced.is_none() {
            first.stamp.segment_start = frame.stamp.media_time;
        }
        self.frame = Some(first);
        self.running = true;
        self.begin_segment(first, plans, maps);
        self.running = self.pictures.writer.open().is_some();
    }

    /// No frame has come for a while: the parts that are overdue are written without it.
    fn fill_behind(&mut self, now: Instant, plans: &mut Plans, maps: &Maps) {
        let Some(frame) = self.frame else { return };
        let since = now.saturating_duration_since(frame.received).saturating_sub(FILL_DELAY);
        self.fill_to(frame.decode + self.rate.ticks(since), plans, maps);
    }

    /// What is missing before `reached` is filled, in whole parts.
    fn fill_to(&mut self, reached: i64, plans: &mut Plans, maps: &Maps) {
        let due = self.pictures.writer.edge() - self.pictures.writer.part_ticks() + self.cut.part;
        let segment_end =
            self.pictures.writer.edge() - self.pictures.writer.segment_ticks() + self.cut.longest_segment;
        if reached < due || due > segment_end {
            return;
        }
        if self.depacketizer.has_ended() {
            self.end_frame(plans, maps);
        }
        let whole = (reached - due) / self.cut.part * self.cut.part;
        let to = (due + whole).min(segment_end);
        self.pictures.settle(to);
        self.pictures.writer.end_part();
        plans.advance(to);
    }

    /// Media ends here.
    fn end_run(&mut self, plans: &mut Plans) {
        if self.running {
            self.pictures.end();
            plans.advance(self.writer().edge());
            self.ended_at = Some((self.epoch, self.writer().edge()));
        }
        self.pictures.forget();
        self.running = false;
        self.broken = None;
    }
}
