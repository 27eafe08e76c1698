//! The WHIP routes: `POST /whip/{feed}` begins a session, `PATCH` trickles or restarts ICE, `DELETE` ends it.
//!
//! A feed has one session, from the POST on, and may have a second one that stands by (`?standby=true`) to take over from
//! it at a keyframe. The feed itself begins when the first one's handshake is complete.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{patch, post};
use bicast_shared::auth::Grant;
use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use bicast_shared::time::ProgramTime;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::config::IngestConfig;
use super::core::answer::{self, BitrateHints, Local};
use super::core::negotiate::{self, Negotiation, Refusal};
use super::session::{Command, INBOX, Patched, Session};
use super::transport::Transport;
use crate::core::fragment::Fragment;
use crate::core::ice::Credentials;
use crate::core::sdp::Offer;
use crate::http::{
    SDP, SDP_FRAGMENT, bad_fragment, bad_offer, etag, if_match, nothing_to_restart, other_ice_session,
    random_name, read_text, request_host, unknown_session, with_ice_servers,
};
use crate::port::Owner;
use crate::shared::Shared;

/// Commands waiting for a session: requests beyond wait for their turn.
const COMMANDS: usize = 16;
/// User agents are kept up to this length.
const MAX_AGENT: usize = 200;

/// The WHIP routes.
pub(crate) fn router(whip: Whip) -> Router {
    Router::new()
        .route("/whip/{feed}", post(publish).options(options))
        .route("/whip/{feed}/{session}", patch(trickle).delete(leave))
        .with_state(whip)
}

/// Who publishes what.
#[derive(Clone)]
pub(crate) struct Whip {
    shared: Arc<Shared>,
    settings: IngestConfig,
    live: Arc<Mutex<Sessions>>,
}

/// Sessions by feed, at most [`MOST_OF_A_FEED`] of each.
type Sessions = HashMap<FeedId, Vec<Live>>;

/// The publisher and who stands by.
const MOST_OF_A_FEED: usize = 2;

/// A session of a feed.
struct Live {
    id: String,
    since: ProgramTime,
    commands: mpsc::Sender<Command>,
    /// What its publisher may do, and until when; none where everybody may.
    grant: Option<Arc<Grant>>,
}

/// A session's place on its feed. Dropping it gives it up.
struct Place {
    live: Arc<Mutex<Sessions>>,
    feed: FeedId,
    id: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = self.live.lock();
        if let Some(sessions) = live.get_mut(&self.feed) {
            sessions.retain(|session| session.id != self.id);
            if sessions.is_empty() {
                live.remove(&self.feed);
            }
        }
        gauge(&live);
    }
}

fn gauge(live: &Sessions) {
    let publishers = live.values().map(Vec::len).sum::<usize>();
    metrics::gauge!("bicast_publishers").set(f64::from(u32::try_from(publishers).unwrap_or(u32::MAX)));
}

/// What a POST may ask for in its query.
#[derive(Debug, Default, serde::Deserialize)]
struct Wish {
    /// To wait where the feed has a publisher, and to take over from it at a keyframe: when it leaves, when it has been
    /// silent for a second, or when `POST /v1/feeds/{id}/takeover` says so.
    #[serde(default)]
    standby: bool,
}

async fn options(State(whip): State<Whip>) -> Response {
    let headers = [(HeaderName::from_static("accept-post"), SDP), (header::ALLOW, "POST, OPTIONS")];
    let response = (StatusCode::NO_CONTENT, headers).into_response();
    // Here as well for clients that must know before they make their offer (RFC 9725, 4.6).
    with_ice_servers(response, &whip.shared.config.ice_servers)
}

