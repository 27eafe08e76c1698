//! The feed's owner: stamps every packet with the timeline and decides the cuts, once. Pure: packets and `now` in,
//! stamped packets, keyframe requests and snapshots out.
//!
//! | file | decides |
//! |---|---|
//! | `stream` | where a packet stands: RTP's numbers unwrapped, with offsets frozen per epoch |
//! | `relation` | UTC of media time, audio against video: the versions of the `TimelineMap` |
//! | `cadence` | which rule the feed is under and how long parts are |
//! | `cuts` | which frame begins a segment |
//! | `drive` | whether the picture comes that drives the cuts, or sound takes its place |
//! | `seen` | whether a packet came before |
//! | `requests` | when the publisher is asked for a keyframe |
//! | `layers` | of a picture in several encodings: which run, and where all of them can be cut |
//! | `pairing` | how the clocks of these encodings stand to each other |
//! | `simulcast` | what the owner does with such a picture |

mod cadence;
mod cuts;
mod drive;
mod layers;
mod pairing;
mod relation;
mod requests;
mod seen;
mod simulcast;
mod stream;
mod unwrap;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::cadence::CadenceDecider;
use self::cuts::Cuts;
use self::drive::Drive;
use self::layers::Layers;
use self::relation::Relation;
use self::requests::KeyframeRequester;
use self::stream::{Placed, Placement, StreamClock};
use crate::feed::info::{Cadence, CadenceRule, FeedInfo, FeedState, PublisherInfo};
use crate::feed::past::Resumption;
use crate::feed::settings::FeedSettings;
use crate::id::{Epoch, FeedId, SegmentNumber, StreamKey, TrackId};
use crate::media::{Codec, TrackInfo, TrackKind, decoder_configuration, starts_decoding};
use crate::packet::{MediaPacket, Stamp};
use crate::time::{ClockRate, MediaTime, ProgramTime};

/// An RTP packet as a publisher sent it.
#[derive(Debug, Clone)]
pub struct RtpInput {
    /// RTP's sequence number.
    pub sequence_number: u16,
    /// RTP's timestamp, in the track's clock rate.
    pub timestamp: u32,
    /// RTP's marker bit.
    pub marker: bool,
    /// The payload without header, extensions and padding; empty for a padding-only packet.
    pub payload: Bytes,
    /// The value of `urn:3gpp:video-orientation`, if the packet carries it.
    pub orientation: Option<u8>,
    /// Presentation time minus decode time in ticks, where the source knows it.
    pub composition_offset: Option<i64>,
}

/// So many segments in a row without the keyframe that was asked for every half second: the publisher is deaf.
const MOST_VAIN: u32 = 2;

/// Stamps a feed's packets and decides its cuts. See the module's description.
#[derive(Debug)]
pub struct FeedOwner {
    settings: Arc<FeedSettings>,
    info: FeedInfo,
    changed: bool,
    streams: BTreeMap<StreamKey, StreamClock>,
    relation: Relation,
    cadence: CadenceDecider,
    /// Whether the current publisher's rule is still open.
    deciding: bool,
    cuts: Cuts,
    drive: Drive,
    /// Segments in a row that began without a keyframe although the publisher is one that answers.
    vain: u32,
    /// The publisher turns out not to answer: its next keyframe begins an epoch of this cadence.
    slower: Option<Cadence>,
    requests: BTreeMap<TrackId, KeyframeRequester>,
    /// The current epoch's first packet: when it came and where the master clock stood, in nanoseconds.
    epoch_start: Option<(Instant, i64)>,
    /// When the newest packet of any stream came.
    last_packet: Option<Instant>,
    /// When the current publisher came or sent its newest packet.
    heard: Option<Instant>,
    bus_sequence: u64,
    /// The newest frame of the driving stream that was looked at for a cut, and whether it was known to be a keyframe.
    looked_at: Option<(MediaTime, bool)>,
    /// How the driving stream is coded: see [`decoder_configuration`].
    parameters: Option<Bytes>,
    /// The encodings of the picture, where it has several.
    layers: Layers,
    /// Packets that were held until the clock of their encoding was known.
    released: VecDeque<MediaPacket>,
    /// A segment has begun that not all layers had a keyframe for.
    misaligned: Option<Duration>,
    /// It was another process's feed, and nothing has come in this one yet.
    resumed: Option<Resumption>,
}

