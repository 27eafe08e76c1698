//! The encoders behind the sources: H.264 by openh264, Opus by libopus.

use bytes::Bytes;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate as Hertz, FrameType, IntraFramePeriod, Profile,
    RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};

use crate::core::h264::split_annex_b;
use crate::core::picture::Picture;
use crate::core::rate::FrameRate;
use crate::error::Error;

/// Encodes pictures to H.264, constrained baseline: no B-frames, no reordering, one slice per picture.
pub struct H264Encoder {
    encoder: Encoder,
    rate: FrameRate,
    frames: u64,
}

impl H264Encoder {
    /// An encoder for pictures at `rate`, with `bitrate` bits per second and a keyframe every `gop` frames if nobody
    /// asks for one before.
    ///
    /// # Errors
    /// When openh264 does not start.
    pub fn new(rate: FrameRate, bitrate: u32, gop: u32) -> Result<Self, Error> {
        #[expect(clippy::cast_possible_truncation, reason = "a frame rate has no more digits")]
        let hz = rate.hz() as f32;
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .bitrate(BitRate::from_bps(bitrate))
            .max_frame_rate(Hertz::from_hz(hz))
            .rate_control_mode(RateControlMode::Bitrate)
            // A skipped frame would be a hole in the frame numbers that tests count.
            .skip_frames(false)
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            // Each of these looks at every pixel for what a drawn picture does not have: noise, cuts, backdrops.
            .scene_change_detect(false)
            .background_detection(false)
            .adaptive_quantization(false)
            // One thread: more would cut the picture into slices and wake cores that others need.
            .num_threads(1)
            .intra_frame_period(IntraFramePeriod::from_num_frames(gop))
            .vui(VuiConfig::bt709());
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(|error| Error::codec("the H.264 encoder")(&error))?;
        hush(&mut encoder);
        Ok(Self { encoder, rate, frames: 0 })
    }

    /// The NAL units of the next picture; `keyframe` makes it one at which decoding can begin.
    ///
    /// # Errors
    /// When openh264 fails, or leaves the picture out.
    pub fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<Vec<Bytes>, Error> {
        let failed = Error::codec("the H.264 encoder");
        if keyframe && self.frames > 0 {
            self.encoder.force_intra_frame();
        }
        let (width, height) = (picture.width(), picture.height());
        let planes = YUVSlices::new(picture.planes(), (width, height), (width, width / 2, width / 2));
        let millis = u64::try_from(self.rate.due(self.frames).as_millis()).unwrap_or(0);
        self.frames += 1;
        let stream = self
            .encoder
            .encode_at(&planes, Timestamp::from_millis(millis))
            .map_err(|error| failed(&error))?;
        if matches!(stream.frame_type(), FrameType::Skip | FrameType::Invalid) {
            return Err(failed(&"it left a frame out"));
        }
        Ok(split_annex_b(&stream.to_vec().into()))
    }
}

/// Keeps openh264 from writing to standard error. Its wrapper does that only after the start, which is when the library
/// complains that without skipping frames it may miss the bit rate for a moment, in the middle of a status line.
#[expect(unsafe_code, reason = "the wrapper has no safe way to set an option before the first frame")]
fn hush(encoder: &mut Encoder) {
    let mut level = openh264_sys2::WELS_LOG_QUIET;
    // SAFETY: the encoder lives, TRACE_LEVEL may be set before it is initialized (codec_api.h), takes a pointer to an
    // int, and keeps no reference to it.
    unsafe {
        encoder.raw_api().set_option(openh264_sys2::ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast());
    }
}

impl std::fmt::Debug for H264Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "H264Encoder({} frames at {}/s)", self.frames, self.rate)
    }
}

/// Samples per channel in one Opus packet: 20 ms at 48 kHz.
pub const OPUS_FRAME: usize = 960;
/// More bytes than 20 ms of Opus ever take.
const OPUS_LARGEST: usize = 1_275;

/// Encodes stereo sound at 48 kHz to Opus, 20 ms a packet.
#[derive(Debug)]
pub struct OpusEncoder {
    encoder: opus::Encoder,
    lookahead: usize,
}

impl OpusEncoder {
    /// An encoder for `bitrate` bits per second.
    ///
    /// # Errors
    /// When libopus does not start.
    pub fn new(bitrate: i32) -> Result<Self, Error> {
        let failed = Error::codec("the Opus encoder");
        let start = || {
            let mut encoder = opus::Encoder::new(48_000, opus::Channels::Stereo, opus::Application::Audio)?;
            encoder.set_bitrate(opus::Bitrate::Bits(bitrate))?;
            encoder.set_complexity(5)?;
            let lookahead = encoder.get_lookahead()?;
            Ok((encoder, lookahead))
        };
        let (encoder, lookahead) = start().map_err(|error: opus::Error| failed(&error))?;
        Ok(Self { encoder, lookahead: usize::try_from(lookahead).unwrap_or(0) })
    }

