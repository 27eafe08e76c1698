//! The WHEP routes: `POST /whep/{feed}` begins a session, `PATCH` trickles or restarts ICE, `DELETE` ends it
//! (draft-ietf-wish-whep, with RFC 9725 where it says the same). `?playout=` at the POST is ours: what that viewer's
//! player is asked to optimise; `?rid=`: which encoding of the picture it gets, where the publisher sends several; and `?viewer=`: who it is,
//! where it has joined (`POST /v1/feeds/{feed}/viewers`).

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{patch, post};
use bicast_shared::auth::{Act, Grant, Refusal as Refused};
use bicast_shared::clock;
use bicast_shared::feed::info::{FeedInfo, FeedState};
use bicast_shared::id::{FeedId, RenditionId};
use bicast_shared::media::TrackKind;
use bicast_shared::problem::Problem;
use bicast_shared::status::Place;
use tokio::sync::{mpsc, oneshot};

use crate::core::answer::{self, LocalEnd, Refusal, Wishes};
use crate::core::fragment::Fragment;
use crate::core::sdp::Offer;
use crate::http::{
    SDP, SDP_FRAGMENT, bad_fragment, bad_offer, etag, if_match, nothing_to_restart, other_ice_session,
    random_name, read_text, request_host, unknown_session, with_ice_servers,
};
use crate::port::Owner;
use crate::shared::Shared;
use crate::worker::Joining;
use crate::worker::run::Command;
use crate::worker::seat::{Evicted, Full, Seats, Session};
use bicast_shared::feed::settings::Playout;

/// The viewers' door.
#[derive(Clone)]
pub(crate) struct Whep {
    pub(crate) shared: Arc<Shared>,
    pub(crate) seats: Seats,
    /// One per worker.
    pub(crate) workers: Arc<[mpsc::Sender<Command>]>,
}

/// The WHEP routes.
pub(crate) fn router(whep: Whep) -> Router {
    Router::new()
        .route("/whep/{feed}", post(watch).options(options))
        .route("/whep/{feed}/{session}", patch(trickle).delete(leave))
        .with_state(whep)
}

async fn options(State(whep): State<Whep>) -> Response {
    let headers = [(HeaderName::from_static("accept-post"), SDP), (header::ALLOW, "POST, OPTIONS")];
    let response = (StatusCode::NO_CONTENT, headers).into_response();
    // Here as well for clients that must know before they make their offer (RFC 9725, 4.6).
    with_ice_servers(response, &whep.shared.config.ice_servers)
}

