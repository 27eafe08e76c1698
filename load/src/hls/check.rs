//! The command: finds the playlists, follows them all at once, asks the questions, prints the report.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use tokio::task::JoinSet;
use url::Url;

use super::core::answers::{self, Kind};
use super::core::blocking::{self, Answer};
use super::core::ledger::Ledger;
use super::core::playlist::{Media, Multivariant};
use super::core::variants::{self, Seen};
use super::core::{headers, together};
use super::fetch::Fetch;
use super::follow::{Follower, Newest, with};
use super::probe;

const EXAMPLES: &str = "\
Examples:
  bicast check hls http://127.0.0.1:8080/hls/demo/multivariant.m3u8
  bicast check hls https://127.0.0.1:8443/hls/demo/multivariant.m3u8 --insecure --seconds 60

Follows every media playlist at the live edge by blocking reload, loads each part by its hint and each segment, and sends
the questions that players do not: bad queries, conditions, ranges, the same thing twice. Each rule is told as kept, broken
(with the address and line) or, with the reason, as not seen, about something that the origin does not use, or not to be
judged from outside. When parts come is judged with a second of room for the network. Rules are those of draft-pantos-hls-rfc8216bis, Apple's authoring specification,
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
    let first = followers.first().context("there is no media playlist")?;
    answers::judge(&mut ledger, &reply, Kind::Playlist, first.target());
    headers::judge_exposed(&mut ledger, &reply);
    let iframes = iframes(&mut ledger, first, &url, &list).await?;
    let playlists = at_once(&fetch, &followers).await;
    let renditions: Vec<_> = followers.iter().map(|one| one.url.as_str()).zip(&playlists).collect();
    together::judge_all(&mut ledger, &renditions, &iframes, list.independent_segments);
    judge_variants(&mut ledger, &url, &list, &followers);
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

/// All media playlists as they are now: loaded at the same time, they can be compared.
async fn at_once(fetch: &Fetch, followers: &[Follower]) -> Vec<Media> {
    let mut tasks = JoinSet::new();
    for (place, follower) in followers.iter().enumerate() {
        let (fetch, url) = (fetch.clone(), follower.url.clone());
        tasks.spawn(async move { (place, fetch.get(&url, &[]).await) });
    }
    let mut all: Vec<_> = followers.iter().map(|one| one.last.clone()).collect();
    while let Some(done) = tasks.join_next().await {
        if let Ok((place, Ok(reply))) = done
            && let Some(known) = all.get_mut(place)
            && reply.status == 200
        {
            *known = Media::parse(&String::from_utf8_lossy(&reply.body));
        }
    }
    all
}

fn judge_variants(ledger: &mut Ledger, url: &Url, list: &Multivariant, followers: &[Follower]) {
    let uris = list.playlists();
    let seen = |uri: &str| {
        let place = uris.iter().position(|known| known == uri);
        place.and_then(|at| followers.get(at)).map_or_else(Seen::default, Follower::seen)
    };
    for (tag, uri) in &list.variants {
        let sounds = list.groups.iter().filter(|group| {
            group.attributes.is("TYPE", "AUDIO")
                && group.attributes.get("GROUP-ID") == tag.attributes.get("AUDIO")
        });
        let sounds: Vec<_> = sounds.filter_map(|group| group.attributes.get("URI")).map(seen).collect();
        variants::judge(ledger, url.as_str(), tag, seen(uri), &sounds);
    }
}

/// Judges the playlists of keyframes. Their addresses.
async fn iframes(
    ledger: &mut Ledger,
    first: &Follower,
    url: &Url,
    list: &Multivariant,
) -> anyhow::Result<Vec<Url>> {
    let mut urls = Vec::new();
    for uri in list.iframes.iter().filter_map(|tag| tag.attributes.get("URI")) {
        let (url, reply) = first.fetch.find(&url.join(uri)?).await?;
        let media = Media::parse(&String::from_utf8_lossy(&reply.body));
        together::judge_iframes(ledger, url.as_str(), reply.status, &media, &first.last);
        if !media.ended {
            let number = media.next_part().0;
            let held = with(&url, &format!("_HLS_msn={number}"));
            let (reply, waited) = first.wait(&held).await;
            let reply = reply?;
            let listed = (reply.status == 200).then(|| Media::parse(&String::from_utf8_lossy(&reply.body)));
            let (status, target) = (Some(reply.status), first.target());
            let answer = Answer { url: held.as_str(), status, media: listed.as_ref(), waited, target };
            blocking::judge_keyframes(ledger, &answer, number);
        }
        urls.push(url);
    }
    Ok(urls)
}
