//! One viewer: its connection, where it stands in each stream, and what it is owed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::feed::info::{CadenceRule, FeedInfo, FeedState};
use bicast_shared::id::{FeedId, StreamKey};
use bicast_shared::media::TrackKind;

use super::batch::Sent;
use super::connection::Connection;
use super::path::Path;
use super::seat::Seat;
use super::stats::{Counters, public_name};
use super::track::{Place, ViewerTrack};
use crate::core::answer::AgreedTrack;
use crate::core::bucket::{Allowance, TokenBucket};
use crate::core::feedback::{self, Feedback};
use crate::core::history::History;
use crate::core::join::{self, Join};
use crate::core::pacer::Pacer;
use crate::core::repairs::Repairs;
use crate::core::report;
use crate::core::seal::Sealer;
use crate::core::smoothing::Smoothing;
use crate::tcp::authentic::Authentic;

/// A viewer's own requests for a keyframe that are passed on: a keyframe costs every other viewer picture quality, so that
/// one with a bad line must not have them at will. Browsers repeat a request until they have a picture.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// A viewer.
pub(crate) struct Viewer {
    pub(crate) id: String,
    /// Its name for people.
    pub(super) name: String,
    /// The name that it came under.
    pub(crate) label: Option<Arc<str>>,
    pub(crate) feed: FeedId,
    pub(crate) connection: Connection,
    /// None where its TCP connection broke: until its next check.
    pub(crate) path: Option<Path>,
    /// Whether its TCP connection takes no more for the moment: it is visited when that has drained.
    pub(super) blocked: bool,
    /// TCP connections that the worker knows it by.
    pub(crate) connections: Authentic,
    /// Addresses that the worker knows it by.
    pub(crate) addresses: VecDeque<SocketAddr>,
    /// Ufrags that the worker knows it by.
    pub(crate) ufrags: Vec<String>,
    pub(crate) tracks: Vec<ViewerTrack>,
    /// Kinds that it would have taken and the feed had no track of when it joined.
    pub(crate) missing: Vec<TrackKind>,
    pub(crate) sealer: Option<Sealer>,
    pub(crate) seat: Seat,
    /// When it asked to join.
    pub(crate) started: Instant,
    pub(crate) established: Option<Instant>,
    /// It has its place in its streams, and counts as one of the feed's.
    pub(crate) attached: bool,
    /// When its last authentic check came.
    pub(crate) heard: Instant,
    /// When anything authentic came last: RTCP counts here, too.
    pub(crate) spoke: Instant,
    /// When the worker will look at it again.
    pub(crate) scheduled: Option<Instant>,
    pub(crate) report_due: Instant,
    pub(crate) counters: Counters,
    pub(super) repairs: Repairs,
    pub(super) pacer: Pacer,
    pub(super) inbound: Inbound,
    pub(super) smoothing: Smoothing,
    pub(super) cname: String,
}

/// What the viewer, or who knows its name, makes this server do. Both have an allowance of their own: checks that come from
/// elsewhere must not take the place of what comes from the viewer itself.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    own: TokenBucket,
    elsewhere: TokenBucket,
}

impl Inbound {
    /// Browsers send some 20 datagrams a second, and a hundred where they lose much.
    const OWN: Allowance = Allowance { per_second: 500, burst: 1_000 };
    /// Checks from addresses that the viewer is not known by: a browser's first ones, and those of one that moves.
    const ELSEWHERE: Allowance = Allowance { per_second: 50, burst: 200 };

    /// Whether one more datagram is taken.
    pub(super) fn take(&mut self, now: Instant, own: bool) -> bool {
        let (bucket, allowance) =
            if own { (&mut self.own, Self::OWN) } else { (&mut self.elsewhere, Self::ELSEWHERE) };
        bucket.take(now, allowance)
    }
}

