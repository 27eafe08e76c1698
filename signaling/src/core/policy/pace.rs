//! How often a viewer may be moved: holds that grow, a retry budget, and a limit for every minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::settings::PolicySettings;

const MINUTE: Duration = Duration::from_secs(60);

/// One viewer's moves.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    /// The last changes of path, at most as many as a minute may have.
    switches: VecDeque<Instant>,
    /// The last returns because of the line, at most as many as the budget has.
    returns: VecDeque<Instant>,
    /// When it entered the realtime path; none for the stay that it began with.
    entered: Option<Instant>,
    left: Option<Instant>,
    /// Returns in a row that did not last.
    failed: u32,
    #[cfg(test)]
    pub(super) bug: Option<super::Bug>,
}

fn remember(times: &mut VecDeque<Instant>, now: Instant, most: u32) {
    times.push_back(now);
    while times.len() > most as usize {
        times.pop_front();
    }
}

fn within(times: &VecDeque<Instant>, now: Instant, window: Duration) -> u32 {
    let count = times.iter().filter(|at| now.saturating_duration_since(**at) < window).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Pace {
    /// The viewer leaves the realtime path, because of its line or for something that is not its fault.
    pub(super) fn leave(&mut self, now: Instant, for_the_line: bool, settings: &PolicySettings) {
        remember(&mut self.switches, now, settings.switches_a_minute);
        let lasted = self.entered.is_none_or(|at| now.saturating_duration_since(at) >= settings.lasting);
        if lasted {
            self.failed = 0;
        } else if for_the_line {
            self.failed = self.failed.saturating_add(1);
        }
        self.left = Some(now);
    }

    /// The viewer enters it, because its line seems to allow it or for something else.
    pub(super) fn enter(&mut self, now: Instant, for_the_line: bool, settings: &PolicySettings) {
        remember(&mut self.switches, now, settings.switches_a_minute);
        if for_the_line {
            remember(&mut self.returns, now, settings.returns);
        }
        self.entered = Some(now);
    }

    /// Whether this minute has room for entering and, should that be wrong, for leaving again at once.
    pub(super) fn may_enter(&self, now: Instant, settings: &PolicySettings) -> bool {
        #[cfg(test)]
        if self.bug == Some(super::Bug::NoLimit) {
            return true;
        }
        within(&self.switches, now, MINUTE) + 2 <= settings.switches_a_minute
    }

    /// Returns that the budget still has.
    pub(super) fn returns_left(&self, now: Instant, settings: &PolicySettings) -> u32 {
        settings.returns.saturating_sub(within(&self.returns, now, settings.returns_window))
    }

    /// How long the viewer still stays on HLS at least. A hold of `base` grows with each return that did not last.
    pub(super) fn held_for(&self, now: Instant, base: Duration, settings: &PolicySettings) -> Duration {
        let Some(left) = self.left else { return Duration::ZERO };
        grown(base, self.failed_returns(), settings).saturating_sub(now.saturating_duration_since(left))
    }

    /// Returns in a row that did not last.
    pub(super) fn failed_returns(&self) -> u32 {
        #[cfg(test)]
        if self.bug == Some(super::Bug::NoBackOff) {
            return 0;
        }
        self.failed
    }
}

/// A time that has grown so many times, up to the longest hold.
pub(super) fn grown(base: Duration, times: u32, settings: &PolicySettings) -> Duration {
    let longest = settings.longest_hold.as_secs_f64();
    // After a hundred times any growth has long reached the longest.
    let factor = settings.growth.powi(i32::try_from(times.min(100)).unwrap_or(100));
    let seconds = (base.as_secs_f64() * factor).min(longest.max(base.as_secs_f64()));
    Duration::try_from_secs_f64(seconds).unwrap_or(settings.longest_hold)
}
