//! Questions that a player does not ask: bad queries, conditions, ranges, encodings.

use bicast_shared::clock;
use std::time::Duration;

use super::core::answers::{self, Kind, Reply};
use super::core::ledger::At;
use super::core::playlist::Media;
use super::core::sequence;
use super::follow::{Follower, read, with};

/// A query parameter that is not a directive, like a token.
const TOKEN: &str = "bicast-check=1";
/// Full playlist and delta must be of the same moment; a part may come between them.
const TRIES: usize = 5;

/// Asks them.
///
/// # Errors
/// Where the origin does not answer at all.
pub(crate) async fn probe(follower: &mut Follower) -> anyhow::Result<()> {
    queries(follower).await?;
    old(follower).await?;
    encodings(follower).await?;
    media(follower).await?;
    tokens(follower).await?;
    delta(follower).await
}

async fn ask(follower: &Follower, directives: &str) -> anyhow::Result<Reply> {
    follower.fetch.get(&with(&follower.url, directives), &[]).await
}

fn target(follower: &Follower) -> i64 {
    follower.last.target().unwrap_or(1)
}

async fn queries(follower: &mut Follower) -> anyhow::Result<()> {
    let far = follower.last.next_part().0.saturating_add(1_000);
    let many = "9".repeat(21);
    let bad = [
        (40, format!("_HLS_msn={far}")),
        (40, format!("_HLS_msn={far}&_HLS_part=0")),
        (41, "_HLS_part=0".to_owned()),
        (41, "_HLS_msn=-1".to_owned()),
        (41, "_HLS_msn=x".to_owned()),
        (41, format!("_HLS_msn={many}")),
    ];
    for (rule, query) in bad {
        let reply = ask(follower, &query).await?;
        answers::judge_refusal(&mut follower.ledger, rule, &reply);
        let target = target(follower);
        answers::judge(&mut follower.ledger, &reply, Kind::Blocking, target);
    }
    let reply = ask(follower, "_HLS_bicast=1").await?;
    follower.ledger.judge(41, reply.status == 200, At::whole(&reply.url), || {
        format!("an unknown directive is answered with {}", reply.status)
    });
    Ok(())
}

async fn old(follower: &mut Follower) -> anyhow::Result<()> {
    let begun = clock::now();
    let reply = ask(follower, &format!("_HLS_msn={}", follower.last.sequence.saturating_sub(1))).await?;
    let waited = clock::now().saturating_duration_since(begun);
    let soon = waited < Duration::from_secs(u64::try_from(target(follower)).unwrap_or(1));
    follower.ledger.judge(39, reply.status == 200 && soon, At::whole(&reply.url), || {
        format!("an old segment is answered with {} after {:.1} s", reply.status, waited.as_secs_f64())
    });
    Ok(())
}

async fn encodings(follower: &mut Follower) -> anyhow::Result<()> {
    let plain = follower.fetch.get(&follower.url, &[]).await?;
    let zipped = follower.fetch.get(&follower.url, &[("accept-encoding", "gzip")]).await?;
    answers::judge_gzip(&mut follower.ledger, &zipped, &plain);
    Ok(())
}

async fn media(follower: &mut Follower) -> anyhow::Result<()> {
    let nothing = follower.url.join("bicast-check-nothing.m4s")?;
    let reply = follower.fetch.get(&nothing, &[]).await?;
    follower
        .ledger
        .judge(33, reply.status == 404, At::whole(&reply.url), || format!("answered with {}", reply.status));
    let target = target(follower);
    answers::judge(&mut follower.ledger, &reply, Kind::Media, target);
    let segment = follower.last.segments.iter().rev().find(|segment| segment.uri.is_some() && !segment.gap);
    let Some(url) = segment.and_then(|segment| follower.url.join(segment.uri.as_deref()?).ok()) else {
        return Ok(());
    };
    let whole = follower.fetch.get(&url, &[]).await?;
    if whole.status != 200 {
        return Ok(());
    }
    let some = follower.fetch.get(&url, &[("range", "bytes=4-7")]).await?;
    answers::judge_range(&mut follower.ledger, &some, &whole.body);
    if let Some(tag) = whole.header("etag") {
        let same = follower.fetch.get(&url, &[("if-none-match", tag)]).await?;
        answers::judge_not_modified(&mut follower.ledger, &same);
    }
    Ok(())
}

async fn tokens(follower: &mut Follower) -> anyhow::Result<()> {
    let reply = ask(follower, &format!("{TOKEN}&_HLS_msn={}", follower.last.sequence)).await?;
    if reply.status != 200 {
        return Ok(());
    }
    let list = Media::parse(&String::from_utf8_lossy(&reply.body));
    let parts = list.segments.iter().flat_map(|segment| segment.parts.iter().map(|part| part.uri.as_str()));
    let others = list.hints.iter().chain(&list.reports).filter_map(|tag| tag.attributes.get("URI"));
    let uris: Vec<_> = list
        .segments
        .iter()
        .filter_map(|segment| segment.uri.as_deref())
        .chain(parts)
        .chain(others)
        .collect();
    let wrong = uris.iter().find(|uri| !uri.contains(TOKEN) || uri.contains("_HLS_"));
    follower.ledger.judge(68, wrong.is_none(), At::whole(&reply.url), || format!("{wrong:?} in its answer"));
    Ok(())
}

async fn delta(follower: &mut Follower) -> anyhow::Result<()> {
    if follower.last.control.attributes.get("CAN-SKIP-UNTIL").is_none() || follower.last.ended {
        return Ok(());
    }
    for _ in 0..TRIES {
        let (number, index) = follower.last.next_part();
        let (url, block) = (follower.url.clone(), format!("_HLS_msn={number}&_HLS_part={index}"));
        let (full, skip) = (with(&url, &block), with(&url, &format!("{block}&_HLS_skip=YES")));
        let (full, short) = tokio::join!(follower.fetch.get(&full, &[]), follower.fetch.get(&skip, &[]));
        let (full, short) = (full?, short?);
        if full.status != 200 || short.status != 200 {
            return Ok(());
        }
        follower.last = read(&mut follower.ledger, &full, Kind::Blocking);
        let delta = read(&mut follower.ledger, &short, Kind::Blocking);
        if delta.next_part() == follower.last.next_part() {
            sequence::judge_delta(&mut follower.ledger, &short.url, &follower.last, &delta);
            return Ok(());
        }
    }
    Ok(())
}