/// What a visit came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) sent: Sent,
    pub(crate) repaired: u64,
    /// A keyframe of this stream is needed.
    pub(crate) wants_keyframe: Option<StreamKey>,
    /// Times that it was too slow for the stream and left frames out.
    pub(crate) lags: u64,
    /// Frames that it did not get because it was too slow.
    pub(crate) left_out: u64,
    /// There is more to send, when the pacer allows.
    pub(crate) behind: bool,
    /// It cannot go on: its keys are used up.
    pub(crate) failed: bool,
}

impl Viewer {
    /// A viewer that has just asked to join.
    pub(crate) fn new(
        id: String,
        feed: FeedId,
        connection: Connection,
        tracks: Vec<AgreedTrack>,
        ufrag: String,
        seat: Seat,
        now: Instant,
    ) -> Self {
        Self {
            name: public_name(&id),
            id,
            label: None,
            feed,
            connection,
            path: None,
            blocked: false,
            connections: Authentic::default(),
            addresses: VecDeque::new(),
            tracks: tracks.into_iter().map(ViewerTrack::new).collect(),
            missing: Vec::new(),
            sealer: None,
            seat,
            started: now,
            established: None,
            attached: false,
            heard: now,
            spoke: now,
            scheduled: None,
            report_due: now,
            counters: Counters::default(),
            repairs: Repairs::default(),
            pacer: Pacer::new(),
            inbound: Inbound::default(),
            smoothing: Smoothing::default(),
            cname: ufrag.clone(),
            ufrags: vec![ufrag],
        }
    }

