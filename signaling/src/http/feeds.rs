//! `POST /v1/feeds` and `PATCH /v1/feeds/{id}`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bicast_shared::auth::{Grant, Refusal};
use bicast_shared::body::{Body, says_json};
use bicast_shared::feed::bus::CreateError;
use bicast_shared::problem::Problem;

use super::{FeedInPath, Shared, fresh};
use crate::api;
use crate::core::settings::{apply, change, exists, new_feed, too_many, update};

/// Bytes of a body: ten times what all settings take.
const LONGEST_BODY: usize = 16 << 10;

/// Make a feed
///
/// It is there at once, as `offline`, with settings of its own where they are given, and waits for its publisher. Unlike a feed that somebody
/// just publishes it stays until it is ended (`DELETE /v1/feeds/{id}`), however long nobody publishes it. Where segments are stored on
/// disk, a feed with media is there again after a restart; another one is not.
#[utoipa::path(
    post, path = "/v1/feeds", tag = "feeds", operation_id = "createFeed",
    request_body(content = api::change::NewFeed, example = json!({"id": "studio", "settings": {"window": 600}})),
    responses(
        (status = 201, description = "It is there", body = api::Feed,
            headers(("Location" = String, description = "The feed: /v1/feeds/{id}")),
            example = json!(crate::openapi::example("feed-created"))),
        (status = 400, description = "The body, the id or a setting is wrong: `member` or `setting` says which", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem-bad-setting"))),
        (status = 409, description = "There is a feed of this id", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "As many feeds were made as may be, or the server is going down", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create_feed(
    State(shared): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Body(body): Body<LONGEST_BODY>,
) -> Response {
    let (id, said) = match says_json(&headers).and_then(|()| new_feed(&body)) {
        Ok(wanted) => wanted,
        Err(problem) => return (*problem).into_response(),
    };
    if grant.is_some_and(|Extension(grant)| !grant.feed.matches(&id)) {
        return Refusal::Feed(id.to_string()).into_response();
    }
    let made = apply(&shared.directory.settings_of(&id), &said).and_then(|settings| {
        match shared.directory.create(&id, settings, shared.max_created_feeds) {
            Ok(()) => Ok(()),
            Err(CreateError::Exists) => Err(Box::new(exists(&id))),
            Err(CreateError::TooMany) => Err(Box::new(too_many(shared.max_created_feeds))),
            Err(_) => {
                let detail = "This server is going down and takes no feeds.";
                let problem = Problem::new(503, "closing", "Closing", detail);
                Err(Box::new(problem.hint("Ask another server, or this one in a while.")))
            }
        }
    });
    if let Err(problem) = made {
        return (*problem).into_response();
    }
    tracing::info!(feed = %id, "made by request");
    // It may have been ended meanwhile.
    let Some(feed) = shared.directory.feed(&id) else {
        return Problem::unknown_feed(id.as_str()).into_response();
    };
    let location = [(header::LOCATION, format!("/v1/feeds/{id}"))];
    (StatusCode::CREATED, location, fresh(Json(feed))).into_response()
}

/// Change a feed
///
/// Settings that are left out stay as they are. The answer says which of the changed ones hold at once, and which from the next publisher on.
/// They hold for as long as the feed is there.
#[utoipa::path(
    patch, path = "/v1/feeds/{id}", tag = "feeds", operation_id = "changeFeed",
    params(("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")),
    request_body(content = api::change::FeedChange, example = json!({"settings": {"window": 600, "segmentTarget": 4}})),
    responses(
        (status = 200, description = "It is changed", body = api::change::SettingsUpdate,
            example = json!(crate::openapi::example("settings-update"))),
        (status = 400, description = "The id, the body or a setting is wrong: `member` or `setting` says which", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem-bad-setting"))),
        (status = 404, description = "There is no such feed, or it has ended", body = api::Problem,
            content_type = "application/problem+json", example = json!(crate::openapi::example("problem"))),
        (status = 413, description = "The body is too large", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change_feed(
    State(shared): State<Shared>,
    FeedInPath(id): FeedInPath,
    headers: HeaderMap,
    Body(body): Body<LONGEST_BODY>,
) -> Response {
    let said = match says_json(&headers).and_then(|()| change(&body)) {
        Ok(said) => said,
        Err(problem) => return (*problem).into_response(),
    };
    match shared.directory.update(&id, |settings| apply(settings, &said)) {
        Some(Ok((before, now))) => {
            tracing::info!(feed = %id, ?now, "changed by request");
            fresh(Json(update(&before, &now)))
        }
        Some(Err(problem)) => (*problem).into_response(),
        None => Problem::unknown_feed(id.as_str()).into_response(),
    }
}
