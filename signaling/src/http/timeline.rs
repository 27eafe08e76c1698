//! `GET /v1/feeds/{id}/timeline`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bicast_shared::problem::Problem;

use super::{FeedInPath, Shared, fresh};
use crate::api;
use crate::core::timeline::{asked, outside, view};

/// Show where moments of a feed lie
///
/// Without a query: the mapping, what HLS lists, the newest on both paths, and the publishers' stays. With one of the three parameters,
/// `position` also tells that moment in all its names, and for each rendition the segment, the part, their bytes, and the exact frame that is
/// shown. A moment that was just received but is not in a part yet is answered, too, with the renditions' state `coming`.
///
/// The RTP timestamp of a frame that a WebRTC viewer shows leads to the same frame on HLS:
/// `curl "http://localhost:8080/v1/feeds/demo/timeline?rtpTimestamp=1234560"`.
#[utoipa::path(
    get, path = "/v1/feeds/{id}/timeline", tag = "timeline", operation_id = "showTimeline",
    params(
        ("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        ("programTime" = Option<String>, Query,
            pattern = r"^([0-9]+(\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))$",
            description = "A moment by its UTC: RFC 3339 (a + is written %2B), or milliseconds since 1970 with fractions"),
        ("mediaTime" = Option<i64>, Query, description = "A moment in ticks of the master clock, as it is now"),
        ("rtpTimestamp" = Option<u32>, Query, minimum = 0, maximum = 4_294_967_295_u32,
            description = "A moment by its RTP timestamp: the newest in the window that has it"),
    ),
    responses(
        (status = 200, description = "The timeline", body = api::timeline::FeedTimeline, examples(
            ("outline" = (summary = "Without a query", value = json!(crate::openapi::example("timeline")))),
            ("position" = (summary = "With rtpTimestamp",
                value = json!(crate::openapi::example("timeline-position")))),
        )),
        (status = 400, description = "The id cannot be one, or the query is wrong: `parameter` says where",
            body = api::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such feed, or (outside-window, with `window`) the moment is not in the window",
            body = api::Problem, content_type = "application/problem+json",
            example = json!(crate::openapi::example("problem-outside-window"))),
    ),
)]
pub(crate) async fn show_timeline(
    State(shared): State<Shared>,
    FeedInPath(id): FeedInPath,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => {
            let detail = format!("The query cannot be read: {}.", error.body_text());
            return Problem::new(400, "bad-position", "Bad position", detail).into_response();
        }
    };
    let asked = match asked(&query) {
        Ok(asked) => asked,
        Err(problem) => return (*problem).into_response(),
    };
    let Some(feed) = shared.directory.feed(&id) else {
        return Problem::unknown_feed(id.as_str()).into_response();
    };
    let located = match (asked, &shared.timeline) {
        (None, _) => None,
        (Some((asked, name)), Some(source)) => match source.locate(&id, asked).await {
            Some(Ok(located)) => Some(located),
            other => {
                return outside(id.as_str(), name, other.and_then(Result::err)).into_response();
            }
        },
        (Some((_, name)), None) => return outside(id.as_str(), name, None).into_response(),
    };
    let outline = shared.timeline.as_ref().and_then(|source| source.outline(&id));
    fresh(Json(view(feed, outline.as_ref(), located)))
}
