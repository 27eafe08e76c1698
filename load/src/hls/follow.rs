//! One media playlist at the live edge: blocking reloads, hinted parts, whole segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bytes::Bytes;
use parking_lot::Mutex;
use url::Url;

use super::core::aging::{self, Leavers};
use super::core::answers::{self, Kind, Reply};
use super::core::blocking::{self, Answer, Pace};
use super::core::boxes::{self, Chunk, Said, Track};
use super::core::entry::Entry;
use super::core::ledger::Ledger;
use super::core::playlist::{Media, Part, Segment};
use super::core::variants::Seen;
use super::core::{gaps, headers, hints, media, reports, sequence};
use super::fetch::Fetch;

/// The newest part of each playlist that somebody has seen.
pub(crate) type Newest = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

/// After an answer that was no playlist.
const PAUSE: Duration = Duration::from_millis(500);
/// No two reloads come faster: an origin that has news every time is not asked without a break.
const LEAST: Duration = Duration::from_millis(20);
/// Parts that are loaded after one reload. Nobody lists so many new ones at once.
const MOST_LOADS: usize = 64;
/// Bytes of parts that are kept to compare their segment with. A larger segment is not compared.
const MOST_HELD: usize = 64 << 20;

pub(crate) struct Follower {
    pub(crate) fetch: Fetch,
    pub(crate) url: Url,
    pub(crate) ledger: Ledger,
    pub(crate) last: Media,
    /// What its first init section says.
    entry: Option<Entry>,
    /// Bits per second of the largest segment; bits and microseconds of all.
    peak: u64,
    bits: u64,
    micros: u64,
    /// Pictures, and the seconds that they last.
    pictures: (u64, f64),
    newest: Newest,
    began: Instant,
    /// The answer that `last` is from.
    reply: Reply,
    pace: Pace,
    leavers: Leavers,
    map: Option<String>,
    track: Option<Track>,
    before: Option<Chunk>,
    parts: BTreeMap<u64, Vec<Bytes>>,
    /// The part that is expected next: what comes before it was seen.
    next: (u64, usize),
}

/// A playlist's address with directives, whatever its query was.
pub(crate) fn with(url: &Url, directives: &str) -> Url {
    let mut url = url.clone();
    let query = url.query().map_or_else(|| directives.to_owned(), |query| format!("{query}&{directives}"));
    url.set_query(Some(&query));
    url
}

impl Follower {
    /// Loads the playlist for the first time.
    pub(crate) async fn open(fetch: Fetch, url: Url, newest: Newest) -> anyhow::Result<Self> {
        let (url, reply) = fetch.find(&url).await?;
        anyhow::ensure!(reply.status == 200, "{url} is answered with {}", reply.status);
        let mut ledger = Ledger::default();
        let last = read(&mut ledger, &reply, Kind::Playlist);
        anyhow::ensure!(
            last.part_target.is_some(),
            "{url} has no EXT-X-PART-INF: it is no low-latency playlist"
        );
        let next = last.next_part();
        let follower = Self {
            fetch,
            url,
            ledger,
            last,
            entry: None,
            peak: 0,
            bits: 0,
            micros: 0,
            pictures: (0, 0.0),
            newest,
            began: clock::now(),
            reply,
            pace: Pace::default(),
            leavers: Leavers::default(),
            map: None,
            track: None,
            before: None,
            parts: BTreeMap::new(),
            next,
        };
        follower.note();
        Ok(follower)
    }

    /// Follows it.
    pub(crate) async fn run(mut self, until: Instant) -> Self {
        while clock::now() < until && !self.last.ended {
            let begun = clock::now();
            let came = self.step().await;
            self.ask_for_gone(false).await;
            if !came {
                tokio::time::sleep(PAUSE).await;
            } else if clock::now().saturating_duration_since(begun) < LEAST {
                tokio::time::sleep(LEAST).await;
            }
        }
        self.ask_for_gone(true).await;
        self
    }

