//! The routes under `/v1/demo/lines`.

use axum::extract::{Path, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use bicast_shared::body::{self, Body, says_json};
use bicast_shared::clock;
use bicast_shared::problem::Problem;
use bytes::Bytes;
use utoipa::OpenApi;

use crate::api;
use crate::core::network::{BadNetwork, Network, NetworkChange};
use crate::line::Line;
use crate::lines::Lines;

/// Bytes of a body: ten times what all members take.
const LONGEST_BODY: usize = 4 << 10;
/// What bodies look like, for who sent another.
const FORM: &str = r#"Send JSON like {"lossRatio": 0.1, "delayMs": 80, "rateKbps": null, "udp": true}."#;

/// The routes. Without lines they say how to switch them on.
pub fn router(lines: Option<Lines>) -> Router {
    let Some(lines) = lines else {
        return Router::new().route("/v1/demo/lines", any(off)).route("/v1/demo/lines/{id}", any(off));
    };
    Router::new()
        .route("/v1/demo/lines", get(list_lines).post(make_line))
        .route("/v1/demo/lines/{id}", get(show_line).patch(change_line).delete(end_line))
        .with_state(lines)
}

/// Their description.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[derive(OpenApi)]
#[openapi(
    paths(list_lines, make_line, show_line, change_line, end_line),
    tags((name = "demo", description = "Bad networks to try out; off unless [demo] lines is set")),
)]
struct Document;

async fn off() -> Problem {
    let detail = "This server makes no bad networks for its viewers: demo lines are off.";
    Problem::new(404, "lines-off", "Demo lines are off", detail).hint(
        "Start it with `bicast serve --demo`, BICAST_DEMO__LINES=true, or `lines = true` under [demo] in bicast.toml. Not in production.",
    )
}

