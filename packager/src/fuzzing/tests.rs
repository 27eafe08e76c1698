//! The seeds of every target, as they are and changed a little: what holds while fuzzing has to hold in every run.

use std::path::Path;

use super::*;

/// How often each seed is changed.
const CHANGES: u32 = 40;

fn replay(folder: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no seeds", folder.display());
    let mut random = 1_u32;
    let mut next = |below: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(random >> 8).unwrap() % below.max(1)
    };
    for file in files {
        let seed = std::fs::read(&file).unwrap();
        target(&seed);
        for _ in 0..CHANGES {
            let mut changed = seed.clone();
            for _ in 0..=next(3) {
                if let Some(length) = changed.len().checked_sub(1) {
                    let at = next(length + 1);
                    changed[at] = next(256).to_le_bytes()[0];
                }
            }
            changed.truncate(seed.len() - next(seed.len() / 8 + 1));
            target(&changed);
        }
    }
}

#[test]
fn the_seeds_of_depacketize_hold() {
    replay("../fuzz/seeds/depacketize", depacketize);
}

#[test]
fn the_seeds_of_parameters_hold() {
    replay("../fuzz/seeds/parameters", parameters);
}

#[test]
fn the_seeds_of_query_hold() {
    replay("../fuzz/seeds/query", query);
}

#[test]
fn the_seeds_of_boxes_hold() {
    replay("../fuzz/seeds/boxes", boxes);
}
