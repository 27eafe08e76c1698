//! The rules, as somebody knows them who has not seen the policy. The model is told what the policy is told and what it decides, and
//! objects. It shares the words (settings, views, reason codes) and no code with the policy; it looks at raw reports, not at what the
//! policy makes of them. Times are milliseconds of the run.
//!
//! What must never be:
//!
//! - A viewer of the free tier on the realtime path; a viewer on a path that its feed does not have while it has the other one, but for lack
//!   of room or of moves left in this minute.
//! - More than `switches_a_minute` changes of path within any 60 s.
//! - Leaving the realtime path without a cause: bad reports, two at least, for `bad_for`, in this stay, while somebody published; pictures that
//!   stood still for `frozen_for`; a session that was closed while the last report was a bad one; a connection that did not come within `connect_within` or was interrupted for
//!   `interrupted_for`, or was closed and did not come again within `connect_within`; a feed that has the path no more. Lack of room is none.
//! - Entering it without a slot, a publisher or the path; within the hold after leaving (which is `hold`, or `trial_hold` for a trial, times
//!   `growth` for each return in a row that did not last `lasting`, up to `longest_hold`); beyond the budget of returns; after anything that was
//!   not good in the last `good_for`, or after silence in it, unless it is a trial, and then after anything bad in that time.
//! - A decision that changes nothing, that names another reason than holds, or that rests on values that cannot be.
//!
//! What must be:
//!
//! - Whoever has had bad reports without a good one for `bad_for`, or no connection for its time, has left, if there is HLS, or has been given a
//!   lower layer, three times at most.
//! - Whoever may return and has had wholly good reports for `good_for` has returned, at the latest `returns_within()` after everything
//!   has become good.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bicast_shared::auth::Tier;

use super::super::{
    Capacity, Decision, FeedState, IceState, Path, PlayerReport, PolicySettings, ReasonCode, ServerView,
    Shortage,
};
use super::Seen;
use super::reading::{grade, lasts, ms, player_grade, valid};
use super::world::Event;

/// Reports that are kept: more than come in the longest time that a rule looks back.
const KEPT: usize = 512;

#[derive(Debug, Clone, Copy)]
enum Said {
    Server(ServerView),
    Player(PlayerReport),
}

/// The model of one viewer.
pub(super) struct Reference {
    start: Instant,
    settings: PolicySettings,
    tier: Tier,
    feed: FeedState,
    capacity: Capacity,
    /// Since when the feed has each; none for always.
    realtime_since: Option<u64>,
    hls_since: Option<u64>,
    live_since: Option<u64>,
    reports: VecDeque<(u64, Said)>,
    /// What was told of ICE in this stay, beginning with what was known at its beginning.
    ice: Vec<(u64, IceState)>,
    last_ice: Option<(u64, IceState)>,
    path: Path,
    cap: u8,
    reason: ReasonCode,
    stay: u64,
    /// When it was told last that it has to join again.
    again: u64,
    cap_changed: Option<u64>,
    entered: Option<u64>,
    left: Option<u64>,
    /// The viewer left because of its line.
    for_the_line: bool,
    failed: i32,
    switches: Vec<u64>,
    returns: Vec<u64>,
    /// Bad server reports in a row, and wholly good ones: first and last time and how many.
    bad: Option<(u64, u64, u64)>,
    good: Option<(u64, u64)>,
    well_since: Option<u64>,
    seen: Seen,
    told: Vec<(u64, Path, u8, ReasonCode)>,
}

fn object(rule: impl Into<String>) -> Result<(), String> {
    Err(rule.into())
}

impl Reference {
    pub(super) fn new(
        start: Instant,
        settings: PolicySettings,
        tier: Tier,
        (feed, capacity): (FeedState, Capacity),
        first: &Decision,
    ) -> Self {
        Self {
            start,
            settings,
            tier,
            feed,
            capacity,
            realtime_since: None,
            hls_since: None,
            live_since: None,
            reports: VecDeque::new(),
            ice: Vec::new(),
            last_ice: None,
            path: first.path,
            cap: first.layer_cap,
            reason: first.reason,
            stay: 0,
            again: 0,
            cap_changed: None,
            entered: None,
            left: None,
            for_the_line: false,
            failed: 0,
            switches: Vec::new(),
            returns: Vec::new(),
            bad: None,
            good: None,
            well_since: None,
            seen: Seen::default(),
            told: vec![(0, first.path, first.layer_cap, first.reason)],
        }
    }

