//! A feed as the API shows it: the owner's snapshot, the SFU's and the packager's reports, merged.

use bicast_shared::feed::info::{FeedInfo, FeedState, LayerInfo, PublisherInfo, TimelineMap};
use bicast_shared::id::FeedId;
use bicast_shared::media::{TrackInfo, TrackKind};
use bicast_shared::status::{self, PackagedRendition, PackagerFeedStatus, SfuFeedStatus};
use bicast_shared::time::{ClockRate, ProgramTime};

use crate::admission::Cost;
use crate::api;
use crate::core::policy;
use crate::core::roster::FeedFacts;
use crate::core::warnings;

/// What a feed that no room has reported on yet is taken to be: not refused, watched by nobody.
pub(crate) struct Reports<'a> {
    pub(crate) sfu: Option<&'a SfuFeedStatus>,
    pub(crate) packager: Option<&'a PackagerFeedStatus>,
}

/// The feed at `now` as the API shows it.
pub(crate) fn feed(now: ProgramTime, info: &FeedInfo, reports: &Reports<'_>) -> api::Feed {
    let packaged = reports.packager.map(|p| p.renditions.as_slice()).unwrap_or_default();
    api::Feed {
        id: info.id.to_string(),
        settings: info.settings.as_ref().into(),
        kept: info.is_kept,
        state: info.state.into(),
        since: info.since.rfc3339(),
        epoch: info.epoch.0,
        publisher: info.publisher.as_ref().map(publisher),
        standby: info.standby.as_ref().map(publisher),
        tracks: info.tracks.iter().map(|track| api_track(track, packaged, &info.layers)).collect(),
        cadence: api::Cadence {
            rule: info.cadence.rule.into(),
            frame_rate: info.cadence.frame_rate,
            frames_per_part: info.cadence.frames_per_part,
            part_target_ms: info.cadence.part_target_ms,
            target_duration: info.cadence.target_duration,
            advice: info.cadence.advice.clone(),
        },
        timeline: info.map.as_deref().map(|map| timeline(map, master_rate(&info.tracks))),
        paths: api::Paths { realtime: realtime(info, reports.sfu), hls: hls(info, reports.packager) },
        warnings: warnings::warnings(now, info, reports),
    }
}

/// Payload bytes of a full packet of video, on average.
const PACKET_BYTES: u64 = 1_100;

/// What the feed is like for its viewers.
pub(crate) fn facts(info: &FeedInfo, reports: &Reports<'_>) -> FeedFacts {
    let state = policy::FeedState {
        realtime: !info.b_frames && reports.sfu.is_none_or(|sfu| sfu.refused.is_none()),
        hls: reports.packager.is_none_or(|packager| packager.refused.is_none()),
        live: info.state == FeedState::Live,
    };
    let of = |kind: &str| {
        let renditions = reports.packager.map(|p| p.renditions.as_slice()).unwrap_or_default();
        let rates = renditions.iter().filter(|r| r.name.starts_with(kind)).map(|r| r.bandwidth);
        rates.max().unwrap_or(0)
    };
    // A viewer may be sent the best of what there is. What HLS does not carry is known by what others are sent, or by its layers.
    let packaged = of("video") + of("audio");
    let watched = reports.sfu.filter(|sfu| sfu.viewers > 0);
    let sent = watched.map_or(0, |sfu| sfu.egress_bps / u64::from(sfu.viewers));
    let layers = info.layers.iter().map(|layer| layer.bitrate_bps).max().unwrap_or(0);
    let half = info.track(TrackKind::Video).is_some() && of("video") == 0;
    let known = if half { packaged.max(sent) } else { packaged };
    let egress_bps = if known == 0 { layers } else { known };
    let packets_per_second = egress_bps / 8 / PACKET_BYTES;
    let cost = Cost { egress_bps, packets_per_second, ..Cost::default() };
    FeedFacts { state, cost }
}

/// What the lowest encoding of the picture and the sound need together.
pub(crate) fn lowest_bps(packaged: &PackagerFeedStatus) -> Option<f64> {
    let rate = |kind: &str| {
        let of_kind = packaged.renditions.iter().filter(|r| r.name.starts_with(kind) && r.bandwidth > 0);
        of_kind.map(|r| r.bandwidth).min()
    };
    let (video, audio) = (rate("video"), rate("audio"));
    #[expect(clippy::cast_precision_loss, reason = "rates below 2^53")]
    let sum = (video.or(audio)? + video.and(audio).unwrap_or(0)) as f64;
    Some(sum)
}

fn publisher(info: &PublisherInfo) -> api::Publisher {
    api::Publisher {
        protocol: info.protocol.clone(),
        agent: info.agent.clone(),
        address: info.address.clone(),
        since: info.since.rfc3339(),
    }
}

