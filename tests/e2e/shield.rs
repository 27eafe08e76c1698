//! The shield of `deploy/`: the real nginx and the real Varnish in front of the origin. What players get is what the origin has, and the
//! origin is asked for it once, however many they are.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::connection::Http2;
use bicast_tests::hls;
use bicast_tests::http;
use bicast_tests::process::Process;
use bicast_tests::server::Server;
use bicast_tests::wait::{self, GENEROUS};
use bytes::Bytes;
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};

use crate::scene::FEED;

const PLAYERS: usize = 50;
/// How long the players follow the live edge.
const FOLLOWED: Duration = Duration::from_secs(8);

/// A port that nobody uses.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Varnish and nginx in front of a server, with the configurations that are deployed and other addresses.
struct Edge {
    https: SocketAddr,
    certificate: String,
    _varnish: Process,
    _nginx: Process,
}

impl Edge {
    async fn before(server: &Server) -> anyhow::Result<Self> {
        let folder = bicast_tests::root().join(format!("target/test-logs/{}-edge", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (shield, plain, secure) = (free_port()?, free_port()?, free_port()?);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?.pem();
        std::fs::write(folder.join("certificate.pem"), &certificate)?;
        std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
        let varnish = varnish(&folder, server.http().port(), shield)?;
        let nginx = nginx(&folder, server.http(), shield, plain, secure)?;
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, secure));
        let edge = Self { https, certificate, _varnish: varnish, _nginx: nginx };
        wait::until("the edge answers", GENEROUS, || async {
            let mut connection = edge.connect().await?;
            let ready = connection.get("/readyz", &[]).await?;
            let shielded = connection.get(&format!("/hls/{FEED}/multivariant.m3u8"), &[]).await?;
            anyhow::ensure!(
                ready.status == 200 && shielded.status < 500,
                "{} {}",
                ready.status,
                shielded.status
            );
            Ok(Some(()))
        })
        .await
        .with_context(|| format!("{}\n{}", edge._varnish.output(), edge._nginx.output()))?;
        Ok(edge)
    }

    async fn connect(&self) -> anyhow::Result<Http2> {
        Http2::secure(self.https, &self.certificate).await
    }
}

/// A file of `deploy/` with everything replaced that has to be, each of which must be there.
fn deployed(file: &str, changes: &[(&str, &str)]) -> anyhow::Result<String> {
    let path = bicast_tests::root().join("deploy").join(file);
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (from, to) in changes {
        anyhow::ensure!(text.contains(from), "{file} has no {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Debian keeps servers where only root's PATH leads.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is missing: run scripts/setup test"))
}

fn varnish(folder: &Path, origin: u16, port: u16) -> anyhow::Result<Process> {
    let changes = [("\"gateway\"", "\"127.0.0.1\""), ("\"8080\"", &format!("\"{origin}\""))];
    std::fs::write(folder.join("shield.vcl"), deployed("varnish/default.vcl", &changes)?)?;
    let mut command = Command::new(program("varnishd")?);
    command.args(["-F", "-j", "none", "-s", "malloc,64m", "-p", "thread_pool_min=20", "-n"]);
    command.arg(folder.join("varnish")).arg("-f").arg(folder.join("shield.vcl"));
    command.args(["-a", &format!("127.0.0.1:{port}")]);
    Process::start("varnishd", &mut command)
}

fn nginx(folder: &Path, origin: SocketAddr, shield: u16, plain: u16, secure: u16) -> anyhow::Result<Process> {
    let place = folder.display().to_string();
    let text = deployed(
        "nginx/nginx.conf",
        &[
            ("shield:6081", &format!("127.0.0.1:{shield}")),
            ("gateway:8080", &origin.to_string()),
            ("listen 8080;", &format!("listen 127.0.0.1:{plain};")),
            ("listen 8443 ssl", &format!("listen 127.0.0.1:{secure} ssl")),
            ("listen [::]:8080;", ""),
            ("listen [::]:8443 ssl http2;", ""),
            ("/etc/bicast/tls", &place),
            ("/tmp/", &format!("{place}/")),
        ],
    )?;
    // Debian's build wants root's user where it is started by root.
    let text = format!("user root;\n{text}");
    std::fs::write(folder.join("nginx.conf"), text)?;
    let mut command = Command::new(program("nginx")?);
    command.arg("-c").arg(folder.join("nginx.conf")).args(["-g", "daemon off;"]);
    Process::start("nginx", &mut command)
}

