//! What goes over a viewer's event channel. The service tells it where it is served and what becomes of its feed; its player tells
//! how that goes. `tests/fixtures/wire/channel-*.json` holds one example of each message.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::viewers::{Decision, Path, Viewer};
use super::{FeedState, Timeline};

/// What the service says. Messages with a `sequence` are kept: who comes back with `?after=SEQUENCE` misses none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// First on every channel: where the viewer stands now.
    Hello {
        /// The newest sequence number; what follows is behind it, but for what is told again after `?after=`.
        sequence: u64,
        /// Messages that were asked for and are not kept any more: this one replaces them.
        missed: u64,
        /// The viewer.
        viewer: Box<Viewer>,
    },
    /// The viewer is served over this path from now on, for this reason.
    Decision {
        /// Counts this viewer's messages, from 1 on.
        sequence: u64,
        /// The decision.
        decision: Decision,
    },
    /// What the realtime session was made for has changed (another codec, a new track): close it and POST a new WHEP offer.
    JoinAgain {
        /// Counts this viewer's messages.
        sequence: u64,
        /// What has changed, in words.
        why: String,
    },
    /// The viewer is not known here any more. The channel closes.
    End {
        /// Counts this viewer's messages.
        sequence: u64,
        /// Why.
        reason: EndReason,
    },
    /// How the feed is, at the beginning and with every change.
    Feed {
        /// Whether something arrives.
        state: FeedState,
        /// The publisher's stay.
        epoch: u32,
        /// Whether a viewer can be served over WebRTC.
        realtime: bool,
        /// Whether a viewer can be served over HLS.
        hls: bool,
    },
    /// The mapping between both paths and UTC, at the beginning and when it has moved.
    Timeline {
        /// The mapping.
        timeline: Timeline,
    },
    /// Whether the viewer, who is served over HLS because of its line, should have a WebRTC session beside it: only what is measured can
    /// be found good. Told with every change; `false` is not told first.
    Probe {
        /// Whether it should have one.
        wanted: bool,
    },
    /// What the player sent could not be used. Nothing of that message was taken; the channel goes on.
    Problem {
        /// What was wrong.
        detail: String,
        /// What to do.
        hint: String,
    },
}

/// Why a viewer is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// It said goodbye, or an operator ended it.
    Ended,
    /// The feed is over.
    FeedEnded,
    /// Its token has expired or was taken back.
    RightEnded,
    /// Nothing was heard of it for a while (`signaling.viewer_timeout`), or the holder of its token joined anew instead.
    Silent,
}

impl EndReason {
    /// Its name on the wire and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::FeedEnded => "feed-ended",
            Self::RightEnded => "right-ended",
            Self::Silent => "silent",
        }
    }
}

/// What a player says. Fields that are not known here are passed over, so that a newer player can talk to an older server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum PlayerMessage {
    /// How it goes, about once a second.
    Report(Report),
    /// It has gone over to the other path.
    Switched(Switched),
}

/// How it goes for a viewer. All of it may be left out; what cannot be true is not believed. It holds no time of day: viewers'
/// clocks are off by days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The path whose picture is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// From entering the server to the screen, in milliseconds (0 to 86,400,000; more for who has rewound).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 160.0)]
    pub latency_ms: Option<f64>,
    /// Media that waits to be shown, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_ms: Option<f64>,
    /// The position shown, in ticks of the master clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_time: Option<i64>,
    /// Whether it follows the live edge: one that has rewound or pauses says false, and its latency does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_live_edge: Option<bool>,
    /// Share of the time since the last report in which the picture stood still without being asked to, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_ratio: Option<f64>,
    /// Share of packets lost before any repair, 0 to 1 (WebRTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// Round trip in milliseconds (WebRTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Interarrival jitter in milliseconds (WebRTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
    /// It got no answer over UDP (nor over TCP, where that is offered).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_blocked: Option<bool>,
}

/// A switch as the viewer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Switched {
    /// The path that is shown now.
    pub to: Path,
    /// From the beginning of the switch to the new picture, in milliseconds.
    pub took_ms: f64,
    /// How far the position jumped, in milliseconds of media: positive skipped, negative repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump_ms: Option<f64>,
}
