//! The timeline API: a query in, what is asked for out; what the packager found in, the answer out.

use bicast_shared::problem::Problem;
use bicast_shared::status::timeline::{
    self as found, Asked, Located, Moment, Outline, OutsideWindow, PlaceState,
};
use bicast_shared::time::{MediaTime, ProgramTime};
use serde_json::json;

use crate::api::timeline::{
    ByteRange, FeedTimeline, FramePosition, LiveEdges, PartPosition, PositionState, RenditionPosition,
    SegmentPosition, TimelineEpoch, TimelineMoment, TimelinePosition, TimelineWindow,
};
use crate::api::{self};

/// What a query may name a moment by.
const NAMES: [&str; 3] = ["programTime", "mediaTime", "rtpTimestamp"];
/// Longer values are not repeated to who sent them.
const SHOWN: usize = 64;

/// What a query asks for: the moment, and what it was named by. None where it is empty.
///
/// # Errors
/// The parameter that is wrong, and how it should be.
pub(crate) fn asked(query: &[(String, String)]) -> Result<Option<(Asked, &str)>, Box<Problem>> {
    if let Some((name, _)) = query.iter().find(|(name, _)| !NAMES.contains(&name.as_str())) {
        return Err(bad(name, "There is no such parameter.".into(), &choose()));
    }
    let (name, value) = match query {
        [] => return Ok(None),
        [(name, value)] => (name.as_str(), value.trim()),
        [_, (name, _), ..] => {
            return Err(bad(name, "More than one moment is asked for.".into(), &choose()));
        }
    };
    let (asked, form) = match name {
        "programTime" => return program_time(value).map(|at| Some((Asked::Program(at), name))),
        "mediaTime" => {
            let read = value.parse().ok().map(|at| Asked::Media(MediaTime(at)));
            (read, "Send ticks of the master clock as a whole number: mediaTime=1234560.")
        }
        _ => {
            let read = value.parse().ok().map(Asked::Rtp);
            (read, "Send a whole number from 0 to 4294967295: rtpTimestamp=1234560.")
        }
    };
    asked.map(|asked| Some((asked, name))).ok_or_else(|| unreadable(name, value, form))
}

/// RFC 3339, or milliseconds since 1970 with fractions.
fn program_time(value: &str) -> Result<ProgramTime, Box<Problem>> {
    const FORM: &str = "Send milliseconds since 1970 (programTime=1795411752840.123) or RFC 3339 \
        (programTime=2026-11-23T05:09:12.840Z); a + is written %2B.";
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number {
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let fraction = format!("{fraction:0<6}");
        // Nanoseconds: six digits behind a millisecond's point.
        let nanos = (!whole.is_empty())
            .then(|| format!("{whole}{}", fraction.get(..6).unwrap_or_default()).parse::<i64>().ok())
            .flatten();
        return nanos
            .map(ProgramTime::from_unix_nanos)
            .filter(|_| !value.ends_with('.') && !fraction.contains('.'))
            .ok_or_else(|| unreadable("programTime", value, FORM));
    }
    value.parse().map_err(|error| {
        let problem = unreadable("programTime", value, FORM);
        Box::new(Problem { detail: format!("{} Read as a date, {error}.", problem.detail), ..*problem })
    })
}

fn choose() -> String {
    format!("Send none, or one of {}.", NAMES.join(", "))
}

fn unreadable(name: &str, value: &str, form: &str) -> Box<Problem> {
    let shown: String = value.chars().take(SHOWN).collect();
    bad(name, format!("{shown:?} cannot be read as {name}."), form)
}

fn bad(name: &str, detail: String, hint: &str) -> Box<Problem> {
    let name: String = name.chars().take(SHOWN).collect();
    let problem = Problem::new(400, "bad-position", "Bad position", detail);
    Box::new(problem.hint(hint).with("parameter", name))
}

