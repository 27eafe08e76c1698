//! The synthetic feed: H.264 that parsers take for a picture of 1280 x 720, and Opus, made without encoding anything.
//!
//! Parameter sets and slice headers are what a constrained baseline encoder writes; behind them stands noise, and at the
//! end of each slice's payload the time of sending ([`stamp`]). A gateway that forwards and packages cannot tell; a
//! decoder can.

use std::time::Duration;

use super::stamp;

/// SPS: constrained baseline, level 3.1, 1280 x 720, frame numbers of 4 bits, no picture order count, one reference.
pub const SPS: [u8; 9] = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4];
/// PPS: CAVLC, nothing optional.
pub const PPS: [u8; 4] = [0x68, 0xce, 0x38, 0x80];
/// An Opus frame of 20 ms, stereo, of the hybrid coder, one frame in the packet (RFC 6716, 3.1).
const OPUS_TOC: u8 = 0x7c;
/// Bytes of an Opus packet: 64 kbit/s.
const OPUS_BYTES: usize = 160;
/// The length of an Opus packet.
pub const OPUS_FRAME: Duration = Duration::from_millis(20);
/// Frames over which the rate is made good after a keyframe.
const REPAY: f64 = 30.0;

const IDR: u8 = 5;
const SLICE: u8 = 1;

/// What the feed looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Video packets per second, on average.
    pub packets_per_second: f64,
    /// Pictures per second.
    pub frames_per_second: f64,
    /// From one keyframe to the next when nobody asks.
    pub gop: Duration,
    /// Bytes of RTP payload in a video packet.
    pub payload_bytes: usize,
    /// Packets of a keyframe, parameter sets included.
    pub keyframe_packets: usize,
    /// Whether there is sound: 50 packets per second.
    pub audio: bool,
}

impl Default for Shape {
    /// 310 packets per second: 2.5 Mbit/s of 1280 x 720 and sound.
    fn default() -> Self {
        Self {
            packets_per_second: 260.0,
            frames_per_second: 30.0,
            gop: Duration::from_secs(2),
            payload_bytes: 1_172,
            keyframe_packets: 40,
            audio: true,
        }
    }
}

/// The video of the feed.
#[derive(Debug)]
pub struct Video {
    shape: Shape,
    /// Frames so far.
    frames: u64,
    /// Frames since the last keyframe.
    since_keyframe: u64,
    keyframes: u64,
    /// Packets that the rate still allows; less than none after a keyframe.
    balance: f64,
}

/// A picture to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Its number.
    pub number: u64,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// How many packets it has.
    pub packets: usize,
    frame_number: u8,
    idr_number: u8,
}

impl Video {
    /// A feed at its beginning.
    #[must_use]
    pub const fn new(shape: Shape) -> Self {
        Self { shape, frames: 0, since_keyframe: 0, keyframes: 0, balance: 0.0 }
    }

    /// The next picture; `wanted` makes it a keyframe.
    pub fn next_picture(&mut self, wanted: bool) -> Picture {
        let gop = self.shape.gop.as_secs_f64() * self.shape.frames_per_second;
        let keyframe = self.frames == 0 || wanted || self.since_keyframe as f64 + 0.5 >= gop;
        let even = self.shape.packets_per_second / self.shape.frames_per_second;
        self.balance += even;
        let packets = if keyframe {
            self.shape.keyframe_packets.max(2)
        } else {
            let target = if self.balance < even {
                even - (even - self.balance) / REPAY
            } else {
                self.balance.min(even + 1.0)
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few, and at least 1"
            )]
            let packets = target.floor().max(1.0) as usize;
            packets
        };
        self.balance -= packets as f64;
        self.since_keyframe = if keyframe { 1 } else { self.since_keyframe + 1 };
        self.keyframes += u64::from(keyframe);
        let number = self.frames;
        self.frames += 1;
        let low = |value: u64, bits: u64| u8::try_from(value & bits).unwrap_or(0);
        Picture {
            number,
            keyframe,
            packets,
            // Counts the reference frames since the IDR (H.264, 7.4.3).
            frame_number: low(self.since_keyframe - 1, 0x0f),
            idr_number: low(self.keyframes, 1),
        }
    }

    /// Writes the payload of packet `n` of a picture, sent at `nanos`.
    pub fn payload(&self, picture: &Picture, n: usize, nanos: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let size = self.shape.payload_bytes.max(2 * stamp::SIZE);
        let unit = if picture.keyframe { 0x60 | IDR } else { 0x40 | SLICE };
        let (first, fragments) = if picture.keyframe {
            if n == 0 {
                return parameter_sets(out);
            }
            (n == 1, picture.packets - 1)
        } else {
            (n == 0, picture.packets)
        };
        if fragments == 1 {
            out.push(unit);
        } else {
            // RFC 6184, 5.8: FU-A.
            let ends = n + 1 == picture.packets;
            out.extend([unit & 0xe0 | 28, u8::from(first) << 7 | u8::from(ends) << 6 | unit & 0x1f]);
        }
        if first {
            slice_header(picture, out);
        }
        noise(start + size - stamp::SIZE, out);
        stamp::write(nanos, out);
    }
}

