//! H.264 as RTP carries it: NAL units in, payloads of at most an MTU out (RFC 6184, packetization-mode 1).

use bytes::{BufMut, Bytes, BytesMut};

/// The largest RTP payload this crate sends. 1200 bytes is what browsers take as safe for a whole packet; 12 of them
/// are the RTP header, up to 16 the SRTP tag, and a gateway adds header extensions on the way to its viewers.
pub const MAX_PAYLOAD: usize = 1_150;

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const AUD: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Bytes before each NAL unit inside a STAP-A.
const STAP_LENGTH: usize = 2;

/// The type of a NAL unit (table 7-1 of the standard); 0, which is unspecified, for an empty one.
#[must_use]
pub fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1f)
}

/// Whether these NAL units are a frame at which decoding can begin.
#[must_use]
pub fn is_keyframe(nals: &[Bytes]) -> bool {
    nals.iter().any(|nal| nal_type(nal) == IDR)
}

/// Whether these NAL units bring a sequence parameter set.
#[must_use]
pub fn has_parameters(nals: &[Bytes]) -> bool {
    nals.iter().any(|nal| nal_type(nal) == SPS)
}

/// The NAL units of a frame in the byte stream format (Annex B). Trailing zeros belong to no unit.
#[must_use]
pub fn split_annex_b(stream: &Bytes) -> Vec<Bytes> {
    let mut nals = Vec::new();
    let mut start = None;
    let mut zeros = 0;
    let mut push = |from: Option<usize>, mut to: usize| {
        let Some(from) = from else { return };
        while to > from && stream[to - 1] == 0 {
            to -= 1;
        }
        if to > from {
            nals.push(stream.slice(from..to));
        }
    };
    for (at, &byte) in stream.iter().enumerate() {
        match byte {
            0 => zeros += 1,
            1 if zeros >= 2 => {
                push(start, at - zeros);
                start = Some(at + 1);
                zeros = 0;
            }
            _ => zeros = 0,
        }
    }
    push(start, stream.len());
    nals
}

/// The NAL units of a frame as MP4 stores it: each behind its length in `length_size` (1 to 4) bytes. None where the
/// lengths do not add up.
#[must_use]
pub fn split_avcc(sample: &Bytes, length_size: usize) -> Option<Vec<Bytes>> {
    let mut nals = Vec::new();
    let mut at = 0;
    while at < sample.len() {
        let length = sample.get(at..at + length_size)?;
        let length = length.iter().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
        at += length_size;
        sample.get(at..at.checked_add(length)?)?;
        if length > 0 {
            nals.push(sample.slice(at..at + length));
        }
        at += length;
    }
    Some(nals)
}

/// `profile-level-id` (RFC 6184, 8.1) of a sequence parameter set: `42e01f`.
#[must_use]
pub fn profile_level_id(sps: &[u8]) -> Option<String> {
    let [_, profile, constraints, level] = *sps.first_chunk::<4>()?;
    (nal_type(sps) == SPS).then(|| format!("{profile:02x}{constraints:02x}{level:02x}"))
}

/// What people call the profile of a sequence parameter set.
#[must_use]
pub fn profile_name(sps: &[u8]) -> &'static str {
    match sps.get(1..3) {
        Some([66, constraints]) if constraints & 0x40 != 0 => "Constrained Baseline",
        Some([66, _]) => "Baseline",
        Some([77, _]) => "Main",
        Some([88, _]) => "Extended",
        Some([100, _]) => "High",
        Some([110, _]) => "High 10",
        Some([122, _]) => "High 4:2:2",
        Some([244, _]) => "High 4:4:4",
        _ => "unknown profile",
    }
}

/// The `profile-level-id` of a constrained baseline stream of `width` x `height` pixels at `hz` frames per second: the
/// lowest level from 3.1 on that is enough (table A-1 of the standard).
#[must_use]
pub fn baseline_level_id(width: usize, height: usize, hz: f64) -> &'static str {
    let blocks = width.div_ceil(16) * height.div_ceil(16);
    #[expect(clippy::cast_precision_loss, reason = "a picture has fewer macroblocks than that")]
    let per_second = blocks as f64 * hz;
    match (blocks, per_second) {
        (..=3_600, ..=108_000.0) => "42e01f",
        (..=5_120, ..=216_000.0) => "42e020",
        (..=8_192, ..=245_760.0) => "42e028",
        (..=8_704, ..=522_240.0) => "42e02a",
        (..=36_864, ..=983_040.0) => "42e033",
        _ => "42e034",
    }
}

/// Cuts a frame into RTP payloads. SPS and PPS travel together in one STAP-A in front of what follows them; access
/// unit delimiters and filler, which mean nothing on RTP, are left out.
#[must_use]
pub fn packetize(nals: &[Bytes]) -> Vec<Bytes> {
    let (parameters, rest): (Vec<_>, Vec<_>) = nals
        .iter()
        .filter(|nal| !nal.is_empty() && !matches!(nal_type(nal), AUD | FILLER))
        .partition(|nal| matches!(nal_type(nal), SPS | PPS));
    let mut payloads = Vec::new();
    let together = 1 + parameters.iter().map(|nal| STAP_LENGTH + nal.len()).sum::<usize>();
    if parameters.len() > 1 && together <= MAX_PAYLOAD {
        let importance = parameters.iter().filter_map(|nal| nal.first()).map(|b| b & 0x60).max().unwrap_or(0);
        let mut stap = BytesMut::with_capacity(together);
        stap.put_u8(importance | STAP_A);
        for nal in parameters {
            stap.put_u16(u16::try_from(nal.len()).unwrap_or(u16::MAX));
            stap.put_slice(nal);
        }
        payloads.push(stap.freeze());
    } else {
        for nal in parameters {
            put(nal, &mut payloads);
        }
    }
    for nal in rest {
        put(nal, &mut payloads);
    }
    payloads
}

