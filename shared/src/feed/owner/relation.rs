//! The mapping from media time to UTC, and how the tracks stand to each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::feed::info::{TimelineMap, TrackMap};
use crate::id::TrackId;
use crate::media::{TrackInfo, TrackKind};
use crate::time::{ClockRate, MediaTime, ProgramTime};

/// Keeps the feed's [`TimelineMap`] and makes its versions.
#[derive(Debug)]
pub(super) struct Relation {
    anchor: Option<ProgramTime>,
    version: u32,
    tracks: Vec<TrackMap>,
    master: Option<TrackId>,
    skews: BTreeMap<TrackId, i64>,
    /// The relation of each track as its sender reports say, smoothed.
    measured: BTreeMap<TrackId, Measured>,
    /// The smallest lead of server UTC over program time that any frame since the last cut showed. The smallest, because
    /// the network only ever adds.
    smallest_lead: Option<i64>,
    current: Option<Arc<TimelineMap>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    offset: Option<i64>,
    /// A jump is believed when the next report repeats it.
    doubted: Option<i64>,
}

const MS: i64 = 1_000_000;
/// PROGRAM-DATE-TIME may move this much a segment to follow UTC.
const ANCHOR_STEP: i64 = MS;
/// CMAF audio times may move this much a segment to follow the picture.
const SLEW_STEP: i64 = 5 * MS;
/// Reports that put two tracks further apart than this against their arrival are not about the same moment.
const PLAUSIBLE: i64 = 5_000 * MS;
/// A change of the relation by more than this has to be reported twice.
const JUMP: i64 = 100 * MS;
/// Sender reports are rounded to milliseconds by libwebrtc: a smaller change is not worth a version before the next cut.
const WORTH_A_VERSION: i64 = 20 * MS;

impl Relation {
    pub(super) fn new() -> Self {
        Self {
            anchor: None,
            version: 0,
            tracks: Vec::new(),
            master: None,
            skews: BTreeMap::new(),
            measured: BTreeMap::new(),
            smallest_lead: None,
            current: None,
        }
    }

    /// Goes on behind a mapping that another process made.
    pub(super) fn resume(map: &TimelineMap) -> Self {
        let current = Some(Arc::new(map.clone()));
        Self { anchor: Some(map.anchor), version: map.version, current, ..Self::new() }
    }

    /// The current version; none before the first frame.
    pub(super) fn map(&self) -> Option<Arc<TimelineMap>> {
        self.current.clone()
    }

    /// UTC of a track's media time by the current version.
    pub(super) fn program_time(&self, track: TrackId, rate: ClockRate, at: MediaTime) -> ProgramTime {
        self.current.as_ref().map_or_else(ProgramTime::default, |map| map.program_time(track, rate, at))
    }

    /// Its number; 0 before the first frame.
    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// A track's correction in CMAF, in nanoseconds.
    pub(super) fn slewed(&self, track: TrackId) -> i64 {
        self.tracks.iter().find(|map| map.track == track).map_or(0, |map| map.slewed_nanos)
    }

    /// The epoch's first packet has come: at `utc` the master clock stands at `nanos`. The anchor is set by the feed's
    /// first epoch and only followed later.
    pub(super) fn begin_epoch(&mut self, tracks: &[TrackInfo], utc: ProgramTime, nanos: i64) {
        self.anchor.get_or_insert(ProgramTime::from_unix_nanos(utc.unix_nanos().saturating_sub(nanos)));
        let master = tracks.iter().find(|t| t.kind() == TrackKind::Video).or(tracks.first());
        self.master = master.map(|track| track.id);
        let alone = tracks.len() == 1;
        self.tracks = tracks
            .iter()
            .map(|track| TrackMap {
                track: track.id,
                rate: track.clock_rate,
                offset_nanos: 0,
                slewed_nanos: 0,
                related: alone,
            })
            .collect();
        self.skews.clear();
        self.measured.clear();
        self.smallest_lead = None;
        self.publish();
    }

