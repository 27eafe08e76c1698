//! The routes under `/hls`. Every answer comes from a snapshot; a request that has to wait waits for the next one, holding
//! no lock.

mod answer;
mod files;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use bicast_shared::auth::Unnamed;
use bicast_shared::client::Client;
use bicast_shared::clock;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use tokio::sync::watch;

use crate::core::playlist::{MediaRequest, Shape};
use crate::core::reload::{BadDirective, Directives, Readiness, readiness};
use crate::core::snapshot::{FeedSnapshot, RenditionMedia, RenditionSnapshot};
use crate::dvr::Error;
use crate::http::answer::{Age, failed, media_file, moved, playlist, targets};
use crate::http::files::{FileName, Found, find};
use crate::store::{FeedEntry, Published, Store};

/// While a publisher is away, a blocked playlist request is answered after this part of a target duration with what there
/// is: hls.js gives one up after 0.8 of it (or three part targets) and counts that as an error.
const AWAY_HOLD: f64 = 0.6;
/// A feed that is on the bus has its entry within this time.
const ENTRY_WAIT: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct App {
    bus: FeedBus,
    store: Arc<Store>,
}

pub(crate) fn router(bus: FeedBus, store: Arc<Store>) -> Router<()> {
    Router::new()
        .route("/hls/{feed}/multivariant.m3u8", get(multivariant))
        .route("/hls/{feed}/standard.m3u8", get(standard_multivariant))
        .route("/hls/{feed}/{rendition}/media.m3u8", get(current_media))
        .route("/hls/{feed}/{rendition}/{instance}/media.m3u8", get(media))
        .route("/hls/{feed}/{rendition}/{instance}/standard.m3u8", get(standard))
        .route("/hls/{feed}/{rendition}/{instance}/iframes.m3u8", get(iframes))
        .route("/hls/{feed}/{rendition}/{instance}/standard-iframes.m3u8", get(standard_iframes))
        .route("/hls/{feed}/{rendition}/{instance}/{file}", get(file))
        .with_state(App { bus, store })
}

