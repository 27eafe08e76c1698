//! Where each viewer is served: over WebRTC or over HLS. Pure: what is known of a viewer's line, its feed and the server's room in,
//! decisions with their grounds out.
//!
//! The rules, in the order in which they are asked:
//!
//! 1. The free tier is served over HLS. Everything below is about the tier that has both paths.
//! 2. A path that a feed does not have is not used. Who is on the realtime path of a feed without HLS stays there however bad the
//!    line is.
//! 3. Room on the server matters to who is not on the realtime path. Nobody is taken off it for lack of room.
//! 4. While nobody publishes, nothing is concluded from media that does not come.
//! 5. A line that is bad (two reports, [`PolicySettings::bad_for`] apart from the first to the decision) is first given a lower
//!    layer, where there is one and it would help, and then HLS. A connection that does not come or breaks is HLS at once.
//! 6. Back on the realtime path is who has been on HLS for [`PolicySettings::hold`] and whose line has been good for
//!    [`PolicySettings::good_for`] without a break, in what made it leave too. Where too little is known of it, one that has not been heard to
//!    be bad is tried after [`PolicySettings::trial_hold`].
//! 7. Each return that does not last makes both holds grow; the retry budget and the limit of switches a minute stand behind.
//!
//! What a shell does: it calls [`Policy::join`] when a viewer comes, [`ViewerState::observe`] with what the SFU and the player say,
//! [`ViewerState::set_feed`] when the feed's paths or its publisher change, and [`ViewerState::tick`] five times a second or more. While
//! [`ViewerState::wants_slot`] says so it asks the [ledger](crate::admission::Ledger) and passes the answer on ([`ViewerState::set_capacity`];
//! without a ledger it is always [`Capacity::Granted`]), and when it does not, it gives the slot back: the policy has forgotten it by
//! then. While [`ViewerState::wants_probe`] says so it asks for a slot as well, and where there is one keeps a session of a viewer on HLS alive,
//! because only what is measured can become good.
//!
//! Reports are believed only within the range of what can be, and what the server has measured is not overruled by a player's
//! word. What a lying player reaches is to move itself, as rarely as anybody.

mod connection;
mod decision;
mod judge;
mod observation;
mod pace;
mod settings;
mod viewer;

use std::sync::Arc;
use std::time::Instant;

use bicast_shared::auth::Tier;

pub use decision::{Decision, Evidence, Path, ReasonCode, Signal};
pub use observation::{IceState, Measured, Observation, PlayerReport, ServerView};
pub use settings::{BadSetting, Band, PolicySettings};
pub use viewer::ViewerState;

pub(crate) use settings::in_range;

use crate::core::admission::{Answer, Shortage};

/// The rules for all viewers.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    settings: Arc<PolicySettings>,
    #[cfg(test)]
    bug: Option<Bug>,
}

/// What a feed can be watched over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedState {
    /// Whether WebRTC can carry it, when somebody publishes.
    pub realtime: bool,
    /// Whether HLS can carry it, when somebody publishes.
    pub hls: bool,
    /// Whether somebody publishes.
    pub live: bool,
}

/// Whether the server has room for a viewer on the realtime path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// It has a slot, or none is needed.
    Granted,
    /// It waits for one.
    Refused(Shortage),
}

impl From<Answer> for Capacity {
    fn from(answer: Answer) -> Self {
        answer.shortage().map_or(Self::Granted, Self::Refused)
    }
}

impl Policy {
    /// The rules with these settings, which have passed [`PolicySettings::check`].
    #[must_use]
    pub fn new(settings: PolicySettings) -> Self {
        Self {
            settings: Arc::new(settings),
            #[cfg(test)]
            bug: None,
        }
    }

    /// What they are set to.
    #[must_use]
    pub fn settings(&self) -> &PolicySettings {
        &self.settings
    }

    /// A viewer comes. Its first decision is there at once ([`ViewerState::current`]).
    #[must_use]
    pub fn join(&self, now: Instant, tier: Tier, feed: FeedState, capacity: Capacity) -> ViewerState {
        #[cfg_attr(not(test), expect(unused_mut, reason = "tests seed bugs"))]
        let mut viewer = ViewerState::new(Arc::clone(&self.settings), now, tier, feed, capacity);
        #[cfg(test)]
        viewer.seed(self.bug);
        viewer
    }
}

/// Faults that tests put into the policy, to see that the simulation finds them.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// Who has left may return at once.
    NoDwell,
    /// Holds do not grow.
    NoBackOff,
    /// Who has left three times stays on HLS for ever.
    ForgetsToReturn,
    /// Whoever is connected goes where there is no room.
    DropsTheConnected,
    /// One bad report is enough.
    BelievesOneReport,
    /// There is no limit of switches a minute.
    NoLimit,
}

#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
