//! The OpenAPI description: this room's routes, and what the other rooms add about theirs.

use axum::http::Method;
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::{Content, PathItem, Ref, Response};

use crate::{api, http};

/// Whether a route, by its pattern, wants a token where the server has keys.
pub type Guarded = fn(&Method, &str) -> bool;

/// The description, rendered once.
#[derive(Clone)]
pub(crate) struct Description(Bytes);

impl Description {
    /// This room's routes together with those of `others`. What is `guarded` may refuse, and says so.
    pub(crate) fn new(others: Vec<utoipa::openapi::OpenApi>, guarded: Guarded) -> Self {
        let mut document = Document::openapi();
        for other in others {
            document.merge(other);
        }
        for (path, item) in &mut document.paths.paths {
            refusals(item, |method| guarded(&method, path));
        }
        Self(serde_json::to_vec(&document).unwrap_or_default().into())
    }

    pub(crate) fn json(&self) -> Bytes {
        self.0.clone()
    }
}

/// The refusals of a door, where they are not described yet.
fn refusals(item: &mut PathItem, guarded: impl Fn(Method) -> bool) {
    let operations = [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    for (method, operation) in operations {
        let Some(operation) = operation.as_mut().filter(|_| guarded(method)) else { continue };
        for (status, what) in
            [("401", "There is no token that can be read"), ("403", "The token does not allow this")]
        {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            let refusal = Response::builder().description(what).content("application/problem+json", problem);
            operation.responses.responses.entry(status.into()).or_insert_with(|| refusal.build().into());
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "bicast",
        description = "One live feed, two paths, one timeline. Publish by WHIP; watch by WHEP (WebRTC) or Low-Latency HLS. \
            Errors are problem+json (RFC 9457). All answers allow any origin (CORS). Where the server has keys, every door wants a \
            token (Authorization: Bearer, RFC 6750) and answers 401 or 403 without one that fits.",
    ),
    paths(
        http::list_feeds, http::show_feed, http::end_feed, http::take_over, http::viewers::list, http::viewers::join,
        http::viewers::show, http::viewers::change, http::viewers::end, http::viewers::report, http::viewers::audience,
        http::channel::open, http::show_admission, http::set_admission, http::show_status, http::show_time,
        http::show_openapi, http::timeline::show_timeline, http::feeds::create_feed, http::feeds::change_feed,
    ),
    components(schemas(api::Problem, api::channel::ServerMessage, api::channel::PlayerMessage)),
    tags(
        (name = "feeds", description = "What can be watched"),
        (name = "viewers", description = "Who watches, over which path, and why"),
        (name = "server", description = "This server: its state and its limits"),
        (name = "timeline", description = "The clock that both paths stand on"),
        (name = "about", description = "The API itself"),
    ),
)]
struct Document;

/// An example of the description: the same text that the tests hold the types to.
pub(crate) fn example(name: &str) -> serde_json::Value {
    let text = match name {
        "feeds" => include_str!("../../tests/fixtures/wire/feeds.json"),
        "feed-live" => include_str!("../../tests/fixtures/wire/feed-live.json"),
        "viewers" => include_str!("../../tests/fixtures/wire/viewers.json"),
        "joined" => include_str!("../../tests/fixtures/wire/joined.json"),
        "channel-report" => include_str!("../../tests/fixtures/wire/channel-report.json"),
        "audience" => include_str!("../../tests/fixtures/wire/audience.json"),
        "admission" => include_str!("../../tests/fixtures/wire/admission.json"),
        "status" => include_str!("../../tests/fixtures/wire/status.json"),
        "feed-created" => include_str!("../../tests/fixtures/wire/feed-created.json"),
        "settings-update" => include_str!("../../tests/fixtures/wire/settings-update.json"),
        "problem-bad-setting" => include_str!("../../tests/fixtures/wire/problem-bad-setting.json"),
        "timeline" => include_str!("../../tests/fixtures/wire/timeline.json"),
        "timeline-position" => include_str!("../../tests/fixtures/wire/timeline-position.json"),
        "problem-outside-window" => include_str!("../../tests/fixtures/wire/problem-outside-window.json"),
        "time" => include_str!("../../tests/fixtures/wire/time.json"),
        _ => include_str!("../../tests/fixtures/wire/problem.json"),
    };
    serde_json::from_str(text).unwrap_or_default()
}