/// List all lines
#[utoipa::path(
    get, path = "/v1/demo/lines", tag = "demo", operation_id = "listLines",
    responses(
        (status = 200, description = "The lines, in the order of their ports", body = api::Lines),
        (status = 404, description = "Demo lines are off: the hint says how to switch them on", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list_lines(State(lines): State<Lines>, headers: HeaderMap) -> Response {
    let host = host(&headers);
    fresh(Json(api::Lines { lines: lines.all().iter().map(|line| shown(line, &host)).collect() }))
}

/// Make a line
///
/// A bad network for one viewer: an origin of its own through which it reaches all that this server has. The answers of WHEP tell that
/// origin's UDP port as the only candidate, so media passes there, too. A line that nothing has passed for two minutes, and nobody has
/// asked about, is removed.
#[utoipa::path(
    post, path = "/v1/demo/lines", tag = "demo", operation_id = "makeLine",
    request_body(content = Option<NetworkChange>, description = "How bad it is; what is left out is as good as without it",
        example = json!({"lossRatio": 0.05, "delayMs": 40, "rateKbps": 2000})),
    responses(
        (status = 201, description = "It is there", body = api::Line,
            headers(("Location" = String, description = "The line: /v1/demo/lines/{id}"))),
        (status = 400, description = "The body or a value is wrong: the detail says which", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "Demo lines are off: the hint says how to switch them on", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "All ports are used", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn make_line(
    State(lines): State<Lines>,
    headers: HeaderMap,
    Body(body): Body<LONGEST_BODY>,
) -> Response {
    let network = read(&headers, &body)
        .and_then(|said| Network::default().with(&said).map_err(|bad| Box::new(bad_network(&bad))));
    let network = match network {
        Ok(network) => network,
        Err(problem) => return (*problem).into_response(),
    };
    let Some(line) = lines.make(clock::now(), network) else {
        let detail = format!("All {} ports for demo lines are used.", lines.most());
        return Problem::new(503, "no-line-free", "No line is free", detail)
            .hint("End one (DELETE /v1/demo/lines/{id}), or wait: unused ones are removed after two minutes. `ports` under [demo] sets how many there are.")
            .into_response();
    };
    tracing::info!(port = line.port, ?network, "a demo line was made");
    let location = [(header::LOCATION, format!("/v1/demo/lines/{}", line.id))];
    (StatusCode::CREATED, location, fresh(Json(shown(&line, &host(&headers))))).into_response()
}

/// Show a line
///
/// Who asks keeps it: it is not removed for two minutes more.
#[utoipa::path(
    get, path = "/v1/demo/lines/{id}", tag = "demo", operation_id = "showLine",
    params(("id" = String, Path, description = "The line's id")),
    responses(
        (status = 200, description = "The line, and what has passed it", body = api::Line),
        (status = 404, description = "There is no such line, or demo lines are off", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn show_line(
    State(lines): State<Lines>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(line) = lines.find(&id) else { return unknown(&id).into_response() };
    line.touch(clock::now());
    fresh(Json(shown(&line, &host(&headers))))
}

/// Change a line
///
/// What is left out stays as it is. It takes effect at once, on open connections, too; what is under way arrives as it was decided.
#[utoipa::path(
    patch, path = "/v1/demo/lines/{id}", tag = "demo", operation_id = "changeLine",
    params(("id" = String, Path, description = "The line's id")),
    request_body(content = Option<NetworkChange>, example = json!({"lossRatio": 0.3})),
    responses(
        (status = 200, description = "It is changed", body = api::Line),
        (status = 400, description = "The body or a value is wrong: the detail says which; nothing is changed", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such line, or demo lines are off", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change_line(
    State(lines): State<Lines>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body<LONGEST_BODY>,
) -> Response {
    let Some(line) = lines.find(&id) else { return unknown(&id).into_response() };
    let said = match read(&headers, &body) {
        Ok(said) => said,
        Err(problem) => return (*problem).into_response(),
    };
    let now = clock::now();
    if let Err(bad) = line.change(now, &said) {
        return bad_network(&bad).into_response();
    }
    line.touch(now);
    fresh(Json(shown(&line, &host(&headers))))
}

/// End a line
///
/// Its connections are closed, and its port is free for another.
#[utoipa::path(
    delete, path = "/v1/demo/lines/{id}", tag = "demo", operation_id = "endLine",
    params(("id" = String, Path, description = "The line's id")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 404, description = "There is no such line, or demo lines are off", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn end_line(State(lines): State<Lines>, Path(id): Path<String>) -> Response {
    // A task of its own: who asks through the line that ends is gone in the middle of it.
    let ending = tokio::spawn({
        let id = id.clone();
        async move { lines.remove(&id).await }
    });
    if ending.await.unwrap_or(false) {
        return StatusCode::NO_CONTENT.into_response();
    }
    unknown(&id).into_response()
}

fn shown(line: &Line, host: &str) -> api::Line {
    api::Line {
        id: line.id.clone(),
        port: line.port,
        origin: format!("http://{host}:{}", line.port),
        network: line.network(),
        passed: line.passed(),
    }
}

/// The host that a request was sent to, without its port.
fn host(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let host = host.map(|host| host.host().to_owned()).filter(|host| !host.is_empty());
    host.unwrap_or_else(|| "localhost".to_owned())
}

/// What a body says about a network. An empty one says nothing.
fn read(headers: &HeaderMap, body: &Bytes) -> Result<NetworkChange, Box<Problem>> {
    if body::is_nothing(body) {
        return Ok(NetworkChange::default());
    }
    says_json(headers)?;
    body::object(body).map_err(|error| Box::new(bad_body(&format!("The body is no network: {error}"))))
}

fn bad_body(detail: &str) -> Problem {
    Problem::new(400, "bad-body", "Bad body", format!("{detail}.")).hint(FORM)
}

fn bad_network(bad: &BadNetwork) -> Problem {
    Problem::new(400, "bad-network", "Bad network", format!("{bad}.")).hint(FORM).with("member", bad.member)
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(40).collect();
    let detail = format!("There is no line {shown:?} here, or it has ended.");
    Problem::new(404, "unknown-line", "Unknown line", detail).hint("POST /v1/demo/lines makes one.")
}

/// What changes all the time is never kept.
fn fresh(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_has_the_host_that_was_asked() {
        let of = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::HOST, HeaderValue::from_static(value));
            }
            host(&headers)
        };
        for (asked, host) in [
            (Some("localhost:8080"), "localhost"),
            (Some("live.example"), "live.example"),
            (Some("[::1]:8080"), "[::1]"),
            (Some("a b"), "localhost"),
            (None, "localhost"),
        ] {
            assert_eq!(of(asked), host, "{asked:?}");
        }
    }
}
