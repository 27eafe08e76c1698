//! One instance of a feed's playlists: from the first segment of a line-up to the end of its last.

use std::time::Instant;

use bicast_shared::feed::info::FeedInfo;
use bicast_shared::id::{Epoch, TrackId};
use bicast_shared::media::TrackKind;
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::{ClockRate, MediaTime};

use crate::core::audio::AudioTrack;
use crate::core::cadence::Cut;
use crate::core::feed::Limits;
use crate::core::layers::Layers;
use crate::core::lineup::{Lineup, Picture};
use crate::core::maps::Maps;
use crate::core::past::Past;
use crate::core::plan::{Plans, SegmentPlan};
use crate::core::snapshot::{FeedSnapshot, RenditionMedia, RenditionSnapshot};
use crate::core::video::{Described, FILL_DELAY, VideoTrack};
use crate::core::window::WindowLimits;
use crate::core::writer::Writer;

/// What was written, over all renditions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Parts.
    pub parts: u64,
    /// Segments.
    pub segments: u64,
    /// Discontinuities of the main rendition.
    pub discontinuities: u64,
    /// Frames left out.
    pub lost: u64,
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            parts: self.parts + other.parts,
            segments: self.segments + other.segments,
            discontinuities: self.discontinuities + other.discontinuities,
            lost: self.lost + other.lost,
        }
    }
}

/// The playlists of one line-up.
#[derive(Debug)]
pub struct Instance {
    name: String,
    lineup: Lineup,
    /// Its first epoch: packets of earlier ones belong to another instance.
    since: Epoch,
    frame_rate: f64,
    /// The picture where it has one encoding.
    video: Option<VideoTrack>,
    /// The picture where it has several.
    layers: Option<Layers>,
    audio: Option<AudioTrack>,
    /// Video that cannot be packaged but whose stamps carry the cuts.
    cuts_only: Option<Picture>,
    /// The newest time that its packets told, and when.
    told: Option<(MediaTime, Instant)>,
    plans: Plans,
    changes: u64,
}

impl Instance {
    /// The instance of `lineup` that begins with segment `first` in the current epoch of `info`.
    #[must_use]
    pub fn new(lineup: Lineup, info: &FeedInfo, first: u64, limits: Limits) -> Self {
        // When the feed began tells its lives apart, the first segment its instances: every packager writes the same.
        let life = info.since.unix_nanos() / 1_000_000;
        let name = if first == 0 { format!("{life:x}") } else { format!("{life:x}-{first}") };
        let (cadence, patience) = (&info.cadence, limits.patience);
        // Sound is a small part of a feed with pictures.
        let share = |of: usize, whole| if lineup.packaged().is_some() { whole / 8 * of } else { whole };
        let mut tracks: Vec<VideoTrack> = Vec::new();
        if let Some(picture) = lineup.packaged() {
            let part = |whole| share(7, whole) / usize::from(picture.layers.max(1));
            let window = window(&lineup, limits, picture.rate, part);
            let cut = Cut::video(cadence, picture.rate);
            let independent = lineup.header.independent_segments;
            let track = |key| VideoTrack::new(Picture { key, ..picture }, cut, independent, patience, window);
            tracks.extend(lineup.picture_streams().filter_map(track));
        }
        let (video, layers) = match lineup.packaged() {
            Some(picture) if picture.layers > 1 => {
                let longest = Cut::video(cadence, picture.rate).longest_segment;
                let tracks = tracks.into_iter().map(VideoTrack::announced).collect();
                (None, Some(Layers::new(tracks, picture.rate, picture.codec, longest)))
            }
            _ => (tracks.pop(), None),
        };
        let channels = info.track(TrackKind::Audio).map_or(2, |track| track.channels);
        let audio = lineup.sound.map(|sound| {
            let window = window(&lineup, limits, sound.format.rate(), |whole| share(1, whole));
            let window = WindowLimits { part: sound.format.part(window.part), ..window };
            let cut = Cut::audio(cadence, sound.format);
            AudioTrack::new(sound, cut, channels, lineup.picture.is_none(), patience, window)
        });
        // The master clock is the driving track's.
        let of_sound = lineup.sound.map_or(ClockRate::OPUS, |sound| sound.format.rate());
        Self {
            name,
            lineup,
            since: info.epoch,
            frame_rate: cadence.frame_rate.unwrap_or(0.0),
            video,
            layers,
            audio,
            cuts_only: lineup.picture.filter(|picture| !picture.is_packaged()),
            told: None,
            plans: Plans::new(lineup.picture.map_or(of_sound, |picture| picture.rate)),
            changes: 0,
        }
    }

