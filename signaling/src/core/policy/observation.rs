//! What is told about one viewer's line, and what is believed of it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something new about a viewer, from either end or both.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Observation {
    /// What this server sees.
    pub server: Option<ServerView>,
    /// What the player says.
    pub player: Option<PlayerReport>,
}

impl From<ServerView> for Observation {
    fn from(view: ServerView) -> Self {
        Self { server: Some(view), player: None }
    }
}

impl From<PlayerReport> for Observation {
    fn from(report: PlayerReport) -> Self {
        Self { server: None, player: Some(report) }
    }
}

/// A viewer's session as the SFU sees it: from RTCP and ICE. What it does not know it leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerView {
    /// How the connection stands; to be told each time, because it counts only while it is fresh.
    pub ice: Option<IceState>,
    /// Share of packets lost lately before any repair, 0 to 1 (RFC 3550, 6.4.1).
    pub loss_ratio: Option<f64>,
    /// Share of the lost packets that a repair brought in time, 0 to 1.
    pub nack_recovery: Option<f64>,
    /// Milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Interarrival jitter in milliseconds (RFC 3550, 6.4.1).
    pub jitter_ms: Option<f64>,
    /// What the line is estimated to carry, in bits per second; nothing where the estimate only follows what happens to be sent.
    pub estimate_bps: Option<f64>,
    /// What the lowest layer of the feed and its sound need together, in bits per second.
    pub lowest_layer_bps: Option<f64>,
    /// Layers below the one that the viewer is sent; 0 or unknown where it cannot be lowered.
    pub lower_layers: Option<u8>,
}

/// What a player says about itself. It holds no time: viewers' clocks are off by days, and what counts is when it arrives here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlayerReport {
    /// Share of the time since its last report in which the picture stood still, 0 to 1.
    pub frozen_ratio: Option<f64>,
    /// As [`ServerView::loss_ratio`]. Believed only where the server knows nothing itself, like the next two.
    pub loss_ratio: Option<f64>,
    /// As [`ServerView::round_trip_ms`].
    pub round_trip_ms: Option<f64>,
    /// As [`ServerView::jitter_ms`].
    pub jitter_ms: Option<f64>,
    /// It got no answer over UDP (nor over TCP, where that is offered).
    pub udp_blocked: Option<bool>,
}

/// How a viewer's ICE connection stands (W3C webrtc-pc, 5.6.4, from the server's end).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IceState {
    /// A session is there, and no check has come.
    New,
    /// Checks come and go, none has succeeded.
    Checking,
    /// Media can be sent.
    Connected,
    /// It was connected, and nothing has come for longer than usual.
    Disconnected,
    /// Given up.
    Failed,
    /// There is no session any more.
    Closed,
}

/// The values that a judgement rests on: fresh, in range, the server's where it has one. An operator's page shows them beside each
/// decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// How the connection stands.
    pub ice: Option<IceState>,
    /// Share of packets lost before repair, 0 to 1.
    pub loss_ratio: Option<f64>,
    /// Share of the lost that was repaired, 0 to 1.
    pub nack_recovery: Option<f64>,
    /// Milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Milliseconds.
    pub jitter_ms: Option<f64>,
    /// Bits per second.
    pub estimate_bps: Option<f64>,
    /// Bits per second.
    pub lowest_layer_bps: Option<f64>,
    /// Share of time, 0 to 1.
    pub frozen_ratio: Option<f64>,
    /// Layers below the one that is sent.
    pub lower_layers: Option<u8>,
}

/// The longest time that a report may say, in milliseconds.
const LONGEST_MS: f64 = 60_000.0;
/// The highest rate that a report may say, in bits per second.
const FASTEST_BPS: f64 = 1e12;

/// A value and when it came.
type Sample<T> = Option<(Instant, T)>;

/// What is known of a viewer, each value as old as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    ice: Sample<IceState>,
    loss: Pair,
    recovery: Sample<f64>,
    round_trip: Pair,
    jitter: Pair,
    estimate: Sample<f64>,
    lowest_layer: Sample<f64>,
    lower_layers: Sample<u8>,
    frozen: Sample<f64>,
    udp_blocked: Sample<bool>,
    refused: u64,
}

/// A value that both ends may know.
#[derive(Debug, Clone, Default)]
struct Pair {
    server: Sample<f64>,
    player: Sample<f64>,
}

fn fresh<T: Copy>(sample: Sample<T>, now: Instant, within: Duration) -> Option<T> {
    sample.filter(|(at, _)| now.saturating_duration_since(*at) <= within).map(|(_, value)| value)
}

impl Pair {
    fn value(&self, now: Instant, within: Duration) -> Option<f64> {
        fresh(self.server, now, within).or_else(|| fresh(self.player, now, within))
    }
}

