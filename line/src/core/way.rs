//! One direction of a line: the time and sizes in, what becomes of them out.
//!
//! What is decided about a packet when it comes stays so, as on a real network: a change of the network concerns what comes after it. Only
//! the waiting time of what stands in front of the link follows a new rate.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::network::Network;

/// Bytes of a TCP segment: of an Ethernet frame with IPv4 and TCP headers.
pub(crate) const SEGMENT: usize = 1_460;
/// UDP packets that would wait longer for the link are dropped.
const LONGEST_QUEUE: Duration = Duration::from_millis(250);
/// While the link has this much to do TCP puts nothing more in front of it: it waits instead of losing, and must leave UDP some room.
const TCP_QUEUE: Duration = Duration::from_millis(100);
/// How much of the link's time one read of a TCP connection may be worth, where that is more than a segment: connections take turns.
const TURN: Duration = Duration::from_millis(20);
/// Bytes of one read of a TCP connection.
pub(crate) const LARGEST_READ: usize = 16 << 10;
/// What it takes to keep a packet that is under way, beside its bytes: many small ones are not for nothing.
pub(crate) const KEEPING: usize = 128;
/// Bytes of UDP packets that are under way in one direction: 10 Mbit/s for three seconds.
const MOST_UNDER_WAY: usize = 4 << 20;
/// A retransmission of TCP takes this long at least.
const SHORTEST_HOLD: Duration = Duration::from_millis(200);

/// One direction of a line.
pub(crate) struct Way {
    network: Network,
    /// Towards the viewer: the rate counts.
    towards_viewer: bool,
    link: Link,
    random: StdRng,
    under_way: usize,
}

/// What becomes of a UDP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It arrives then.
    Arrives(Instant),
    /// It does not: blocked, lost, or there is no room for it.
    Dropped,
}

/// One direction of one TCP connection.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// When the last segment arrives: nothing comes before what was sent before it.
    last: Option<Instant>,
    /// Until when a lost segment holds everything behind it.
    held_until: Option<Instant>,
}

/// What becomes of a TCP segment: it always arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// Whether it was lost at first.
    pub(crate) held: bool,
}

impl Way {
    /// A direction of a line with this network; `seed` makes its losses and jitter.
    pub(crate) fn new(network: Network, towards_viewer: bool, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { network, towards_viewer, link: Link::default(), random, under_way: 0 }
    }

    /// Changes the network from now on.
    pub(crate) fn change(&mut self, now: Instant, network: Network) {
        let before = self.rate();
        self.network = network;
        self.link.change(now, before, self.rate());
    }

    /// Whether UDP passes at all: asked once more when a packet arrives, so that none does after it was blocked.
    pub(crate) const fn lets_udp_pass(&self) -> bool {
        self.network.udp
    }

    /// Decides about a UDP packet of `size` bytes. One that arrives has to be taken off with [`Way::arrived`].
    pub(crate) fn packet(&mut self, now: Instant, size: usize) -> Verdict {
        if !self.network.udp || self.is_lost() || self.under_way + size + KEEPING > MOST_UNDER_WAY {
            return Verdict::Dropped;
        }
        let sent = match self.rate() {
            None => now,
            Some(rate) if self.link.would_wait(now, size, rate) => return Verdict::Dropped,
            Some(rate) => self.link.send(now, size, rate),
        };
        let jitter = match self.network.jitter_ms {
            0 => Duration::ZERO,
            most => Duration::from_micros(self.random.random_range(0..=u64::from(most) * 1_000)),
        };
        self.under_way += size + KEEPING;
        Verdict::Arrives(sent + self.delay() + jitter)
    }

    /// A packet of `size` bytes is no longer under way.
    pub(crate) fn arrived(&mut self, size: usize) {
        self.under_way = self.under_way.saturating_sub(size + KEEPING);
    }

    /// From when on a connection may put more in front of the link. None: now.
    pub(crate) fn room_at(&self, now: Instant, stream: &Stream) -> Option<Instant> {
        let link = match self.rate() {
            None => None,
            Some(_) => self.link.free_at.and_then(|free| free.checked_sub(TCP_QUEUE)),
        };
        link.max(stream.held_until).filter(|at| *at > now)
    }

    /// Bytes that a connection may put in front of the link at a time.
    pub(crate) fn turn(&self) -> usize {
        let Some(rate) = self.rate() else { return LARGEST_READ };
        let bytes = u128::from(rate) * TURN.as_micros() / 8_000_000;
        usize::try_from(bytes).unwrap_or(LARGEST_READ).clamp(SEGMENT, LARGEST_READ)
    }

    /// Decides about a segment of `size` bytes of a connection.
    pub(crate) fn segment(&mut self, now: Instant, stream: &mut Stream, size: usize) -> Arrival {
        let sent = self.rate().map_or(now, |rate| self.link.send(now, size, rate));
        let mut at = sent + self.delay();
        let held = self.is_lost();
        if held {
            at += SHORTEST_HOLD.max(4 * self.delay());
            stream.held_until = stream.held_until.max(Some(at));
        }
        let at = stream.last.map_or(at, |last| at.max(last));
        stream.last = Some(at);
        Arrival { at, held }
    }

    /// Bits a second, where that is limited.
    fn rate(&self) -> Option<u64> {
        self.network.rate_kbps.filter(|_| self.towards_viewer).map(|rate| u64::from(rate) * 1_000)
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.network.delay_ms.into())
    }

    fn is_lost(&mut self) -> bool {
        self.network.loss_ratio > 0.0 && self.random.random_bool(self.network.loss_ratio.min(1.0))
    }
}

/// What carries one packet after the other at a rate: a token bucket that holds no more than what it is giving out.
#[derive(Debug, Default)]
struct Link {
    /// When it has carried all that it was given.
    free_at: Option<Instant>,
}

impl Link {
    fn busy_for(&self, now: Instant) -> Duration {
        self.free_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// Whether a packet would be gone later than the queue may be long. On an idle link none is too large.
    fn would_wait(&self, now: Instant, size: usize, rate: u64) -> bool {
        let busy = self.busy_for(now);
        !busy.is_zero() && busy + takes(size, rate) > LONGEST_QUEUE
    }

    /// Gives it a packet, and tells when that is gone.
    fn send(&mut self, now: Instant, size: usize, rate: u64) -> Instant {
        let gone = now + self.busy_for(now) + takes(size, rate);
        self.free_at = Some(gone);
        gone
    }

    /// What waits is as much as before, but takes as long as the new rate says.
    fn change(&mut self, now: Instant, before: Option<u64>, after: Option<u64>) {
        self.free_at = match (before, after) {
            (Some(before), Some(after)) => {
                let bits = self.busy_for(now).as_nanos() * u128::from(before);
                let nanos = u64::try_from(bits / u128::from(after.max(1))).unwrap_or(u64::MAX);
                now.checked_add(Duration::from_nanos(nanos))
            }
            _ => None,
        };
    }
}

/// How long a packet occupies the link.
fn takes(size: usize, rate: u64) -> Duration {
    let nanos = size as u128 * 8 * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "way_tests.rs"]
mod tests;
