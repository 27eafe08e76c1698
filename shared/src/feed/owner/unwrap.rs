//! RTP's wrapping counters as 64-bit numbers.

/// Unwraps a counter of 16 or 32 bits: each value is taken as the one nearest to the newest seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unwrapper {
    modulus: i64,
    newest: Option<i64>,
}

impl Unwrapper {
    /// For RTP sequence numbers.
    pub(super) const fn sequence() -> Self {
        Self { modulus: 1 << 16, newest: None }
    }

    /// For RTP timestamps.
    pub(super) const fn timestamp() -> Self {
        Self { modulus: 1 << 32, newest: None }
    }

    /// The unwrapped value; remembers it when it is the newest.
    pub(super) fn unwrap(&mut self, value: u32) -> i64 {
        let unwrapped = self.peek(value);
        if self.newest.is_none_or(|newest| unwrapped > newest) {
            self.newest = Some(unwrapped);
        }
        unwrapped
    }

    /// The unwrapped value without remembering it.
    pub(super) fn peek(&self, value: u32) -> i64 {
        let value = i64::from(value);
        let Some(newest) = self.newest else { return value };
        let half = self.modulus / 2;
        let ahead = (value - newest).rem_euclid(self.modulus);
        newest + if ahead < half { ahead } else { ahead - self.modulus }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_wrap_is_crossed_in_both_directions() {
        let mut sequence = Unwrapper::sequence();
        assert_eq!(sequence.unwrap(65_534), 65_534);
        assert_eq!(sequence.unwrap(1), 65_537);
        assert_eq!(sequence.unwrap(65_535), 65_535, "a late packet from before the wrap");
        assert_eq!(sequence.unwrap(2), 65_538);
    }

    proptest! {
        #[test]
        fn any_walk_of_less_than_half_the_range_is_followed(
            start in 0..u32::MAX,
            steps in prop::collection::vec(-30_000_i64..2_000_000_000, 1..50),
        ) {
            let mut clock = Unwrapper::timestamp();
            let mut truth = i64::from(start);
            let mut newest = truth;
            prop_assert_eq!(clock.unwrap(start), truth);
            for step in steps {
                truth = newest + step;
                let wire = u32::try_from(truth.rem_euclid(1 << 32)).unwrap();
                prop_assert_eq!(clock.unwrap(wire), truth);
                newest = newest.max(truth);
            }
        }
    }
}
