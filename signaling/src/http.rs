//! The routes of the REST API.

pub(crate) mod channel;
pub(crate) mod feeds;
pub(crate) mod timeline;
pub(crate) mod viewers;

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, OriginalUri, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bicast_shared::auth::Grant;
use bicast_shared::body::Body;
use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use bicast_shared::status::timeline::TimelineSource;
use bicast_shared::time::ProgramTime;

use crate::admission::Budget;
use crate::api;
use crate::desk::Desk;
use crate::directory::Directory;
use crate::openapi::Description;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) directory: Directory,
    pub(crate) desk: Desk,
    /// When this server began.
    pub(crate) since: ProgramTime,
    pub(crate) timeline: Option<Arc<dyn TimelineSource>>,
    pub(crate) max_created_feeds: u32,
    pub(crate) description: Description,
}

/// The routes under `/v1`.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/feeds", get(list_feeds).post(feeds::create_feed))
        .route("/v1/feeds/{id}", get(show_feed).delete(end_feed).patch(feeds::change_feed))
        .route("/v1/feeds/{id}/takeover", post(take_over))
        .route("/v1/feeds/{id}/timeline", get(timeline::show_timeline))
        .route("/v1/feeds/{id}/audience", get(viewers::audience))
        .route("/v1/feeds/{id}/viewers", get(viewers::list).post(viewers::join))
        .route(
            "/v1/feeds/{id}/viewers/{viewer}",
            get(viewers::show).patch(viewers::change).delete(viewers::end),
        )
        .route("/v1/feeds/{id}/viewers/{viewer}/events", get(channel::open))
        .route("/v1/feeds/{id}/viewers/{viewer}/reports", post(viewers::report))
        .route("/v1/admission", get(show_admission).patch(set_admission))
        .route("/v1/status", get(show_status))
        .route("/v1/time", get(show_time))
        .route("/v1/openapi.json", get(show_openapi))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(shared)
}

/// The answer of `GET /v1/time` at a given moment.
pub(crate) fn time_at(now: ProgramTime) -> api::Time {
    api::Time { unix_ms: now.unix_millis(), utc: now.rfc3339() }
}

/// List all feeds
///
/// Those that are live or waiting for a publisher, and for a while those that have ended. With a token, those that it is for.
#[utoipa::path(
    get, path = "/v1/feeds", tag = "feeds", operation_id = "listFeeds",
    responses((status = 200, description = "The feeds, sorted by id", body = api::Feeds,
        example = json!(crate::openapi::example("feeds")))),
)]
pub(crate) async fn list_feeds(
    State(shared): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
) -> Response {
    let mut feeds = shared.directory.feeds();
    if let Some(Extension(grant)) = grant {
        feeds.retain(|feed| feed.id.parse().is_ok_and(|id| grant.feed.matches(&id)));
    }
    fresh(Json(api::Feeds { feeds }))
}

/// Show one feed
///
/// Its tracks, publisher, cadence and timeline, and for each path whether and how it can be watched.
#[utoipa::path(
    get, path = "/v1/feeds/{id}", tag = "feeds", operation_id = "showFeed",
    params(("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")),
    responses(
        (status = 200, description = "The feed", body = api::Feed,
            example = json!(crate::openapi::example("feed-live"))),
        (status = 400, description = "The id cannot be one", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such feed", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem"))),
    ),
)]
pub(crate) async fn show_feed(State(shared): State<Shared>, FeedInPath(id): FeedInPath) -> Response {
    match shared.directory.feed(&id) {
        Some(feed) => fresh(Json(feed)),
        None => Problem::unknown_feed(id.as_str()).into_response(),
    }
}

/// End a feed
///
/// Its publisher is told to leave, its viewers see the end, its playlists are finished with EXT-X-ENDLIST, and the id
/// is free. Ending a feed that has just ended answers 204 again.
#[utoipa::path(
    delete, path = "/v1/feeds/{id}", tag = "feeds", operation_id = "endFeed",
    params(("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 400, description = "The id cannot be one", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such feed", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem"))),
    ),
)]
pub(crate) async fn end_feed(State(shared): State<Shared>, FeedInPath(id): FeedInPath) -> Response {
    if !shared.directory.end(&id) {
        return Problem::unknown_feed(id.as_str()).into_response();
    }
    tracing::info!(feed = %id, "ended by request");
    StatusCode::NO_CONTENT.into_response()
}

