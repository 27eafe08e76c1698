//! How the clocks of a picture's encodings stand to each other: RTP gives each its own beginning, and frames of one moment
//! must have one media time (timeline.md, invariant 3).
//!
//! A layer's packets are held until that is known, because offsets never change once a packet has left. Timestamps that are
//! the same in both layers say it at once. Sender reports say it to the millisecond (libwebrtc rounds them), which finds the
//! neighbourhood; where there are none in time, arrival does. The frames found there then give the tick.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::RtpInput;
use crate::time::{ClockRate, MediaTime, ProgramTime};

/// Without sender reports a layer is placed by its arrival after this long. Browsers send the first within a second.
pub(super) const PATIENCE: Duration = Duration::from_millis(1_500);
/// Packets and bytes of a layer that are held; beyond them it is placed by its arrival.
const MOST_HELD: (usize, usize) = (2_048, 4 << 20);
/// Frames of a layer that another one can be matched with.
const REMEMBERED: usize = 96;
/// As many frames with the same timestamps are no chance.
const SAME: usize = 2;

/// A frame of a layer whose place is known.
#[derive(Debug, Clone, Copy)]
struct Known {
    timestamp: u32,
    time: MediaTime,
    arrived: Instant,
}

/// The newest frames of a layer, and what its newest sender report says: what others are matched with.
#[derive(Debug, Default)]
pub(super) struct Reference {
    frames: VecDeque<Known>,
    /// NTP time in nanoseconds and the media time that it belongs to.
    report: Option<(i64, MediaTime)>,
}

impl Reference {
    /// A packet was placed.
    pub(super) fn handle_packet(&mut self, now: Instant, timestamp: u32, time: MediaTime) {
        if self.frames.back().is_some_and(|newest| newest.time >= time) {
            return;
        }
        self.frames.push_back(Known { timestamp, time, arrived: now });
        if self.frames.len() > REMEMBERED {
            self.frames.pop_front();
        }
    }

    /// The publisher's NTP clock stood at `ntp` at this media time.
    pub(super) fn handle_report(&mut self, ntp: u64, at: MediaTime) {
        self.report = Some((ProgramTime::from_ntp(ntp).unix_nanos(), at));
    }

    /// Whether a sender report has come.
    pub(super) const fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// Ticks between two frames.
    fn interval(&self) -> Option<i64> {
        let mut steps: Vec<i64> =
            self.frames.iter().zip(self.frames.iter().skip(1)).map(|(a, b)| b.time - a.time).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied()
    }
}

/// A layer whose place is not known yet.
#[derive(Debug)]
pub(super) struct Pairing {
    rate: ClockRate,
    since: Instant,
    held: VecDeque<Held>,
    bytes: usize,
    /// NTP time in nanoseconds and the RTP timestamp that it belongs to.
    report: Option<(i64, u32)>,
}

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) now: Instant,
    pub(super) utc: ProgramTime,
    pub(super) input: RtpInput,
}

impl Pairing {
    /// A layer's first packet comes now.
    pub(super) const fn new(rate: ClockRate, now: Instant) -> Self {
        Self { rate, since: now, held: VecDeque::new(), bytes: 0, report: None }
    }

