//! The feeds that a worker's viewers watch: one history per stream for all of them, and the fan-out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bicast_shared::feed::bus::Feed;
use bicast_shared::feed::info::{FeedInfo, FeedState};
use bicast_shared::id::{FeedId, StreamKey};
use bicast_shared::media::TrackKind;
use bicast_shared::packet::MediaPacket;
use tokio::task::AbortHandle;

use super::Worker;
use super::batch::Sent;
use super::path::Output;
use super::viewer::Viewer;
use crate::core::history::History;
use crate::status::FeedReport;

/// Packets kept of a video stream: a group of pictures of 10 s, as much as the bus holds.
const VIDEO_PACKETS: usize = 8_192;
/// Packets kept of an audio stream: 10 s, for retransmission.
const AUDIO_PACKETS: usize = 512;

/// A feed as one worker sees it.
pub(crate) struct WorkerFeed {
    feed: Feed,
    info: Arc<FeedInfo>,
    streams: BTreeMap<StreamKey, Stream>,
    /// Viewers that are connected.
    connected: u32,
    sent_bytes: u64,
    sent_packets: u64,
    repaired: u64,
}

/// A stream that somebody watches or is about to.
struct Stream {
    kind: TrackKind,
    history: History,
    /// Slots of connected viewers.
    viewers: Vec<usize>,
    /// Viewers, connected or not.
    wanted: usize,
    reader: Option<AbortHandle>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

impl WorkerFeed {
    pub(crate) fn new(feed: Feed) -> Self {
        let info = feed.info();
        Self {
            feed,
            info,
            streams: BTreeMap::new(),
            connected: 0,
            sent_bytes: 0,
            sent_packets: 0,
            repaired: 0,
        }
    }

    /// Whether it is this feed, and not another one under its id.
    pub(crate) fn is_of(&self, feed: &Feed) -> bool {
        self.feed.is_same(feed)
    }

    /// A viewer is about to watch a stream.
    pub(crate) fn want(&mut self, key: StreamKey, kind: TrackKind) {
        let packets = if kind == TrackKind::Video { VIDEO_PACKETS } else { AUDIO_PACKETS };
        let stream = self.streams.entry(key).or_insert_with(|| Stream {
            kind,
            history: History::new(packets),
            viewers: Vec::new(),
            wanted: 0,
            reader: None,
        });
        stream.wanted += 1;
    }

    /// A viewer no longer watches a stream. With the last one its history goes: their keys are gone as well, so that
    /// no number can be used twice.
    pub(crate) fn unwant(&mut self, key: StreamKey, slot: usize) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.viewers.retain(|viewer| *viewer != slot);
        stream.wanted = stream.wanted.saturating_sub(1);
        if stream.wanted == 0 {
            self.streams.remove(&key);
        }
    }

    pub(crate) fn history(&self, key: StreamKey) -> Option<&History> {
        self.streams.get(&key).map(|stream| &stream.history)
    }

    pub(crate) fn info(&self) -> &FeedInfo {
        &self.info
    }

    pub(crate) fn count(&mut self, sent: &Sent, repaired: u64) {
        self.sent_bytes += sent.bytes;
        self.sent_packets += sent.packets;
        self.repaired += repaired;
    }

    /// A viewer that had connected is gone.
    pub(super) fn disconnected(&mut self) {
        self.connected = self.connected.saturating_sub(1);
    }

    pub(crate) fn request_keyframe(&self, key: StreamKey) {
        self.feed.request_keyframe(key.track);
    }

    pub(crate) fn report(&self) -> FeedReport {
        FeedReport {
            viewers: self.connected,
            sent_bytes: self.sent_bytes,
            sent_packets: self.sent_packets,
            repaired: self.repaired,
        }
    }

    /// Whether pictures with B-frames keep this stream off WebRTC.
    fn is_refused(&self, kind: TrackKind) -> bool {
        kind == TrackKind::Video && self.info.b_frames
    }
}

impl Worker {
    /// Streams that are wanted and have no reader yet.
    pub(crate) fn unread_streams(&self, feed: &FeedId) -> Vec<(StreamKey, TrackKind)> {
        let streams = self.feeds.get(feed).map(|feed| &feed.streams);
        let unread = streams.into_iter().flatten().filter(|(_, stream)| stream.reader.is_none());
        unread.map(|(key, stream)| (*key, stream.kind)).collect()
    }

    /// Notes who reads a stream.
    pub(crate) fn set_reader(&mut self, feed: &FeedId, key: StreamKey, reader: AbortHandle) {
        match self.feeds.get_mut(feed).and_then(|feed| feed.streams.get_mut(&key)) {
            Some(stream) => stream.reader = Some(reader),
            None => reader.abort(),
        }
    }

    /// Gives a viewer that has connected its place in all its streams.
    pub(crate) fn attach(&mut self, now: Instant, slot: usize) {
        let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(feed) = self.feeds.get_mut(&viewer.feed) else { return };
        let info = feed.info.clone();
        feed.connected += u32::from(!std::mem::replace(&mut viewer.attached, true));
        let mut visits = Vec::new();
        for key in viewer.tracks.iter().map(|track| track.agreed.key).collect::<Vec<_>>() {
            if let Some(stream) = feed.streams.get_mut(&key) {
                let visit = viewer.join(now, key, &stream.history, &info);
                stream.viewers.push(slot);
                if stream.kind == TrackKind::Video && info.b_frames {
                    // Found out between its offer and its handshake.
                    viewer.wait_for_keyframe(now, key, stream.history.head());
                } else {
                    visits.push(visit);
                }
            }
        }
        for visit in visits {
            self.account(slot, &visit);
        }
        self.catch_up(now, slot);
    }

