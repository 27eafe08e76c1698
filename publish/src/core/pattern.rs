//! The test pattern: what frame `n` looks like, from `n` and the wall clock only.
//!
//! A still background is drawn once; a frame restores and redraws only what moves: the two bar codes
//! ([`barcode`](crate::core::barcode)), the clock and the frame number in letters, a hand that goes round in two
//! seconds, a ball that swings in four, a strip of noise, and the band that flashes with the beep.

use std::f64::consts::TAU;

use bicast_shared::time::ProgramTime;

use crate::core::barcode::Strip;
use crate::core::font;
use crate::core::picture::{BLACK, Colour, Picture, Rect, WHITE, as_f64};
use crate::core::rate::FrameRate;
use crate::core::tone::BEEP;

/// Draws the frames of the test pattern.
#[derive(Debug)]
pub struct TestPattern {
    layout: Layout,
    background: Picture,
    picture: Picture,
    dirty: Vec<Rect>,
}

/// Where things stand in a picture of a certain size.
#[derive(Debug, Clone)]
struct Layout {
    rate: FrameRate,
    number: Strip,
    clock: Strip,
    time: Text,
    frame: Text,
    dial: (f64, f64, f64),
    lane: Rect,
    band: Rect,
    noise: Rect,
}

/// Where a line of letters stands: corner and pixels per dot.
#[derive(Debug, Clone, Copy)]
struct Text {
    x: usize,
    y: usize,
    dot: usize,
}

const TIME: &str = "00:00:00.000 UTC";
const FRAME: &str = "FRAME 00000000";

impl TestPattern {
    /// The pattern for pictures of `width` x `height` pixels (even, at least 128 x 96) at `rate`.
    #[must_use]
    pub fn new(width: usize, height: usize, rate: FrameRate) -> Self {
        let mut background = Picture::new(width, height);
        let layout = Layout::new(background.width(), background.height(), rate);
        layout.draw_background(&mut background);
        Self { layout, picture: background.clone(), background, dirty: Vec::new() }
    }

    /// Draws the strip of noise only `part` (0 to 1) as wide: for low bit rates, which noise alone would exceed.
    #[must_use]
    pub fn with_noise(mut self, part: f64) -> Self {
        let noise = &mut self.layout.noise;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a picture's width"
        )]
        let width = (as_f64(noise.w) * part.clamp(0.0, 1.0)) as usize;
        noise.w = width & !1;
        self
    }

    /// Frame `n`, drawn at `utc`. The same picture for the same arguments, whatever was drawn before.
    pub fn draw(&mut self, n: u64, utc: ProgramTime) -> &Picture {
        for rect in self.dirty.drain(..) {
            self.picture.restore(rect, &self.background);
        }
        let (layout, picture) = (&self.layout, &mut self.picture);
        layout.number.draw(picture, n);
        layout.clock.draw(picture, u64::try_from(utc.unix_nanos() / 1_000_000).unwrap_or(0));

        let clock = utc.rfc3339();
        let time = format!("{} UTC", clock.get(11..23).unwrap_or_default());
        self.dirty.push(layout.time.draw(picture, WHITE, &time));
        self.dirty.push(layout.frame.draw(picture, Colour::rgb(148, 163, 184), &format!("FRAME {n:08}")));

        let seconds = layout.rate.due(n);
        let part = |period: u64| {
            let period = u128::from(period) * 1_000_000_000;
            let nanos = u64::try_from(seconds.as_nanos() % period).unwrap_or(0);
            std::time::Duration::from_nanos(nanos).as_secs_f64()
                / (u64::try_from(period).map_or(1.0, as_seconds))
        };
        let (cx, cy, radius) = layout.dial;
        let angle = TAU * part(2);
        let tip = (cx + radius * 0.78 * angle.sin(), cy - radius * 0.78 * angle.cos());
        self.dirty.push(picture.stroke((cx, cy), tip, radius / 14.0, Colour::rgb(56, 189, 248)));
        self.dirty.push(picture.disc(cx, cy, radius / 11.0, WHITE));

        let lane = layout.lane;
        let ball = as_f64(lane.h) / 2.0;
        let swing = (as_f64(lane.w) / 2.0 - ball) * (TAU * part(4)).sin();
        let (x, y) = (as_f64(lane.x) + as_f64(lane.w) / 2.0 + swing, as_f64(lane.y) + ball);
        self.dirty.push(picture.disc(x, y, ball * 0.9, Colour::rgb(251, 146, 60)));

        grain(picture, layout.noise, n);
        if seconds.subsec_nanos() < BEEP.subsec_nanos() {
            picture.fill(layout.band, WHITE);
            self.dirty.push(layout.band);
        }
        &self.picture
    }
}

