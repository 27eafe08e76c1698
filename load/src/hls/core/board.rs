//! What all players of a run have seen and got: availability, arrivals, stalls.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::GzDecoder;
use url::Url;

use super::edge::{Edge, Id, Unfit, Unit};
use super::follower::Kind;
use super::playback::Playback;
use crate::core::tally::Spread;

/// Versions of a playlist that are remembered: clients are answered at nearly the same time, by two or three at most.
const VERSIONS: usize = 4;
/// Parts of a playlist whose first sight is remembered.
const SIGHTS: usize = 4_096;
/// A playlist has no more, once it is unpacked.
const LARGEST_TEXT: u64 = 4 << 20;
/// Reasons that are told apart: some have words of the server's in them.
const REASONS: usize = 50;

/// Counts since they were last taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Requests that are over, whatever came of them.
    pub(crate) requests: u64,
    /// Playlists among them.
    pub(crate) playlists: u64,
    /// Parts, or segments where there are none, loaded in full.
    pub(crate) parts: u64,
    /// Those of them that came into being while the client was there.
    pub(crate) fresh: u64,
    /// Bytes of bodies, as they came.
    pub(crate) bytes: u64,
    /// From a part's first sight by any client to its last byte at one, while steady.
    pub(crate) delivery: Spread,
    /// From the program time of a part's end to its last byte, while steady.
    pub(crate) age: Spread,
    /// Parts that came before their program time ended: clocks differ.
    pub(crate) early: u64,
    /// Parts that were listed as gaps.
    pub(crate) gaps: u64,
    /// How often a client fell out of what its playlist lists, and left something out.
    pub(crate) skips: u64,
    /// Requests that brought nothing, by reason.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.playlists += other.playlists;
        self.parts += other.parts;
        self.fresh += other.fresh;
        self.bytes += other.bytes;
        self.delivery.add(&other.delivery);
        self.age.add(&other.age);
        self.early += other.early;
        self.gaps += other.gaps;
        self.skips += other.skips;
        for (why, count) in &other.errors {
            note(&mut self.errors, why, *count);
        }
    }
}

/// Counts by reason.
pub(crate) fn note(counts: &mut BTreeMap<String, u64>, why: &str, count: u64) {
    let why = if counts.len() < REASONS || counts.contains_key(why) { why } else { "other reasons" };
    *counts.entry(why.to_owned()).or_default() += count;
}

/// Where a part stands: the client, which of its tracks, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) client: usize,
    pub(crate) track: usize,
    pub(crate) now: Instant,
    /// UTC of `now`, in microseconds since 1970.
    pub(crate) utc: i64,
}

/// How players stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// They play, or stand still for the moment.
    pub(crate) playing: u64,
    pub(crate) dry: u64,
    /// All stalls so far, also of those that have left.
    pub(crate) stalls: u64,
    pub(crate) stalled: Duration,
    /// Players that have had any.
    pub(crate) with_stalls: u64,
}

struct Playlist {
    base: Url,
    versions: VecDeque<(Bytes, Arc<Edge>)>,
    sights: BTreeMap<Id, Instant>,
}

pub(crate) struct Board {
    playlists: Vec<Playlist>,
    players: BTreeMap<usize, Playback>,
    counts: Counts,
    steady: bool,
}

impl Board {
    /// For clients that follow all of these playlists.
    pub(crate) fn new(playlists: &[Url]) -> Self {
        let playlists = playlists.iter().map(|base| Playlist {
            base: base.clone(),
            versions: VecDeque::new(),
            sights: BTreeMap::new(),
        });
        Self {
            playlists: playlists.collect(),
            players: BTreeMap::new(),
            counts: Counts::default(),
            steady: false,
        }
    }

    /// Whether times of delivery count from now on.
    pub(crate) fn set_steady(&mut self) {
        self.steady = true;
    }

    /// A client comes.
    pub(crate) fn join(&mut self, client: usize) {
        self.players.insert(client, Playback::new(self.playlists.len()));
    }

    /// Its player is not judged any more.
    pub(crate) fn leave(&mut self, client: usize, now: Instant) {
        if let Some(player) = self.players.get_mut(&client) {
            player.end_at(now);
        }
    }

