//! Frames: flowers and ellipsoids in the plane of the first two components.

use image::{Rgb, RgbImage};

use crate::iris::DIMENSION;

/// Side of a frame, in pixels.
const SIDE: u32 = 220;

/// Colours of the kinds of flowers, pale, and of the ellipsoids.
const FLOWERS: [[u8; 3]; 3] = [[150, 190, 230], [240, 190, 130], [160, 215, 160]];
const ELLIPSOIDS: [[u8; 3]; 3] = [[20, 70, 150], [190, 80, 10], [20, 120, 50]];

/// Rows of frames, one row for each loss.
#[derive(Debug)]
pub struct Picture {
    image: RgbImage,
}

impl Picture {
    /// An empty picture.
    pub fn new(rows: usize, columns: usize) -> Self {
        Self { image: RgbImage::from_pixel(SIDE * columns as u32, SIDE * rows as u32, Rgb([255, 255, 255])) }
    }

    /// Draws flowers, then points of the model, into a frame.
    pub fn draw(&mut self, (row, column): (usize, usize), data: (&[f64], &[usize]), model: (&[f64], &[usize])) {
        let origin = [SIDE * column as u32, SIDE * row as u32];
        for offset in 0..SIDE {
            for [x, y] in [[offset, SIDE - 1], [SIDE - 1, offset]] {
                self.image.put_pixel(origin[0] + x, origin[1] + y, Rgb([220, 220, 220]));
            }
        }
        for ((points, labels), colours, size) in [(data, FLOWERS, 2), (model, ELLIPSOIDS, 1)] {
            for (point, label) in points.chunks_exact(DIMENSION).zip(labels) {
                self.dot(origin, [point[0], point[1]], Rgb(colours[label % colours.len()]), size);
            }
        }
    }

    /// A filled square around a point; nothing outside the frame.
    fn dot(&mut self, origin: [u32; 2], [x, y]: [f64; 2], colour: Rgb<u8>, size: i64) {
        let to_pixel = |value: f64, low: f64, high: f64| ((value - low) / (high - low) * f64::from(SIDE)) as i64;
        let (column, row) = (to_pixel(x, -4.2, 4.6), i64::from(SIDE) - to_pixel(y, -2.6, 2.6));
        let within = |value: i64| (0..i64::from(SIDE) - 1).contains(&value);
        for column in (column - size..=column + size).filter(|&value| within(value)) {
            for row in (row - size..=row + size).filter(|&value| within(value)) {
                self.image.put_pixel(origin[0] + column as u32, origin[1] + row as u32, colour);
            }
        }
    }

    /// Writes the picture.
    pub fn save(&self, path: &std::path::Path) -> image::ImageResult<()> {
        self.image.save(path)
    }
}
