//! The weights of one column, in f64.

use ot_core::{Error, Measure, Scalar};

use crate::unit::power_of_two;

/// Units of rounding that a cumulative mass may be off by: of f64 for the whole mass, which sums, differences and the scale
/// between two masses leave; and of the element type for each weight, independently of the others.
const LEVEL_ROUNDINGS: f64 = 4.0;

/// How heavy the atoms of one histogram are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnWeights {
    pub(super) values: Vec<f64>,
    /// Are all weights the same?
    uniform: bool,
    mass: f64,
    /// What rounding of the weights may add to or take from the mass, relative.
    rounding: f64,
    /// What rounding may add to or take from any cumulative mass.
    level_rounding: f64,
}

/// Weights of atoms in some order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LineWeights<'a> {
    /// All atoms have this weight.
    Equal(f64),
    /// By atom.
    Each(&'a [f64]),
}

/// sum_k (v_k / unit)^2 for a power of two, in eight lanes.
fn sum_of_squares(values: &[f64], unit: f64) -> f64 {
    const LANES: usize = 8;
    let square = |value: f64| (value / unit) * (value / unit);
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, &value)| *lane += square(value));
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&value| square(value)).sum::<f64>()
}

impl ColumnWeights {
    /// One column of the weights of a measure.
    pub(crate) fn of<T: Scalar>(measure: &dyn Measure<T>, column: usize) -> Result<Self, Error> {
        let Some(view) = measure.weights() else {
            return Err(Error::UnsupportedSupport {
                what: "atoms on the line",
                found: "a distribution that is not discrete",
            });
        };
        view.validate()?;
        if view.columns() <= column {
            return Err(Error::Length { what: "columns of the batch", expected: column + 1, found: view.columns() });
        }
        let given = view.column(column);
        let expected = measure.support().len().unwrap_or(0);
        if given.len() != expected {
            return Err(Error::Length { what: "weights", expected, found: given.len() });
        }
        let values: Vec<f64> = given.iter().map(|weight| weight.to_f64()).collect();
        let mass = view.mass(column);
        let unit = power_of_two(mass);
        let squares = sum_of_squares(&values, unit);
        Ok(Self {
            values,
            uniform: given.iter().all(|weight| *weight == given[0]),
            mass,
            rounding: T::EPSILON * (64.0 + 8.0 * (given.len() as f64).sqrt()),
            level_rounding: LEVEL_ROUNDINGS * (f64::EPSILON * mass + T::EPSILON * unit * squares.sqrt()),
        })
    }

    /// The same weights in another order of the atoms.
    pub(super) fn reordered(mut self, order: &[u32]) -> Self {
        if !self.uniform {
            self.values = order.iter().map(|&index| self.values[index as usize]).collect();
        }
        self
    }

    /// All weights, as one number if they are equal.
    pub(crate) fn view(&self) -> LineWeights<'_> {
        if self.uniform { LineWeights::Equal(self.values[0]) } else { LineWeights::Each(&self.values) }
    }

    /// The total mass.
    pub(crate) fn mass(&self) -> f64 {
        self.mass
    }

    /// The difference up to which cumulative masses of this and of another histogram are one level.
    pub(crate) fn level_rounding(&self, other: &Self) -> f64 {
        self.level_rounding + other.level_rounding
    }

    /// The factor that gives `other` the mass of this.
    pub(crate) fn scale_to(&self, other: &Self) -> Result<f64, Error> {
        let tolerance = self.rounding + other.rounding;
        if (self.mass - other.mass).abs() > tolerance * self.mass.max(other.mass) {
            let (source_mass, target_mass) = (self.mass, other.mass);
            return Err(Error::MassMismatch { column: 0, source_mass, target_mass, tolerance });
        }
        Ok(if self.mass == other.mass { 1.0 } else { self.mass / other.mass })
    }
}