    /// A playlist's answer has arrived at somebody. Read once, however many clients get the same bytes; what it names for the
    /// first time is seen from now on.
    ///
    /// # Errors
    /// Where it cannot be followed.
    pub(crate) fn read(
        &mut self,
        track: usize,
        body: &Bytes,
        gzip: bool,
        now: Instant,
    ) -> Result<Arc<Edge>, Unfit> {
        self.answer(body.len() as u64);
        self.counts.playlists += 1;
        let playlist = self.playlists.get_mut(track).ok_or(Unfit::Empty)?;
        if let Some((_, edge)) = playlist.versions.iter().find(|(known, _)| known == body) {
            return Ok(Arc::clone(edge));
        }
        let mut text = String::new();
        let read = if gzip {
            GzDecoder::new(&body[..]).take(LARGEST_TEXT + 1).read_to_string(&mut text)
        } else {
            (&body[..]).take(LARGEST_TEXT + 1).read_to_string(&mut text)
        };
        let length = read.map_err(|_| Unfit::NoPlaylist)?;
        if length as u64 > LARGEST_TEXT {
            return Err(Unfit::Large);
        }
        let edge = Arc::new(Edge::read(&text, &playlist.base)?);
        for unit in &edge.units {
            playlist.sights.entry(unit.id).or_insert(now);
        }
        while playlist.sights.len() > SIGHTS {
            playlist.sights.pop_first();
        }
        if playlist.versions.len() >= VERSIONS {
            playlist.versions.pop_front();
        }
        playlist.versions.push_back((body.clone(), Arc::clone(&edge)));
        Ok(edge)
    }

    /// An answer that is neither a followed playlist nor media.
    pub(crate) fn answer(&mut self, bytes: u64) {
        self.counts.requests += 1;
        self.counts.bytes += bytes;
    }

    /// A part's last byte has arrived at a client.
    pub(crate) fn part(&mut self, at: At, unit: &Unit, kind: Kind, bytes: u64) {
        self.answer(bytes);
        self.counts.parts += 1;
        if kind == Kind::Fresh {
            self.counts.fresh += 1;
            if self.steady {
                self.time(at, unit);
            }
        }
        self.has(at, unit, kind);
    }

    fn time(&mut self, at: At, unit: &Unit) {
        let sights = self.playlists.get(at.track).map(|playlist| &playlist.sights);
        if let Some(seen) = sights.and_then(|sights| sights.get(&unit.id)) {
            self.counts.delivery.record(at.now.saturating_duration_since(*seen));
        }
        if let Some(ends) = unit.ends {
            match u64::try_from(at.utc.saturating_sub(ends)) {
                Ok(age) => self.counts.age.record(Duration::from_micros(age)),
                Err(_) => self.counts.early += 1,
            }
        }
    }

    /// The playlist says that there is nothing to load: players go on over it.
    pub(crate) fn gap(&mut self, at: At, unit: &Unit, kind: Kind) {
        self.counts.gaps += 1;
        self.has(at, unit, kind);
    }

    fn has(&mut self, at: At, unit: &Unit, kind: Kind) {
        let Some(player) = self.players.get_mut(&at.client) else { return };
        match kind {
            Kind::Start(played) => player.load(at.now, at.track, played),
            Kind::Begin(played) => {
                player.load(at.now, at.track, played);
                player.begin(at.now, at.track);
            }
            Kind::Fresh => player.load(at.now, at.track, unit.duration),
        }
    }

    /// A part did not come. The player lacks it: its buffer is shorter by it.
    pub(crate) fn missed(&mut self, at: At, kind: Kind, why: &str) {
        self.error(why);
        let Some(player) = self.players.get_mut(&at.client) else { return };
        if let Kind::Begin(_) = kind {
            player.begin(at.now, at.track);
        }
    }

    /// A client left out what its playlist does not list any more.
    pub(crate) fn skip(&mut self) {
        self.counts.skips += 1;
    }

    /// A request brought nothing.
    pub(crate) fn error(&mut self, why: &str) {
        self.counts.requests += 1;
        note(&mut self.counts.errors, why, 1);
    }

