//! What realtime viewers may use of a server, in numbers.

use std::time::Duration;

use bicast_shared::feed::settings::seconds;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::policy::{BadSetting, in_range};

/// What all realtime viewers together may use. What is left out has no limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Bits per second sent, SRTP included (100,000 to 10^12): what the uplink carries, less what HLS needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 100_000, maximum = 1_000_000_000_000_u64)]
    pub egress_bps: Option<u64>,
    /// Packets per second sent (100 to 10^9). Small packets (sound, 4 Mbit/s in 1,200 bytes) reach this before the bits do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 100, maximum = 1_000_000_000_u64)]
    pub packets_per_second: Option<u64>,
    /// Share of all cores (0.01 to 1). 0.8 leaves room for what comes in bursts: keyframes, joins, handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0.01, maximum = 1)]
    pub cpu_share: Option<f64>,
    /// Viewers (1 to 1,000,000).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub viewers: Option<u32>,
    /// How long there has to have been room before a waiting viewer is offered it, in seconds (0.1 to 600). 5: longer than the bursts of a
    /// keyframe or of a few joins, so that nobody is called back to where there is no room again.
    #[serde(with = "seconds")]
    #[schema(value_type = f64, minimum = 0.1, maximum = 600)]
    pub free_for: Duration,
    /// How long an offer stands, in seconds (1 to 120). 10: as long as a page may take to begin to connect.
    #[serde(with = "seconds")]
    #[schema(value_type = f64, minimum = 1, maximum = 120)]
    pub offer_for: Duration,
    /// How long a measurement of what is used holds, in seconds (1 to 60). 5: it comes every second.
    #[serde(with = "seconds")]
    #[schema(value_type = f64, minimum = 1, maximum = 60)]
    pub fresh_for: Duration,
    /// Viewers that may wait (0 to 1,000,000). 10,000. Who is not on the list is served over HLS as well, and may ask again.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub waiting: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            egress_bps: None,
            packets_per_second: None,
            cpu_share: None,
            viewers: None,
            free_for: Duration::from_secs(5),
            offer_for: Duration::from_secs(10),
            fresh_for: Duration::from_secs(5),
            waiting: 10_000,
        }
    }
}

impl Budget {
    /// # Errors
    /// The first setting that makes no sense.
    #[expect(clippy::cast_precision_loss, reason = "the ranges end far below 2^53")]
    pub fn check(&self) -> Result<(), BadSetting> {
        let numbers = [
            ("egress_bps", self.egress_bps.map(|bits| bits as f64), 100_000.0, 1e12),
            ("packets_per_second", self.packets_per_second.map(|packets| packets as f64), 100.0, 1e9),
            ("cpu_share", self.cpu_share, 0.01, 1.0),
            ("viewers", self.viewers.map(f64::from), 1.0, 1e6),
            ("free_for", Some(self.free_for.as_secs_f64()), 0.1, 600.0),
            ("offer_for", Some(self.offer_for.as_secs_f64()), 1.0, 120.0),
            ("fresh_for", Some(self.fresh_for.as_secs_f64()), 1.0, 60.0),
            ("waiting", Some(f64::from(self.waiting)), 0.0, 1e6),
        ];
        for (key, value, least, most) in numbers {
            value.map_or(Ok(()), |value| in_range(key, value, least, most))?;
        }
        Ok(())
    }

    pub(super) fn amounts(&self) -> Amounts {
        Amounts {
            viewers: self.viewers.map_or(u64::MAX, u64::from),
            bits: self.egress_bps.unwrap_or(u64::MAX),
            packets: self.packets_per_second.unwrap_or(u64::MAX),
            cpu: self.cpu_share.map_or(u64::MAX, millionths),
        }
    }
}

/// What one viewer is expected to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Bits per second.
    pub egress_bps: u64,
    /// Packets per second.
    pub packets_per_second: u64,
    /// Share of all cores; what is not between 0 and 1 counts as 0.
    pub cpu_share: f64,
    /// The same of the second in which it comes, beside that: its handshake.
    pub joining_cpu_share: f64,
}

/// CPU seconds for a packet to a viewer, sealing and sending included, and for a join with its HTTP: what README's table of the SFU under load says. A
/// machine that is slower is measured a second later; what counts is that a burst is not taken for nothing until then.
const CPU_OF_A_PACKET: f64 = 0.9e-6;
const CPU_OF_A_JOIN: f64 = 1.0 / 930.0;

