//! How playlists and media travel: HTTP/2, TLS and its certificates, and what happens to clients that ask for too much or take too little.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::connection::{self, Http2};
use bicast_tests::hls::MediaPlaylist;
use bicast_tests::http;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use hyper::Version;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scene::FEED;

const PATTERN: [&str; 5] = ["--test-pattern", "--size", "320x180", "--bitrate", "200k"];

/// A certificate of an own authority's making, and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

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

/// The newest part of a playlist and the one after it: their numbers.
async fn next_part(playlist: &str) -> anyhow::Result<(u64, u64)> {
    let text = http::get(playlist).await?.success()?.text();
    let hint = text.lines().rev().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT")).context("no hint")?;
    let name = hint.split('"').nth(1).and_then(|uri| uri.strip_suffix(".m4s")).context("no name")?;
    let (segment, part) = name.rsplit('/').next().and_then(|name| name.split_once('.')).context("no part")?;
    Ok((segment.parse()?, part.parse()?))
}

#[tokio::test]
async fn https_speaks_http2_and_takes_a_new_certificate_without_ending_connections() -> anyhow::Result<()> {
    let files = Files::new("certificate")?;
    let (first, second) = (Pair::new()?, Pair::new()?);
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
    let playlists = bicast_tests::hls::renditions(&multivariant).await?;
    let playlist = url_path(&playlists[0])?;
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

fn url_path(url: &str) -> anyhow::Result<String> {
    let (_, rest) = url.split_once("://").context("no URL")?;
    Ok(format!("/{}", rest.split_once('/').context("no path")?.1))
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
    let playlists = bicast_tests::hls::renditions(&server.hls_plays(FEED).await?).await?;
    let window = bicast_tests::hls::playlist(&playlists[0]).await?;
    let whole = window.segments.iter().find_map(|segment| segment.uri.as_deref());
    let segment = bicast_tests::hls::resolve(&playlists[0], whole.context("no whole segment")?)?;
    let segment = url_path(&segment)?;
    let mut greedy = TcpStream::connect(server.http()).await?;
    let ask = format!("GET {segment} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(60);
    greedy.write_all(ask.as_bytes()).await?;
    wait::until("who takes nothing is dropped", GENEROUS, || async {
        Ok((server.metric("bicast_http_connections_dropped_total").await? > 0.0).then_some(()))
    })
    .await?;
    drop(greedy);
    server.check_unharmed().await
}

#[tokio::test]
async fn ten_thousand_waiting_requests_are_answered_or_refused_and_harm_nobody() -> anyhow::Result<()> {
    const CONNECTIONS: usize = 100;
    const STREAMS: usize = 100;
    let server = Server::start_with(&["--set", "packager.max_waiting_requests=4000"]).await?;
    let _publisher = server.publish(FEED, &PATTERN)?;
    let _other = server.publish("other", &PATTERN)?;
    let playlists = bicast_tests::hls::renditions(&server.hls_plays(FEED).await?).await?;
    let other = bicast_tests::hls::renditions(&server.hls_plays("other").await?).await?.remove(0);

    let (segment, _) = next_part(&playlists[0]).await?;
    // The last segment that may be waited for: it takes two target durations to come.
    let path = format!("{}?_HLS_msn={}", url_path(&playlists[0])?, segment + 1);
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
