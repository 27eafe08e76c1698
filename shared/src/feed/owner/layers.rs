//! A picture in several encodings (simulcast): which of them run, and where all of them can be cut.
//!
//! Segments of all layers begin at the same media time, at keyframes. A keyframe is a candidate; it becomes a cut when every
//! running layer has shown its keyframe of that time. Until then nobody knows, and packets from that time on carry no segment:
//! readers that need one wait, some milliseconds, for the next packet that has. Where a layer has no keyframe there, the cut
//! moves to a later one as long as the segment may grow; past that it is made for the others. Who never has common keyframes
//! is not waited for any more.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::pairing::{Pairing, Reference};
use crate::feed::info::LayerInfo;
use crate::id::RenditionId;
use crate::media::{Codec, decoder_configuration};
use crate::time::{ClockRate, MediaTime};

/// A layer that has sent nothing for this long does not run: nobody waits for its keyframes.
const RUNNING: Duration = Duration::from_millis(500);
/// A layer whose packets of a candidate have not come when the others are this much further has none.
const SKEW: Duration = Duration::from_millis(150);
/// Keyframes of a layer that are remembered.
const REMEMBERED: usize = 8;
/// So many cuts in a row that were not common: the layers are not aligned, and waiting does not help.
const UNCOMMON: u32 = 2;
/// Until a publisher that was asked again answers.
const ANSWER: Duration = Duration::from_millis(600);

/// The layers of the picture; empty where it has one encoding.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: BTreeMap<RenditionId, Layer>,
    /// The newest frame of any layer.
    newest: Option<MediaTime>,
    candidate: Option<MediaTime>,
    /// The newest time of which somebody was told to which segment it belongs: no segment begins before it any more. And of which
    /// layer those packets were; none where of several.
    told_until: Option<(MediaTime, Option<RenditionId>)>,
    /// The layer whose keyframes count, and its newest frame.
    led: Option<(RenditionId, MediaTime)>,
    /// Cuts in a row that some running layer had no keyframe for.
    uncommon: u32,
    /// The last cut, from which bit rates are counted.
    counted_from: Option<MediaTime>,
    infos: Vec<LayerInfo>,
}

/// One layer.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Its clock is not known yet.
    pub(super) pairing: Option<Pairing>,
    pub(super) reference: Reference,
    parameters: Option<Bytes>,
    heard: Option<Instant>,
    newest: Option<MediaTime>,
    keyframes: VecDeque<MediaTime>,
    bytes: u64,
    bitrate_bps: u64,
    offset_ms: Option<i64>,
}

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A segment begins there. `common`: all running layers have a keyframe there.
    Cut { at: MediaTime, common: bool },
    /// Not there: some layer missed it, and another keyframe can come in time. One that has come is the candidate now.
    Moved,
}

/// What the segment that is open allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// When it began; none where none has begun.
    pub(super) start: Option<MediaTime>,
    /// Ticks that it may last.
    pub(super) longest: i64,
    /// The publisher answers when it is asked for a keyframe.
    pub(super) answers: bool,
}

impl Layers {
    /// The layers of a publisher that comes, all without a clock.
    pub(super) fn new(renditions: impl Iterator<Item = RenditionId>) -> Self {
        let layers: BTreeMap<_, _> = renditions.map(|id| (id, Layer::default())).collect();
        if layers.len() < 2 {
            return Self::default();
        }
        let mut new = Self { layers, ..Self::default() };
        new.infos = new.all_infos(None);
        new
    }

    /// Whether the picture has several encodings.
    pub(super) fn any(&self) -> bool {
        !self.layers.is_empty()
    }

