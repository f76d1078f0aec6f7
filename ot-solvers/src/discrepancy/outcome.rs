//! What a discrepancy returns.

use ot_core::{Backend, Error, Scalar, Side};

use super::kernel::PairSums;

/// A squared maximum mean discrepancy, with its witness and its gradient on demand.
#[derive(Clone, Debug)]
pub struct Discrepancy<B: Backend> {
    squared: Vec<f64>,
    rounding: Vec<f64>,
    pub(super) cross: PairSums<B>,
    pub(super) own: [PairSums<B>; 2],
}

impl<B: Backend> Discrepancy<B> {
    pub(super) fn new(cross: PairSums<B>, own: [PairSums<B>; 2]) -> Result<Self, Error> {
        let (across, [source, target]) = (cross.total()?, own.each_ref().map(PairSums::total));
        let (source, target) = (source?, target?);
        let column = |column: usize| {
            let of = |values: &[f64]| values[column.min(values.len() - 1)];
            let (own, twice) = (of(&source) + of(&target), 2.0 * of(&across));
            (own - twice, <B::Elem as Scalar>::EPSILON * (own.abs() + twice.abs()))
        };
        let (squared, rounding) = (0..across.len()).map(column).unzip();
        Ok(Self { squared, rounding, cross, own })
    }

    /// MMD^2 of the first column: of the problem, where it is no batch. As computed: a difference of sums, that rounding
    /// may make negative where the measures agree.
    #[must_use]
    pub fn squared(&self) -> f64 {
        self.squared[0]
    }

    /// MMD^2 of each column.
    #[must_use]
    pub fn squared_of_columns(&self) -> &[f64] {
        &self.squared
    }

    /// One rounding of the sums whose difference the first MMD^2 is: what is smaller has no sign.
    #[must_use]
    pub fn rounding(&self) -> f64 {
        self.rounding[0]
    }

    /// The witness w at the atoms of one side, column after column. Costs two passes over pairs.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for an energy kernel on a geometry that knows no derivative in the scale of its cost;
    /// a failure of the device.
    pub fn witness(&self, side: Side) -> Result<Vec<B::Elem>, Error> {
        let across = self.cross.potential(side)?;
        // The measure of the source counts positive, wherever the atom lies.
        let (own, sign) = match side {
            Side::Source => (self.own[0].potential(Side::Source)?, 1.0),
            Side::Target => (self.own[1].potential(Side::Source)?, -1.0),
        };
        let value = |(index, across): (usize, &B::Elem)| {
            B::Elem::from_f64(sign * (own[index % own.len()].to_f64() - across.to_f64()))
        };
        Ok(across.iter().enumerate().map(value).collect())
    }
}
