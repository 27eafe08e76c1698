//! One viewer's state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::auth::Tier;

use super::connection::Connection;
use super::decision::{Decision, Evidence, Path, ReasonCode, Signal};
use super::judge::{BadFor, GoodFor, Level, signals, worst};
use super::observation::{IceState, Known, Measured, Observation};
use super::pace::{Pace, grown};
use super::settings::PolicySettings;
use super::{Capacity, FeedState};

/// What is known of a viewer, and where it is served.
#[derive(Debug, Clone)]
pub struct ViewerState {
    settings: Arc<PolicySettings>,
    /// The latest `now`: one that goes back counts as this.
    now: Instant,
    tier: Tier,
    feed: FeedState,
    /// None where it was not asked for since it was wanted.
    capacity: Option<Capacity>,
    /// Since when the feed has each, where that was not so at the beginning.
    realtime_since: Option<Instant>,
    hls_since: Option<Instant>,
    live_since: Option<Instant>,

    path: Path,
    /// Why it is on the path, while nothing else is more to the point.
    reason: ReasonCode,
    /// What drove it off the realtime path.
    cause: Option<Signal>,
    /// It should leave, and has nowhere to go.
    stuck: bool,
    layers: Layers,

    known: Known,
    bad: BadFor,
    /// When anything bad was reported last.
    bad_heard: Option<Instant>,
    frozen: BadFor,
    good: GoodFor,
    connection: Connection,
    /// When the stay on this path began.
    stay: Instant,
    pace: Pace,
    /// Since when it waits for a slot, with breaks.
    waiting: Option<Instant>,
    told: Decision,
}

/// Layers that a viewer is lowered by at most. Simulcast has three or four; a report that always tells of one more must not keep a viewer
/// from HLS.
const LOWEST: u8 = 3;

/// How far the viewer is held below the highest layer.
#[derive(Debug, Clone, Default)]
struct Layers {
    cap: u8,
    /// Why it is as it is, if that came up in this stay.
    reason: Option<ReasonCode>,
    changed: Option<Instant>,
    /// The last change was upwards.
    raised: bool,
    /// Raises in a row that did not last.
    failed: u32,
}

impl ViewerState {
    pub(super) fn new(
        settings: Arc<PolicySettings>,
        now: Instant,
        tier: Tier,
        feed: FeedState,
        capacity: Capacity,
    ) -> Self {
        let realtime = tier == Tier::Vip && feed.realtime && capacity == Capacity::Granted;
        let (path, reason) = match capacity {
            _ if realtime => (Path::Realtime, ReasonCode::Entitled),
            _ if tier == Tier::Free => (Path::Hls, ReasonCode::TierFree),
            Capacity::Refused(shortage) if feed.realtime => (Path::Hls, shortage.into()),
            _ => (Path::Hls, ReasonCode::FeedWithoutRealtime),
        };
        let told = Decision { path, layer_cap: 0, reason, since: now, evidence: Evidence::default() };
        let mut viewer = Self {
            settings,
            now,
            tier,
            feed,
            capacity: Some(capacity),
            realtime_since: None,
            hls_since: None,
            live_since: None,
            path,
            reason,
            cause: None,
            stuck: false,
            layers: Layers::default(),
            known: Known::default(),
            bad: BadFor::default(),
            bad_heard: None,
            frozen: BadFor::default(),
            good: GoodFor::default(),
            connection: Connection::new(now, None),
            stay: now,
            pace: Pace::default(),
            waiting: None,
            told,
        };
        viewer.told.reason = viewer.shown();
        viewer.told.evidence = viewer.evidence(None);
        viewer
    }

    #[cfg(test)]
    pub(super) const fn seed(&mut self, bug: Option<super::Bug>) {
        self.pace.bug = bug;
    }

    #[cfg(test)]
    fn has(&self, bug: super::Bug) -> bool {
        self.pace.bug == Some(bug)
    }

