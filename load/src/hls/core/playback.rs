//! The buffer of a player that plays in real time: when it would have stood still.

use std::time::{Duration, Instant};

/// What a player would have shown. It begins when each of its tracks has something to begin with, plays in real time from
/// there, stands still when one of them runs dry and goes on when there is media again; it never hurries after the live
/// edge.
#[derive(Debug, Clone)]
pub(crate) struct Playback {
    /// Media loaded of each track, from where playing begins, and whether all that it begins with is there.
    tracks: Vec<(Duration, bool)>,
    /// What has been played.
    position: Duration,
    state: State,
    stalls: u64,
    stalled: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// `position` was right at this time.
    Playing(Instant),
    /// Since then.
    Dry(Instant),
    Over,
}

impl Playback {
    /// `tracks`: picture and sound, or one of both.
    pub(crate) fn new(tracks: usize) -> Self {
        Self {
            tracks: vec![(Duration::ZERO, false); tracks],
            position: Duration::ZERO,
            state: State::Waiting,
            stalls: 0,
            stalled: Duration::ZERO,
        }
    }

    /// A track has all that it begins with, or will not get the rest.
    pub(crate) fn begin(&mut self, now: Instant, track: usize) {
        if let Some((_, begun)) = self.tracks.get_mut(track) {
            *begun = true;
        }
        if self.state == State::Waiting && self.tracks.iter().all(|(_, begun)| *begun) {
            self.state = State::Playing(now);
        }
    }

    /// A track has so much more.
    pub(crate) fn load(&mut self, now: Instant, track: usize, media: Duration) {
        self.advance(now);
        if let Some((loaded, _)) = self.tracks.get_mut(track) {
            *loaded += media;
        }
        if let State::Dry(since) = self.state
            && self.end() > self.position
        {
            self.stalled += now.saturating_duration_since(since);
            self.state = State::Playing(now);
        }
    }

    /// Plays until now.
    pub(crate) fn advance(&mut self, now: Instant) {
        let State::Playing(then) = self.state else { return };
        let there = self.end().saturating_sub(self.position);
        let passed = now.saturating_duration_since(then);
        if passed > there {
            self.position += there;
            self.stalls += 1;
            self.state = State::Dry(then + there);
        } else {
            self.position += passed;
            self.state = State::Playing(now);
        }
    }

    /// Nothing more is to be judged: the feed has ended, the client has left, or the run is over.
    pub(crate) fn end_at(&mut self, now: Instant) {
        self.advance(now);
        if let State::Dry(since) = self.state {
            self.stalled += now.saturating_duration_since(since);
        }
        self.state = State::Over;
    }

    /// Media that all tracks have.
    fn end(&self) -> Duration {
        self.tracks.iter().map(|(loaded, _)| *loaded).min().unwrap_or_default()
    }

    /// Whether it has begun and is not over.
    pub(crate) fn is_playing(&self) -> bool {
        matches!(self.state, State::Playing(_) | State::Dry(_))
    }

    pub(crate) fn is_dry(&self) -> bool {
        matches!(self.state, State::Dry(_))
    }

    /// How often it stood still, and for how long. A stall that lasts is in the number, and in the time once it is over.
    pub(crate) fn stalls(&self) -> (u64, Duration) {
        (self.stalls, self.stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn start() -> Instant {
        bicast_shared::clock::now()
    }

    /// A track begins with so much.
    fn begin(one: &mut Playback, now: Instant, track: usize, media: Duration) {
        one.load(now, track, media);
        one.begin(now, track);
    }

    #[test]
    fn who_is_served_in_time_never_stands_still() {
        let t = start();
        let mut one = Playback::new(1);
        begin(&mut one, t, 0, ms(1_500));
        for n in 1..100 {
            one.load(t + ms(500 * n + 40), 0, ms(500));
        }
        one.end_at(t + ms(50_000));
        assert_eq!(one.stalls(), (0, Duration::ZERO));
    }

    #[test]
    fn a_stall_lasts_from_the_end_of_the_buffer_to_the_next_media() {
        let t = start();
        let mut one = Playback::new(1);
        begin(&mut one, t, 0, ms(1_000));
        one.load(t + ms(3_000), 0, ms(500));
        assert_eq!(one.stalls(), (1, ms(2_000)));
        assert!(!one.is_dry(), "it plays again");
        one.advance(t + ms(3_500));
        assert!(!one.is_dry(), "to the last frame");
        one.advance(t + ms(3_501));
        assert!(one.is_dry());
        one.end_at(t + ms(4_000));
        assert_eq!(one.stalls(), (2, ms(2_500)));
        assert!(!one.is_playing());
    }

    #[test]
    fn a_burst_after_a_stall_is_further_behind_and_safer_than_before() {
        let t = start();
        let mut one = Playback::new(1);
        begin(&mut one, t, 0, ms(1_000));
        for _ in 0..4 {
            one.load(t + ms(3_000), 0, ms(500));
        }
        one.advance(t + ms(4_999));
        assert_eq!(one.stalls(), (1, ms(2_000)));
    }

    #[test]
    fn the_track_that_lacks_decides() {
        let t = start();
        let mut one = Playback::new(2);
        begin(&mut one, t, 0, ms(1_000));
        assert!(!one.is_playing(), "no sound yet");
        begin(&mut one, t + ms(200), 1, ms(1_000));
        one.load(t + ms(600), 0, ms(5_000));
        one.advance(t + ms(1_300));
        assert!(one.is_dry(), "the sound is missing");
        one.load(t + ms(1_400), 0, ms(500));
        assert!(one.is_dry());
        one.load(t + ms(1_500), 1, ms(500));
        assert_eq!(one.stalls(), (1, ms(300)));
    }

    #[test]
    fn nothing_is_a_stall_before_the_beginning_and_after_the_end() {
        let t = start();
        let mut one = Playback::new(1);
        one.load(t + ms(9_000), 0, ms(400));
        one.advance(t + ms(10_000));
        begin(&mut one, t + ms(10_000), 0, ms(100));
        one.end_at(t + ms(10_500));
        one.advance(t + ms(20_000));
        assert_eq!(one.stalls(), (0, Duration::ZERO));
    }
}
