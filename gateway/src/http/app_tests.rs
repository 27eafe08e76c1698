//! The whole app, asked without a server, with stand-ins for the rooms.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::Request as HttpRequest;
use axum::routing::{get, post};
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::super::health;
use super::*;

struct Bench {
    app: App,
    readiness: Readiness,
    folder: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bicast-app-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let udp = vec!["127.0.0.1:8189".parse().unwrap()];
        let readiness = Readiness::new(vec!["127.0.0.1:8080".parse().unwrap()], udp);
        let accepts = [(header::HeaderName::from_static("accept-post"), "application/sdp")];
        let routes = Router::new()
            .route("/whip/{feed}", post(|body: String| async { body }).options(|| async move { accepts }))
            .route("/v1/broken", get(|| async { panic!("as a test") as Response }))
            .merge(health::router(
                readiness.clone(),
                FeedBus::new(FeedSettings::default(), RingLimits::default()),
            ));
        let rules = Rules { readiness: readiness.clone(), request_timeout: Duration::from_millis(300) };
        Self { app: app(routes, Pages::new(&folder), rules), readiness, folder }
    }

    fn built(name: &str) -> Self {
        let bench = Self::new(name);
        std::fs::create_dir_all(bench.folder.join("assets")).unwrap();
        std::fs::write(bench.folder.join("index.html"), "<title>feeds</title>").unwrap();
        std::fs::write(bench.folder.join("watch.html"), "<title>watch</title>").unwrap();
        std::fs::write(bench.folder.join("assets/index-abc123.js"), "1").unwrap();
        bench
    }

    async fn send(&self, request: HttpRequest<Body>) -> Response {
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = HttpRequest::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn header_of<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn problem(response: Response) -> Value {
    assert_eq!(header_of(&response, "content-type"), "application/problem+json");
    serde_json::from_str(&text(response).await).unwrap()
}

const HTML: &[(&str, &str)] = &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

#[tokio::test]
async fn unknown_paths_are_told_in_the_language_of_who_asks() {
    let bench = Bench::built("unknown");
    let response = bench.ask("GET", "/nowhere", &[]).await;
    assert_eq!(response.status(), 404);
    assert_eq!(problem(response).await["type"], "/problems/not-found");
    let response = bench.ask("GET", "/nowhere", HTML).await;
    assert_eq!(response.status(), 404);
    assert!(header_of(&response, "content-type").starts_with("text/html"));
    for api in ["/v1/nowhere", "/hls/x/y/z", "/whep", "/readyz/x"] {
        let response = bench.ask("GET", api, HTML).await;
        assert_eq!(response.status(), 404, "{api}");
        assert_eq!(problem(response).await["type"], "/problems/not-found", "{api}");
    }
    assert_eq!(bench.ask("GET", "/hlsx", HTML).await.status(), 404);
}

#[tokio::test]
async fn the_demos_files_are_served_with_the_caching_they_need() {
    let bench = Bench::built("files");
    for (path, rule) in [
        ("/", "no-cache"),
        ("/watch.html", "no-cache"),
        ("/watch", "no-cache"),
        ("/assets/index-abc123.js", "public, max-age=31536000, immutable"),
    ] {
        let response = bench.ask("GET", path, &[]).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header_of(&response, "cache-control"), rule, "{path}");
        assert_eq!(header_of(&response, "x-content-type-options"), "nosniff", "{path}");
    }
    assert_eq!(text(bench.ask("GET", "/watch?feed=demo", &[]).await).await, "<title>watch</title>");
}