/// 404: the moment that was asked for by `name` is not in the window.
pub(crate) fn outside(feed: &str, name: &str, outside: Option<OutsideWindow>) -> Problem {
    let problem = |detail: String| Problem::new(404, "outside-window", "Outside the window", detail);
    let (problem, window) = match outside {
        None => (
            problem(format!("Nothing of the feed {feed:?} is on HLS."))
                .hint("GET /v1/feeds/{id} says why, and what it needs."),
            None,
        ),
        Some(OutsideWindow { window: is, is_ahead }) => {
            let (oldest, newest) = (is.oldest.program_time, is.newest.program_time);
            let how = match name {
                "rtpTimestamp" => "No moment of the window has this rtpTimestamp",
                _ if is_ahead => "This moment is behind the window's end",
                _ => "This moment is before the window's beginning",
            };
            let problem = problem(format!("{how}: the feed {feed:?} has {oldest} to {newest}."))
                .hint("`window` says what can be asked for; feed.window sets how long it is.");
            (problem, Some(is))
        }
    };
    problem.with("feed", feed).with("parameter", name).with("window", json!(window.as_ref().map(view_window)))
}

/// The answer.
pub(crate) fn view(feed: api::Feed, outline: Option<&Outline>, located: Option<Located>) -> FeedTimeline {
    let stays = outline.into_iter().flat_map(|outline| &outline.stays);
    FeedTimeline {
        feed: feed.id,
        state: feed.state,
        mapping: feed.timeline,
        window: outline.map(|outline| view_window(&outline.window)),
        live_edges: LiveEdges { realtime: feed.paths.realtime.live_edge, hls: feed.paths.hls.live_edge },
        epochs: stays.map(view_stay).collect(),
        position: located.map(view_position),
    }
}

fn view_window(window: &found::Window) -> TimelineWindow {
    TimelineWindow { oldest: view_moment(&window.oldest), newest: view_moment(&window.newest) }
}

fn view_moment(moment: &Moment) -> TimelineMoment {
    TimelineMoment {
        media_time: moment.media_time.0,
        clock_rate: moment.rate.hz(),
        rtp_timestamp: moment.media_time.rtp(),
        program_time: moment.program_time.rfc3339(),
        unix_ms: moment.program_time.unix_millis(),
    }
}

fn view_stay(stay: &found::Stay) -> TimelineEpoch {
    TimelineEpoch {
        epoch: stay.epoch.0,
        begin: view_moment(&stay.begin),
        instance: stay.instance.clone(),
        segment: stay.segment.0,
        discontinuity_sequence: stay.discontinuity_sequence,
    }
}

fn view_position(located: Located) -> TimelinePosition {
    TimelinePosition {
        moment: view_moment(&located.moment),
        epoch: located.epoch.map(|epoch| epoch.0),
        instance: located.instance,
        renditions: located.places.into_iter().map(view_place).collect(),
    }
}

fn view_place(place: found::Place) -> RenditionPosition {
    RenditionPosition {
        rendition: place.rendition,
        state: match place.state {
            PlaceState::Here => PositionState::Available,
            PlaceState::Gap => PositionState::Gap,
            PlaceState::Coming => PositionState::Coming,
            PlaceState::Nothing => PositionState::Nothing,
        },
        media_time: place.media_time.0,
        timescale: place.timescale.hz(),
        playlist: place.playlist,
        segment: place.segment.map(|segment| SegmentPosition {
            number: segment.number.0,
            url: segment.url,
            complete: segment.is_complete,
            media_time: segment.begin.0,
            duration: segment.ticks,
            init: segment.init,
            part: segment.part.map(|part| PartPosition { index: part.index, url: part.url }),
            byte_range: segment.range.map(view_range),
            frame: segment.frame.map(|frame| FramePosition {
                media_time: frame.presentation.0,
                duration: frame.ticks,
                keyframe: frame.is_sync,
                byte_range: view_range(frame.range),
            }),
        }),
    }
}

const fn view_range(range: found::ByteRange) -> ByteRange {
    ByteRange { offset: range.offset, length: range.length }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
pub(crate) mod tests;