/// STAP-A of SPS and PPS (RFC 6184, 5.7.1), as encoders send them in front of every IDR. Not stamped.
fn parameter_sets(out: &mut Vec<u8>) {
    out.push(0x60 | 24);
    for unit in [&SPS[..], &PPS] {
        out.extend_from_slice(&u16::try_from(unit.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(unit);
    }
}

/// H.264, 7.3.3, for the parameter sets above.
fn slice_header(picture: &Picture, out: &mut Vec<u8>) {
    let mut bits = Bits::default();
    bits.golomb(0); // first_mb_in_slice
    bits.golomb(if picture.keyframe { 7 } else { 5 }); // slice_type: all slices are I, or P
    bits.golomb(0); // pic_parameter_set_id
    bits.put(u32::from(picture.frame_number), 4);
    if picture.keyframe {
        bits.golomb(u32::from(picture.idr_number));
        bits.put(0, 2); // no_output_of_prior_pics_flag, long_term_reference_flag
    } else {
        bits.put(0, 3); // num_ref_idx_active_override, ref_pic_list_modification, adaptive_ref_pic_marking
    }
    bits.golomb(0); // slice_qp_delta
    // What follows is noise: any bits do.
    bits.put(1, 1);
    bits.finish(out);
}

/// Fills up to `size` bytes in all.
fn noise(size: usize, out: &mut Vec<u8>) {
    const NOISE: [u8; 256] = {
        let mut bytes = [0; 256];
        let mut n = 0_usize;
        while n < 256 {
            // Never 0: nothing that looks like a start code.
            #[expect(clippy::cast_possible_truncation, reason = "modulo 256 is meant")]
            let byte = (n.wrapping_mul(167) ^ 0x5a) as u8;
            bytes[n] = byte | 0x40;
            n += 1;
        }
        bytes
    };
    while out.len() < size {
        let more = (size - out.len()).min(NOISE.len());
        out.extend_from_slice(&NOISE[..more]);
    }
}

/// The payload of an Opus packet sent at `nanos`.
pub fn opus(nanos: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(OPUS_TOC);
    noise(start + OPUS_BYTES - stamp::SIZE, out);
    stamp::write(nanos, out);
}

/// Bits, the highest first.
#[derive(Default)]
struct Bits {
    value: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, bits: u32) {
        self.value = self.value << bits | u64::from(value);
        self.count += bits;
    }

    /// ue(v) (H.264, 9.1).
    fn golomb(&mut self, value: u32) {
        let bits = 32 - (value + 1).leading_zeros();
        self.put(value + 1, 2 * bits - 1);
    }

    /// Whole bytes, the rest filled with ones.
    fn finish(mut self, out: &mut Vec<u8>) {
        while !self.count.is_multiple_of(8) {
            self.put(1, 1);
        }
        let bytes = self.value.to_be_bytes();
        out.extend_from_slice(&bytes[8 - (self.count / 8) as usize..]);
    }
}

#[cfg(test)]
mod tests {
    use h264_reader::Context;
    use h264_reader::nal::pps::PicParameterSet;
    use h264_reader::nal::slice::{SliceFamily, SliceHeader};
    use h264_reader::nal::sps::SeqParameterSet;
    use h264_reader::nal::{Nal as _, RefNal};

    use super::*;

    fn packets(video: &Video, picture: &Picture) -> Vec<Vec<u8>> {
        (0..picture.packets)
            .map(|n| {
                let mut out = Vec::new();
                video.payload(picture, n, 1_000_000_000_000_000_000 + n as u64, &mut out);
                out
            })
            .collect()
    }

    #[test]
    fn an_independent_parser_takes_it_for_720p() {
        let sps = SeqParameterSet::from_bits(RefNal::new(&SPS, &[], true).rbsp_bits()).unwrap();
        assert_eq!(sps.pixel_dimensions().unwrap(), (1_280, 720));
        let mut context = Context::new();
        context.put_seq_param_set(sps);
        let pps = PicParameterSet::from_bits(&context, RefNal::new(&PPS, &[], true).rbsp_bits()).unwrap();
        context.put_pic_param_set(pps);
        let mut video = Video::new(Shape::default());
        for n in 0..70_u16 {
            let picture = video.next_picture(false);
            let payloads = packets(&video, &picture);
            let first = &payloads[usize::from(picture.keyframe)];
            let mut unit = vec![first[0] & 0xe0 | first[1] & 0x1f];
            unit.extend_from_slice(&first[2..]);
            let nal = RefNal::new(&unit, &[], true);
            let header = SliceHeader::from_bits(&context, &mut nal.rbsp_bits(), nal.header().unwrap(), None);
            let (header, ..) = header.unwrap();
            assert_eq!(header.frame_num, n % 60 % 16, "{n}");
            let family = if n % 60 == 0 { SliceFamily::I } else { SliceFamily::P };
            assert_eq!(header.slice_type.family, family);
        }
    }

    #[test]
    fn every_packet_is_stamped_and_of_one_size() {
        let mut video = Video::new(Shape::default());
        for _ in 0..3 {
            let picture = video.next_picture(false);
            for (n, payload) in packets(&video, &picture).iter().enumerate() {
                if !picture.keyframe || n > 0 {
                    assert_eq!(stamp::read(payload), Some(1_000_000_000_000_000_000 + n as u64));
                    assert_eq!(payload.len(), 1_172);
                }
                let keyframe =
                    bicast_shared::media::starts_decoding(bicast_shared::media::Codec::H264, payload);
                assert_eq!(keyframe, picture.keyframe);
            }
        }
        let mut sound = Vec::new();
        opus(5, &mut sound);
        assert_eq!((sound.len(), stamp::read(&sound)), (160, Some(5)));
    }

    #[test]
    fn the_rate_is_kept_and_keyframes_come_when_due_or_wanted() {
        for (packets_per_second, gop) in [(260.0, 2), (260.0, 10), (40.0, 2), (1_000.0, 1)] {
            let shape = Shape { packets_per_second, gop: Duration::from_secs(gop), ..Shape::default() };
            let mut video = Video::new(shape);
            let (mut sent, mut keyframes) = (0, 0);
            for _ in 0..30 * 60 {
                let picture = video.next_picture(false);
                sent += picture.packets;
                keyframes += u64::from(picture.keyframe);
            }
            assert_eq!(keyframes, 60 / gop);
            let expected = packets_per_second * 60.0;
            // A feed of 40 packets a second cannot make good for its keyframes.
            let high = if packets_per_second < 50.0 { 2.0 } else { 1.02 };
            assert!(
                (sent as f64) > expected * 0.97 && (sent as f64) < expected * high,
                "{sent} of {expected}"
            );
        }
        let mut video = Video::new(Shape::default());
        video.next_picture(false);
        assert!(!video.next_picture(false).keyframe);
        assert!(video.next_picture(true).keyframe);
        assert!((0..59).all(|_| !video.next_picture(false).keyframe));
        assert!(video.next_picture(false).keyframe);
    }
}
