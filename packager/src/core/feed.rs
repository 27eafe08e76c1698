//! A feed as it is packaged: the bus's packets and the feed's info in, snapshots out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::feed::info::{CadenceRule, FeedInfo, FeedState};
use bicast_shared::id::{Epoch, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo, TrackKind};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::ClockRate;

use crate::core::audio::AudioTrack;
use crate::core::cadence::Cut;
use crate::core::maps::Maps;
use crate::core::plan::{Plans, SegmentPlan};
use crate::core::reorder::Patience;
use crate::core::snapshot::{FeedSnapshot, Header, RenditionMedia, RenditionSnapshot};
use crate::core::video::VideoTrack;
use crate::core::window::WindowLimits;
use crate::core::writer::Writer;

/// How much of a feed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How much media is listed.
    pub window: Duration,
    /// Bytes of media kept for all renditions together.
    pub bytes: usize,
    /// How long a missing packet is waited for.
    pub patience: Patience,
}

/// Packets and bytes that wait for the cadence to be decided (it takes about a second).
const MOST_HELD: (usize, usize) = (16_384, 32 << 20);
/// Nothing arrived for this long: the publisher is silent.
const SILENT: Duration = Duration::from_secs(1);
/// How often overdue parts are looked for.
const TICK: Duration = Duration::from_millis(50);

/// The packager of one feed.
#[derive(Debug)]
pub struct FeedPackager {
    limits: Limits,
    info: Arc<FeedInfo>,
    held: VecDeque<MediaPacket>,
    held_bytes: usize,
    state: Option<Running>,
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

/// What exists once the cadence is decided.
#[derive(Debug)]
struct Running {
    header: Header,
    frame_rate: f64,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    /// Video that cannot be packaged but whose stamps carry the cuts.
    cuts_only: Option<(StreamKey, ClockRate)>,
    plans: Plans,
    changes: u64,
}

impl FeedPackager {
    /// A feed from which nothing has come yet.
    #[must_use]
    pub fn new(limits: Limits, info: Arc<FeedInfo>) -> Self {
        Self {
            limits,
            info,
            held: VecDeque::new(),
            held_bytes: 0,
            state: None,
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

    /// The streams it reads.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamKey> {
        let first = |kind| self.info.track(kind).and_then(|track| track.streams().next());
        [first(TrackKind::Video), first(TrackKind::Audio)].into_iter().flatten().collect()
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
        if Arc::ptr_eq(&self.info, info) && self.state.is_some() {
            return;
        }
        self.info = info.clone();
        self.handle_map(info);
        if self.state.is_none() {
            self.begin(now);
        }
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
        if self.state.is_none() {
            self.hold(packet);
            return;
        }
        self.process(packet);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.last_tick = Some(now);
        let alive = self.info.state == FeedState::Live
            && self.last_packet.is_some_and(|last| now.saturating_duration_since(last) < SILENT);
        let Some(state) = &mut self.state else { return };
        let target = Duration::from_secs(u64::from(state.header.target_duration));
        let stuck = self.last_driver.is_some_and(|last| now.saturating_duration_since(last) > target);
        if let Some(video) = &mut state.video {
            video.handle_timeout(now, alive, &mut state.plans, &self.maps);
        }
        if let Some(audio) = &mut state.audio {
            audio.handle_timeout(now, alive, &mut state.plans, &self.maps);
        }
        self.after();
        self.note_away(!alive && self.last_packet.is_some());
        self.note_stuck(stuck);
    }

    /// When [`Self::handle_timeout`] should next be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = self.state.as_ref()?;
        let video = state.video.as_ref().and_then(VideoTrack::poll_timeout);
        let audio = state.audio.as_ref().and_then(AudioTrack::poll_timeout);
        let tick = if self.away { None } else { self.last_tick.or(self.last_packet).map(|last| last + TICK) };
        [video, audio, tick].into_iter().flatten().min()
    }

    /// Whether [`Self::snapshot`] has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The track that needs a keyframe, if one does. Once.
    pub fn take_keyframe_wanted(&mut self) -> Option<TrackId> {
        let video = self.state.as_mut()?.video.as_mut()?;
        video.take_keyframe_wanted().then_some(video.key().track)
    }

    /// Parts and segments written since the beginning, of all renditions.
    #[must_use]
    pub fn written(&self) -> (u64, u64) {
        let Some(state) = &self.state else { return (0, 0) };
        let writers =
            [state.video.as_ref().map(VideoTrack::writer), state.audio.as_ref().map(AudioTrack::writer)];
        writers.into_iter().flatten().fold((0, 0), |(parts, segments), writer| {
            (parts + writer.parts(), segments + writer.changes() - writer.parts())
        })
    }

