//! The routes that take rights back (`DELETE /v1/tokens/{jti}`, `DELETE /v1/viewers/{sub}/tokens`), and the one that an edge asks about a viewer
//! (`GET /hls/{feed}/allowed`).

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use bicast_shared::auth::{LONGEST_NAME, Revocation, Taken};
use bicast_shared::clock;
use bicast_shared::problem::Problem;

use super::Auth;
use super::ledger::Failed;

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
    take(auth, Taken::Token(id)).await
}

async fn viewer(State(auth): State<Auth>, Path(id): Path<String>) -> Response {
    take(auth, Taken::Viewer(id)).await
}

async fn take(auth: Auth, what: Taken) -> Response {
    let (Taken::Token(id) | Taken::Viewer(id)) = &what;
    if id.chars().count() > LONGEST_NAME {
        let detail = format!("No token has an id of more than {LONGEST_NAME} characters.");
        return Problem::new(400, "bad-id", "Bad id", detail)
            .hint("`bicast token inspect TOKEN` shows a token's jti and sub.")
            .into_response();
    }
    tracing::info!(?what, "taken back by request");
    let one = Revocation { what, at: clock::utc().unix_seconds() };
    let ledger = auth.0.revoked.clone();
    let taken = tokio::task::spawn_blocking(move || ledger.take(&one)).await;
    let unwritten = |why: String| {
        tracing::error!(why, "what was taken back is not in auth.revocations_file");
        let detail = format!(
            "It is taken back, but not written down ({why}): a restart of this server would forget it."
        );
        Problem::new(503, "revocation-not-stored", "Revocation not stored", detail)
            .hint("Make room where auth.revocations_file is, and ask again.")
            .into_response()
    };
    match taken {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(Failed::Full)) => {
            let detail = "As many revocations are remembered as can be.";
            Problem::new(503, "too-many-revocations", "Too many revocations", detail)
                .hint("Change the key that the tokens are signed with: that takes all of them back.")
                .into_response()
        }
        Ok(Err(Failed::Unwritten(error))) => unwritten(error.to_string()),
        Err(error) => unwritten(error.to_string()),
    }
}
