//! What an operator should know about a feed, in sentences with the next step.

use bicast_shared::feed::info::{CadenceRule, FeedInfo, FeedState};
use bicast_shared::media::{Codec, TrackKind, parameter};
use bicast_shared::status::PackagerFeedStatus;
use bicast_shared::time::ProgramTime;

use crate::core::view::Reports;

/// What is said of a feed with B-frames where the SFU has not said it in its own words.
pub(crate) const B_FRAMES: &str = "The video has B-frames, which WebRTC cannot show, so it goes out over HLS only. \
     Set the encoder to 0 B-frames (x264: bframes=0 or tune=zerolatency).";

const SELF_PACED: &str = "The publisher does not answer keyframe requests, so segments begin at its own keyframes. \
     Set its keyframe interval to 2 s.";

const UNRELATED: &str = "The publisher sends no usable RTCP sender reports, so lip sync rests on arrival times. \
     If sound and picture are apart, update the publisher or turn its sender reports on.";

const HIGH_PROFILE: &str = "The video is H264 High profile. Chromium plays it over WebRTC although it does not offer it; \
     phones may not. Set the encoder to the Main or (Constrained) Baseline profile to be safe.";

/// How long a publisher may take until its sender reports say how its tracks relate. Browsers take up to 5 s for
/// audio.
const RELATION_NANOS: i64 = 15_000_000_000;

/// The warnings of a feed at `now`, the gravest first; none twice.
pub(crate) fn warnings(now: ProgramTime, info: &FeedInfo, reports: &Reports<'_>) -> Vec<String> {
    if info.state == FeedState::Ended {
        return Vec::new();
    }
    let sfu_refused = reports.sfu.and_then(|sfu| sfu.refused.clone());
    let b_frames = (info.b_frames && sfu_refused.is_none()).then(|| B_FRAMES.to_owned());
    let all = [
        sfu_refused,
        reports.packager.and_then(|packager| packager.refused.clone()),
        b_frames,
        reports.packager.and_then(not_stored),
        cadence(info),
        misaligned(info),
        high_profile(info, reports),
        unrelated(now, info),
    ];
    let mut said = Vec::new();
    for warning in all.into_iter().flatten() {
        if !said.contains(&warning) {
            said.push(warning);
        }
    }
    said
}

/// A disk that does not take what it should.
fn not_stored(packager: &PackagerFeedStatus) -> Option<String> {
    let reason = packager.dvr.as_ref()?.failing.as_ref()?;
    Some(format!(
        "The DVR cannot be written ({reason}). Live goes on from memory; viewers can rewind {:.0} s, and what is not stored is \
         lost at a restart. Make room where packager.dvr.directory is, or lower feed.window.",
        packager.window_seconds
    ))
}

fn cadence(info: &FeedInfo) -> Option<String> {
    let advice = info.cadence.advice.clone();
    advice.or_else(|| (info.cadence.rule == CadenceRule::SelfPaced).then(|| SELF_PACED.to_owned()))
}

/// Layers whose keyframes come at other times than the first one's.
fn misaligned(info: &FeedInfo) -> Option<String> {
    let offsets =
        info.layers.iter().filter(|layer| layer.running).filter_map(|layer| layer.keyframe_offset_ms);
    let furthest = offsets.filter(|offset| *offset != 0).max_by_key(|offset| offset.abs())?;
    Some(format!(
        "The keyframes of the simulcast layers are {} ms apart, so a viewer who changes to another layer sees a still picture \
         or a gap. Give all layers keyframes at the same frames (x264: the same keyint, scenecut=0), or let the encoder answer \
         keyframe requests.",
        furthest.abs()
    ))
}

fn high_profile(info: &FeedInfo, reports: &Reports<'_>) -> Option<String> {
    let video = info.track(TrackKind::Video).filter(|track| track.codec == Codec::H264)?;
    let renditions = reports.packager.map(|p| p.renditions.as_slice()).unwrap_or_default();
    let read = renditions.iter().find_map(|rendition| rendition.codecs.strip_prefix("avc1."));
    let profile = read.or_else(|| parameter(&video.fmtp, "profile-level-id"))?.get(..2)?;
    // 100 is High; 110, 122 and 244 are High with more bits or colours, which nothing decodes in hardware.
    let is_high = ["64", "6e", "7a", "f4"].iter().any(|high| profile.eq_ignore_ascii_case(high));
    is_high.then(|| HIGH_PROFILE.to_owned())
}

fn unrelated(now: ProgramTime, info: &FeedInfo) -> Option<String> {
    let here_since = info.publisher.as_ref()?.since;
    let map = info.map.as_deref()?;
    let apart = map.tracks.len() > 1 && map.tracks.iter().any(|track| !track.related);
    (apart && now - here_since > RELATION_NANOS).then(|| UNRELATED.to_owned())
}
