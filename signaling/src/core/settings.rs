//! Feeds that are made and changed by request: a body in, settings out.

use bicast_shared::feed::settings::{FeedSettings, OutOfRange, Playout};
use bicast_shared::id::FeedId;
use bicast_shared::problem::Problem;
use serde_json::{Map, Value};
use std::time::Duration;

use crate::api::change::SettingsUpdate;

/// The settings by their names in JSON, and in files.
const NAMES: [(&str, &str); 5] = [
    ("publisherGrace", "publisher_grace"),
    ("segmentTarget", "segment_target"),
    ("partTarget", "part_target"),
    ("window", "window"),
    ("playout", "playout"),
];
/// Those that hold from the next publisher on.
const NEXT: [&str; 2] = ["segmentTarget", "partTarget"];
/// Longer texts are not repeated to who sent them.
const SHOWN: usize = 64;

/// Reads a body that makes a feed: which, and what is said about its settings.
///
/// # Errors
/// The member that is wrong, and how it should be.
pub(crate) fn new_feed(body: &[u8]) -> Result<(FeedId, Map<String, Value>), Box<Problem>> {
    const FORM: &str = r#"Send JSON like {"id": "studio", "settings": {"window": 600}}."#;
    let mut members = members(body, &["id", "settings"], FORM)?;
    let id = match members.remove("id") {
        Some(Value::String(id)) => id.parse().map_err(|error| Box::new(Problem::bad_feed_id(&error)))?,
        Some(_) => return Err(bad_member("id", "id is no text.", FORM)),
        None => return Err(bad_member("id", "id is missing: the name that the feed is to have.", FORM)),
    };
    Ok((id, settings(members, FORM)?))
}

/// Reads a body that changes a feed: what is said about its settings.
///
/// # Errors
/// As of [`new_feed`].
pub(crate) fn change(body: &[u8]) -> Result<Map<String, Value>, Box<Problem>> {
    const FORM: &str = r#"Send JSON like {"settings": {"window": 600}}."#;
    settings(members(body, &["settings"], FORM)?, FORM)
}

fn settings(mut members: Map<String, Value>, form: &str) -> Result<Map<String, Value>, Box<Problem>> {
    match members.remove("settings") {
        Some(Value::Object(settings)) => Ok(settings),
        Some(_) => Err(bad_member("settings", "settings is no object.", form)),
        None => Ok(Map::new()),
    }
}

/// The members of a body that has no others than those that are known.
fn members(body: &[u8], known: &[&str], form: &str) -> Result<Map<String, Value>, Box<Problem>> {
    let value = serde_json::from_slice(body);
    let value = value.map_err(|error| bad_body(format!("The body is not JSON: {error}."), form))?;
    let Value::Object(members) = value else {
        return Err(bad_body("The body is no JSON object.".into(), form));
    };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(bad_member(name, &format!("There is no member {:?} here.", short(name)), form)),
        None => Ok(members),
    }
}

fn bad_member(name: &str, detail: &str, form: &str) -> Box<Problem> {
    let problem = *bad_body(detail.into(), form);
    Box::new(problem.with("member", short(name)))
}

fn bad_body(detail: String, form: &str) -> Box<Problem> {
    Box::new(Problem::new(400, "bad-body", "Bad body", detail).hint(form))
}

/// These settings with what was said laid over them.
///
/// # Errors
/// The setting that is wrong, and what it may be.
pub(crate) fn apply(
    settings: &FeedSettings,
    said: &Map<String, Value>,
) -> Result<FeedSettings, Box<Problem>> {
    let mut settings = settings.clone();
    for (name, value) in said {
        let target = match name.as_str() {
            "publisherGrace" => &mut settings.publisher_grace,
            "segmentTarget" => &mut settings.segment_target,
            "partTarget" => &mut settings.part_target,
            "window" => &mut settings.window,
            "playout" => {
                settings.playout = playout(value)?;
                continue;
            }
            _ => return Err(unknown(name)),
        };
        let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        *target = seconds.ok_or_else(|| wrong(name, value, "Send seconds as a number, 0 or more."))?;
    }
    settings.check().map_err(|error| out_of_range(&error))?;
    Ok(settings)
}

fn playout(value: &Value) -> Result<Playout, Box<Problem>> {
    let named = Playout::ALL.into_iter().find(|mode| value.as_str() == Some(mode.name()));
    let modes = Playout::ALL.map(Playout::name).join(" or ");
    named.ok_or_else(|| wrong("playout", value, &format!("Send {modes}.")))
}

fn bad_setting(name: &str, detail: String) -> Problem {
    Problem::new(400, "bad-setting", "Bad setting", detail).with("setting", name)
}

fn wrong(name: &str, value: &Value, hint: &str) -> Box<Problem> {
    let shown = short(&value.to_string());
    Box::new(bad_setting(name, format!("{name} cannot be {shown}.")).hint(hint))
}

fn unknown(name: &str) -> Box<Problem> {
    let names = NAMES.map(|(name, _)| name);
    let shown = short(name);
    let detail = format!("Feeds have no setting {shown:?}.");
    let problem = Problem::new(400, "unknown-setting", "Unknown setting", detail)
        .hint(format!("They have {}.", names.join(", ")))
        .with("setting", shown);
    Box::new(problem)
}