    /// The instance that `past` tells of, as it goes on. `info` is the feed's as its last publisher left it.
    #[must_use]
    pub fn restore(past: Past, info: &FeedInfo, limits: Limits) -> Self {
        let mut instance = Self::new(past.lineup, info, 0, limits);
        instance.name = past.name;
        instance.since = Epoch(0);
        let mut renditions = past.renditions;
        // What follows it begins behind a discontinuity: it is of another epoch.
        let last = renditions.first().and_then(|main| main.segments.last()).map(|last| &last.head);
        if let (Some(last), Some(map)) = (last, &info.map) {
            instance.plans.push(SegmentPlan {
                number: last.number,
                epoch: info.epoch,
                start: MediaTime(last.decode),
                map: map.clone(),
                discontinuity: false,
                restart: false,
            });
        }
        let mut take = |name: &str| {
            let at = renditions.iter().position(|rendition| rendition.name == name)?;
            Some(renditions.swap_remove(at))
        };
        let tracks = instance.video.iter_mut().chain(instance.layers.iter_mut().flat_map(Layers::tracks_mut));
        for (n, track) in tracks.enumerate() {
            if let Some(past) = take(&format!("video{n}")) {
                if let RenditionMedia::Video { frame_rate, .. } = past.media {
                    instance.frame_rate = frame_rate;
                }
                track.restore(past);
            }
        }
        if let (Some(audio), Some(past)) = (&mut instance.audio, take("audio0")) {
            audio.restore(past);
        }
        instance.writers_mut().for_each(|writer| writer.skip_to(past.next, past.until));
        instance
    }

    /// The store has the listed segments of this rendition up to `number`.
    pub fn handle_stored(&mut self, rendition: &str, number: u64) {
        if let Some(writer) = self.writer_mut(rendition) {
            writer.handle_stored(number);
        }
    }

    /// The store is full, and this rendition has something that it should take.
    pub fn make_room(&mut self, rendition: &str) {
        if let Some(writer) = self.writer_mut(rendition) {
            writer.make_room();
        }
    }