    /// The picture that playlists are printed from.
    #[must_use]
    pub fn snapshot(&self) -> FeedSnapshot {
        let instance = format!("{:x}", self.info.since.unix_nanos() / 1_000_000);
        let base = FeedSnapshot {
            instance,
            ended: self.ended,
            away: self.away || self.stuck,
            refused: self.refused.clone(),
            ..FeedSnapshot::default()
        };
        let Some(state) = &self.state else { return base };
        let video = state.video.as_ref().map(|video| {
            let (width, height) = video.config().map_or((0, 0), |config| (config.width, config.height));
            let media = RenditionMedia::Video { width, height, frame_rate: state.frame_rate };
            let codecs = video.config().map_or_else(String::new, |config| config.codecs.clone());
            rendition("video0", codecs, media, video.writer())
        });
        let audio = state.audio.as_ref().map(|audio| {
            let media = RenditionMedia::Audio { channels: audio.channels() };
            rendition("audio0", "opus".into(), media, audio.writer())
        });
        let main = state.video.as_ref().map(VideoTrack::writer);
        let main = main.or(state.audio.as_ref().map(AudioTrack::writer));
        let refused = state.video.as_ref().and_then(|video| video.refused().map(str::to_owned));
        FeedSnapshot {
            header: state.header,
            refused: base.refused.clone().or(refused),
            discontinuities: main.map_or(0, |writer| writer.window().discontinuities()),
            lost_access_units: state.video.as_ref().map_or(0, VideoTrack::lost)
                + state.audio.as_ref().map_or(0, AudioTrack::lost),
            renditions: [video, audio].into_iter().flatten().collect(),
            ..base
        }
    }

    fn begin(&mut self, now: Instant) {
        let info = self.info.clone();
        let undecided = info.cadence.rule == CadenceRule::Undecided || info.map.is_none();
        if undecided || info.tracks.is_empty() {
            return;
        }
        let video = info.track(TrackKind::Video);
        let audio = info.track(TrackKind::Audio).filter(|track| track.codec == Codec::Opus);
        let packaged = video.filter(|track| track.codec == Codec::H264);
        self.refused = refusal(&info, packaged.is_some(), audio.is_some());
        self.changed = true;
        if packaged.is_none() && audio.is_none() {
            self.held.clear();
            self.held_bytes = 0;
            return;
        }
        let key = |track: &TrackInfo| track.streams().next().unwrap_or_default();
        let cuts_only = video.filter(|_| packaged.is_none()).map(|track| (key(track), track.clock_rate));
        let master = video.map_or(ClockRate::OPUS, |track| track.clock_rate);
        let cadence = &info.cadence;
        let header = Header {
            target_duration: cadence.target_duration.max(1),
            part_target_ms: cadence.part_target_ms.max(1),
            independent_segments: packaged.is_none() || cadence.rule == CadenceRule::OnRequest,
        };
        let patience = self.limits.patience;
        // Sound is a small part of a feed with pictures.
        let (video_bytes, audio_bytes) = match packaged {
            Some(_) => (self.limits.bytes / 8 * 7, self.limits.bytes / 8),
            None => (0, self.limits.bytes),
        };
        let video = packaged.map(|track| {
            let limits = self.window(header, track.clock_rate, video_bytes);
            VideoTrack::new(
                key(track),
                track.clock_rate,
                Cut::video(cadence, track.clock_rate),
                patience,
                limits,
            )
        });
        let drives = info.track(TrackKind::Video).is_none();
        let audio = audio.map(|track| {
            let limits = self.window(header, ClockRate::OPUS, audio_bytes);
            let cut = Cut::audio(cadence, ClockRate::OPUS, 960);
            AudioTrack::new(key(track), cut, track.channels, drives, patience, limits)
        });
        let frame_rate = cadence.frame_rate.unwrap_or(0.0);
        let plans = Plans::new(master);
        self.state = Some(Running { header, frame_rate, video, audio, cuts_only, plans, changes: 0 });
        self.last_tick = Some(now);
        for packet in std::mem::take(&mut self.held) {
            self.process(packet);
        }
        self.held_bytes = 0;
    }

