//! One viewer that has joined.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::auth::{Grant, Tier};
use bicast_shared::id::FeedId;
use bicast_shared::status::ViewerStatus;
use bicast_shared::time::ProgramTime;

use super::log::Log;
use super::session::Seen;
use super::{Arrival, Moment, ViewerId, priority};
use crate::api;
use crate::api::channel::{EndReason, PlayerMessage, Report};
use crate::core::admission::{Cost, Ledger, Request};
use crate::core::policy::{
    Evidence, FeedState, Observation, Path, PlayerReport, Policy, ReasonCode, ViewerState,
};

/// What players may say: twice what one that reports five times a second needs.
const MESSAGES: (u32, Duration) = (20, Duration::from_secs(2));
/// How long the session of a viewer that is served over HLS is left alone: its player closes it when HLS is shown.
const OVERSTAYS: Duration = Duration::from_secs(20);
/// How long a player may take to begin the session by which its line is measured.
const COMES: Duration = Duration::from_secs(10);
/// How long a line is measured at least: a good one has been found so by then, and its viewer has returned.
const MEASURED: Duration = Duration::from_secs(20);
/// How long it is left alone after that. As long as the policy takes to try a line of which nothing is known, by default.
const RESTS: Duration = Duration::from_secs(120);
/// A player's word about its position is no news after this.
pub(super) const REPORT_HOLDS: Duration = Duration::from_secs(15);
/// The highest latency that is believed, in milliseconds: a day.
const LATEST_MS: f64 = 86_400_000.0;

/// A viewer that has joined.
pub(crate) struct Entry {
    pub(crate) feed: FeedId,
    pub(crate) tier: Tier,
    pub(crate) agent: Option<String>,
    pub(crate) grant: Option<Arc<Grant>>,
    pub(crate) joined: ProgramTime,
    pub(super) state: ViewerState,
    /// Where it was told to stay.
    pub(crate) ordered: Option<Path>,
    /// When it was told so or had a session, whichever is later.
    present: Instant,
    /// Since when it has a slot to be measured in.
    probed: Option<Instant>,
    /// Until when it is not measured.
    rests_until: Option<Instant>,
    pub(super) layer_cap: u8,
    /// What holds and was told.
    pub(super) told: Told,
    pub(super) log: Log,
    pub(super) ended: Option<(Instant, EndReason)>,
    pub(super) heard: Instant,
    pub(crate) channels: u32,
    pub(crate) switches: u64,
    report: Option<(Instant, Report)>,
    seen: Option<Seen>,
    said: (Instant, u32),
}

/// A decision as it is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    pub(super) path: Path,
    pub(super) layer_cap: u8,
    pub(super) reason: ReasonCode,
    at: Moment,
    evidence: Evidence,
}

/// What became of a player's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Taken,
    TooMuch,
}

impl Entry {
    pub(super) fn new(at: Moment, arrival: Arrival, state: ViewerState) -> Self {
        let Arrival { feed, tier, agent, grant } = arrival;
        let current = *state.current();
        let told = Told {
            path: current.path,
            layer_cap: current.layer_cap,
            reason: current.reason,
            at,
            evidence: current.evidence,
        };
        let mut entry = Self {
            feed,
            tier,
            agent,
            grant,
            joined: at.utc,
            state,
            ordered: None,
            present: at.now,
            probed: None,
            rests_until: None,
            layer_cap: 0,
            told,
            log: Log::default(),
            ended: None,
            heard: at.now,
            channels: 0,
            switches: 0,
            report: None,
            seen: None,
            said: (at.now, 0),
        };
        entry.log.decision(entry.decision());
        entry
    }

    /// Before whom it comes where there is too little room.
    pub(super) fn priority(&self) -> u8 {
        priority(self.grant.as_deref())
    }

    /// Values that were reported about it and cannot be.
    pub(super) const fn refused_values(&self) -> u64 {
        self.state.refused_values()
    }

    pub(super) const fn is_here(&self) -> bool {
        self.ended.is_none()
    }

