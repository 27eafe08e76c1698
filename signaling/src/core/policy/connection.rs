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
    /// When the session that was connected was closed, until another one is.
    closed: Option<Instant>,
}

impl Connection {
    /// A stay begins, with the state that a session from before has, if there is one.
    pub(super) fn new(now: Instant, ice: Option<IceState>) -> Self {
        let mut connection =
            Self { began: now, seen: None, connected: false, broken: None, failed: false, closed: None };
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
                self.closed = None;
            }
            IceState::New | IceState::Checking | IceState::Disconnected => {
                self.seen.get_or_insert(now);
                if self.connected {
                    self.broken.get_or_insert(now);
                }
            }
            // The end of a session from before this stay says nothing about the one to come.
            IceState::Failed => self.failed = self.seen.is_some(),
            // Players close a session to begin another: with another codec, or when it does not do well. One that has been connected
            // has the time of a beginning for that, once; one that has not goes on with its own.
            IceState::Closed => {
                if self.connected {
                    self.closed = Some(now);
                }
                if self.closed.is_some() {
                    self.seen = None;
                }
                self.connected = false;
                self.broken = None;
                self.failed = false;
            }
        }
    }

    /// A session that was connected was closed, and no other is connected.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed.is_some()
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
        // What the player said of the session before says nothing about the next one.
        if let Some(closed) = self.closed {
            let late = past(self.seen.or(Some(closed)), settings.connect_within);
            return (self.failed || late).then_some(Signal::Lost);
        }
        if self.failed || says_blocked || past(self.seen, settings.connect_within) {
            return Some(Signal::Blocked);
        }
        let never = live && self.seen.is_none() && since(self.began) >= settings.appear_within;
        never.then_some(Signal::NoSession)
    }
}
