//! `bicast-bench-shield`: players behind the real nginx and Varnish of `deploy/`, and some straight at the same server in the same run.
//! Tells how many requests reached the origin for each part, and how much later things arrive through the shield.
//!
//! Players are what LL-HLS players are: one connection (HTTP/2, TLS) each, the next playlist asked for before it exists, then the part
//! that it brings. What arrives is compared with when the same playlist or part had arrived at the median of the players without a shield.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::connection::{Http2, Pair};
use bicast_tests::edge::Edge;
use bicast_tests::figures::{print, quantile};
use bicast_tests::hls;
use bicast_tests::server::Server;
use clap::Parser;
use tokio::task::JoinSet;

const FEED: &str = "shield";
/// Requests at the origin for one part or one playlist, at most.
const MOST_REQUESTS: f64 = 1.02;
/// Added by the shield at the 99th percentile, at most, in milliseconds.
const MOST_ADDED: f64 = 30.0;
/// All begin at once; what they get after this counts.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures what the shield of `deploy/` adds and saves.
#[derive(Parser)]
struct Args {
    /// Players behind the shield
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,
    /// Players straight at the server, to compare with
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    direct: u16,
    /// Seconds measured, after all players are there
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Size of the test picture
    #[arg(long, default_value = "640x360")]
    size: String,
    /// Its bitrate
    #[arg(long, default_value = "800k")]
    bitrate: String,
}

/// What a player asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Playlist,
    Part,
}

/// A playlist's version or a part: by segment and part.
type Thing = (Kind, u64, u64);

/// When each thing's last byte had arrived.
type Arrivals = Vec<(Thing, Instant)>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = bicast_tests::root().join(format!("target/test-logs/{}-bench-shield", std::process::id()));
    let certificate = certificate(&folder)?;
    let files = ["certificate", "key"].map(|name| {
        let path = folder.join(name).with_extension("pem");
        format!("http.tls.{name}={}", path.display())
    });
    let tls = ["--set", "http.tls.listen=127.0.0.1:0", "--set", &files[0], "--set", &files[1]];
    let server = Server::start_with(&tls).await?;
    let https = server.https.context("no HTTPS")?;
    let picture = ["--test-pattern", "--size", &args.size, "--bitrate", &args.bitrate];
    let _publisher = server.publish(FEED, &picture)?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let playlist: Arc<str> = hls::path(playlists.first().context("no rendition")?)?.into();
    let edge = Edge::before(&server, FEED).await?;

    let before = at_origin(&server).await?;
    // All are connected before the first asks: handshakes are not what is measured.
    let (mut straight, mut behind) = (Vec::new(), Vec::new());
    for _ in 0..args.direct {
        straight.push(Http2::secure(https, &certificate).await?);
    }
    for _ in 0..args.clients {
        behind.push(edge.connect().await?);
    }
    let from = clock::now() + SETTLE;
    let until = from + Duration::from_secs(args.seconds);
    let follow_all = |connections: Vec<Http2>| -> JoinSet<_> {
        connections.into_iter().map(|one| follow(one, Arc::clone(&playlist), until)).collect()
    };
    let (direct, shielded) = (follow_all(straight), follow_all(behind));
    let direct = finished(direct).await?;
    let shielded = finished(shielded).await?;
    let asked = at_origin(&server).await?;
    let asked = [asked[0] - before[0], asked[1] - before[1]];
    server.check_unharmed().await?;
    print(&report(&args, from, asked, &direct, &shielded)?);
    Ok(())
}

/// Makes a certificate for `localhost` and its key in this folder.
fn certificate(folder: &std::path::Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder)?;
    let Pair { certificate, key } = Pair::generate()?;
    std::fs::write(folder.join("certificate.pem"), &certificate)?;
    std::fs::write(folder.join("key.pem"), key)?;
    Ok(certificate)
}

/// Follows the live edge as a player does. Any answer but 200 makes the run void.
async fn follow(mut connection: Http2, playlist: Arc<str>, until: Instant) -> anyhow::Result<Arrivals> {
    let folder = playlist.rsplit_once('/').context("no folder")?.0;
    let mut body = get(&mut connection, &playlist).await?;
    let mut arrivals = Arrivals::new();
    while clock::now() < until {
        let text = std::str::from_utf8(&body)?;
        let (segment, part) = hls::hinted_part(text)?;
        body = get(&mut connection, &format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}")).await?;
        arrivals.push(((Kind::Playlist, segment, part), clock::now()));
        get(&mut connection, &format!("{folder}/{segment}.{part}.m4s")).await?;
        arrivals.push(((Kind::Part, segment, part), clock::now()));
    }
    Ok(arrivals)
}