    /// What the run has seen of it.
    pub(crate) fn seen(&self) -> Seen<'_> {
        let (pictures, seconds) = self.pictures;
        let rate = (seconds > 1.0).then(|| pictures as f64 / seconds);
        Seen { entry: self.entry.as_ref(), rate, peak: self.peak, bits: self.bits, micros: self.micros }
    }

    /// TARGETDURATION in seconds.
    pub(crate) fn target(&self) -> i64 {
        self.last.target().unwrap_or(1)
    }

    /// A request that may be held: its answer, and how long it took.
    pub(crate) async fn wait(&self, url: &Url) -> (anyhow::Result<Reply>, Duration) {
        let begun = clock::now();
        // Three target durations, one more for who counts in another way, and the line.
        let limit = u64::from(u32::try_from(self.target()).unwrap_or(1)) * 4 + 10;
        let reply = self.fetch.get_within(url, Duration::from_secs(limit)).await;
        (reply, clock::now().saturating_duration_since(begun))
    }

    fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    async fn step(&mut self) -> bool {
        let (number, index) = self.last.next_part();
        let known = self.newest.lock().clone();
        let reload = with(&self.url, &format!("_HLS_msn={number}&_HLS_part={index}"));
        let hint = hints::whole_part(&self.last).and_then(|hint| hint.attributes.get("URI"));
        let hint = hint.map(str::to_owned);
        let hinted = hint.as_deref().and_then(|uri| self.url.join(uri).ok());
        let load = async {
            match &hinted {
                Some(url) => Some(self.wait(url).await.0),
                None => None,
            }
        };
        let answered = async {
            let (reply, waited) = self.wait(&reload).await;
            (reply, waited, self.now())
        };
        let ((reply, waited, at), part) = tokio::join!(answered, load);
        let target = self.target();
        let answer = |status, media| Answer { url: reload.as_str(), status, media, waited, target };
        let reply = match reply {
            Ok(reply) if reply.status == 200 => reply,
            other => {
                let status = other.ok().map(|reply| reply.status);
                blocking::judge_part(&mut self.ledger, &answer(status, None), number, index);
                return false;
            }
        };
        let now = parsed(&reply);
        let came = blocking::judge_part(&mut self.ledger, &answer(Some(200), Some(&now)), number, index);
        judge_list(&mut self.ledger, &reply, &now, if came { Kind::Blocking } else { Kind::Stale });
        headers::judge_etag(&mut self.ledger, &self.reply, &reply);
        sequence::judge(&mut self.ledger, reload.as_str(), &self.last, &now);
        self.pace.judge(&mut self.ledger, reload.as_str(), &self.last, &now, at);
        self.leavers.handle(&self.last, &now, at);
        for report in &now.reports {
            let url = report.attributes.get("URI").and_then(|uri| self.url.join(uri).ok());
            if let Some(known) = url.and_then(|url| known.get(url.path()).copied()) {
                reports::judge_fresh(&mut self.ledger, reload.as_str(), &now, report, known);
            }
        }
        if let (Some(hint), Some(part)) = (hint.as_deref(), &part) {
            let status = part.as_ref().ok().map(|part| part.status);
            hints::judge_dropped(&mut self.ledger, (hint, status), &self.last, &now);
        }
        (self.last, self.reply) = (now, reply);
        self.note();
        self.media(hint.as_deref(), part).await;
        came
    }

    fn note(&self) {
        if let Some(newest) = self.last.newest_part() {
            self.newest.lock().insert(self.url.path().to_owned(), newest);
        }
    }

    /// What is no longer listed is still there, for a while.
    async fn ask_for_gone(&mut self, last: bool) {
        while let Some(gone) = self.leavers.due(self.now(), last) {
            let Ok(url) = self.url.join(&gone.uri) else { continue };
            if let Ok(reply) = self.fetch.get(&url, &[]).await {
                let now = self.now();
                aging::judge_gone(&mut self.ledger, url.as_str(), &gone, reply.status, now);
            }
        }
    }

    /// Loads what is new; `loaded` is what the hint was answered with.
    async fn media(&mut self, hint: Option<&str>, mut loaded: Option<anyhow::Result<Reply>>) {
        let segments = self.last.segments.clone();
        let (first, expected) = self.next;
        let mut left = MOST_LOADS;
        for segment in segments.iter().filter(|segment| segment.number >= first) {
            self.init(&segments, segment).await;
            let skip = if segment.number == first { expected } else { 0 };
            let mut end = 0;
            for (index, part) in segment.parts.iter().enumerate() {
                let range = hints::range(part, end);
                end = range.map_or(0, |(_, end)| end);
                if index < skip || left == 0 {
                    continue;
                }
                left -= 1;
                if segment.discontinuity && index == 0 {
                    self.before = None;
                }
                let reply = match loaded.take_if(|_| hint == Some(part.uri.as_str())) {
                    Some(reply) => {
                        let status = reply.as_ref().ok().map(|reply| reply.status);
                        hints::judge(&mut self.ledger, &part.uri, status, part.gap);
                        reply.ok().inspect(|reply| self.judge_media(reply))
                    }
                    None => self.load(&part.uri, range, part.gap).await,
                };
                self.part(segment, index, part, reply);
            }
            if segment.uri.is_some() {
                self.whole(segment).await;
            }
        }
        self.next = self.last.next_part();
        self.parts.retain(|number, _| *number >= self.next.0);
    }

    fn judge_media(&mut self, reply: &Reply) {
        let target = self.target();
        answers::judge(&mut self.ledger, reply, Kind::Media, target);
    }

    async fn load(&mut self, uri: &str, range: Option<(u64, u64)>, gap: bool) -> Option<Reply> {
        if gap {
            return None;
        }
        let url = self.url.join(uri).ok()?;
        let asked = range.map(|(first, end)| format!("bytes={first}-{}", end - 1));
        let asked = asked.as_deref().map(|value| ("range", value));
        let begun = clock::now();
        let reply = self.fetch.get(&url, asked.as_slice()).await.ok();
        let waited = clock::now().saturating_duration_since(begun).as_secs_f64();
        let (status, target) = (reply.as_ref().map(|reply| reply.status), self.target());
        gaps::judge_listed(&mut self.ledger, url.as_str(), status, waited, target);
        let reply = reply?;
        if let Some(range) = range {
            hints::judge_range(&mut self.ledger, url.as_str(), range, reply.status, reply.body.len());
        }
        self.judge_media(&reply);
        Some(reply)
    }

    fn part(&mut self, segment: &Segment, index: usize, part: &Part, reply: Option<Reply>) {
        let before = self.before.take();
        let Some(reply) = reply.filter(|reply| matches!(reply.status, 200 | 206)) else { return };
        let held: usize = self.parts.values().flatten().map(Bytes::len).sum();
        if held > MOST_HELD {
            self.parts.clear();
        }
        let held = self.parts.entry(segment.number).or_default();
        if held.len() == index {
            held.push(reply.body.clone());
        }
        if let (Some(track), Some(micros)) = (&self.track, part.duration) {
            let said = Said { micros, independent: part.independent, before };
            self.before = boxes::judge_part(&mut self.ledger, &reply.url, &reply.body, track, said);
            if let (Some(chunk), true) = (self.before, track.video) {
                let ticks = chunk.end.saturating_sub(chunk.begin);
                self.pictures.0 += u64::from(chunk.samples);
                self.pictures.1 += ticks as f64 / f64::from(track.timescale.max(1));
            }
        }
    }

    /// The init section that a segment needs.
    async fn init(&mut self, segments: &[Segment], segment: &Segment) {
        let up_to = segments.iter().take_while(|other| other.number <= segment.number);
        let Some(map) = up_to.filter_map(|segment| segment.map.as_ref()).last() else { return };
        if self.map.as_ref() == Some(map) {
            return;
        }
        self.map = Some(map.clone());
        self.track = None;
        if let Some(reply) = self.load(map, None, false).await.filter(|reply| reply.status == 200) {
            self.track = boxes::judge_init(&mut self.ledger, &reply.url, &reply.body);
            let described = self.track.as_ref().map(|track| track.described.clone());
            self.entry = self.entry.take().or(described);
        }
    }

    /// A segment that is complete, where all of its parts were seen.
    async fn whole(&mut self, segment: &Segment) {
        let Some(parts) = self.parts.remove(&segment.number) else { return };
        if parts.len() != segment.parts.len() || segment.gap {
            return;
        }
        let Some(uri) = &segment.uri else { return };
        let Some(reply) = self.load(uri, None, false).await.filter(|reply| reply.status == 200) else {
            return;
        };
        boxes::judge_concatenation(&mut self.ledger, &reply.url, &reply.body, &parts);
        let micros = u64::try_from(segment.length()).unwrap_or(0);
        let bits = reply.body.len() as u64 * 8;
        self.peak = self.peak.max((bits * 1_000_000).checked_div(micros).unwrap_or(0));
        self.bits += bits;
        self.micros += micros;
    }
}

/// A playlist out of an answer, judged by itself.
pub(crate) fn read(ledger: &mut Ledger, reply: &Reply, kind: Kind) -> Media {
    let found = parsed(reply);
    judge_list(ledger, reply, &found, kind);
    found
}

fn parsed(reply: &Reply) -> Media {
    Media::parse(&String::from_utf8_lossy(&reply.body))
}

fn judge_list(ledger: &mut Ledger, reply: &Reply, found: &Media, kind: Kind) {
    media::judge(ledger, &reply.url, found);
    answers::judge(ledger, reply, kind, found.target().unwrap_or(1));
}