    fn window(&self, header: Header, rate: ClockRate, bytes: usize) -> WindowLimits {
        let target = i64::from(header.target_duration) * i64::from(rate.hz());
        let part = (i64::from(header.part_target_ms) * i64::from(rate.hz()) / 1_000).max(1);
        WindowLimits {
            rate,
            part,
            segment: target,
            ticks: rate.ticks(self.limits.window),
            least_ticks: target * 4,
            grace_ticks: target * 4,
            bytes,
        }
    }

    fn hold(&mut self, packet: MediaPacket) {
        self.held_bytes += packet.payload.len();
        self.held.push_back(packet);
        while self.held.len() > MOST_HELD.0 || self.held_bytes > MOST_HELD.1 {
            let Some(gone) = self.held.pop_front() else { return };
            self.held_bytes -= gone.payload.len();
        }
    }

    fn process(&mut self, packet: MediaPacket) {
        let Some(state) = &mut self.state else { return };
        let (plans, maps) = (&mut state.plans, &self.maps);
        if state.video.as_ref().is_some_and(|video| video.key() == packet.key) {
            if let Some(video) = &mut state.video {
                video.handle_packet(packet, plans, maps);
            }
        } else if state.audio.as_ref().is_some_and(|audio| audio.key() == packet.key) {
            if let Some(audio) = &mut state.audio {
                audio.handle_packet(packet, plans, maps);
            }
        } else if state.cuts_only.is_some_and(|(key, _)| key == packet.key) {
            let ended = follow_cuts(&packet, plans, maps);
            if let (Some(epoch), Some(audio)) = (ended, &mut state.audio) {
                audio.finish(epoch, None, plans, maps);
            }
        }
        self.after();
    }

    /// The publisher has left, or the feed is over: everything that is here is written.
    fn finish(&mut self) {
        let Some(state) = &mut self.state else { return };
        if let Some(video) = &mut state.video {
            video.finish(&mut state.plans, &self.maps);
        }
        self.after();
        let Some(state) = &mut self.state else { return };
        if let Some(audio) = &mut state.audio {
            audio.finish(Epoch(u32::MAX), None, &mut state.plans, &self.maps);
        }
        self.after();
    }

    /// After every input: what one track decided reaches the other.
    fn after(&mut self) {
        let Some(state) = &mut self.state else { return };
        if let Some(audio) = &mut state.audio {
            let ended = state.video.as_mut().and_then(VideoTrack::take_ended);
            if let Some((epoch, edge)) = ended {
                let rate = state.plans.rate();
                let edge = bicast_shared::time::MediaTime(edge).to_rate(rate, ClockRate::OPUS).0;
                audio.finish(epoch, Some(edge), &mut state.plans, &self.maps);
            }
            audio.advance(&state.plans);
        }
        let writers =
            [state.video.as_ref().map(VideoTrack::writer), state.audio.as_ref().map(AudioTrack::writer)];
        let changes = writers.iter().flatten().map(|writer| writer.changes()).sum();
        self.changed |= changes != state.changes;
        state.changes = changes;
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

/// Segments as the stamps of a video that is not packaged tell them. The epoch that ends with this packet, if one does.
fn follow_cuts(packet: &MediaPacket, plans: &mut Plans, maps: &Maps) -> Option<Epoch> {
    let stamp = packet.stamp;
    let newest = plans.newest().map(|plan| (plan.number, plan.epoch));
    let number = stamp.segment.map(|number| number.0)?;
    let mut ended = None;
    if newest.is_none_or(|(newest, _)| number > newest) {
        let restart = newest.is_some_and(|(newest, epoch)| epoch != stamp.epoch || number > newest + 1);
        ended = newest.filter(|_| restart).map(|(_, epoch)| epoch);
        let (epoch, start) = (stamp.epoch, stamp.segment_start);
        let map = maps.version(stamp.map_version)?;
        plans.push(SegmentPlan { number, epoch, start, map, discontinuity: restart, restart });
    }
    plans.advance(stamp.media_time.0);
    ended
}

/// Why this feed, or its picture, cannot be watched over HLS.
fn refusal(info: &FeedInfo, video: bool, audio: bool) -> Option<String> {
    let codec = |kind| info.track(kind).map(|track| track.codec);
    match (codec(TrackKind::Video), codec(TrackKind::Audio)) {
        (Some(codec), _) if !video && audio => {
            Some(format!("Only the sound is on HLS: {codec} video is not packaged. Publish H264."))
        }
        (Some(codec), _) if !video => Some(format!("{codec} video is not packaged for HLS. Publish H264.")),
        (None, Some(codec)) if !audio => {
            Some(format!("{codec} sound is not packaged for HLS. Publish Opus."))
        }
        _ => None,
    }
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
    }
}
