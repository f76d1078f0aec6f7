//! The penguins of one sex, measured.

use std::error::Error;

/// The table, see `penguins/PROVENANCE.md`.
const TABLE: &str = include_str!("../penguins/penguins.csv");

/// What is measured: bill length, bill depth, flipper length, body mass.
pub const MEASUREMENTS: usize = 4;

/// The classes.
pub const SPECIES: [&str; 3] = ["Adelie", "Chinstrap", "Gentoo"];

/// A domain: penguins by their measurements, and their species.
pub struct Penguins {
    /// Penguin after penguin.
    pub measurements: Vec<f64>,
    /// Indices into [`SPECIES`].
    pub species: Vec<usize>,
}

impl Penguins {
    /// All penguins of a sex with nothing missing.
    pub fn of_sex(sex: &str) -> Result<Self, Box<dyn Error>> {
        let mut penguins = Self { measurements: Vec::new(), species: Vec::new() };
        for line in TABLE.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
            let [species, _island, bill_length, bill_depth, flipper_length, mass, its_sex, _year] = fields[..] else {
                return Err(format!("eight fields were expected: {line}").into());
            };
            if its_sex != sex {
                continue;
            }
            let species = SPECIES.iter().position(|name| *name == species).ok_or("an unknown species")?;
            let measured: [_; MEASUREMENTS] = [bill_length, bill_depth, flipper_length, mass].map(str::parse::<f64>);
            penguins.measurements.extend(measured.into_iter().collect::<Result<Vec<_>, _>>()?);
            penguins.species.push(species);
        }
        Ok(penguins)
    }

    /// Mean and standard deviation of each measurement.
    pub fn moments(&self) -> [[f64; 2]; MEASUREMENTS] {
        let count = self.species.len() as f64;
        std::array::from_fn(|axis| {
            let values = || self.measurements.iter().skip(axis).step_by(MEASUREMENTS);
            let mean = values().sum::<f64>() / count;
            [mean, (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()]
        })
    }

    /// Measurements in units of such moments.
    pub fn standardised(&self, moments: &[[f64; 2]; MEASUREMENTS]) -> Vec<f64> {
        let axes = self.measurements.iter().zip(moments.iter().cycle());
        axes.map(|(value, [mean, deviation])| (value - mean) / deviation).collect()
    }
}
