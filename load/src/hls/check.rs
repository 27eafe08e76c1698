//! The command: finds the playlists, follows them all at once, asks the questions, prints the report.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use tokio::task::JoinSet;
use url::Url;

use super::core::answers::{self, Kind};
use super::core::ledger::{At, Ledger};
use super::core::playlist::{Media, Multivariant};
use super::core::together;
use super::fetch::Fetch;
use super::follow::{Follower, Newest};
use super::probe;

const EXAMPLES: &str = "\
Examples:
  bicast check hls http://127.0.0.1:8080/hls/demo/multivariant.m3u8
  bicast check hls https://127.0.0.1:8443/hls/demo/multivariant.m3u8 --insecure --seconds 60

Follows every media playlist at the live edge by blocking reload, loads each part by its hint and each segment, and sends
the questions that players do not: bad queries, conditions, ranges. Each rule is told as kept, broken (with the address and
line) or not seen (with the reason). Rules are those of draft-pantos-hls-rfc8216bis, Apple's authoring specification,
RFC 9110 and CMAF.

Exit codes: 0 no rule is broken, 1 some are or the check could not be made, 2 wrong arguments.";

/// Which rules of LL-HLS an origin keeps, as far as they are seen over the wire.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CheckArgs {
    /// The multivariant playlist
    #[arg(value_name = "URL")]
    pub url: Url,

    /// How long to follow the live edge
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,

    /// Take any certificate, a self-signed one for instance
    #[arg(long)]
    pub insecure: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks an origin and prints what was found. Whether no rule is broken.
///
/// # Errors
/// Where the origin does not answer, or with something that is no low-latency playlist.
pub async fn check(args: CheckArgs) -> anyhow::Result<bool> {
    let fetch = Fetch::new(args.insecure, args.url.scheme() == "https")?;
    let (url, reply) = fetch.find(&args.url).await.with_context(|| format!("cannot load {}", args.url))?;
    anyhow::ensure!(reply.status == 200, "{url} is answered with {}", reply.status);
    let list = Multivariant::parse(&String::from_utf8_lossy(&reply.body));
    anyhow::ensure!(!list.variants.is_empty(), "{url} is no multivariant playlist: it has no variants");
    let mut ledger = Ledger::default();
    together::judge(&mut ledger, url.as_str(), &list);

    let followers = follow(&fetch, &url, &list, Duration::from_secs(args.seconds)).await?;
    let target = followers.first().and_then(|one| one.last.target()).unwrap_or(1);
    answers::judge(&mut ledger, &reply, Kind::Playlist, target);
    let renditions: Vec<_> = followers.iter().map(|one| (one.url.as_str(), &one.last)).collect();
    together::judge_all(&mut ledger, &renditions, list.independent_segments);
    rates(&mut ledger, &url, &list, &followers);
    iframes(&mut ledger, &fetch, &url, &list, target).await?;
    for one in followers {
        ledger.add(one.ledger);
    }

    let report = ledger.report();
    let text =
        if args.json { format!("{}\n", serde_json::to_string_pretty(&report)?) } else { report.text() };
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot print the report")?;
    Ok(report.fail == 0)
}

async fn follow(
    fetch: &Fetch,
    url: &Url,
    list: &Multivariant,
    time: Duration,
) -> anyhow::Result<Vec<Follower>> {
    let newest = Newest::default();
    let until = clock::now() + time;
    let mut tasks = JoinSet::new();
    for (place, uri) in list.playlists().into_iter().enumerate() {
        let follower = Follower::open(fetch.clone(), url.join(&uri)?, newest.clone()).await?;
        tasks.spawn(async move {
            let mut follower = follower.run(until).await;
            let asked = probe::probe(&mut follower).await;
            asked.map(|()| (place, follower))
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.push(done??);
    }
    all.sort_by_key(|(place, _)| *place);
    Ok(all.into_iter().map(|(_, follower)| follower).collect())
}

/// A variant's rate is that of its picture and of the largest sound of its group.
fn rates(ledger: &mut Ledger, url: &Url, list: &Multivariant, followers: &[Follower]) {
    let uris = list.playlists();
    let peak = |uri: &str| {
        uris.iter().position(|known| known == uri).and_then(|at| followers.get(at)).map_or(0, |one| one.peak)
    };
    for (tag, uri) in &list.variants {
        let own = peak(uri);
        let sounds = list
            .groups
            .iter()
            .filter(|group| group.attributes.get("GROUP-ID") == tag.attributes.get("AUDIO"));
        let sound = sounds.filter_map(|group| group.attributes.get("URI")).map(peak).max().unwrap_or(0);
        if own > 0 {
            together::judge_rate(ledger, url.as_str(), tag, own + sound);
        }
    }
}

async fn iframes(
    ledger: &mut Ledger,
    fetch: &Fetch,
    url: &Url,
    list: &Multivariant,
    target: i64,
) -> anyhow::Result<()> {
    for tag in &list.iframes {
        let Some(uri) = tag.attributes.get("URI") else { continue };
        let (url, reply) = fetch.find(&url.join(uri)?).await?;
        let media = Media::parse(&String::from_utf8_lossy(&reply.body));
        let only = media.header.contains_key("EXT-X-I-FRAMES-ONLY")
            && media.segments.iter().all(|one| one.parts.is_empty());
        let right = reply.status == 200 && only && media.target() == Some(target);
        ledger.judge(47, right, At::whole(url.as_str()), || {
            format!("answered with {}: no I-frames only, parts, or another TARGETDURATION", reply.status)
        });
    }
    Ok(())
}