/// Everything that players were given, by its path.
type Given = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Follows the live edge as a player does: waits for the playlist that has the next part, and fetches that part.
async fn follow(mut connection: Http2, playlist: String, given: Given) -> anyhow::Result<()> {
    let folder = playlist.rsplit_once('/').context("no folder")?.0.to_owned();
    let first = connection.get(&playlist, &[]).await?;
    anyhow::ensure!(first.status == 200, "{}", first.status);
    let mut text = String::from_utf8(first.body.to_vec())?;
    let began = clock::now();
    while clock::now().duration_since(began) < FOLLOWED {
        let hint = text.lines().rev().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT"));
        let name = hint.and_then(|hint| hint.split('"').nth(1)).context("no hint")?.to_owned();
        let (segment, part) = name.trim_end_matches(".m4s").split_once('.').context("no part")?;
        let blocking = format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}");
        let answer = connection.get(&blocking, &[]).await?;
        anyhow::ensure!(answer.status == 200, "{blocking}: {}", answer.status);
        text = String::from_utf8(answer.body.to_vec())?;
        let media = connection.get(&format!("{folder}/{name}"), &[]).await?;
        anyhow::ensure!(media.status == 200, "{name}: {}", media.status);
        let mut given = given.lock();
        for (path, body) in [(blocking, answer.body), (format!("{folder}/{name}"), media.body)] {
            if let Some(before) = given.insert(path.clone(), body.clone()) {
                anyhow::ensure!(before == body, "{path} is not the same for everybody");
            }
        }
    }
    Ok(())
}

/// Requests for media of this kind that reached the origin.
async fn at_origin(server: &Server, kind: &str) -> anyhow::Result<f64> {
    let text = http::get(&server.url("/metrics")).await?.success()?.text();
    let name = format!("bicast_hls_requests_total{{kind=\"{kind}\"}} ");
    Ok(text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0.0))
}

#[tokio::test]
async fn fifty_players_are_one_to_the_origin_and_get_what_it_has() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let edge = Edge::before(&server).await?;
    let (_, path) =
        playlists[0].split_once("://").and_then(|(_, rest)| rest.split_once('/')).context("no path")?;
    let playlist = format!("/{path}");

    let before = [at_origin(&server, "part").await?, at_origin(&server, "media_blocking").await?];
    let given = Given::default();
    let mut players = Vec::new();
    for _ in 0..PLAYERS {
        let connection = edge.connect().await?;
        players.push(tokio::spawn(follow(connection, playlist.clone(), Arc::clone(&given))));
    }
    for player in players {
        player.await??;
    }
    let asked = [
        at_origin(&server, "part").await? - before[0],
        at_origin(&server, "media_blocking").await? - before[1],
    ];
    let given = std::mem::take(&mut *given.lock());
    let is_part = |path: &str| path.ends_with(".m4s");
    let distinct = given.keys().filter(|path| is_part(path)).count();
    assert!(distinct > 20, "{distinct} parts");
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let (parts, versions) = (distinct as f64, (given.len() - distinct) as f64);
    assert!(asked[0] <= parts * 1.02 + 1.0, "{} requests for {parts} parts reached the origin", asked[0]);
    assert!(
        asked[1] <= versions * 1.02 + 1.0,
        "{} requests for {versions} playlists reached the origin",
        asked[1]
    );
    for (path, body) in given.iter().filter(|(path, _)| is_part(path)) {
        let own = http::get(&server.url(path)).await?.success()?;
        assert_eq!(own.body, body, "{path}");
    }
    server.check_unharmed().await
}

#[tokio::test]
async fn what_the_edge_passes_on_refuses_and_hides() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let _publisher = server.publish(FEED, &["--test-pattern", "--size", "320x180", "--bitrate", "200k"])?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let (_, path) =
        playlists[0].split_once("://").and_then(|(_, rest)| rest.split_once('/')).context("no path")?;
    let edge = Edge::before(&server).await?;
    let mut connection = edge.connect().await?;

    let feeds = connection.get("/v1/feeds", &[]).await?;
    assert_eq!(feeds.status, 200, "the API");
    assert_eq!(connection.get("/metrics", &[]).await?.status, 404, "for the inside only");
    for (query, status) in
        [("?_HLS_part=1", 400), ("?_HLS_msn=999999", 400), ("?_HLS_msn=-1", 400), ("", 200)]
    {
        let answer = connection.get(&format!("/{path}{query}"), &[("origin", "https://example.com")]).await?;
        assert_eq!(answer.status, status, "{query}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{query}");
    }
    let folder = path.rsplit_once('/').context("no folder")?.0;
    let missing = connection.get(&format!("/{folder}/999999.m4s"), &[]).await?;
    assert_eq!((missing.status, missing.header("content-type")), (404, "application/problem+json"));
    let zipped = connection.get(&format!("/{path}"), &[("accept-encoding", "gzip")]).await?;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let init = format!("/{folder}/init0.mp4");
    let whole = connection.get(&init, &[]).await?;
    let some = connection.get(&init, &[("range", "bytes=4-7")]).await?;
    assert_eq!((some.status, &some.body[..]), (206, &whole.body[4..8]));
    // The same thing under another spelling is the same thing in the cache.
    for spelling in ["?", "?b=2&a=1", "?a=1&b=2"] {
        assert_eq!(connection.get(&format!("{init}{spelling}"), &[]).await?.status, 200, "{spelling}");
    }
    let again = connection.get(&format!("{init}?b=2&a=1"), &[]).await?;
    assert_eq!(again.header("x-cache"), "hit");
    Ok(())
}