impl FeedOwner {
    /// The owner of a feed that nobody has published yet. `utc` is when it began.
    #[must_use]
    pub fn new(id: FeedId, settings: FeedSettings, utc: ProgramTime) -> Self {
        let settings = Arc::new(settings);
        let info = FeedInfo {
            id,
            settings: settings.clone(),
            is_kept: false,
            state: FeedState::Starting,
            epoch: Epoch(0),
            tracks: Vec::new(),
            publisher: None,
            standby: None,
            cadence: Cadence::default(),
            map: None,
            b_frames: false,
            layers: Vec::new(),
            since: utc,
        };
        Self {
            cadence: CadenceDecider::new(settings.clone()),
            deciding: false,
            cuts: Cuts::new(&settings),
            drive: Drive::default(),
            vain: 0,
            slower: None,
            settings,
            info,
            changed: true,
            streams: BTreeMap::new(),
            relation: Relation::new(),
            requests: BTreeMap::new(),
            epoch_start: None,
            last_packet: None,
            heard: None,
            bus_sequence: 0,
            looked_at: None,
            parameters: None,
            layers: Layers::default(),
            released: VecDeque::new(),
            misaligned: None,
            resumed: None,
        }
    }

    /// The owner of a feed that waits for its first publisher, and stays until it is ended.
    #[must_use]
    pub fn kept(id: FeedId, settings: FeedSettings, utc: ProgramTime) -> Self {
        let mut owner = Self::new(id, settings, utc);
        owner.info.is_kept = true;
        owner.info.state = FeedState::Offline;
        owner
    }

    /// The owner of a feed that a process before left, and whose publisher is away.
    #[must_use]
    pub fn resume(resumed: Resumption) -> Self {
        let past = &resumed.past;
        let mut owner = Self::new(past.id.clone(), past.settings.clone(), past.since);
        owner.relation = Relation::resume(&past.map);
        owner.cuts.resume(resumed.next_segment);
        owner.info = FeedInfo {
            is_kept: past.is_kept,
            state: FeedState::Offline,
            epoch: past.epoch,
            tracks: past.tracks.clone(),
            cadence: past.cadence.clone(),
            map: owner.relation.map(),
            ..owner.info
        };
        owner.resumed = Some(resumed);
        owner
    }

    /// What is known about the feed now.
    #[must_use]
    pub fn info(&self) -> FeedInfo {
        self.info.clone()
    }

