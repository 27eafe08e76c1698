//! What a player that follows one media playlist asks for next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::edge::{Address, Edge, Id, Unit, WHOLE};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask for the playlist after this time.
    Reload(Address, Duration),
    /// Load an initialization section.
    Init(Address),
    /// Load a part, or a segment where there are none.
    Media(Unit, Kind),
    /// Nothing comes any more.
    Over,
}

/// Why a unit is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was there when the player came. So much of it lies behind the place where playing begins.
    Start(Duration),
    /// The last of those: playing begins.
    Begin(Duration),
    /// It came while the player was there.
    Fresh,
}

/// A player's way through one media playlist.
#[derive(Debug)]
pub(crate) struct Follower {
    address: Address,
    edge: Option<Arc<Edge>>,
    queue: VecDeque<(Unit, Kind)>,
    init: Option<Address>,
    pause: Duration,
    last: Option<Id>,
    /// The next playlist must not be a delta.
    whole: bool,
}

impl Follower {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            edge: None,
            queue: VecDeque::new(),
            init: None,
            pause: Duration::ZERO,
            last: None,
            whole: false,
        }
    }

    /// What comes next. What it names counts as done, but for an initialization section, which is said once.
    pub(crate) fn next(&mut self) -> Step {
        if let Some((unit, kind)) = self.queue.pop_front() {
            let wanted = unit.init.clone().filter(|init| self.init.as_ref() != Some(init));
            if let Some(init) = wanted {
                self.init = Some(init.clone());
                self.queue.push_front((unit, kind));
                return Step::Init(init);
            }
            return Step::Media(unit, kind);
        }
        match &self.edge {
            Some(edge) if edge.ended => Step::Over,
            Some(edge) if edge.blocks => {
                Step::Reload(self.address.with(&edge.directives(!self.whole)), self.pause)
            }
            _ => Step::Reload(self.address.clone(), self.pause),
        }
    }

    /// Takes an answer to [`Step::Reload`]. True where the player fell so far behind that the playlist no longer has what
    /// comes next.
    pub(crate) fn read(&mut self, edge: &Arc<Edge>) -> bool {
        let before = self.last;
        let mut fell = false;
        let could_be_whole = edge.delta && !self.whole;
        self.whole = false;
        match (before, &self.edge) {
            (Some(last), Some(known)) => {
                let expected = known.next;
                let fresh: Vec<_> = edge.units.iter().filter(|unit| unit.id > last).cloned().collect();
                fell = fresh.first().is_some_and(|unit| unit.id > expected && !is_next(last, unit.id));
                if fell && could_be_whole {
                    // What is missing may only be skipped: the delta was for somebody who is not so late (6.3.7).
                    (self.whole, self.pause) = (true, Duration::ZERO);
                    return false;
                }
                self.queue.extend(fresh.into_iter().map(|unit| (unit, Kind::Fresh)));
            }
            _ => self.start(edge),
        }
        self.last = self.queue.back().map(|(unit, _)| unit.id).or(before);
        // Without waiting on the server's side an unchanged playlist is asked for again after half its time (6.3.4); a
        // blocked answer with nothing new must not be asked for at once.
        let anything = self.last != before;
        self.pause = match (edge.blocks, anything) {
            (true, true) => Duration::ZERO,
            (false, true) | (true, false) => edge.pause,
            (false, false) => edge.pause / 2,
        };
        self.edge = Some(Arc::clone(edge));
        fell
    }

    fn start(&mut self, edge: &Edge) {
        let (from, ahead) = edge.start();
        let count = edge.units.len().saturating_sub(from);
        let units = edge.units.iter().skip(from).cloned().enumerate();
        let mut left: Duration = edge.units.iter().skip(from).map(|unit| unit.duration).sum();
        self.queue.extend(units.map(|(at, unit)| {
            let kind = if at + 1 == count { Kind::Begin } else { Kind::Start };
            // From the end of the list back to where playing begins, which may be within a part.
            left = left.saturating_sub(unit.duration);
            let played = ahead.saturating_sub(left).min(unit.duration);
            (unit, kind(played))
        }));
    }
}