fn api_track(track: &TrackInfo, packaged: &[PackagedRendition], layers: &[LayerInfo]) -> api::Track {
    let kind = track.kind();
    let layer = |id| layers.iter().find(|layer| layer.rendition == id && kind == TrackKind::Video);
    let renditions = track.renditions.iter().map(|rendition| {
        let read = packaged.iter().find(|p| p.name == rendition_name(kind, rendition.id.0));
        api::Rendition {
            id: rendition.id.0,
            rid: rendition.rid.clone(),
            codecs: read.map(|p| p.codecs.clone()),
            resolution: read
                .and_then(|p| p.resolution)
                .map(|(width, height)| api::Resolution { width, height }),
            frame_rate: read.and_then(|p| p.frame_rate),
            bandwidth: read.map(|p| p.bandwidth),
            layer: layer(rendition.id).map(|layer| api::Layer {
                running: layer.running,
                bitrate_bps: layer.bitrate_bps,
                keyframe_offset_ms: layer.keyframe_offset_ms,
            }),
        }
    });
    api::Track {
        id: track.id.0,
        kind: kind.into(),
        codec: track.codec.to_string().to_ascii_lowercase(),
        clock_rate: track.clock_rate.hz(),
        channels: track.channels,
        fmtp: track.fmtp.clone(),
        renditions: renditions.collect(),
    }
}

/// What the packager calls a rendition in its report and URLs.
fn rendition_name(kind: TrackKind, rendition: u8) -> String {
    match kind {
        TrackKind::Video => format!("video{rendition}"),
        TrackKind::Audio => format!("audio{rendition}"),
    }
}

/// The clock that media times of the whole feed are counted in: the video's, the audio's where there is no video.
fn master_rate(tracks: &[TrackInfo]) -> ClockRate {
    let video = tracks.iter().find(|track| track.kind() == TrackKind::Video);
    video.or(tracks.first()).map_or(ClockRate::VIDEO, |track| track.clock_rate)
}

fn timeline(map: &TimelineMap, master: ClockRate) -> api::Timeline {
    let tracks = map.tracks.iter().map(|track| api::TimelineTrack {
        track: track.track.0,
        clock_rate: track.rate.hz(),
        offset_ms: millis(track.offset_nanos),
        related: track.related,
    });
    api::Timeline {
        version: map.version,
        anchor_unix_ms: map.anchor.unix_millis(),
        master_clock_rate: master.hz(),
        tracks: tracks.collect(),
    }
}

/// Milliseconds, with microseconds behind the point.
fn millis(nanos: i64) -> f64 {
    ProgramTime::from_unix_nanos(nanos).unix_millis()
}

fn realtime(info: &FeedInfo, report: Option<&SfuFeedStatus>) -> api::RealtimePath {
    let reason = report
        .and_then(|sfu| sfu.refused.clone())
        .or_else(|| info.b_frames.then(|| warnings::B_FRAMES.to_owned()))
        .or_else(|| not_live(info));
    let report = report.cloned().unwrap_or_default();
    api::RealtimePath {
        available: reason.is_none(),
        reason,
        viewers: report.viewers,
        egress_bps: report.egress_bps,
        live_edge: report.live_edge.map(live_edge),
        url: realtime_url(&info.id),
    }
}

fn hls(info: &FeedInfo, report: Option<&PackagerFeedStatus>) -> api::HlsPath {
    let playable = report.is_some_and(|packager| packager.playable);
    let reason = report.and_then(|packager| packager.refused.clone()).or_else(|| {
        if playable {
            None
        } else {
            not_live(info).or_else(|| {
                Some("The first parts are being written; it can be played in a moment.".to_owned())
            })
        }
    });
    let report = report.cloned().unwrap_or_default();
    api::HlsPath {
        available: reason.is_none(),
        reason,
        viewers: report.viewers,
        live_edge: report.live_edge.map(live_edge),
        newest: report.newest.map(|(segment, part)| api::NewestPart { segment: segment.0, part }),
        window_seconds: to_millis(report.window_seconds),
        stored_seconds: report.dvr.map(|dvr| to_millis(dvr.stored_seconds)),
        url: hls_url(&info.id),
        standard_url: format!("/hls/{}/standard.m3u8", info.id),
    }
}

fn to_millis(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

/// Why a feed has nothing live to show; none when it has.
fn not_live(info: &FeedInfo) -> Option<String> {
    let text = match info.state {
        FeedState::Live => return None,
        FeedState::Starting => "The publisher is connected but has sent no media yet.",
        FeedState::Offline if info.tracks.is_empty() => {
            let id = &info.id;
            return Some(format!("Nobody has published the feed yet: it waits for POST /whip/{id}."));
        }
        FeedState::Offline => "The publisher left; the feed waits for it to return.",
        FeedState::Ended => "The feed has ended.",
    };
    Some(text.to_owned())
}

fn live_edge(edge: status::LiveEdge) -> api::LiveEdge {
    api::LiveEdge { media_time: edge.media_time.0, program_time: edge.program_time.rfc3339() }
}

/// Where a WHEP offer for the feed is posted.
fn realtime_url(id: &FeedId) -> String {
    format!("/whep/{id}")
}

/// The feed's multivariant playlist.
fn hls_url(id: &FeedId) -> String {
    format!("/hls/{id}/multivariant.m3u8")
}

#[cfg(test)]
#[path = "view_tests.rs"]
pub(crate) mod tests;
