//! The gradient of a squared discrepancy in the points of a side.
//!
//! ```text
//! dMMD^2 / dx_i = 2 a_i (sum_i' a_i' dk(x_i, x_i') / dx_i - sum_j b_j dk(x_i, y_j) / dx_i) = 2 a_i grad w(x_i)
//! ```

use ot_core::{Device, Error, Side, power_of_two::times_power_of_two};

use super::{kernel::PairSums, outcome::Discrepancy, units::held};
use crate::point_gradients::{combined, pull_back};

impl<D: Device> Discrepancy<D> {
    /// The gradient of MMD^2 in the points of one side, point by point, one column after the other. Costs three passes
    /// over pairs.
    ///
    /// # Errors
    /// [`Error::SumOverflow`] for a gradient that the element type does not hold; [`Error::MissingCapability`] for a geometry without derivatives in its points; a failure of the device.
    pub fn gradient(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let of = |sums: &PairSums<D>, side| pull_back(sums.problem(), sums.plan(), sums.slope(), side);
        // A point of the own term stands on either side of a pair.
        let (across, own) = (of(&self.cross, side)?, &self.own[side.index()]);
        let (first, second) = (of(own, Side::Source)?, of(own, Side::Target)?);
        let points = own.problem().marginal(Side::Source).len();
        let combine = |across: f64, [first, second]: [f64; 2]| {
            times_power_of_two(first + second - 2.0 * across, self.units.of_gradient())
        };
        held("a gradient", combined(points, &across, [&first, &second], combine))
    }
}
