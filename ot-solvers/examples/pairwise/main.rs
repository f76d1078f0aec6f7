//! All distances between groups of penguins: one cloud of measurements for each species, island and sex, exact transport
//! between every two of them, and the table as a heat map.
//!
//! ```sh
//! cargo run --release --example pairwise
//! ```

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{collections::BTreeMap, error::Error, path::PathBuf};

use clap::Parser;
use image::{Rgb, RgbImage};
use ot_core::{PointCloud, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{Method, PairTable, pairwise};

/// The table, see `penguins/PROVENANCE.md`.
const TABLE: &str = include_str!("../penguins/penguins.csv");

/// Bill length, bill depth, flipper length, body mass.
const MEASUREMENTS: usize = 4;

/// Pixels of a cell of the picture.
const CELL: u32 = 40;

/// How far apart groups of penguins are.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to write the heat map.
    #[arg(long, default_value = "pairwise.png")]
    output: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let groups = standardised(groups()?);
    let clouds = groups
        .values()
        .map(|measurements| PointCloud::uniform(measurements, MEASUREMENTS))
        .collect::<Result<Vec<_>, _>>()?;

    let backend = CpuBackend::<f64>::with_available_threads()?;
    let table = pairwise(&backend, &clouds, &SqEuclidean, &Method::exact()).solve()?;
    let distances = table.distances(2.0).ok_or("a pair was cancelled")?;
    let gap = table.gaps().ok_or("exact transport proves a gap")?.into_iter().fold(0.0, f64::max);

    println!("W_2 in standard deviations, each off by at most {gap:.0e} in its square");
    for (name, row) in groups.keys().zip(distances.chunks_exact(groups.len())) {
        let cells: Vec<String> = row.iter().map(|distance| format!("{distance:5.2}")).collect();
        println!("{name:26} {}", cells.join(" "));
    }
    heat_map(&table, &distances).save(&arguments.output)?;
    println!("picture {}", arguments.output.display());
    Ok(())
}

/// The measurements of each group, penguin after penguin; those with something missing are left out.
fn groups() -> Result<BTreeMap<String, Vec<f64>>, Box<dyn Error>> {
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in TABLE.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
        let [species, island, bill_length, bill_depth, flipper_length, mass, sex, _year] = fields[..] else {
            return Err(format!("eight fields were expected: {line}").into());
        };
        let measured: [_; MEASUREMENTS] = [bill_length, bill_depth, flipper_length, mass].map(str::parse::<f64>);
        if let (Ok(measured), true) = (measured.into_iter().collect::<Result<Vec<_>, _>>(), sex != "NA") {
            groups.entry(format!("{species}, {island}, {sex}")).or_default().extend(measured);
        }
    }
    Ok(groups)
}

/// Measurements less their mean over all penguins, in units of their deviation.
fn standardised(mut groups: BTreeMap<String, Vec<f64>>) -> BTreeMap<String, Vec<f64>> {
    for axis in 0..MEASUREMENTS {
        let values: Vec<f64> =
            groups.values().flat_map(|group| group.iter().skip(axis).step_by(MEASUREMENTS)).copied().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        for group in groups.values_mut() {
            group
                .iter_mut()
                .skip(axis)
                .step_by(MEASUREMENTS)
                .for_each(|value| *value = (*value - mean) / square.sqrt());
        }
    }
    groups
}

/// A square for each pair, dark where groups are near.
fn heat_map(table: &PairTable, distances: &[f64]) -> RgbImage {
    let (rows, columns) = table.shape();
    let largest = distances.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    RgbImage::from_fn(columns as u32 * CELL, rows as u32 * CELL, |x, y| {
        let (row, column) = ((y / CELL) as usize, (x / CELL) as usize);
        colour(distances[row * columns + column] / largest)
    })
}

/// From dark blue over red to light yellow, of increasing lightness, which is read without colour vision too.
fn colour(part: f64) -> Rgb<u8> {
    const STOPS: [[f64; 3]; 4] = [[13.0, 8.0, 60.0], [126.0, 3.0, 110.0], [225.0, 92.0, 60.0], [250.0, 235.0, 160.0]];
    let place = part.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let first = (place as usize).min(STOPS.len() - 2);
    let share = place - first as f64;
    Rgb(std::array::from_fn(|channel| {
        (STOPS[first][channel] + share * (STOPS[first + 1][channel] - STOPS[first][channel])).round() as u8
    }))
}
