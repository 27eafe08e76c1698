//! The routes of viewers: joining, looking, moving, ending, and what players report.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bicast_shared::auth::{Grant, Tier};
use bicast_shared::body::{self, Body};
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use serde::de::DeserializeOwned;

use super::{FeedInPath, Shared, fresh};
use crate::api;
use crate::api::channel::PlayerMessage;
use crate::api::viewers::{Change, Join, Tier as ApiTier};
use crate::core::refusals::{refused, unknown_viewer};
use crate::core::roster::{Arrival, Refused};
use crate::core::viewers::{Filter, PAGE, page, with_sessions};

/// Bytes of a body about a viewer. A long one has some hundreds.
pub(super) const LONGEST_BODY: usize = 4 * 1024;
/// Characters of what a player says it is.
const LONGEST_AGENT: usize = 128;

/// Join a feed
///
/// Tells where this viewer is served and why, and where both paths and its event channel are. The body may be left out. The tier is the
/// token's; where no tokens are wanted it is `vip`, unless the body says `free`. `viewer.id` is as good as a key: who knows it can move and
/// end the viewer. A viewer with no open event channel and no WebRTC session that says nothing for `signaling.viewer_timeout` is forgotten.
#[utoipa::path(
    post, path = "/v1/feeds/{id}/viewers", tag = "viewers", operation_id = "joinFeed",
    params(("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")),
    request_body(content = Option<Join>, description = "About the viewer; may be left out"),
    responses(
        (status = 201, description = "It has joined", body = api::viewers::Joined,
            headers(("Location" = String, description = "The viewer")),
            example = json!(crate::openapi::example("joined"))),
        (status = 400, description = "The id cannot be one, or the body is wrong", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "The token's tier is lower than what was asked for, or its viewer has joined as often as it may", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such feed", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem"))),
        (status = 413, description = "The body is too long", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "As many viewers have joined as may", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn join(
    State(shared): State<Shared>,
    FeedInPath(feed): FeedInPath,
    grant: Option<Extension<Arc<Grant>>>,
    Body(body): Body<LONGEST_BODY>,
) -> Response {
    let wanted: Join = match read(&body) {
        Ok(wanted) => wanted.unwrap_or_default(),
        Err(problem) => return (*problem).into_response(),
    };
    if wanted.agent.as_ref().is_some_and(|agent| !(1..=LONGEST_AGENT).contains(&agent.chars().count())) {
        return bad_body(&format!("agent is 1 to {LONGEST_AGENT} characters")).into_response();
    }
    let grant = grant.map(|Extension(grant)| grant);
    let most = grant.as_ref().map_or(Tier::Vip, |grant| grant.tier());
    let tier = wanted.tier.map_or(most, Tier::from);
    if tier > most {
        return refused(&feed, "", Refused::Tier).into_response();
    }
    let arrival = Arrival { feed: feed.clone(), tier, agent: wanted.agent, grant };
    match shared.desk.join(arrival) {
        None => Problem::unknown_feed(feed.as_str()).into_response(),
        Some(Err(why)) => refused(&feed, "", why).into_response(),
        Some(Ok(joined)) => {
            tracing::debug!(%feed, viewer = joined.viewer.id, path = joined.viewer.path.name(), "joined");
            let location = format!("/v1/feeds/{feed}/viewers/{}", joined.viewer.id);
            (StatusCode::CREATED, [(header::LOCATION, location)], fresh(Json(joined))).into_response()
        }
    }
}

/// Which page of a list.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Page {
    after: Option<String>,
    limit: Option<usize>,
    path: Option<api::viewers::Path>,
    tier: Option<ApiTier>,
    reason: Option<api::viewers::ReasonCode>,
}

