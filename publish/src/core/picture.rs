//! A picture in YUV 4:2:0, 8 bits, limited range (BT.709), and the few shapes the test pattern is made of.

/// A colour: Y'CbCr, limited range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

/// Black.
pub const BLACK: Colour = Colour(16, 128, 128);
/// White.
pub const WHITE: Colour = Colour(235, 128, 128);

impl Colour {
    /// From RGB in 0 to 255, by BT.709.
    #[must_use]
    pub fn rgb(r: u8, g: u8, b: u8) -> Self {
        let (r, g, b) = (f64::from(r) / 255.0, f64::from(g) / 255.0, f64::from(b) / 255.0);
        let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        Self(
            byte(16.0 + 219.0 * y),
            byte(128.0 + 224.0 * (b - y) / 1.8556),
            byte(128.0 + 224.0 * (r - y) / 1.5748),
        )
    }

    /// This colour with `part` (0 to 1) of `other` in it.
    #[must_use]
    pub fn mixed(self, other: Self, part: f64) -> Self {
        let mix = |a: u8, b: u8| byte(f64::from(a) + (f64::from(b) - f64::from(a)) * part.clamp(0.0, 1.0));
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }
}

fn byte(value: f64) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
    let byte = value.round().clamp(0.0, 255.0) as u8;
    byte
}

/// A rectangle in pixels. Everything that is drawn is cut to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width.
    pub w: usize,
    /// Height.
    pub h: usize,
}

/// A picture of even width and height.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

impl Picture {
    /// A black picture; odd sizes are rounded down to even.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width & !1, height & !1);
        let chroma = width / 2 * (height / 2);
        Self {
            width,
            height,
            luma: vec![BLACK.0; width * height],
            cb: vec![BLACK.1; chroma],
            cr: vec![BLACK.2; chroma],
        }
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The planes Y, Cb and Cr; strides are `width`, `width / 2`, `width / 2`.
    #[must_use]
    pub fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.luma, &self.cb, &self.cr)
    }

    /// One row of the luma plane; empty below the picture.
    #[must_use]
    pub fn row(&self, y: usize) -> &[u8] {
        self.luma.get(y * self.width..(y + 1) * self.width).unwrap_or_default()
    }

    /// One row of the luma plane, to be drawn in; empty below the picture.
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        self.luma.get_mut(y * self.width..(y + 1) * self.width).unwrap_or_default()
    }

    /// Fills a rectangle. Chroma covers the pixel pairs that the rectangle begins in.
    pub fn fill(&mut self, rect: Rect, colour: Colour) {
        self.rows(rect, |luma, cb, cr| {
            luma.fill(colour.0);
            cb.fill(colour.1);
            cr.fill(colour.2);
        });
    }

    /// Fills a rectangle of the luma plane and leaves the colours as they are.
    pub fn fill_luma(&mut self, rect: Rect, luma: u8) {
        self.rows(rect, |row, _, _| row.fill(luma));
    }

    /// Copies a rectangle from a picture of the same size.
    pub fn restore(&mut self, rect: Rect, from: &Self) {
        let Rect { x, y, w, h } = self.cut(rect);
        for row in y..y + h {
            let at = row * self.width + x;
            self.luma[at..at + w].copy_from_slice(&from.luma[at..at + w]);
        }
        let (x, w) = (x / 2, (x + w).div_ceil(2) - x / 2);
        for row in y / 2..(y + h).div_ceil(2) {
            let at = row * (self.width / 2) + x;
            self.cb[at..at + w].copy_from_slice(&from.cb[at..at + w]);
            self.cr[at..at + w].copy_from_slice(&from.cr[at..at + w]);
        }
    }

    /// Paints with soft edges: `cover` says for a pixel's centre how much of it (0 to 1) is covered.
    pub fn paint(&mut self, rect: Rect, colour: Colour, cover: impl Fn(f64, f64) -> f64) {
        let Rect { x, y, w, h } = self.cut(rect);
        for py in y..y + h {
            for px in x..x + w {
                let part = cover(as_f64(px) + 0.5, as_f64(py) + 0.5);
                if part <= 0.0 {
                    continue;
                }
                let at = py * self.width + px;
                let chroma = py / 2 * (self.width / 2) + px / 2;
                let was = Colour(self.luma[at], self.cb[chroma], self.cr[chroma]);
                let now = was.mixed(colour, part);
                self.luma[at] = now.0;
                // A pair of pixels has one chroma sample: its upper left pixel sets it.
                if px % 2 == 0 && py % 2 == 0 {
                    self.cb[chroma] = now.1;
                    self.cr[chroma] = now.2;
                }
            }
        }
    }

    /// A disc.
    pub fn disc(&mut self, cx: f64, cy: f64, radius: f64, colour: Colour) -> Rect {
        let rect = around(cx - radius, cy - radius, cx + radius, cy + radius);
        self.paint(rect, colour, |x, y| (radius + 0.5 - (x - cx).hypot(y - cy)).clamp(0.0, 1.0));
        rect
    }

    /// A straight stroke with round ends, `thick` pixels wide.
    pub fn stroke(&mut self, from: (f64, f64), to: (f64, f64), thick: f64, colour: Colour) -> Rect {
        let half = thick / 2.0;
        let rect = around(
            from.0.min(to.0) - half,
            from.1.min(to.1) - half,
            from.0.max(to.0) + half,
            from.1.max(to.1) + half,
        );
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length2 = (dx * dx + dy * dy).max(f64::MIN_POSITIVE);
        self.paint(rect, colour, |x, y| {
            let along = (((x - from.0) * dx + (y - from.1) * dy) / length2).clamp(0.0, 1.0);
            (half + 0.5 - (x - from.0 - along * dx).hypot(y - from.1 - along * dy)).clamp(0.0, 1.0)
        });
        rect
    }

    fn cut(&self, rect: Rect) -> Rect {
        let (x, y) = (rect.x.min(self.width), rect.y.min(self.height));
        Rect { x, y, w: rect.w.min(self.width - x), h: rect.h.min(self.height - y) }
    }

    fn rows(&mut self, rect: Rect, mut each: impl FnMut(&mut [u8], &mut [u8], &mut [u8])) {
        let Rect { x, y, w, h } = self.cut(rect);
        let (chroma_x, chroma_w) = (x / 2, (x + w).div_ceil(2) - x / 2);
        for row in y..y + h {
            let at = row * self.width + x;
            let chroma = row / 2 * (self.width / 2) + chroma_x;
            // Odd rows share their chroma with the even row above; only a rectangle that begins on one has to set it.
            let chroma_w = if row % 2 == 0 || row == y { chroma_w } else { 0 };
            each(
                &mut self.luma[at..at + w],
                &mut self.cb[chroma..chroma + chroma_w],
                &mut self.cr[chroma..chroma + chroma_w],
            );
        }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

/// The whole pixels that a shape between these coordinates touches, and one more on each side for its soft edge.
fn around(left: f64, top: f64, right: f64, bottom: f64) -> Rect {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what a picture can have"
    )]
    let whole = |v: f64| v.clamp(0.0, 65_536.0) as usize;
    let (x, y) = (whole(left - 1.0), whole(top - 1.0));
    Rect { x, y, w: whole(right + 2.0).saturating_sub(x), h: whole(bottom + 2.0).saturating_sub(y) }
}