    /// What holds, as the API tells it.
    pub(crate) fn decision(&self) -> api::viewers::Decision {
        api::viewers::Decision {
            path: self.told.path,
            layer_cap: self.told.layer_cap,
            reason: self.told.reason,
            since: self.told.at.utc.rfc3339(),
            evidence: self.told.evidence,
        }
    }

    pub(crate) const fn path(&self) -> Path {
        self.told.path
    }

    pub(crate) const fn reason(&self) -> ReasonCode {
        self.told.reason
    }

    /// Whether its line should be measured while it is served over HLS: that is of use, and there is room for it.
    pub(crate) fn wants_probe(&self) -> bool {
        self.ordered.is_none() && self.probed.is_some()
    }

    /// The newest sequence number of its messages.
    pub(crate) const fn sequence(&self) -> u64 {
        self.log.newest()
    }

    /// The player's last report.
    pub(crate) const fn report(&self) -> Option<&(Instant, Report)> {
        self.report.as_ref()
    }

    /// How late its picture is, where it follows the live edge and has said so lately, of the path that it is on: of another one it
    /// speaks while it moves, or because it is mistaken.
    pub(crate) fn latency_ms(&self, now: Instant) -> Option<(Path, f64)> {
        let (at, report) = self.report.as_ref()?;
        let recent = now.saturating_duration_since(*at) <= REPORT_HOLDS;
        let believed = |latency: &f64| (0.0..=LATEST_MS).contains(latency);
        let latency = report.latency_ms.filter(believed)?;
        let follows = recent && report.at_live_edge != Some(false);
        let on_it = report.path.is_none_or(|path| path == self.told.path);
        (follows && on_it).then_some((self.told.path, latency))
    }

    pub(super) fn said(&mut self, now: Instant, message: &PlayerMessage) -> Said {
        self.heard = now;
        if now.saturating_duration_since(self.said.0) >= MESSAGES.1 {
            self.said = (now, 0);
        }
        if self.said.1 >= MESSAGES.0 {
            return Said::TooMuch;
        }
        self.said.1 += 1;
        match message {
            PlayerMessage::Report(report) => {
                // What it says of the other path does not speak for or against this one.
                let here = report.path.is_none_or(|path| path == Path::Realtime);
                let line = PlayerReport {
                    frozen_ratio: report.frozen_ratio.filter(|_| here),
                    loss_ratio: report.loss_ratio,
                    round_trip_ms: report.round_trip_ms,
                    jitter_ms: report.jitter_ms,
                    udp_blocked: report.udp_blocked,
                };
                self.state.observe(now, &Observation::from(line));
                self.report = Some((now, *report));
            }
            PlayerMessage::Switched(_) => {}
        }
        Said::Taken
    }

    /// What the SFU sees of it; none where it has no session.
    pub(super) fn see(&mut self, now: Instant, status: Option<&ViewerStatus>, lowest_bps: Option<f64>) {
        let had = self.seen.is_some();
        // Between two looks one was closed and another begun: that is no interruption of the first.
        let replaced =
            status.is_some_and(|status| self.seen.as_ref().is_some_and(|seen| !seen.is_of(&status.id)));
        if replaced {
            self.state.observe(now, &Observation::from(Seen::closed()));
        }
        let view = match status {
            Some(status) => Seen::view(&mut self.seen, now, status, lowest_bps),
            None => {
                self.seen = None;
                if !had {
                    return;
                }
                Seen::closed()
            }
        };
        self.state.observe(now, &Observation::from(view));
    }

    /// Nothing but time would tell that it is here: it has neither a channel nor a session.
    pub(super) const fn is_away(&self) -> bool {
        self.channels == 0 && !self.has_session()
    }

    pub(super) fn set_order(&mut self, now: Instant, path: Option<Path>) {
        // The same order again gives no more time.
        if self.ordered != path {
            self.present = now;
        }
        self.ordered = path;
        self.probed = None;
    }