    pub(super) const fn settings(&self) -> &PolicySettings {
        &self.settings
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    /// The last decisions and reports, for people.
    pub(super) fn history(&self) -> String {
        let told = self.told.iter().rev().take(12).rev().map(|told| format!("{told:?}\n"));
        let reports = self.reports.iter().rev().take(12).rev().map(|report| format!("{report:?}\n"));
        told.chain(reports).collect()
    }

    /// What the policy is told.
    pub(super) fn handle(&mut self, now: u64, event: &Event) {
        match event {
            Event::Capacity(capacity) => self.capacity = *capacity,
            Event::JoinAgain => {
                self.again = now;
                self.ice.clear();
            }
            Event::Feed(feed) => {
                let before = std::mem::replace(&mut self.feed, *feed);
                for (before, after, since) in [
                    (before.realtime, feed.realtime, &mut self.realtime_since),
                    (before.hls, feed.hls, &mut self.hls_since),
                    (before.live, feed.live, &mut self.live_since),
                ] {
                    if after && !before {
                        *since = Some(now);
                    }
                }
                if before.live != feed.live {
                    (self.bad, self.good) = (None, None);
                }
            }
            Event::Seen(seen) => {
                if let Some(view) = seen.server {
                    self.handle_view(now, &view);
                }
                for said in [seen.server.map(Said::Server), seen.player.map(Said::Player)] {
                    self.reports.extend(said.map(|said| (now, said)));
                }
                while self.reports.len() > KEPT {
                    self.reports.pop_front();
                }
            }
        }
    }

    fn handle_view(&mut self, now: u64, view: &ServerView) {
        if let Some(ice) = view.ice {
            self.last_ice = Some((now, ice));
            self.ice.push((now, ice));
        }
        if !self.feed.live {
            return;
        }
        let fresh = ms(self.settings.fresh_for);
        let (bad, all_good, _) = grade(&self.settings, view);
        self.bad = match self.bad {
            _ if bad.is_empty() => None,
            Some((first, last, count)) if now - last <= fresh => Some((first, now, count + 1)),
            _ => Some((now, now, 1)),
        };
        self.good = match self.good {
            _ if !all_good => None,
            Some((first, last)) if now - last <= fresh => Some((first, now)),
            _ => Some((now, now)),
        };
    }

    /// What it decides, after everything of this time has been told.
    pub(super) fn decide(
        &mut self,
        now: u64,
        told: Option<&Decision>,
        current: &Decision,
    ) -> Result<(), String> {
        let before = (self.path, self.cap, self.reason);
        let after = (current.path, current.layer_cap, current.reason);
        if told.is_some() != (before != after) {
            return object(format!("{before:?} became {after:?}, told {}", told.is_some()));
        }
        if let Some(decision) = told {
            self.seen.decisions += 1;
            self.told.push((now, decision.path, decision.layer_cap, decision.reason));
            self.check_values(now, decision)?;
            match (before.0, decision.path) {
                (Path::Realtime, Path::Hls) => self.leave(now, decision.reason)?,
                (Path::Hls, Path::Realtime) => self.enter(now, decision.reason)?,
                _ => {}
            }
            self.check_layers(now, decision)?;
        }
        (self.path, self.cap, self.reason) = after;
        self.check_reason()?;
        self.must(now)
    }

    fn check_values(&self, now: u64, decision: &Decision) -> Result<(), String> {
        if decision.since != self.start + Duration::from_millis(now) {
            return object("a decision holds from another time than it was made at");
        }
        let measured = &decision.evidence.measured;
        let ratios = [measured.loss_ratio, measured.nack_recovery, measured.frozen_ratio];
        let times = [measured.round_trip_ms, measured.jitter_ms];
        let rates = [measured.estimate_bps, measured.lowest_layer_bps];
        for (values, most) in [(&ratios[..], 1.0), (&times[..], 60_000.0), (&rates[..], 1e12)] {
            if values.iter().any(|value| value.is_some() && valid(*value, most).is_none()) {
                return object(format!("a decision rests on what cannot be: {measured:?}"));
            }
        }
        Ok(())
    }

    fn check_layers(&mut self, now: u64, decision: &Decision) -> Result<(), String> {
        let (before, after) = (self.cap, decision.layer_cap);
        if before == after {
            return Ok(());
        }
        self.seen.layer_changes += 1;
        if decision.path != Path::Realtime || before.abs_diff(after) != 1 {
            return object(format!("layers went from {before} to {after} on {:?}", decision.path));
        }
        if after > 3 {
            return object("lowered for ever");
        }
        if after > before {
            let fresh = ms(self.settings.fresh_for);
            let below = self.reports.iter().rev().take_while(|(at, _)| now - at <= fresh).any(
                |(_, said)| matches!(said, Said::Server(view) if view.lower_layers.is_some_and(|n| n > 0)),
            );
            if !below {
                return object("lowered where nothing is below");
            }
            self.leave_is_caused(now, decision.reason)?;
        } else {
            let wait = ms(self.settings.raise_after);
            if self.cap_changed.is_some_and(|at| now - at < wait) || !self.nothing_worse_for(now, wait) {
                return object("raised too early");
            }
        }
        self.cap_changed = Some(now);
        self.bad = None;
        Ok(())
    }

    fn hold(&self, base: Duration) -> u64 {
        let seconds = base.as_secs_f64() * self.settings.growth.powi(self.failed);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by a setting")]
        let grown = (seconds.min(self.settings.longest_hold.as_secs_f64()) * 1_000.0) as u64;
        grown.max(ms(base))
    }

    fn in_window(times: &[u64], now: u64, window: u64) -> usize {
        times.iter().rev().take_while(|at| now - **at < window).count()
    }

    fn switch(&mut self, now: u64, path: Path) -> Result<(), String> {
        self.switches.push(now);
        let minute = Self::in_window(&self.switches, now, 60_000);
        self.seen.switches += 1;
        self.seen.most_in_a_minute = self.seen.most_in_a_minute.max(minute as u64);
        if minute > self.settings.switches_a_minute as usize {
            return object(format!("{minute} switches within a minute"));
        }
        self.path = path;
        self.stay = now;
        (self.bad, self.good) = (None, None);
        let fresh = ms(self.settings.fresh_for);
        let ended = |ice| matches!(ice, IceState::Failed | IceState::Closed);
        let known = self.last_ice.filter(|(at, ice)| now - at <= fresh && !ended(*ice));
        self.ice = known.map(|(_, ice)| (now, ice)).into_iter().collect();
        Ok(())
    }

    fn leave(&mut self, now: u64, reason: ReasonCode) -> Result<(), String> {
        let for_the_line = self.feed.realtime;
        if for_the_line {
            self.leave_is_caused(now, reason)?;
            if !self.feed.hls {
                return object("left for a path that is not there");
            }
        }
        let lasted = self.entered.is_none_or(|at| now - at >= ms(self.settings.lasting));
        self.failed = match (lasted, for_the_line) {
            (true, _) => 0,
            (false, true) => self.failed + 1,
            (false, false) => self.failed,
        };
        self.left = Some(now);
        self.for_the_line = for_the_line;
        self.switch(now, Path::Hls)
    }

    /// Whether what was told in this stay is cause enough for this reason.
    fn leave_is_caused(&self, now: u64, reason: ReasonCode) -> Result<(), String> {
        let settings = &self.settings;
        let fresh = ms(settings.fresh_for);
        let caused = match reason {
            // While nobody publishes that is the reason shown; only a connection can be the cause.
            ReasonCode::PublisherAway => self.is_unconnected(now) || self.is_interrupted(now),
            ReasonCode::ConnectionLost => self.is_interrupted(now),
            ReasonCode::UdpBlocked => self.is_unconnected(now),
            ReasonCode::NeverConnected => {
                let since = self.stay.max(self.live_since.unwrap_or(0)).max(self.again);
                self.ice.iter().all(|(_, ice)| matches!(ice, IceState::Failed | IceState::Closed))
                    && now - since >= ms(settings.appear_within)
            }
            ReasonCode::Freezes => {
                let settled = self.stay.max(self.live_since.unwrap_or(0)) + ms(settings.settle);
                let frozen = self.reports.iter().filter_map(|(at, said)| match said {
                    Said::Player(report) if *at >= settled => Some((*at, valid(report.frozen_ratio, 1.0)?)),
                    _ => None,
                });
                let marks = frozen.filter_map(|(at, ratio)| {
                    let bad = ratio >= settings.frozen.bad;
                    (bad || ratio <= settings.frozen.good).then_some((at, bad))
                });
                self.feed.live && lasts(now, marks, ms(settings.frozen_for), fresh)
            }
            _ => {
                let begin = [Some(self.stay), self.live_since, self.cap_changed].into_iter().flatten().max();
                let begin = begin.unwrap_or(0);
                let told = self.reports.iter().filter(|(at, _)| *at >= begin);
                let mut named = false;
                let marks = told.filter_map(|(at, said)| {
                    let (bad, all_good) = match said {
                        Said::Server(view) => {
                            let (bad, all_good, _) = grade(settings, view);
                            (bad, all_good)
                        }
                        Said::Player(report) => (player_grade(settings, report), false),
                    };
                    named |= bad.contains(&reason);
                    (all_good || !bad.is_empty()).then_some((*at, !bad.is_empty()))
                });
                let marks: Vec<_> = marks.collect();
                let given_up =
                    self.is_closed() && marks.last().is_some_and(|(at, bad)| *bad && now - at <= fresh);
                let lasted = lasts(now, marks.into_iter(), ms(settings.bad_for), fresh);
                self.feed.live && named && (lasted || given_up)
            }
        };
        if caused { Ok(()) } else { object(format!("left or lowered for {reason} without a cause")) }
    }

    fn is_unconnected(&self, now: u64) -> bool {
        let settings = &self.settings;
        let never = self.ice.iter().all(|(_, ice)| *ice != IceState::Connected);
        let live = |ice: IceState| !matches!(ice, IceState::Failed | IceState::Closed);
        let first = self.ice.iter().find(|(_, ice)| live(*ice)).map(|(at, _)| *at);
        let waited = first.is_some_and(|at| now - at >= ms(settings.connect_within));
        let failed = first.is_some() && self.ice.last().is_some_and(|(_, ice)| *ice == IceState::Failed);
        let fresh = ms(settings.fresh_for);
        let blocked = self.reports.iter().rev().find_map(|(at, said)| match said {
            Said::Player(report) => Some((*at, report.udp_blocked?)),
            Said::Server(_) => None,
        });
        let said = blocked.is_some_and(|(at, blocked)| blocked && at > self.stay && now - at <= fresh);
        never && (waited || failed || said)
    }

    fn is_interrupted(&self, now: u64) -> bool {
        let Some(last) = self.ice.iter().rposition(|(_, ice)| *ice == IceState::Connected) else {
            return false;
        };
        let after = &self.ice[last + 1..];
        let failed = after.last().is_some_and(|(_, ice)| *ice == IceState::Failed);
        let live = |(_, ice): &&(u64, IceState)| !matches!(ice, IceState::Failed | IceState::Closed);
        let Some((closed, _)) = after.iter().find(|(_, ice)| *ice == IceState::Closed) else {
            let broken = after.iter().find(live);
            return failed || broken.is_some_and(|(at, _)| now - at >= ms(self.settings.interrupted_for));
        };
        let newest = after.iter().rposition(|(_, ice)| *ice == IceState::Closed).unwrap_or(0);
        let begun = after[newest..].iter().find(live).map(|(at, _)| at);
        begun.is_some() && failed || now - begun.unwrap_or(closed) >= ms(self.settings.connect_within)
    }

    /// Whether a session of this stay was closed and no other has come about.
    fn is_closed(&self) -> bool {
        let closed = self.ice.iter().rposition(|(_, ice)| *ice == IceState::Closed);
        let connected =
            |from: usize, to: usize| self.ice[from..to].iter().any(|(_, ice)| *ice == IceState::Connected);
        closed.is_some_and(|at| connected(0, at) && !connected(at, self.ice.len()))
    }

    /// Whether every view of the last while had only good values, and there was no silence.
    fn nothing_worse_for(&self, now: u64, while_ms: u64) -> bool {
        let fresh = ms(self.settings.fresh_for);
        let views = self.reports.iter().filter_map(|(at, said)| match said {
            Said::Server(view) => Some((*at, view)),
            Said::Player(_) => None,
        });
        let from = now.saturating_sub(while_ms);
        let views: Vec<_> = views.filter(|(at, _)| *at > from).collect();
        let times: Vec<u64> =
            std::iter::once(from).chain(views.iter().map(|(at, _)| *at)).chain([now]).collect();
        let silent = times.windows(2).any(|pair| pair[1] - pair[0] > fresh);
        !silent && views.iter().all(|(_, view)| grade(&self.settings, view).2)
    }

    fn enter(&mut self, now: u64, reason: ReasonCode) -> Result<(), String> {
        let settings = &self.settings;
        if self.tier == Tier::Free {
            return object("the free tier on the realtime path");
        }
        if !self.feed.realtime || !self.feed.live || self.capacity != Capacity::Granted {
            return object("entered where there is no path, no publisher or no slot");
        }
        let since_left = self.left.map_or(u64::MAX, |left| now - left);
        let hold = |base| self.left.is_some() && since_left + 1 < self.hold(base);
        let good_for = ms(settings.good_for);
        match reason {
            ReasonCode::FeedWithoutHls if self.feed.hls => return object("there is HLS"),
            ReasonCode::FeedWithoutHls => {}
            ReasonCode::Available => {
                if self.for_the_line || hold(settings.hold) {
                    return object("there was more to wait for than the path");
                }
            }
            ReasonCode::Returned | ReasonCode::Trial => {
                let trial = reason == ReasonCode::Trial;
                if !self.for_the_line {
                    return object("returned from where its line had not driven it");
                }
                if hold(if trial { settings.trial_hold } else { settings.hold }) {
                    return object(format!("returned {since_left} ms after leaving, {} failed", self.failed));
                }
                if Self::in_window(&self.returns, now, ms(settings.returns_window))
                    >= settings.returns as usize
                {
                    return object("returned without budget");
                }
                if self.live_since.is_some_and(|at| now - at < good_for) {
                    return object("returned before the publisher had been there for long enough");
                }
                let connected = matches!(self.last_ice, Some((_, IceState::Connected)));
                if !trial && (!connected || !self.nothing_worse_for(now, good_for)) {
                    return object("returned to a line that had not been good for long enough");
                }
                let bad = self.reports.iter().any(|(at, said)| {
                    let bad = matches!(said, Said::Server(view) if !grade(settings, view).0.is_empty());
                    bad && now - at < good_for
                });
                if trial && bad {
                    return object("tried a line that is bad");
                }
                let blocked = self.reports.iter().rev().find_map(|(at, said)| match said {
                    Said::Player(report) => Some((*at, report.udp_blocked?)),
                    Said::Server(_) => None,
                });
                let fresh = |at| at > self.stay && now - at <= ms(settings.fresh_for);
                if trial && blocked.is_some_and(|(at, blocked)| blocked && fresh(at)) {
                    return object("tried a line of which the player says that it is blocked");
                }
                self.returns.push(now);
                self.seen.returns += u64::from(!trial);
                self.seen.trials += u64::from(trial);
            }
            other => return object(format!("entered for {other}")),
        }
        self.entered = Some(now);
        self.for_the_line = false;
        self.switch(now, Path::Realtime)
    }

    fn check_reason(&self) -> Result<(), String> {
        let reason = self.reason;
        let none = !self.feed.realtime && !self.feed.hls;
        let over = match self.capacity {
            Capacity::Refused(Shortage::Bitrate) => Some(ReasonCode::OverBitrate),
            Capacity::Refused(Shortage::PacketRate) => Some(ReasonCode::OverPacketRate),
            Capacity::Refused(Shortage::Cpu) => Some(ReasonCode::OverCpu),
            Capacity::Refused(Shortage::Count) => Some(ReasonCode::OverCount),
            Capacity::Granted => None,
        };
        let fits = match reason {
            ReasonCode::FeedWithoutPaths => none,
            _ if none => false,
            ReasonCode::PublisherAway => !self.feed.live,
            _ if !self.feed.live => false,
            ReasonCode::TierFree => self.tier == Tier::Free && self.feed.hls,
            ReasonCode::FeedWithoutHls => !self.feed.hls,
            _ if self.tier == Tier::Free => false,
            ReasonCode::OverBitrate
            | ReasonCode::OverPacketRate
            | ReasonCode::OverCpu
            | ReasonCode::OverCount => {
                // One who joined without a slot is shown why until it is on the realtime path.
                self.path == Path::Hls && (over == Some(reason) || self.left.is_none())
            }
            ReasonCode::Entitled | ReasonCode::Returned | ReasonCode::Trial | ReasonCode::Available => {
                self.path == Path::Realtime
            }
            ReasonCode::FeedWithoutRealtime => self.path == Path::Hls,
            _ => true,
        };
        if fits { Ok(()) } else { object(format!("{reason} is not so")) }
    }

    /// What has to be so now.
    fn must(&mut self, now: u64) -> Result<(), String> {
        let settings = &self.settings;
        let FeedState { realtime, hls, live } = self.feed;
        let fresh = ms(settings.fresh_for);
        let for_long = |since: Option<u64>, time: Duration| since.is_none_or(|at| now - at >= ms(time));
        if self.tier == Tier::Free {
            return if self.path == Path::Hls {
                Ok(())
            } else {
                object("the free tier on the realtime path")
            };
        }
        if self.path == Path::Realtime && !realtime && hls {
            return object("on a path that the feed does not have");
        }
        let room = Self::in_window(&self.switches, now, 60_000) + 2 <= settings.switches_a_minute as usize;
        let may_enter = realtime && live && room && self.capacity == Capacity::Granted;
        let spent =
            Self::in_window(&self.returns, now, ms(settings.returns_window)) >= settings.returns as usize;
        if self.path == Path::Hls && may_enter {
            if !hls {
                return object("on a path that the feed does not have");
            }
            let held = self.left.is_some_and(|left| now < left + self.hold(settings.hold) + 1);
            let settled = for_long(self.realtime_since, settings.settle);
            let good = self
                .good
                .is_some_and(|(first, last)| now - last <= fresh && last - first >= ms(settings.good_for));
            let due = settled && !held && if self.for_the_line { good && !spent } else { true };
            if due {
                return object("should be back on the realtime path");
            }
        }
        if self.path == Path::Realtime && realtime && hls {
            let settled = for_long(self.hls_since, settings.settle);
            let bad = self.bad.is_some_and(|(first, last, count)| {
                settled && live && count >= 2 && now - last <= fresh && now - first >= ms(settings.bad_for)
            });
            if bad {
                return object("should have left for its line");
            }
            if self.is_unconnected(now) || self.is_interrupted(now) {
                return object("should have left for its connection");
            }
        }
        let limit = ms(settings.returns_within());
        self.count(now);
        // The flat promise, whatever came before.
        let well = realtime && hls && live && self.capacity == Capacity::Granted;
        let well =
            well && (self.path == Path::Realtime || self.good.is_some_and(|(_, last)| now - last <= fresh));
        self.well_since = if well { self.well_since.or(Some(now)) } else { None };
        if self.path == Path::Hls && self.well_since.is_some_and(|at| now - at > limit) {
            return object("everything has been good for too long without a return");
        }
        Ok(())
    }

    /// How often the model was sure.
    fn count(&mut self, now: u64) {
        let just = self.told.last().is_some_and(|(at, ..)| *at == now) && self.stay == now && now > 0;
        match self.path {
            Path::Hls if just && self.for_the_line => self.seen.had_to_leave += 1,
            Path::Realtime if just && self.reason == ReasonCode::Returned => self.seen.had_to_return += 1,
            _ => {}
        }
    }
}
