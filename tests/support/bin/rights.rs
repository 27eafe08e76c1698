//! `bicast-bench-rights`: viewers watch over WebRTC, over LL-HLS at the server and over LL-HLS through the real nginx and Varnish of
//! `deploy/`, until their right is taken back or is over. Tells how long media still came on each of the three ways.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bicast_shared::clock;
use bicast_tests::connection::Http2;
use bicast_tests::edge::Edge;
use bicast_tests::figures::{print, progress, quantile};
use bicast_tests::hls;
use bicast_tests::http;
use bicast_tests::peer::{Kind, RtpViewer};
use bicast_tests::server::{self, Server};
use bicast_tests::wait::{self, GENEROUS};
use clap::Parser;
use hyper::Method;

const FEED: &str = "rights";
const SECRET: &str = "a secret of this benchmark, not of anything else";
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Media may come for so long, in seconds, once there is no right to it.
const MOST: f64 = 5.0;
/// What still comes after this was not ended at all.
const PATIENCE: Duration = Duration::from_secs(15);
/// Media comes thirty times a second over WebRTC: after this long without, it has ended.
const QUIET: Duration = Duration::from_secs(3);
/// A right of this length ends while its viewer watches.
const SHORT: &str = "6s";
const WAYS: [&str; 3] = ["WebRTC", "LL-HLS at the server", "LL-HLS through the edge"];

/// Measures how long media comes to viewers who have no right to it any more.
#[derive(Parser)]
struct Args {
    /// Rights that are taken back, and as many that are over by themselves
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    runs: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = Server::start_with(&["--set", &format!("auth.secret={SECRET}")]).await?;
    let publish = mint(&["--feed", FEED, "--rights", "publish"])?;
    let picture = ["--test-pattern", "--size", "320x180", "--bitrate", "200k", "--token", &publish];
    let _publisher = server.publish(FEED, &picture)?;
    let own = mint(&["--feed", "*", "--rights", "watch", "--viewer", "edge"])?;
    let playlist = wait::until("HLS can be played", GENEROUS, || async {
        let answer =
            http::get(&server.url(&format!("/t/{own}/hls/{FEED}/multivariant.m3u8"))).await?.success()?;
        let media = answer.text().lines().find(|line| line.ends_with("/media.m3u8")).map(str::to_owned);
        Ok(Some(format!("/hls/{FEED}/{}", media.context("no variant")?)))
    })
    .await?;
    let edge = Edge::with_token(&server, FEED, Some(&own)).await?;
    let admin = mint(&["--feed", "*", "--rights", "admin"])?;

    let mut lines = vec![format!(
        "{} rights taken back, {} that were over; seconds that media still came",
        args.runs, args.runs
    )];
    let mut holds = true;
    for over in [false, true] {
        let mut late: [Vec<f64>; 3] = Default::default();
        for run in 0..args.runs {
            progress(&format!("{} {} of {}", if over { "over" } else { "taken back" }, run + 1, args.runs));
            let found = watch(&server, &edge, &playlist, &admin, run, over).await?;
            for (all, seconds) in late.iter_mut().zip(found) {
                all.push(seconds);
            }
        }
        for (way, mut seconds) in WAYS.into_iter().zip(late) {
            seconds.sort_by(f64::total_cmp);
            let (p50, most) = (quantile(&seconds, 50), quantile(&seconds, 100));
            holds &= most <= MOST;
            lines.push(format!(
                "{:<10}  {way:<24} p50 {p50:>5.2}  most {most:>5.2}",
                if over { "over" } else { "taken back" }
            ));
        }
    }
    server.check_unharmed().await?;
    lines.push(format!("bar: {MOST} s: {}", if holds { "holds" } else { "missed" }));
    print(&lines.join("\n"));
    Ok(())
}

