//! The colours of an image as a discrete measure.

use std::collections::HashMap;

use image::{Rgb, RgbImage};

/// Coordinates of a colour: red, green and blue.
const CHANNELS: usize = 3;

/// The distinct colours of an image as weighted points of the unit cube.
///
/// Pixels of the same colour are merged into one point, so that whatever is computed on
/// the colours returns to the pixels by a gather.
pub struct Palette {
    /// The distinct colours in `[0, 1]^3`, point by point: red, green, blue, red, ...
    ///
    /// They stand in the order in which the image, read row by row, first shows them.
    pub points: Vec<f64>,
    /// The share of the pixels that wear each colour. They sum to one.
    pub weights: Vec<f64>,
    /// The index of each pixel's colour, row by row.
    pub index_of_pixel: Vec<u32>,
    width: u32,
    height: u32,
}

impl Palette {
    /// The palette of `image`.
    pub fn of(image: &RgbImage) -> Self {
        let pixel_count = image.pixels().len();
        let mut index_of_colour: HashMap<Rgb<u8>, u32> = HashMap::new();
        let mut points = Vec::new();
        let mut counts: Vec<u32> = Vec::new();
        let mut index_of_pixel = Vec::with_capacity(pixel_count);
        for colour in image.pixels() {
            // An image has at most 2^24 colours: the index fits.
            let index = *index_of_colour.entry(*colour).or_insert_with(|| {
                points.extend(colour.0.map(|level| f64::from(level) / f64::from(u8::MAX)));
                counts.push(0);
                (counts.len() - 1) as u32
            });
            counts[index as usize] += 1;
            index_of_pixel.push(index);
        }
        let weights = counts.into_iter().map(|count| f64::from(count) / pixel_count as f64).collect();
        Self { points, weights, index_of_pixel, width: image.width(), height: image.height() }
    }

    /// The image this palette was taken from, in other colours: `colours` holds the one
    /// that replaces each point, laid out as the points are.
    ///
    /// Levels are rounded to the nearest of the 256, and clamped to the unit interval.
    ///
    /// # Panics
    ///
    /// If there is not one colour for each point.
    pub fn repaint(&self, colours: &[f64]) -> RgbImage {
        assert_eq!(colours.len(), self.points.len(), "a palette is repainted with one colour for each of its points");
        let pixels = self
            .index_of_pixel
            .iter()
            .flat_map(|&index| {
                let first = index as usize * CHANNELS;
                &colours[first..first + CHANNELS]
            })
            .map(|&level| (level.clamp(0.0, 1.0) * f64::from(u8::MAX)).round() as u8)
            .collect();
        RgbImage::from_raw(self.width, self.height, pixels).expect("there is one index for each pixel")
    }
}
