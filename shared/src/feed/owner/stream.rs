//! One stream's clock: from RTP's sequence numbers and timestamps to the feed's.

use std::time::Instant;

use crate::feed::owner::seen::Seen;
use crate::feed::owner::unwrap::Unwrapper;
use crate::time::{ClockRate, MediaTime};

/// A stream of a feed. Its numbers run on over epochs.
#[derive(Debug)]
pub(super) struct StreamClock {
    rate: ClockRate,
    epoch: Option<EpochClock>,
    /// The newest sequence number and media time that were ever emitted.
    newest: Option<Newest>,
    /// Ticks between the last two frames.
    interval: i64,
    seen: Seen,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: i64,
    time: MediaTime,
}

/// The frozen offsets of an epoch (timeline.md, invariant 2).
#[derive(Debug)]
struct EpochClock {
    sequence: Unwrapper,
    timestamp: Unwrapper,
    sequence_offset: i64,
    time_offset: i64,
    /// The lowest sequence number that this epoch may use.
    first: i64,
    /// When the newest frame began to arrive.
    arrived: Instant,
    /// A timestamp far from where the clock should be, until the next packet tells what it means.
    strange: Option<i64>,
    backwards: u32,
    /// Packets in a row whose sequence number was used before.
    used_before: u32,
    /// Whether a packet of it was placed: the distance to the epoch before is no frame interval.
    begun: bool,
}

/// What a packet is on the feed's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) sequence: i64,
    pub(super) time: MediaTime,
    /// The first packet of a frame newer than all before.
    pub(super) new_frame: bool,
    /// Ticks since the frame before, for a new frame that was sent right after it.
    pub(super) interval: Option<i64>,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    Placed(Placed),
    /// It stands before everything this epoch may use, came before, or its timestamp is strange.
    Dropped,
    /// The publisher's clock jumped: a new epoch has to begin with this packet.
    Jumped,
}

/// A clock may stand this far from where its packets' arrival puts it, in seconds.
const STRANGE: i64 = 10;

/// So many used numbers in a row are no retransmissions: the publisher began its numbers again.
const RESTARTED: u32 = 50;

impl StreamClock {
    pub(super) const fn new(rate: ClockRate) -> Self {
        Self { rate, epoch: None, newest: None, interval: rate.hz() as i64 / 30, seen: Seen::new() }
    }

    pub(super) const fn rate(&self) -> ClockRate {
        self.rate
    }

