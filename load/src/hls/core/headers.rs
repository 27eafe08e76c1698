//! Headers of HTTP answers beyond those that each must have: validators, lengths, priorities, ages, preflights.

use super::answers::{Kind, Reply};
use super::ledger::{At, Ledger};

/// Judges what an answer says of itself, where it says anything.
pub(crate) fn judge(ledger: &mut Ledger, reply: &Reply, kind: Kind) {
    let at = At::whole(&reply.url);
    if let Some(length) = reply.header("content-length") {
        let empty = matches!(reply.status, 204 | 304);
        ledger.judge(65, empty || length.parse() == Ok(reply.body.len()), at, || {
            format!("Content-Length {length} of {} bytes", reply.body.len())
        });
    }
    if kind == Kind::Media {
        ledger.judge(65, !(300..400).contains(&reply.status) || reply.status == 304, at, || {
            format!("a redirect of media ({})", reply.status)
        });
    }
    if let Some(age) = reply.header("age") {
        let seconds = age.parse::<u64>().ok();
        let fresh = reply.max_age().and_then(|most| u64::try_from(most).ok());
        let right = seconds.is_some_and(|age| fresh.is_none_or(|most| age <= most));
        ledger.judge(63, right, at, || format!("Age {age:?} where {fresh:?} s are fresh"));
    }
    if let (Some(priority), 200 | 206) = (reply.header("priority"), reply.status) {
        let urgency = priority.split(',').find_map(|part| part.trim().strip_prefix("u=")?.parse::<u8>().ok());
        let right = urgency.is_some_and(|urgency| match kind {
            Kind::Media => (2..=6).contains(&urgency),
            Kind::Playlist | Kind::Blocking | Kind::Stale => urgency == 1,
        });
        ledger.judge(60, right, at, || format!("Priority {priority:?}"));
    }
}

/// Judges an answer against the one before it from the same playlist: another text has another ETag.
pub(crate) fn judge_etag(ledger: &mut Ledger, before: &Reply, after: &Reply) {
    let (Some(old), Some(new)) = (before.header("etag"), after.header("etag")) else { return };
    if before.body != after.body {
        ledger.judge(65, old != new, At::whole(&after.url), || format!("another text under the ETag {old}"));
    }
}

/// Whether a header with a list has this item, or `*`.
fn lists(reply: &Reply, name: &str, wanted: &str) -> bool {
    let value = reply.header(name).unwrap_or_default();
    value.split(',').map(str::trim).any(|item| item == "*" || item.eq_ignore_ascii_case(wanted))
}

/// Judges a preflight for `Range`.
pub(crate) fn judge_preflight(ledger: &mut Ledger, reply: &Reply) {
    let right = (200..300).contains(&reply.status)
        && reply.header("access-control-allow-origin").is_some()
        && lists(reply, "access-control-allow-headers", "range");
    ledger.judge(64, right, At::whole(&reply.url), || {
        format!("a preflight for Range is answered with {}, and does not allow it", reply.status)
    });
}

/// Judges what pages may read of an answer. Content-Length is readable without being named in newer browsers only.
pub(crate) fn judge_exposed(ledger: &mut Ledger, reply: &Reply) {
    let readable = |wanted: &&str| lists(reply, "access-control-expose-headers", wanted);
    let missing: Vec<_> =
        ["date", "age", "content-length"].into_iter().filter(|one| !readable(one)).collect();
    ledger.judge(64, missing.is_empty(), At::whole(&reply.url), || {
        format!("Access-Control-Expose-Headers lacks {missing:?}")
    });
}

/// Judges the answer to an address that was never listed nor hinted. `waited` and `target` are in seconds.
pub(crate) fn judge_unknown(ledger: &mut Ledger, reply: &Reply, waited: f64, target: i64) {
    let soon = waited < target as f64;
    ledger.judge(33, reply.status == 404 && soon, At::whole(&reply.url), || {
        format!("unknown media is answered with {} after {waited:.1} s", reply.status)
    });
}