/// A pixel coordinate as a number to calculate with.
pub(crate) fn as_f64(pixel: usize) -> f64 {
    u32::try_from(pixel).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primaries_are_where_bt709_has_them() {
        assert_eq!(Colour::rgb(0, 0, 0), BLACK);
        assert_eq!(Colour::rgb(255, 255, 255), WHITE);
        assert_eq!(Colour::rgb(255, 0, 0), Colour(63, 102, 240));
        assert_eq!(Colour::rgb(0, 255, 0), Colour(173, 42, 26));
        assert_eq!(Colour::rgb(0, 0, 255), Colour(32, 240, 118));
    }

    #[test]
    fn shapes_are_cut_at_the_edges() {
        let mut picture = Picture::new(32, 18);
        picture.fill(Rect { x: 30, y: 16, w: 100, h: 100 }, WHITE);
        picture.fill(Rect { x: 900, y: 900, w: 5, h: 5 }, WHITE);
        picture.disc(-3.0, 40.0, 12.0, WHITE);
        picture.stroke((-10.0, 4.0), (60.0, 4.0), 3.0, WHITE);
        assert_eq!(picture.row(17)[31], 235);
        assert_eq!(picture.row(17)[20], 16);
        assert_eq!(picture.row(4)[0], 235);
        assert!(picture.row(99).is_empty());
    }

    #[test]
    fn restoring_undoes_any_drawing() {
        let mut background = Picture::new(64, 48);
        background.fill(Rect { x: 0, y: 0, w: 64, h: 20 }, Colour::rgb(200, 30, 60));
        for offset in [0.0, 0.5, 1.0, 1.3] {
            let mut picture = background.clone();
            let disc = picture.disc(20.0 + offset, 20.0, 9.0, WHITE);
            let stroke = picture.stroke((5.0 + offset, 7.0), (50.0, 33.0), 4.0, Colour::rgb(0, 200, 0));
            assert_ne!(picture, background);
            picture.restore(disc, &background);
            picture.restore(stroke, &background);
            assert_eq!(picture, background);
        }
    }
}