    /// Something was observed. Decisions come from [`Self::tick`].
    pub fn observe(&mut self, now: Instant, seen: &Observation) {
        let now = self.advance(now);
        let settings = &*self.settings;
        let fresh_for = settings.fresh_for;
        let brought = self.known.take(now, seen, fresh_for);
        if let Some(ice) = brought.line.ice {
            self.connection.handle(now, ice);
        }
        if !self.feed.live {
            // What is said about media now is about media that did not come.
            self.known.forget_media();
            return;
        }
        let bad = signals(&brought.line, settings).find(|(_, level)| *level == Level::Bad);
        if let Some((signal, _)) = bad {
            self.bad.bad(now, signal, fresh_for);
            self.bad_heard = Some(now);
        }
        if !self.is_good(now) {
            self.good.clear();
        } else if seen.server.is_some() {
            // A player's word ends what is good; only what is seen here goes on with it.
            self.good.good(now, fresh_for);
            self.bad.clear();
        }
        if let Some(frozen) = brought.frozen.filter(|_| self.path == Path::Realtime && self.is_settled(now)) {
            match super::judge::level(frozen, settings.frozen) {
                Level::Bad => self.frozen.bad(now, Signal::Frozen, fresh_for),
                Level::Good => self.frozen.clear(),
                Level::Fair => {}
            }
        }
    }

    /// What the feed can be watched over has changed, or is told again.
    pub fn set_feed(&mut self, now: Instant, feed: FeedState) {
        let now = self.advance(now);
        let before = std::mem::replace(&mut self.feed, feed);
        let begins = |before: bool, after: bool, since: &mut Option<Instant>| {
            if after && !before {
                *since = Some(now);
            }
        };
        begins(before.realtime, feed.realtime, &mut self.realtime_since);
        begins(before.hls, feed.hls, &mut self.hls_since);
        begins(before.live, feed.live, &mut self.live_since);
        if before.live != feed.live {
            self.known.forget_media();
            self.forget_judgement();
            self.connection.wait_from(now);
        }
    }

    /// The feed's media is other media, for which the viewer's session has to be made anew: its connection has the whole time again.
    pub fn join_again(&mut self, now: Instant) {
        let now = self.advance(now);
        self.connection = Connection::new(now, None);
    }

    /// It was waited for on the realtime path before this state began, and had the time to begin a connection.
    pub fn never_came(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.path == Path::Realtime && self.feed.hls {
            self.pace.leave(now, true, &self.settings);
            self.cause = Some(Signal::NoSession);
            self.begin_stay(now, Path::Hls, ReasonCode::NeverConnected);
        }
    }

