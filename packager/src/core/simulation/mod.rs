//! Whole sessions on virtual time: a publisher with real H.264, the feed's real owner, and a reader that checks every
//! playlist and every part against the rules.

mod aac;
mod files;
mod layers;
mod publisher;
mod reader;
mod restart;
mod runs;
mod silence;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::feed::owner::FeedOwner;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{RenditionId, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::{ClockRate, ProgramTime};

use self::publisher::Publisher;
use self::reader::Reader;
use crate::core::feed::{FeedPackager, Limits};
use crate::core::reorder::Patience;
use crate::core::testing::at;

pub(crate) const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
pub(crate) const AUDIO: StreamKey = StreamKey::new(TrackId(1), RenditionId(0));

/// UTC when a session begins.
const BEGIN: ProgramTime = ProgramTime::from_unix_nanos(1_795_410_539_000_000_000);

/// A session: publisher, owner, packager and reader on one clock.
pub(crate) struct Session {
    pub(crate) owner: FeedOwner,
    pub(crate) core: FeedPackager,
    pub(crate) reader: Reader,
    pub(crate) millis: i64,
    /// Media times of every frame put on the bus.
    pub(crate) sent: BTreeSet<i64>,
    /// Sequence numbers that the packager never sees.
    pub(crate) lose: fn(i64) -> bool,
    /// The same of the sound.
    pub(crate) lose_sound: fn(i64) -> bool,
    pub(crate) keyframes_asked: u64,
}

pub(crate) fn tracks(video: Option<Codec>, audio: bool) -> Vec<TrackInfo> {
    let mut tracks = Vec::new();
    if let Some(codec) = video {
        tracks.push(TrackInfo::single(TrackId(0), codec, ClockRate::VIDEO, 0, String::new()));
    }
    if audio {
        let id = TrackId(u8::from(video.is_some()));
        tracks.push(TrackInfo::single(id, Codec::Opus, ClockRate::OPUS, 2, String::new()));
    }
    tracks
}

fn limits(window: Duration) -> Limits {
    Limits {
        window,
        held: window,
        late: Duration::ZERO,
        bytes: 64 << 20,
        stored_bytes: usize::MAX,
        patience: Patience::default(),
    }
}

impl Session {
    pub(crate) fn new() -> Self {
        Self::with_window(Duration::from_secs(300))
    }

    pub(crate) fn with_window(window: Duration) -> Self {
        let owner = FeedOwner::new("demo".parse().unwrap(), FeedSettings::default(), BEGIN);
        let limits = limits(window);
        let core = FeedPackager::new(limits, Arc::new(owner.info()));
        Self {
            owner,
            core,
            reader: Reader::default(),
            millis: 0,
            sent: BTreeSet::new(),
            lose: |_| false,
            lose_sound: |_| false,
            keyframes_asked: 0,
        }
    }

    pub(crate) fn begin_epoch(&mut self, tracks: Vec<TrackInfo>) {
        let publisher = PublisherInfo { protocol: "test".into(), agent: None, address: None, since: BEGIN };
        self.owner.begin_epoch(self.now(), tracks, publisher);
        self.tell();
    }

    pub(crate) fn end_epoch(&mut self) {
        self.owner.end_epoch(self.now());
        self.tell();
    }

    pub(crate) fn end(&mut self) {
        self.owner.end();
        self.tell();
    }

    pub(crate) fn now(&self) -> Instant {
        at(self.millis)
    }

    fn utc(&self) -> ProgramTime {
        BEGIN + Duration::from_millis(self.millis.unsigned_abs())
    }

    /// Lets `publisher` send for `millis`, a millisecond at a time.
    pub(crate) fn run(&mut self, publisher: &mut Publisher, millis: i64) {
        self.run_layers(std::slice::from_mut(publisher), millis);
    }

    /// The same for one of several layers; each sends sender reports.
    pub(crate) fn run_layers(&mut self, layers: &mut [Publisher], millis: i64) {
        let end = self.millis + millis;
        while self.millis < end {
            let now = self.now();
            let packets: Vec<_> = layers.iter_mut().flat_map(|layer| layer.poll(self.millis)).collect();
            for (key, input) in packets {
                let packet = self.owner.handle_rtp(now, self.utc(), key, input);
                self.take(packet);
            }
            let reports = layers.len() > 1 && self.millis % 1_000 == 400;
            for layer in layers.iter().filter(|_| reports) {
                if let Some(timestamp) = layer.report(self.millis) {
                    self.owner.handle_sender_report(now, layer.video_key, self.utc().ntp(), timestamp);
                    self.take(None);
                }
            }
            self.owner.handle_timeout(now);
            if let Some(track) = self.core.take_keyframe_wanted() {
                self.keyframes_asked += 1;
                self.owner.want_keyframe(now, track);
            }
            if !self.owner.poll_keyframe_requests(now).is_empty() {
                layers.iter_mut().for_each(|layer| layer.handle_keyframe_request(self.millis));
            }
            if self.owner.take_changed() {
                self.tell();
            }
            if self.core.poll_timeout().is_some_and(|due| due <= now) {
                self.core.handle_timeout(now);
                self.publish();
            }
            self.millis += 1;
        }
    }

    /// The packager gets what the owner has stamped.
    fn take(&mut self, packet: Option<MediaPacket>) {
        let released: Vec<_> = std::iter::from_fn(|| self.owner.poll_released()).collect();
        for packet in released.into_iter().chain(packet) {
            if packet.key == VIDEO && !packet.payload.is_empty() {
                self.sent.insert(packet.stamp.media_time.0);
            }
            self.core.handle_map(&self.owner.info());
            let lose = if packet.key == VIDEO { self.lose } else { self.lose_sound };
            if lose(packet.stamp.sequence) {
                continue;
            }
            self.core.handle_packet(self.now(), packet);
            self.publish();
        }
    }

    fn tell(&mut self) {
        let info = Arc::new(self.owner.info());
        self.core.handle_info(self.now(), &info);
        self.publish();
    }

    fn publish(&mut self) {
        while let Some(over) = self.core.take_over() {
            self.reader.read(&over, self.millis);
        }
        if self.core.take_changed() {
            self.reader.read(&self.core.snapshot(), self.millis);
        }
    }
}
