//! How a viewer's packets reach it: as they come, or behind at the pace of its pacer or its line.

use std::time::{Duration, Instant};

use bicast_shared::id::StreamKey;
use bicast_shared::media::TrackKind;
use bicast_shared::packet::MediaPacket;

use super::path::{Output, Path};
use super::track::{Place, frames};
use super::viewer::{Viewer, Visit};
use crate::core::history::History;

/// Live packets of one visit beyond which the viewer is paced: a large keyframe of a publisher that does not pace.
const LIVE_BURST: u64 = 96;
/// Between two questions for a keyframe while waiting for one.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Viewer {
    /// Gives it what has come on a stream, up to the head of the history. `from` is the first position of what is new.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        key: StreamKey,
        history: &History,
        from: u64,
        output: &mut Output<'_>,
    ) -> Visit {
        let mut visit = Visit::default();
        let (Some(path), Some(sealer)) = (self.path, self.sealer.as_mut()) else { return visit };
        let Some(track) = self.tracks.iter_mut().find(|track| track.agreed.key == key) else { return visit };
        let head = history.head();
        let from = match track.place {
            Place::Nowhere => return visit,
            Place::Behind { at, allowed } => {
                visit.behind = !self.blocked;
                if self.blocked && track.lags(history, at, allowed) {
                    visit.lags = 1;
                    visit.left_out = track.skip(now, history, at);
                }
                return visit;
            }
            Place::Waiting { from: earliest, asked, lagged } => {
                let keyframe = history.newest_keyframe().filter(|at| *at >= earliest && !self.blocked);
                let codec = track.agreed.codec;
                let keyframe = keyframe.and_then(|at| Some((at, history.keyframe_start(at, codec)?)));
                if lagged {
                    visit.left_out = frames(history, from, keyframe.map_or(head, |(at, _)| at));
                }
                match keyframe {
                    Some((at, first)) => {
                        track.out.begin(first);
                        track.fall_behind(history, at);
                        visit.behind = true;
                    }
                    None if !self.blocked && now.saturating_duration_since(asked) >= ASK_AGAIN => {
                        track.place = Place::Waiting { from: earliest, asked: now, lagged };
                        visit.wants_keyframe = Some(key);
                    }
                    None => {}
                }
                return visit;
            }
            Place::Live { at } => at,
        };
        let mut room = output.room(&path);
        let mut fits = |packet: &MediaPacket| room.take(track.kind(), packet.payload.len());
        let come = || (from..head).filter_map(|position| history.get(position));
        if head.saturating_sub(from) > LIVE_BURST || !path.wire.is_udp() && !come().all(&mut fits) {
            track.fall_behind(history, from);
            visit.behind = true;
            return visit;
        }
        for packet in come() {
            if track.write(now, packet, sealer, output.batch).is_err() {
                visit.failed = true;
            }
        }
        track.place = Place::Live { at: head };
        visit.sent = output.send(&path);
        self.count(&visit);
        visit
    }

    /// Sends what the pacer, or its TCP connection, allows of what it is behind with: retransmissions first, they hold up
    /// the picture.
    pub(crate) fn catch_up<'a>(
        &mut self,
        now: Instant,
        history: impl Fn(StreamKey) -> Option<&'a History>,
        output: &mut Output<'_>,
    ) -> Visit {
        let mut visit = Visit::default();
        let rate = self.rate(&history);
        let (Some(path), Some(sealer)) = (self.path, self.sealer.as_mut()) else { return visit };
        let mut room = output.room(&path);
        // TCP has a pace of its own.
        let mut allowed = if path.wire.is_udp() { self.pacer.available(now, rate) } else { usize::MAX };
        let before = allowed;
        self.blocked = false;
        while allowed > 0
            && let Some((index, sequence)) = self.repairs.first()
        {
            let track = self.tracks.get_mut(index);
            let found = track.and_then(|track| {
                let packet = history(track.agreed.key)?.by_sequence(sequence)?;
                Some((track, packet))
            });
            if let Some((track, packet)) = found {
                if !room.take(track.kind(), packet.payload.len()) {
                    self.blocked = true;
                    break;
                }
                match output.batch.push(|out| track.out.write_again(packet, sealer, out)) {
                    Ok(true) => {
                        visit.repaired += 1;
                        allowed -= 1;
                    }
                    Ok(false) => {}
                    Err(_) => visit.failed = true,
                }
            }
            self.repairs.done();
        }
        for track in &mut self.tracks {
            let Place::Behind { mut at, allowed: patience } = track.place else { continue };
            let Some(held) = history(track.agreed.key) else { continue };
            if at < held.tail() {
                // Overtaken: what it would get next is gone.
                visit.left_out += track.skip(now, held, held.tail());
                visit.wants_keyframe = Some(track.agreed.key);
                continue;
            }
            while allowed > 0
                && let Some(packet) = held.get(at)
            {
                if !path.wire.is_udp() && track.lags(held, at, patience) {
                    visit.lags += 1;
                    visit.left_out += track.skip(now, held, at);
                    if track.kind() == TrackKind::Video {
                        visit.wants_keyframe = Some(track.agreed.key);
                    }
                    break;
                }
                if !room.take(track.kind(), packet.payload.len()) {
                    self.blocked = true;
                    break;
                }
                match track.write(now, packet, sealer, output.batch) {
                    Ok(true) => allowed -= 1,
                    Ok(false) => {}
                    Err(_) => visit.failed = true,
                }
                at += 1;
            }
            if matches!(track.place, Place::Behind { .. }) {
                let caught_up = at == held.head();
                track.place =
                    if caught_up { Place::Live { at } } else { Place::Behind { at, allowed: patience } };
            }
        }
        self.pacer.spend(before - allowed);
        visit.behind = self.is_behind();
        if output.batch.len() > 0 {
            visit.sent = output.send(&path);
        }
        self.count(&visit);
        visit
    }

    /// Goes on after its TCP connection has drained. What it was too slow for stays left out: from here the next keyframe
    /// counts, and it is asked for.
    pub(crate) fn unblock<'a>(
        &mut self,
        now: Instant,
        history: impl Fn(StreamKey) -> Option<&'a History>,
    ) -> Option<StreamKey> {
        if !std::mem::replace(&mut self.blocked, false) {
            return None;
        }
        let mut wanted = None;
        for track in &mut self.tracks {
            let held = history(track.agreed.key);
            if let (Place::Waiting { lagged, .. }, Some(held)) = (track.place, held) {
                track.place = Place::Waiting { from: held.head(), asked: now, lagged };
                wanted = wanted.or(Some(track.agreed.key).filter(|_| track.kind() == TrackKind::Video));
            }
        }
        wanted
    }

    /// Whether it waits for its TCP connection to drain.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Takes another path.
    pub(crate) fn take_path(&mut self, path: Path) {
        let same = self.path.is_some_and(|old| old.wire == path.wire);
        self.path = Some(path);
        self.blocked &= same;
    }

    /// Its TCP connection has broken. When it comes back by another path it begins at the next keyframe: nobody knows what
    /// arrived.
    pub(crate) fn lose_path<'a>(&mut self, now: Instant, history: impl Fn(StreamKey) -> Option<&'a History>) {
        self.path = None;
        self.blocked = false;
        self.repairs.clear();
        for track in self.tracks.iter_mut().filter(|track| track.place != Place::Nowhere) {
            let from = history(track.agreed.key).map_or(0, History::head);
            track.place = Place::Waiting { from, asked: now, lagged: false };
        }
    }
}
