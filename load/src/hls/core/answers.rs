//! HTTP answers: what a status and its headers must say.

use bytes::Bytes;

use super::headers;
use super::ledger::{At, Ledger};

/// An answer, header names in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// Whether it came over HTTP/2 or 3; None where there is no TLS to agree on it with.
    pub(crate) modern: Option<bool>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// How long caches in front of players may keep it, in seconds: s-maxage, or else max-age.
    pub(crate) fn max_age(&self) -> Option<i64> {
        let value = self.header("cache-control")?;
        let of = |name: &str| {
            let value = value.split(',').find_map(|word| word.trim().strip_prefix(name))?;
            value.strip_prefix('=')?.parse().ok()
        };
        of("s-maxage").or_else(|| of("max-age"))
    }

    fn media_type(&self) -> &str {
        self.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default().trim()
    }
}

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Playlist,
    /// A playlist request that could block.
    Blocking,
    /// The same, and what it asked for is not in its answer.
    Stale,
    Media,
}

/// Judges what every answer must have. `target` is TARGETDURATION in seconds.
pub(crate) fn judge(ledger: &mut Ledger, reply: &Reply, kind: Kind, target: i64) {
    let at = At::whole(&reply.url);
    headers::judge(ledger, reply, kind);
    let cors = reply.header("access-control-allow-origin");
    ledger.judge(64, cors.is_some(), at, || format!("{} without Access-Control-Allow-Origin", reply.status));
    if let Some(modern) = reply.modern {
        ledger.judge(59, modern, at, || "HTTP/1.1: Apple's players stay at normal latency".into());
    }
    let age = reply.max_age();
    let (least, most) = match (kind, reply.status) {
        (Kind::Blocking, 200) => (1, 6 * target),
        (Kind::Blocking | Kind::Stale, 400..) => (0, 4 * target),
        (Kind::Stale, 200) => (0, 0),
        (Kind::Playlist, 200) => (0, (target + 1) / 2),
        (Kind::Playlist | Kind::Media, 400..) => (0, target),
        (Kind::Media, 200 | 206) => (6 * target, i64::MAX),
        _ => return,
    };
    // Errors, and what is not what was asked for, may be forbidden to be kept; media and blocking answers must not be.
    let kept = kind != Kind::Stale && reply.status < 400;
    let holds = age.map_or(!kept, |age| (least..=most).contains(&age));
    ledger.judge(62, holds, at, || {
        format!(
            "{} with Cache-Control {:?}: max-age of {least} to {most} s is right",
            reply.status,
            reply.header("cache-control")
        )
    });
    if reply.status != 200 {
        return;
    }
    if kind == Kind::Media {
        let right = matches!(reply.media_type(), "video/mp4" | "audio/mp4" | "video/iso.segment");
        ledger.judge(66, right, at, || format!("media of type {:?}", reply.media_type()));
    } else {
        let path = reply.url.split(['?', '#']).next().unwrap_or_default();
        let named = matches!(reply.media_type(), "application/vnd.apple.mpegurl" | "audio/mpegurl");
        ledger.judge(
            2,
            named || (path.ends_with(".m3u8") && reply.media_type() != "application/x-mpegURL"),
            at,
            || format!("a playlist of type {:?}", reply.media_type()),
        );
    }
}

/// Judges the answer to a query that must be refused with 400.
pub(crate) fn judge_refusal(ledger: &mut Ledger, rule: u8, reply: &Reply) {
    ledger.judge(rule, reply.status == 400, At::whole(&reply.url), || {
        format!("answered with {}", reply.status)
    });
}

/// Judges an answer to `Accept-Encoding: gzip` and one without it.
pub(crate) fn judge_gzip(ledger: &mut Ledger, with: &Reply, without: &Reply) {
    let vary = with.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("accept-encoding"));
    let zipped = with.header("content-encoding") == Some("gzip") && with.body.starts_with(&[0x1f, 0x8b]);
    ledger.judge(61, zipped && vary, At::whole(&with.url), || {
        format!("Content-Encoding {:?}, Vary {:?}", with.header("content-encoding"), with.header("vary"))
    });
    ledger.judge(61, without.header("content-encoding").is_none(), At::whole(&without.url), || {
        "encoded, though nobody accepts it".into()
    });
}

/// Judges a conditional request that repeats an ETag.
pub(crate) fn judge_not_modified(ledger: &mut Ledger, reply: &Reply) {
    let empty = reply.status == 304 && reply.body.is_empty();
    ledger.judge(65, empty, At::whole(&reply.url), || {
        format!("its own ETag is answered with {}", reply.status)
    });
}