async fn publish(
    State(whip): State<Whip>,
    Path(feed): Path<String>,
    wish: Result<Query<Wish>, QueryRejection>,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let feed: FeedId = feed.parse().map_err(|error| Problem::bad_feed_id(&error))?;
    let Query(wish) = wish.map_err(|error| {
        Problem::new(400, "bad-query", "Bad query", error.body_text()).hint("standby is true or false.")
    })?;
    let text = read_text(&headers, SDP, body).await?;
    let offer = Offer::parse(&text).map_err(|error| bad_offer(&error))?;
    let known = whip.shared.bus.feed(&feed).map(|feed| feed.info().tracks.clone()).unwrap_or_default();
    let decided =
        negotiate::negotiate(&offer, &known, whip.settings.simulcast).map_err(|refusal| refused(&refusal))?;
    let session_id = random_name(24);
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let since = clock::utc();
    let grant = grant.map(|Extension(grant)| grant);
    let live = Live { id: session_id.clone(), since, commands, grant };
    let (place, may_wait) = whip.take_place(&feed, live, wish.standby)?;

    let local = Local {
        session_id: rand::random::<u64>() >> 2,
        ufrag: random_name(12),
        pwd: random_name(32),
        fingerprint: whip.shared.identity.fingerprint.clone(),
        candidates: whip.shared.port.candidates(request_host(&headers)),
    };
    let hint = |kbps: u32| Some(kbps).filter(|kbps| *kbps > 0);
    let hints = BitrateHints {
        start_kbps: hint(whip.settings.start_bitrate_kbps),
        min_kbps: hint(whip.settings.min_bitrate_kbps),
        max_kbps: hint(whip.settings.max_bitrate_kbps),
    };
    let answer = answer::answer(&decided, &local, hints);
    let location = format!("/whip/{feed}/{session_id}");
    let tag = etag(&local.ufrag);
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.map(|agent| agent.chars().take(MAX_AGENT).collect());
    whip.begin(feed, place, may_wait, since, agent, decided, local, command_queue);

    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, tag),
        (HeaderName::from_static("accept-patch"), SDP_FRAGMENT.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let response = (StatusCode::CREATED, headers, answer).into_response();
    Ok(with_ice_servers(response, &whip.shared.config.ice_servers))
}

