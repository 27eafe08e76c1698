//! Numbers in the picture that a program can read back: which frame this is, and when it was drawn.
//!
//! Two strips of square boxes over black, each box white for 1 and black for 0, the lowest bit on the left, and behind
//! the last bit a *sync box* that is always white: a picture without it has no number.
//!
//! | strip | where | bits | box at 1280 wide | what it says |
//! |---|---|---|---|---|
//! | number | the top rows | 20 | 48 px | the frame's number, counted from 0, modulo 2^20 |
//! | clock | the bottom rows | 40 | 24 px | milliseconds since 1970 (UTC) when the frame was drawn, modulo 2^40 |
//!
//! A box is 48 px (24 px in the clock) where the picture is wide enough for all of them, and otherwise
//! `width / boxes` rounded down to an even number, at least 2: 21 boxes in the number strip, 41 in the clock. Bit `i`
//! begins at `x = i * box`; read it in the middle, at `(i * box + box / 2, y + box / 2)`, as luma above 128, where `y`
//! is 0 for the number and `height - box` for the clock.
//!
//! The clock's 40 bits repeat every 35 years; the time meant is the newest one that is not in the reader's future:
//! `now - ((now - value) mod 2^40)`.

use crate::core::picture::{BLACK, Picture, Rect, WHITE, as_f64};

/// Bits of the frame number.
pub const NUMBER_BITS: usize = 20;
/// Bits of the clock.
pub const CLOCK_BITS: usize = 40;
/// From this luma on a box is white.
const THRESHOLD: u8 = 128;

/// One strip of boxes in a picture of a certain size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    bits: usize,
    side: usize,
    y: usize,
}

impl Strip {
    /// The frame number's strip in a picture `width` pixels wide.
    #[must_use]
    pub fn number(width: usize) -> Self {
        Self { bits: NUMBER_BITS, side: side(width, NUMBER_BITS, 48), y: 0 }
    }

    /// The clock's strip in a picture of `width` x `height` pixels.
    #[must_use]
    pub fn clock(width: usize, height: usize) -> Self {
        let side = side(width, CLOCK_BITS, 24);
        Self { bits: CLOCK_BITS, side, y: height.saturating_sub(side) }
    }

    /// The rows of the picture that the strip has for itself.
    #[must_use]
    pub fn rect(self, width: usize) -> Rect {
        Rect { x: 0, y: self.y, w: width, h: self.side }
    }

    /// The row of pixels in which to read the boxes.
    #[must_use]
    pub fn middle(self) -> usize {
        self.y + self.side / 2
    }

    /// Draws `value` (its lower bits) over black.
    pub fn draw(self, picture: &mut Picture, value: u64) {
        picture.fill(self.rect(picture.width()), BLACK);
        for bit in (0..self.bits).filter(|bit| value >> bit & 1 == 1).chain([self.bits]) {
            picture.fill_luma(Rect { x: bit * self.side, y: self.y, w: self.side, h: self.side }, WHITE.0);
        }
    }

    /// Reads the value from the strip's [middle](Self::middle) row of luma; none where the sync box is missing.
    #[must_use]
    pub fn read(self, row: &[u8]) -> Option<u64> {
        let bit = |i: usize| row.get(i * self.side + self.side / 2).map(|&luma| luma > THRESHOLD);
        if !bit(self.bits)? {
            return None;
        }
        (0..self.bits).try_fold(0, |value, i| Some(value | u64::from(bit(i)?) << i))
    }
}

/// The frame number of a decoded picture, from its luma plane; none where there is none.
#[must_use]
pub fn read_number(luma: &[u8], stride: usize, width: usize) -> Option<u32> {
    let strip = Strip::number(width);
    let value = strip.read(luma.get(strip.middle() * stride..)?.get(..width)?)?;
    u32::try_from(value).ok()
}

/// The time at which a decoded picture was drawn, in milliseconds since 1970, from its luma plane; none where there is
/// none. `now` (milliseconds since 1970) is the reader's time: it supplies what the 40 bits leave open.
#[must_use]
pub fn read_clock(luma: &[u8], stride: usize, width: usize, height: usize, now: u64) -> Option<u64> {
    let strip = Strip::clock(width, height);
    let value = strip.read(luma.get(strip.middle() * stride..)?.get(..width)?)?;
    let period = 1_u64 << CLOCK_BITS;
    // A reader's clock may stand a little behind the drawer's: up to a minute in the future is believed.
    let latest = now + 60_000;
    latest.checked_sub(latest.wrapping_sub(value) % period)
}

fn side(width: usize, bits: usize, wanted: usize) -> usize {
    let boxes = bits + 1;
    if width >= boxes * wanted { wanted } else { ((width / boxes) & !1).max(2) }
}

/// How much of a picture's height the strips take (0 to 1).
#[must_use]
pub fn share(width: usize, height: usize) -> f64 {
    as_f64(Strip::number(width).side + Strip::clock(width, height).side) / as_f64(height.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_48_pixels_where_they_fit_and_even_where_not() {
        assert_eq!(Strip::number(1280).side, 48);
        assert_eq!(Strip::number(1008).side, 48);
        assert_eq!(Strip::number(1006).side, 46);
        assert_eq!(Strip::number(640).side, 30);
        assert_eq!(Strip::number(320).side, 14);
        assert_eq!(Strip::clock(1280, 720), Strip { bits: 40, side: 24, y: 696 });
        assert_eq!(Strip::clock(320, 180).side, 6);
        assert_eq!(Strip::clock(16, 16).side, 2);
    }

    #[test]
    fn every_bit_reads_back() {
        for (width, height) in [(1280, 720), (640, 360), (320, 180)] {
            let mut picture = Picture::new(width, height);
            for bit in 0..NUMBER_BITS {
                for value in [1_u64 << bit, (1 << NUMBER_BITS) - 1 - (1 << bit)] {
                    Strip::number(width).draw(&mut picture, value);
                    assert_eq!(read_number(picture.planes().0, width, width).map(u64::from), Some(value));
                }
            }
            for bit in 0..CLOCK_BITS {
                let strip = Strip::clock(width, height);
                strip.draw(&mut picture, 1 << bit);
                assert_eq!(strip.read(picture.row(strip.middle())), Some(1 << bit));
            }
        }
    }

    #[test]
    fn a_picture_without_the_sync_box_has_no_number() {
        let picture = Picture::new(1280, 720);
        assert_eq!(read_number(picture.planes().0, 1280, 1280), None);
        assert_eq!(read_clock(picture.planes().0, 1280, 1280, 720, 0), None);
        assert_eq!(read_number(&[], 1280, 1280), None);
        assert_eq!(Strip::number(1280).read(&[255; 100]), None);
    }

    #[test]
    fn the_clock_means_the_newest_time_that_is_not_in_the_future() {
        let mut picture = Picture::new(1280, 720);
        let drawn = 1_795_411_739_123_u64;
        Strip::clock(1280, 720).draw(&mut picture, drawn);
        for now in [drawn - 500, drawn, drawn + 80, drawn + 86_400_000] {
            assert_eq!(read_clock(picture.planes().0, 1280, 1280, 720, now), Some(drawn));
        }
    }
}
