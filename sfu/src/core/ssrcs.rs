//! Who may be decrypted: `rtc-srtp` keeps state for an SSRC before it knows whether the packet is authentic, so that
//! forged ones must not come in any number.

/// The SSRCs of one session.
#[derive(Debug)]
pub(crate) struct Ssrcs {
    /// Those whose packets were authentic.
    known: Vec<u32>,
    /// Packets of others that were tried.
    tried: u32,
    limits: Limits,
}

/// Bounds of one session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// SSRCs whose packets were authentic.
    pub(crate) known: usize,
    /// Packets of other SSRCs that are tried in the session's life.
    pub(crate) tries: u32,
}

impl Ssrcs {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { known: Vec::new(), tried: 0, limits }
    }

    /// Whether a packet of this SSRC may be decrypted.
    pub(crate) fn may_try(&mut self, ssrc: u32) -> bool {
        if self.known.contains(&ssrc) {
            return true;
        }
        let may = self.known.len() < self.limits.known && self.tried < self.limits.tries;
        self.tried += u32::from(may);
        may
    }

    /// Notes that a packet of this SSRC was authentic.
    pub(crate) fn was_authentic(&mut self, ssrc: u32) {
        if !self.known.contains(&ssrc) {
            self.known.push(ssrc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_bounded_and_do_not_shut_out_who_is_known() {
        let mut ssrcs = Ssrcs::new(Limits { known: 2, tries: 10 });
        assert!(ssrcs.may_try(1));
        ssrcs.was_authentic(1);
        assert_eq!((100..200).filter(|ssrc| ssrcs.may_try(*ssrc)).count(), 9);
        assert!(ssrcs.may_try(1) && !ssrcs.may_try(2));
        let mut full = Ssrcs::new(Limits { known: 1, tries: 10 });
        full.was_authentic(1);
        full.was_authentic(1);
        assert!(full.may_try(1) && !full.may_try(2));
    }
}
