//! One viewer: its connection, where it stands in each stream, and what it is owed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bicast_shared::feed::info::{CadenceRule, FeedInfo, FeedState};
use bicast_shared::id::{FeedId, StreamKey};
use bicast_shared::media::TrackKind;
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::ProgramTime;

use super::batch::{Batch, Sent};
use super::connection::Connection;
use super::seat::Seat;
use super::stats::Counters;
use crate::core::answer::AgreedTrack;
use crate::core::feedback::{self, Feedback, ReportBlock};
use crate::core::history::History;
use crate::core::join::{self, Join};
use crate::core::pacer::{Pacer, RepairBudget};
use crate::core::report;
use crate::core::rewrite::Track;
use crate::core::seal::{SealError, Sealer};
use crate::socket::Socket;

/// Live packets of one visit beyond which the viewer is paced: a large keyframe of a publisher that does not pace.
const LIVE_BURST: u64 = 96;
/// Packets that wait to be sent again; more are not remembered, the viewer asks again.
const MAX_REPAIRS: usize = 1_024;
/// Between two questions for a keyframe while waiting for one.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A viewer's own requests for a keyframe that are passed on: a keyframe costs every other viewer picture quality, so that
/// one with a bad line must not have them at will. Browsers repeat a request until they have a picture.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
/// Sender reports once a second (RFC 3550 would allow 5 s; players derive their clocks from them).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Until the publisher's own reports have related its audio and video (browsers need up to 5 s), a report could be
/// wrong by the jitter of arrival and would pull lip sync along. After this long the publisher is taken for one that
/// sends none: a relation by arrival is then the best there will be, and players need some clock.
const RELATION_PATIENCE: Duration = Duration::from_secs(8);
/// A stream that has been silent this long is not reported.
const REPORT_SILENCE: Duration = Duration::from_secs(5);

/// Where a viewer is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// Which socket of the worker.
    pub(crate) socket: usize,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) nominated: bool,
}

/// A viewer.
pub(crate) struct Viewer {
    pub(crate) id: String,
    pub(crate) feed: FeedId,
    pub(crate) connection: Connection,
    pub(crate) path: Option<Path>,
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
    /// When its last authentic check came.
    pub(crate) heard: Instant,
    /// When the worker will look at it again.
    pub(crate) scheduled: Option<Instant>,
    pub(crate) report_due: Instant,
    pub(crate) counters: Counters,
    repairs: VecDeque<(usize, i64)>,
    pacer: Pacer,
    budget: RepairBudget,
    cname: String,
}

/// One track of a viewer.
pub(crate) struct ViewerTrack {
    pub(crate) agreed: AgreedTrack,
    out: Track,
    place: Place,
    packets: u32,
    octets: u32,
    newest: Option<Instant>,
    /// When its last request for a keyframe was passed on.
    requested: Option<Instant>,
    /// The middle of the last sender report's NTP time and when it was sent.
    reported: Option<(u32, Instant)>,
}

/// Where a viewer stands in a stream's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not connected yet.
    Nowhere,
    /// Nothing before a keyframe at or after this position.
    Waiting { from: u64, asked: Instant },
    /// Behind: paced up to the head from here.
    Behind(u64),
    /// Gets what comes as it comes.
    Live,
}

/// What a visit came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) sent: Sent,
    pub(crate) repaired: u64,
    /// A keyframe of this stream is needed.
    pub(crate) wants_keyframe: Option<StreamKey>,
    /// There is more to send, when the pacer allows.
    pub(crate) behind: bool,
    /// It cannot go on: its keys are used up.
    pub(crate) failed: bool,
}

