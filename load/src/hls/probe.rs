//! Questions that a player does not ask: bad queries, conditions, ranges, encodings, the same thing twice.

use std::time::Duration;

use bicast_shared::clock;
use url::Url;

use super::core::answers::{self, Kind, Reply};
use super::core::blocking::{self, Answer};
use super::core::playlist::Media;
use super::core::{dateranges, headers, sequence, together};
use super::follow::{Follower, read, with};

/// A query parameter that is not a directive, like a token.
const TOKEN: &str = "bicast-check=1";
/// Answers that are compared must be of the same moment; a part may come between them.
const TRIES: usize = 5;
/// Who has not refused a request after this time holds it.
const HELD: Duration = Duration::from_secs(1);

/// Asks them: some thirty requests about each playlist, of which a few are held.
///
/// # Errors
/// Where the origin does not answer at all.
pub(crate) async fn probe(follower: &mut Follower) -> anyhow::Result<()> {
    if follower.last.ended {
        ended(follower).await?;
    } else {
        queries(follower).await?;
        twins(follower).await?;
        limits(follower).await?;
        segments(follower).await?;
    }
    old(follower).await?;
    encodings(follower).await?;
    media(follower).await?;
    preflights(follower).await?;
    tokens(follower).await?;
    deltas(follower).await
}

async fn ask(follower: &Follower, directives: &str) -> anyhow::Result<Reply> {
    follower.wait(&with(&follower.url, directives)).await.0
}

/// The playlist of an answer.
fn listed(reply: &Reply) -> Option<Media> {
    (reply.status == 200).then(|| Media::parse(&String::from_utf8_lossy(&reply.body)))
}

/// Asks and lets `judge` have the answer. The playlist that came.
async fn judged(
    follower: &mut Follower,
    directives: &str,
    judge: impl FnOnce(&mut Follower, &Answer<'_>),
) -> anyhow::Result<Option<Media>> {
    let url = with(&follower.url, directives);
    let (reply, waited) = follower.wait(&url).await;
    let reply = reply?;
    let (media, target) = (listed(&reply), follower.target());
    let status = Some(reply.status);
    judge(follower, &Answer { url: url.as_str(), status, media: media.as_ref(), waited, target });
    answers::judge(&mut follower.ledger, &reply, Kind::Blocking, target);
    Ok(media)
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
        let target = follower.target();
        answers::judge(&mut follower.ledger, &reply, Kind::Blocking, target);
    }
    let reply = ask(follower, "_HLS_bicast=1").await?;
    headers::judge_ignored(&mut follower.ledger, &reply);
    Ok(())
}

/// The same blocked request twice at once. The first round finds out what there is to wait for.
async fn twins(follower: &mut Follower) -> anyhow::Result<()> {
    let mut tries = 0;
    for round in 0..TRIES {
        let (number, index) = follower.last.next_part();
        let url = with(&follower.url, &format!("_HLS_msn={number}&_HLS_part={index}"));
        let (one, two) = tokio::join!(follower.wait(&url), follower.wait(&url));
        let (one, two) = (one.0?, two.0?);
        let Some(last) = listed(&one).filter(|_| two.status == 200) else { return Ok(()) };
        if last.ended || last.next_part() <= (number, index) {
            return Ok(());
        }
        follower.last = last;
        if round == 0 {
            continue;
        }
        tries += 1;
        if one.body == two.body {
            blocking::judge_twins(&mut follower.ledger, url.as_str(), true, tries);
            return Ok(());
        }
    }
    blocking::judge_twins(&mut follower.ledger, follower.url.as_str(), false, tries);
    Ok(())
}

/// The furthest that may be asked for, and a part beyond it.
async fn limits(follower: &mut Follower) -> anyhow::Result<()> {
    let (number, _) = follower.last.next_part();
    let far = blocking::far_part(&follower.last);
    let reply = ask(follower, &format!("_HLS_msn={number}&_HLS_part={far}")).await?;
    // Once its segment has ended it means the first part of the next.
    if listed(&reply).is_none_or(|media| media.next_part().0 <= number) {
        answers::judge_refusal(&mut follower.ledger, 40, &reply);
    }
    // Whether that one has begun or not, the one before it is complete.
    let url = with(&follower.url, &format!("_HLS_msn={}", number.saturating_add(1)));
    let near = tokio::time::timeout(HELD, follower.wait(&url)).await;
    let status = match near {
        Ok((reply, _)) => Some(reply?.status),
        Err(_) => None,
    };
    blocking::judge_near(&mut follower.ledger, url.as_str(), status);
    Ok(())
}

/// A segment without a part: one that has begun, and the one after it.
async fn segments(follower: &mut Follower) -> anyhow::Result<()> {
    for _ in 0..2 {
        let (number, parts) = follower.last.next_part();
        let judge = |follower: &mut Follower, answer: &Answer<'_>| {
            blocking::judge_segment(&mut follower.ledger, answer, number, parts);
        };
        let Some(last) = judged(follower, &format!("_HLS_msn={number}"), judge).await? else { return Ok(()) };
        follower.last = last;
    }
    Ok(())
}