async fn trickle(
    State(whip): State<Whip>,
    Path((feed, session)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let commands = whip.session(&feed, &session)?;
    let text = read_text(&headers, SDP_FRAGMENT, body).await?;
    let if_match = if_match(&headers)?.to_owned();
    let fragment = Fragment::parse(&text).map_err(|error| bad_fragment(&error))?;
    let (reply, answer) = oneshot::channel();
    let gone = |_| unknown_session(&session);
    commands
        .send(Command::Patch { fragment, if_match, reply })
        .await
        .map_err(|_| unknown_session(&session))?;
    match answer.await.map_err(gone)? {
        Patched::Trickled => Ok(StatusCode::NO_CONTENT.into_response()),
        Patched::Restarted { fragment, etag } => {
            let headers = [(header::CONTENT_TYPE, SDP_FRAGMENT.to_owned()), (header::ETAG, etag)];
            Ok((StatusCode::OK, headers, fragment).into_response())
        }
        Patched::Mismatch { etag } => Ok(other_ice_session(&etag, "Use the ETag of the last answer.")),
        Patched::NothingNew => Err(nothing_to_restart()),
    }
}

async fn leave(
    State(whip): State<Whip>,
    Path((feed, session)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let commands = whip.session(&feed, &session)?;
    let (reply, gone) = oneshot::channel();
    commands.send(Command::Leave { reply }).await.map_err(|_| unknown_session(&session))?;
    // An error means that it ended by itself meanwhile: what was asked for is so.
    let _ = gone.await;
    Ok(StatusCode::OK.into_response())
}

#[expect(clippy::result_large_err, reason = "a problem is made once a request, at its end")]
impl Whip {
    /// Nobody publishes yet.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let settings = shared.config.ingest.clone();
        Self { shared, settings, live: Arc::default() }
    }

    /// Ends sessions whose publishers' rights have ended, and tells how many.
    pub(crate) async fn end(&self, ended: impl Fn(&Grant) -> bool) -> u64 {
        let ended = |session: &Live| session.grant.as_ref().is_some_and(|grant| ended(grant));
        let found: Vec<_> = {
            let live = self.live.lock();
            live.values()
                .flatten()
                .filter(|session| ended(session))
                .map(|live| live.commands.clone())
                .collect()
        };
        let mut count = 0;
        for commands in found {
            let (reply, gone) = oneshot::channel();
            if commands.send(Command::Leave { reply }).await.is_ok() {
                let _ = gone.await;
                count += 1;
            }
        }
        count
    }

    /// Takes a place on the feed and tells whether the session waits behind another publisher there; or tells who has it.
    /// Nobody has to ask for a place behind a publisher that has gone silent: it is most likely the same one, restarted.
    fn take_place(&self, feed: &FeedId, session: Live, standby: bool) -> Result<(Place, bool), Problem> {
        if self.shared.closing.is_cancelled() {
            return Err(busy("closing", "This server is going down."));
        }
        let mut live = self.live.lock();
        let on_bus = self.shared.bus.feed(feed);
        let publisher = on_bus.as_ref().and_then(|feed| feed.info().publisher.clone());
        let silent = publisher.is_some() && on_bus.is_some_and(|feed| feed.is_silent());
        let sessions = live.get(feed).map_or(&[][..], Vec::as_slice);
        let taken = sessions.first().map(|session| session.since).or(publisher.map(|p| p.since));
        let may_wait = standby || silent;
        if let Some(since) = taken.filter(|_| !may_wait) {
            let since = since.rfc3339();
            let detail = format!("The feed {feed} has been published by somebody else since {since}.");
            return Err(Problem::new(409, "feed-taken", "The feed has a publisher", detail)
                .hint(
                    "End that session (DELETE /v1/feeds/{id}), publish under another name, or wait behind it with \
                     ?standby=true.",
                )
                .with("feed", feed.as_str())
                .with("since", since));
        }
        if sessions.len() >= MOST_OF_A_FEED {
            let detail = format!("The feed {feed} has a publisher and another one that stands by.");
            return Err(Problem::new(409, "standby-taken", "Somebody stands by already", detail)
                .hint("End one of the two sessions (DELETE its Location).")
                .with("feed", feed.as_str()));
        }
        if live.values().map(Vec::len).sum::<usize>() >= self.settings.publishers {
            return Err(busy("too-many-publishers", "As many publishers are here as the settings allow."));
        }
        let id = session.id.clone();
        live.entry(feed.clone()).or_default().push(session);
        gauge(&live);
        Ok((Place { live: self.live.clone(), feed: feed.clone(), id }, may_wait))
    }

    #[expect(clippy::too_many_arguments, reason = "everything a session is made of, once")]
    fn begin(
        &self,
        feed: FeedId,
        place: Place,
        may_wait: bool,
        since: ProgramTime,
        agent: Option<String>,
        decided: Negotiation,
        local: Local,
        commands: mpsc::Receiver<Command>,
    ) {
        let credentials = Credentials::new(&local.ufrag, &local.pwd, &decided.ufrag);
        let transport = Transport::new(credentials, decided.fingerprint.clone());
        let inbox = mpsc::channel(INBOX);
        let registration = self.shared.port.register(&local.ufrag, Owner::Peer(inbox.0.clone()));
        let session = Session {
            shared: self.shared.clone(),
            settings: self.settings.clone(),
            feed,
            agent,
            since,
            may_wait,
            decided,
            local,
            transport,
            registration,
            inbox,
            commands,
        };
        self.shared.tasks.spawn(session.run(place));
    }

    fn session(&self, feed: &str, session: &str) -> Result<mpsc::Sender<Command>, Problem> {
        let feed: FeedId = feed.parse().map_err(|error| Problem::bad_feed_id(&error))?;
        let live = self.live.lock();
        let found = live.get(&feed).into_iter().flatten().find(|live| live.id == session);
        found.map(|live| live.commands.clone()).ok_or_else(|| unknown_session(session))
    }
}

fn busy(kind: &str, detail: &str) -> Problem {
    Problem::new(503, kind, "No room for a publisher", detail).hint("Try again later.")
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::NoCodec { offered, accepted, .. } => Problem::new(
            406,
            "no-usable-codec",
            "No usable codec",
            format!("The offer cannot be used: {refusal}."),
        )
        .hint(format!("Offer one of {}.", accepted.join(", ")))
        .with("offered", offered.clone())
        .with("accepted", accepted.to_vec()),
        Refusal::Aac(_) => Problem::new(
            406,
            "no-usable-codec",
            "No usable codec",
            format!("The offer cannot be used: {refusal}."),
        )
        .hint("Offer Opus, or AAC-LC as mode=AAC-hbr of RFC 3640."),
        _ => bad_offer(refusal),
    }
}
