//! A publisher that sends a recorded group of pictures over and over, beginning again when a keyframe is asked for.

use bicast_shared::feed::owner::RtpInput;
use bicast_shared::id::{RenditionId, StreamKey};
use bytes::Bytes;

use super::aac::AacSource;
use super::{AUDIO, VIDEO};

/// 60 frames of 160x90, constrained baseline, by x264.
pub(crate) const BASELINE: &[u8] = include_bytes!("../../../tests/fixtures/baseline.h264");
/// The same in 128x72.
pub(crate) const SMALL: &[u8] = include_bytes!("../../../tests/fixtures/small.h264");
/// The same in High profile (CABAC) with two B-frames between the others.
pub(crate) const B_FRAMES: &[u8] = include_bytes!("../../../tests/fixtures/bframes.h264");

const MTU: usize = 400;

/// A frame's NAL units.
pub(crate) type Frame = Vec<Bytes>;

/// The frames of an Annex B stream, in decode order.
pub(crate) fn frames(stream: &'static [u8]) -> Vec<Frame> {
    let mut starts: Vec<usize> =
        stream.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    starts.push(stream.len());
    let mut frames: Vec<Frame> = Vec::new();
    let mut open = false;
    for pair in starts.windows(2) {
        let mut unit = &stream[pair[0] + 3..pair[1]];
        while unit.last() == Some(&0) {
            unit = &unit[..unit.len() - 1];
        }
        let kind = unit[0] & 0x1f;
        let first_slice = matches!(kind, 1 | 5) && unit[1] & 0x80 != 0;
        if frames.is_empty() || (open && (matches!(kind, 6..=9) || first_slice)) {
            frames.push(Vec::new());
            open = false;
        }
        open |= matches!(kind, 1 | 5);
        frames.last_mut().unwrap().push(Bytes::from_static(unit));
    }
    frames
}

/// RFC 6184: parameter sets and SEI as single units, slices as FU-A where they are long.
pub(crate) fn payloads(frame: &Frame) -> Vec<Bytes> {
    let mut out = Vec::new();
    for unit in frame {
        if unit.len() <= MTU {
            out.push(unit.clone());
            continue;
        }
        let chunks: Vec<&[u8]> = unit[1..].chunks(MTU).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            let mut header = unit[0] & 0x1f;
            header |= if n == 0 { 0x80 } else { 0 };
            header |= if n + 1 == chunks.len() { 0x40 } else { 0 };
            let mut payload = vec![unit[0] & 0x60 | 28, header];
            payload.extend_from_slice(chunk);
            out.push(payload.into());
        }
    }
    out
}

/// What is sent, and how regularly.
pub(crate) struct Publisher {
    pub(crate) frames: Vec<Frame>,
    pub(crate) fps: f64,
    /// Whether keyframe requests are answered.
    pub(crate) answers: bool,
    /// Milliseconds that timestamps wobble.
    pub(crate) jitter: i64,
    /// In which order frames are shown, relative to when they are sent: the offset of the n-th frame of a group.
    pub(crate) composition: fn(usize) -> i64,
    /// Frames in a group that is not broken off: where it is longer than the recorded one, its last frames come again.
    pub(crate) group: usize,
    /// A group is only broken off where so many frames belong together.
    pub(crate) together: usize,
    pub(crate) audio: bool,
    /// What its sound is instead of Opus.
    pub(crate) aac: Option<AacSource>,
    /// Its video is this stream, on a clock of its own that began with this timestamp, and comes so many milliseconds late.
    pub(crate) video_key: StreamKey,
    pub(crate) base: u32,
    pub(crate) late: i64,
    pub(crate) audio_key: StreamKey,
    pub(crate) video: bool,
    /// No frame is sent while this says so.
    pub(crate) pause: fn(i64) -> bool,
    /// Changes a payload on its way out.
    pub(crate) corrupt: fn(u64, &Bytes) -> Option<Bytes>,
    started: Option<i64>,
    sent: u64,
    /// Where in its group of pictures it is.
    pub(crate) in_group: usize,
    keyframe_at: Option<i64>,
    video_sequence: u16,
    audio_sequence: u16,
    audio_sent: i64,
    random: u32,
}

impl Publisher {
    pub(crate) fn new(stream: &'static [u8], fps: f64) -> Self {
        let frames = frames(stream);
        Self {
            group: frames.len(),
            frames,
            fps,
            answers: true,
            jitter: 0,
            composition: |_| 0,
            together: 1,
            audio: true,
            aac: None,
            video_key: VIDEO,
            // Just below the wrap, so that every run crosses it.
            base: 0xffff_0000,
            late: 0,
            audio_key: AUDIO,
            video: true,
            pause: |_| false,
            corrupt: |_, _| None,
            started: None,
            sent: 0,
            in_group: 0,
            keyframe_at: None,
            video_sequence: 65_000,
            audio_sequence: 9,
            audio_sent: 0,
            random: 1,
        }
    }