    /// The clocks begin anew, with another epoch.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.layers.keys().copied().collect::<Vec<_>>().into_iter());
    }

    /// Segments begin anew; the clocks stay.
    pub(super) fn begin_cuts(&mut self) {
        self.candidate = None;
    }

    pub(super) fn get_mut(&mut self, id: RenditionId) -> Option<&mut Layer> {
        self.layers.get_mut(&id)
    }

    /// A layer whose clock is known, to find that of `id` by: one with a sender report, and of those the one heard last.
    pub(super) fn reference(&self, id: RenditionId) -> Option<&Reference> {
        let known = self.layers.iter().filter(|(other, layer)| **other != id && layer.newest.is_some());
        known
            .max_by_key(|(_, layer)| (layer.reference.has_report(), layer.heard))
            .map(|(_, layer)| &layer.reference)
    }

    /// Whether a layer that sends has no clock yet but soon will.
    pub(super) fn is_pairing(&self, now: Instant) -> bool {
        self.layers.values().any(|layer| layer.pairing.as_ref().is_some_and(|pairing| pairing.is_young(now)))
    }

    /// The layer whose keyframes count where the others have none: the first that runs.
    pub(super) fn lead(&self, now: Instant) -> Option<RenditionId> {
        self.layers.iter().find(|(_, layer)| layer.runs(now)).map(|(id, _)| *id)
    }

    /// A packet with something in it was placed. Tells whether its frame is newer than those of all layers, and whether it
    /// is the first to show that the layer has a keyframe there.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        id: RenditionId,
        at: MediaTime,
        keyframe: bool,
        bytes: usize,
    ) -> (bool, bool) {
        let newest = self.newest.is_none_or(|newest| at > newest);
        if newest {
            self.newest = Some(at);
        }
        let Some(layer) = self.layers.get_mut(&id) else { return (newest, false) };
        layer.heard = layer.heard.max(Some(now));
        layer.newest = layer.newest.max(Some(at));
        layer.bytes += bytes as u64;
        let fresh = keyframe && !layer.keyframes.contains(&at);
        if fresh {
            layer.keyframes.push_back(at);
            if layer.keyframes.len() > REMEMBERED {
                layer.keyframes.pop_front();
            }
        }
        self.led = self.lead(now).and_then(|lead| Some((lead, self.layers.get(&lead)?.newest?)));
        (newest, fresh)
    }

    /// Whether it is not known yet to which segment a frame of this time belongs: a candidate stands before it, or the lead
    /// may still have a keyframe there.
    pub(super) fn is_open(&self, at: MediaTime, rate: ClockRate) -> bool {
        let ahead = |(_, newest): (RenditionId, MediaTime)| (1..rate.ticks(SKEW)).contains(&(at - newest));
        self.candidate.is_some_and(|candidate| at >= candidate) || self.led.is_some_and(ahead)
    }

    /// Whether it is open if a segment begins with some keyframe.
    pub(super) const fn has_candidate(&self) -> bool {
        self.candidate.is_some()
    }

    /// Readers are told to which segment a frame of this time of a layer belongs.
    pub(super) fn tell(&mut self, id: RenditionId, at: MediaTime) {
        self.told_until = match self.told_until {
            Some((told, _)) if told > at => return,
            Some((told, of)) if told == at => Some((at, of.filter(|of| *of == id))),
            _ => Some((at, Some(id))),
        };
    }

    /// Whether somebody was told to which segment a frame of this time or a later one belongs.
    pub(super) fn is_told(&self, at: MediaTime) -> bool {
        self.told_until.is_some_and(|(told, _)| told >= at)
    }

    /// A layer's keyframe where a segment could begin. Not where something later has its segment already, nor another layer's
    /// frame of that time; the layer's own may, because a keyframe's first packet need not look like one.
    pub(super) fn propose(&mut self, id: RenditionId, at: MediaTime) {
        let own = |(told, of): (MediaTime, Option<RenditionId>)| told == at && of == Some(id);
        if !self.is_told(at) || self.told_until.is_some_and(own) {
            self.candidate = Some(self.candidate.map_or(at, |known| known.min(at)));
        }
    }

    /// What becomes of the candidate; none while that is open.
    pub(super) fn decide(&mut self, now: Instant, rate: ClockRate, room: Room) -> Option<Verdict> {
        let (at, newest, lead) = (self.candidate?, self.newest?, self.lead(now)?);
        let patient = newest - at < rate.ticks(SKEW);
        let (mut common, mut open) = (true, false);
        for layer in self.layers.values().filter(|layer| layer.runs(now)) {
            let has = layer.keyframes.contains(&at);
            common &= has;
            open |= !has && patient && layer.newest.is_none_or(|newest| newest <= at);
        }
        if open {
            return None;
        }
        let keyframes = self.layers.get(&lead).map(|layer| layer.keyframes.iter().copied());
        let mut keyframes = keyframes.into_iter().flatten().filter(|keyframe| *keyframe >= at);
        let leads = keyframes.clone().any(|keyframe| keyframe == at);
        // One that came while this was open.
        let next = keyframes.find(|keyframe| *keyframe > at);
        self.candidate = None;
        if !common && (!leads || self.can_wait(at, lead, rate, room)) {
            self.candidate = next;
            return Some(Verdict::Moved);
        }
        self.uncommon = if common { 0 } else { self.uncommon.saturating_add(1) };
        self.measure(lead, rate);
        Some(Verdict::Cut { at, common })
    }

    /// A segment begins at `at`: bit rates are counted to here.
    pub(super) fn handle_cut(&mut self, at: MediaTime, rate: ClockRate) {
        self.candidate = None;
        let since = self.counted_from.replace(at).map_or(0, |from| at - from);
        for layer in self.layers.values_mut() {
            let bits = i64::try_from(std::mem::take(&mut layer.bytes)).unwrap_or(i64::MAX).saturating_mul(8);
            if since > 0 {
                let bps = crate::time::scale(bits, i64::from(rate.hz()), since);
                // To the kilobit: a snapshot is made of it.
                layer.bitrate_bps = u64::try_from(bps / 1_000 * 1_000).unwrap_or(0);
            }
        }
    }

    /// What is to be told of them, if it has changed.
    pub(super) fn take_infos(&mut self, now: Instant) -> Option<Vec<LayerInfo>> {
        let unchanged = self.infos.len() == self.layers.len()
            && self
                .infos
                .iter()
                .zip(self.layers.values())
                .all(|(told, layer)| *told == layer.info(told.rendition, Some(now)));
        if unchanged {
            return None;
        }
        self.infos = self.all_infos(Some(now));
        Some(self.infos.clone())
    }

    /// The largest distance of a layer's keyframes from those of the lead.
    pub(super) fn misalignment(&self) -> Duration {
        let offsets = self.layers.values().filter_map(|layer| layer.offset_ms);
        Duration::from_millis(offsets.map(i64::unsigned_abs).max().unwrap_or(0))
    }

    fn all_infos(&self, now: Option<Instant>) -> Vec<LayerInfo> {
        self.layers.iter().map(|(id, layer)| layer.info(*id, now)).collect()
    }

    /// Whether a common keyframe can come before the segment has to end.
    fn can_wait(&self, at: MediaTime, lead: RenditionId, rate: ClockRate, room: Room) -> bool {
        let Some(start) = room.start.filter(|_| self.uncommon < UNCOMMON) else { return false };
        let keyframes = self.layers.get(&lead).map(|layer| layer.keyframes.iter().rev());
        let group = keyframes.and_then(|mut newest| Some(*newest.next()? - *newest.next()?));
        let next = if room.answers { Some(rate.ticks(ANSWER)) } else { group };
        next.is_some_and(|next| next > 0 && at - start + next <= room.longest)
    }

    /// How far each layer's keyframes are from those of the lead.
    fn measure(&mut self, lead: RenditionId, rate: ClockRate) {
        let keyframes = self.layers.get(&lead).map(|layer| &layer.keyframes);
        // The newest but one: what belongs to it has come.
        let theirs = keyframes.and_then(|all| all.iter().rev().nth(1).or(all.back())).copied();
        let Some(theirs) = theirs else { return };
        for layer in self.layers.values_mut() {
            let nearest = layer.keyframes.iter().map(|own| *own - theirs).min_by_key(|off| off.abs());
            layer.offset_ms = nearest.map(|off| rate.nanos(off) / 1_000_000);
        }
    }
}

