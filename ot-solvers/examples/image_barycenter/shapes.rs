//! The pictures at the corners, as masses of pixels.

use std::{error::Error, path::Path};

use image::imageops::{self, FilterType};

use crate::arguments::Arguments;

/// The masses of the four corners, row after row.
pub fn corners(arguments: &Arguments) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let size = arguments.size;
    if arguments.corners.is_empty() {
        return Ok([disk, ring, cross, bars].iter().map(|shape| drawn(size, *shape)).collect());
    }
    arguments.corners.iter().map(|path| read(path, size)).collect()
}

/// A shape over the square [-1, 1]^2, four samples a pixel along each axis.
fn drawn(size: u32, shape: fn(f64, f64) -> bool) -> Vec<f64> {
    const SAMPLES: u32 = 4;
    let coordinate = |sample: u32| 2.0 * (f64::from(sample) + 0.5) / f64::from(size * SAMPLES) - 1.0;
    let mass = |pixel: u32| {
        let [column, row] = [pixel % size, pixel / size];
        let samples = (0..SAMPLES * SAMPLES).filter(|sample| {
            let [x, y] = [column * SAMPLES + sample % SAMPLES, row * SAMPLES + sample / SAMPLES];
            shape(coordinate(x), coordinate(y))
        });
        samples.count() as f64
    };
    (0..size * size).map(mass).collect()
}

fn disk(x: f64, y: f64) -> bool {
    x.hypot(y) < 0.55
}

fn ring(x: f64, y: f64) -> bool {
    (0.5..0.8).contains(&x.hypot(y))
}

fn cross(x: f64, y: f64) -> bool {
    x.abs().max(y.abs()) < 0.8 && x.abs().min(y.abs()) < 0.2
}

fn bars(x: f64, y: f64) -> bool {
    x.abs() < 0.8 && y.abs() < 0.8 && (x.abs() - 0.6).abs() < 0.2
}

/// The darkness of a picture, its middle square shrunk to the size asked for.
fn read(path: &Path, size: u32) -> Result<Vec<f64>, Box<dyn Error>> {
    let picture = image::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?.into_luma8();
    let side = picture.width().min(picture.height());
    let [left, top] = [(picture.width() - side) / 2, (picture.height() - side) / 2];
    let square = imageops::crop_imm(&picture, left, top, side, side).to_image();
    let shrunk = imageops::resize(&square, size, size, FilterType::Triangle);
    let masses: Vec<f64> = shrunk.pixels().map(|pixel| f64::from(255 - pixel.0[0])).collect();
    match masses.iter().any(|mass| *mass > 0.0) {
        true => Ok(masses),
        false => Err(format!("{} is white: expected a dark pixel", path.display()).into()),
    }
}