/// Judges whether a directive that nobody knows was ignored.
pub(crate) fn judge_ignored(ledger: &mut Ledger, reply: &Reply) {
    ledger.judge(41, reply.status == 200, At::whole(&reply.url), || {
        format!("an unknown directive is answered with {}", reply.status)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn reply(status: u16, headers: &[(&str, &str)], body: &'static [u8]) -> Reply {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reply { url: "u".into(), status, headers, body: Bytes::from_static(body), modern: None }
    }

    fn broken(judge: impl FnOnce(&mut Ledger)) -> Vec<u8> {
        let mut ledger = Ledger::default();
        judge(&mut ledger);
        ledger.broken()
    }

    #[test]
    fn what_answers_say_of_themselves_can_be_wrong() {
        let see = |status, headers: &[(&str, &str)], kind| {
            broken(|ledger| judge(ledger, &reply(status, headers, b"abc"), kind))
        };
        assert_eq!(see(200, &[("content-length", "3"), ("priority", "u=1, i")], Kind::Playlist), [0_u8; 0]);
        assert_eq!(see(200, &[("content-length", "4")], Kind::Media), [65]);
        assert_eq!(see(302, &[], Kind::Media), [65]);
        assert_eq!(see(302, &[], Kind::Playlist), [0_u8; 0]);
        assert_eq!(see(200, &[("priority", "u=3")], Kind::Playlist), [60]);
        assert_eq!(see(200, &[("priority", "u=3")], Kind::Media), [0_u8; 0]);
        assert_eq!(see(200, &[("priority", "u=1")], Kind::Media), [60]);
        assert_eq!(see(200, &[("priority", "i")], Kind::Media), [60]);
        let old = |age| [("cache-control", "max-age=6"), ("age", age)];
        assert_eq!(see(200, &old("6"), Kind::Media), [0_u8; 0]);
        assert_eq!(see(200, &old("7"), Kind::Media), [63]);
        assert_eq!(see(200, &old("-1"), Kind::Media), [63]);
    }

    #[test]
    fn another_text_has_another_etag() {
        let (one, two) = (reply(200, &[("etag", "\"a\"")], b"1"), reply(200, &[("etag", "\"b\"")], b"2"));
        assert_eq!(broken(|l| judge_etag(l, &one, &two)), [0_u8; 0]);
        assert_eq!(broken(|l| judge_etag(l, &one, &reply(200, &[("etag", "\"a\"")], b"2"))), [65]);
    }

    #[test]
    fn pages_of_other_origins_can_be_let_down() {
        let origin = ("access-control-allow-origin", "*");
        let see = |status, headers: &[_]| broken(|l| judge_preflight(l, &reply(status, headers, b"")));
        assert_eq!(see(204, &[origin, ("access-control-allow-headers", "Accept, Range")]), [0_u8; 0]);
        assert_eq!(see(204, &[origin, ("access-control-allow-headers", "accept")]), [64]);
        assert_eq!(see(405, &[origin, ("access-control-allow-headers", "*")]), [64]);
        assert_eq!(see(204, &[("access-control-allow-headers", "*")]), [64]);
        let exposed = |value| {
            broken(|l| judge_exposed(l, &reply(200, &[("access-control-expose-headers", value)], b"")))
        };
        assert_eq!(exposed("ETag, Date, Age, Content-Length"), [0_u8; 0]);
        assert_eq!(exposed("*"), [0_u8; 0]);
        assert_eq!(exposed("Date, Content-Length"), [64]);
    }

    #[test]
    fn what_is_unknown_is_refused_or_ignored() {
        assert_eq!(broken(|l| judge_unknown(l, &reply(404, &[], b""), 0.1, 2)), [0_u8; 0]);
        assert_eq!(broken(|l| judge_unknown(l, &reply(200, &[], b""), 0.1, 2)), [33]);
        assert_eq!(broken(|l| judge_unknown(l, &reply(404, &[], b""), 6.0, 2)), [33], "it was waited for");
        assert_eq!(broken(|l| judge_ignored(l, &reply(200, &[], b""))), [0_u8; 0]);
        assert_eq!(broken(|l| judge_ignored(l, &reply(400, &[], b""))), [41]);
    }
}
