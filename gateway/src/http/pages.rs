//! The web demo's files, and 404 for everything that nothing answers to.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use bicast_shared::problem::Problem;
use tower::{Layer, ServiceExt};
use tower_http::compression::{Compression, CompressionLayer};
use tower_http::services::ServeDir;

/// The folder of the web demo.
#[derive(Clone)]
pub(crate) struct Pages {
    root: PathBuf,
    files: Compression<ServeDir>,
}

/// Paths that programs ask for: what is not there is told in their language even to a browser.
const API: [&str; 9] =
    ["/v1", "/whip", "/whep", "/hls", "/t", "/metrics", "/healthz", "/readyz", "/problems"];

/// Bytes of a file's name on any system that this runs on.
const LONGEST_NAME: usize = 255;

impl Pages {
    /// Serves the files under `root`, which may come to be later.
    pub(crate) fn new(root: &Path) -> Self {
        // The demo is a handful of pages: /watch is watch.html.
        let files = ServeDir::new(root).html_as_default_extension(true);
        // hls.js alone is more than half a megabyte as it is.
        let files = CompressionLayer::new().layer(files);
        Self { root: root.to_owned(), files }
    }
}

/// Answers what no route answers to.
pub(super) async fn serve(State(pages): State<Pages>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let is_api =
        API.iter().any(|api| path.strip_prefix(api).is_some_and(|r| r.is_empty() || r.starts_with('/')));
    if is_api {
        return not_found(&path).into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = format!("{path} does not take {}.", request.method());
        let problem = Problem::new(405, "method-not-allowed", "Method not allowed", detail);
        return ([(header::ALLOW, HeaderValue::from_static("GET, HEAD"))], problem).into_response();
    }
    let wants_html = wants_html(request.headers());
    // File systems answer longer names with an error, which would be one of ours.
    if path.split('/').any(|name| name.len() > LONGEST_NAME) {
        return not_found(&path).into_response();
    }
    let found = match pages.files.oneshot(request).await {
        Ok(found) => found.map(Body::new),
        Err(never) => match never {},
    };
    match found.status() {
        StatusCode::NOT_FOUND if path == "/" || path == "/index.html" => unbuilt(&pages.root),
        StatusCode::NOT_FOUND if wants_html => (StatusCode::NOT_FOUND, Html(NOT_FOUND)).into_response(),
        StatusCode::NOT_FOUND => not_found(&path).into_response(),
        _ => cached(&path, found),
    }
}

/// Files under `assets/` carry a hash of their content in their name (Vite), so they never change; any other may with
/// the next build.
fn cached(path: &str, mut file: Response) -> Response {
    let rule = if path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = file.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(rule));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    file
}

fn not_found(path: &str) -> Problem {
    let shown: String = path.chars().take(200).collect();
    Problem::new(404, "not-found", "Not found", format!("There is nothing at {shown}."))
        .hint("GET /v1/openapi.json lists what there is.")
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn unbuilt(root: &Path) -> Response {
    let text = UNBUILT.replace("{root}", &escape(&root.display().to_string()));
    (StatusCode::SERVICE_UNAVAILABLE, Html(text)).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const NOT_FOUND: &str = include_str!("../../pages/not-found.html");
const UNBUILT: &str = include_str!("../../pages/unbuilt.html");