    /// Takes what a stream's reader has read, oldest first. `hole` says that packets before these were lost on the way here.
    /// Tells from which position on the stream's viewers are to be given something, if they are.
    pub(crate) fn take_in(
        &mut self,
        now: Instant,
        id: &FeedId,
        key: StreamKey,
        packets: &mut Vec<MediaPacket>,
        hole: bool,
    ) -> Option<u64> {
        let Some(stream) = self.feeds.get_mut(id).and_then(|feed| feed.streams.get_mut(&key)) else {
            packets.clear();
            return None;
        };
        let from = stream.history.head();
        if hole {
            stream.history.resume();
            for slot in &stream.viewers {
                if let Some(viewer) = self.viewers.get_mut(*slot).and_then(Option::as_mut) {
                    viewer.wait_for_keyframe(now, key, from);
                }
            }
        }
        for packet in packets.drain(..) {
            stream.history.push(packet);
        }
        let kind = stream.kind;
        let feed = self.feeds.get(id)?;
        (!feed.is_refused(kind)).then_some(from)
    }

    /// Takes packets and gives them to all viewers, without a turn for anybody else: for measuring and tests.
    pub(crate) fn take_and_forward(
        &mut self,
        now: Instant,
        id: &FeedId,
        key: StreamKey,
        packets: &mut Vec<MediaPacket>,
        hole: bool,
    ) {
        let Some(from) = self.take_in(now, id, key, packets, hole) else { return };
        let mut next = Some(0);
        while let Some(start) = next {
            next = self.forward(now, id, key, from, start, super::VISITS);
        }
    }

    /// Gives up to `count` of a stream's viewers, from the `start`th on, what has come from position `from` on: the hot loop. Tells
    /// with which one to go on. Between two calls viewers may come and go: each knows what it has, whoever is passed over or
    /// visited twice.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        id: &FeedId,
        key: StreamKey,
        from: u64,
        start: usize,
        count: usize,
    ) -> Option<usize> {
        self.batch.begin_visit();
        let feed = self.feeds.get_mut(id)?;
        let stream = feed.streams.get(&key)?;
        let end = stream.viewers.len().min(start.saturating_add(count));
        let more = end < stream.viewers.len();
        let mut output = Output { sockets: &self.sockets, links: &mut self.links, batch: &mut self.batch };
        let (mut sent, mut wants_keyframe, mut failed) = (Sent::default(), false, Vec::new());
        for &slot in stream.viewers.get(start..end).unwrap_or_default() {
            let Some(viewer) = self.viewers.get_mut(slot).and_then(Option::as_mut) else { continue };
            let visit = viewer.forward(now, key, &stream.history, from, &mut output);
            sent.packets += visit.sent.packets;
            sent.bytes += visit.sent.bytes;
            sent.dropped += visit.sent.dropped;
            sent.calls += visit.sent.calls;
            wants_keyframe |= visit.wants_keyframe.is_some();
            self.counts.lags += visit.lags;
            self.counts.left_out += visit.left_out;
            if visit.behind {
                self.behind.insert(slot);
            }
            if visit.failed {
                failed.push(slot);
            }
        }
        feed.count(&sent, 0);
        if wants_keyframe {
            feed.request_keyframe(key);
        }
        self.counts.add(&sent);
        for slot in failed {
            self.remove(now, slot, "keys-used-up");
        }
        more.then_some(end)
    }

    /// Takes what has changed about a feed. False when it is over and was forgotten.
    pub(crate) fn feed_changed(&mut self, now: Instant, of: &Feed, info: &Arc<FeedInfo>) -> bool {
        let id = of.id();
        let Some(feed) = self.feeds.get_mut(id).filter(|feed| feed.is_of(of)) else { return false };
        if info.state == FeedState::Ended {
            self.forget_feed(now, id);
            return false;
        }
        let was = std::mem::replace(&mut feed.info, info.clone());
        let b_frames_changed = was.b_frames != info.b_frames;
        let mut leaving = Vec::new();
        let mine = self.viewers.iter_mut().enumerate().filter_map(|(slot, viewer)| {
            viewer.as_deref_mut().filter(|viewer| viewer.feed == *id).map(|viewer| (slot, viewer))
        });
        for (slot, viewer) in mine {
            if let Some(why) = viewer.outgrown(info) {
                leaving.push((slot, why));
            } else if b_frames_changed {
                for (key, stream) in &feed.streams {
                    viewer.wait_for_keyframe(now, *key, stream.history.head());
                }
            }
        }
        if info.b_frames && b_frames_changed {
            tracing::info!(feed = %id, "{}", crate::core::answer::B_FRAMES);
        }
        for (slot, why) in leaving {
            self.remove(now, slot, why);
        }
        true
    }

    /// A feed is over: its viewers are told and it is forgotten.
    pub(super) fn forget_feed(&mut self, now: Instant, id: &FeedId) {
        let is_viewer =
            |viewer: &Option<Box<Viewer>>| viewer.as_ref().is_some_and(|viewer| viewer.feed == *id);
        let slots: Vec<usize> =
            (0..self.viewers.len()).filter(|slot| is_viewer(&self.viewers[*slot])).collect();
        for slot in slots {
            self.remove(now, slot, "feed-ended");
        }
        self.feeds.remove(id);
        self.publish_report();
    }
}