async fn get(connection: &mut Http2, path: &str) -> anyhow::Result<bytes::Bytes> {
    let answer = connection.get(path, &[]).await?;
    anyhow::ensure!(answer.status == 200, "{path}: {}", answer.status);
    Ok(answer.body)
}

async fn finished(mut players: JoinSet<anyhow::Result<Arrivals>>) -> anyhow::Result<Vec<Arrivals>> {
    let mut all = Vec::new();
    while let Some(arrivals) = players.join_next().await {
        all.push(arrivals?.context("this run is void")?);
    }
    Ok(all)
}

/// Blocking playlist requests and requests for parts that the server has answered so far.
async fn at_origin(server: &Server) -> anyhow::Result<[f64; 2]> {
    let requests = |kind| server.metric_of("bicast_hls_requests_total", ("kind", kind));
    Ok([requests("media_blocking").await?, requests("part").await?])
}

/// The table, of arrivals after `from`; counts are of the whole run, because the server's counters are.
fn report(
    args: &Args,
    from: Instant,
    asked: [f64; 2],
    direct: &[Arrivals],
    shielded: &[Arrivals],
) -> anyhow::Result<String> {
    let mut reference: BTreeMap<Thing, Vec<Instant>> = BTreeMap::new();
    for (thing, at) in direct.iter().flatten() {
        reference.entry(*thing).or_default().push(*at);
    }
    let reference: BTreeMap<Thing, Instant> = reference
        .into_iter()
        .filter_map(|(thing, mut times)| {
            times.sort_unstable();
            times.get(times.len() / 2).map(|middle| (thing, *middle))
        })
        .collect();
    let mut lines = vec![format!(
        "{} players through the shield, {} without it, {} s, {} at {}",
        args.clients, args.direct, args.seconds, args.size, args.bitrate
    )];
    let mut holds = true;
    for (kind, name, asked) in [(Kind::Playlist, "playlist", asked[0]), (Kind::Part, "part", asked[1])] {
        let of_kind = |all: &[Arrivals]| -> Vec<(Thing, Instant)> {
            all.iter().flatten().filter(|((other, ..), _)| *other == kind).copied().collect()
        };
        let through = of_kind(shielded);
        let distinct = through.iter().map(|(thing, _)| thing).collect::<BTreeSet<_>>().len();
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let (own, kinds) = (of_kind(direct).len() as f64, distinct as f64);
        anyhow::ensure!(asked >= own, "the server counted too few requests");
        let requests = asked - own;
        let ratio = requests / kinds;
        let mut added: Vec<f64> = through
            .iter()
            .filter(|(_, at)| *at >= from)
            .filter_map(|(thing, at)| Some(milliseconds(*reference.get(thing)?, *at)))
            .collect();
        added.sort_by(f64::total_cmp);
        anyhow::ensure!(!added.is_empty(), "no {name} arrived on both ways");
        let (p50, p99) = (quantile(&added, 50), quantile(&added, 99));
        holds &= ratio <= MOST_REQUESTS && p99 <= MOST_ADDED;
        lines.push(format!(
            "{name:<9} {:>8} delivered, {requests:>5} requests at the origin for {distinct:>4} distinct = {ratio:.3}; \
             added p50 {p50:.1} ms, p99 {p99:.1} ms, most {:.1} ms",
            through.len(),
            quantile(&added, 100)
        ));
    }
    lines.push(format!(
        "bar: {MOST_REQUESTS} requests for each, {MOST_ADDED} ms added at p99: {}",
        if holds { "holds" } else { "missed" }
    ));
    Ok(lines.join("\n"))
}

/// From `before` to `after`; negative where that was earlier.
fn milliseconds(before: Instant, after: Instant) -> f64 {
    let later = after.saturating_duration_since(before).as_secs_f64();
    let earlier = before.saturating_duration_since(after).as_secs_f64();
    (later - earlier) * 1_000.0
}