/// List a feed's viewers
///
/// Those that have joined, whatever their path, and the WebRTC sessions of those that have not. Viewers over HLS that have not joined
/// come through caches and are only counted (`paths.hls.viewers` of the feed).
#[utoipa::path(
    get, path = "/v1/feeds/{id}/viewers", tag = "viewers", operation_id = "listViewers",
    params(
        ("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        ("after" = Option<String>, Query, description = "Only viewers behind this one: `next` of the page before"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "Viewers on a page; 100 if not said"),
        ("path" = Option<api::viewers::Path>, Query, description = "Only those that are served so"),
        ("tier" = Option<ApiTier>, Query, description = "Only those of this tier"),
        ("reason" = Option<api::viewers::ReasonCode>, Query, description = "Only those that are served as they are for this reason"),
    ),
    responses(
        (status = 200, description = "The viewers, sorted by id", body = api::viewers::Viewers,
            example = json!(crate::openapi::example("viewers"))),
        (status = 400, description = "The id cannot be one, or the query is wrong", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such feed", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem"))),
    ),
)]
pub(crate) async fn list(
    State(shared): State<Shared>,
    FeedInPath(feed): FeedInPath,
    query: Result<Query<Page>, QueryRejection>,
) -> Response {
    let wanted = match query {
        Ok(Query(wanted)) if wanted.limit.is_none_or(|limit| (1..=PAGE.1).contains(&limit)) => wanted,
        Ok(_) => return bad_query(&format!("limit is 1 to {}", PAGE.1)).into_response(),
        Err(error) => return bad_query(&error.body_text()).into_response(),
    };
    if shared.directory.feed(&feed).is_none() {
        return Problem::unknown_feed(feed.as_str()).into_response();
    }
    let sessions = shared.desk.sessions(&feed).await;
    let all = with_sessions(&feed, shared.desk.viewers(&feed), sessions);
    let filter = Filter { path: wanted.path, tier: wanted.tier, reason: wanted.reason };
    fresh(Json(page(all, filter, wanted.after.as_deref(), wanted.limit.unwrap_or(PAGE.0))))
}

