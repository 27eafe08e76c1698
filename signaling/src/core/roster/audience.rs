//! Viewers counted together.

use std::collections::BTreeMap;
use std::time::Instant;

use super::entry::Entry;
use crate::api::audience::{Audience, Group, Latency};
use crate::core::policy::Path;

/// The viewers together.
pub(super) fn audience<'a>(
    now: Instant,
    viewers: impl Iterator<Item = &'a Entry>,
    decisions: Option<&BTreeMap<&'static str, u64>>,
    waiting: usize,
) -> Audience {
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    let mut late: BTreeMap<_, (Latency, Vec<f64>)> = BTreeMap::new();
    let mut count = 0;
    for viewer in viewers {
        count += 1;
        let (tier, path, reason) = (viewer.tier.into(), viewer.path(), viewer.reason());
        let group = Group { tier, path, reason, viewers: 0 };
        groups.entry((tier, is_hls(path), reason.name())).or_insert(group).viewers += 1;
        if let Some((path, latency)) = viewer.latency_ms(now) {
            let empty = Latency { path, tier, reports: 0, p50_ms: 0.0, p95_ms: 0.0, p99_ms: 0.0 };
            late.entry((tier, is_hls(path))).or_insert_with(|| (empty, Vec::new())).1.push(latency);
        }
    }
    let latency = late.into_values().map(|(latency, mut of)| {
        of.sort_unstable_by(f64::total_cmp);
        Latency {
            reports: of.len(),
            p50_ms: percentile(&of, 50),
            p95_ms: percentile(&of, 95),
            p99_ms: percentile(&of, 99),
            ..latency
        }
    });
    let decisions = decisions.into_iter().flatten();
    Audience {
        viewers: count,
        groups: groups.into_values().collect(),
        latency: latency.collect(),
        decisions: decisions.map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        waiting,
    }
}

const fn is_hls(path: Path) -> bool {
    matches!(path, Path::Hls)
}

/// The nearest rank: the smallest value that so many of a hundred are not above.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_reported() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([50, 95, 99].map(|percent| percentile(&values, percent)), [100.0, 190.0, 198.0]);
        assert_eq!(percentile(&[7.0], 99), 7.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