    /// High profile with two B-frames: sent I P B B P B B …, shown I B B P B B P ….
    /// One that sends nothing.
    pub(crate) fn silent() -> Self {
        Self { video: false, audio: false, ..Self::new(BASELINE, 30.0) }
    }

    pub(crate) fn with_b_frames() -> Self {
        let composition = |n| match n {
            0 => 0,
            58 => 1,
            59 => -1,
            _ => [2, -1, -1][(n - 1) % 3],
        };
        Self { composition, together: 3, ..Self::new(B_FRAMES, 30.0) }
    }

    /// One of several layers: what it sends is the stream of this number.
    pub(crate) fn layer(number: u8, stream: &'static [u8]) -> Self {
        let video_key = StreamKey::new(VIDEO.track, RenditionId(number));
        let (base, late) =
            (0xffff_0000_u32.wrapping_add(u32::from(number) * 1_234_567), i64::from(number) * 11);
        Self { video_key, base, late, audio: number == 0, ..Self::new(stream, 30.0) }
    }

    /// A sender report of its video, as it stands at this millisecond.
    pub(crate) fn report(&self, millis: i64) -> Option<u32> {
        let since = u32::try_from(millis - self.started?).ok()?;
        Some(self.base.wrapping_add(since * 90))
    }

    pub(crate) fn change_stream(&mut self, stream: &'static [u8]) {
        self.frames = frames(stream);
        self.in_group = 0;
    }

    pub(crate) fn handle_keyframe_request(&mut self, millis: i64) {
        if self.answers && self.keyframe_at.is_none() {
            self.keyframe_at = Some(millis + 40);
        }
    }

    fn random(&mut self, below: i64) -> i64 {
        self.random = self.random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        i64::from(self.random >> 16) % below.max(1)
    }

    /// What is sent at this millisecond.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small"
    )]
    pub(crate) fn poll(&mut self, millis: i64) -> Vec<(StreamKey, RtpInput)> {
        let started = *self.started.get_or_insert(millis);
        let since = millis - started;
        let mut out = Vec::new();
        let due = |sent: u64, fps: f64| (sent as f64 * 1_000.0 / fps) as i64;
        while self.video && due(self.sent, self.fps) <= since - self.late {
            let number = self.sent;
            self.sent += 1;
            if (self.pause)(millis) {
                continue;
            }
            let whole = self.in_group % self.together == 1 % self.together;
            if whole && self.keyframe_at.is_some_and(|at| at <= millis - self.late) {
                self.keyframe_at = None;
                self.in_group = 0;
            }
            let place = self.in_group % self.group;
            let place = if place == 0 { 0 } else { 1 + (place - 1) % (self.frames.len() - 1) };
            let frame = self.frames[place].clone();
            let offset = (self.composition)(place);
            self.in_group += 1;
            let wobble = if self.jitter == 0 { 0 } else { self.random(self.jitter * 2 + 1) - self.jitter };
            let shown = (number as i64 + offset) as f64 * 90_000.0 / self.fps;
            let timestamp = (shown as i64 + wobble * 90 + i64::from(self.base)) as u32;
            let payloads = payloads(&frame);
            let last = payloads.len() - 1;
            for (n, payload) in payloads.into_iter().enumerate() {
                let payload = (self.corrupt)(number, &payload).unwrap_or(payload);
                self.video_sequence = self.video_sequence.wrapping_add(1);
                out.push((self.video_key, input(self.video_sequence, timestamp, n == last, payload)));
            }
        }
        for (timestamp, marker, payload) in self.aac.iter_mut().flat_map(|aac| aac.poll(since)) {
            self.audio_sequence = self.audio_sequence.wrapping_add(1);
            out.push((self.audio_key, input(self.audio_sequence, timestamp, marker, payload)));
        }
        while self.audio && self.aac.is_none() && self.audio_sent * 20 <= since {
            let timestamp = (self.audio_sent * 960 + 77) as u32;
            self.audio_sent += 1;
            self.audio_sequence = self.audio_sequence.wrapping_add(1);
            let payload = Bytes::from_static(&[0x78, 1, 2, 3, 4, 5, 6, 7]);
            out.push((self.audio_key, input(self.audio_sequence, timestamp, false, payload)));
        }
        out
    }
}

fn input(sequence_number: u16, timestamp: u32, marker: bool, payload: Bytes) -> RtpInput {
    RtpInput { sequence_number, timestamp, marker, payload, orientation: None, composition_offset: None }
}
