//! How playlists and media travel: HTTP/2, TLS and its certificates, and what happens to clients that ask for too much or take too little.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::connection::{self, Http2, Pair};
use bicast_tests::hls::{self, MediaPlaylist};
use bicast_tests::http;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use http_body_util::BodyExt as _;
use hyper::Version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scene::FEED;

const PATTERN: [&str; 5] = ["--test-pattern", "--size", "320x180", "--bitrate", "200k"];

/// Files that a server reads its certificate from.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(name: &str) -> anyhow::Result<Self> {
        let folder = bicast_tests::root().join(format!("target/test-logs/{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") })
    }

    fn write(&self, pair: &Pair) -> anyhow::Result<()> {
        std::fs::write(&self.certificate, &pair.certificate)?;
        // A moment in which the two do not fit, as renewing programs make one.
        std::thread::sleep(Duration::from_millis(20));
        Ok(std::fs::write(&self.key, &pair.key)?)
    }

    async fn serve(&self) -> anyhow::Result<Server> {
        let named = |key: &str, file: &Path| format!("http.tls.{key}={}", file.display());
        let (certificate, key) = (named("certificate", &self.certificate), named("key", &self.key));
        let arguments = ["--set", "http.tls.listen=127.0.0.1:0", "--set", &certificate, "--set", &key];
        Server::start_with(&arguments).await
    }
}

/// The part that a playlist hints at now.
async fn next_part(playlist: &str) -> anyhow::Result<(u64, u64)> {
    hls::hinted_part(&http::get(playlist).await?.success()?.text())
}

#[tokio::test]
async fn https_speaks_http2_and_takes_a_new_certificate_without_ending_connections() -> anyhow::Result<()> {
    let files = Files::new("certificate")?;
    let (first, second) = (Pair::generate()?, Pair::generate()?);
    files.write(&first)?;
    let server = files.serve().await?;
    let https = server.https.context("no HTTPS")?;
    let _publisher = server.publish(FEED, &PATTERN)?;
    let multivariant = server.hls_plays(FEED).await?;

    // A player's way over HTTP/2: the multivariant playlist, a blocking reload, the part that was waited for.
    let mut old = Http2::secure(https, &first.certificate).await?;
    let path = format!("/hls/{FEED}/multivariant.m3u8");
    let over_tls = old.get(&path, &[("accept-encoding", "gzip")]).await?;
    assert_eq!((over_tls.status, over_tls.version), (200, Version::HTTP_2));
    assert_eq!(over_tls.header("content-encoding"), "gzip");
    assert_eq!(over_tls.header("vary"), "accept-encoding");
    let playlists = hls::renditions(&multivariant).await?;
    let playlist = hls::path(&playlists[0])?;
    let (segment, part) = next_part(&playlists[0]).await?;
    let blocking = format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}");
    let answer = old.get(&blocking, &[]).await?;
    assert_eq!(answer.status, 200);
    let listed = MediaPlaylist::parse(std::str::from_utf8(&answer.body)?)?;
    assert!(!listed.segments.is_empty());
    let media = format!("{}/{segment}.{part}.m4s", playlist.rsplit_once('/').context("no folder")?.0);
    let whole = old.get(&media, &[]).await?;
    assert_eq!((whole.status, whole.header("content-type")), (200, "video/mp4"));
    let some = old.get(&media, &[("range", "bytes=4-7")]).await?;
    assert_eq!((some.status, &some.body[..]), (206, &whole.body[4..8]));

    // Who knows HTTP/1.1 only is spoken to in it.
    let mut plain = connection::tls(https, &first.certificate, &["http/1.1"]).await?;
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    plain.read_to_string(&mut text).await?;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");

    files.write(&second)?;
    let mut new = wait::until("the second certificate is in force", GENEROUS, || async {
        Http2::secure(https, &second.certificate).await.map(Some)
    })
    .await?;
    assert!(Http2::secure(https, &first.certificate).await.is_err(), "the first one is gone");
    assert_eq!(new.get("/healthz", &[]).await?.status, 200);
    assert_eq!(old.get("/healthz", &[]).await?.status, 200, "the connection from before goes on");

    std::fs::write(&files.certificate, "no certificate at all")?;
    wait::until("the broken one is counted", GENEROUS, || async {
        Ok((server.metric("bicast_tls_reload_failures_total").await? > 0.0).then_some(()))
    })
    .await?;
    let mut still = Http2::secure(https, &second.certificate).await?;
    assert_eq!(still.get("/healthz", &[]).await?.status, 200);
    server.check_unharmed().await
}