/// What a viewer needs to send.
pub(crate) struct Wire<'a> {
    pub(crate) sockets: &'a [Socket],
    pub(crate) batch: &'a mut Batch,
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
        let tracks = tracks.into_iter().map(|agreed| ViewerTrack {
            out: Track::new(agreed.spec),
            agreed,
            place: Place::Nowhere,
            packets: 0,
            octets: 0,
            newest: None,
            requested: None,
            reported: None,
        });
        Self {
            id,
            feed,
            connection,
            path: None,
            addresses: VecDeque::new(),
            tracks: tracks.collect(),
            missing: Vec::new(),
            sealer: None,
            seat,
            started: now,
            established: None,
            heard: now,
            scheduled: None,
            report_due: now,
            counters: Counters::default(),
            repairs: VecDeque::new(),
            pacer: Pacer::new(),
            budget: RepairBudget::new(),
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
        track.place = if track.agreed.codec.kind() == TrackKind::Audio {
            Place::Live
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
                    Place::Behind(group.position)
                }
                Join::Next => {
                    visit.wants_keyframe = Some(key);
                    Place::Waiting { from: head, asked: now }
                }
            }
        };
        visit
    }

    /// Leaves its place: nothing before the next keyframe at or after `from`.
    pub(crate) fn wait_for_keyframe(&mut self, now: Instant, key: StreamKey, from: u64) {
        if let Some(track) = self.tracks.iter_mut().find(|track| track.agreed.key == key)
            && track.place != Place::Nowhere
            && track.agreed.codec.kind() == TrackKind::Video
        {
            track.place = Place::Waiting { from, asked: now };
        }
    }

    /// Gives it what has come on a stream: positions `from` to the head of the history.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        key: StreamKey,
        history: &History,
        from: u64,
        wire: &mut Wire<'_>,
    ) -> Visit {
        let mut visit = Visit::default();
        let (Some(path), Some(sealer)) = (self.path, self.sealer.as_mut()) else { return visit };
        let Some(track) = self.tracks.iter_mut().find(|track| track.agreed.key == key) else { return visit };
        let head = history.head();
        match track.place {
            Place::Nowhere => return visit,
            Place::Behind(_) => {
                visit.behind = true;
                return visit;
            }
            Place::Waiting { from, asked } => {
                let keyframe = history.newest_keyframe().filter(|at| *at >= from);
                match keyframe.and_then(|at| Some((at, history.keyframe_start(at, track.agreed.codec)?))) {
                    Some((at, first)) => {
                        track.out.begin(first);
                        track.place = Place::Behind(at);
                        visit.behind = true;
                    }
                    None if now.saturating_duration_since(asked) >= ASK_AGAIN => {
                        track.place = Place::Waiting { from, asked: now };
                        visit.wants_keyframe = Some(key);
                    }
                    None => {}
                }
                return visit;
            }
            Place::Live if head - from > LIVE_BURST => {
                track.place = Place::Behind(from);
                visit.behind = true;
                return visit;
            }
            Place::Live => {}
        }
        for packet in (from..head).filter_map(|position| history.get(position)) {
            if track.write(now, packet, sealer, wire.batch).is_err() {
                visit.failed = true;
            }
        }
        if let Some(socket) = wire.sockets.get(path.socket) {
            visit.sent = wire.batch.send(socket, path.local, path.remote);
        }
        self.count(&visit);
        visit
    }

    /// Sends what the pacer allows of what it is behind with: retransmissions first, they hold up the picture.
    pub(crate) fn catch_up<'a>(
        &mut self,
        now: Instant,
        history: impl Fn(StreamKey) -> Option<&'a History>,
        wire: &mut Wire<'_>,
    ) -> Visit {
        let mut visit = Visit::default();
        let (Some(path), Some(sealer)) = (self.path, self.sealer.as_mut()) else { return visit };
        let mut allowed = self.pacer.available(now);
        let before = allowed;
        while allowed > 0
            && let Some((index, sequence)) = self.repairs.pop_front()
        {
            let Some(track) = self.tracks.get_mut(index) else { continue };
            let Some(packet) = history(track.agreed.key).and_then(|held| held.by_sequence(sequence)) else {
                continue;
            };
            match wire.batch.push(|out| track.out.write_again(packet, sealer, out)) {
                Ok(true) => {
                    visit.repaired += 1;
                    allowed -= 1;
                }
                Ok(false) => {}
                Err(_) => visit.failed = true,
            }
        }
        for track in &mut self.tracks {
            let Place::Behind(mut at) = track.place else { continue };
            let Some(held) = history(track.agreed.key) else { continue };
            if at < held.tail() {
                // Overtaken: what it would get next is gone.
                track.place = Place::Waiting { from: held.head(), asked: now };
                visit.wants_keyframe = Some(track.agreed.key);
                continue;
            }
            while allowed > 0
                && let Some(packet) = held.get(at)
            {
                match track.write(now, packet, sealer, wire.batch) {
                    Ok(true) => allowed -= 1,
                    Ok(false) => {}
                    Err(_) => visit.failed = true,
                }
                at += 1;
            }
            track.place = if at == held.head() { Place::Live } else { Place::Behind(at) };
            visit.behind |= track.place != Place::Live;
        }
        self.pacer.spend(before - allowed);
        visit.behind |= !self.repairs.is_empty();
        if wire.batch.len() > 0
            && let Some(socket) = wire.sockets.get(path.socket)
        {
            visit.sent = wire.batch.send(socket, path.local, path.remote);
        }
        self.count(&visit);
        visit
    }

    fn count(&mut self, visit: &Visit) {
        self.counters.packets += visit.sent.packets;
        self.counters.bytes += visit.sent.bytes;
        self.counters.repaired += visit.repaired;
    }

    /// Takes a compound RTCP packet of the viewer; answers are appended to `out` (unprotected compounds).
    pub(crate) fn handle_rtcp(&mut self, now: Instant, compound: &[u8], out: &mut Vec<Vec<u8>>) -> Visit {
        let mut visit = Visit::default();
        let whole = feedback::read(compound, |feedback| match feedback {
            Feedback::Nack { ssrc, sequence_number } => self.nack(now, ssrc, sequence_number),
            Feedback::KeyframeWanted { ssrc } => {
                self.counters.keyframe_requests += 1;
                let is_meant = |track: &&mut ViewerTrack| {
                    track.agreed.spec.ssrc == ssrc && track.agreed.codec.kind() == TrackKind::Video
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
        visit.behind = !self.repairs.is_empty();
        visit
    }

    fn nack(&mut self, now: Instant, ssrc: u32, wire: u16) {
        let found = self.tracks.iter().enumerate().find(|(_, track)| track.agreed.spec.ssrc == ssrc);
        let Some((index, sequence)) =
            found.and_then(|(index, track)| Some((index, track.out.sequence_of(wire)?)))
        else {
            return;
        };
        self.counters.nacks += 1;
        if self.repairs.len() < MAX_REPAIRS && self.budget.take(now) {
            self.repairs.push_back((index, sequence));
        }
    }

    fn report_block(&mut self, now: Instant, block: &ReportBlock) {
        let Some(track) = self.tracks.iter().find(|track| track.agreed.spec.ssrc == block.ssrc) else {
            return;
        };
        metrics::histogram!("bicast_viewer_loss_ratio").record(f64::from(block.fraction_lost) / 256.0);
        let sent = track.reported.filter(|(middle, _)| *middle == block.last_report).map(|(_, sent)| sent);
        let round_trip = sent.map(|sent| {
            let held = Duration::from_secs_f64(f64::from(block.delay) / 65_536.0);
            now.saturating_duration_since(sent).saturating_sub(held)
        });
        if let Some(round_trip) = round_trip {
            metrics::histogram!("bicast_viewer_rtt_seconds").record(round_trip);
        }
        self.counters.report(block, track.agreed.clock_rate.hz(), round_trip);
    }

    /// The sender reports that are due, one compound per stream.
    pub(crate) fn reports(&mut self, now: Instant, utc: ProgramTime, info: &FeedInfo) -> Vec<Vec<u8>> {
        self.report_due = now + REPORT_INTERVAL;
        self.counters.tick(now);
        let (Some(map), Some(established)) = (&info.map, self.established) else { return Vec::new() };
        let related = self.tracks.iter().all(|track| {
            map.track(track.agreed.key.track, track.agreed.clock_rate).related || self.tracks.len() == 1
        });
        if !related && now.saturating_duration_since(established) < RELATION_PATIENCE {
            self.report_due = now + REPORT_INTERVAL / 4;
            return Vec::new();
        }
        let mut reports = Vec::new();
        for track in &mut self.tracks {
            if track.newest.is_none_or(|at| now.saturating_duration_since(at) > REPORT_SILENCE) {
                continue;
            }
            let (key, rate) = (track.agreed.key, track.agreed.clock_rate);
            let ntp = utc.ntp();
            let report = report::SenderReport {
                ssrc: track.agreed.spec.ssrc,
                ntp,
                rtp_timestamp: report::rtp_at(map, key.track, rate, utc),
                packets: track.packets,
                octets: track.octets,
            };
            track.reported = Some((report::middle(ntp), now));
            let mut out = Vec::with_capacity(64);
            report::sender_report(&report, &self.cname, &mut out);
            reports.push(out);
        }
        reports
    }

    /// Goodbye from all its streams.
    pub(crate) fn goodbye(&self) -> Vec<u8> {
        let ssrcs: Vec<u32> = self.tracks.iter().map(|track| track.agreed.spec.ssrc).collect();
        let mut out = Vec::new();
        report::goodbye(&ssrcs, &mut out);
        out
    }

    /// Whether it has no picture until a keyframe comes.
    pub(crate) fn is_waiting(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track.place, Place::Waiting { .. }))
    }

    /// Packets that it is owed: what it is behind with, and what it asked for again.
    pub(crate) fn queue<'a>(&self, history: impl Fn(StreamKey) -> Option<&'a History>) -> u64 {
        let behind = |track: &ViewerTrack| match track.place {
            Place::Behind(at) => history(track.agreed.key).map_or(0, |held| held.head().saturating_sub(at)),
            _ => 0,
        };
        self.tracks.iter().map(behind).sum::<u64>() + self.repairs.len() as u64
    }

    /// Whether it has something to send that only waits for the pacer.
    pub(crate) fn is_behind(&self) -> bool {
        !self.repairs.is_empty() || self.tracks.iter().any(|track| matches!(track.place, Place::Behind(_)))
    }
}

impl ViewerTrack {
    fn write(
        &mut self,
        now: Instant,
        packet: &MediaPacket,
        sealer: &mut Sealer,
        batch: &mut Batch,
    ) -> Result<bool, SealError> {
        let written = batch.push(|out| self.out.write(packet, sealer, out))?;
        if written {
            self.packets = self.packets.wrapping_add(1);
            let size = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
            self.octets = self.octets.wrapping_add(size);
            self.newest = Some(now);
        }
        Ok(written)
    }
}
