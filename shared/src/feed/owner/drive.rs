//! Whether the picture comes, which decides where segments begin. Where it does not, sound takes its place.

use std::time::{Duration, Instant};

/// A picture that has begun no segment and sent nothing for this long is not waited for: a camera that was never turned on
/// must not keep the sound from HLS. Encoders send their first frame within a second of being connected.
const NEVER: Duration = Duration::from_secs(3);

/// A segment that has to end is not kept open for a picture that has sent nothing for this long. Later than this the frames of
/// a publisher whose network stood still come in a burst.
const SILENT: Duration = Duration::from_secs(1);

/// What is known about a publisher's picture.
#[derive(Debug, Default)]
pub(super) struct Drive {
    sound: bool,
    /// When a packet of the picture with something in it last came.
    newest: Option<Instant>,
}

impl Drive {
    /// Sound decides the cuts although the publisher has a picture.
    pub(super) const fn is_sound(&self) -> bool {
        self.sound
    }

    /// Whether the picture has stopped coming.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.newest.is_some_and(|newest| now.saturating_duration_since(newest) >= SILENT)
    }

    /// A packet of the picture, not of padding alone, has come; `keyframe` says that decoding can begin with it. True when
    /// the picture takes its place back.
    pub(super) fn handle_picture(&mut self, now: Instant, keyframe: bool) -> bool {
        self.newest = Some(now);
        keyframe && std::mem::take(&mut self.sound)
    }

    /// A packet of sound has come, of a publisher who also has a picture; its first packet of all came at `began`, and
    /// `cut` says whether the picture has begun a segment since. True when the sound takes the picture's place.
    pub(super) fn handle_sound(&mut self, now: Instant, began: Instant, cut: bool) -> bool {
        let silent = now.saturating_duration_since(self.newest.unwrap_or(began)) >= NEVER;
        let takes = !self.sound && !cut && silent;
        self.sound |= takes;
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::owner::tests::start;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sound_takes_the_place_of_a_picture_that_never_comes_until_it_can_be_decoded() {
        let mut drive = Drive::default();
        assert!(!drive.handle_sound(start() + SECOND * 2, start(), false));
        assert!(drive.handle_sound(start() + SECOND * 3, start(), false));
        assert!(!drive.handle_sound(start() + SECOND * 4, start(), false), "once");
        assert!(!drive.handle_picture(start() + SECOND * 5, false) && drive.is_sound());
        assert!(drive.handle_picture(start() + SECOND * 6, true) && !drive.is_sound());
        assert!(!drive.handle_picture(start() + SECOND * 7, true));
    }

    #[test]
    fn a_picture_that_comes_is_waited_for() {
        let mut drive = Drive::default();
        assert!(!drive.handle_picture(start() + SECOND * 2, false));
        assert!(!drive.handle_sound(start() + SECOND * 4, start(), false), "its keyframe may be on its way");
        assert!(!drive.handle_sound(start() + SECOND * 60, start(), true), "it has begun a segment");
        assert!(drive.handle_sound(start() + SECOND * 60, start(), false));
    }
}