impl App {
    async fn entry(&self, feed: &str) -> Result<(FeedId, Arc<FeedEntry>), Problem> {
        let named = self.store.classes.read(feed).map_err(|error| match error {
            Unnamed::Id(error) => Problem::bad_feed_id(&error),
            Unnamed::Space(id) => Problem::unknown_feed(id.as_str()),
        })?;
        let id = named.feed;
        let deadline = clock::now() + ENTRY_WAIT;
        loop {
            let entry = if named.class.is_some() { self.store.late(feed) } else { self.store.feed(&id) };
            if let Some(entry) = entry {
                return Ok((id, entry));
            }
            if self.bus.feed(&id).is_none() || clock::now() >= deadline {
                return Err(Problem::unknown_feed(id.as_str()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a starting feed can be played.
    async fn playable(&self, feed: &str) -> Result<(Arc<FeedEntry>, Arc<Published>), Response> {
        let (id, entry) = self.entry(feed).await.map_err(|problem| failed(problem, 1, Age::Plain))?;
        let published = self.starts(&id, &entry).await?;
        Ok((entry, published))
    }

    /// The playlists of one instance of a feed; waits for those that are about to begin.
    async fn instance(
        &self,
        feed: &str,
        instance: &str,
    ) -> Result<(Arc<FeedEntry>, Arc<Published>), Response> {
        let (id, entry) = self.entry(feed).await.map_err(|problem| failed(problem, 1, Age::Plain))?;
        if let Some(known) = entry.instance(instance)
            && known.snapshot.playable()
        {
            return Ok((entry, known));
        }
        let current = entry.published.borrow().snapshot.instance.clone();
        if current.is_empty() || current == instance {
            self.starts(&id, &entry).await?;
        }
        match entry.instance(instance) {
            Some(found) => Ok((entry, found)),
            None => Err(gone(feed, &entry)),
        }
    }

    async fn starts(&self, id: &FeedId, entry: &Arc<FeedEntry>) -> Result<Arc<Published>, Response> {
        let mut watch = entry.published.subscribe();
        let deadline = clock::now() + self.store.config.start_wait();
        let mut place = None;
        loop {
            let published = watch.borrow_and_update().clone();
            let snapshot = &published.snapshot;
            if snapshot.playable() {
                return Ok(published);
            }
            if let Some(problem) = hopeless(id, snapshot) {
                return Err(failed(problem, 1, Age::Plain));
            }
            if place.is_none() {
                place = Some(self.store.wait(entry).ok_or_else(|| failed(busy(), 1, Age::Retry(1)))?);
            }
            if clock::now() >= deadline {
                return Err(failed(starting(id), 1, Age::Retry(1)));
            }
            changed(&mut watch, deadline).await;
        }
    }
}

/// Waits for the next snapshot, or the deadline. The caller looks at both: snapshots that do not help may come for ever.
async fn changed(watch: &mut watch::Receiver<Arc<Published>>, deadline: std::time::Instant) {
    // The sender lives in the entry that the caller holds: there is always somebody to wait for.
    let _ = tokio::time::timeout_at(deadline.into(), watch.changed()).await;
}

async fn multivariant(
    State(app): State<App>,
    Path(feed): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    count("multivariant");
    variants(&app, &feed, query.as_deref(), &headers, false).await
}

/// For players that know whole segments only.
async fn standard_multivariant(
    State(app): State<App>,
    Path(feed): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    count("multivariant_standard");
    variants(&app, &feed, query.as_deref(), &headers, true).await
}

async fn variants(
    app: &App,
    feed: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    standard: bool,
) -> Response {
    let directives = match Directives::parse(query.unwrap_or_default()) {
        Ok(directives) => directives,
        Err(error) => return failed(bad_directive(error), 1, Age::Plain),
    };
    match app.playable(feed).await {
        Ok((_, published)) => {
            let text = published.multivariant(standard, &directives.rest);
            playlist(headers, &text, targets(&published.snapshot), Age::Plain)
        }
        Err(response) => response,
    }
}

/// The playlist of the feed as it is now has another address, which tells its lives apart: caches keep the answers to
/// blocking reloads for long, and a player must not meet those of a feed that ended and began again.
async fn current_media(
    State(app): State<App>,
    Path((feed, rendition)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let mut directives = match Directives::parse(&query) {
        Ok(directives) => directives,
        Err(error) => return failed(bad_directive(error), 1, Age::Plain),
    };
    count("media_current");
    let published = match app.playable(&feed).await {
        Ok((_, published)) => published,
        Err(response) => return response,
    };
    let (snapshot, target) = (&published.snapshot, targets(&published.snapshot));
    let Some(listed) = snapshot.rendition(&rendition) else {
        return failed(unknown_rendition(&feed, &rendition), target, Age::Plain);
    };
    directives.settle(listed);
    if let Readiness::Bad(error) = readiness(snapshot, listed, &directives) {
        return failed(bad_directive(error), target, Age::Stale);
    }
    let query = if query.is_empty() { query } else { format!("?{query}") };
    moved(&format!("{}/media.m3u8{query}", snapshot.instance))
}

async fn media(
    State(app): State<App>,
    Path((feed, rendition, instance)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    who: Client,
) -> Response {
    held(&app, (&feed, &rendition, &instance), query.as_deref(), &headers, Some(&who)).await
}

/// The keyframes of a picture, to seek in it. `_HLS_msn` waits for a whole segment. Who loads it watches nothing yet.
async fn iframes(
    State(app): State<App>,
    Path((feed, rendition, instance)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    held(&app, (&feed, &rendition, &instance), query.as_deref(), &headers, None).await
}

/// A playlist that can be waited for: of all media, or of keyframes where nobody watches.
async fn held(
    app: &App,
    (feed, rendition, instance): (&str, &str, &str),
    query: Option<&str>,
    headers: &HeaderMap,
    who: Option<&Client>,
) -> Response {
    let mut directives = match Directives::parse(query.unwrap_or_default()) {
        Ok(directives) => directives,
        Err(error) => return failed(bad_directive(error), 1, Age::Plain),
    };
    let keyframes = who.is_none();
    count(match (keyframes, directives.blocks()) {
        (true, _) => "iframes",
        (false, true) => "media_blocking",
        (false, false) => "media",
    });
    let (entry, first) = match app.instance(feed, instance).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    let target = targets(&first.snapshot);
    if let Some(who) = who {
        entry.saw_viewer(clock::now(), who.0);
    }
    let pictures = |listed: &&RenditionSnapshot| matches!(listed.media, RenditionMedia::Video { .. });
    let Some(listed) = first.snapshot.rendition(rendition).filter(|listed| !keyframes || pictures(listed))
    else {
        return failed(unknown_rendition(feed, rendition), target, Age::Plain);
    };
    if keyframes {
        // There are no parts: whole segments are waited for.
        directives.part = None;
    } else {
        directives.settle(listed);
    }
    let shape = match (keyframes, directives.skip) {
        (false, false) => Shape::Full,
        (false, true) => Shape::Delta,
        (true, false) => Shape::Keyframes,
        (true, true) => Shape::KeyframesDelta,
    };
    let mut watch = entry.published.subscribe();
    let began = clock::now();
    let hold = Duration::from_secs(u64::from(target) * 3);
    let mut place = None;
    loop {
        watch.mark_unchanged();
        let Some(published) = entry.instance(instance) else { return gone(feed, &entry) };
        let snapshot = &published.snapshot;
        let Some(listed) = snapshot.rendition(rendition) else {
            return failed(unknown_rendition(feed, rendition), target, Age::Plain);
        };
        let respond = |age| {
            let request = MediaRequest { shape, query: &directives.rest };
            match published.media(rendition, request) {
                Some(text) => playlist(headers, &text, target, age),
                None => failed(unknown_rendition(feed, rendition), target, Age::Plain),
            }
        };
        match readiness(snapshot, listed, &directives) {
            Readiness::Ready if directives.blocks() => return respond(Age::Blocking),
            Readiness::Ready => return respond(Age::Plain),
            // Too far ahead is only so for now.
            Readiness::Bad(error) => return failed(bad_directive(error), target, Age::Stale),
            Readiness::Wait => {}
        }
        if place.is_none() {
            place = Some(match app.store.wait(&entry) {
                Some(place) => place,
                None => return failed(busy(), target, Age::Retry(1)),
            });
        }
        let hold = if snapshot.away { Duration::from_secs_f64(f64::from(target) * AWAY_HOLD) } else { hold };
        if clock::now() < began + hold {
            changed(&mut watch, began + hold).await;
            continue;
        }
        // What is asked for did not come in time. While the publisher is away that is nobody's error, and players that count
        // errors (hls.js gives up after three) must be there when it returns: they get what there is.
        if snapshot.away {
            return respond(Age::Stale);
        }
        return failed(not_in_time(target), target, Age::Retry(1));
    }
}

/// Whole segments, for players that know nothing else. Nobody waits for it, and directives mean nothing here.
async fn standard(
    State(app): State<App>,
    Path((feed, rendition, instance)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    who: Client,
) -> Response {
    count("media_standard");
    settled(&app, (&feed, &rendition, &instance), query.as_deref(), &headers, Some(&who)).await
}

/// The keyframes for them.
async fn standard_iframes(
    State(app): State<App>,
    Path((feed, rendition, instance)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    count("iframes_standard");
    settled(&app, (&feed, &rendition, &instance), query.as_deref(), &headers, None).await
}

/// A playlist of what is whole, as it is now: of segments, or of keyframes where nobody watches.
async fn settled(
    app: &App,
    (feed, rendition, instance): (&str, &str, &str),
    query: Option<&str>,
    headers: &HeaderMap,
    who: Option<&Client>,
) -> Response {
    let directives = match Directives::parse(query.unwrap_or_default()) {
        Ok(directives) => directives,
        Err(error) => return failed(bad_directive(error), 1, Age::Plain),
    };
    let (entry, published) = match app.instance(feed, instance).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    if let Some(who) = who {
        entry.saw_viewer(clock::now(), who.0);
    }
    let target = targets(&published.snapshot);
    let shape = if who.is_some() { Shape::Standard } else { Shape::StandardKeyframes };
    match published.media(rendition, MediaRequest { shape, query: &directives.rest }) {
        Some(text) => playlist(headers, &text, target, Age::Plain),
        None => failed(unknown_rendition(feed, rendition), target, Age::Plain),
    }
}

async fn file(
    State(app): State<App>,
    Path((feed, rendition, instance, file)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let (id, entry) = match app.entry(&feed).await {
        Ok(found) => found,
        Err(problem) => return failed(problem, 1, Age::Plain),
    };
    let Some(name) = FileName::parse(&file) else {
        count("unknown_file");
        return failed(unknown_file(&file), 1, Age::Plain);
    };
    count(name.kind());
    let mut watch = entry.published.subscribe();
    let began = clock::now();
    let mut place = None;
    loop {
        watch.mark_unchanged();
        let Some(published) = entry.instance(&instance) else {
            // What begins next can be guessed, too.
            return failed(unknown_file(&file), 1, Age::Stale);
        };
        let snapshot = &published.snapshot;
        let target = targets(snapshot);
        let Some(listed) = snapshot.rendition(&rendition) else {
            return failed(unknown_file(&file), target, Age::Plain);
        };
        match find(snapshot, listed, name) {
            Found::Here(media) => {
                let video = matches!(listed.media, RenditionMedia::Video { .. });
                let kind = if video { "video/mp4" } else { "audio/mp4" };
                let etag = format!("\"{instance}-{rendition}-{file}\"");
                let from = (&id, instance.as_str(), rendition.as_str());
                let (length, body) = (media.length(), async |range| app.store.read(from, media, range).await);
                let answer = media_file(&headers, (kind, &etag, target), length, body).await;
                return answer.unwrap_or_else(|error| unreadable(&file, &error));
            }
            Found::Never => return failed(unknown_file(&file), target, Age::Plain),
            Found::NotYet => return failed(unknown_file(&file), target, Age::Stale),
            Found::Hinted => {}
        }
        if place.is_none() {
            place = Some(match app.store.wait(&entry) {
                Some(place) => place,
                None => return failed(busy(), target, Age::Retry(1)),
            });
        }
        let deadline = began + Duration::from_secs(u64::from(target) * 3);
        if clock::now() >= deadline {
            return failed(not_in_time(target), target, Age::Retry(1));
        }
        changed(&mut watch, deadline).await;
    }
}

fn count(kind: &'static str) {
    metrics::counter!("bicast_hls_requests_total", "kind" => kind).increment(1);
}

fn hopeless(id: &FeedId, snapshot: &FeedSnapshot) -> Option<Problem> {
    if let Some(reason) = snapshot.refused.as_ref().filter(|_| snapshot.renditions.is_empty()) {
        let problem = Problem::new(404, "not-on-hls", "Not on HLS", reason.clone());
        return Some(problem.with("feed", id.as_str()));
    }
    snapshot.ended.then(|| {
        let detail = format!("The feed {:?} ended before anything of it could be played.", id.as_str());
        Problem::new(404, "feed-ended", "Feed ended", detail).with("feed", id.as_str())
    })
}

fn starting(id: &FeedId) -> Problem {
    let detail = format!("The feed {:?} has not sent enough to be played yet.", id.as_str());
    Problem::new(503, "feed-starting", "Feed starting", detail)
        .hint("Ask again in a second. GET /v1/feeds/{feed} says what is missing.")
        .with("feed", id.as_str())
}

fn busy() -> Problem {
    Problem::new(
        503,
        "too-many-waiting",
        "Too many waiting requests",
        "All places for waiting requests are taken.",
    )
    .hint("Ask again in a second, or without _HLS_msn. The setting is packager.max_waiting_requests.")
}

fn not_in_time(target: u32) -> Problem {
    let detail = format!("What was asked for did not come within {} s.", target * 3);
    Problem::new(503, "not-in-time", "Not in time", detail).hint("The publisher may be stalled. Ask again.")
}

fn bad_directive(error: BadDirective) -> Problem {
    Problem::new(400, "bad-directive", "Bad delivery directive", format!("Cannot answer this: {error}."))
        .hint("Ask for the playlist without directives and go on from there.")
}

fn unknown_rendition(feed: &str, rendition: &str) -> Problem {
    let detail = format!("The feed {feed:?} has no rendition {rendition:?}.");
    Problem::new(404, "unknown-rendition", "Unknown rendition", detail)
        .hint("The multivariant playlist names the renditions.")
}

fn gone(feed: &str, entry: &FeedEntry) -> Response {
    let detail = format!("The feed {feed:?} has begun anew since this playlist was named.");
    let problem = Problem::new(404, "unknown-instance", "Unknown instance", detail)
        .hint("Load the multivariant playlist again: it names the playlists of the feed as it is now.");
    // Or it is about to begin: names can be guessed.
    failed(problem, targets(&entry.published.borrow().snapshot), Age::Stale)
}

/// A stored segment that cannot be had: it has just been given up, or the disk has failed.
fn unreadable(file: &str, error: &Error) -> Response {
    if error.is_gone() {
        return failed(unknown_file(file), 1, Age::Plain);
    }
    tracing::warn!(file, %error, "a stored segment cannot be read");
    let detail = format!("{file:?} is stored, and the store cannot give it: {error}.");
    let problem = Problem::new(503, "store-failed", "Store failed", detail)
        .hint("Ask again, or play from the live edge.");
    failed(problem, 1, Age::Retry(1))
}

fn unknown_file(file: &str) -> Problem {
    let detail = format!("There is no {file:?} here: it was never listed, or it has left the window.");
    Problem::new(404, "unknown-media", "Unknown media", detail).hint("Ask for what the media playlist lists.")
}
