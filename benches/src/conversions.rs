//! The numbers of POT, OTT-JAX and GeomLoss, and how ours become them.
//!
//! Theirs were measured once, by `benches/peers/conversions.py`, on the small problem that its output holds; ours are
//! computed here and converted as a page for users says. Both are the same number, or the page is wrong.

mod ours;

use std::{collections::BTreeMap, error::Error};

use serde::Deserialize;

use self::ours::Ours;

/// What `benches/peers/conversions.py` wrote.
const MEASURED: &str = include_str!("../peers/conversions.json");

/// The relative difference that two numbers may have and still be the same.
pub const TOLERATED: f64 = 1e-6;

/// One number of a peer, and the same number of ours.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The peer.
    pub peer: &'static str,
    /// What is called there.
    pub theirs: &'static str,
    /// What is called here, and how it is converted.
    pub ours: &'static str,
    /// Their number.
    pub measured: f64,
    /// Ours, converted.
    pub converted: f64,
    /// The largest term of the conversion: what rounding is relative to.
    pub scale: f64,
}

impl Conversion {
    /// The difference, relative to the largest term.
    #[must_use]
    pub fn difference(&self) -> f64 {
        (self.converted - self.measured).abs() / self.scale
    }
}

/// The measured numbers, with the problem and the versions they belong to.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    /// The versions of the peers.
    pub versions: BTreeMap<String, String>,
    problem: Inputs,
    values: BTreeMap<String, BTreeMap<String, f64>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Inputs {
    x: Vec<f64>,
    y: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    heavy: Vec<f64>,
    epsilon: f64,
    rho: f64,
    blur: f64,
    reach: f64,
    moved: f64,
}

impl Measured {
    /// Reads what was measured.
    ///
    /// # Errors
    /// The file is not what the script writes.
    pub fn read() -> Result<Self, Box<dyn Error>> {
        Ok(serde_json::from_str(MEASURED)?)
    }

    /// All conversions, peer after peer.
    ///
    /// # Errors
    /// What the library refuses, or a number that was not measured.
    pub fn conversions(&self) -> Result<Vec<Conversion>, Box<dyn Error>> {
        let ours = Ours::new(&self.problem)?;
        let rows = [ours.pot()?, ours.ott()?, ours.geomloss()?].concat();
        rows.into_iter()
            .map(|row| {
                let measured = self.values.get(row.peer).and_then(|values| values.get(row.key)).copied();
                let measured = measured.ok_or_else(|| format!("{} was not measured", row.key))?;
                let scale = row.scale.unwrap_or(measured.abs());
                let Row { peer, theirs, ours, converted, .. } = row;
                Ok(Conversion { peer, theirs, ours, measured, converted, scale })
            })
            .collect()
    }
}

/// A conversion before it meets its measurement.
#[derive(Clone, Debug)]
struct Row {
    peer: &'static str,
    key: &'static str,
    theirs: &'static str,
    ours: &'static str,
    converted: f64,
    scale: Option<f64>,
}

/// A row whose scale is the number itself.
fn row(peer: &'static str, key: &'static str, theirs: &'static str, ours: &'static str, converted: f64) -> Row {
    Row { peer, key, theirs, ours, converted, scale: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_ours_after_its_conversion() {
        let conversions = Measured::read().unwrap().conversions().unwrap();
        assert_eq!(conversions.len(), 31);
        for conversion in conversions {
            assert!(conversion.difference() <= TOLERATED, "{conversion:?}");
        }
    }
}