#[tokio::test]
async fn the_demos_scripts_are_compressed_for_who_can_read_it() {
    let bench = Bench::built("compressed");
    std::fs::write(bench.folder.join("assets/big-1.js"), "let x = 1;\n".repeat(1_000)).unwrap();
    let response = bench.ask("GET", "/assets/big-1.js", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(header_of(&response, "content-encoding"), "gzip");
    let packed = response.into_body().collect().await.unwrap().to_bytes();
    assert!(packed.len() < 1_000 && packed.starts_with(&[0x1f, 0x8b]), "{}", packed.len());
    let response = bench.ask("GET", "/assets/big-1.js", &[]).await;
    assert!(!response.headers().contains_key("content-encoding"));
    assert_eq!(text(response).await.len(), 11_000);
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let bench = Bench::built("outside");
    let secret = bench.folder.with_extension("secret");
    std::fs::write(&secret, "secret").unwrap();
    let name = secret.file_name().unwrap().to_str().unwrap();
    for path in [
        format!("/../{name}"),
        format!("/%2e%2e/{name}"),
        format!("/assets/..%2f..%2f{name}"),
        format!("//{}", secret.display()),
    ] {
        let response = bench.ask("GET", &path, &[]).await;
        assert_eq!(response.status(), 404, "{path}");
    }
    std::fs::remove_file(secret).unwrap();
}

#[tokio::test]
async fn a_demo_that_is_not_built_says_how_to_build_it() {
    let bench = Bench::new("unbuilt");
    let response = bench.ask("GET", "/", HTML).await;
    assert_eq!(response.status(), 503);
    let page = text(response).await;
    assert!(page.contains("npm run build") && page.contains(bench.folder.to_str().unwrap()), "{page}");
    std::fs::write(bench.folder.join("index.html"), "built").unwrap();
    assert_eq!(text(bench.ask("GET", "/", HTML).await).await, "built", "without a restart");
}

#[tokio::test]
async fn pages_of_any_origin_may_read_answers_and_errors() {
    let bench = Bench::built("cors");
    let origin = &[("origin", "https://example.org")];
    for (method, path) in [
        ("GET", "/healthz"),
        ("GET", "/nowhere"),
        ("DELETE", "/healthz"),
        ("GET", "/v1/broken"),
        ("POST", "/whip/x"),
    ] {
        let response = bench.ask(method, path, origin).await;
        assert_eq!(header_of(&response, "access-control-allow-origin"), "*", "{path}");
        let exposed = header_of(&response, "access-control-expose-headers");
        for name in ["Location", "ETag", "Link", "Accept-Patch", "Date", "Age", "Content-Length"] {
            assert!(exposed.contains(name), "{name}");
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_and_any_other_options_reaches_the_room() {
    let bench = Bench::new("preflight");
    let wants = [
        ("origin", "https://example.org"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization,if-match,content-type"),
    ];
    let response = bench.ask("OPTIONS", "/whip/x", &wants).await;
    assert_eq!(response.status(), 204);
    assert!(header_of(&response, "access-control-allow-methods").contains("PATCH"));
    assert_eq!(header_of(&response, "access-control-allow-headers"), "authorization,if-match,content-type");
    let response = bench.ask("OPTIONS", "/whip/x", &[("origin", "https://example.org")]).await;
    assert_eq!(header_of(&response, "accept-post"), "application/sdp");
    assert_eq!(header_of(&response, "access-control-allow-origin"), "*");
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let bench = Bench::built("methods");
    let response = bench.ask("POST", "/healthz", &[]).await;
    assert_eq!(response.status(), 405);
    assert_eq!(header_of(&response, "allow"), "GET,HEAD");
    assert_eq!(problem(response).await["type"], "/problems/method-not-allowed");
    let response = bench.ask("POST", "/index.html", &[]).await;
    assert_eq!(response.status(), 405);
    assert_eq!(header_of(&response, "allow"), "GET, HEAD");
}

#[tokio::test]
async fn a_panic_is_an_answer_and_not_the_end() {
    let bench = Bench::new("panic");
    let response = bench.ask("GET", "/v1/broken", &[]).await;
    assert_eq!(response.status(), 500);
    assert_eq!(problem(response).await["type"], "/problems/internal");
}

#[tokio::test]
async fn while_draining_no_sessions_are_taken_and_it_is_not_ready() {
    let bench = Bench::new("draining");
    let ready: Value = serde_json::from_str(&text(bench.ask("GET", "/readyz", &[]).await).await).unwrap();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["reasons"], serde_json::json!([]));
    assert_eq!(bench.ask("POST", "/whip/x", &[]).await.status(), 200);
    bench.readiness.drain();
    let response = bench.ask("GET", "/readyz", &[]).await;
    assert_eq!(response.status(), 503);
    let report: Value = serde_json::from_str(&text(response).await).unwrap();
    assert!(report["reasons"][0].as_str().unwrap().contains("shutting down"));
    let response = bench.ask("POST", "/whip/x", &[]).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header_of(&response, "retry-after"), "5");
    assert_eq!(problem(response).await["type"], "/problems/shutting-down");
    assert_eq!(bench.ask("GET", "/healthz", &[]).await.status(), 200, "it is alive all the same");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let bench = Bench::new("slow");
    let body = Body::from_stream(never_ending());
    let request = HttpRequest::builder().method("POST").uri("/whip/x").body(body).unwrap();
    let response = bench.send(request).await;
    assert_eq!(response.status(), 408);
    assert_eq!(problem(response).await["type"], "/problems/request-timeout");
}

/// A body whose next byte never comes.
fn never_ending() -> impl futures_util::Stream<Item = Result<&'static [u8], std::io::Error>> + Send {
    let begun = futures_util::stream::iter([Ok(&b"v=0"[..])]);
    futures_util::StreamExt::chain(begun, futures_util::stream::pending())
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_not_by_path() {
    let _ = crate::metrics::Metrics::global().expect("this test process records");
    let bench = Bench::built("metrics");
    bench.ask("GET", "/nowhere/at/all", &[]).await;
    bench.ask("POST", "/whip/some-feed", &[]).await;
    bench.ask("BREW", "/healthz", &[]).await;
    let response = bench.ask("GET", "/metrics", &[]).await;
    assert_eq!(header_of(&response, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = text(response).await;
    for want in [
        r#"bicast_http_requests_total{method="POST",route="/whip/{feed}",status="200"}"#,
        r#"bicast_http_requests_total{method="GET",route="other",status="404"}"#,
        r#"bicast_http_requests_total{method="other","#,
        "# TYPE bicast_http_request_seconds histogram",
        "# HELP bicast_feeds ",
        r#"bicast_feeds{state="live"} 0"#,
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "bicast_build_info{version=",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
    assert!(!text.contains("some-feed") && !text.contains("nowhere"));
}
