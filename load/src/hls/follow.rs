//! One media playlist at the live edge: blocking reloads, hinted parts, whole segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bytes::Bytes;
use parking_lot::Mutex;
use url::Url;

use super::core::answers::{self, Kind, Reply};
use super::core::boxes::{self, Chunk, Said, Track};
use super::core::ledger::{At, Ledger};
use super::core::playlist::{Media, Part, Segment};
use super::core::{media, sequence, together};
use super::fetch::Fetch;

/// The newest part of each playlist that somebody has seen.
pub(crate) type Newest = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

/// After an answer that was no playlist.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Follower {
    pub(crate) fetch: Fetch,
    pub(crate) url: Url,
    pub(crate) ledger: Ledger,
    pub(crate) last: Media,
    /// Bits per second of the largest segment.
    pub(crate) peak: u64,
    newest: Newest,
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
        let map = None;
        let mut follower = Self {
            fetch,
            url,
            ledger,
            last,
            peak: 0,
            newest,
            map,
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
            if !self.step().await {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self
    }

    async fn step(&mut self) -> bool {
        let (number, index) = self.last.next_part();
        let known = self.newest.lock().clone();
        let reload = with(&self.url, &format!("_HLS_msn={number}&_HLS_part={index}"));
        let hint = self.last.hints.iter().find(|hint| hint.attributes.is("TYPE", "PART"));
        let hint = hint.and_then(|hint| hint.attributes.get("URI")).map(str::to_owned);
        let hinted = hint.as_deref().and_then(|uri| self.url.join(uri).ok());
        let begun = clock::now();
        let load = async {
            match &hinted {
                Some(url) => Some(self.fetch.get(url, &[]).await),
                None => None,
            }
        };
        let (reply, part) = tokio::join!(self.fetch.get(&reload, &[]), load);
        let waited = clock::now().saturating_duration_since(begun);
        let at = At::whole(reload.as_str());
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                self.ledger.judge(37, false, at, || format!("no answer: {error:#}"));
                return false;
            }
        };
        let target = self.last.target().unwrap_or(1);
        // A stream that stands still may be answered in other ways.
        let still = waited >= Duration::from_secs(u64::try_from(target).unwrap_or(1));
        if reply.status != 200 {
            self.ledger.judge(37, still, at, || format!("answered with {}", reply.status));
            return false;
        }
        let now = read(&mut self.ledger, &reply, Kind::Blocking);
        let came = now.ended || now.next_part() > (number, index);
        if came || !still {
            self.ledger.judge(37, came, at, || format!("the answer ends before part {number}.{index}"));
        }
        sequence::judge(&mut self.ledger, reload.as_str(), &self.last, &now);
        for report in &now.reports {
            let url = report.attributes.get("URI").and_then(|uri| self.url.join(uri).ok());
            if let Some(known) = url.and_then(|url| known.get(url.path()).copied()) {
                together::judge_report(&mut self.ledger, reload.as_str(), report, known);
            }
        }
        self.last = now;
        self.note();
        self.media(hint.as_deref(), part).await;
        came
    }

    fn note(&mut self) {
        let newest = self.last.segments.iter().rev().find(|segment| !segment.parts.is_empty());
        if let Some(segment) = newest {
            let part = segment.parts.len().saturating_sub(1) as u64;
            self.newest.lock().insert(self.url.path().to_owned(), (segment.number, part));
        }
    }

    /// Loads and judges what is new; the hinted part has been loaded.
    async fn media(&mut self, hint: Option<&str>, loaded: Option<anyhow::Result<Reply>>) {
        let mut loaded = loaded;
        let segments = self.last.segments.clone();
        let (first, expected) = self.next;
        for segment in segments.iter().filter(|segment| segment.number >= first) {
            self.init(&segments, segment).await;
            let skip = if segment.number == first { expected } else { 0 };
            for (index, part) in segment.parts.iter().enumerate().skip(skip) {
                if segment.discontinuity && index == 0 {
                    self.before = None;
                }
                let reply = match loaded.take_if(|_| hint == Some(part.uri.as_str())) {
                    Some(Ok(reply)) => {
                        self.ledger.judge(31, reply.status == 200 || part.gap, At::whole(&reply.url), || {
                            format!("hinted, listed, and answered with {}", reply.status)
                        });
                        Some(reply)
                    }
                    Some(Err(error)) => {
                        self.ledger
                            .judge(31, false, At::whole(&part.uri), || format!("no answer: {error:#}"));
                        None
                    }
                    None => self.load(&part.uri, part.gap).await,
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

    async fn load(&mut self, uri: &str, gap: bool) -> Option<Reply> {
        if gap {
            return None;
        }
        let url = self.url.join(uri).ok()?;
        let reply = self.fetch.get(&url, &[]).await;
        let ok = reply.as_ref().is_ok_and(|reply| reply.status == 200);
        self.ledger.judge(25, ok, At::whole(url.as_str()), || match &reply {
            Ok(reply) => format!("listed, and answered with {}", reply.status),
            Err(error) => format!("no answer: {error:#}"),
        });
        let reply = reply.ok()?;
        self.ledger.judge(65, !(300..400).contains(&reply.status), At::whole(url.as_str()), || {
            "a redirect of media".into()
        });
        Some(reply)
    }

    fn part(&mut self, segment: &Segment, index: usize, part: &Part, reply: Option<Reply>) {
        let before = self.before.take();
        let Some(reply) = reply.filter(|reply| reply.status == 200) else { return };
        answers::judge(&mut self.ledger, &reply, Kind::Media, self.last.target().unwrap_or(1));
        let held = self.parts.entry(segment.number).or_default();
        if held.len() == index {
            held.push(reply.body.clone());
        }
        if let (Some(track), Some(micros)) = (&self.track, part.duration) {
            let said = Said { micros, independent: part.independent, before };
            self.before = boxes::judge_part(&mut self.ledger, &reply.url, &reply.body, track, said);
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
        if let Some(reply) = self.load(map, false).await.filter(|reply| reply.status == 200) {
            answers::judge(&mut self.ledger, &reply, Kind::Media, self.last.target().unwrap_or(1));
            self.track = boxes::judge_init(&mut self.ledger, &reply.url, &reply.body);
        }
    }

    /// A segment that is complete, where all of its parts were seen.
    async fn whole(&mut self, segment: &Segment) {
        let Some(parts) = self.parts.remove(&segment.number) else { return };
        if parts.len() != segment.parts.len() || segment.gap {
            return;
        }
        let Some(uri) = &segment.uri else { return };
        let Some(reply) = self.load(uri, false).await.filter(|reply| reply.status == 200) else { return };
        answers::judge(&mut self.ledger, &reply, Kind::Media, self.last.target().unwrap_or(1));
        boxes::judge_concatenation(&mut self.ledger, &reply.url, &reply.body, &parts);
        let micros = u64::try_from(segment.length()).unwrap_or(0);
        let rate = (reply.body.len() as u64 * 8_000_000).checked_div(micros);
        self.peak = self.peak.max(rate.unwrap_or(0));
    }
}

/// A playlist out of an answer, judged by itself.
pub(crate) fn read(ledger: &mut Ledger, reply: &Reply, kind: Kind) -> Media {
    let text = String::from_utf8_lossy(&reply.body);
    let found = Media::parse(&text);
    media::judge(ledger, &reply.url, &found);
    answers::judge(ledger, reply, kind, found.target().unwrap_or(1));
    found
}