    /// Its playlists are as long as these limits say from now on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.writers_mut().for_each(|writer| writer.set_limits(limits));
    }

    fn writers_mut(&mut self) -> impl Iterator<Item = &mut Writer> {
        let video = self.video.iter_mut().chain(self.layers.iter_mut().flat_map(Layers::tracks_mut));
        video.map(VideoTrack::writer_mut).chain(self.audio.as_mut().map(AudioTrack::writer_mut))
    }

    fn writer_mut(&mut self, rendition: &str) -> Option<&mut Writer> {
        if rendition == "audio0" {
            return self.audio.as_mut().map(AudioTrack::writer_mut);
        }
        let n = rendition.strip_prefix("video")?.parse().ok()?;
        let mut tracks = self.video.iter_mut().chain(self.layers.iter_mut().flat_map(Layers::tracks_mut));
        tracks.nth(n).map(VideoTrack::writer_mut)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is made of.
    #[must_use]
    pub const fn lineup(&self) -> &Lineup {
        &self.lineup
    }

    /// Takes a packet as it came.
    pub fn handle_packet(&mut self, packet: MediaPacket, maps: &Maps) {
        if packet.stamp.epoch < self.since {
            return;
        }
        if let Some(video) = self.video.as_mut().filter(|video| video.key() == packet.key) {
            video.handle_packet(packet, &mut self.plans, maps);
        } else if let Some(layers) = self.layers.as_mut().filter(|layers| layers.has(packet.key)) {
            self.told = Some((packet.stamp.media_time, packet.received));
            layers.handle_packet(packet, &mut self.plans, maps);
        } else if self.audio.as_ref().is_some_and(|audio| audio.key() == packet.key) {
            self.handle_sound(packet, maps);
        } else if self.cuts_only.is_some_and(|picture| picture.key == packet.key) {
            self.told = Some((packet.stamp.media_time, packet.received));
            self.follow_cuts(&packet, packet.stamp.media_time, maps);
        }
        self.align(maps);
    }

    /// Sound has stamps where it drives the cuts, and where the picture that does is silent.
    fn handle_sound(&mut self, packet: MediaPacket, maps: &Maps) {
        let Self { lineup: Lineup { picture, sound, .. }, .. } = self;
        if let (Some(segment), Some(picture), Some(sound)) = (packet.stamp.segment, *picture, *sound) {
            let at = packet.stamp.media_time.to_rate(sound.format.rate(), picture.rate);
            if let Some(layers) = &mut self.layers {
                layers.handle_sound(&packet, at, &mut self.plans, maps);
            } else if let Some(video) = &mut self.video {
                if let Some(plan) = plan(&packet, segment.0, maps) {
                    video.handle_cut(plan, &mut self.plans, maps);
                }
            } else {
                self.follow_cuts(&packet, at, maps);
            }
            self.align(maps);
        }
        if let Some(audio) = &mut self.audio {
            audio.handle_packet(packet, &mut self.plans, maps);
        }
    }

    /// No packet of a picture that is not packaged, or comes in layers, has come for a while: its cuts are known as far as its segment may last, as
    /// they are where frames are filled in.
    fn pass_silence(&mut self, now: Instant) {
        let (Some((at, received)), Some(limit)) = (self.told, self.limit()) else { return };
        let since = now.saturating_duration_since(received).saturating_sub(FILL_DELAY);
        let known = (at + self.plans.rate().ticks(since)).min(limit);
        self.plans.advance(known.0);
    }

    /// Where the newest segment has to end: TARGETDURATION behind its beginning.
    fn limit(&self) -> Option<MediaTime> {
        Some(self.plans.newest()?.start + self.lineup.header.target(self.plans.rate()))
    }

    /// Segments as the stamps tell them where no packaged picture does. The master clock stands at `at`.
    fn follow_cuts(&mut self, packet: &MediaPacket, at: MediaTime, maps: &Maps) {
        let Some(segment) = packet.stamp.segment else { return };
        let newest = self.plans.newest().map(|plan| (plan.number, plan.epoch));
        if newest.is_none_or(|(newest, _)| segment.0 > newest) {
            let Some(plan) = plan(packet, segment.0, maps) else { return };
            let restart =
                newest.is_some_and(|(newest, epoch)| epoch != plan.epoch || plan.number > newest + 1);
            if let (Some((_, epoch)), Some(audio)) = (newest.filter(|_| restart), &mut self.audio) {
                audio.finish(epoch, None, &mut self.plans, maps);
            }
            // A picture that paused across the end of its segment begins the next one late; the sound has gone on.
            let half = i64::from(self.plans.rate().hz() / 2);
            let late = |limit: &MediaTime| !restart && plan.start - *limit >= half;
            let start = self.limit().filter(late).unwrap_or(plan.start);
            self.plans.push(SegmentPlan { start, discontinuity: restart, restart, ..plan });
        }
        self.plans.advance(self.limit().map_or(at, |limit| at.min(limit)).0);
    }

    /// Time has passed. `alive` says whether anything of the feed arrives.
    pub fn handle_timeout(&mut self, now: Instant, alive: bool, maps: &Maps) {
        if let Some(video) = &mut self.video {
            video.handle_timeout(now, alive, &mut self.plans, maps);
        }
        if let Some(layers) = &mut self.layers {
            layers.handle_timeout(now, alive, maps);
        }
        if alive {
            self.pass_silence(now);
        }
        if let Some(audio) = &mut self.audio {
            audio.handle_timeout(now, alive, &mut self.plans, maps);
        }
        self.align(maps);
    }

    /// Nothing more comes for now: everything that is here is written, and the segment ended.
    pub fn finish(&mut self, maps: &Maps) {
        if let Some(video) = &mut self.video {
            video.finish(&mut self.plans, maps);
        }
        if let Some(layers) = &mut self.layers {
            layers.finish(&mut self.plans, maps);
        }
        self.align(maps);
        if let Some(audio) = &mut self.audio {
            audio.finish(Epoch(u32::MAX), None, &mut self.plans, maps);
        }
        self.align(maps);
    }

    /// When [`Self::handle_timeout`] should be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let video = self.video.as_ref().and_then(VideoTrack::poll_timeout);
        let layers = self.layers.as_ref().and_then(Layers::poll_timeout);
        let audio = self.audio.as_ref().and_then(AudioTrack::poll_timeout);
        [video, layers, audio].into_iter().flatten().min()
    }

    /// Whether something was written since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        let changes = self.writers().map(|writer| writer.changes() + writer.amends()).sum();
        std::mem::replace(&mut self.changes, changes) != changes
    }

    /// The track that needs a keyframe, if one does. Once.
    pub fn take_keyframe_wanted(&mut self) -> Option<TrackId> {
        let video = self.video.as_mut().is_some_and(VideoTrack::take_keyframe_wanted);
        let layers = self.layers.as_mut().is_some_and(Layers::take_keyframe_wanted);
        let track = self.lineup.picture?.key.track;
        (video || layers).then_some(track)
    }

    /// What it has written.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let parts: u64 = self.writers().map(Writer::parts).sum();
        let changes: u64 = self.writers().map(Writer::changes).sum();
        Totals {
            parts,
            segments: changes - parts,
            discontinuities: self.writers().next().map_or(0, |main| main.window().discontinuities()),
            lost: self.pictures().map(VideoTrack::lost).sum::<u64>()
                + self.audio.as_ref().map_or(0, AudioTrack::lost),
        }
    }

    /// Its playlists, as part of the picture of the feed.
    #[must_use]
    pub fn snapshot(&self) -> FeedSnapshot {
        let pictures = (0..).zip(self.pictures()).map(|(n, video): (u8, _)| {
            let Described { codecs, width, height } = video.described();
            let media = RenditionMedia::Video { width, height, frame_rate: self.frame_rate };
            rendition(&format!("video{n}"), codecs, media, video.writer())
        });
        let audio = self.audio.as_ref().map(|audio| {
            let media = RenditionMedia::Audio { channels: audio.channels() };
            rendition("audio0", audio.format().codecs().into(), media, audio.writer())
        });
        FeedSnapshot {
            instance: self.name.clone(),
            header: self.lineup.header,
            lineup: Some(self.lineup),
            refused: self.pictures().find_map(|video| video.refused().map(str::to_owned)),
            renditions: pictures.chain(audio).collect(),
            ..FeedSnapshot::default()
        }
    }

    /// The encodings of its picture.
    fn pictures(&self) -> impl Iterator<Item = &VideoTrack> {
        self.video.iter().chain(self.layers.iter().flat_map(Layers::tracks))
    }

    /// The writers of its renditions, the main one first.
    fn writers(&self) -> impl Iterator<Item = &Writer> {
        let video = self.pictures().map(VideoTrack::writer);
        video.chain(self.audio.as_ref().map(AudioTrack::writer))
    }

    /// After every input: what one track decided reaches the other.
    fn align(&mut self, maps: &Maps) {
        let Some(audio) = &mut self.audio else { return };
        let ended = self.video.as_mut().and_then(VideoTrack::take_ended);
        if let Some((epoch, edge)) = ended.or_else(|| self.layers.as_mut().and_then(Layers::take_ended)) {
            let edge = MediaTime(edge).to_rate(self.plans.rate(), audio.writer().rate()).0;
            audio.finish(epoch, Some(edge), &mut self.plans, maps);
        }
        audio.advance(&self.plans);
    }
}