    /// Whether it is kept on the realtime path in vain: it does not come, or its feed is not there any more. Its place is somebody else's then.
    pub(super) fn outlives_its_order(&mut self, now: Instant, feed: FeedState, policy: &Policy) -> bool {
        if self.ordered != Some(Path::Realtime) {
            return false;
        }
        if self.has_session() || !feed.live {
            self.present = now;
        }
        self.is_late(now, policy.settings().appear_within) || (!feed.realtime && feed.hls)
    }

    fn is_late(&self, now: Instant, within: Duration) -> bool {
        now.saturating_duration_since(self.present) >= within
    }

    /// The policy decides again, from this state on. Tells how many values the one before had refused.
    pub(super) fn take_back_order(&mut self, now: Instant, mut state: ViewerState) -> u64 {
        if !self.has_session() {
            state.never_came(now);
        }
        self.ordered = None;
        std::mem::replace(&mut self.state, state).refused_values()
    }

    pub(super) const fn has_session(&self) -> bool {
        self.seen.is_some()
    }

    /// Lets the policy decide, and takes or gives back its place: for being served over WebRTC, or for being measured beside HLS.
    pub(super) fn tick(&mut self, at: Moment, id: &ViewerId, ledger: &mut Ledger<ViewerId>, cost: Cost) {
        let rests = self.rests_until.is_some_and(|until| at.now < until);
        let wants_probe = |state: &ViewerState| !rests && state.wants_probe();
        let wants = self.state.wants_slot() || wants_probe(&self.state);
        if wants && self.state.current().path == Path::Hls {
            let request = Request { priority: self.priority(), since: self.state.waiting_since(), cost };
            self.state.set_capacity(ledger.ask(at.now, id, &request).into());
        }
        self.state.tick(at.now);
        let waits_or_measures = wants_probe(&self.state) && self.measure(at.now, id, ledger);
        if !waits_or_measures {
            self.probed = None;
        }
        if !self.state.wants_slot() && !waits_or_measures {
            ledger.leave(at.now, id);
        } else if self.state.current().path == Path::Realtime {
            ledger.take_up(id);
        }
    }

    /// Whether its line, which is worth measuring, goes on being measured or waiting for room to be. A session that nobody sees takes as much
    /// as one that is seen: who does not come, or is not found good while somebody else waits, gives its place to them for a while.
    fn measure(&mut self, now: Instant, id: &ViewerId, ledger: &mut Ledger<ViewerId>) -> bool {
        let has_slot = ledger.has_slot(id);
        let lasted = self.probed.map(|since| now.saturating_duration_since(since));
        let in_vain = match lasted {
            _ if !has_slot => self.probed.is_some(),
            Some(lasted) if self.has_session() => lasted >= MEASURED && ledger.first_shortage().is_some(),
            Some(lasted) => lasted >= COMES,
            None => false,
        };
        if in_vain {
            self.rests_until = Some(now + RESTS);
            return false;
        }
        self.probed = if has_slot { self.probed.or(Some(now)) } else { None };
        if has_slot && self.has_session() {
            ledger.take_up(id);
        }
        true
    }

    /// Notes what holds now, and gives it where that is news; and whether it moves to the other path.
    pub(super) fn decide(&mut self, at: Moment) -> Option<(Path, ReasonCode, bool)> {
        let current = *self.state.current();
        let (path, layer_cap, reason) = match self.ordered {
            Some(path) => (path, self.layer_cap, ReasonCode::Ordered),
            None => (current.path, current.layer_cap.max(self.layer_cap), current.reason),
        };
        if (path, layer_cap, reason) == (self.told.path, self.told.layer_cap, self.told.reason) {
            return None;
        }
        let moved = path != self.told.path;
        let evidence = if self.ordered.is_some() { Evidence::default() } else { current.evidence };
        self.told = Told { path, layer_cap, reason, at, evidence };
        self.log.decision(self.decision());
        self.switches += u64::from(moved);
        Some((path, reason, moved))
    }

    /// Whether it has a session that it should have closed by now.
    pub(super) fn overstays(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.told.at.now);
        self.has_session() && self.told.path == Path::Hls && since > OVERSTAYS && !self.wants_probe()
    }
}