/// One viewer on all three ways, and for how many seconds media came on each once its right had ended. Negative where that was before.
async fn watch(
    server: &Server,
    edge: &Edge,
    playlist: &str,
    admin: &str,
    run: u32,
    over: bool,
) -> anyhow::Result<[f64; 3]> {
    let viewer = format!("viewer-{over}-{run}");
    let mut arguments = vec!["--feed", FEED, "--rights", "watch", "--tier", "vip", "--viewer", &viewer];
    if over {
        arguments.extend(["--expires", SHORT]);
    }
    let token = mint(&arguments)?;
    let expires = clock::now() + until_expiry(&token)?;
    let session =
        RtpViewer::connect_as(&server.url(&format!("/whep/{FEED}")), Some(&token), LOCAL, &[Kind::Video])
            .await?;
    let address = format!("/t/{token}{playlist}");
    let mut direct = tokio::spawn(follow(Reader::Server(server.url("")), address.clone()));
    let mut through = tokio::spawn(follow(Reader::Edge(Box::new(edge.connect().await?)), address));
    let ended = if over {
        expires
    } else {
        // At another moment of what the edge keeps in mind each time.
        tokio::time::sleep(Duration::from_millis(3_000 + u64::from(run % 10) * 310)).await;
        anyhow::ensure!(!session.take().0.is_empty(), "nothing came over WebRTC");
        let now = clock::now();
        let bearer = format!("Bearer {admin}");
        let url = server.url(&format!("/v1/viewers/{viewer}/tokens"));
        let answer = http::request_with(Method::DELETE, &url, &[("authorization", &bearer)], "").await?;
        anyhow::ensure!(answer.status == 204, "{}", answer.text());
        now
    };
    let (mut last, give_up) = (clock::now(), ended + PATIENCE);
    while clock::now() < give_up && (clock::now() < ended || last.elapsed() < QUIET) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !session.take().0.is_empty() {
            last = clock::now();
        }
    }
    let mut heard = [last; 3];
    for (at, task) in heard.iter_mut().skip(1).zip([&mut direct, &mut through]) {
        let finished = tokio::time::timeout_at(give_up.into(), &mut *task).await;
        task.abort();
        *at = finished.map_or(Ok(give_up), |done| done?)?;
    }
    Ok(heard.map(|at| seconds(ended, at)))
}

/// Where a player's answers come from.
enum Reader {
    Server(String),
    Edge(Box<Http2>),
}

impl Reader {
    async fn get(&mut self, path: &str) -> anyhow::Result<http::Response> {
        match self {
            Self::Server(origin) => http::get(&format!("{}{path}", origin.trim_end_matches('/'))).await,
            Self::Edge(connection) => connection.get(path, &[]).await,
        }
    }
}

/// Follows the live edge as a player does until it is refused. When the last media came.
async fn follow(mut reader: Reader, playlist: String) -> anyhow::Result<Instant> {
    let folder = playlist.rsplit_once('/').context("no folder")?.0;
    let mut answer = reader.get(&playlist).await?.success()?;
    let mut last = None;
    loop {
        let (segment, part) = hls::hinted_part(&answer.text())?;
        for path in [
            format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}"),
            format!("{folder}/{segment}.{part}.m4s"),
        ] {
            let next = reader.get(&path).await?;
            if matches!(next.status, 401 | 403) {
                return last.context("refused from the beginning");
            }
            anyhow::ensure!(next.status == 200, "{path}: {}: {}", next.status, next.text());
            last = Some(clock::now());
            if path.contains('?') {
                answer = next;
            }
        }
    }
}

/// A token of this benchmark's key.
fn mint(arguments: &[&str]) -> anyhow::Result<String> {
    server::token(&[&["--set", &format!("auth.secret={SECRET}")], arguments].concat())
}

/// How long a token still holds.
fn until_expiry(token: &str) -> anyhow::Result<Duration> {
    let claims = token.split('.').nth(1).context("not a token")?;
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let expiry = Duration::from_secs(claims["exp"].as_u64().context("no expiry")?);
    let now = Duration::from_nanos(u64::try_from(clock::utc().unix_nanos())?);
    expiry.checked_sub(now).context("it is over")
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() - from.saturating_duration_since(to).as_secs_f64()
}
