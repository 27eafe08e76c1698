//! Which sequence numbers a stream has used: none may be used twice.
//!
//! A retransmission may arrive beside its original. A second packet under a used number would have every viewer's SRTP
//! encrypt two texts under one nonce, which AES-GCM does not forgive.

/// Remembers the last [`WINDOW`] sequence numbers.
#[derive(Debug)]
pub(super) struct Seen {
    bits: [u64; WORDS],
    newest: Option<i64>,
}

const WORDS: usize = 32;
/// A packet this far behind the newest (some 7 s of a 2.5 Mbit/s video) is of no use to anybody.
const WINDOW: i64 = 64 * WORDS as i64;

impl Seen {
    pub(super) const fn new() -> Self {
        Self { bits: [0; WORDS], newest: None }
    }

    /// Marks a number as used. False when it was used before or is too old to tell.
    pub(super) fn insert(&mut self, sequence: i64) -> bool {
        let newest = *self.newest.get_or_insert(sequence);
        if sequence <= newest - WINDOW {
            return false;
        }
        if sequence - newest >= WINDOW {
            self.bits = [0; WORDS];
        } else {
            for skipped in newest + 1..=sequence {
                let (word, bit) = place(skipped);
                self.bits[word] &= !bit;
            }
        }
        self.newest = Some(newest.max(sequence));
        let (word, bit) = place(sequence);
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        fresh
    }
}

fn place(sequence: i64) -> (usize, u64) {
    let at = usize::try_from(sequence.rem_euclid(WINDOW)).unwrap_or(0);
    (at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_used_once() {
        let mut seen = Seen::new();
        assert!(seen.insert(5) && seen.insert(7) && seen.insert(6) && seen.insert(-3));
        assert!(!seen.insert(6) && !seen.insert(-3));
        assert!(seen.insert(100_000));
        assert!(!seen.insert(100_000) && !seen.insert(8), "too old to tell");
        assert!(seen.insert(100_000 - WINDOW + 1));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(steps in prop::collection::vec(-3_000_i64..3_000, 1..300)) {
            let mut seen = Seen::new();
            let mut set = BTreeSet::new();
            let mut at = 0;
            for step in steps {
                at += step;
                let newest = set.last().copied().unwrap_or(at);
                let expected = at > newest - WINDOW && set.insert(at);
                prop_assert_eq!(seen.insert(at), expected);
            }
        }
    }
}
