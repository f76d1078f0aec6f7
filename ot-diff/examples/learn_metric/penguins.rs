//! Bags of penguins: small groups of one species and sex, as measures on their measurements.

use std::error::Error;

use ot_solvers::Random;

/// The table: 344 penguins of the Palmer Archipelago (Gorman, Williams, Fraser 2014; CC0).
const TABLE: &str = include_str!("../../../ot-solvers/examples/penguins/penguins.csv");

/// What is known of a penguin: four measurements, and the year in which it was measured, which says nothing of its kind.
pub const MEASUREMENTS: [&str; 5] = ["bill length", "bill depth", "flipper length", "body mass", "year"];

/// Their columns in the table.
const COLUMNS: [usize; 5] = [2, 3, 4, 5, 7];

/// Some penguins of one species and sex.
#[derive(Debug)]
pub struct Bag {
    /// Penguin after penguin, each measurement over its standard deviation.
    pub measurements: Vec<f64>,
    /// Species and sex.
    pub kind: String,
}

/// All penguins with nothing missing, shuffled, in bags of a size.
pub fn bags(size: usize, seed: u64) -> Result<Vec<Bag>, Box<dyn Error>> {
    let mut penguins = Vec::new();
    for line in TABLE.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
        let &[species, _, _, _, _, _, sex, _] = fields.as_slice() else { return Err("a row of other columns".into()) };
        let measured: Result<Vec<f64>, _> = COLUMNS.iter().map(|column| fields[*column].parse()).collect();
        if let (Ok(measured), "female" | "male") = (measured, sex) {
            penguins.push((format!("{species} {sex}"), measured));
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
    for kind in penguins.chunk_by(|one, other| one.0 == other.0) {
        for group in kind.chunks_exact(size) {
            let measurements = group.iter().flat_map(|(_, measured)| measured.clone()).collect();
            bags.push(Bag { measurements, kind: group[0].0.clone() });
        }
    }
    Ok(bags)
}