/// Show a viewer
///
/// Where it is served and why, what its player says, and its WebRTC session.
#[utoipa::path(
    get, path = "/v1/feeds/{id}/viewers/{viewer}", tag = "viewers", operation_id = "showViewer",
    params(
        ("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        ("viewer" = String, Path, description = "The viewer", example = "5f1d0c7e9a3b4f2d8c6976e5b5410415"),
    ),
    responses(
        (status = 200, description = "The viewer", body = api::viewers::Viewer),
        (status = 400, description = "The id cannot be one", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such viewer", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "It has ended", body = api::Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn show(State(shared): State<Shared>, ViewerInPath(feed, id): ViewerInPath) -> Response {
    let viewer = match shared.desk.viewer(&feed, &id) {
        Ok(viewer) => viewer,
        Err(why) => return refused(&feed, &id, why).into_response(),
    };
    let mut sessions = shared.desk.sessions(&feed).await;
    sessions.retain(|status| status.viewer.as_deref() == Some(id.as_str()));
    let viewer = with_sessions(&feed, vec![viewer], sessions).into_iter().next();
    viewer.map_or_else(|| unknown_viewer(&id).into_response(), |viewer| fresh(Json(viewer)))
}

/// Move a viewer
///
/// Keeps it on a path, or leaves that to the failover policy again (`auto`); and holds it below the highest layers. It is told over its
/// event channel. Onto the realtime path only where its tier has that, the feed can be watched so, and there is room; a viewer that is kept there
/// and has no session for `signaling.failover.appear_within` is left to the policy again.
#[utoipa::path(
    patch, path = "/v1/feeds/{id}/viewers/{viewer}", tag = "viewers", operation_id = "moveViewer",
    params(
        ("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        ("viewer" = String, Path, description = "The viewer", example = "5f1d0c7e9a3b4f2d8c6976e5b5410415"),
    ),
    request_body(content = Change, example = json!({"path": "hls"})),
    responses(
        (status = 200, description = "The viewer, as it is served now", body = api::viewers::Viewer),
        (status = 400, description = "The id cannot be one, or the body is wrong", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Its tier has no WebRTC", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such viewer", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The feed cannot be watched over that path", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "It has ended", body = api::Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "There is no room on the realtime path", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change(
    State(shared): State<Shared>,
    ViewerInPath(feed, id): ViewerInPath,
    Body(body): Body<LONGEST_BODY>,
) -> Response {
    let change: Change = match read(&body) {
        Ok(Some(change)) => change,
        Ok(None) => return bad_body("it is empty: say path or layerCap").into_response(),
        Err(problem) => return (*problem).into_response(),
    };
    if change.layer_cap.is_some_and(|cap| cap > 3) {
        return bad_body("layerCap is 0 to 3").into_response();
    }
    match shared.desk.order(&feed, &id, change).and_then(|()| shared.desk.viewer(&feed, &id)) {
        Ok(viewer) => fresh(Json(viewer)),
        Err(why) => refused(&feed, &id, why).into_response(),
    }
}

/// End a viewer
///
/// It is told over its event channel, its WebRTC session is closed and its place is free. HLS, which comes through caches, ends for it when
/// its token does; take that back as well (`DELETE /v1/tokens/{jti}`) to keep somebody out.
#[utoipa::path(
    delete, path = "/v1/feeds/{id}/viewers/{viewer}", tag = "viewers", operation_id = "endViewer",
    params(
        ("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        ("viewer" = String, Path, description = "The viewer", example = "5f1d0c7e9a3b4f2d8c6976e5b5410415"),
    ),
    responses(
        (status = 204, description = "It has ended"),
        (status = 400, description = "The id cannot be one", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such viewer", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "It had ended before", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn end(State(shared): State<Shared>, ViewerInPath(feed, id): ViewerInPath) -> Response {
    match shared.desk.end(&feed, &id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => refused(&feed, &id, why).into_response(),
    }
}

/// Report how it goes
///
/// For players without a WebSocket: what they would say over their event channel. About once a second; ten a second are taken.
#[utoipa::path(
    post, path = "/v1/feeds/{id}/viewers/{viewer}/reports", tag = "viewers", operation_id = "report",
    params(
        ("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        ("viewer" = String, Path, description = "The viewer", example = "5f1d0c7e9a3b4f2d8c6976e5b5410415"),
    ),
    request_body(content = PlayerMessage, example = json!(crate::openapi::example("channel-report"))),
    responses(
        (status = 204, description = "It was taken"),
        (status = 400, description = "The id cannot be one, or the body is wrong", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such viewer", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "It has ended", body = api::Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many reports", body = api::Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn report(
    State(shared): State<Shared>,
    ViewerInPath(feed, id): ViewerInPath,
    Body(body): Body<LONGEST_BODY>,
) -> Response {
    let message: PlayerMessage = match read(&body) {
        Ok(Some(message)) => message,
        Ok(None) => return bad_body("it is empty: say a report").into_response(),
        Err(problem) => {
            shared.desk.could_not_read();
            return (*problem).into_response();
        }
    };
    match shared.desk.said(&feed, &id, &message) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => refused(&feed, &id, why).into_response(),
    }
}

/// A feed's viewers together
///
/// How many on which path and why, how late, and how often they were moved.
#[utoipa::path(
    get, path = "/v1/feeds/{id}/audience", tag = "viewers", operation_id = "showAudience",
    params(("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")),
    responses(
        (status = 200, description = "The viewers together", body = api::audience::Audience,
            example = json!(crate::openapi::example("audience"))),
        (status = 400, description = "The id cannot be one", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such feed", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem"))),
    ),
)]
pub(crate) async fn audience(State(shared): State<Shared>, FeedInPath(feed): FeedInPath) -> Response {
    if shared.directory.feed(&feed).is_none() {
        return Problem::unknown_feed(feed.as_str()).into_response();
    }
    fresh(Json(shared.desk.audience(&feed)))
}

/// The feed and the viewer that a path names.
pub(crate) struct ViewerInPath(pub(crate) FeedId, pub(crate) String);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for ViewerInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        let Path((feed, viewer)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new(400, "bad-viewer", "Bad viewer", error.body_text()))?;
        let feed = feed.parse().map_err(|error| Problem::bad_feed_id(&error))?;
        Ok(Self(feed, viewer))
    }
}

/// The JSON of a body; none where it is empty. Its type is not looked at: what a page sends while it is closed (`sendBeacon`) is plain text.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<Option<T>, Box<Problem>> {
    if body::is_nothing(body) {
        return Ok(None);
    }
    body::object(body).map(Some).map_err(|error| Box::new(bad_body(&error.to_string())))
}

pub(super) fn bad_body(why: &str) -> Problem {
    Problem::new(400, "bad-body", "Bad body", format!("The body cannot be used: {why}."))
        .hint("GET /v1/openapi.json describes what it may say.")
}

fn bad_query(why: &str) -> Problem {
    Problem::new(400, "bad-query", "Bad query", format!("The query cannot be used: {why}."))
        .hint("after is a viewer's id, limit a number, path realtime or hls, tier vip or free, reason a reason's name.")
}

/// Whether a request asks for Server-Sent Events.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}