impl Cost {
    /// With the CPU that it takes on a machine of so many cores.
    #[must_use]
    pub fn on(self, cores: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "cores, and packets of one viewer")]
        let (cores, packets) = (cores.max(1) as f64, self.packets_per_second as f64);
        Self {
            cpu_share: (packets * CPU_OF_A_PACKET / cores).min(1.0),
            joining_cpu_share: CPU_OF_A_JOIN / cores,
            ..self
        }
    }

    /// What its beginning takes beside what it takes all the time.
    pub(super) fn joining(&self) -> Amounts {
        Amounts { cpu: millionths(self.joining_cpu_share), ..Amounts::default() }
    }

    pub(super) fn amounts(&self) -> Amounts {
        let cpu = millionths(self.cpu_share);
        Amounts { viewers: 1, bits: self.egress_bps, packets: self.packets_per_second, cpu }
    }
}

/// What all realtime viewers together use, as measured. What is not known, or cannot be, counts for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Bits per second.
    pub egress_bps: Option<f64>,
    /// Packets per second.
    pub packets_per_second: Option<f64>,
    /// Share of all cores.
    pub cpu_share: Option<f64>,
}

impl Usage {
    /// The numbers, and how many of them could not be.
    pub(super) fn amounts(&self) -> (Amounts, u64) {
        let mut refused = 0;
        let mut read = |said: Option<f64>, most: f64, scale: f64| match said {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
            Some(value) if (0.0..=most).contains(&value) => (value * scale) as u64,
            Some(_) => {
                refused += 1;
                0
            }
            None => 0,
        };
        let amounts = Amounts {
            viewers: 0,
            bits: read(self.egress_bps, 1e15, 1.0),
            packets: read(self.packets_per_second, 1e12, 1.0),
            cpu: read(self.cpu_share, 1.0, 1e6),
        };
        (amounts, refused)
    }
}

fn millionths(share: f64) -> u64 {
    if !(0.0..=1.0).contains(&share) {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1")]
    let millionths = (share * 1e6).round() as u64;
    millionths
}

/// Which budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// Bits per second.
    Bitrate,
    /// Packets per second.
    PacketRate,
    /// CPU.
    Cpu,
    /// The number of viewers.
    Count,
}

/// Amounts of all four; CPU in millionths, so that sums are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub(super) viewers: u64,
    pub(super) bits: u64,
    pub(super) packets: u64,
    pub(super) cpu: u64,
}

impl Amounts {
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            viewers: with(self.viewers, other.viewers),
            bits: with(self.bits, other.bits),
            packets: with(self.packets, other.packets),
            cpu: with(self.cpu, other.cpu),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    pub(super) fn most(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    pub(super) fn least(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    /// # Errors
    /// What is short, where this is more than there is room for.
    pub(super) fn fits(self, room: Self) -> Result<(), Shortage> {
        let pairs = [
            (self.viewers, room.viewers, Shortage::Count),
            (self.bits, room.bits, Shortage::Bitrate),
            (self.packets, room.packets, Shortage::PacketRate),
            (self.cpu, room.cpu, Shortage::Cpu),
        ];
        let short = pairs.into_iter().find(|(wanted, room, _)| wanted > room);
        short.map_or(Ok(()), |(_, _, shortage)| Err(shortage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(Budget::default().check(), Ok(()));
        let wrong = Budget { cpu_share: Some(1.5), ..Budget::default() };
        assert_eq!(wrong.check().unwrap_err().to_string(), "cpu_share is 1.5, but has to be 0.01 to 1");
        let wrong = Budget { viewers: Some(0), ..Budget::default() };
        assert_eq!(wrong.check().unwrap_err().to_string(), "viewers is 0, but has to be 1 to 1000000");
    }

    #[test]
    fn what_is_left_out_has_no_limit() {
        let read: Budget = serde_json::from_str(r#"{"egress_bps": 1000000}"#).unwrap();
        assert_eq!(read, Budget { egress_bps: Some(1_000_000), ..Budget::default() });
        let huge = Amounts { viewers: 1, bits: 1_000_000, packets: u64::MAX, cpu: 1_000_000 };
        assert_eq!(huge.fits(read.amounts()), Ok(()));
        assert_eq!(Amounts { bits: 1_000_001, ..huge }.fits(read.amounts()), Err(Shortage::Bitrate));
    }

    #[test]
    fn measurements_that_cannot_be_count_for_nothing() {
        let usage =
            Usage { egress_bps: Some(f64::NAN), packets_per_second: Some(-1.0), cpu_share: Some(1.01) };
        assert_eq!(usage.amounts(), (Amounts::default(), 3));
        let usage = Usage { egress_bps: Some(1.5e6), packets_per_second: None, cpu_share: Some(0.25) };
        let expected = Amounts { viewers: 0, bits: 1_500_000, packets: 0, cpu: 250_000 };
        assert_eq!(usage.amounts(), (expected, 0));
    }
}