async fn watch(
    State(whep): State<Whep>,
    Path(feed): Path<String>,
    RawQuery(query): RawQuery,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let query = query.as_deref().unwrap_or_default();
    let asked_playout = playout(query)?;
    let label = viewer(query)?;
    let id: FeedId = feed.parse().map_err(|error| Problem::bad_feed_id(&error))?;
    let feed = whep.shared.bus.feed(&id).ok_or_else(|| Problem::unknown_feed(&feed))?;
    let info = feed.info();
    if info.state == FeedState::Ended {
        return Err(Problem::unknown_feed(id.as_str()));
    }
    let text = read_text(&headers, SDP, body).await?;
    let offer = Offer::parse(&text).map_err(|error| bad_offer(&error))?;
    if info.tracks.is_empty() {
        let detail = format!("The feed {id} has no tracks yet.");
        return Err(Problem::new(503, "feed-starting", "The feed is starting", detail)
            .hint("Try again in a second.")
            .with("feed", id.as_str()));
    }
    let playout = asked_playout.unwrap_or(info.settings.playout);
    let wishes = Wishes { playout, rendition: rendition(query, &info)? };
    let agreement = answer::negotiate(&offer, &info, wishes, rand::random::<u32>)
        .map_err(|refusal| refused(&id, refusal))?;
    if whep.shared.closing.is_cancelled() {
        return Err(no_room("closing", "This server is going down."));
    }
    // Asked behind the body, which may take its time: what is allowed now may not be then.
    let place = match whep.shared.door.get() {
        Some(door) => door.may_begin(&id, label.as_deref()).map_err(|problem| *problem)?,
        None => Place::default(),
    };

    for track in agreement.tracks.iter().filter(|track| track.codec.kind() == TrackKind::Video) {
        feed.expect_join(clock::now(), track.key);
    }

    let (session, ufrag, pwd) = (random_name(24), random_name(12), random_name(32));
    let tag = etag(&ufrag);
    let worker = whep.seats.least_loaded(whep.workers.len());
    let taken = whep.seats.take(
        clock::now(),
        &whep.shared.config.limits,
        session.clone(),
        Session {
            feed: id.clone(),
            worker,
            etag: tag.clone(),
            remote_ufrag: agreement.remote_ufrag.clone(),
            grant: grant.map(|Extension(grant)| grant),
            label: label.clone(),
        },
    );
    let (mut seat, evicted) = match taken {
        Ok(taken) => taken,
        Err(Full::Viewers) => {
            return Err(no_room("too-many-viewers", "As many viewers are here as the settings allow."));
        }
        Err(Full::Handshakes) => {
            return Err(no_room("too-many-joins", "Too many viewers are joining at the moment."));
        }
        Err(Full::Viewer(most)) => {
            let refusal = Refused::Viewers(most);
            refusal.count(Act::WatchRealtime);
            return Ok(refusal.into_response());
        }
    };
    seat.keep(place);
    for Evicted { id, worker } in evicted {
        if let Some(worker) = whep.workers.get(worker) {
            let _ = worker.send(Command::Evict { session: id }).await;
        }
    }
    let candidates = whep.shared.port.candidates(request_host(&headers));
    let end = LocalEnd {
        session: rand::random::<u64>() >> 2,
        ufrag: &ufrag,
        pwd: &pwd,
        fingerprint: &whep.shared.identity.fingerprint,
        candidates: &candidates,
        stream: id.as_str(),
    };
    let answer = answer::write(&offer, &agreement, &end);
    let registration = whep.shared.port.register(&ufrag, Owner::Worker(worker));
    let joining = Joining {
        id: session.clone(),
        feed,
        agreement,
        ufrag: ufrag.clone(),
        pwd,
        registration,
        seat,
        label,
    };
    // The worker must know the viewer before its first check can come.
    whep.ask(worker, |done| Command::Join(Box::new(joining), done))
        .await
        .ok_or_else(|| no_room("closing", "This server is going down."))?;
    tracing::debug!(%session, feed = %id, worker, "viewer joins");

    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, format!("/whep/{id}/{session}")),
        (header::ETAG, tag),
        (HeaderName::from_static("accept-patch"), SDP_FRAGMENT.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let response = (StatusCode::CREATED, headers, answer).into_response();
    Ok(with_ice_servers(response, &whep.shared.config.ice_servers))
}

