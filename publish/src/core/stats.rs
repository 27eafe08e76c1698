//! Numbers of a running session, once a second: rates out of counters, and how they are written.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// What a session has counted since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// RTP bytes sent, headers included, retransmissions not.
    pub bytes: u64,
    /// Video frames sent.
    pub frames: u64,
    /// Those of them at which decoding can begin.
    pub keyframes: u64,
    /// Frames and sound packets left out because this machine was too slow.
    pub skipped: u64,
    /// Keyframe requests received (PLI and FIR).
    pub plis: u64,
    /// Packets asked for again (NACK).
    pub nacks: u64,
    /// The newest round trip.
    pub round_trip: Option<Duration>,
    /// The newest loss reported for the video (the audio where there is no video), 0 to 1.
    pub loss: Option<f64>,
}

/// Whether the session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Offer sent, nothing flows yet.
    Connecting,
    /// Media flows.
    Live,
    /// Lost or refused; trying again.
    Waiting,
    /// The end.
    Stopped,
}

/// One report: what `--json` prints as a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Whether the session stands.
    pub state: State,
    /// Seconds since the command began.
    pub elapsed: f64,
    /// Bits per second, over the last three seconds.
    pub bitrate: u64,
    /// Video frames per second, over the last three seconds.
    pub fps: f64,
    /// Video frames sent.
    pub frames: u64,
    /// Keyframes sent.
    pub keyframes: u64,
    /// Keyframe requests received.
    pub plis: u64,
    /// Packets asked for again.
    pub nacks: u64,
    /// Frames left out because this machine was too slow.
    pub skipped: u64,
    /// The newest round trip in milliseconds.
    pub rtt_ms: Option<f64>,
    /// The newest loss reported, in percent.
    pub loss_percent: Option<f64>,
}

/// Turns totals into rates.
#[derive(Debug, Default)]
pub struct Meter {
    window: VecDeque<(Duration, u64, u64)>,
}

const WINDOW: Duration = Duration::from_secs(3);

impl Meter {
    /// The line for `totals` at `elapsed`.
    pub fn line(&mut self, state: State, elapsed: Duration, totals: &Totals) -> Line {
        // A new session counts from 0 again.
        if self
            .window
            .back()
            .is_some_and(|&(_, bytes, frames)| totals.bytes < bytes || totals.frames < frames)
        {
            self.window.clear();
        }
        self.window.push_back((elapsed, totals.bytes, totals.frames));
        while self.window.len() > 2
            && self.window.get(1).is_some_and(|&(at, ..)| elapsed.saturating_sub(at) >= WINDOW)
        {
            self.window.pop_front();
        }
        let (since, bytes, frames) = self.window.front().copied().unwrap_or_default();
        let seconds = elapsed.saturating_sub(since).as_secs_f64();
        let per_second = |count: u64| if seconds > 0.1 { number(count) / seconds } else { 0.0 };
        Line {
            state,
            elapsed: round(elapsed.as_secs_f64(), 1),
            bitrate: whole(per_second((totals.bytes - bytes) * 8)),
            fps: round(per_second(totals.frames - frames), 1),
            frames: totals.frames,
            keyframes: totals.keyframes,
            plis: totals.plis,
            nacks: totals.nacks,
            skipped: totals.skipped,
            rtt_ms: totals.round_trip.map(|trip| round(trip.as_secs_f64() * 1_000.0, 2)),
            loss_percent: totals.loss.map(|loss| round(loss * 100.0, 1)),
        }
    }
}

impl Line {
    /// The line for people: `00:01:05  2.51 Mbit/s  30.0 fps  33 keyframes  2 PLI  0 NACK  rtt 0.4 ms  loss 0.0 %`.
    #[must_use]
    pub fn text(&self) -> String {
        let seconds = whole(self.elapsed);
        let (h, m, s) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let mut text = format!("{h:02}:{m:02}:{s:02}  {}", bits(self.bitrate));
        if self.frames > 0 {
            text += &format!("  {:.1} fps  {} keyframes", self.fps, self.keyframes);
        }
        text += &format!("  {} PLI  {} NACK", self.plis, self.nacks);
        if let Some(rtt) = self.rtt_ms {
            text += &format!("  rtt {rtt:.1} ms");
        }
        if let Some(loss) = self.loss_percent {
            text += &format!("  loss {loss:.1} %");
        }
        if self.skipped > 0 {
            text += &format!("  {} left out (this machine is too slow)", self.skipped);
        }
        text
    }
}

fn bits(rate: u64) -> String {
    let rate = number(rate);
    if rate >= 1e6 { format!("{:.2} Mbit/s", rate / 1e6) } else { format!("{:.0} kbit/s", rate / 1e3) }
}

fn number(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let number = count as f64;
    number
}

fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, never negative")]
    let whole = value.round().max(0.0) as u64;
    whole
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_three_seconds() {
        let mut meter = Meter::default();
        let mut line = None;
        for second in 0..20_u64 {
            let rate = if second < 10 { 100_000 } else { 300_000 };
            let bytes = if second < 10 { second * rate } else { 1_000_000 + (second - 10) * rate };
            let totals = Totals { bytes, frames: second * 30, ..Totals::default() };
            line = Some(meter.line(State::Live, Duration::from_secs(second), &totals));
        }
        let line = line.unwrap();
        assert_eq!(line.bitrate, 2_400_000);
        assert!((line.fps - 30.0).abs() < 0.01);
    }

    #[test]
    fn a_new_session_begins_at_zero_without_a_jump() {
        let mut meter = Meter::default();
        meter.line(State::Live, Duration::from_secs(1), &Totals { bytes: 9_999, ..Totals::default() });
        let line =
            meter.line(State::Live, Duration::from_secs(2), &Totals { bytes: 10, ..Totals::default() });
        assert_eq!(line.bitrate, 0);
    }

    #[test]
    fn the_line_is_readable_by_people_and_programs() {
        let totals = Totals {
            bytes: 1,
            frames: 1_950,
            keyframes: 33,
            plis: 2,
            round_trip: Some(Duration::from_micros(412)),
            loss: Some(0.0),
            ..Totals::default()
        };
        let mut line = Meter::default().line(State::Live, Duration::from_secs(65), &totals);
        line.bitrate = 2_511_234;
        line.fps = 30.0;
        assert_eq!(
            line.text(),
            "00:01:05  2.51 Mbit/s  30.0 fps  33 keyframes  2 PLI  0 NACK  rtt 0.4 ms  loss 0.0 %"
        );
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(json["state"], "live");
        assert_eq!(json["rttMs"], 0.41);
    }
}
