//! How many a viewer is at the same time over HLS, where nobody says goodbye.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The players of viewers whose tokens limit them. A player is here for [`Presence::LASTS`] after its last request.
#[derive(Debug, Default)]
pub struct Presence {
    viewers: HashMap<Arc<str>, Vec<(u64, Instant)>>,
    swept: Option<Instant>,
}

impl Presence {
    /// A player asks for its playlist once in a target duration, which is 10 s at most.
    pub const LASTS: Duration = Duration::from_secs(30);
    /// The most players that are kept for a viewer, whatever its token says.
    pub const MOST: usize = 1_000;

    /// Notes a request of a player (any number that stands for it), and says whether it may be here: `most` may.
    pub fn saw(&mut self, now: Instant, viewer: &Arc<str>, player: u64, most: u32) -> bool {
        self.sweep(now);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Self::MOST);
        let players = self.viewers.entry(viewer.clone()).or_default();
        players.retain(|(_, seen)| now.saturating_duration_since(*seen) < Self::LASTS);
        if let Some(known) = players.iter_mut().find(|(known, _)| *known == player) {
            known.1 = now;
            return true;
        }
        let may = players.len() < most;
        if may {
            players.push((player, now));
        }
        may
    }

    /// Forgets viewers that have gone. They are as many as there are valid tokens.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < Self::LASTS) {
            return;
        }
        self.swept = Some(now);
        self.viewers.retain(|_, players| {
            players.iter().any(|(_, seen)| now.saturating_duration_since(*seen) < Self::LASTS)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_is_as_many_as_its_token_says_until_one_has_gone() {
        let mut presence = Presence::default();
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (anna, bea): (Arc<str>, Arc<str>) = ("anna".into(), "bea".into());
        assert!(presence.saw(at(0), &anna, 1, 2));
        assert!(presence.saw(at(1), &anna, 2, 2));
        assert!(!presence.saw(at(2), &anna, 3, 2));
        assert!(presence.saw(at(2), &bea, 3, 1), "another viewer");
        assert!(presence.saw(at(20), &anna, 2, 2), "who is here goes on");
        assert!(!presence.saw(at(29), &anna, 3, 2));
        assert!(presence.saw(at(31), &anna, 3, 2), "the first has gone");
        assert!(!presence.saw(at(32), &anna, 1, 2));
        presence.saw(at(200), &bea, 1, 1);
        assert_eq!(presence.viewers.len(), 1, "nobody is kept for ever");
    }
}
