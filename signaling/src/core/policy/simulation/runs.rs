//! The runs themselves, and that they find faults.

use super::super::Bug;
use super::{STEPS, Seen, run};

/// The seeds of the usual run: two million steps.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn two_million_random_steps_break_no_rule() {
    if let Some(seed) = number("BICAST_POLICY_SEED") {
        let seen = run(seed, STEPS, None).unwrap_or_else(|broken| panic!("{broken}"));
        println!("seed {seed}: {seen:?}");
        return;
    }
    let seeds = number("BICAST_POLICY_STEPS").map_or(SEEDS, |steps| steps.div_ceil(STEPS));
    let mut all = Seen::default();
    for seed in 0..seeds {
        all.add(&run(seed, STEPS, None).unwrap_or_else(|broken| panic!("{broken}")));
    }
    println!("seeds 0 to {}: {all:?}", seeds - 1);
    // A simulation in which nothing happens proves nothing.
    assert!(all.steps >= 1_000_000);
    assert!(
        all.switches > 1_000 && all.returns > 200 && all.trials > 50 && all.layer_changes > 100,
        "{all:?}"
    );
}

/// In how many of twenty seeds the simulation finds this fault, and what it says first.
fn found(bug: Bug) -> (usize, Vec<String>) {
    let broken: Vec<String> = (0..20).filter_map(|seed| run(seed, STEPS, Some(bug)).err()).collect();
    let rules = broken.iter().map(|text| text.lines().next().unwrap_or_default().to_owned()).collect();
    (broken.len(), rules)
}

fn assert_found(bug: Bug, rule: &str) {
    let (count, rules) = found(bug);
    println!("{bug:?}: found in {count} of 20 seeds, {rules:?}");
    assert!(count > 0, "{bug:?} is not found");
    assert!(rules.iter().any(|text| text.contains(rule)), "{rules:?}");
}

#[test]
fn a_policy_without_holds_is_found() {
    assert_found(Bug::NoDwell, "ms after leaving");
}

#[test]
fn a_policy_whose_holds_do_not_grow_is_found() {
    assert_found(Bug::NoBackOff, "ms after leaving");
}

#[test]
fn a_policy_that_forgets_to_return_is_found() {
    assert_found(Bug::ForgetsToReturn, "should be back");
}

#[test]
fn a_policy_that_drops_the_connected_for_lack_of_room_is_found() {
    assert_found(Bug::DropsTheConnected, "without a cause");
}

#[test]
fn a_policy_that_believes_a_single_report_is_found() {
    assert_found(Bug::BelievesOneReport, "without a cause");
}

#[test]
fn a_policy_without_a_limit_for_the_minute_is_found() {
    assert_found(Bug::NoLimit, "within a minute");
}
