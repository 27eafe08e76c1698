//! Whether a run counts. A generator that was too busy to see straight measures itself, and packets that are not
//! authentic are no service; such a run is void, whatever else came out.

/// The most of its core that the generator may use in any second: beyond it, receive buffers fill while it computes.
pub const MAX_BUSY: f64 = 0.85;

/// What a verdict looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// The share of its core in the busiest second, where that could be measured.
    pub busiest: Option<f64>,
    /// Packets found authentic.
    pub authenticated: u64,
    /// Packets found forged or damaged.
    pub forged: u64,
    /// The share of packets that was to be opened.
    pub share: f64,
    /// Viewers that connected.
    pub connected: u64,
}

/// Whether the generator was too busy to see straight, with what to do about it.
#[must_use]
pub fn too_busy(busiest: Option<f64>, advice: &str) -> Option<String> {
    busiest.filter(|busiest| *busiest > MAX_BUSY).map(|busiest| {
        format!(
            "the generator used {:.0} % of its core in its busiest second ({:.0} % is the limit): {advice}",
            busiest * 100.0,
            MAX_BUSY * 100.0
        )
    })
}

/// Why the run is void; empty for one that counts.
#[must_use]
pub fn void(facts: &Facts) -> Vec<String> {
    let advice = "fewer viewers, a slower ramp, a smaller --authenticate, or more --threads";
    let mut reasons: Vec<String> = too_busy(facts.busiest, advice).into_iter().collect();
    if facts.forged > 0 {
        reasons.push(format!(
            "{} of {} packets that were opened are not authentic",
            facts.forged,
            facts.forged + facts.authenticated
        ));
    }
    if facts.connected > 0 && facts.share > 0.0 && facts.authenticated == 0 {
        reasons
            .push("no packet was authenticated: nothing came, or --authenticate is too small for it".into());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Facts =
        Facts { busiest: Some(0.84), authenticated: 1_000, forged: 0, share: 0.02, connected: 10 };

    #[test]
    fn a_good_run_counts() {
        assert!(void(&GOOD).is_empty());
        assert!(void(&Facts { busiest: None, ..GOOD }).is_empty());
        assert!(void(&Facts { share: 0.0, authenticated: 0, ..GOOD }).is_empty());
    }

    #[test]
    fn a_busy_generator_voids_the_run() {
        let reasons = void(&Facts { busiest: Some(0.851), ..GOOD });
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].contains("85 %"), "{reasons:?}");
    }

    #[test]
    fn one_forged_packet_voids_the_run() {
        let reasons = void(&Facts { forged: 1, ..GOOD });
        assert_eq!(reasons, ["1 of 1001 packets that were opened are not authentic"]);
    }

    #[test]
    fn nothing_authenticated_voids_the_run() {
        assert_eq!(void(&Facts { authenticated: 0, ..GOOD }).len(), 1);
        assert!(
            void(&Facts { authenticated: 0, connected: 0, ..GOOD }).is_empty(),
            "that is a failure instead"
        );
    }
}