fn out_of_range(error: &OutOfRange) -> Box<Problem> {
    let known = NAMES.into_iter().find(|(_, key)| *key == error.key);
    let name = known.map_or(error.key, |(name, _)| name);
    let OutOfRange { value, least, most, .. } = error;
    let problem = bad_setting(name, format!("{name} cannot be {value} s."))
        .hint(format!("It may be {least} to {most} s."))
        .with("least", *least)
        .with("most", *most);
    Box::new(problem)
}

fn short(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// What has changed, and from when on it holds.
pub(crate) fn update(before: &FeedSettings, now: &FeedSettings) -> SettingsUpdate {
    let changed = [
        before.publisher_grace != now.publisher_grace,
        before.segment_target != now.segment_target,
        before.part_target != now.part_target,
        before.window != now.window,
        before.playout != now.playout,
    ];
    let changed = NAMES.into_iter().zip(changed).filter(|(_, is_other)| *is_other);
    let (next, at_once) =
        changed.map(|((name, _), _)| name.to_owned()).partition(|name| NEXT.contains(&name.as_str()));
    SettingsUpdate { settings: now.into(), at_once, next_publisher: next }
}

/// 409: there is a feed of this id.
pub(crate) fn exists(id: &FeedId) -> Problem {
    Problem::new(409, "feed-exists", "Feed exists", format!("There is a feed {id} already."))
        .hint("Change it with PATCH /v1/feeds/{id}, or end it with DELETE first.")
        .with("feed", id.as_str())
}

/// 503: as many feeds were made as may be.
pub(crate) fn too_many(most: u32) -> Problem {
    let detail = format!("{most} feeds were made by request and not ended: there may be no more.");
    Problem::new(503, "too-many-feeds", "Too many feeds", detail)
        .hint("End some with DELETE /v1/feeds/{id}. The setting is signaling.max_created_feeds.")
        .with("most", most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_body_names_a_feed_and_what_differs() {
        let body = br#"{"id": "studio", "settings": {"window": 60.5, "playout": "lip-sync"}}"#;
        let (id, said) = new_feed(body).unwrap();
        assert_eq!(id.as_str(), "studio");
        let expected = FeedSettings {
            window: Duration::from_millis(60_500),
            playout: Playout::LipSync,
            ..FeedSettings::default()
        };
        assert_eq!(apply(&FeedSettings::default(), &said), Ok(expected));
        assert_eq!(new_feed(br#"{"id": "x"}"#).unwrap().1, Map::new());
        assert_eq!(change(b"{}"), Ok(Map::new()));
    }

    #[test]
    fn a_body_that_makes_no_sense_is_refused_by_its_member() {
        let long = format!("{{\"{}\": 1}}", "x".repeat(10_000));
        for (body, makes, kind, member) in [
            ("", true, "bad-body", None),
            ("{", true, "bad-body", None),
            ("[]", true, "bad-body", None),
            ("\"x\"", false, "bad-body", None),
            ("{}", true, "bad-body", Some("id")),
            ("{\"id\": 5}", true, "bad-body", Some("id")),
            ("{\"id\": \"x\"}", false, "bad-body", Some("id")),
            ("{\"id\": \"a b\"}", true, "bad-feed-id", None),
            ("{\"id\": \"x\", \"settings\": []}", true, "bad-body", Some("settings")),
            ("{\"window\": 60}", false, "bad-body", Some("window")),
            (long.as_str(), false, "bad-body", Some("x".repeat(SHOWN).as_str())),
        ] {
            let body = body.as_bytes();
            let problem = if makes { new_feed(body).unwrap_err() } else { change(body).unwrap_err() };
            assert_eq!(problem.kind, format!("/problems/{kind}"), "{problem:?}");
            assert_eq!(problem.status, 400);
            assert_eq!(problem.extra.get("member").and_then(Value::as_str), member, "{problem:?}");
        }
    }

    #[test]
    fn settings_are_checked_as_those_of_the_configuration_are() {
        for (json, kind, setting) in [
            (r#"{"windw": 60}"#, "unknown-setting", "windw"),
            (r#"{"publisher_grace": 60}"#, "unknown-setting", "publisher_grace"),
            (r#"{"window": "60"}"#, "bad-setting", "window"),
            (r#"{"window": -1}"#, "bad-setting", "window"),
            (r#"{"window": null}"#, "bad-setting", "window"),
            (r#"{"window": 1e300}"#, "bad-setting", "window"),
            (r#"{"window": 19}"#, "bad-setting", "window"),
            (r#"{"partTarget": 2}"#, "bad-setting", "partTarget"),
            (r#"{"segmentTarget": 11}"#, "bad-setting", "segmentTarget"),
            (r#"{"publisherGrace": 86401}"#, "bad-setting", "publisherGrace"),
            (r#"{"playout": "lipsync"}"#, "bad-setting", "playout"),
            (r#"{"playout": 1}"#, "bad-setting", "playout"),
        ] {
            let problem = apply(&FeedSettings::default(), &said(json)).unwrap_err();
            assert_eq!(problem.kind, format!("/problems/{kind}"), "{json}");
            assert_eq!(problem.extra["setting"], setting, "{json}");
            assert!(problem.hint.is_some(), "{json}");
        }
    }

    #[test]
    fn an_update_says_from_when_on_it_holds() {
        let before = FeedSettings::default();
        let now = apply(&before, &said(r#"{"window": 60, "segmentTarget": 4, "playout": "lowest-latency"}"#))
            .unwrap();
        let update = update(&before, &now);
        assert_eq!(
            (update.at_once, update.next_publisher),
            (vec!["window".to_owned()], vec!["segmentTarget".to_owned()])
        );
        assert_eq!(update.settings.window, 60.0);
    }
}
