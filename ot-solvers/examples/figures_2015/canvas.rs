//! Measures drawn beside each other.

use std::path::Path;

use image::{GrayImage, ImageResult, Luma, imageops};

const PAPER: u8 = 250;
const INK: f64 = 30.0;

/// Pixels between two measures.
const GAP: u32 = 2;

/// A table of places for measures.
pub struct Canvas {
    picture: GrayImage,
    size: u32,
}

impl Canvas {
    /// Empty places, of so many pixels.
    pub fn new(columns: u32, rows: u32, size: u32) -> Self {
        let [width, height] = [columns, rows].map(|count| count * (size + GAP) + GAP);
        Self { picture: GrayImage::from_pixel(width, height, Luma([PAPER])), size }
    }

    /// Draws masses from a place on, each as so many dots a side, the heaviest in full ink.
    pub fn draw(&mut self, [column, row]: [u32; 2], scale: u32, masses: &[f64]) {
        let heaviest = masses.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let [left, top] = [column, row].map(|place| place * (self.size + GAP) + GAP);
        for (pixel, mass) in (0..).zip(masses) {
            let grey = 255.0 - (255.0 - INK) * (mass / heaviest).sqrt();
            let [x, y] = [left + pixel % self.size * scale, top + pixel / self.size * scale];
            for dot in 0..scale * scale {
                self.picture.put_pixel(x + dot % scale, y + dot / scale, Luma([grey as u8]));
            }
        }
    }

    /// Some tables below each other, each in the middle.
    pub fn stacked(tables: &[Self]) -> Self {
        let size = tables.first().map_or(0, |table| table.size);
        let gap = size / 4;
        let width = tables.iter().map(|table| table.picture.width()).max().unwrap_or(0);
        let height: u32 = tables.iter().map(|table| table.picture.height() + gap).sum();
        let mut picture = GrayImage::from_pixel(width, height, Luma([PAPER]));
        let mut top = 0;
        for table in tables {
            let left = (width - table.picture.width()) / 2;
            imageops::replace(&mut picture, &table.picture, i64::from(left), i64::from(top));
            top += table.picture.height() + gap;
        }
        Self { picture, size }
    }

    pub fn save(&self, path: &Path) -> ImageResult<()> {
        self.picture.save(path)
    }
}