/// Let the standby publisher take over
///
/// Whoever published with `POST /whip/{feed}?standby=true` becomes the publisher at its next keyframe, which it is asked
/// for; the publisher before it is told to leave. Viewers keep their connections. `publisher` of the feed tells when it is
/// done.
#[utoipa::path(
    post, path = "/v1/feeds/{id}/takeover", tag = "feeds", operation_id = "takeOver",
    params(("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")),
    responses(
        (status = 202, description = "It has been told"),
        (status = 400, description = "The id cannot be one", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such feed", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem"))),
        (status = 409, description = "Nobody stands by", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn take_over(State(shared): State<Shared>, FeedInPath(id): FeedInPath) -> Response {
    match shared.directory.promote(&id) {
        Some(true) => StatusCode::ACCEPTED.into_response(),
        Some(false) => {
            let detail = format!("Nobody stands by to publish the feed {id}.");
            Problem::new(409, "no-standby", "Nobody stands by", detail)
                .hint("Publish with POST /whip/{feed}?standby=true first.")
                .with("feed", id.as_str())
                .into_response()
        }
        None => Problem::unknown_feed(id.as_str()).into_response(),
    }
}

/// Show what there is room for
///
/// What realtime viewers may use of this server together, what they use, and who waits.
#[utoipa::path(
    get, path = "/v1/admission", tag = "server", operation_id = "showAdmission",
    responses((status = 200, description = "Limits and use", body = api::audience::Admission,
        example = json!(crate::openapi::example("admission")))),
)]
pub(crate) async fn show_admission(State(shared): State<Shared>) -> Response {
    fresh(Json(shared.desk.admission()))
}

/// Set what there is room for
///
/// Until the next start: the configuration (`signaling.admission`) is as it was. What is left out has no limit. Nobody who is served over
/// WebRTC loses it for a lower limit.
#[utoipa::path(
    patch, path = "/v1/admission", tag = "server", operation_id = "setAdmission",
    request_body(content = Budget, example = json!({"viewers": 500, "egress_bps": 1_000_000_000})),
    responses(
        (status = 200, description = "Limits and use", body = api::audience::Admission,
            example = json!(crate::openapi::example("admission"))),
        (status = 400, description = "The body is wrong", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set_admission(
    State(shared): State<Shared>,
    Body(body): Body<{ viewers::LONGEST_BODY }>,
) -> Response {
    let budget: Budget = match viewers::read(&body) {
        Ok(Some(budget)) => budget,
        Ok(None) => return viewers::bad_body("it is empty: say the limits").into_response(),
        Err(problem) => return (*problem).into_response(),
    };
    if let Err(wrong) = budget.check() {
        return viewers::bad_body(&wrong.to_string()).into_response();
    }
    tracing::info!(?budget, "admission limits are set by request");
    shared.desk.set_budget(budget);
    fresh(Json(shared.desk.admission()))
}

/// Show this server's state
///
/// Feeds by state, viewers, and room on the realtime path.
#[utoipa::path(
    get, path = "/v1/status", tag = "server", operation_id = "showStatus",
    responses((status = 200, description = "How it is", body = api::audience::Status,
        example = json!(crate::openapi::example("status")))),
)]
pub(crate) async fn show_status(State(shared): State<Shared>) -> Response {
    let (viewers, most_viewers) = shared.desk.count();
    fresh(Json(api::audience::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: shared.since.rfc3339(),
        feeds: shared.directory.count(),
        viewers,
        most_viewers,
        sessions: shared.directory.sessions(),
        admission: shared.desk.admission(),
    }))
}

/// Tell the time
///
/// This server's UTC, to measure a clock's offset against it: ask several times and trust the exchange with the
/// shortest round trip.
#[utoipa::path(
    get, path = "/v1/time", tag = "timeline", operation_id = "showTime",
    responses((status = 200, description = "Now", body = api::Time,
        headers(("Cache-Control" = String, description = "no-store")),
        example = json!(crate::openapi::example("time")))),
)]
pub(crate) async fn show_time() -> Response {
    fresh(Json(time_at(clock::utc())))
}

/// Describe this API
///
/// This document.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "about", operation_id = "showOpenApi",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
)]
pub(crate) async fn show_openapi(State(shared): State<Shared>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, shared.description.json()).into_response()
}

/// An answer that is only true now.
fn fresh(body: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response()
}

/// 405; axum adds `Allow`.
async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("{} does not take {method}.", uri.path());
    Problem::new(405, "method-not-allowed", "Method not allowed", detail)
        .hint("The Allow header lists what it takes.")
}

/// The feed id of a path, or the problem with it.
pub(crate) struct FeedInPath(FeedId);

impl<S: Send + Sync> FromRequestParts<S> for FeedInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|error: PathRejection| {
                Problem::new(400, "bad-feed-id", "Bad feed id", error.body_text())
            })?;
        text.parse().map(Self).map_err(|error| Problem::bad_feed_id(&error))
    }
}