    /// Whether there is room for this viewer, as far as it [wants a slot](Self::wants_slot).
    pub const fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = Some(capacity);
    }

    /// Decides. To be called some times a second and after anything was told; tells what has changed.
    pub fn tick(&mut self, now: Instant) -> Option<Decision> {
        let now = self.advance(now);
        let mut evidence = self.evidence(None);
        evidence.signal = match self.path {
            Path::Hls => self.consider_entering(now),
            Path::Realtime => self.consider_leaving(now),
        };
        if self.path == Path::Realtime {
            self.waiting = None;
        } else if self.wants_slot() {
            self.waiting.get_or_insert(now);
        } else {
            if self.wants_probe() {
                self.waiting.get_or_insert(now);
            }
            // It is given back, and may be somebody else's by the time it is wanted again.
            self.capacity = None;
        }
        let reason = self.shown();
        let unchanged =
            (self.told.path, self.told.layer_cap, self.told.reason) == (self.path, self.layers.cap, reason);
        if unchanged {
            return None;
        }
        // The hold and the budget as they are after the decision, the rest as it was before.
        let after = self.evidence(None);
        let evidence = Evidence {
            held_for_ms: after.held_for_ms,
            failed_returns: after.failed_returns,
            returns_left: after.returns_left,
            ..evidence
        };
        self.told = Decision { path: self.path, layer_cap: self.layers.cap, reason, since: now, evidence };
        Some(self.told)
    }

    /// What holds now.
    #[must_use]
    pub const fn current(&self) -> &Decision {
        &self.told
    }

    /// Whether the viewer would be on the realtime path if it had a slot: to be asked for one, and to be given back where not.
    #[must_use]
    pub fn wants_slot(&self) -> bool {
        self.path == Path::Realtime || self.ready(self.now).is_some()
    }

    /// Since when the viewer has wanted a slot, or to be measured in one, and not been on the realtime path: its waiting time, also where it
    /// could not have used one in between.
    #[must_use]
    pub fn waiting_since(&self) -> Instant {
        self.waiting.unwrap_or(self.now)
    }

    /// Whether the line of a viewer on HLS should be measured now, because it may return soon if it is good. That takes what the viewer would:
    /// a slot.
    #[must_use]
    pub fn wants_probe(&self) -> bool {
        let settings = &*self.settings;
        self.path == Path::Hls
            && self.tier == Tier::Vip
            && self.cause.is_some()
            && self.feed.realtime
            && self.feed.live
            && self.pace.returns_left(self.now, settings) > 0
            && self.pace.held_for(self.now, settings.hold, settings) <= settings.good_for + settings.fresh_for
    }

    /// Values that were reported about this viewer and cannot be, since it came.
    #[must_use]
    pub const fn refused_values(&self) -> u64 {
        self.known.refused()
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// The beginning of a stay or of a publisher is over.
    fn is_settled(&self, now: Instant) -> bool {
        let settled = |since: Instant| now.saturating_duration_since(since) >= self.settings.settle;
        settled(self.stay) && self.live_since.is_none_or(settled)
    }

    /// Whether all that is known of the line is good, and enough is known.
    fn is_good(&self, now: Instant) -> bool {
        let fresh_for = self.settings.fresh_for;
        let measured = self.known.measured(now, fresh_for);
        measured.ice == Some(IceState::Connected)
            && self.known.server_knows_loss(now, fresh_for)
            && worst(&measured, &self.settings).is_some_and(|(_, level)| level == Level::Good)
            && self.cause.is_none_or(|cause| self.is_known(cause, &measured))
    }

    /// Whether what drove the viewer away is measured at all. Pictures do not freeze where none are shown, what is lost before repair
    /// bounds what is lost after it, and what a line carries is known only while it is full: one that takes the media and loses
    /// nothing carries it.
    fn is_known(&self, cause: Signal, measured: &Measured) -> bool {
        match cause {
            Signal::RoundTrip | Signal::Jitter => {
                signals(measured, &self.settings).any(|(signal, _)| signal == cause)
            }
            _ => true,
        }
    }

    /// Why the viewer could be on the realtime path if it had a slot; none where it could not.
    fn ready(&self, now: Instant) -> Option<ReasonCode> {
        let settings = &*self.settings;
        let settled = |since: Option<Instant>| {
            since.is_none_or(|at| now.saturating_duration_since(at) >= settings.settle)
        };
        if self.tier != Tier::Vip
            || !self.feed.realtime
            || !self.feed.live
            || !self.pace.may_enter(now, settings)
        {
            return None;
        }
        if !self.feed.hls {
            return Some(ReasonCode::FeedWithoutHls);
        }
        if !settled(self.realtime_since) {
            return None;
        }
        let held = |base| !self.pace.held_for(now, base, settings).is_zero();
        #[cfg(test)]
        let held = |base| held(base) && !self.has(super::Bug::NoDwell);
        if self.cause.is_none() {
            return (!held(settings.hold)).then_some(ReasonCode::Available);
        }
        #[cfg(test)]
        if self.has(super::Bug::ForgetsToReturn) && self.pace.failed_returns() >= 2 {
            return None;
        }
        if self.pace.returns_left(now, settings) == 0 {
            return None;
        }
        let good = self.good.lasted(now, settings.fresh_for) >= settings.good_for;
        if good && !held(settings.hold) {
            return Some(ReasonCode::Returned);
        }
        (!held(settings.trial_hold) && self.may_try(now)).then_some(ReasonCode::Trial)
    }

    /// Nothing has been heard against the line for as long as it would have to be good, and somebody published for longer than that: it would
    /// have been found good.
    fn may_try(&self, now: Instant) -> bool {
        let settings = &*self.settings;
        let past =
            |at: Option<Instant>, limit| at.is_none_or(|at| now.saturating_duration_since(at) >= limit);
        let ice = self.known.measured(now, settings.fresh_for).ice;
        past(self.bad_heard, settings.good_for)
            && past(self.live_since, settings.good_for + settings.fresh_for)
            && !matches!(ice, Some(IceState::Checking | IceState::Disconnected))
            && !self.known.says_blocked(now, settings.fresh_for)
    }

    fn consider_entering(&mut self, now: Instant) -> Option<Signal> {
        let reason = self.ready(now)?;
        if self.capacity != Some(Capacity::Granted) {
            return None;
        }
        let for_the_line = matches!(reason, ReasonCode::Returned | ReasonCode::Trial);
        self.pace.enter(now, for_the_line, &self.settings);
        let cause = self.cause.take();
        self.begin_stay(now, Path::Realtime, reason);
        cause
    }

    fn consider_leaving(&mut self, now: Instant) -> Option<Signal> {
        if !self.feed.realtime {
            if self.feed.hls {
                self.pace.leave(now, false, &self.settings);
                self.begin_stay(now, Path::Hls, ReasonCode::FeedWithoutRealtime);
            }
            return None;
        }
        #[cfg(test)]
        if let (true, Some(Capacity::Refused(shortage))) =
            (self.has(super::Bug::DropsTheConnected), self.capacity)
        {
            self.pace.leave(now, false, &self.settings);
            self.begin_stay(now, Path::Hls, shortage.into());
            return None;
        }
        let Some(signal) = self.against(now) else {
            self.recover(now);
            return None;
        };
        let settings = &*self.settings;
        // Who gets nothing at all takes HLS as soon as there is any.
        let settled = matches!(signal, Signal::NoSession | Signal::Blocked | Signal::Lost)
            || self.hls_since.is_none_or(|at| now.saturating_duration_since(at) >= settings.settle);
        if self.may_lower(now, signal) {
            self.lower(now, signal);
        } else if self.feed.hls && settled {
            self.pace.leave(now, true, settings);
            self.cause = Some(signal);
            self.begin_stay(now, Path::Hls, signal.into());
        } else {
            self.stuck = true;
        }
        Some(signal)
    }

    /// What speaks against staying on the realtime path.
    fn against(&self, now: Instant) -> Option<Signal> {
        let settings = &*self.settings;
        let says_blocked = self.known.says_blocked(now, settings.fresh_for);
        #[cfg(test)]
        if self.has(super::Bug::BelievesOneReport) && self.bad_heard == Some(now) {
            return Some(Signal::Loss);
        }
        self.connection
            .against(now, says_blocked, self.feed.live, settings)
            .or_else(|| self.bad.reached(now, settings.bad_for, settings.fresh_for))
            .or_else(|| self.connection.is_closed().then(|| self.bad.newest(now, settings.fresh_for))?)
            .or_else(|| self.frozen.reached(now, settings.frozen_for, settings.fresh_for))
    }

    /// Whether a lower layer would help, and there is one.
    fn may_lower(&self, now: Instant, signal: Signal) -> bool {
        let measured = self.known.measured(now, self.settings.fresh_for);
        let severe = measured.loss_ratio.is_some_and(|loss| loss >= self.settings.loss_severe);
        let helps = match signal {
            // Even the lowest is too much, or nothing comes through at all.
            Signal::Rate | Signal::NoSession | Signal::Blocked | Signal::Lost => false,
            Signal::Loss | Signal::Unrepaired => !severe,
            Signal::RoundTrip | Signal::Jitter | Signal::Frozen => true,
        };
        helps && self.layers.cap < LOWEST && measured.lower_layers.is_some_and(|below| below > 0)
    }

    fn lower(&mut self, now: Instant, signal: Signal) {
        let settings = &*self.settings;
        let layers = &mut self.layers;
        let lasted = layers.changed.is_none_or(|at| now.saturating_duration_since(at) >= settings.lasting);
        layers.failed = match (lasted, layers.raised) {
            (true, _) => 0,
            (false, true) => layers.failed.saturating_add(1),
            // One step further down is the same failure.
            (false, false) => layers.failed,
        };
        layers.cap = layers.cap.saturating_add(1);
        layers.reason = Some(signal.into());
        layers.changed = Some(now);
        layers.raised = false;
        self.stuck = false;
        self.forget_judgement();
        // How many are below the new one is told with the next view.
        self.known.forget_layers();
    }

    /// The line is not bad: the viewer may have more, if it is good for long enough.
    fn recover(&mut self, now: Instant) {
        let settings = &*self.settings;
        let good = self.good.lasted(now, settings.fresh_for);
        if self.stuck && !good.is_zero() {
            self.stuck = false;
            self.reason = ReasonCode::Recovered;
        }
        let wait = grown(settings.raise_after, self.layers.failed, settings);
        if self.layers.cap > 0 && good >= wait {
            self.layers.cap -= 1;
            self.layers.reason = Some(ReasonCode::Recovered);
            self.layers.changed = Some(now);
            self.layers.raised = true;
            // The next one has to be earned as well.
            self.good.clear();
        }
    }

    fn begin_stay(&mut self, now: Instant, path: Path, reason: ReasonCode) {
        self.path = path;
        self.reason = reason;
        self.stay = now;
        self.stuck = false;
        self.layers.reason = None;
        self.forget_judgement();
        self.known.forget_frozen();
        let ice = self.known.measured(now, self.settings.fresh_for).ice;
        self.connection = Connection::new(now, ice);
    }

    fn forget_judgement(&mut self) {
        self.bad.clear();
        self.frozen.clear();
        self.good.clear();
    }

    /// The reason to show: of all that hold, the one that explains most.
    fn shown(&self) -> ReasonCode {
        let FeedState { realtime, hls, live } = self.feed;
        if !realtime && !hls {
            return ReasonCode::FeedWithoutPaths;
        }
        if !live {
            return ReasonCode::PublisherAway;
        }
        match (self.path, self.tier) {
            (Path::Hls, Tier::Free) if hls => ReasonCode::TierFree,
            (Path::Hls, Tier::Free) => ReasonCode::FeedWithoutHls,
            (Path::Hls, Tier::Vip) if !realtime => ReasonCode::FeedWithoutRealtime,
            (Path::Hls, Tier::Vip) => match self.capacity {
                Some(Capacity::Refused(shortage)) if self.ready(self.now).is_some() => shortage.into(),
                _ => self.reason,
            },
            (Path::Realtime, _) if self.stuck && !hls => ReasonCode::FeedWithoutHls,
            (Path::Realtime, _) => match (self.layers.reason, self.reason) {
                (Some(reason), _) => reason,
                // It came because there was no HLS, and stays though there is.
                (None, ReasonCode::FeedWithoutHls) if hls => ReasonCode::Available,
                (None, reason) => reason,
            },
        }
    }

    fn evidence(&self, signal: Option<Signal>) -> Evidence {
        let settings = &*self.settings;
        let (now, fresh_for) = (self.now, settings.fresh_for);
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let held = match self.path {
            Path::Realtime => Duration::ZERO,
            Path::Hls => self.pace.held_for(now, settings.hold, settings),
        };
        Evidence {
            signal,
            measured: self.known.measured(now, fresh_for),
            bad_for_ms: millis(self.bad.lasted(now).max(self.frozen.lasted(now))),
            good_for_ms: millis(self.good.lasted(now, fresh_for)),
            held_for_ms: millis(held),
            failed_returns: self.pace.failed_returns(),
            returns_left: self.pace.returns_left(now, settings),
        }
    }
}
