//! Whether a track can be sent under a format that a viewer offers: what `a=fmtp` says of profiles, and the reasons.

use bicast_shared::media::{Codec, TrackInfo, parameter};

use super::sdp::OfferedCodec;

/// How far a format that a viewer offers is from the one that the publisher sends; 0 is nearest. None where the one is
/// not the other: browsers begin to decode what was negotiated, not what comes.
///
/// Levels are not looked at but to choose the best of several: they bound sizes that encoders rarely reach, and nothing here
/// could make a stream smaller.
pub(crate) fn distance(codec: Codec, sent: &str, offered: &str) -> Option<u8> {
    let both = |name: &str, default: u32| (number(sent, name, default), number(offered, name, default));
    let same = |name: &str, default: u32| {
        let (sent, offered) = both(name, default);
        sent == offered
    };
    let too_low = |name: &str, default: u32| {
        let (sent, offered) = both(name, default);
        u8::from(offered < sent)
    };
    match codec {
        Codec::H264 => h264_distance(sent, offered),
        // RFC 9628, 6: "If no profile-id is present, Profile 0 MUST be inferred".
        Codec::Vp9 => same("profile-id", 0).then_some(0),
        // AV1's RTP specification, 7.2: profile 0, level-idx 5, tier 0 where nothing is said.
        Codec::Av1 => same("profile", 0).then(|| u8::from(!same("tier", 0)) * 2 + too_low("level-idx", 5)),
        // RFC 7798, 7.2.2: profile, tier and transmission mode are the same on both sides; 7.1 has the defaults.
        Codec::H265 => {
            let configured = [("profile-space", 0), ("profile-id", 1), ("tier-flag", 0)];
            let fits = configured.into_iter().all(|(name, default)| same(name, default))
                && is_single_stream(sent)
                && is_single_stream(offered);
            fits.then(|| too_low("level-id", 93))
        }
        // A stream's config is its rate and its channels. Who offers none takes any.
        Codec::Aac => {
            let (sent, offered) = (parameter(sent, "config"), parameter(offered, "config"));
            offered
                .is_none_or(|offered| sent.is_some_and(|sent| sent.eq_ignore_ascii_case(offered)))
                .then_some(0)
        }
        // VP8 and Opus have no profile that a receiver could lack.
        _ => Some(0),
    }
}

/// For H.264 any profile with a fitting packetization mode, the nearest profile first. Chromium plays High under the
/// payload type of baseline; its list is stricter than its decoder.
fn h264_distance(sent: &str, offered: &str) -> Option<u8> {
    let mode = |fmtp: &str, default: u8| {
        parameter(fmtp, "packetization-mode").and_then(|mode| mode.parse().ok()).unwrap_or(default)
    };
    // A publisher that says nothing may send fragments: take it for mode 1. A viewer that says nothing has mode 0.
    let (sent_mode, offered_mode) = (mode(sent, 1), mode(offered, 0));
    if offered_mode < sent_mode {
        return None;
    }
    let profile = |fmtp: &str| {
        let id = parameter(fmtp, "profile-level-id").and_then(|id| u32::from_str_radix(id, 16).ok());
        id.unwrap_or(0x42_00_0a) >> 8
    };
    let (wanted, offered) = (profile(sent), profile(offered));
    let profiles = match offered {
        _ if offered == wanted => 0,
        _ if offered >> 8 == wanted >> 8 => 1,
        0x42_e0 => 2,
        _ => 3,
    };
    Some(profiles * 2 + u8::from(offered_mode != sent_mode))
}

/// Whether H.265 comes as one RTP stream (RFC 7798, 7.1: `tx-mode`, SRST where nothing is said). The other modes spread
/// a picture over several streams, which no browser does (draft-ietf-avtcore-hevc-webrtc, 4).
pub(crate) fn is_single_stream(fmtp: &str) -> bool {
    parameter(fmtp, "tx-mode").is_none_or(|mode| mode.eq_ignore_ascii_case("SRST"))
}

/// A number among the parameters. One that is not a number equals no default.
fn number(fmtp: &str, name: &str, default: u32) -> u32 {
    parameter(fmtp, name).map_or(default, |value| value.parse().unwrap_or(u32::MAX))
}

/// The viewer's own parameters, and what the publisher says of its sound: `sprop-stereo` is how a sender announces stereo
/// (RFC 7587, 7.1). Publishers that mean it often write `stereo`, which only says what they would like to receive.
///
/// No answer makes Chromium play stereo: its decoder follows `stereo=1` in its *own* description, here the offer. Where a
/// viewer wrote that it comes back with its other parameters, as `useinbandfec` does.
pub(crate) fn answered(track: &TrackInfo, offered: &OfferedCodec) -> String {
    // A decoder of AAC is set up by what the sender says (RFC 3640, 4.1).
    if track.codec == Codec::Aac {
        return track.fmtp.clone();
    }
    let mut parameters = offered.fmtp.clone();
    if track.codec == Codec::Opus
        && is_stereo(&track.fmtp)
        && parameter(&parameters, "sprop-stereo").is_none()
    {
        if !parameters.is_empty() {
            parameters.push(';');
        }
        parameters.push_str("sprop-stereo=1");
    }
    parameters
}