/// Noise, different in every frame: without it a drawn picture is so easy that no encoder gets near its bit rate, and
/// nothing that is tested with it would see the packets it is meant to see.
fn grain(picture: &mut Picture, rect: Rect, n: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are what differs")]
    let mut state = (n as u32).wrapping_mul(0x9e37_79b9) | 1;
    for y in rect.y..rect.y + rect.h {
        for luma in picture.row_mut(y).iter_mut().skip(rect.x).take(rect.w) {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *luma = 64 + (state >> 25) as u8;
        }
    }
}

fn as_seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

impl Text {
    /// The largest letters with which `sample` fits into `w` x `h` pixels.
    fn fitting(x: usize, y: usize, w: usize, h: usize, sample: &str) -> Self {
        let dot = (w / font::width(sample, 1)).min(h / font::HEIGHT).max(1);
        Self { x, y, dot }
    }

    fn draw(self, picture: &mut Picture, colour: Colour, text: &str) -> Rect {
        font::draw(picture, self.x, self.y, self.dot, colour, text)
    }
}

impl Layout {
    fn new(width: usize, height: usize, rate: FrameRate) -> Self {
        let number = Strip::number(width);
        let clock = Strip::clock(width, height);
        let top = number.rect(width).h;
        let body = height.saturating_sub(top + clock.rect(width).h);
        // Parts of the body's height, and of the width, in hundredths, on even pixels.
        let y = |part: usize| (top + body * part / 100) & !1;
        let x = |part: usize| (width * part / 100) & !1;
        let left = x(5);
        let column = x(62) - left;
        Self {
            rate,
            number,
            clock,
            time: Text::fitting(left, y(48), column, body * 12 / 100, TIME),
            frame: Text::fitting(left, y(63), column, body * 7 / 100, FRAME),
            dial: (as_f64(x(81)), as_f64(y(36)), as_f64(width.min(body * 16 / 9)) * 0.14),
            lane: Rect { x: left, y: y(75), w: x(95) - left, h: (body * 10 / 100) & !1 },
            band: Rect { x: 0, y: y(90), w: width, h: (body * 6 / 100) & !1 },
            noise: Rect { x: left, y: y(38), w: column & !1, h: (body * 6 / 100) & !1 },
        }
    }

    fn draw_background(&self, picture: &mut Picture) {
        let (width, height) = (picture.width(), picture.height());
        let (upper, lower) = (Colour::rgb(15, 23, 42), Colour::rgb(30, 41, 75));
        for y in (0..height).step_by(2) {
            let shade = upper.mixed(lower, as_f64(y) / as_f64(height));
            picture.fill(Rect { x: 0, y, w: width, h: 2 }, shade);
        }
        self.draw_bars(picture);
        self.draw_dial(picture);

        let lane = self.lane;
        let middle = lane.y + lane.h / 2;
        picture.fill(Rect { x: lane.x, y: middle - 1, w: lane.w, h: 2 }, Colour::rgb(71, 85, 105));
        for tick in 0..=8 {
            let x = (lane.x + lane.w * tick / 8).saturating_sub(1);
            picture.fill(Rect { x, y: middle - lane.h / 6, w: 2, h: lane.h / 3 }, Colour::rgb(71, 85, 105));
        }
        picture.fill(self.band, Colour::rgb(30, 30, 46));
    }

