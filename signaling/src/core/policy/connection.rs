//! Whether a viewer on the realtime path has a connection.

use std::time::{Duration, Instant};

use super::decision::Signal;
use super::observation::IceState;
use super::settings::PolicySettings;

/// One stay's connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    began: Instant,
    /// When its first state was told.
    seen: Option<Instant>,
    connected: bool,
    /// Since when it is interrupted.
    broken: Option<Instant>,
    failed: bool,
}

impl Connection {
    /// A stay begins, with the state that a session from before has, if there is one.
    pub(super) fn new(now: Instant, ice: Option<IceState>) -> Self {
        let mut connection = Self { began: now, seen: None, connected: false, broken: None, failed: false };
        if let Some(ice) = ice {
            connection.handle(now, ice);
        }
        connection
    }

    pub(super) fn handle(&mut self, now: Instant, ice: IceState) {
        match ice {
            IceState::Connected => {
                self.seen.get_or_insert(now);
                self.connected = true;
                self.broken = None;
                self.failed = false;
            }
            IceState::New | IceState::Checking | IceState::Disconnected => {
                self.seen.get_or_insert(now);
                if self.connected {
                    self.broken.get_or_insert(now);
                }
            }
            // The end of a session from before this stay says nothing about the one to come.
            IceState::Failed | IceState::Closed => self.failed = self.seen.is_some(),
        }
    }

    /// A publisher came or went: who has not begun to connect has the whole time again.
    pub(super) const fn wait_from(&mut self, now: Instant) {
        self.began = now;
    }

    /// What speaks against it. Nobody has to begin to connect to a feed that nobody publishes.
    pub(super) fn against(
        &self,
        now: Instant,
        says_blocked: bool,
        live: bool,
        settings: &PolicySettings,
    ) -> Option<Signal> {
        let since = |at: Instant| now.saturating_duration_since(at);
        let past = |at: Option<Instant>, limit: Duration| at.is_some_and(|at| since(at) >= limit);
        if self.connected {
            let lost = self.failed || past(self.broken, settings.interrupted_for);
            return lost.then_some(Signal::Lost);
        }
        if self.failed || says_blocked || past(self.seen, settings.connect_within) {
            return Some(Signal::Blocked);
        }
        let never = live && self.seen.is_none() && since(self.began) >= settings.appear_within;
        never.then_some(Signal::NoSession)
    }
}
