//! What a discrepancy returns.

use ot_core::{Device, Error, Scalar, Side, power_of_two::times_power_of_two};

use super::{
    kernel::PairSums,
    units::{Units, held},
};

/// A squared maximum mean discrepancy, with its witness and its gradient on demand.
#[derive(Debug)]
pub struct Discrepancy<D: Device> {
    squared: Vec<f64>,
    rounding: Vec<f64>,
    pub(super) cross: PairSums<D>,
    pub(super) own: [PairSums<D>; 2],
    /// Those in which the sums are taken.
    pub(super) units: Units,
}

impl<D: Device> Clone for Discrepancy<D> {
    fn clone(&self) -> Self {
        Self {
            squared: self.squared.clone(),
            rounding: self.rounding.clone(),
            cross: self.cross.clone(),
            own: self.own.clone(),
            units: self.units,
        }
    }
}

impl<D: Device> Discrepancy<D> {
    pub(super) fn new(cross: PairSums<D>, own: [PairSums<D>; 2], units: Units) -> Result<Self, Error> {
        let (across, [source, target]) = (cross.total()?, own.each_ref().map(PairSums::total));
        let (source, target) = (source?, target?);
        let column = |column: usize| {
            let of = |values: &[f64]| values[column.min(values.len() - 1)];
            let (own, twice) = (of(&source) + of(&target), 2.0 * of(&across));
            let rounding = <D::Elem as Scalar>::EPSILON * (own.abs() + twice.abs());
            let of_units = |value| times_power_of_two(value, units.of_square());
            (of_units(own - twice), of_units(rounding))
        };
        let (squared, rounding) = (0..across.len()).map(column).unzip();
        let (squared, rounding) =
            (held("a squared discrepancy", squared)?, held("the terms of a discrepancy", rounding)?);
        Ok(Self { squared, rounding, cross, own, units })
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
    /// [`Error::SumOverflow`] for a witness that the element type does not hold; [`Error::MissingCapability`] for an energy kernel on a geometry that knows no derivative in the scale of its cost;
    /// a failure of the device.
    pub fn witness(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let across = self.cross.potential(side)?;
        // The measure of the source counts positive, wherever the atom lies.
        let (own, sign) = (self.own[side.index()].potential(Side::Source)?, side.of([1.0, -1.0]));
        let value = |(index, across): (usize, &D::Elem)| {
            let witness = sign * (own[index % own.len()].to_f64() - across.to_f64());
            D::Elem::from_f64(times_power_of_two(witness, self.units.of_witness()))
        };
        held("a witness", across.iter().enumerate().map(value).collect())
    }
}