/// Waits until so many connections were dropped for a reason.
async fn counts_dropped(server: &Server, reason: &str, at_least: f64) -> anyhow::Result<()> {
    wait::until("dropped connections are counted", GENEROUS, || async {
        let dropped = server.metric_of("bicast_http_connections_dropped_total", ("reason", reason)).await?;
        Ok((dropped >= at_least).then_some(()))
    })
    .await
    .with_context(|| format!("{at_least} that were {reason}"))
}

#[tokio::test]
async fn who_never_finishes_a_handshake_or_takes_nothing_is_cut_off_and_counted() -> anyhow::Result<()> {
    let limits = ["http.tls.listen=127.0.0.1:0", "http.header_timeout=1", "http.stall_timeout=2"];
    let arguments: Vec<&str> = limits.iter().flat_map(|setting| ["--set", *setting]).collect();
    let server = Server::start_with(&arguments).await?;
    let https = server.https.context("no HTTPS")?;
    // Half a ClientHello, and nothing more.
    let mut silent = TcpStream::connect(https).await?;
    silent.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await?;
    // A header, byte by byte for ever.
    let mut slow = TcpStream::connect(server.http()).await?;
    let trickle = tokio::spawn(async move {
        let began = clock::now();
        slow.write_all(b"GET /healthz HTTP/1.1\r\nX-Long: ").await?;
        while clock::now().duration_since(began) < GENEROUS {
            slow.write_all(b"a").await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    });
    let mut text = Vec::new();
    tokio::time::timeout(GENEROUS, silent.read_to_end(&mut text)).await??;
    assert!(trickle.await?.is_err(), "its connection was closed");
    let timeouts = server.metric("bicast_tls_handshake_failures_total").await?;
    assert!(timeouts >= 1.0, "{timeouts} handshakes failed");

    // Who asks and takes nothing: many answers that do not fit into the buffers of its connection.
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "1280x720", "--bitrate", "2500k"])?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let window = hls::playlist(&playlists[0]).await?;
    let whole = window.segments.iter().find_map(|segment| segment.uri.as_deref());
    let segment = hls::resolve(&playlists[0], whole.context("no whole segment")?)?;
    let segment = hls::path(&segment)?;
    let mut greedy = TcpStream::connect(server.http()).await?;
    let ask = format!("GET {segment} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(60);
    greedy.write_all(ask.as_bytes()).await?;
    counts_dropped(&server, "slow_header", 1.0).await?;
    counts_dropped(&server, "stalled", 1.0).await?;
    drop(greedy);

    // Over HTTP/2 the connection itself never stalls: the client answers pings, and leaves no room for what it asked for.
    let mut narrow = Http2::narrow(server.http(), 1_000).await?;
    let unread = narrow.begin(&segment).await?;
    assert_eq!(unread.status(), 200);
    counts_dropped(&server, "stalled", 2.0).await?;
    assert!(unread.into_body().collect().await.is_err(), "its connection was closed");
    // Who reads gets everything, however little room it has at a time.
    let mut slowly = Http2::narrow(server.http(), 1_000).await?;
    let read = slowly.begin(&segment).await?.into_body().collect().await?.to_bytes();
    let at_once = Http2::plain(server.http()).await?.get(&segment, &[]).await?;
    assert_eq!(read, at_once.body);
    server.check_unharmed().await
}