/// One NAL unit in as many payloads as it needs. All fragments but the last have the same size, which lets a sender
/// hand them to the kernel in one piece (UDP GSO).
fn put(nal: &Bytes, payloads: &mut Vec<Bytes>) {
    if nal.len() <= MAX_PAYLOAD {
        payloads.push(nal.clone());
        return;
    }
    let header = nal[0];
    let body = nal.slice(1..);
    let size = MAX_PAYLOAD - 2;
    let last = body.len().div_ceil(size) - 1;
    for (i, fragment) in body.chunks(size).enumerate() {
        let mut payload = BytesMut::with_capacity(2 + fragment.len());
        payload.put_u8(header & 0x60 | FU_A);
        payload.put_u8(u8::from(i == 0) << 7 | u8::from(i == last) << 6 | header & 0x1f);
        payload.put_slice(fragment);
        payloads.push(payload.freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nal(header: u8, length: usize) -> Bytes {
        let body = (1..length).map(|i| u8::try_from(i % 251).unwrap());
        std::iter::once(header).chain(body).collect()
    }

    /// The NAL units that a receiver gets out of these payloads.
    fn reassemble(payloads: &[Bytes]) -> Vec<Bytes> {
        let mut nals: Vec<Bytes> = Vec::new();
        let mut open: Option<Vec<u8>> = None;
        for payload in payloads {
            match nal_type(payload) {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while let [a, b, tail @ ..] = rest {
                        let length = usize::from(u16::from_be_bytes([*a, *b]));
                        nals.push(Bytes::copy_from_slice(&tail[..length]));
                        rest = &tail[length..];
                    }
                }
                FU_A => {
                    let (indicator, header) = (payload[0], payload[1]);
                    if header & 0x80 != 0 {
                        assert!(open.replace(vec![indicator & 0xe0 | header & 0x1f]).is_none());
                    }
                    open.as_mut().unwrap().extend_from_slice(&payload[2..]);
                    if header & 0x40 != 0 {
                        nals.push(open.take().unwrap().into());
                    }
                }
                _ => nals.push(payload.clone()),
            }
        }
        assert!(open.is_none());
        nals
    }

    #[test]
    fn a_keyframe_begins_with_its_parameter_sets_in_one_packet() {
        let nals = [nal(0x09, 2), nal(0x67, 20), nal(0x68, 6), nal(0x06, 40), nal(0x65, 5_000)];
        let payloads = packetize(&nals);
        assert_eq!(payloads[0][0], 0x78);
        assert_eq!(payloads[0].len(), 1 + 2 + 20 + 2 + 6);
        assert_eq!(reassemble(&payloads), nals[1..]);
        assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
    }

    #[test]
    fn nals_of_every_size_around_the_limit_survive() {
        for length in [1, 2, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD - 3, 20_000] {
            let nals = [nal(0x41, length)];
            let payloads = packetize(&nals);
            assert_eq!(reassemble(&payloads), nals, "{length}");
            let sizes: Vec<_> = payloads.iter().map(Bytes::len).collect();
            assert!(sizes.windows(3).all(|w| w[0] == w[1]), "equal fragments: {sizes:?}");
        }
        assert!(packetize(&[]).is_empty() && packetize(&[Bytes::new()]).is_empty());
    }

    #[test]
    fn annex_b_is_split_at_both_kinds_of_start_codes() {
        let stream = Bytes::from_static(&[
            9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 0, 0, 3, 1, 0,
        ]);
        let nals = split_annex_b(&stream);
        assert_eq!(nals, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 0, 3, 1]]);
        assert!(split_annex_b(&Bytes::from_static(&[1, 2, 3])).is_empty());
        assert!(split_annex_b(&Bytes::from_static(&[0, 0, 1])).is_empty());
    }

    #[test]
    fn avcc_samples_must_add_up() {
        let sample = Bytes::from_static(&[0, 0, 0, 2, 0x65, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0x06]);
        assert_eq!(split_avcc(&sample, 4).unwrap(), [&[0x65, 9][..], &[0x06]]);
        assert_eq!(split_avcc(&Bytes::from_static(&[1, 0x65]), 1).unwrap(), [&[0x65][..]]);
        for broken in [&[0, 0, 0][..], &[0, 0, 0, 9, 1], &[0xff; 8]] {
            assert!(split_avcc(&Bytes::copy_from_slice(broken), 4).is_none());
        }
    }

    #[test]
    fn levels_grow_with_the_picture() {
        assert_eq!(baseline_level_id(1280, 720, 30.0), "42e01f");
        assert_eq!(baseline_level_id(1280, 720, 60.0), "42e020");
        assert_eq!(baseline_level_id(1920, 1080, 30.0), "42e028");
        assert_eq!(baseline_level_id(1920, 1080, 60.0), "42e02a");
        assert_eq!(profile_level_id(&[0x67, 0x42, 0xc0, 0x1f]).as_deref(), Some("42c01f"));
        assert_eq!(profile_level_id(&[0x68, 0x42, 0xc0, 0x1f]), None);
    }
}
