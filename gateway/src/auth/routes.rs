//! The routes that take rights back (`DELETE /v1/tokens/{jti}`, `DELETE /v1/viewers/{sub}/tokens`), and the one that an edge asks about a viewer
//! (`GET /hls/{feed}/allowed`).

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use bicast_shared::clock;
use bicast_shared::problem::Problem;

use super::Auth;

pub(super) fn router(auth: Auth) -> Router {
    Router::new()
        .route("/v1/tokens/{jti}", delete(token))
        .route("/v1/viewers/{sub}/tokens", delete(viewer))
        .with_state(auth)
        .route("/hls/{feed}/allowed", get(allowed))
}

/// Who gets as far as here may watch: the check stands before all routes.
async fn allowed() -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], StatusCode::NO_CONTENT).into_response()
}

async fn token(State(auth): State<Auth>, Path(id): Path<String>) -> Response {
    let taken = auth.0.revoked.write().token(&id, clock::utc());
    tracing::info!(token = id, "taken back by request");
    answer(taken.is_ok())
}

async fn viewer(State(auth): State<Auth>, Path(id): Path<String>) -> Response {
    let taken = auth.0.revoked.write().viewer(&id, clock::utc());
    tracing::info!(viewer = id, "all of its tokens are taken back by request");
    answer(taken.is_ok())
}

fn answer(taken: bool) -> Response {
    if taken {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = "As many revocations are remembered as can be.";
    Problem::new(503, "too-many-revocations", "Too many revocations", detail)
        .hint("Change the key that the tokens are signed with: that takes all of them back.")
        .into_response()
}