    /// By how many samples per channel the decoded sound comes later than what was encoded.
    #[must_use]
    pub fn lookahead(&self) -> usize {
        self.lookahead
    }

    /// The packet of [`OPUS_FRAME`] stereo samples, interleaved.
    ///
    /// # Errors
    /// When libopus fails, which it does for any other number of samples.
    pub fn encode(&mut self, samples: &[f32]) -> Result<Bytes, Error> {
        let packet = self.encoder.encode_vec_float(samples, OPUS_LARGEST);
        packet.map(Bytes::from).map_err(|error| Error::codec("the Opus encoder")(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::barcode::{read_clock, read_number};
    use crate::core::h264::{has_parameters, is_keyframe, packetize, profile_name};
    use crate::core::pattern::TestPattern;
    use crate::core::tone;
    use bicast_shared::time::ProgramTime;
    use openh264::formats::YUVSource as _;

    fn annex_b(nals: &[Bytes]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1], &nal[..]].concat()).collect()
    }

    #[test]
    fn numbers_and_clock_survive_the_encoder_at_every_size() {
        for (width, height, bitrate) in [(1280, 720, 1_000_000), (640, 360, 400_000), (320, 180, 150_000)] {
            let rate = FrameRate::new(30, 1).unwrap();
            let mut pattern = TestPattern::new(width, height, rate);
            let mut encoder = H264Encoder::new(rate, bitrate, 60).unwrap();
            let mut decoder = openh264::decoder::Decoder::new().unwrap();
            let mut bytes = 0;
            for n in 0..75_u64 {
                let millis = 1_795_411_739_123 + n * 33;
                let utc = ProgramTime::from_unix_nanos(i64::try_from(millis * 1_000_000).unwrap());
                let nals = encoder.encode(pattern.draw(n, utc), n == 17).unwrap();
                bytes += nals.iter().map(Bytes::len).sum::<usize>();
                assert_eq!(is_keyframe(&nals), matches!(n, 0 | 17), "frame {n}");
                assert_eq!(has_parameters(&nals), is_keyframe(&nals));
                let decoded = decoder.decode(&annex_b(&nals)).unwrap().expect("no reordering, so no delay");
                let (stride, _, _) = decoded.strides();
                assert_eq!(read_number(decoded.y(), stride, width).map(u64::from), Some(n), "{width}");
                assert_eq!(
                    read_clock(decoded.y(), stride, width, height, millis),
                    Some(millis),
                    "{width}, {n}"
                );
            }
            assert!(bytes * 8 < usize::try_from(bitrate).unwrap() * 4, "{width}: {bytes} bytes in 2.5 s");
        }
    }

    #[test]
    fn it_is_constrained_baseline_with_a_keyframe_every_gop() {
        let rate = FrameRate::new(25, 1).unwrap();
        let mut encoder = H264Encoder::new(rate, 300_000, 10).unwrap();
        let picture = Picture::new(320, 180);
        for n in 0..31 {
            let nals = encoder.encode(&picture, false).unwrap();
            assert_eq!(is_keyframe(&nals), n % 10 == 0, "frame {n}");
            if n == 0 {
                assert_eq!(profile_name(&nals[0]), "Constrained Baseline");
                assert_eq!(packetize(&nals)[0][0] & 0x1f, 24, "SPS and PPS in one packet");
            }
        }
    }

    #[test]
    fn a_beep_comes_out_when_it_went_in() {
        let mut encoder = OpusEncoder::new(64_000).unwrap();
        let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
        let ahead = encoder.lookahead();
        let mut sound = Vec::new();
        for packet in 0..60 {
            let at = |i: usize| tone::sample(u64::try_from(packet * OPUS_FRAME + ahead + i).unwrap());
            let samples: Vec<f32> = (0..OPUS_FRAME).flat_map(|i| [at(i); 2]).collect();
            let mut decoded = vec![0.0; OPUS_FRAME * 2];
            decoder.decode_float(&encoder.encode(&samples).unwrap(), &mut decoded, false).unwrap();
            sound.extend(decoded.chunks(2).map(|pair| pair[0]));
        }
        let loud = |from: usize, to: usize| sound[from..to].iter().fold(0.0_f32, |most, s| most.max(s.abs()));
        assert!(loud(20_000, 47_500) < 0.02, "silence before the second beep");
        let onset = (47_000..49_000).find(|&i| sound[i].abs() > 0.15).unwrap();
        assert!((48_000..48_240).contains(&onset), "{onset}");
    }
}