    /// Why it has to join again to get what the feed has now: WHEP cannot renegotiate. None while it is served.
    pub(crate) fn outgrown(&self, info: &FeedInfo) -> Option<&'static str> {
        let current = |track: &ViewerTrack| info.tracks.iter().find(|now| now.id == track.agreed.key.track);
        if self.tracks.iter().any(|t| current(t).is_some_and(|now| !t.agreed.carries(now))) {
            return Some("codec-changed");
        }
        // Until media arrives, the publisher may yet fail: what there was before is better than nothing.
        let live = info.state == FeedState::Live;
        if live && self.tracks.iter().any(|track| current(track).is_none()) {
            return Some("track-gone");
        }
        (live && self.missing.iter().any(|kind| info.track(*kind).is_some())).then_some("track-came")
    }

    /// Takes its place in a stream, now that it is connected (or after the stream came back to this path).
    pub(crate) fn join(&mut self, now: Instant, key: StreamKey, history: &History, info: &FeedInfo) -> Visit {
        let mut visit = Visit::default();
        let Some(track) = self.tracks.iter_mut().find(|track| track.agreed.key == key) else { return visit };
        let head = history.head();
        if track.kind() == TrackKind::Audio {
            track.place = Place::Live { at: head };
        } else {
            let stored = history.stored_group(track.agreed.codec);
            let length = stored
                .and_then(|group| history.get(group.position).zip(history.newest()))
                .map_or(0, |(first, newest)| newest.stamp.media_time - first.stamp.media_time);
            let length = track.agreed.clock_rate.nanos(length).max(0).unsigned_abs();
            let deaf = info.cadence.rule == CadenceRule::SelfPaced;
            match join::decide(stored, Duration::from_nanos(length), deaf) {
                Join::Stored(group) => {
                    track.out.begin(group.first);
                    visit.behind = true;
                    track.fall_behind(history, group.position);
                }
                Join::Next => {
                    visit.wants_keyframe = Some(key);
                    track.place = Place::Waiting { from: head, asked: now, lagged: false };
                }
            }
        }
        visit
    }

    /// Leaves its place: nothing before the next keyframe at or after `from`.
    pub(crate) fn wait_for_keyframe(&mut self, now: Instant, key: StreamKey, from: u64) {
        if let Some(track) = self.tracks.iter_mut().find(|track| track.agreed.key == key)
            && track.place != Place::Nowhere
            && track.kind() == TrackKind::Video
        {
            track.place = Place::Waiting { from, asked: now, lagged: false };
        }
    }

    /// Takes a compound RTCP packet of the viewer; answers are appended to `out` (unprotected compounds). `rate` is the packets
    /// that its streams have each second.
    pub(crate) fn handle_rtcp(
        &mut self,
        now: Instant,
        compound: &[u8],
        rate: u64,
        out: &mut Vec<Vec<u8>>,
    ) -> Visit {
        let mut visit = Visit::default();
        let whole = feedback::read(compound, |feedback| match feedback {
            Feedback::Nack { ssrc, sequence_number } => self.nack(now, ssrc, sequence_number, rate),
            Feedback::KeyframeWanted { ssrc } => {
                self.counters.keyframe_requests += 1;
                let is_meant = |track: &&mut ViewerTrack| {
                    track.agreed.spec.ssrc == ssrc && track.kind() == TrackKind::Video
                };
                let recent = |at: Instant| now.saturating_duration_since(at) < REQUEST_INTERVAL;
                if let Some(track) = self.tracks.iter_mut().find(is_meant)
                    && !track.requested.is_some_and(recent)
                {
                    track.requested = Some(now);
                    visit.wants_keyframe = Some(track.agreed.key);
                }
            }
            Feedback::Report(block) => self.report_block(now, &block),
            Feedback::ReferenceTime { sender, ntp } => {
                // Answered at once: no time passes between its coming and our answer.
                if let Some(track) = self.tracks.first() {
                    let mut answer = Vec::with_capacity(40);
                    report::delay_since(track.agreed.spec.ssrc, sender, report::middle(ntp), 0, &mut answer);
                    out.push(answer);
                }
            }
        });
        if !whole {
            metrics::counter!("bicast_viewer_rtcp_malformed_total").increment(1);
        }
        visit.behind = self.is_behind();
        visit
    }

    fn nack(&mut self, now: Instant, ssrc: u32, wire: u16, rate: u64) {
        let found = self.tracks.iter().enumerate().find(|(_, track)| track.agreed.spec.ssrc == ssrc);
        let Some((index, sequence)) =
            found.and_then(|(index, track)| Some((index, track.out.sequence_of(wire)?)))
        else {
            return;
        };
        self.counters.nacks += 1;
        if !self.repairs.ask(now, (index, sequence), rate, self.counters.round_trip()) {
            metrics::counter!("bicast_viewer_repairs_refused_total").increment(1);
        }
    }

    /// Packets that its streams have each second.
    pub(crate) fn rate<'a>(&self, history: impl Fn(StreamKey) -> Option<&'a History>) -> u64 {
        self.tracks.iter().filter_map(|track| history(track.agreed.key)).map(History::rate).sum()
    }

    /// Counts what a visit came to.
    pub(super) fn count(&mut self, visit: &Visit) {
        self.counters.packets += visit.sent.packets;
        self.counters.bytes += visit.sent.bytes;
        self.counters.repaired += visit.repaired;
    }

    /// Whether it has no picture until a keyframe comes.
    pub(crate) fn is_waiting(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track.place, Place::Waiting { .. }))
    }

    /// Packets that it is owed: what it is behind with, and what it asked for again.
    pub(crate) fn queue<'a>(&self, history: impl Fn(StreamKey) -> Option<&'a History>) -> u64 {
        let behind = |track: &ViewerTrack| match track.place {
            Place::Behind { at, .. } => {
                history(track.agreed.key).map_or(0, |held| held.head().saturating_sub(at))
            }
            _ => 0,
        };
        self.tracks.iter().map(behind).sum::<u64>() + self.repairs.len() as u64
    }

    /// Whether it has something to send that only waits for the pacer.
    pub(crate) fn is_behind(&self) -> bool {
        let owed = |track: &ViewerTrack| matches!(track.place, Place::Behind { .. });
        !self.blocked && (!self.repairs.is_empty() || self.tracks.iter().any(owed))
    }
}