    /// Takes the counts.
    pub(crate) fn take(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// How the players stand now.
    pub(crate) fn standing(&mut self, now: Instant) -> Standing {
        let mut standing = Standing::default();
        for player in self.players.values_mut() {
            player.advance(now);
            standing.playing += u64::from(player.is_playing());
            standing.dry += u64::from(player.is_dry());
            let (stalls, stalled) = player.stalls();
            standing.stalls += stalls;
            standing.stalled += stalled;
            standing.with_stalls += u64::from(stalls > 0);
        }
        standing
    }

    /// The run is over: who stands still has done so until now.
    pub(crate) fn finish(&mut self, now: Instant) -> Standing {
        let before = self.standing(now);
        self.players.values_mut().for_each(|player| player.end_at(now));
        Standing { playing: before.playing, dry: before.dry, ..self.standing(now) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn board() -> Board {
        Board::new(&[Url::parse("http://h/media.m3u8").unwrap()])
    }

    fn text(parts: u64) -> Bytes {
        let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:10Z\n"
            .to_owned();
        for part in 0..parts {
            text.push_str(&format!("#EXT-X-PART:DURATION=0.5,URI=\"{part}.m4s\",INDEPENDENT=YES\n"));
        }
        text.into()
    }

    fn zipped(text: &[u8]) -> Bytes {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(text).unwrap();
        out.finish().unwrap().into()
    }

    fn at(client: usize, now: Instant, utc: i64) -> At {
        At { client, track: 0, now, utc }
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn delivery_counts_from_the_first_sight_by_anybody() {
        let (mut board, t) = (board(), bicast_shared::clock::now());
        board.join(0);
        board.join(1);
        board.set_steady();
        board.read(0, &text(3), false, t).unwrap();
        let first = board.read(0, &zipped(&text(4)), true, t + ms(500)).unwrap();
        let second = board.read(0, &text(4), false, t + ms(520)).unwrap();
        assert_eq!(first, second);
        let unit = &first.units[3];
        board.part(at(0, t + ms(510), 12_100_000), unit, Kind::Fresh, 100);
        board.part(at(1, t + ms(580), 11_900_000), unit, Kind::Fresh, 100);
        let counts = board.take();
        assert_eq!((counts.requests, counts.playlists, counts.parts, counts.fresh), (5, 3, 2, 2));
        assert_eq!(counts.delivery.count(), 2);
        let (shortest, longest) =
            (counts.delivery.quantile(0.0).unwrap(), counts.delivery.quantile(1.0).unwrap());
        assert!(shortest < ms(11) && longest > ms(79), "{shortest:?} {longest:?}");
        assert_eq!((counts.age.count(), counts.early), (1, 1), "one came before its time");
        assert_eq!(board.take().requests, 0, "taken");
    }

    #[test]
    fn the_same_bytes_are_read_once() {
        let (mut board, t) = (board(), bicast_shared::clock::now());
        let first = board.read(0, &text(4), false, t).unwrap();
        assert!(Arc::ptr_eq(&first, &board.read(0, &text(4), false, t).unwrap()));
        for parts in 5..20 {
            board.read(0, &text(parts), false, t).unwrap();
        }
        assert_eq!(board.playlists[0].versions.len(), VERSIONS);
        assert_eq!(board.read(0, &Bytes::from_static(b"\xff\xfe"), false, t), Err(Unfit::NoPlaylist));
        assert_eq!(board.read(0, &text(4), true, t), Err(Unfit::NoPlaylist), "not zipped at all");
    }

    #[test]
    fn what_is_missed_makes_the_player_stand_still() {
        let (mut board, t) = (board(), bicast_shared::clock::now());
        board.join(0);
        let edge = board.read(0, &text(4), false, t).unwrap();
        board.part(at(0, t, 0), &edge.units[3], Kind::Begin(ms(1_000)), 1);
        let unit = &edge.units[3];
        board.part(at(0, t + ms(500), 0), unit, Kind::Fresh, 1);
        board.missed(at(0, t + ms(900), 0), Kind::Fresh, "part: HTTP 404");
        assert_eq!(board.standing(t + ms(1_400)).dry, 0);
        assert_eq!(board.standing(t + ms(1_600)).dry, 1);
        board.gap(at(0, t + ms(1_700), 0), unit, Kind::Fresh);
        let end = board.finish(t + ms(1_800));
        assert_eq!((end.stalls, end.stalled, end.with_stalls, end.playing), (1, ms(200), 1, 1));
        let counts = board.take();
        assert_eq!((counts.errors["part: HTTP 404"], counts.gaps, counts.parts), (1, 1, 2));
        assert_eq!(counts.requests, 4, "a playlist, two parts and one that did not come");
    }

    #[test]
    fn what_is_missed_before_the_beginning_is_missing_then() {
        let (mut board, t) = (board(), bicast_shared::clock::now());
        board.join(0);
        let edge = board.read(0, &text(4), false, t).unwrap();
        board.part(at(0, t, 0), &edge.units[1], Kind::Start(ms(500)), 1);
        board.missed(at(0, t, 0), Kind::Start(ms(500)), "part: HTTP 404");
        assert_eq!(board.standing(t).playing, 0);
        board.missed(at(0, t, 0), Kind::Begin(ms(500)), "part: HTTP 404");
        assert_eq!((board.standing(t).playing, board.standing(t + ms(500)).dry), (1, 0));
        assert_eq!(board.standing(t + ms(501)).dry, 1, "half a second of one and a half");
    }

    #[test]
    fn memory_is_bounded() {
        let (mut board, t) = (board(), bicast_shared::clock::now());
        for start in 0..5 {
            let list = format!("#EXT-X-MEDIA-SEQUENCE:{start}\n#EXT-X-PART-INF");
            let body = String::from_utf8(text(1_000).to_vec()).unwrap().replace("#EXT-X-PART-INF", &list);
            board.read(0, &body.into(), false, t).unwrap();
        }
        assert_eq!(board.playlists[0].sights.len(), SIGHTS);
        assert!(board.playlists[0].sights.contains_key(&(4, 999)), "the newest stay");
        for n in 0..1_000 {
            board.error(&format!("the server's words {n}"));
        }
        let errors = board.take().errors;
        assert_eq!((errors.len(), errors["other reasons"]), (REASONS + 1, 950));
        assert_eq!(board.read(0, &zipped(&vec![b'#'; 5 << 20]), true, t), Err(Unfit::Large));
    }
}