    /// Colour bars at 75 %, and a ramp of greys under them.
    fn draw_bars(&self, picture: &mut Picture) {
        const BARS: [(u8, u8, u8); 7] = [
            (191, 191, 191),
            (191, 191, 0),
            (0, 191, 191),
            (0, 191, 0),
            (191, 0, 191),
            (191, 0, 0),
            (0, 0, 191),
        ];
        let left = self.time.x;
        let right = picture.width() * 62 / 100;
        let top = self.number.rect(picture.width()).h;
        let space = self.time.y - top;
        let (bars, greys) = ((space * 55 / 100) & !1, (space * 14 / 100) & !1);
        let y = (top + space * 8 / 100) & !1;
        for (i, (r, g, b)) in BARS.into_iter().enumerate() {
            let x = (left + (right - left) * i / BARS.len()) & !1;
            let end = (left + (right - left) * (i + 1) / BARS.len()) & !1;
            picture.fill(Rect { x, y, w: end - x, h: bars }, Colour::rgb(r, g, b));
        }
        for i in 0..16 {
            let x = (left + (right - left) * i / 16) & !1;
            let end = (left + (right - left) * (i + 1) / 16) & !1;
            picture.fill(Rect { x, y: y + bars, w: end - x, h: greys }, BLACK.mixed(WHITE, as_f64(i) / 15.0));
        }
    }

    fn draw_dial(&self, picture: &mut Picture) {
        let (cx, cy, radius) = self.dial;
        picture.disc(cx, cy, radius, Colour::rgb(71, 85, 105));
        picture.disc(cx, cy, radius * 0.96, Colour::rgb(15, 23, 42));
        for tick in 0..60 {
            let angle = TAU * f64::from(tick) / 60.0;
            let long = if tick % 5 == 0 { 0.80 } else { 0.88 };
            let on = |part: f64| (cx + radius * part * angle.sin(), cy - radius * part * angle.cos());
            picture.stroke(on(long), on(0.92), (radius / 60.0).max(1.0), Colour::rgb(148, 163, 184));
        }
        let name = "BICAST";
        let across = font::width(name, 1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "pixels inside the picture"
        )]
        let (cx, y, room) = (cx as usize, (cy + radius * 1.15) as usize, (radius * 1.4) as usize);
        let dot = (room / across).max(1);
        font::draw(picture, cx.saturating_sub(across * dot / 2), y, dot, Colour::rgb(148, 163, 184), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::barcode::{read_clock, read_number};

    const UTC: i64 = 1_795_411_739_123;

    fn at(millis: i64) -> ProgramTime {
        ProgramTime::from_unix_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_frame_depends_on_its_number_and_the_clock_only() {
        let rate = FrameRate::new(30, 1).unwrap();
        let mut forward = TestPattern::new(640, 360, rate);
        let frames: Vec<_> = (0..120).map(|n| forward.draw(n, at(UTC + 7)).clone()).collect();
        let mut backward = TestPattern::new(640, 360, rate);
        for n in (0..120).rev() {
            assert!(backward.draw(n, at(UTC + 7)) == &frames[usize::try_from(n).unwrap()], "frame {n}");
        }
        assert!(frames[0] != frames[1] && frames[1] != frames[2]);
    }

    #[test]
    fn number_and_clock_are_in_every_frame_of_every_size() {
        for (width, height) in [(1920, 1080), (1280, 720), (854, 480), (640, 360), (320, 180), (128, 96)] {
            let mut pattern = TestPattern::new(width, height, FrameRate::new(25, 1).unwrap());
            for n in [0_u64, 1, 12, 4_711, 1_048_575, 1_048_577] {
                let millis = u64::try_from(UTC).unwrap() + n;
                let picture = pattern.draw(n, at(UTC + i64::try_from(n).unwrap()));
                let luma = picture.planes().0;
                assert_eq!(read_number(luma, width, width), Some(u32::try_from(n % (1 << 20)).unwrap()));
                assert_eq!(read_clock(luma, width, width, height, millis + 40), Some(millis));
            }
        }
    }

    #[test]
    fn the_band_flashes_in_the_first_tenth_of_a_second() {
        let rate = FrameRate::new(30, 1).unwrap();
        let mut pattern = TestPattern::new(1280, 720, rate);
        let row = pattern.layout.band.y + 2;
        for n in 0..90 {
            let lit = pattern.draw(n, at(UTC)).row(row)[600] == WHITE.0;
            assert_eq!(lit, n % 30 < 3, "frame {n}");
        }
    }

    #[test]
    fn little_is_redrawn() {
        let mut pattern = TestPattern::new(1280, 720, FrameRate::new(30, 1).unwrap());
        for n in 3..30 {
            pattern.draw(n, at(UTC));
            let touched: usize = pattern.dirty.iter().map(|rect| rect.w * rect.h).sum();
            assert!(touched < 1280 * 720 / 8, "frame {n} redraws {touched} pixels");
        }
    }
}
