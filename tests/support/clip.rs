//! H.264 pictures read from an MP4 file, each marked with a number that survives every path.
//!
//! The mark is an SEI of user data in front of the picture's slices. Both paths carry the NAL units unchanged, so a
//! frame can be recognised in RTP and in CMAF without decoding anything, however small the picture.

use std::fs::File;
use std::io::BufReader;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};

/// The clock of video times here.
pub const RATE: i64 = 90_000;
/// The largest RTP payload sent.
const PAYLOAD: usize = 1_200;
/// Whose SEI it is (a random UUID).
const MARK: [u8; 16] = *b"\x9f\x2b\xb1\x4c\x60\x1d\x4e\x77\x8a\x35\xd0\x41\x7c\xee\x19\x52";

/// One coded picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// When it is shown, in ticks of [`RATE`] from the clip's beginning.
    pub shown: i64,
    /// Whether decoding can begin here.
    pub key: bool,
    /// Its NAL units without start codes, parameter sets not among them.
    pub units: Vec<Bytes>,
}

/// The pictures of a clip in decode order.
#[derive(Debug, Clone)]
pub struct Clip {
    /// The sequence parameter set.
    pub sps: Bytes,
    /// The picture parameter set.
    pub pps: Bytes,
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// The clip's length in ticks of [`RATE`].
    pub length: i64,
}

impl Clip {
    /// Reads a file of `target/test-assets`.
    ///
    /// # Errors
    /// Where it is missing or has no H.264.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        let file = File::open(crate::asset(name)?)?;
        let size = file.metadata()?.len();
        let mut reader = mp4::Mp4Reader::read_header(BufReader::new(file), size)?;
        let track = reader
            .tracks()
            .values()
            .find(|track| matches!(track.media_type(), Ok(mp4::MediaType::H264)))
            .with_context(|| format!("{name} has no H.264"))?;
        let (id, rate) = (track.track_id(), i64::from(track.timescale()));
        let sps = Bytes::copy_from_slice(track.sequence_parameter_set()?);
        let pps = Bytes::copy_from_slice(track.picture_parameter_set()?);
        let mut pictures = Vec::new();
        let mut length = 0;
        for number in 1..=reader.sample_count(id)? {
            let Some(sample) = reader.read_sample(id, number)? else { break };
            let shown = i64::try_from(sample.start_time)? + i64::from(sample.rendering_offset);
            let end = i64::try_from(sample.start_time)? + i64::from(sample.duration);
            length = length.max(end * RATE / rate);
            let units = units_of(&sample.bytes)
                .filter(|unit| !matches!(unit.first().map_or(0, |b| b & 0x1f), 7 | 8))
                .collect();
            pictures.push(Picture { shown: shown * RATE / rate, key: sample.is_sync, units });
        }
        let first = pictures.iter().map(|picture| picture.shown).min().unwrap_or(0);
        for picture in &mut pictures {
            picture.shown -= first;
        }
        anyhow::ensure!(!pictures.is_empty(), "{name} has no pictures");
        Ok(Self { sps, pps, pictures, length })
    }

    /// The `n`th picture of the endless loop and its time on the loop's timeline.
    #[must_use]
    pub fn looped(&self, n: usize) -> (&Picture, i64) {
        let picture = &self.pictures[n % self.pictures.len()];
        let round = i64::try_from(n / self.pictures.len()).unwrap_or(0);
        (picture, picture.shown + round * self.length)
    }

    /// The RTP payloads of a picture marked with `number`, parameter sets in front of a keyframe.
    #[must_use]
    pub fn payloads(&self, picture: &Picture, number: u32) -> Vec<Bytes> {
        let mut payloads = Vec::new();
        if picture.key {
            payloads.push(aggregate(&[&self.sps, &self.pps]));
        }
        payloads.push(mark(number));
        for unit in &picture.units {
            packetize(unit, &mut payloads);
        }
        payloads
    }
}

/// The NAL units of an access unit whose units stand behind 32-bit lengths, as MP4 has them. Stops where a length lies.
pub fn units_of(sample: &[u8]) -> impl Iterator<Item = Bytes> + '_ {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let unit = tail.get(..length)?;
        rest = &tail[length..];
        Some(Bytes::copy_from_slice(unit))
    })
}

/// An SEI that carries `number`. The digits are ASCII, so that no emulation prevention is needed.
fn mark(number: u32) -> Bytes {
    let mut unit = vec![0x06, 5, 24];
    unit.extend_from_slice(&MARK);
    unit.extend_from_slice(format!("{number:08x}").as_bytes());
    unit.push(0x80);
    unit.into()
}

/// The number that a NAL unit is the mark of, if it is one.
#[must_use]
pub fn marked(unit: &[u8]) -> Option<u32> {
    let digits = unit.strip_prefix(&[0x06, 5, 24])?.strip_prefix(&MARK)?.get(..8)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A STAP-A (RFC 6184, 5.7.1).
fn aggregate(units: &[&Bytes]) -> Bytes {
    let mut payload = BytesMut::from(&[0x78_u8][..]);
    for unit in units {
        payload.extend_from_slice(&u16::try_from(unit.len()).unwrap_or(u16::MAX).to_be_bytes());
        payload.extend_from_slice(unit);
    }
    payload.freeze()
}

/// A single NAL unit packet, or an FU-A where it is too large (RFC 6184, 5.6 and 5.8).
fn packetize(unit: &Bytes, into: &mut Vec<Bytes>) {
    if unit.len() <= PAYLOAD {
        into.push(unit.clone());
        return;
    }
    let (indicator, kind) = ((unit[0] & 0xe0) | 28, unit[0] & 0x1f);
    let pieces = unit[1..].chunks(PAYLOAD - 2).count();
    for (n, piece) in unit[1..].chunks(PAYLOAD - 2).enumerate() {
        let start = if n == 0 { 0x80 } else { 0 };
        let end = if n + 1 == pieces { 0x40 } else { 0 };
        let mut payload = BytesMut::from(&[indicator, kind | start | end][..]);
        payload.extend_from_slice(piece);
        into.push(payload.freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_nothing_else_is_one() {
        for number in [0, 1, 0x0000_0300, u32::MAX] {
            assert_eq!(marked(&mark(number)), Some(number));
        }
        assert_eq!(marked(&[0x06, 5, 24, 1, 2, 3]), None);
        assert_eq!(marked(&[]), None);
    }

    #[test]
    fn large_units_are_cut_into_fragments_that_say_first_and_last() {
        let mut payloads = Vec::new();
        packetize(&Bytes::from(vec![0x65; 3_000]), &mut payloads);
        assert_eq!(payloads.len(), 3);
        assert_eq!((payloads[0][0], payloads[0][1]), (0x7c, 0x85));
        assert_eq!(payloads[1][1], 0x05);
        assert_eq!(payloads[2][1], 0x45);
        assert_eq!(payloads.iter().map(|p| p.len() - 2).sum::<usize>(), 2_999);
    }
}
