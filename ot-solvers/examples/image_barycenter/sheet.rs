//! Tiles beside each other, one for each barycenter.

use image::{GrayImage, Luma, imageops};

const PAPER: u8 = 250;
const INK: f64 = 30.0;

/// A square of square tiles.
pub struct Sheet {
    canvas: GrayImage,
    size: u32,
    scale: u32,
}

impl Sheet {
    /// A sheet without tiles.
    pub fn new(size: usize, tiles: usize) -> Self {
        let (size, tiles) = (size as u32, tiles as u32);
        // Tiles of about a hundred pixels.
        let scale = (96 / size).max(1);
        let side = tiles * (size * scale + scale) + scale;
        Self { canvas: GrayImage::from_pixel(side, side, Luma([PAPER])), size, scale }
    }

    /// Draws masses, the heaviest in full ink.
    pub fn draw(&mut self, [row, column]: [usize; 2], masses: &[f64]) {
        let heaviest = masses.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let Self { size, scale, .. } = *self;
        let start = |index: usize| index as u32 * (size + 1) * scale + scale;
        for (pixel, mass) in (0..).zip(masses) {
            let grey = 255.0 - (255.0 - INK) * (mass / heaviest).sqrt();
            let [x, y] = [start(column) + pixel % size * scale, start(row) + pixel / size * scale];
            for dot in 0..scale * scale {
                self.canvas.put_pixel(x + dot % scale, y + dot / scale, Luma([grey as u8]));
            }
        }
    }

    /// Two sheets as one picture.
    pub fn beside(left: &Self, right: &Self) -> GrayImage {
        let gap = 8 * left.scale;
        let (width, height) = left.canvas.dimensions();
        let mut both = GrayImage::from_pixel(2 * width + gap, height, Luma([PAPER]));
        imageops::replace(&mut both, &left.canvas, 0, 0);
        imageops::replace(&mut both, &right.canvas, i64::from(width + gap), 0);
        both
    }
}