async fn old(follower: &mut Follower) -> anyhow::Result<()> {
    let query = format!("_HLS_msn={}", follower.last.sequence.saturating_sub(1));
    let judge = |follower: &mut Follower, answer: &Answer<'_>| {
        blocking::judge_old(&mut follower.ledger, answer);
    };
    judged(follower, &query, judge).await.map(drop)
}

/// Directives to a playlist that has ended.
async fn ended(follower: &mut Follower) -> anyhow::Result<()> {
    let query = format!("_HLS_msn={}&_HLS_skip=YES", follower.last.next_part().0.saturating_add(1_000));
    let judge = |follower: &mut Follower, answer: &Answer<'_>| {
        blocking::judge_ended(&mut follower.ledger, answer);
    };
    judged(follower, &query, judge).await.map(drop)
}

async fn encodings(follower: &mut Follower) -> anyhow::Result<()> {
    let plain = follower.fetch.get(&follower.url, &[]).await?;
    let zipped = follower.fetch.get(&follower.url, &[("accept-encoding", "gzip")]).await?;
    answers::judge_gzip(&mut follower.ledger, &zipped, &plain);
    let target = follower.target();
    for reply in [&plain, &zipped] {
        answers::judge(&mut follower.ledger, reply, Kind::Playlist, target);
        headers::judge_exposed(&mut follower.ledger, reply);
    }
    Ok(())
}

/// The newest whole segment.
fn newest(follower: &Follower) -> Option<Url> {
    let mut segments = follower.last.segments.iter().rev();
    let segment = segments.find(|segment| segment.uri.is_some() && !segment.gap)?;
    follower.url.join(segment.uri.as_deref()?).ok()
}

async fn media(follower: &mut Follower) -> anyhow::Result<()> {
    let nothing = follower.url.join("bicast-check-nothing.m4s")?;
    let (begun, target) = (clock::now(), follower.target());
    let reply = follower.fetch.get(&nothing, &[]).await?;
    let waited = clock::now().saturating_duration_since(begun).as_secs_f64();
    headers::judge_unknown(&mut follower.ledger, &reply, waited, target);
    answers::judge(&mut follower.ledger, &reply, Kind::Media, target);
    let Some(url) = newest(follower) else { return Ok(()) };
    let whole = follower.fetch.get(&url, &[]).await?;
    if whole.status != 200 {
        return Ok(());
    }
    headers::judge_exposed(&mut follower.ledger, &whole);
    let some = follower.fetch.get(&url, &[("range", "bytes=4-7")]).await?;
    answers::judge_range(&mut follower.ledger, &some, &whole.body);
    answers::judge(&mut follower.ledger, &some, Kind::Media, target);
    if let Some(tag) = whole.header("etag") {
        let same = follower.fetch.get(&url, &[("if-none-match", tag)]).await?;
        answers::judge_not_modified(&mut follower.ledger, &same);
    }
    Ok(())
}

async fn preflights(follower: &mut Follower) -> anyhow::Result<()> {
    for url in [Some(follower.url.clone()), newest(follower)].into_iter().flatten() {
        let reply = follower.fetch.preflight(&url).await?;
        headers::judge_preflight(&mut follower.ledger, &reply);
    }
    Ok(())
}

async fn tokens(follower: &mut Follower) -> anyhow::Result<()> {
    let reply = ask(follower, &format!("{TOKEN}&_HLS_msn={}", follower.last.sequence)).await?;
    if let Some(list) = listed(&reply) {
        together::judge_token(&mut follower.ledger, &reply.url, &list, TOKEN);
    }
    Ok(())
}

async fn deltas(follower: &mut Follower) -> anyhow::Result<()> {
    if follower.last.control.attributes.get("CAN-SKIP-UNTIL").is_none() || follower.last.ended {
        return Ok(());
    }
    if let Some((url, short)) = delta(follower, "YES").await? {
        sequence::judge_delta(&mut follower.ledger, &url, &follower.last, &short);
    }
    if follower.last.control.attributes.is("CAN-SKIP-DATERANGES", "YES")
        && let Some((url, short)) = delta(follower, "v2").await?
    {
        dateranges::judge_v2(&mut follower.ledger, &url, &follower.last, &short);
    }
    Ok(())
}

/// A delta of the same moment as `follower.last`, and its address.
async fn delta(follower: &mut Follower, skip: &str) -> anyhow::Result<Option<(String, Media)>> {
    for _ in 0..TRIES {
        let (number, index) = follower.last.next_part();
        let block = format!("_HLS_msn={number}&_HLS_part={index}");
        let full = with(&follower.url, &block);
        let short = with(&follower.url, &format!("{block}&_HLS_skip={skip}"));
        let (full, short) = tokio::join!(follower.wait(&full), follower.wait(&short));
        let (full, short) = (full.0?, short.0?);
        if full.status != 200 || short.status != 200 {
            return Ok(None);
        }
        follower.last = read(&mut follower.ledger, &full, Kind::Blocking);
        let delta = read(&mut follower.ledger, &short, Kind::Blocking);
        if delta.next_part() == follower.last.next_part() {
            return Ok(Some((short.url, delta)));
        }
    }
    Ok(None)
}
