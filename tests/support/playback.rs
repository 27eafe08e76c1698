//! Sends a clip in real time with chosen clocks, sender reports and starts: what encoders out there do wrong, on purpose.

use std::time::Duration;

use bicast_shared::clock;
use bytes::Bytes;

use crate::clip::Clip;
use crate::peer::{Kind, RtpPublisher};

/// Which sender reports are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reports {
    /// None at all.
    None,
    /// One a second for each track, with the true time.
    True,
    /// One a second for each track, the time wrong by this many seconds (the same for both tracks).
    Off(i64),
    /// One a second for each track, with seconds since the machine started instead of UTC.
    SinceBoot,
}

/// How a clip is sent.
#[derive(Debug, Clone)]
pub struct Playback {
    /// The number of the first picture.
    pub first_number: u32,
    /// How many pictures are sent.
    pub pictures: usize,
    /// The video's RTP timestamp of the clip's beginning.
    pub video_start: u32,
    /// The audio's RTP timestamp of the clip's beginning.
    pub audio_start: u32,
    /// How much faster the video's clock runs than the wall clock, in parts per million.
    pub video_ppm: i64,
    /// How much faster the audio's clock runs than the wall clock, in parts per million.
    pub audio_ppm: i64,
    /// How long after the video the sound begins, in milliseconds; negative: the video begins later.
    pub audio_late_ms: i64,
    /// The sender reports.
    pub reports: Reports,
}

impl Default for Playback {
    fn default() -> Self {
        Self {
            first_number: 0,
            pictures: 300,
            video_start: 1_234_567,
            audio_start: 7_654_321,
            video_ppm: 0,
            audio_ppm: 0,
            audio_late_ms: 0,
            reports: Reports::True,
        }
    }
}

/// 20 ms of full-band Opus that carries its own number. What it sounds like does not matter here.
fn sound(number: i64) -> Bytes {
    let low = number.to_be_bytes();
    Bytes::copy_from_slice(&[0xf8, low[6], low[7]])
}

/// The packet that bicast writes where sound is missing: 20 ms of silence. No [`sound`] of the first 20 minutes is like it.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// The number of a packet that `sound` made; none of silence, which nobody sent.
#[must_use]
pub fn sound_number(packet: &[u8]) -> Option<i64> {
    let [0xf8, high, low] = packet else { return None };
    if packet == SILENCE {
        return None;
    }
    Some(i64::from(u16::from_be_bytes([*high, *low])))
}

impl Playback {
    /// The RTP timestamp of the `n`th picture sent.
    #[must_use]
    pub fn timestamp(&self, clip: &Clip, n: usize) -> u32 {
        let (_, shown) = clip.looped(n);
        wrap(i64::from(self.video_start) + skew(shown, self.video_ppm))
    }

    /// When the sound `number` was captured, in seconds after the clip's first picture was sent.
    #[must_use]
    pub fn sound_captured(&self, number: i64) -> f64 {
        Duration::from_millis(1).as_secs_f64() * as_f64(number * 20 + self.audio_late_ms)
    }

    /// When the `n`th picture was captured, in seconds after the clip's first picture was sent.
    #[must_use]
    pub fn picture_captured(&self, clip: &Clip, n: usize) -> f64 {
        as_f64(clip.looped(n).1) / 90_000.0
    }

    /// Sends the pictures, and sound in step, in real time.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn run(&self, clip: &Clip, to: &mut RtpPublisher) -> anyhow::Result<()> {
        let began = clock::now();
        let lead = self.audio_late_ms.min(0).unsigned_abs();
        let (mut sounds, mut reported) = (0_i64, -1_i64);
        for n in 0..self.pictures {
            let due = decode_time(clip, n);
            let at =
                began + Duration::from_millis(lead) + Duration::from_micros(u64::try_from(due * 100 / 9)?);
            // Sound that is due before this picture, spread as an encoder would: 20 ms at a time.
            loop {
                let sound_ms = sounds * 20 + i64::try_from(lead)? + self.audio_late_ms;
                let sound_at = began + Duration::from_millis(u64::try_from(sound_ms)?);
                if sound_at > at {
                    break;
                }
                tokio::time::sleep_until(sound_at.into()).await;
                let ticks = skew((sounds * 20 + self.audio_late_ms) * 48, self.audio_ppm);
                let timestamp = wrap(i64::from(self.audio_start) + ticks);
                to.frame(Kind::Audio, timestamp, &[sound(sounds)]).await?;
                sounds += 1;
            }
            tokio::time::sleep_until(at.into()).await;
            let (picture, _) = clip.looped(n);
            let number = self.first_number + u32::try_from(n)?;
            to.frame(Kind::Video, self.timestamp(clip, n), &clip.payloads(picture, number)).await?;
            let second = due / 90_000;
            if second > reported {
                reported = second;
                self.report(due, to).await?;
            }
        }
        Ok(())
    }

    /// Sends the pictures alone, in real time, to a publisher without sound.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn run_video(&self, clip: &Clip, to: &mut RtpPublisher) -> anyhow::Result<()> {
        let began = clock::now();
        for n in 0..self.pictures {
            let due = Duration::from_micros(u64::try_from(decode_time(clip, n) * 100 / 9)?);
            tokio::time::sleep_until((began + due).into()).await;
            let number = self.first_number + u32::try_from(n)?;
            let payloads = clip.payloads(clip.looped(n).0, number);
            to.frame(Kind::Video, self.timestamp(clip, n), &payloads).await?;
        }
        Ok(())
    }

    /// A report for each track at `elapsed` ticks (90 kHz) after the first picture. Both say the same moment.
    async fn report(&self, elapsed: i64, to: &mut RtpPublisher) -> anyhow::Result<()> {
        let utc = clock::utc().ntp();
        let ntp = match self.reports {
            Reports::None => return Ok(()),
            Reports::True => utc,
            Reports::Off(seconds) => utc.wrapping_add_signed(seconds << 32),
            Reports::SinceBoot => utc - (3_900_000_000_u64 << 32),
        };
        let video = wrap(i64::from(self.video_start) + skew(elapsed, self.video_ppm));
        to.report(Kind::Video, ntp, video).await?;
        let audio = wrap(i64::from(self.audio_start) + skew(elapsed * 48 / 90, self.audio_ppm));
        to.report(Kind::Audio, ntp, audio).await
    }
}

/// When the `n`th picture is sent, in ticks: pictures leave in decode order at an even pace.
fn decode_time(clip: &Clip, n: usize) -> i64 {
    let pace = clip.length / i64::try_from(clip.pictures.len()).unwrap_or(1);
    i64::try_from(n).unwrap_or(0) * pace
}

/// Ticks of a clock that is wrong by `ppm`.
fn skew(ticks: i64, ppm: i64) -> i64 {
    ticks + ticks * ppm / 1_000_000
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32 is meant")]
fn wrap(ticks: i64) -> u32 {
    ticks as u32
}

#[expect(clippy::cast_precision_loss, reason = "minutes of ticks are exact in an f64")]
fn as_f64(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_is_read_back_and_silence_is_none() {
        for number in [0, 1, 255, 256, 65_533] {
            assert_eq!(sound_number(&sound(number)), Some(number));
        }
        assert_eq!(sound_number(&SILENCE), None);
        assert_eq!(sound_number(&[0xf8, 0xff]), None);
    }
}