/// Judges `Range: bytes=4-7` of `whole`.
pub(crate) fn judge_range(ledger: &mut Ledger, reply: &Reply, whole: &[u8]) {
    let range = format!("bytes 4-7/{}", whole.len());
    let right = reply.status == 206
        && whole.get(4..8) == Some(&reply.body[..])
        && reply.header("content-range") == Some(&range);
    ledger.judge(65, right, At::whole(&reply.url), || {
        format!(
            "bytes 4-7 are answered with {}, {} bytes, Content-Range {:?}",
            reply.status,
            reply.body.len(),
            reply.header("content-range")
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], body: &'static [u8]) -> Reply {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reply {
            url: "http://h/a.m3u8".into(),
            status,
            headers,
            body: Bytes::from_static(body),
            modern: Some(true),
        }
    }

    fn broken(judge: impl FnOnce(&mut Ledger)) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger);
        ledger.broken()
    }

    #[test]
    fn headers_can_be_wrong() {
        let cors = ("access-control-allow-origin", "*");
        let list = ("content-type", "application/vnd.apple.mpegurl");
        let see = |reply: Reply, kind| broken(|ledger| judge(ledger, &reply, kind, 2));
        let age = |age| ("cache-control", age);
        assert_eq!(see(reply(200, &[cors, list, age("max-age=1")], b""), Kind::Playlist), [0_u8; 0]);
        assert_eq!(see(reply(200, &[cors, list, age("public, max-age=12")], b""), Kind::Blocking), [0_u8; 0]);
        assert_eq!(see(reply(400, &[cors], b""), Kind::Blocking), [0_u8; 0]);
        assert_eq!(see(reply(200, &[list, age("max-age=1")], b""), Kind::Playlist), [64]);
        assert_eq!(see(reply(200, &[cors, list, age("max-age=5")], b""), Kind::Playlist), [62]);
        assert_eq!(see(reply(200, &[cors, list, age("no-cache")], b""), Kind::Blocking), [62]);
        assert_eq!(see(reply(200, &[cors, list, age("no-store")], b""), Kind::Stale), [0_u8; 0]);
        assert_eq!(see(reply(200, &[cors, list, age("max-age=12")], b""), Kind::Stale), [62]);
        assert_eq!(see(reply(404, &[cors, age("max-age=60")], b""), Kind::Media), [62]);
        assert_eq!(see(reply(400, &[cors, age("max-age=9")], b""), Kind::Blocking), [62]);
        assert_eq!(see(reply(404, &[cors, age("max-age=3")], b""), Kind::Playlist), [62]);
        assert_eq!(see(reply(206, &[cors, age("max-age=11")], b""), Kind::Media), [62]);
        assert_eq!(see(reply(200, &[cors, list, age("max-age=1,s-maxage=5")], b""), Kind::Playlist), [62]);
        assert_eq!(
            see(reply(200, &[cors, ("content-type", "text/html"), age("max-age=11")], b""), Kind::Media),
            [62, 66]
        );
        let wrong = ("content-type", "application/x-mpegURL");
        assert_eq!(see(reply(200, &[cors, wrong, age("max-age=1")], b""), Kind::Playlist), [2]);
        let old = Reply { modern: Some(false), ..reply(200, &[cors, list, age("max-age=1")], b"") };
        assert_eq!(see(old, Kind::Playlist), [59]);
    }

    #[test]
    fn answers_can_be_wrong() {
        let (plain, zipped) = (
            reply(200, &[], b""),
            reply(200, &[("content-encoding", "gzip"), ("vary", "Accept-Encoding")], &[0x1f, 0x8b]),
        );
        assert_eq!(broken(|l| judge_gzip(l, &zipped, &plain)), [0_u8; 0]);
        assert_eq!(broken(|l| judge_gzip(l, &plain, &plain)), [61]);
        assert_eq!(broken(|l| judge_gzip(l, &zipped, &zipped)), [61]);
        assert_eq!(broken(|l| judge_refusal(l, 40, &plain)), [40]);
        assert_eq!(broken(|l| judge_refusal(l, 41, &plain)), [41]);
        assert_eq!(broken(|l| judge_refusal(l, 40, &reply(400, &[], b""))), [0_u8; 0]);
        assert_eq!(broken(|l| judge_not_modified(l, &reply(304, &[], b""))), [0_u8; 0]);
        assert_eq!(broken(|l| judge_not_modified(l, &plain)), [65]);
        let some = reply(206, &[("content-range", "bytes 4-7/9")], b"4567");
        assert_eq!(broken(|l| judge_range(l, &some, b"012345678")), [0_u8; 0]);
        assert_eq!(broken(|l| judge_range(l, &some, b"0123456789")), [65]);
        assert_eq!(broken(|l| judge_range(l, &plain, b"012345678")), [65]);
    }
}