impl Layer {
    /// Takes note of what a keyframe's packet says to a decoder. True when it is something else than before.
    pub(super) fn handle_parameters(&mut self, codec: Codec, payload: &Bytes) -> bool {
        let Some(now) = decoder_configuration(codec, payload) else { return false };
        if self.parameters.as_ref().is_some_and(|known| known[..] == *now) {
            return false;
        }
        self.parameters.replace(payload.slice_ref(now)).is_some()
    }

    fn runs(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < RUNNING)
    }

    fn info(&self, rendition: RenditionId, now: Option<Instant>) -> LayerInfo {
        LayerInfo {
            rendition,
            running: now.is_some_and(|now| self.runs(now)),
            bitrate_bps: self.bitrate_bps,
            keyframe_offset_ms: self.offset_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::owner::tests::start;

    const RATE: ClockRate = ClockRate::VIDEO;
    const IDS: [RenditionId; 3] = [RenditionId(0), RenditionId(1), RenditionId(2)];

    fn room(start: i64, answers: bool, longest: i64) -> Room {
        Room { start: Some(MediaTime(start)), longest: longest * 90_000, answers }
    }

    fn at(n: i64) -> MediaTime {
        MediaTime(n * 3_000)
    }

    fn now(n: i64) -> Instant {
        start() + Duration::from_millis(33) * u32::try_from(n).unwrap()
    }

    /// Frame `n` of some layers, each a keyframe or not.
    fn frame(layers: &mut Layers, n: i64, keyframes: &[(u8, bool)]) {
        for (id, keyframe) in keyframes {
            layers.handle_packet(now(n), RenditionId(*id), at(n), *keyframe, 100);
        }
    }

    fn all(layers: &mut Layers, n: i64, keyframe: bool) {
        frame(layers, n, &[(0, keyframe), (1, keyframe), (2, keyframe)]);
    }

    #[test]
    fn a_cut_is_made_when_the_last_layer_has_shown_its_keyframe() {
        let mut layers = Layers::new(IDS.into_iter());
        all(&mut layers, 0, true);
        frame(&mut layers, 60, &[(2, true), (0, true)]);
        layers.propose(IDS[0], at(60));
        assert!(layers.is_open(at(60), RATE) && !layers.is_open(at(59), RATE));
        // The middle one was heard a second ago and more: it does not run.
        assert_eq!(
            layers.decide(now(60), RATE, room(0, true, 3)),
            Some(Verdict::Cut { at: at(60), common: true })
        );
        for n in 61..120 {
            all(&mut layers, n, false);
        }
        frame(&mut layers, 120, &[(2, true), (0, true)]);
        layers.propose(IDS[0], at(120));
        assert_eq!(layers.decide(now(120), RATE, room(180_000, true, 3)), None);
        frame(&mut layers, 121, &[(0, false), (2, false)]);
        assert_eq!(layers.decide(now(121), RATE, room(180_000, true, 3)), None, "it may be late");
        frame(&mut layers, 120, &[(1, true)]);
        let cut = Verdict::Cut { at: at(120), common: true };
        assert_eq!(layers.decide(now(121), RATE, room(180_000, true, 3)), Some(cut));
        assert!(!layers.is_open(at(121), RATE));
    }

    #[test]
    fn a_missed_keyframe_moves_the_cut_as_long_as_the_segment_may_grow() {
        let mut layers = Layers::new(IDS.into_iter());
        let mut decide = |n: i64, start: i64, answers, longest| {
            all(&mut layers, n - 1, false);
            frame(&mut layers, n, &[(0, true), (1, false), (2, true)]);
            all(&mut layers, n + 1, false);
            layers.propose(IDS[0], at(n));
            layers.decide(now(n + 1), RATE, room(start, answers, longest))
        };
        assert_eq!(decide(60, 0, true, 3), Some(Verdict::Moved), "it is asked again");
        assert_eq!(decide(85, 0, true, 3), Some(Verdict::Cut { at: at(85), common: false }), "no more time");
        assert_eq!(decide(145, 255_000, false, 10), Some(Verdict::Moved), "its own next keyframe is awaited");
        assert_eq!(decide(505, 255_000, false, 10), Some(Verdict::Cut { at: at(505), common: false }));
        assert_eq!(
            decide(565, 1_515_000, false, 10),
            Some(Verdict::Cut { at: at(565), common: false }),
            "in vain"
        );
    }

    #[test]
    fn keyframes_of_others_than_the_lead_cut_nothing_and_their_distance_is_told() {
        let mut layers = Layers::new(IDS.into_iter());
        for n in 0..400 {
            frame(&mut layers, n, &[(0, n % 60 == 0), (1, n % 60 == 5), (2, n % 60 == 57)]);
            if n == 305 {
                layers.propose(IDS[0], at(n));
                assert_eq!(layers.decide(now(n), RATE, room(0, false, 10)), None);
            }
            if n == 306 {
                assert_eq!(layers.decide(now(n), RATE, room(0, false, 10)), Some(Verdict::Moved));
            }
        }
        layers.propose(IDS[0], at(360));
        layers.uncommon = UNCOMMON;
        let cut = Verdict::Cut { at: at(360), common: false };
        assert_eq!(layers.decide(now(400), RATE, room(0, false, 10)), Some(cut));
        layers.handle_cut(at(360), RATE);
        let infos = layers.take_infos(now(400)).unwrap();
        let offsets: Vec<_> = infos.iter().map(|info| info.keyframe_offset_ms).collect();
        assert_eq!(offsets, [Some(0), Some(166), Some(-100)]);
        assert!(infos.iter().all(|info| info.running) && layers.take_infos(now(400)).is_none());
    }

    #[test]
    fn a_picture_of_one_encoding_has_no_layers() {
        assert!(!Layers::new([RenditionId(0)].into_iter()).any());
        assert_eq!(Layers::default().take_infos(start()), None);
    }
}