#[tokio::test]
async fn ten_thousand_waiting_requests_are_answered_or_refused_and_harm_nobody() -> anyhow::Result<()> {
    const CONNECTIONS: usize = 100;
    const STREAMS: usize = 100;
    let server = Server::start_with(&["--set", "packager.max_waiting_requests=4000"]).await?;
    let _publisher = server.publish(FEED, &PATTERN)?;
    let _other = server.publish("other", &PATTERN)?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let other = hls::renditions(&server.hls_plays("other").await?).await?.remove(0);

    let (segment, _) = next_part(&playlists[0]).await?;
    // The last segment that may be waited for: it takes two target durations to come.
    let path = format!("{}?_HLS_msn={}", hls::path(&playlists[0])?, segment + 1);
    let mut asking = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = Http2::plain(server.http()).await?;
        for _ in 0..STREAMS {
            let (mut connection, path) = (connection.clone(), path.clone());
            asking.push(tokio::spawn(async move { connection.get(&path, &[]).await }));
        }
    }
    wait::until("some have to wait, and others are refused", GENEROUS, || async {
        let refused = server.metric("bicast_hls_waiting_refused_total").await?;
        Ok((refused > 1_000.0).then_some(()))
    })
    .await?;
    // Another feed's viewer waits for its part meanwhile, and gets it.
    for _ in 0..5 {
        let (segment, part) = next_part(&other).await?;
        let answer = http::get(&format!("{other}?_HLS_msn={segment}&_HLS_part={part}")).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let (mut answered, mut refused) = (0, 0);
    for request in asking {
        let answer = request.await??;
        match answer.status {
            200 => answered += 1,
            503 => {
                assert_eq!(answer.header("retry-after"), "1");
                refused += 1;
            }
            status => anyhow::bail!("{status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }
    assert_eq!(answered + refused, CONNECTIONS * STREAMS);
    assert!(answered >= 3_000 && refused > 0, "{answered} were answered, {refused} refused");
    wait::until("nobody waits any more", GENEROUS, || async {
        Ok((server.metric("bicast_hls_waiting_requests").await? < 100.0).then_some(()))
    })
    .await?;
    server.check_unharmed().await
}

/// HTTP/2 as bytes: requests for `/`, each taken back at once (RFC 9113, 4.1; the header block by RFC 7541).
fn rapid_resets(count: u32) -> Vec<u8> {
    const HEADERS: [u8; 14] =
        [0x82, 0x86, 0x84, 0x01, 9, b'l', b'o', b'c', b'a', b'l', b'h', b'o', b's', b't'];
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        bytes.extend_from_slice(&length[1..]);
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
    };
    frame(4, 0, 0, &[]);
    for stream in (1..).step_by(2).take(count as usize) {
        frame(1, 5, stream, &HEADERS);
        frame(3, 0, stream, &CANCEL);
    }
    bytes
}

#[tokio::test]
async fn floods_and_overlong_headers_and_paths_are_refused_and_counted() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let mut other = Http2::plain(server.http()).await?;

    let mut flood = TcpStream::connect(server.http()).await?;
    // Its end may come while this is being written.
    let _ = flood.write_all(&rapid_resets(5_000)).await;
    let mut said = Vec::new();
    let _ = tokio::time::timeout(GENEROUS, flood.read_to_end(&mut said)).await?;
    counts_dropped(&server, "flood", 1.0).await?;
    assert_eq!(other.get("/healthz", &[]).await?.status, 200, "others go on");

    // A path of 8 KiB may be long, and is unknown; one byte more is too long. Over both versions.
    let long = format!("/{}", "a".repeat(8 * 1024 - 1));
    assert_eq!(other.get(&long, &[]).await?.status, 404);
    let answer = other.get(&format!("{long}a"), &[]).await?;
    assert_eq!((answer.status, answer.header("content-type")), (414, "application/problem+json"));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(http::get(&server.url(&format!("{long}a"))).await?.status, 414);
    let refused = server.metric_of("bicast_http_requests_total", ("status", "414")).await?;
    assert!(refused >= 2.0, "{refused}");

    let huge = "a".repeat(40 * 1024);
    assert_eq!(other.get("/healthz", &[("x-huge", &huge)]).await?.status, 431);
    assert_eq!(other.get("/healthz", &[]).await?.status, 200, "only the request was refused");
    let mut plain = TcpStream::connect(server.http()).await?;
    let ask =
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Huge: {}\r\n\r\n", "a".repeat(80 * 1024));
    let _ = plain.write_all(ask.as_bytes()).await;
    counts_dropped(&server, "large_header", 1.0).await?;
    server.check_unharmed().await
}

#[tokio::test]
async fn validators_ranges_and_caching_hold_over_the_wire() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &PATTERN)?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let playlist = hls::path(&playlists[0])?;
    let folder = playlist.rsplit_once('/').context("no folder")?.0;
    let mut client = Http2::plain(server.http()).await?;

    // The answer to a blocking request stays as it is in caches for six target durations, and an error for four.
    let (segment, part) = next_part(&playlists[0]).await?;
    let blocking = client.get(&format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}"), &[]).await?;
    let target: u32 = std::str::from_utf8(&blocking.body)?
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:"))
        .context("no target duration")?
        .parse()?;
    assert_eq!(blocking.header("cache-control"), format!("max-age={}", target * 6));
    let plain = client.get(&playlist, &[]).await?;
    assert_eq!(plain.header("cache-control"), format!("max-age={}", target.div_ceil(2)));

    // Each representation has a strong validator of its own. The blocking reload of a part that is there has one answer at a time.
    let zipped = client.get(&playlist, &[("accept-encoding", "gzip")]).await?;
    assert_eq!((zipped.header("content-encoding"), zipped.header("vary")), ("gzip", "accept-encoding"));
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    assert!(zipped.header("etag").starts_with('"') && zipped.header("etag") != plain.header("etag"));
    let media = format!("{folder}/{segment}.{part}.m4s");
    let whole = client.get(&media, &[]).await?;
    let known = client.get(&media, &[("if-none-match", whole.header("etag"))]).await?;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let caching: u32 = whole.header("cache-control").trim_start_matches("max-age=").parse()?;
    assert!(caching >= target * 6, "{caching}");
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());

    // Ranges that lie: beyond the end, of another version, turned round.
    let length = whole.body.len();
    let ranged = |range: String, validator: &'static str| {
        let (mut client, media) = (client.clone(), media.clone());
        async move {
            let mut headers = vec![("range", range.as_str())];
            headers.extend((!validator.is_empty()).then_some(("if-range", validator)));
            client.get(&media, &headers).await
        }
    };
    let beyond = ranged(format!("bytes={length}-"), "").await?;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{length}").as_str()));
    let open = ranged("bytes=1-9007199254740991".to_owned(), "").await?;
    assert_eq!((open.status, &open.body), (206, &whole.body.slice(1..)));
    assert_eq!(open.header("content-range"), format!("bytes 1-{}/{length}", length - 1));
    assert_eq!(ranged("bytes=0-1".to_owned(), "\"another\"").await?.status, 200);
    assert_eq!(ranged("bytes=5-1".to_owned(), "").await?.status, 200);
    assert_eq!(ranged("bytes=-0".to_owned(), "").await?.status, 416);

    // Every query that rules of the protocol call wrong, and those that they do not.
    let far = segment + 1_000;
    let bad = [
        "_HLS_part=0",
        "_HLS_msn=",
        "_HLS_msn=-1",
        "_HLS_msn=+1",
        "_HLS_msn=1.5",
        "_HLS_msn=0x1",
        "_HLS_msn=1&_HLS_part=",
        "_HLS_msn=1&_HLS_part=x",
        "_HLS_msn=1&_HLS_part=-1",
        "_HLS_msn=000000000000000000001",
    ]
    .map(str::to_owned);
    let ahead = [format!("_HLS_msn={far}"), format!("_HLS_msn={}&_HLS_part=999", segment + 1)];
    for query in bad.iter().chain(&ahead) {
        let answer = client.get(&format!("{playlist}?{query}"), &[]).await?;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{query}");
    }
    for query in ["_HLS_msn=0", "_HLS_msn=0&_HLS_part=0", "_HLS_other=x", "_HLS_skip=YES", "_HLS_skip=maybe"]
    {
        assert_eq!(client.get(&format!("{playlist}?{query}"), &[]).await?.status, 200, "{query}");
    }
    // One spelling a file, and nothing outside of the feed.
    let tricks = [
        format!("{folder}/0{segment}.{part}.m4s"),
        format!("{folder}/+{segment}.{part}.m4s"),
        format!("{folder}/..%2f..%2f..%2fetc%2fpasswd"),
        format!("{folder}/../../../../etc/passwd"),
        format!("{folder}/%00.m4s"),
        format!("{folder}//{segment}.{part}.m4s"),
        "/hls/%2e%2e/multivariant.m3u8".to_owned(),
    ];
    for path in tricks {
        let answer = client.get(&path, &[]).await?;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }
    server.check_unharmed().await
}
