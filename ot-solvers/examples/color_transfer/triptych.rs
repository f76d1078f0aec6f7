//! Photographs in, and one picture of three out.

use std::error::Error;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageReader, Rgb, RgbImage};

const BACKGROUND: Rgb<u8> = Rgb([246, 244, 240]);
const INK: Rgb<u8> = Rgb([58, 56, 54]);

/// Columns and rows of dots in a letter.
const LETTER_WIDTH: u32 = 5;
const LETTER_HEIGHT: u32 = 7;

/// Columns of dots from the start of a letter to that of the next.
const LETTER_ADVANCE: u32 = LETTER_WIDTH + 1;

/// Reads the photograph at `path`, upright, with its longest side no longer than
/// `longest_side`.
pub fn load(path: &Path, longest_side: u32) -> Result<RgbImage, Box<dyn Error>> {
    decode(path)
        .map(|photograph| downscale(photograph, longest_side))
        .map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

/// Reads an image whose format is told by its content, and turns it as its metadata asks.
fn decode(path: &Path) -> Result<RgbImage, Box<dyn Error>> {
    let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut photograph = DynamicImage::from_decoder(decoder)?;
    photograph.apply_orientation(orientation);
    Ok(photograph.into_rgb8())
}

/// Shrinks an image, its proportions kept, until its longest side is `longest_side`; one
/// that is no longer than that is left as it is.
fn downscale(photograph: RgbImage, longest_side: u32) -> RgbImage {
    let (width, height) = photograph.dimensions();
    let longest = width.max(height);
    if longest <= longest_side {
        return photograph;
    }
    let shrunk = |side: u32| {
        let side = f64::from(side) * f64::from(longest_side) / f64::from(longest);
        (side.round() as u32).max(1)
    };
    imageops::resize(&photograph, shrunk(width), shrunk(height), FilterType::Lanczos3)
}

/// Places three images side by side on a light background, with a caption under each.
pub fn triptych(source: &RgbImage, palette: &RgbImage, result: &RgbImage) -> RgbImage {
    let panels = [("SOURCE", source), ("PALETTE", palette), ("RESULT", result)];
    let tallest = panels.iter().map(|(_, panel)| panel.height()).max().unwrap_or(0);
    let dot = (tallest / 128).max(1);
    let margin = 10 * dot;
    let column_width = |caption: &str, panel: &RgbImage| panel.width().max(width_of(caption, dot));

    let columns: u32 = panels.iter().map(|(caption, panel)| column_width(caption, panel) + margin).sum();
    // A margin above the panels, one between them and the captions, one below these.
    let rows = margin + tallest + margin + LETTER_HEIGHT * dot + margin;
    let mut canvas = RgbImage::from_pixel(margin + columns, rows, BACKGROUND);

    let mut left = margin;
    for (caption, panel) in panels {
        let width = column_width(caption, panel);
        imageops::replace(
            &mut canvas,
            panel,
            i64::from(left + (width - panel.width()) / 2),
            i64::from(margin + (tallest - panel.height()) / 2),
        );
        write(&mut canvas, caption, left + (width - width_of(caption, dot)) / 2, margin + tallest + margin, dot);
        left += width + margin;
    }
    canvas
}

/// The pixels a caption takes from left to right, at `dot` pixels a dot.
fn width_of(caption: &str, dot: u32) -> u32 {
    (caption.len() as u32 * LETTER_ADVANCE - 1) * dot
}

/// Writes a caption with its top left corner at (`left`, `top`), at `dot` pixels a dot.
fn write(canvas: &mut RgbImage, caption: &str, left: u32, top: u32, dot: u32) {
    for (position, letter) in (0..).zip(caption.chars()) {
        let left = left + position * LETTER_ADVANCE * dot;
        for (row, dots) in (0..).zip(dots_of(letter)) {
            for column in 0..LETTER_WIDTH {
                if (dots >> (LETTER_WIDTH - 1 - column)) & 1 == 1 {
                    fill_dot(canvas, left + column * dot, top + row * dot, dot);
                }
            }
        }
    }
}

/// Inks the square of side `dot` whose top left corner is at (`left`, `top`).
fn fill_dot(canvas: &mut RgbImage, left: u32, top: u32, dot: u32) {
    for y in top..top + dot {
        for x in left..left + dot {
            canvas.put_pixel(x, y, INK);
        }
    }
}

/// The dots of a letter, row by row, the leftmost in the highest of the five bits. The
/// letters are those of the captions; any other is blank.
#[rustfmt::skip]
fn dots_of(letter: char) -> [u8; LETTER_HEIGHT as usize] {
    match letter {
        'A' => [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        'C' => [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110],
        'E' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
        'L' => [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
        'O' => [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        'P' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000],
        'R' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
        'S' => [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110],
        'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
        'U' => [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        _ => [0; LETTER_HEIGHT as usize],
    }
}