/// Whether nothing can be between them: the next index, or the next segment's first.
const fn is_next(last: Id, id: Id) -> bool {
    let same = id.0 == last.0 && id.1 == last.1.wrapping_add(1);
    let following = id.0 == last.0.wrapping_add(1) && (id.1 == 0 || id.1 == WHOLE);
    same || following
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn base() -> Url {
        Url::parse("http://h/v/media.m3u8").unwrap()
    }

    /// Four parts to a segment; from segment 5 on, `until` the one that comes next.
    fn playlist(from: u64, until: Id, control: &str, end: &str) -> Arc<Edge> {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n{control}#EXT-X-MEDIA-SEQUENCE:{from}\n"
        );
        for number in from..=until.0 {
            text.push_str(&format!("#EXT-X-MAP:URI=\"init{}.mp4\"\n", number / 7));
            let parts = if number == until.0 { until.1 } else { 4 };
            for part in 0..parts {
                let key = if part == 0 { ",INDEPENDENT=YES" } else { "" };
                text.push_str(&format!("#EXT-X-PART:DURATION=0.5,URI=\"{number}.{part}.m4s\"{key}\n"));
            }
            if number < until.0 {
                text.push_str(&format!("#EXTINF:2.0,\n{number}.m4s\n"));
            }
        }
        text.push_str(end);
        Arc::new(Edge::read(&text, &base()).unwrap())
    }

    const BLOCKS: &str = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n";

    fn follower() -> Follower {
        Follower::new(Address::of(&base()).unwrap())
    }

    /// All until the next reload.
    fn steps(follower: &mut Follower) -> (Vec<String>, Step) {
        let mut out = Vec::new();
        loop {
            match follower.next() {
                Step::Init(address) => out.push(String::from_utf8_lossy(&address.path).into_owned()),
                Step::Media(unit, kind) => {
                    let sign = match kind {
                        Kind::Start(_) => "start",
                        Kind::Begin(_) => "begin",
                        Kind::Fresh => "fresh",
                    };
                    out.push(format!("{sign} {}.{}", unit.id.0, unit.id.1));
                }
                other => return (out, other),
            }
        }
    }

    fn reload(step: &Step) -> (String, Duration) {
        let Step::Reload(address, pause) = step else { panic!("{step:?}") };
        (String::from_utf8_lossy(&address.path).into_owned(), *pause)
    }

    #[test]
    fn it_begins_behind_the_edge_and_takes_every_part_once() {
        let mut one = follower();
        assert_eq!(reload(&one.next()), ("/v/media.m3u8".into(), Duration::ZERO));
        one.read(&playlist(5, (6, 2), BLOCKS, ""));
        let (got, then) = steps(&mut one);
        let begun =
            ["/v/init0.mp4", "start 5.0", "start 5.1", "start 5.2", "start 5.3", "start 6.0", "begin 6.1"];
        assert_eq!(got, begun);
        assert_eq!(reload(&then), ("/v/media.m3u8?_HLS_msn=6&_HLS_part=2".into(), Duration::ZERO));
        assert!(!one.read(&playlist(5, (6, 3), BLOCKS, "")));
        assert_eq!(steps(&mut one).0, ["fresh 6.2"]);
        assert!(!one.read(&playlist(5, (7, 1), BLOCKS, "")));
        let (got, then) = steps(&mut one);
        assert_eq!(got, ["fresh 6.3", "/v/init1.mp4", "fresh 7.0"], "a new initialization section");
        assert_eq!(reload(&then).0, "/v/media.m3u8?_HLS_msn=7&_HLS_part=1");
    }

    #[test]
    fn an_answer_with_nothing_new_is_not_asked_for_again_at_once() {
        let mut one = follower();
        one.read(&playlist(5, (6, 2), BLOCKS, ""));
        steps(&mut one);
        one.read(&playlist(5, (6, 2), BLOCKS, ""));
        let (got, then) = steps(&mut one);
        assert!(got.is_empty());
        assert_eq!(reload(&then).1, Duration::from_millis(500));
    }

    #[test]
    fn what_cannot_be_waited_for_is_polled() {
        let mut one = follower();
        one.read(&playlist(5, (6, 2), "", ""));
        let (_, then) = steps(&mut one);
        assert_eq!(reload(&then), ("/v/media.m3u8".into(), Duration::from_millis(500)));
        one.read(&playlist(5, (6, 2), "", ""));
        assert_eq!(reload(&steps(&mut one).1).1, Duration::from_millis(250), "unchanged");
    }

    #[test]
    fn who_falls_out_of_the_window_goes_on_and_counts_it() {
        let mut one = follower();
        one.read(&playlist(5, (6, 2), BLOCKS, ""));
        steps(&mut one);
        assert!(one.read(&playlist(9, (9, 2), BLOCKS, "")));
        assert_eq!(steps(&mut one).0, ["/v/init1.mp4", "fresh 9.0", "fresh 9.1"]);
    }

    #[test]
    fn who_is_too_late_for_a_delta_asks_for_the_whole() {
        let blocks = BLOCKS.replace("YES,", "YES,CAN-SKIP-UNTIL=12.0,");
        // Without 6 to 8.
        let skip = format!("{blocks}#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n");
        let mut one = follower();
        one.read(&playlist(5, (6, 2), &blocks, ""));
        assert!(reload(&steps(&mut one).1).0.ends_with("&_HLS_skip=YES"));
        assert!(!one.read(&playlist(6, (9, 2), &skip, "")), "nothing is lost yet");
        let (got, then) = steps(&mut one);
        assert!(got.is_empty());
        assert_eq!(reload(&then), ("/v/media.m3u8?_HLS_msn=6&_HLS_part=2".into(), Duration::ZERO));
        assert!(!one.read(&playlist(6, (12, 2), &blocks, "")));
        let (got, then) = steps(&mut one);
        assert_eq!(
            (&got[0][..], got.len()),
            ("fresh 6.2", 2 + 5 * 4 + 2 + 1),
            "all, and an initialization section"
        );
        assert!(reload(&then).0.ends_with("&_HLS_skip=YES"), "deltas again");
    }

    #[test]
    fn only_what_lies_behind_the_start_is_played() {
        let mut one = follower();
        let blocks = BLOCKS.replace("1.5", "1.7");
        one.read(&playlist(5, (6, 2), &blocks, ""));
        let mut played = Vec::new();
        loop {
            match one.next() {
                Step::Init(_) => {}
                Step::Media(_, Kind::Start(time) | Kind::Begin(time)) => played.push(time.as_millis()),
                _ => break,
            }
        }
        assert_eq!(played, [0, 0, 200, 500, 500, 500]);
    }

    #[test]
    fn the_end_is_the_end_once_all_is_loaded() {
        let mut one = follower();
        one.read(&playlist(5, (6, 2), BLOCKS, ""));
        steps(&mut one);
        one.read(&playlist(5, (6, 4), BLOCKS, "#EXT-X-ENDLIST\n"));
        assert_eq!(steps(&mut one), (vec!["fresh 6.2".into(), "fresh 6.3".into()], Step::Over));
    }
}