    /// A frame of the master track arrived.
    pub(super) fn handle_frame(&mut self, at: MediaTime, rate: ClockRate, utc: ProgramTime) {
        let Some(anchor) = self.anchor else { return };
        let lead = (utc - anchor).saturating_sub(rate.nanos(at.0));
        self.smallest_lead = Some(self.smallest_lead.map_or(lead, |smallest| smallest.min(lead)));
    }

    /// The publisher says that its NTP clock stood at `ntp` when this track's media time was `at`. `settled` says that
    /// CMAF has been published, so that audio may no longer jump there. True when a version was made.
    pub(super) fn handle_sender_report(
        &mut self,
        track: TrackId,
        rate: ClockRate,
        at: MediaTime,
        ntp: u64,
        settled: bool,
    ) -> bool {
        let skew = ProgramTime::from_ntp(ntp).unix_nanos().saturating_sub(rate.nanos(at.0));
        self.skews.insert(track, skew);
        let Some(master) = self.master.and_then(|master| self.skews.get(&master)).copied() else {
            return false;
        };
        let mut changed = false;
        for map in self.tracks.iter_mut().filter(|map| Some(map.track) != self.master) {
            let Some(skew) = self.skews.get(&map.track) else { continue };
            let Some(offset) =
                self.measured.entry(map.track).or_default().handle(skew.saturating_sub(master))
            else {
                continue;
            };
            if !map.related || (offset - map.offset_nanos).abs() > WORTH_A_VERSION {
                map.related = true;
                map.offset_nanos = offset;
                if !settled {
                    map.slewed_nanos = offset;
                }
                changed = true;
            }
        }
        if changed {
            for map in self.tracks.iter_mut().filter(|map| Some(map.track) == self.master) {
                map.related = true;
            }
            self.publish();
        }
        changed
    }

    /// A segment begins: the only moment at which CMAF's view of the mapping moves. True when a version was made.
    pub(super) fn handle_cut(&mut self) -> bool {
        let mut changed = false;
        if let (Some(anchor), Some(lead)) = (self.anchor, self.smallest_lead.take()) {
            let step = lead.clamp(-ANCHOR_STEP, ANCHOR_STEP);
            self.anchor = Some(ProgramTime::from_unix_nanos(anchor.unix_nanos().saturating_add(step)));
            changed |= step != 0;
        }
        for map in &mut self.tracks {
            if let Some(offset) = self.measured.get(&map.track).and_then(|measured| measured.offset) {
                changed |= offset != map.offset_nanos;
                map.offset_nanos = offset;
            }
            let step = (map.offset_nanos - map.slewed_nanos).clamp(-SLEW_STEP, SLEW_STEP);
            map.slewed_nanos += step;
            changed |= step != 0;
        }
        if changed {
            self.publish();
        }
        changed
    }

    fn publish(&mut self) {
        let Some(anchor) = self.anchor else { return };
        self.version = self.version.wrapping_add(1);
        self.current =
            Some(Arc::new(TimelineMap { version: self.version, anchor, tracks: self.tracks.clone() }));
    }
}