    /// Whether its first packet in this epoch has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.epoch.is_some()
    }

    /// Whether frames are sent in another order than they are shown.
    pub(super) fn reorders(&self) -> bool {
        self.epoch.as_ref().is_some_and(|epoch| epoch.backwards >= 2)
    }

    /// The newest time emitted and the time of the frame that follows it.
    pub(super) fn newest_and_next(&self) -> Option<(MediaTime, MediaTime)> {
        self.newest.map(|newest| (newest.time, newest.time + self.interval))
    }

    /// The epoch is over.
    pub(super) fn end_epoch(&mut self) {
        self.epoch = None;
    }

    /// A returning publisher may use another clock rate (another codec).
    pub(super) fn set_rate(&mut self, rate: ClockRate) {
        if let Some(newest) = &mut self.newest {
            newest.time = newest.time.to_rate(self.rate, rate);
        }
        self.interval = crate::time::scale(self.interval, i64::from(rate.hz()), i64::from(self.rate.hz()));
        self.rate = rate;
    }

    /// The first packet of an epoch stands at `time`, or after everything emitted before, whichever is later.
    pub(super) fn begin_epoch(
        &mut self,
        now: Instant,
        sequence_number: u16,
        timestamp: u32,
        time: MediaTime,
    ) {
        let time = self.newest_and_next().map_or(time, |(_, next)| next.max(time));
        let first = self.newest.map_or(0, |newest| newest.sequence + 1);
        let mut sequence = Unwrapper::sequence();
        let mut clock = Unwrapper::timestamp();
        self.epoch = Some(EpochClock {
            sequence_offset: first - sequence.unwrap(u32::from(sequence_number)),
            time_offset: time.0 - clock.unwrap(timestamp),
            sequence,
            timestamp: clock,
            // In the feed's first epoch nothing stands before the first packet that a late one could collide with.
            first: if self.newest.is_some() { first } else { i64::MIN },
            arrived: now,
            strange: None,
            backwards: 0,
            used_before: 0,
            begun: false,
        });
    }

    /// Places a packet. The epoch must have begun.
    pub(super) fn place(&mut self, now: Instant, sequence_number: u16, timestamp: u32) -> Placement {
        let Some(epoch) = &mut self.epoch else { return Placement::Dropped };
        let raw_time = epoch.timestamp.peek(timestamp);
        // Before an epoch's first packet the newest time is the epoch's before, however long that is ago.
        if let Some(newest) = self.newest.filter(|_| epoch.begun) {
            let since = self.rate.ticks(now.saturating_duration_since(epoch.arrived));
            let off = raw_time + epoch.time_offset - newest.time.0 - since;
            let limit = i64::from(self.rate.hz()) * STRANGE;
            // A late packet of an old frame stands `since` behind; only what is far on either side is strange.
            if off > limit || off + since < -limit {
                let confirmed = epoch.strange.is_some_and(|before| (raw_time - before).abs() < limit);
                epoch.strange = Some(raw_time);
                return if confirmed { Placement::Jumped } else { Placement::Dropped };
            }
        }
        epoch.strange = None;
        let sequence = epoch.sequence.unwrap(u32::from(sequence_number)) + epoch.sequence_offset;
        if sequence < epoch.first || !self.seen.insert(sequence) {
            epoch.used_before += 1;
            return if epoch.used_before < RESTARTED { Placement::Dropped } else { Placement::Jumped };
        }
        epoch.used_before = 0;
        let time = MediaTime(epoch.timestamp.unwrap(timestamp) + epoch.time_offset);
        let newest = self.newest.unwrap_or(Newest { sequence: sequence - 1, time: time + -1 });
        let (in_order, new_frame) = (sequence > newest.sequence, time > newest.time);
        if in_order && time < newest.time {
            epoch.backwards += 1;
        }
        let interval =
            (new_frame && epoch.begun && sequence == newest.sequence + 1).then_some(time - newest.time);
        if new_frame {
            epoch.arrived = now;
            if let Some(ticks) = interval {
                self.interval = ticks;
            }
        }
        epoch.begun = true;
        self.newest = Some(Newest { sequence: newest.sequence.max(sequence), time: newest.time.max(time) });
        Placement::Placed(Placed { sequence, time, new_frame, interval })
    }

    /// The media time of an RTP timestamp that a sender report names, if it is near the newest packet.
    pub(super) fn report_time(&self, timestamp: u32) -> Option<MediaTime> {
        let epoch = self.epoch.as_ref()?;
        let time = MediaTime(epoch.timestamp.peek(timestamp) + epoch.time_offset);
        let newest = self.newest?.time;
        ((time - newest).abs() <= i64::from(self.rate.hz()) * STRANGE).then_some(time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::feed::owner::tests::start;

    const FRAME: Duration = Duration::from_micros(33_333);

    fn placed(placement: Placement) -> Placed {
        let Placement::Placed(placed) = placement else { panic!("{placement:?}") };
        placed
    }

    fn begun(sequence_number: u16, timestamp: u32) -> StreamClock {
        let mut clock = StreamClock::new(ClockRate::VIDEO);
        clock.begin_epoch(start(), sequence_number, timestamp, MediaTime(900_000));
        clock
    }

    #[test]
    fn offsets_are_frozen_over_both_wraps() {
        let mut clock = begun(65_000, u32::MAX - 5_000);
        for n in 0..5_000_u32 {
            let sequence_number = (65_000 + n) as u16;
            let timestamp = (u32::MAX - 5_000).wrapping_add(n * 3_000);
            let placed = placed(clock.place(start() + FRAME * n, sequence_number, timestamp));
            assert_eq!(placed.sequence, i64::from(n));
            assert_eq!(placed.time, MediaTime(900_000 + i64::from(n) * 3_000));
            assert!(placed.new_frame);
        }
    }

    #[test]
    fn late_packets_keep_their_place() {
        let mut clock = begun(10, 0);
        placed(clock.place(start(), 10, 0));
        placed(clock.place(start(), 12, 3_000));
        let late = placed(clock.place(start() + FRAME, 11, 0));
        assert_eq!((late.sequence, late.time, late.new_frame), (1, MediaTime(900_000), false));
        let before = placed(clock.place(start() + FRAME, 9, 4_294_964_296));
        assert_eq!((before.sequence, before.time), (-1, MediaTime(897_000)));
        assert_eq!(clock.place(start() + FRAME, 11, 0), Placement::Dropped, "it came before");
        assert!(!clock.reorders());
    }

    #[test]
    fn frames_sent_in_another_order_than_shown_are_noticed() {
        let mut clock = begun(0, 0);
        for (n, timestamp) in [0, 9_000, 3_000, 6_000, 18_000, 12_000, 15_000].into_iter().enumerate() {
            placed(clock.place(start() + FRAME * n as u32, n as u16, timestamp));
        }
        assert!(clock.reorders());
    }

    #[test]
    fn an_epoch_goes_on_after_what_was_emitted() {
        let mut clock = begun(0, 0);
        placed(clock.place(start(), 0, 0));
        placed(clock.place(start() + FRAME, 1, 3_000));
        clock.end_epoch();
        clock.begin_epoch(start() + FRAME, 500, 777, MediaTime(900_000));
        let first = placed(clock.place(start() + FRAME, 500, 777));
        assert_eq!((first.sequence, first.time), (2, MediaTime(906_000)), "one frame after the last");
        assert_eq!(clock.place(start() + FRAME, 499, 777), Placement::Dropped, "2 would be used twice");
    }

    #[test]
    fn one_strange_timestamp_is_dropped_and_two_are_a_jump() {
        let mut clock = begun(0, 0);
        placed(clock.place(start(), 0, 0));
        assert_eq!(clock.place(start() + FRAME, 1, 2_000_000_000), Placement::Dropped);
        placed(clock.place(start() + FRAME * 2, 2, 6_000));
        assert_eq!(clock.place(start() + FRAME * 3, 3, 2_000_000_000), Placement::Dropped);
        assert_eq!(clock.place(start() + FRAME * 4, 4, 2_000_003_000), Placement::Jumped);
    }

    #[test]
    fn an_epoch_may_begin_long_after_the_one_before() {
        let mut clock = begun(0, 0);
        placed(clock.place(start(), 0, 0));
        clock.end_epoch();
        let later = start() + Duration::from_secs(25);
        clock.begin_epoch(later, 7, 123, MediaTime(900_000 + 25 * 90_000));
        assert_eq!(placed(clock.place(later, 7, 123)).time, MediaTime(900_000 + 25 * 90_000));
        assert_eq!(placed(clock.place(later + FRAME, 8, 3_123)).interval, Some(3_000));
    }

    #[test]
    fn a_pause_of_the_publisher_is_no_jump() {
        let mut clock = begun(0, 0);
        placed(clock.place(start(), 0, 0));
        let minute = Duration::from_secs(60);
        assert_eq!(placed(clock.place(start() + minute, 1, 5_400_000)).time, MediaTime(6_300_000));
    }

    #[test]
    fn numbers_that_begin_again_are_a_jump() {
        let mut clock = begun(9_000, 0);
        for n in 0..5_000_u16 {
            placed(clock.place(start(), 9_000 + n, 0));
        }
        let outcomes: Vec<_> = (0..50).map(|n| clock.place(start() + FRAME, 3_000 + n, 3_000)).collect();
        assert!(outcomes[..49].iter().all(|outcome| *outcome == Placement::Dropped));
        assert_eq!(outcomes[49], Placement::Jumped);
    }

    #[test]
    fn a_report_far_from_the_packets_is_not_usable() {
        let mut clock = begun(0, 0);
        placed(clock.place(start(), 0, 0));
        assert_eq!(clock.report_time(90), Some(MediaTime(900_090)));
        assert_eq!(clock.report_time(u32::MAX / 2), None);
    }
}
