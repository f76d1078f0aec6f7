//! Bags of penguins: small groups of one species, as measures on their measurements.

use std::error::Error;

use ot_solvers::Random;

/// The table: 344 penguins of the Palmer Archipelago (Gorman, Williams, Fraser 2014; CC0).
const TABLE: &str = include_str!("../../../ot-solvers/examples/penguins/penguins.csv");

/// What is measured: bill length, bill depth, flipper length, body mass.
pub const MEASUREMENTS: [&str; 4] = ["bill length", "bill depth", "flipper length", "body mass"];

/// Some penguins of one species.
#[derive(Debug)]
pub struct Bag {
    /// Penguin after penguin, each measurement over its standard deviation.
    pub measurements: Vec<f64>,
    /// The species.
    pub species: String,
}

/// All penguins with nothing missing, shuffled, in bags of a size.
pub fn bags(size: usize, seed: u64) -> Result<Vec<Bag>, Box<dyn Error>> {
    let mut penguins = Vec::new();
    for line in TABLE.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
        let measured = fields.get(2..2 + MEASUREMENTS.len()).ok_or("too few fields")?;
        let measured: Result<Vec<f64>, _> = measured.iter().map(|field| field.parse()).collect();
        if let Ok(measured) = measured {
            penguins.push((fields[0].to_owned(), measured));
        }
    }
    let count = penguins.len() as f64;
    for axis in 0..MEASUREMENTS.len() {
        let mean = penguins.iter().map(|(_, measured)| measured[axis]).sum::<f64>() / count;
        let variance = penguins.iter().map(|(_, measured)| (measured[axis] - mean).powi(2)).sum::<f64>() / count;
        penguins.iter_mut().for_each(|(_, measured)| measured[axis] /= variance.sqrt());
    }
    let mut random = Random::new(seed, 0, 0);
    for last in (1..penguins.len()).rev() {
        penguins.swap(last, random.index(last + 1));
    }
    penguins.sort_by(|one, other| one.0.cmp(&other.0));
    let mut bags = Vec::new();
    for species in penguins.chunk_by(|one, other| one.0 == other.0) {
        for group in species.chunks_exact(size) {
            let measurements = group.iter().flat_map(|(_, measured)| measured.clone()).collect();
            bags.push(Bag { measurements, species: group[0].0.clone() });
        }
    }
    Ok(bags)
}