/// The limits of a rendition that has this `part` of the feed's bytes.
fn window(lineup: &Lineup, limits: Limits, rate: ClockRate, part: impl Fn(usize) -> usize) -> WindowLimits {
    let hz = i64::from(rate.hz());
    let target = lineup.header.target(rate);
    // Parts are listed for three target durations and served for as long again (RFC 8216bis, 6.2.2).
    let (live_ticks, late_ticks) = (target * 7, rate.ticks(limits.late));
    WindowLimits {
        rate,
        part: (i64::from(lineup.header.part_target_ms) * hz / 1_000).max(1),
        segment: target,
        ticks: rate.ticks(limits.window),
        least_ticks: target * 4,
        grace_ticks: target * 4,
        live_ticks,
        late_ticks,
        held_ticks: rate.ticks(limits.held).max(live_ticks + late_ticks),
        bytes: part(limits.bytes),
        stored_bytes: part(limits.stored_bytes),
    }
}

/// The segment that a packet's stamp tells of.
fn plan(packet: &MediaPacket, number: u64, maps: &Maps) -> Option<SegmentPlan> {
    let stamp = packet.stamp;
    let (epoch, start, map) = (stamp.epoch, stamp.segment_start, maps.version(stamp.map_version)?);
    Some(SegmentPlan { number, epoch, start, map, discontinuity: false, restart: false })
}

fn rendition(name: &str, codecs: String, media: RenditionMedia, writer: &Writer) -> RenditionSnapshot {
    let window = writer.window();
    RenditionSnapshot {
        name: name.into(),
        codecs,
        media,
        timescale: i64::from(writer.rate().hz()),
        segments: window.listed(),
        removed: window.removed(),
        discontinuity_sequence: window.discontinuity_sequence(),
        edge: writer.edge() - writer.part_ticks(),
        coming: window.open().filter(|open| open.parts.is_empty()).map(|open| open.head.init.clone()),
    }
}