    /// Whether waiting for it may still help.
    pub(super) fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < PATIENCE
    }

    /// Holds a packet; the oldest go.
    pub(super) fn hold(&mut self, held: Held) {
        self.bytes += held.input.payload.len();
        self.held.push_back(held);
        while self.held.len() > MOST_HELD.0 || self.bytes > MOST_HELD.1 {
            let Some(gone) = self.held.pop_front() else { return };
            self.bytes -= gone.input.payload.len();
        }
    }

    /// The publisher's NTP clock stood at `ntp` at this RTP timestamp.
    pub(super) fn handle_report(&mut self, ntp: u64, timestamp: u32) {
        self.report = Some((ProgramTime::from_ntp(ntp).unix_nanos(), timestamp));
    }

    /// The media time of RTP timestamp 0, as soon as it can be told.
    pub(super) fn offset(&self, now: Instant, other: &Reference) -> Option<i64> {
        if let Some(offset) = self.same(other) {
            return Some(offset);
        }
        let full = self.held.len() >= MOST_HELD.0 || self.bytes >= MOST_HELD.1 / 2;
        let near = match self.by_reports(other) {
            Some(near) => near,
            None if full || !self.is_young(now) => self.by_arrival(other)?,
            None => return None,
        };
        Some(near + self.correction(near, other))
    }

    /// What its sender report says, where timestamp 0 stands at `offset`, to find others by.
    pub(super) fn reference(&self, offset: i64) -> Reference {
        let report = self.report.map(|(ntp, timestamp)| (ntp, self.time(offset, timestamp)));
        Reference { report, ..Reference::default() }
    }

    /// Gives up what is held, each packet with its media time where timestamp 0 stands at `offset`.
    pub(super) fn into_held(mut self, offset: i64) -> Vec<(MediaTime, Held)> {
        let times: Vec<_> = self.held.iter().map(|held| self.time(offset, held.input.timestamp)).collect();
        times.into_iter().zip(self.held.drain(..)).collect()
    }

    /// Media time of a timestamp, if timestamp 0 stands at `offset`: the one within half a round of the first packet held.
    fn time(&self, offset: i64, timestamp: u32) -> MediaTime {
        MediaTime(offset + self.unwrap(timestamp))
    }

    fn unwrap(&self, timestamp: u32) -> i64 {
        let first = self.held.front().map_or(timestamp, |held| held.input.timestamp);
        i64::from(first) + i64::from(timestamp.wrapping_sub(first).cast_signed())
    }

    fn same(&self, other: &Reference) -> Option<i64> {
        let mut offsets = self.frames().filter_map(|(timestamp, _)| {
            let known = other.frames.iter().find(|known| known.timestamp == timestamp)?;
            Some(known.time.0 - self.unwrap(timestamp))
        });
        let first = offsets.next()?;
        (offsets.filter(|offset| *offset == first).count() + 1 >= SAME).then_some(first)
    }

    fn by_reports(&self, other: &Reference) -> Option<i64> {
        let ((ntp, timestamp), (their_ntp, their_time)) = (self.report?, other.report?);
        let later =
            crate::time::scale(ntp.saturating_sub(their_ntp), i64::from(self.rate.hz()), 1_000_000_000);
        Some(their_time.0.saturating_add(later).saturating_sub(self.unwrap(timestamp)))
    }

    /// As if the least delayed frames of both had been under way for the same time.
    fn by_arrival(&self, other: &Reference) -> Option<i64> {
        let ticks = |at: Instant| self.rate.ticks(at.saturating_duration_since(self.since));
        let before = |at: Instant| self.rate.ticks(self.since.saturating_duration_since(at));
        let own = self.frames().map(|(timestamp, at)| ticks(at) - self.unwrap(timestamp)).min()?;
        let theirs =
            other.frames.iter().map(|known| ticks(known.arrived) - before(known.arrived) - known.time.0);
        Some(own - theirs.min()?)
    }

    /// What has to be added so that frames which nearly match do match: the difference that most of them show.
    fn correction(&self, near: i64, other: &Reference) -> i64 {
        let half = other.interval().unwrap_or(i64::from(self.rate.hz()) / 30) / 2;
        let mut differences: Vec<i64> = self
            .frames()
            .flat_map(|(timestamp, _)| {
                let time = self.time(near, timestamp);
                other.frames.iter().map(move |known| known.time - time).filter(move |off| off.abs() <= half)
            })
            .collect();
        differences.sort_unstable();
        let runs = differences.chunk_by(|a, b| a == b);
        let best = runs.max_by_key(|run| (run.len(), run.first().map_or(0, |off| -off.abs())));
        best.and_then(|run| run.first().copied()).unwrap_or(0)
    }

    /// The frames held: timestamp and arrival of the first packet of each.
    fn frames(&self) -> impl Iterator<Item = (u32, Instant)> {
        let mut last = None;
        self.held.iter().filter_map(move |held| {
            let timestamp = held.input.timestamp;
            (last.replace(timestamp) != Some(timestamp)).then_some((timestamp, held.now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::owner::tests::start;

    const FRAME: Duration = Duration::from_micros(33_333);

    fn held(now: Instant, timestamp: u32) -> Held {
        let payload = bytes::Bytes::from_static(&[0x61]);
        let (sequence_number, marker, orientation, composition_offset) = (0, true, None, None);
        let input = RtpInput { sequence_number, timestamp, marker, payload, orientation, composition_offset };
        Held { now, utc: ProgramTime::default(), input }
    }

    /// A reference of 30 frames from media time 900,000 on, with a jitter that repeats after seven frames.
    fn reference(base: u32) -> Reference {
        let mut reference = Reference::default();
        for n in 0..30_u32 {
            let ticks = ticks(n);
            let time = MediaTime(900_000 + i64::from(ticks));
            reference.handle_packet(start() + FRAME * n, base.wrapping_add(ticks), time);
        }
        reference
    }

    fn ticks(n: u32) -> u32 {
        n * 3_000 + [0, 90, 0, 45, 12, 60, 33][n as usize % 7]
    }

    /// A layer of the same frames from frame `from` on, its packets `late` behind.
    fn layer(base: u32, from: u32, late: Duration) -> Pairing {
        let mut pairing = Pairing::new(ClockRate::VIDEO, start() + FRAME * from + late);
        for n in from..30 {
            pairing.hold(held(start() + FRAME * n + late, base.wrapping_add(ticks(n))));
        }
        pairing
    }

    fn assert_paired(pairing: &Pairing, base: u32, offset: i64) {
        for n in 20..30 {
            let time = pairing.time(offset, base.wrapping_add(ticks(n)));
            assert_eq!(time, MediaTime(900_000 + i64::from(ticks(n))), "frame {n}");
        }
    }

    #[test]
    fn equal_timestamps_say_it_at_once() {
        let base = u32::MAX - 10_000;
        let pairing = layer(base, 20, Duration::from_millis(90));
        let offset = pairing.offset(start() + FRAME * 30, &reference(base)).unwrap();
        assert_paired(&pairing, base, offset);
        assert_eq!(layer(7, 20, FRAME).offset(start() + FRAME * 30, &reference(base)), None, "not yet");
    }

    #[test]
    fn reports_that_are_milliseconds_off_find_the_tick() {
        for (base, off) in [(77, 0), (u32::MAX - 20_000, 2), (5, -2), (1 << 31, 9), (4, -9)] {
            let mut reference = reference(1_000_000);
            let ntp = |ms: i64| ProgramTime::from_unix_nanos((1_795_000_000_000 + ms) * 1_000_000).ntp();
            reference.handle_report(ntp(0), MediaTime(900_000 + 9_000));
            let mut pairing = layer(base, 10, Duration::from_millis(250));
            // 400 ms later the layer's clock is 36,000 ticks further.
            pairing.handle_report(ntp(400 + off), base.wrapping_add(9_000 + 36_000));
            let offset = pairing.offset(start() + FRAME * 30, &reference).unwrap();
            assert_paired(&pairing, base, offset);
        }
    }

    #[test]
    fn without_reports_arrival_says_it_in_the_end() {
        let pairing = layer(123_456_789, 5, Duration::from_millis(11));
        let reference = reference(1);
        let since = start() + FRAME * 5;
        assert_eq!(pairing.offset(since + PATIENCE, &reference), None);
        let offset = pairing.offset(since + PATIENCE + FRAME, &reference).unwrap();
        assert_paired(&pairing, 123_456_789, offset);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut pairing = Pairing::new(ClockRate::VIDEO, start());
        for n in 0..MOST_HELD.0 {
            assert_eq!(pairing.offset(start(), &reference(1)), None);
            pairing.hold(held(start(), 5_000_000 + n as u32));
        }
        assert!(pairing.offset(start(), &reference(1)).is_some());
    }
}