    /// Whether [`Self::info`] has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The streams of the current epoch.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamKey> {
        self.info.tracks.iter().flat_map(TrackInfo::streams).collect()
    }

    /// The feed is treated in another way: at once, but for the lengths that segments and parts aim at. These hold from the next
    /// publisher on, because they stand in the headers of playlists that are live (RFC 8216bis, 6.2.1).
    pub fn set_settings(&mut self, settings: FeedSettings) {
        self.info.settings = Arc::new(settings);
        self.changed = true;
    }

    /// What was set since the publisher before holds for this one.
    fn take_settings(&mut self) {
        let before = std::mem::replace(&mut self.settings, self.info.settings.clone());
        let lengths = |settings: &FeedSettings| (settings.segment_target, settings.part_target);
        if lengths(&before) != lengths(&self.settings) {
            // With other numbers, playlists begin anew.
            self.info.cadence = Cadence::default();
            self.cuts.set_targets(&self.settings);
        }
    }

    /// A publisher has come with these tracks. The feed's first publisher begins epoch 0. An ended feed stays ended.
    pub fn begin_epoch(&mut self, now: Instant, tracks: Vec<TrackInfo>, publisher: PublisherInfo) {
        if self.is_ended() {
            return;
        }
        if self.last_packet.is_some() || self.resumed.is_some() {
            self.info.epoch = self.info.epoch.next();
        }
        for track in &tracks {
            for key in track.streams() {
                let clock = self.streams.entry(key).or_insert_with(|| StreamClock::new(track.clock_rate));
                if clock.rate() != track.clock_rate {
                    clock.set_rate(track.clock_rate);
                }
            }
        }
        // Wishes for tracks that are gone could never be served.
        self.requests.clear();
        let video = tracks.iter().filter(|track| track.kind() == TrackKind::Video);
        self.requests.extend(video.map(|track| (track.id, KeyframeRequester::default())));
        self.heard = Some(now);
        self.info.state = FeedState::Starting;
        self.info.tracks = tracks;
        self.info.publisher = Some(publisher);
        self.drive = Drive::default();
        self.take_settings();
        self.begin_layers();
        self.reset_epoch();
        self.begin_cadence();
        tracing::debug!(feed = %self.info.id, epoch = %self.info.epoch, ?now, "an epoch begins");
    }

    /// Somebody waits to take over from the publisher, or nobody does any more.
    pub fn set_standby(&mut self, standby: Option<PublisherInfo>) {
        self.info.standby = standby;
    }

    /// When the current publisher was heard last: its newest packet or its coming.
    #[must_use]
    pub const fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// The publisher has left.
    pub fn end_epoch(&mut self, now: Instant) {
        if self.is_ended() {
            return;
        }
        tracing::debug!(feed = %self.info.id, epoch = %self.info.epoch, ?now, "the epoch ends");
        self.info.state = FeedState::Offline;
        self.info.publisher = None;
        self.changed = true;
    }

    /// The feed is over.
    pub fn end(&mut self) {
        self.info.state = FeedState::Ended;
        self.info.publisher = None;
        self.info.standby = None;
        self.changed = true;
    }

    /// Stamps a packet as it came. None when it belongs to no stream of this epoch or cannot be placed.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        utc: ProgramTime,
        key: StreamKey,
        input: RtpInput,
    ) -> Option<MediaPacket> {
        let codec = self.codec(key).filter(|_| !self.is_ended())?;
        if !self.streams.get(&key)?.has_begun() {
            if self.is_layer(key) && input.payload.is_empty() {
                return None;
            }
            if self.is_unpaired(key) {
                self.hold(now, utc, key, input);
                return None;
            }
            self.begin_stream(now, utc, key, &input);
        }
        self.stamp(now, utc, key, codec, input)
    }

    /// Stamps a packet of a stream whose clock is known.
    fn stamp(
        &mut self,
        now: Instant,
        utc: ProgramTime,
        key: StreamKey,
        codec: Codec,
        input: RtpInput,
    ) -> Option<MediaPacket> {
        let clock = self.streams.get_mut(&key)?;
        let rate = clock.rate();
        let placed = match clock.place(now, input.sequence_number, input.timestamp) {
            Placement::Placed(placed) => placed,
            Placement::Dropped => return None,
            Placement::Jumped => {
                tracing::info!(feed = %self.info.id, stream = %key, "the publisher's clock jumped: a new epoch");
                self.info.epoch = self.info.epoch.next();
                self.reset_epoch();
                self.begin_stream(now, utc, key, &input);
                match self.streams.get_mut(&key)?.place(now, input.sequence_number, input.timestamp) {
                    Placement::Placed(placed) => placed,
                    Placement::Dropped | Placement::Jumped => return None,
                }
            }
        };
        let keyframe = !input.payload.is_empty() && starts_decoding(codec, &input.payload);
        self.last_packet = self.last_packet.max(Some(now));
        self.heard = self.heard.max(Some(now));
        if self.info.state != FeedState::Live {
            self.info.state = FeedState::Live;
            self.changed = true;
        }
        if !self.info.b_frames && codec.kind() == TrackKind::Video && self.streams.get(&key)?.reorders() {
            self.info.b_frames = true;
            self.changed = true;
        }
        self.settle_driver(now, utc, key, keyframe, input.payload.is_empty());
        let of_driver = self.driver().is_some_and(|track| track.id == key.track);
        if self.is_layer(key) {
            if !input.payload.is_empty() {
                self.handle_layer(now, utc, key, codec, placed, keyframe, &input);
            }
        } else if self.driving_stream() == Some(key) {
            if keyframe {
                self.handle_parameters(codec, &input.payload);
            }
            self.handle_driving_frame(now, utc, rate, placed, keyframe);
        }
        let segment = if of_driver {
            let segment =
                self.cuts.segment_of(placed.time).filter(|_| !self.layers.is_open(placed.time, rate));
            if segment.is_some() {
                self.layers.tell(key.rendition, placed.time);
            }
            segment
        } else if codec.kind() == TrackKind::Audio {
            self.handle_sound(now, key.track, rate, placed.time)
        } else {
            None
        };
        let stamp = Stamp {
            epoch: self.info.epoch,
            bus_sequence: self.bus_sequence,
            sequence: placed.sequence,
            media_time: placed.time,
            decode_time: input.composition_offset.map(|offset| placed.time + -offset),
            map_version: self.relation.version(),
            program_time: self.relation.program_time(key.track, rate, placed.time),
            keyframe,
            segment: segment.map(|(number, _)| number),
            segment_start: segment.map_or(MediaTime(0), |(_, start)| start),
        };
        self.bus_sequence += 1;
        let RtpInput { marker, payload, orientation, .. } = input;
        Some(MediaPacket { key, stamp, marker, payload, orientation, received: now })
    }

    /// Takes a sender report: the publisher's NTP clock stood at `ntp` when the stream's RTP clock stood at
    /// `rtp_timestamp`. Reports that cannot be true are ignored.
    pub fn handle_sender_report(&mut self, now: Instant, key: StreamKey, ntp: u64, rtp_timestamp: u32) {
        if self.is_unpaired(key) {
            self.handle_report_of_unpaired(now, key, ntp, rtp_timestamp);
            return;
        }
        let Some(clock) = self.streams.get(&key) else { return };
        let Some(at) = clock.report_time(rtp_timestamp) else {
            tracing::debug!(feed = %self.info.id, stream = %key, rtp_timestamp, ?now, "a sender report far from the media");
            return;
        };
        let settled = self.info.cadence.rule != CadenceRule::Undecided;
        if self.relation.handle_sender_report(key.track, clock.rate(), at, ntp, settled) {
            self.take_map();
        }
        self.note_report(key, ntp, at);
    }

    /// Somebody needs a keyframe of this track.
    pub fn want_keyframe(&mut self, _now: Instant, track: TrackId) {
        if let Some(requests) = self.requests.get_mut(&track) {
            requests.want();
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.deciding {
            return;
        }
        let probe = self.cadence.poll_probe(now);
        if probe && let Some(requests) = self.driver_requests() {
            requests.want();
        }
        // Playlists would begin without the layers whose clocks are about to be known.
        if let Some(cadence) = self.cadence.decide(now).filter(|_| !self.layers.is_pairing(now)) {
            self.deciding = false;
            self.take_cadence(cadence);
        }
    }

    /// The tracks whose encoder is to be asked for a keyframe now.
    pub fn poll_keyframe_requests(&mut self, now: Instant) -> Vec<TrackId> {
        if self.info.publisher.is_none() {
            return Vec::new();
        }
        self.requests.iter_mut().filter_map(|(id, requests)| requests.poll(now).then_some(*id)).collect()
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_keyframe_requests`] should next be called.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let deciding = if self.deciding { self.cadence.poll_timeout(now) } else { None };
        self.requests.values().filter_map(KeyframeRequester::poll_timeout).chain(deciding).min()
    }

    fn is_ended(&self) -> bool {
        self.info.state == FeedState::Ended
    }

    /// The track that decides where segments begin: video where there is one and it comes.
    fn driver(&self) -> Option<&TrackInfo> {
        let picture = self.info.track(TrackKind::Video).filter(|_| !self.drive.is_sound());
        picture.or_else(|| self.info.track(TrackKind::Audio))
    }

    /// A packet of `key` has come: it may be the one by which sound takes the picture's place, or the picture its own. A new
    /// epoch begins with it, so that readers know which packets are cut by which.
    fn settle_driver(&mut self, now: Instant, utc: ProgramTime, key: StreamKey, keyframe: bool, empty: bool) {
        let Some(picture) = self.info.track(TrackKind::Video) else { return };
        let id = picture.id;
        let changes = if key.track == id {
            !empty && self.drive.handle_picture(now, keyframe)
        } else {
            let began = self.epoch_start.map_or(now, |(began, _)| began);
            self.drive.handle_sound(now, began, self.cuts.has_begun())
        };
        if changes {
            tracing::info!(feed = %self.info.id, sound = self.drive.is_sound(), "another track drives the cuts: a new epoch");
            self.info.epoch = self.info.epoch.next();
            self.cuts.begin_epoch();
            self.layers.begin_cuts();
            (self.looked_at, self.parameters) = (None, None);
            self.relation.begin_epoch(&self.timed_tracks(), utc, 0);
            self.take_map();
            self.begin_cadence();
        } else if self.drive.is_sound() && key.track == id && !empty {
            // It cannot take its place before a keyframe has come.
            self.want_keyframe(now, id);
        }
    }

    /// A packet of sound has come that does not drive the cuts. Where the picture has stopped coming, segments begin by the
    /// sound's time on the picture's clock, and the sound carries the stamps: gives the segment that it belongs to then.
    fn handle_sound(
        &mut self,
        now: Instant,
        track: TrackId,
        rate: ClockRate,
        at: MediaTime,
    ) -> Option<(SegmentNumber, MediaTime)> {
        let master = self.driver()?.clock_rate;
        let nanos = rate.nanos(at.0).saturating_add(self.relation.slewed(track));
        let at = MediaTime(crate::time::scale(nanos, i64::from(master.hz()), 1_000_000_000));
        let cut = self.drive.is_silent(now) && self.cuts.handle_sound(at, master, &self.info.cadence);
        if cut {
            self.layers.begin_cuts();
        }
        if cut && self.relation.handle_cut() {
            self.take_map();
        }
        if self.cuts.by_sound() { self.cuts.segment_of(at) } else { None }
    }

    /// The tracks that stand on the master clock: a picture that does not come can be related to nothing.
    fn timed_tracks(&self) -> Vec<TrackInfo> {
        let comes = |track: &&TrackInfo| !self.drive.is_sound() || track.kind() == TrackKind::Audio;
        self.info.tracks.iter().filter(comes).cloned().collect()
    }

    fn driver_requests(&mut self) -> Option<&mut KeyframeRequester> {
        let id = self.driver()?.id;
        self.requests.get_mut(&id)
    }

    fn driving_stream(&self) -> Option<StreamKey> {
        self.driver().and_then(|track| track.streams().next())
    }

    fn codec(&self, key: StreamKey) -> Option<Codec> {
        let track = self.info.tracks.iter().find(|track| track.id == key.track)?;
        track.renditions.iter().any(|rendition| rendition.id == key.rendition).then_some(track.codec)
    }

    fn reset_epoch(&mut self) {
        for clock in self.streams.values_mut() {
            clock.end_epoch();
        }
        self.cuts.begin_epoch();
        self.layers.reset();
        self.epoch_start = None;
        self.looked_at = None;
        self.parameters = None;
        self.info.b_frames = false;
        self.changed = true;
    }

    /// The first packet of a stream in this epoch: the feed's time runs on (timeline.md, invariant 6).
    fn begin_stream(&mut self, now: Instant, utc: ProgramTime, key: StreamKey, input: &RtpInput) {
        let (began, nanos) = match self.epoch_start {
            Some(start) => start,
            None => {
                let start = (now, self.next_epoch_nanos(now, utc));
                self.relation.begin_epoch(&self.timed_tracks(), utc, start.1);
                self.take_map();
                self.epoch_start = Some(start);
                start
            }
        };
        let since = i64::try_from(now.saturating_duration_since(began).as_nanos()).unwrap_or(i64::MAX);
        let Some(clock) = self.streams.get_mut(&key) else { return };
        let nanos = u64::try_from(nanos.saturating_add(since)).unwrap_or(0);
        let time = MediaTime(clock.rate().ticks(Duration::from_nanos(nanos)));
        clock.begin_epoch(now, input.sequence_number, input.timestamp, time);
    }

    /// Where the master clock stands when an epoch begins now: after everything emitted, and after the time that went
    /// by without a publisher.
    fn next_epoch_nanos(&mut self, now: Instant, utc: ProgramTime) -> i64 {
        if let Some(resumed) = self.resumed.take() {
            return resumed.begin_nanos(utc);
        }
        let emitted = self.streams.iter().filter_map(|(key, clock)| {
            let (newest, next) = clock.newest_and_next()?;
            let correction = self.relation.slewed(key.track).max(0);
            Some((clock.rate().nanos(newest.0) + correction, clock.rate().nanos(next.0) + correction))
        });
        let (newest, next) = emitted.fold((i64::MIN, i64::MIN), |(a, b), (c, d)| (a.max(c), b.max(d)));
        let Some(last_packet) = self.last_packet else {
            return ClockRate::VIDEO.nanos(MediaTime::origin(ClockRate::VIDEO).0);
        };
        let elapsed =
            i64::try_from(now.saturating_duration_since(last_packet).as_nanos()).unwrap_or(i64::MAX);
        next.max(newest.saturating_add(elapsed))
    }

    fn handle_parameters(&mut self, codec: Codec, payload: &Bytes) {
        let Some(parameters) = decoder_configuration(codec, payload) else { return };
        if self.parameters.as_ref().is_some_and(|before| before[..] != *parameters) {
            self.cuts.handle_new_parameters();
        }
        if self.parameters.as_ref().is_none_or(|before| before[..] != *parameters) {
            self.parameters = Some(payload.slice_ref(parameters));
        }
    }

    fn handle_driving_frame(
        &mut self,
        now: Instant,
        utc: ProgramTime,
        rate: ClockRate,
        placed: Placed,
        keyframe: bool,
    ) {
        let known_keyframe = self.looked_at.is_some_and(|(time, keyframe)| time == placed.time && keyframe);
        let newly_keyframe = keyframe && !known_keyframe;
        if placed.new_frame {
            self.relation.handle_frame(placed.time, rate, utc);
        }
        let not_older = self.looked_at.is_none_or(|(time, _)| placed.time >= time);
        let worth_a_look = placed.new_frame || (newly_keyframe && not_older);
        if !worth_a_look {
            return;
        }
        self.looked_at = Some((placed.time, keyframe));
        let video = self.driver().is_some_and(|track| track.kind() == TrackKind::Video);
        if video {
            if let Some(ticks) = placed.interval {
                self.cadence.handle_interval(ticks);
            }
            if newly_keyframe {
                let answer = self.driver_requests().is_some_and(|requests| requests.handle_keyframe(now));
                self.cadence.handle_keyframe(now, answer);
            }
            self.handle_timeout(now);
            if newly_keyframe {
                self.slow_down();
            }
        }
        let cut = self.cuts.handle_frame(placed.time, keyframe, rate, &self.info.cadence);
        if cut && self.relation.handle_cut() {
            self.take_map();
        }
        self.count_vain(newly_keyframe, cut);
        self.ask_for_cut(placed.time, rate);
    }

    /// Segments without keyframes of a publisher that is asked for them are counted.
    fn count_vain(&mut self, keyframe: bool, cut: bool) {
        if keyframe {
            self.vain = 0;
        } else if cut && self.info.cadence.rule == CadenceRule::OnRequest {
            self.vain += 1;
            if self.vain >= MOST_VAIN && self.slower.is_none() {
                self.slower = Some(self.cadence.self_paced());
            }
        }
    }

    /// Asks for a keyframe where the next segment should begin soon, or none has begun. The newest frame is at `at`.
    fn ask_for_cut(&mut self, at: MediaTime, rate: ClockRate) {
        let Some(id) = self.driver().map(|track| track.id) else { return };
        let Some(requests) = self.requests.get_mut(&id) else { return };
        let undecodable = self.cuts.segment_of(at).is_none();
        if undecodable || self.cuts.wants_keyframe(at, rate, &self.info.cadence, requests.response()) {
            requests.want();
        }
    }

    /// Every publisher's rule is found out anew.
    fn begin_cadence(&mut self) {
        let video = self.driver().is_some_and(|track| track.kind() == TrackKind::Video);
        let known = self.info.cadence.rule;
        if known != CadenceRule::Undecided && (known != CadenceRule::AudioOnly) != video {
            // Sound's numbers do not suit a picture, nor a picture's sound. Playlists begin anew with the other kind.
            self.info.cadence = Cadence::default();
        }
        self.cadence = CadenceDecider::new(self.settings.clone());
        (self.vain, self.slower) = (0, None);
        self.deciding = video;
        if !video {
            self.take_cadence(CadenceDecider::audio_only(&self.settings, self.drive.is_sound()));
        }
    }

    /// A keyframe of a publisher that turned out not to answer: from here on segments may be as long as it needs them, which
    /// takes playlists with other numbers. They can only begin with a keyframe.
    fn slow_down(&mut self) {
        let Some(cadence) = self.slower.take() else { return };
        tracing::info!(feed = %self.info.id, "the publisher does not answer keyframe requests: a new epoch");
        self.info.epoch = self.info.epoch.next();
        self.info.cadence = cadence;
        if self.layers.any() {
            self.cuts.take_back(|start| self.layers.is_told(start));
        }
        self.cuts.begin_epoch();
        self.layers.begin_cuts();
        self.changed = true;
        if let Some(requests) = self.driver_requests() {
            requests.give_up();
        }
    }

    /// The numbers stay once they are decided, because playlists that are live may not change theirs (RFC 8216bis, 6.2.1);
    /// the rule is each publisher's own.
    fn take_cadence(&mut self, decided: Cadence) {
        tracing::info!(feed = %self.info.id, epoch = %self.info.epoch, rule = ?decided.rule,
            frame_rate = decided.frame_rate, part_target_ms = decided.part_target_ms, "cadence decided");
        let deaf = decided.rule == CadenceRule::SelfPaced;
        let cadence = &mut self.info.cadence;
        if cadence.rule == CadenceRule::Undecided {
            *cadence = decided;
        } else if cadence.rule == CadenceRule::OnRequest && deaf {
            // The publisher before answered, and playlists promise that every segment begins with a keyframe.
            self.slower = Some(decided);
        } else {
            (cadence.rule, cadence.advice) = (decided.rule, decided.advice);
        }
        self.changed = true;
        if deaf && let Some(requests) = self.driver_requests() {
            requests.give_up();
        }
    }

    fn take_map(&mut self) {
        self.info.map = self.relation.map();
        self.changed = true;
    }
}

#[cfg(test)]
mod simulcast_tests;
#[cfg(test)]
mod tests;
