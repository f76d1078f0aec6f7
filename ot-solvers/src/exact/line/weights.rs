//! The weights of one column, in f64.

use ot_core::{Error, Measure, Scalar};

/// How heavy the atoms of one histogram are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnWeights {
    pub(super) values: Vec<f64>,
    /// Are all weights the same?
    uniform: bool,
    pub(super) mass: f64,
    /// What rounding of the weights may add to or take from the mass, relative.
    rounding: f64,
}

/// Weights of atoms in some order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LineWeights<'a> {
    /// All atoms have this weight.
    Equal(f64),
    /// By atom.
    Each(&'a [f64]),
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
            return Err(Error::Length { what: "columns of the batch", expected: view.columns(), found: column });
        }
        let given = view.column(column);
        let expected = measure.support().len().unwrap_or(0);
        if given.len() != expected {
            return Err(Error::Length { what: "weights", expected, found: given.len() });
        }
        Ok(Self {
            values: given.iter().map(|weight| weight.to_f64()).collect(),
            uniform: given.iter().all(|weight| *weight == given[0]),
            mass: view.mass(column),
            rounding: T::EPSILON * (64.0 + 8.0 * (given.len() as f64).sqrt()),
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
