//! RTP sequence numbers over their wrap (RFC 3550, 5.1): which came, and which are missing.

use std::collections::BTreeSet;

/// Makes sequence numbers longer than 16 bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extender {
    newest: Option<i64>,
}

impl Extender {
    /// The number that a sequence number stands for: the one nearest to the newest so far.
    pub fn extend(&mut self, sequence: u16) -> i64 {
        let newest = self.newest.unwrap_or(i64::from(sequence));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^16 is meant")]
        let ahead = sequence.wrapping_sub(newest as u16).cast_signed();
        let number = newest + i64::from(ahead);
        self.newest = Some(newest.max(number));
        number
    }
}

/// The numbers of one stream that came, in any order and any number of times.
#[derive(Debug, Default)]
pub struct Numbers {
    extender: Extender,
    seen: BTreeSet<i64>,
}

impl Numbers {
    /// Notes one.
    pub fn take(&mut self, sequence: u16) {
        self.seen.insert(self.extender.extend(sequence));
    }

    /// How many different ones came.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// The highest.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.seen.last().copied()
    }

    /// How many are missing between the first and the last.
    #[must_use]
    pub fn missing(&self) -> usize {
        let span = self.seen.last().zip(self.seen.first()).map_or(0, |(last, first)| last - first + 1);
        usize::try_from(span).unwrap_or(0) - self.seen.len()
    }
}

impl FromIterator<u16> for Numbers {
    fn from_iter<T: IntoIterator<Item = u16>>(sequences: T) -> Self {
        let mut numbers = Self::default();
        sequences.into_iter().for_each(|sequence| numbers.take(sequence));
        numbers
    }
}
