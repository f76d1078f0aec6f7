//! Red wines: what was measured of each, and the mark that tasters gave it.

use std::collections::BTreeMap;

use ot_core::{Error, PointCloud};

/// The wines of one mark.
#[derive(Debug, Default)]
pub struct Class {
    profiles: Vec<f64>,
}

/// Measurements of a wine.
const MEASUREMENTS: usize = 11;

impl Class {
    /// Number of wines.
    pub fn len(&self) -> usize {
        self.profiles.len() / MEASUREMENTS
    }

    /// The uniform measure on the wines.
    pub fn cloud(&self) -> Result<PointCloud<'_, f64>, Error> {
        PointCloud::uniform(&self.profiles, MEASUREMENTS)
    }
}

/// The red wines of Cortez, Cerdeira, Almeida, Matos, Reis (2009), by mark; each measurement over its standard deviation.
pub fn wines() -> BTreeMap<usize, Class> {
    let data = linfa_datasets::winequality();
    let (records, marks) = (data.records(), data.targets());
    let deviations: Vec<f64> = records.columns().into_iter().map(|measurement| measurement.std(0.0)).collect();
    let mut classes: BTreeMap<usize, Class> = BTreeMap::new();
    for (wine, &mark) in records.rows().into_iter().zip(marks) {
        classes
            .entry(mark)
            .or_default()
            .profiles
            .extend(wine.iter().zip(&deviations).map(|(x, deviation)| x / deviation));
    }
    classes
}