async fn trickle(
    State(whep): State<Whep>,
    Path((feed, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = whep.session(&feed, &id).ok_or_else(|| unknown_session(&id))?;
    let text = read_text(&headers, SDP_FRAGMENT, body).await?;
    let if_match = if_match(&headers)?;
    let fragment = Fragment::parse(&text).map_err(|error| bad_fragment(&error))?;
    match (if_match, fragment.restarts(&session.remote_ufrag)) {
        ("*", Some(ufrag)) => whep.restart(&id, &session, &fragment, ufrag, &headers).await,
        ("*", None) => Err(nothing_to_restart()),
        (tag, None) if tag == session.etag => Ok(StatusCode::NO_CONTENT.into_response()),
        (_, Some(_)) => Ok(other_ice_session(&session.etag, "Send If-Match: * to restart ICE.")),
        (_, None) => Ok(other_ice_session(&session.etag, "Use the ETag of the last answer.")),
    }
}

async fn leave(
    State(whep): State<Whep>,
    Path((feed, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let session = whep.session(&feed, &id).ok_or_else(|| unknown_session(&id))?;
    // False or none means that it ended by itself meanwhile: what was asked for is so.
    let _ = whep.ask(session.worker, |done| Command::Leave { session: id, done }).await;
    Ok(StatusCode::OK.into_response())
}

impl Whep {
    /// Ends sessions whose viewers' rights have ended, and tells how many.
    pub(crate) async fn end(&self, ended: impl Fn(&Grant) -> bool) -> u64 {
        self.end_those(|session| session.grant.as_ref().is_some_and(|grant| ended(grant))).await
    }

    /// Ends the sessions of a viewer by the name that they came under, and tells how many.
    pub(crate) async fn end_named(&self, viewer: &str) -> u64 {
        self.end_those(|session| session.label.as_deref() == Some(viewer)).await
    }

    async fn end_those(&self, meant: impl Fn(&Session) -> bool) -> u64 {
        let mut count = 0;
        for (session, worker) in self.seats.which(meant) {
            let here = self.ask(worker, |done| Command::Leave { session, done }).await;
            count += u64::from(here == Some(true));
        }
        count
    }

    fn session(&self, feed: &str, id: &str) -> Option<Session> {
        self.seats.get(id).filter(|session| session.feed.as_str() == feed)
    }

    async fn restart(
        &self,
        id: &str,
        session: &Session,
        fragment: &Fragment,
        remote_ufrag: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let (ufrag, pwd) = (random_name(12), random_name(32));
        let registration = self.shared.port.register(&ufrag, Owner::Worker(session.worker));
        let here = self
            .ask(session.worker, |done| Command::Restart {
                session: id.to_owned(),
                registration,
                ufrag: ufrag.clone(),
                pwd: pwd.clone(),
                remote_ufrag: remote_ufrag.to_owned(),
                done,
            })
            .await;
        if here != Some(true) {
            return Err(unknown_session(id));
        }
        let tag = etag(&ufrag);
        self.seats.restarted(id, &tag, remote_ufrag);
        let answer = fragment.answer(&ufrag, &pwd, &self.shared.port.candidates(request_host(headers)));
        let headers = [(header::CONTENT_TYPE, SDP_FRAGMENT.to_owned()), (header::ETAG, tag)];
        Ok((StatusCode::OK, headers, answer).into_response())
    }

    /// Sends a command to a worker and waits for its answer; none when the worker is closed.
    async fn ask<T>(&self, worker: usize, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.workers.get(worker)?.send(command(done)).await.ok()?;
        answer.await.ok()
    }
}

/// The value of a parameter of a query.
fn asked<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name).map(|pair| pair.1)
}

/// The encoding of the picture that a request asks for by the publisher's name for it (`?rid=h`), if it does.
#[expect(clippy::result_large_err, reason = "a problem is made once a request, at its end")]
fn rendition(query: &str, info: &FeedInfo) -> Result<Option<RenditionId>, Problem> {
    let Some(asked) = asked(query, "rid") else { return Ok(None) };
    let renditions =
        info.track(TrackKind::Video).map(|track| track.renditions.as_slice()).unwrap_or_default();
    let known = renditions.iter().find(|rendition| rendition.rid.as_deref() == Some(asked));
    let rids: Vec<_> = renditions.iter().filter_map(|rendition| rendition.rid.clone()).collect();
    known.map(|rendition| Some(rendition.id)).ok_or_else(|| {
        let shown: String = asked.chars().take(40).collect();
        let detail = format!("The feed {} has no encoding {shown:?} of its picture.", info.id);
        Problem::new(404, "unknown-rid", "Unknown encoding", detail)
            .hint("Leave rid out for the best one that the publisher sends now.")
            .with("feed", info.id.as_str())
            .with("rids", rids)
    })
}

/// The viewer's name that a request comes under (`?viewer=ID`), if it does.
#[expect(clippy::result_large_err, reason = "a problem is made once a request, at its end")]
fn viewer(query: &str) -> Result<Option<Arc<str>>, Problem> {
    let Some(name) = asked(query, "viewer") else { return Ok(None) };
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits {
        return Ok(Some(name.into()));
    }
    Err(Problem::new(400, "bad-viewer", "Bad viewer", "A viewer's id is 1 to 64 letters and digits.")
        .hint("Use the address that POST /v1/feeds/{feed}/viewers gave, or leave viewer out."))
}

/// The playout mode that a request asks for (`?playout=lip-sync`), if it asks for one.
#[expect(clippy::result_large_err, reason = "a problem is made once a request, at its end")]
fn playout(query: &str) -> Result<Option<Playout>, Problem> {
    let Some(asked) = asked(query, "playout") else { return Ok(None) };
    let known = Playout::ALL.into_iter().find(|mode| mode.name() == asked);
    known.map(Some).ok_or_else(|| {
        let names = Playout::ALL.map(Playout::name);
        let shown: String = asked.chars().take(40).collect();
        let detail = format!("There is no playout mode {shown:?}.");
        Problem::new(400, "unknown-playout", "Unknown playout mode", detail)
            .hint(format!("Use one of {}, or leave playout out.", names.join(", ")))
            .with("accepted", names.to_vec())
    })
}

fn no_room(kind: &str, detail: &str) -> Problem {
    Problem::new(503, kind, "No room for a viewer", detail)
        .hint("Watch over HLS (GET /hls/{feed}/multivariant.m3u8), or try again later.")
}

fn refused(feed: &FeedId, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Broken(why) => bad_offer(&why),
        Refusal::Unusable { why, offered, accepted } => {
            let detail = format!("Nothing of the feed {feed} can be sent to this offer: {why}.");
            Problem::new(406, "no-usable-codec", "No usable codec", detail)
                .hint("Offer what the feed has, or watch it over HLS.")
                .with("offered", offered)
                .with("accepted", accepted)
        }
    }
}
