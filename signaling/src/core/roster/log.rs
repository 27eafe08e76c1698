//! What one viewer was told, so that one that comes back can be told what it has missed.

use std::collections::VecDeque;

use crate::api::channel::{EndReason, ServerMessage};
use crate::api::viewers::Decision;

/// Messages that are kept. Decisions come some times a minute at most: that is a quarter of an hour of the worst line.
const KEPT: usize = 64;

/// The newest messages of one viewer.
#[derive(Debug, Default)]
pub(super) struct Log {
    newest: u64,
    kept: VecDeque<ServerMessage>,
}

impl Log {
    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn decision(&mut self, decision: Decision) {
        self.push(|sequence| ServerMessage::Decision { sequence, decision });
    }

    pub(super) fn join_again(&mut self, why: &str) {
        self.push(|sequence| ServerMessage::JoinAgain { sequence, why: why.to_owned() });
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        self.push(|sequence| ServerMessage::End { sequence, reason });
    }

    fn push(&mut self, message: impl FnOnce(u64) -> ServerMessage) {
        self.newest += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(message(self.newest));
    }

    /// The messages behind `after`, and how many behind it are not kept any more. A number that was never given counts as the newest.
    pub(super) fn after(&self, after: u64) -> (Vec<ServerMessage>, u64) {
        let wanted = self.newest.saturating_sub(after);
        let kept = self.kept.len() as u64;
        let told = usize::try_from(wanted.min(kept)).unwrap_or(KEPT);
        (self.kept.iter().skip(self.kept.len() - told).cloned().collect(), wanted - wanted.min(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_is_told_what_it_missed_and_how_much_is_lost() {
        let mut log = Log::default();
        assert_eq!(log.after(0), (vec![], 0));
        for number in 1..=100 {
            log.join_again(&number.to_string());
        }
        let sequences = |after| {
            let (messages, missed) = log.after(after);
            let numbers = messages.iter().map(|message| match message {
                ServerMessage::JoinAgain { sequence, why } if *why == sequence.to_string() => *sequence,
                other => panic!("{other:?}"),
            });
            (numbers.collect::<Vec<_>>(), missed)
        };
        assert_eq!(sequences(98), (vec![99, 100], 0));
        assert_eq!(sequences(100), (vec![], 0));
        assert_eq!(sequences(u64::MAX), (vec![], 0), "a number that was never given");
        assert_eq!(sequences(36), ((37..=100).collect(), 0));
        assert_eq!(sequences(10), ((37..=100).collect(), 26));
    }
}
