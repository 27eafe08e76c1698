//! Offers of viewers and publishers, and fragments of either.

use bicast_shared::media::{Codec, TrackInfo};

use super::{feed, sound, video};
use crate::core::answer::{self, LocalEnd};
use crate::core::candidates::{Candidate, Transport};
use crate::core::fragment::Fragment;
use crate::core::sdp::Offer;
use crate::ingest::core::answer::{BitrateHints, Local, answer as publishers_answer, restart_fragment};
use crate::ingest::core::negotiate::negotiate as publishers;
use bicast_shared::feed::settings::Playout;

const VIEWER: &str = include_str!("../core/fixtures/chromium-offer.sdp");
const BASELINE: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
const FINGERPRINT: &str = "AB:CD";

/// Any text as an offer to watch, as an offer to publish and as a fragment.
pub fn sdp(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    fragment(&text);
    let Ok(offer) = Offer::parse(&text) else { return };
    assert!((1..=32).contains(&offer.sections.len()));
    for section in &offer.sections {
        let kept = [
            section.formats.len(),
            section.codecs.len(),
            section.extensions.len(),
            section.rids.len(),
            section.repair.len(),
            section.ssrcs.len(),
        ];
        assert!(kept.into_iter().all(|kept| kept <= 128), "{kept:?}");
        assert!(section.codecs.iter().all(|codec| codec.payload_type < 128 && codec.clock_rate > 0));
    }
    let feeds = [
        vec![video(Codec::H264, BASELINE), sound("minptime=10;sprop-stereo=1")],
        vec![video(Codec::Vp8, "")],
        vec![video(Codec::Vp9, "profile-id=2"), sound("")],
        vec![video(Codec::Av1, "profile=0;level-idx=5;tier=0")],
        vec![video(Codec::H265, "profile-id=1;tier-flag=0;level-id=93"), sound("stereo=1")],
        vec![sound("")],
    ];
    for tracks in feeds {
        watch(&offer, tracks);
    }
    publish(&offer, false);
    publish(&offer, true);
}

fn candidates() -> [Candidate; 2] {
    let candidate = |text: &str, transport| Candidate { address: text.parse().unwrap(), transport };
    [candidate("192.0.2.1:8189", Transport::Udp), candidate("[2001:db8::1]:8189", Transport::TcpPassive)]
}

/// What a viewer is answered.
fn watch(offer: &Offer, tracks: Vec<TrackInfo>) {
    let info = feed(tracks);
    for playout in [Playout::LowestLatency, Playout::LipSync] {
        let wishes = answer::Wishes { playout, rendition: None };
        let mut random = 0_u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random
        };
        let Ok(agreement) = answer::negotiate(offer, &info, wishes, &mut next) else { continue };
        assert!((1..=2).contains(&agreement.tracks.len()));
        let mut ssrcs: Vec<u32> = Vec::new();
        for track in &agreement.tracks {
            assert!(info.tracks.iter().any(|feed| feed.id == track.key.track && track.carries(feed)));
            assert!(track.spec.first_index < 1 << 15 && track.spec.first_rtx_index < 1 << 15);
            ssrcs.push(track.spec.ssrc);
            ssrcs.extend(track.spec.rtx.map(|(ssrc, _)| ssrc));
        }
        let distinct = ssrcs.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(distinct, ssrcs.len(), "an SSRC stands for one stream");
        let end = LocalEnd {
            session: 7,
            ufrag: "OurU",
            pwd: "our-password-of-24-chars",
            fingerprint: FINGERPRINT,
            candidates: &candidates(),
            stream: "demo",
        };
        let text = answer::write(offer, &agreement, &end);
        let taken = |at: usize| agreement.tracks.iter().any(|track| track.section == at);
        check(offer, &text, taken);
    }
}

/// What a publisher is answered, and what its words lead to in the answers to viewers.
fn publish(offer: &Offer, simulcast: bool) {
    let Ok(decided) = publishers(offer, &[], simulcast) else { return };
    assert_eq!(decided.sections.len(), offer.sections.len());
    let local = Local {
        session_id: 7,
        ufrag: "OurU".into(),
        pwd: "our-password-of-24-chars".into(),
        fingerprint: FINGERPRINT.into(),
        candidates: candidates().to_vec(),
    };
    let hints = BitrateHints { start_kbps: Some(4_000), min_kbps: Some(1), max_kbps: None };
    let text = publishers_answer(&decided, &local, hints);
    let mids: Vec<&str> = decided.taken().map(|taken| taken.mid.as_str()).collect();
    assert!((1..=2).contains(&mids.len()));
    let taken = |at: usize| matches!(decided.sections[at], crate::ingest::core::negotiate::Plan::Take(_));
    check(offer, &text, taken);
    assert!(lines(&restart_fragment(&decided, &local)).len() > 2);
    let tracks = decided.tracks();
    let again = publishers(offer, &tracks, simulcast).expect("the same publisher returns");
    assert_eq!(again.tracks(), tracks, "tracks keep their ids");
    watch(&Offer::parse(VIEWER).unwrap(), tracks);
}

/// The answer is one: every line is whole, our own reader reads it, and it has the sections of the offer in their order.
fn check(offer: &Offer, text: &str, taken: impl Fn(usize) -> bool) {
    lines(text);
    // The placeholder for our certificate's fingerprint is none.
    let whole = text.replace(FINGERPRINT, &["AB"; 32].join(":"));
    let answer = Offer::parse(&whole).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(answer.sections.len(), offer.sections.len(), "{text}");
    for (at, (ours, theirs)) in answer.sections.iter().zip(&offer.sections).enumerate() {
        assert_eq!((&ours.media, &ours.mid), (&theirs.media, &theirs.mid), "{text}");
        assert_eq!(ours.port != 0, taken(at), "{text}");
        if taken(at) {
            assert!(ours.formats.iter().all(|format| theirs.formats.contains(format)), "{text}");
            assert!(ours.rtcp_mux && !(ours.sends && ours.receives), "{text}");
        }
    }
    assert!(answer.bundle.iter().all(|mid| offer.bundle.contains(mid) || answer.bundle.len() == 1), "{text}");
}

/// The lines of a text of ours: nothing that somebody sent may end one.
fn lines(text: &str) -> Vec<&str> {
    let whole = text.strip_suffix("\r\n").expect("the last line is ended");
    let lines: Vec<&str> = whole.split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n', '\0'])), "{text:?}");
    lines
}

fn fragment(text: &str) {
    let Ok(fragment) = Fragment::parse(text) else { return };
    assert!(fragment.candidates <= 200);
    if let Some((ufrag, _)) = &fragment.credentials {
        assert_eq!(fragment.restarts(ufrag), None);
        assert_eq!(fragment.restarts("another"), Some(ufrag.as_str()).filter(|ufrag| *ufrag != "another"));
    }
    let answer = fragment.answer("OurU", "our-password-of-24-chars", &candidates());
    lines(&answer);
    let read = Fragment::parse(&answer).unwrap_or_else(|error| panic!("{error}\n{answer}"));
    assert_eq!(read.credentials, Some(("OurU".into(), "our-password-of-24-chars".into())));
    assert_eq!(read.candidates, 2);
}