/// Takes a value where one is said and can be true; what cannot be is counted and forgotten.
fn take(to: &mut Sample<f64>, now: Instant, said: Option<f64>, most: f64, refused: &mut u64) -> bool {
    match said {
        Some(value) if (0.0..=most).contains(&value) => {
            *to = Some((now, value));
            true
        }
        Some(_) => {
            *refused = refused.saturating_add(1);
            false
        }
        None => false,
    }
}

/// Which values an observation has brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Brought {
    /// Those of the line.
    pub(super) line: Measured,
    pub(super) frozen: Option<f64>,
}

impl Known {
    /// Takes an observation up, and tells what of it counts.
    pub(super) fn take(&mut self, now: Instant, seen: &Observation, within: Duration) -> Brought {
        let mut brought = Brought::default();
        let mut refused = self.refused;
        if let Some(view) = &seen.server {
            if let Some(ice) = view.ice {
                self.ice = Some((now, ice));
                brought.line.ice = Some(ice);
            }
            let mut read = |to: &mut Sample<f64>, said, most| {
                if take(to, now, said, most, &mut refused) { said } else { None }
            };
            brought.line.loss_ratio = read(&mut self.loss.server, view.loss_ratio, 1.0);
            brought.line.nack_recovery = read(&mut self.recovery, view.nack_recovery, 1.0);
            brought.line.round_trip_ms = read(&mut self.round_trip.server, view.round_trip_ms, LONGEST_MS);
            brought.line.jitter_ms = read(&mut self.jitter.server, view.jitter_ms, LONGEST_MS);
            brought.line.estimate_bps = read(&mut self.estimate, view.estimate_bps, FASTEST_BPS);
            brought.line.lowest_layer_bps = read(&mut self.lowest_layer, view.lowest_layer_bps, FASTEST_BPS);
            if let Some(layers) = view.lower_layers {
                self.lower_layers = Some((now, layers));
            }
        }
        if let Some(report) = &seen.player {
            let mut read = |pair: &mut Pair, said, most| {
                let taken = take(&mut pair.player, now, said, most, &mut refused);
                // Who measured it here is not overruled.
                if taken && fresh(pair.server, now, within).is_none() { said } else { None }
            };
            let loss = read(&mut self.loss, report.loss_ratio, 1.0);
            let round_trip = read(&mut self.round_trip, report.round_trip_ms, LONGEST_MS);
            let jitter = read(&mut self.jitter, report.jitter_ms, LONGEST_MS);
            brought.line.loss_ratio = brought.line.loss_ratio.or(loss);
            brought.line.round_trip_ms = brought.line.round_trip_ms.or(round_trip);
            brought.line.jitter_ms = brought.line.jitter_ms.or(jitter);
            if take(&mut self.frozen, now, report.frozen_ratio, 1.0, &mut refused) {
                brought.frozen = report.frozen_ratio;
            }
            if let Some(blocked) = report.udp_blocked {
                self.udp_blocked = Some((now, blocked));
            }
        }
        self.refused = refused;
        brought
    }

    /// What holds now.
    pub(super) fn measured(&self, now: Instant, within: Duration) -> Measured {
        Measured {
            ice: fresh(self.ice, now, within),
            loss_ratio: self.loss.value(now, within),
            nack_recovery: fresh(self.recovery, now, within),
            round_trip_ms: self.round_trip.value(now, within),
            jitter_ms: self.jitter.value(now, within),
            estimate_bps: fresh(self.estimate, now, within),
            lowest_layer_bps: fresh(self.lowest_layer, now, within),
            frozen_ratio: fresh(self.frozen, now, within),
            lower_layers: fresh(self.lower_layers, now, within),
        }
    }

    /// Whether this server itself knows how much the line loses: without that nothing can be said for it.
    pub(super) fn server_knows_loss(&self, now: Instant, within: Duration) -> bool {
        fresh(self.loss.server, now, within).is_some()
    }

    pub(super) fn says_blocked(&self, now: Instant, within: Duration) -> bool {
        fresh(self.udp_blocked, now, within) == Some(true)
    }

    /// Forgets what was said about media: it was about other media, or another path.
    pub(super) fn forget_media(&mut self) {
        let Self { ice, udp_blocked, lower_layers, lowest_layer, refused, .. } = *self;
        *self = Self { ice, udp_blocked, lower_layers, lowest_layer, refused, ..Self::default() };
    }

    pub(super) const fn forget_layers(&mut self) {
        self.lower_layers = None;
    }

    /// Forgets what a player says of its stay on one path.
    pub(super) const fn forget_frozen(&mut self) {
        self.frozen = None;
        self.udp_blocked = None;
    }

    /// Values that were said and cannot be.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }
}