/// Whether a publisher of Opus says that it sends stereo.
pub(crate) fn is_stereo(fmtp: &str) -> bool {
    ["sprop-stereo", "stereo"].into_iter().any(|name| parameter(fmtp, name) == Some("1"))
}

/// A codec with the parameters that decide about [`distance`], for people.
pub(crate) fn describe(codec: Codec, fmtp: &str) -> String {
    match codec {
        Codec::H264 if !fmtp.is_empty() => format!("{codec} ({fmtp})"),
        _ => match profile(codec, fmtp) {
            Some(profile) => format!("{codec} ({profile})"),
            None => codec.to_string(),
        },
    }
}

/// The same of an offered format, which may be of a codec that bicast does not know.
pub(crate) fn describe_offered(offered: &OfferedCodec) -> String {
    let deciding = match Codec::from_sdp_name(&offered.name) {
        Some(Codec::H264) => {
            offered.parameter("packetization-mode").map(|mode| format!("packetization-mode={mode}"))
        }
        Some(codec) => profile(codec, &offered.fmtp),
        None => None,
    };
    deciding.map_or_else(|| offered.name.clone(), |deciding| format!("{} ({deciding})", offered.name))
}

fn profile(codec: Codec, fmtp: &str) -> Option<String> {
    let value = |name: &str, default: &str| parameter(fmtp, name).unwrap_or(default).to_owned();
    match codec {
        Codec::Vp9 => Some(format!("profile-id={}", value("profile-id", "0"))),
        Codec::Av1 => Some(format!("profile={}", value("profile", "0"))),
        Codec::H265 => {
            let mode = parameter(fmtp, "tx-mode").map(|mode| format!(";tx-mode={mode}")).unwrap_or_default();
            Some(format!(
                "profile-id={};tier-flag={}{mode}",
                value("profile-id", "1"),
                value("tier-flag", "0")
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_must_be_the_same_and_have_their_defaults() {
        for (codec, sent, offered, expected) in [
            (Codec::Vp9, "", "profile-id=0", Some(0)),
            (Codec::Vp9, "profile-id=2", "profile-id=2", Some(0)),
            (Codec::Vp9, "profile-id=2", "", None),
            (Codec::Vp9, "profile-id=x", "profile-id=0", None),
            (Codec::Av1, "", "level-idx=5;profile=0;tier=0", Some(0)),
            (Codec::Av1, "profile=1", "level-idx=5;profile=0;tier=0", None),
            (Codec::Av1, "level-idx=9", "level-idx=5;profile=0", Some(1)),
            (Codec::Av1, "level-idx=5", "level-idx=13;profile=0", Some(0)),
            (Codec::Av1, "tier=1;level-idx=9", "", Some(3)),
            (Codec::H265, "", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", Some(0)),
            (Codec::H265, "level-id=180;profile-id=1", "level-id=93;tx-mode=srst", Some(1)),
            (Codec::H265, "profile-id=2", "profile-id=1", None),
            (Codec::H265, "tier-flag=1", "tier-flag=0", None),
            (Codec::H265, "profile-space=1", "", None),
            (Codec::H265, "", "tx-mode=MRST", None),
            (Codec::H265, "tx-mode=MRMT", "tx-mode=MRMT", None),
            (Codec::Vp8, "max-fs=1", "", Some(0)),
            (Codec::Opus, "stereo=1", "", Some(0)),
            (Codec::Aac, "mode=AAC-hbr;config=1190", "mode=AAC-hbr", Some(0)),
            (Codec::Aac, "mode=AAC-hbr;config=119a", "config=119A;mode=AAC-hbr", Some(0)),
            (Codec::Aac, "mode=AAC-hbr;config=1190", "mode=AAC-hbr;config=1210", None),
        ] {
            assert_eq!(distance(codec, sent, offered), expected, "{codec}: {sent:?} under {offered:?}");
        }
    }

    #[test]
    fn formats_are_told_by_what_decides() {
        assert_eq!(describe(Codec::Vp9, "profile-id=2"), "VP9 (profile-id=2)");
        assert_eq!(describe(Codec::Av1, ""), "AV1 (profile=0)");
        assert_eq!(describe(Codec::H265, "tx-mode=MRST"), "H265 (profile-id=1;tier-flag=0;tx-mode=MRST)");
        assert_eq!(describe(Codec::H264, "a=b"), "H264 (a=b)");
        assert_eq!(describe(Codec::H264, ""), "H264");
        let offered = |name: &str, fmtp: &str| {
            describe_offered(&OfferedCodec {
                name: name.into(),
                fmtp: fmtp.into(),
                ..OfferedCodec::default()
            })
        };
        assert_eq!(offered("VP9", ""), "VP9 (profile-id=0)");
        assert_eq!(offered("H264", "packetization-mode=1;x=y"), "H264 (packetization-mode=1)");
        assert_eq!(offered("H266", "profile=1"), "H266");
    }
}
