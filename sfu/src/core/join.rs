//! What a viewer who joins (or has lost its place) is given first.

use std::time::Duration;

use super::history::StoredGroup;

/// A stored group of pictures up to this size is sent at once: 150 ms at the pacer's rate, and no browser lost a
/// packet of it.
const SHORT_PACKETS: u64 = 600;
/// ... or up to this length.
const SHORT_LENGTH: Duration = Duration::from_secs(3);

/// Where a viewer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// With the stored group of pictures.
    Stored(StoredGroup),
    /// At the next keyframe, which the publisher is asked for.
    Next,
}

/// Decides it. `length` is the stored group's age on the timeline; `deaf` says that the publisher sends keyframes by
/// its own setting only.
///
/// A group with a hole is never sent: the picture would break at the hole and the viewer ask for a keyframe anyway.
pub(crate) fn decide(stored: Option<StoredGroup>, length: Duration, deaf: bool) -> Join {
    match stored {
        Some(group) if group.whole && (group.packets <= SHORT_PACKETS || length <= SHORT_LENGTH || deaf) => {
            Join::Stored(group)
        }
        _ => Join::Next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(packets: u64, whole: bool) -> Option<StoredGroup> {
        Some(StoredGroup { position: 40, first: 7, packets, whole })
    }

    #[test]
    fn short_groups_are_sent_and_long_ones_only_where_asking_is_useless() {
        let (short, long) = (Duration::from_secs(2), Duration::from_secs(8));
        let stored = |packets| Join::Stored(group(packets, true).unwrap());
        assert_eq!(decide(group(460, true), short, false), stored(460));
        assert_eq!(decide(group(600, true), long, false), stored(600));
        assert_eq!(decide(group(2_050, true), short, false), stored(2_050));
        assert_eq!(decide(group(2_050, true), long, false), Join::Next);
        assert_eq!(decide(group(2_050, true), long, true), stored(2_050));
    }

    #[test]
    fn never_a_keyframe_with_a_hole_behind_it() {
        assert_eq!(decide(group(10, false), Duration::ZERO, true), Join::Next);
        assert_eq!(decide(None, Duration::ZERO, true), Join::Next);
    }
}