impl Measured {
    /// Takes a report's offset; gives the smoothed one, none when it is not believed.
    fn handle(&mut self, offset: i64) -> Option<i64> {
        if offset.abs() > PLAUSIBLE {
            return None;
        }
        let near = |other: i64| (offset - other).abs() <= JUMP;
        let believed = match (self.offset, self.doubted) {
            (None, _) => Some(offset),
            (Some(before), _) if near(before) => Some(before + (offset - before) / 4),
            (Some(_), Some(doubted)) if near(doubted) => Some(offset),
            (Some(_), _) => None,
        };
        self.doubted = if believed.is_none() { Some(offset) } else { None };
        self.offset = believed.or(self.offset);
        believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;

    const VIDEO: TrackId = TrackId(0);
    const AUDIO: TrackId = TrackId(1);

    fn related() -> Relation {
        let mut relation = Relation::new();
        let tracks = [
            TrackInfo::single(VIDEO, Codec::H264, ClockRate::VIDEO, 0, String::new()),
            TrackInfo::single(AUDIO, Codec::Opus, ClockRate::OPUS, 2, String::new()),
        ];
        relation.begin_epoch(&tracks, ProgramTime::from_unix_nanos(1_000_000 * MS), 10_000 * MS);
        relation
    }

    fn ntp(ms: i64) -> u64 {
        ProgramTime::from_unix_nanos(ms * MS).ntp()
    }

    fn report(relation: &mut Relation, video_ms: i64, audio_ms: i64, settled: bool) -> bool {
        let video = relation.handle_sender_report(
            VIDEO,
            ClockRate::VIDEO,
            MediaTime(900_000),
            ntp(video_ms),
            settled,
        );
        let audio =
            relation.handle_sender_report(AUDIO, ClockRate::OPUS, MediaTime(480_000), ntp(audio_ms), settled);
        video || audio
    }

    #[test]
    fn the_anchor_is_this_servers_utc_at_the_first_frame() {
        let map = related().map().unwrap();
        assert_eq!(
            map.program_time(VIDEO, ClockRate::VIDEO, MediaTime(900_000)).unix_nanos(),
            1_000_000 * MS
        );
        assert_eq!(map.program_time(AUDIO, ClockRate::OPUS, MediaTime(480_000)).unix_nanos(), 1_000_000 * MS);
    }

    #[test]
    fn reports_relate_the_tracks_however_wrong_the_publishers_clock_is() {
        for base in [0, 5_000, 3_600_000, 4_000_000_000] {
            let mut relation = related();
            assert!(!relation.map().unwrap().tracks[1].related);
            assert!(report(&mut relation, base, base - 80, false));
            let audio = relation.map().unwrap().tracks[1];
            assert!(audio.related);
            assert!((audio.offset_nanos + 80 * MS).abs() <= 10, "{}", audio.offset_nanos);
            assert_eq!(audio.offset_nanos, audio.slewed_nanos, "nothing was published: no need to slew");
        }
    }

    #[test]
    fn reports_that_cannot_be_about_the_same_moment_are_not_believed() {
        let mut relation = related();
        assert!(!report(&mut relation, 0, 3_600_000, false));
        assert!(!relation.map().unwrap().tracks[1].related);
        report(&mut relation, 10_000, 10_050, false);
        assert!(!report(&mut relation, 20_000, 20_950, false), "a jump is doubted");
        assert!((relation.map().unwrap().tracks[1].offset_nanos - 50 * MS).abs() <= 10);
        assert!(report(&mut relation, 30_000, 30_950, false), "and believed when repeated");
    }

    #[test]
    fn cmaf_follows_by_at_most_five_milliseconds_a_segment() {
        let mut relation = related();
        report(&mut relation, 0, 42, true);
        let mut before = 0;
        for _ in 0..9 {
            assert!(relation.handle_cut());
            let now = relation.slewed(AUDIO);
            assert!(now - before <= 5 * MS && now > before);
            before = now;
        }
        assert!((before - 42 * MS).abs() <= 10);
        assert!(!relation.handle_cut(), "arrived: no more versions");
    }

    #[test]
    fn program_time_follows_utc_by_at_most_a_millisecond_a_segment() {
        let mut relation = related();
        let utc = |ms: i64| ProgramTime::from_unix_nanos((1_000_000 + ms) * MS);
        // Media runs 3 ms slow against UTC; one frame was late by 50 ms, which says nothing.
        relation.handle_frame(MediaTime(900_000 + 90_000), ClockRate::VIDEO, utc(1_050));
        relation.handle_frame(MediaTime(900_000 + 180_000), ClockRate::VIDEO, utc(2_003));
        let before = relation.map().unwrap().anchor;
        assert!(relation.handle_cut());
        assert_eq!(relation.map().unwrap().anchor - before, MS);
        assert!(!relation.handle_cut(), "no frame since: no reason to move");
    }
}
