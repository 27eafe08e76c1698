//! WHIP and WHEP sessions as RFC 9725 and its sister draft want them: headers, life and death, preflights, the count of viewers.

use bicast_tests::clip::Clip;
use bicast_tests::http;
use bicast_tests::playback::Playback;
use bicast_tests::server::Server;
use hyper::Method;

use crate::scene::{self, FEED};

#[tokio::test]
async fn a_preflight_lets_any_page_publish_and_watch() -> anyhow::Result<()> {
    let server = Server::start().await?;
    for path in ["/whip/test", "/whep/test"] {
        let headers = [
            ("origin", "https://example.com"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,authorization"),
        ];
        let answer = http::request_with(Method::OPTIONS, &server.url(path), &headers, "").await?.success()?;
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let lists = |name: &str, wanted: &str| {
            let value = answer.header(name).to_ascii_lowercase();
            value == "*" || value.split(',').any(|item| item.trim() == wanted)
        };
        for method in ["post", "patch", "delete"] {
            assert!(lists("access-control-allow-methods", method), "{path}: {method}: {:?}", answer.headers);
        }
        // `*` does not cover Authorization (Fetch, 4.8): it has to be named.
        let allowed = answer.header("access-control-allow-headers").to_ascii_lowercase();
        for header in ["content-type", "authorization"] {
            assert!(allowed.contains(header), "{path}: {header}: {allowed}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn sessions_have_an_address_and_end_once() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let offer = bicast_tests::peer::viewer_offer().await?;
    let headers = [("content-type", "application/sdp"), ("origin", "https://example.com")];
    let url = server.url(&format!("/whep/{FEED}"));
    let answer = http::request_with(Method::POST, &url, &headers, offer).await?.success()?;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), "application/sdp");
    assert!(!answer.header("etag").is_empty(), "no ETag");
    let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
    for name in ["location", "etag", "link"] {
        assert!(exposed.contains(name), "{name} is hidden from pages: {exposed}");
    }
    let session = bicast_tests::hls::resolve(&url, answer.header("location"))?;
    let patch = http::request(Method::PATCH, &session, Some("application/json"), "{}").await?;
    assert_eq!(patch.status, 415, "{}", patch.text());
    http::request(Method::DELETE, &session, None, "").await?.success()?;
    let again = http::request(Method::DELETE, &session, None, "").await?;
    assert_eq!(again.status, 404, "{}", again.text());
    let nowhere = server.url(&format!("/whep/{FEED}/no-such-session"));
    for method in [Method::DELETE, Method::PATCH] {
        let content_type = (method == Method::PATCH).then_some("application/trickle-ice-sdpfrag");
        let answer = http::request_with(
            method,
            &nowhere,
            content_type
                .map(|name| [("content-type", name), ("if-match", "*")])
                .as_ref()
                .map_or(&[], |list| list),
            "a=ice-ufrag:x\r\na=ice-pwd:yyyyyyyyyyyyyyyyyyyyyyyy\r\n",
        )
        .await?;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    // The publisher noticed nothing.
    Playback { pictures: 60, ..Playback::default() }.run(&clip, &mut publisher).await?;
    publisher.leave().await?;
    server.feed_is(FEED, "the feed is offline", |feed| feed["state"] == "offline").await?;
    server.check_unharmed().await
}

#[tokio::test]
async fn viewers_are_counted_as_they_come_and_go() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let playing = tokio::spawn(async move {
        let _ = Playback { pictures: 3_000, ..Playback::default() }.run(&clip, &mut publisher).await;
    });
    let counted =
        |wanted: u64| move |feed: &serde_json::Value| feed["paths"]["realtime"]["viewers"] == wanted;
    server.feed_is(FEED, "no viewer", counted(0)).await?;
    let first = scene::viewer(&server).await?;
    let second = scene::viewer(&server).await?;
    server.feed_is(FEED, "two viewers", counted(2)).await?;
    first.leave().await?;
    server.feed_is(FEED, "one viewer", counted(1)).await?;
    second.leave().await?;
    server.feed_is(FEED, "no viewer again", counted(0)).await?;
    playing.abort();
    server.check_unharmed().await
}
