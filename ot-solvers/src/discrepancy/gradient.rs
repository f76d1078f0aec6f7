//! The gradient of a squared discrepancy in the points of a side.
//!
//! ```text
//! dMMD^2 / dx_i = 2 a_i (sum_i' a_i' dk(x_i, x_i') / dx_i - sum_j b_j dk(x_i, y_j) / dx_i) = 2 a_i grad w(x_i)
//! ```

use ot_core::{Backend, CostParameter, Error, PairWeight, Scalar, Side, WeightedPlan};

use super::{SIDES, kernel::PairSums, outcome::Discrepancy};

impl<B: Backend> Discrepancy<B> {
    /// The gradient of MMD^2 in the points of one side under one column, point by point. Costs three passes over pairs.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a geometry without derivatives in its points; a failure of the device.
    pub fn gradient(&self, side: Side, column: usize) -> Result<Vec<B::Elem>, Error> {
        let across = pull_back(&self.cross, side, column)?;
        let own = match side {
            Side::Source => &self.own[0],
            Side::Target => &self.own[1],
        };
        // A point of the own term stands on either side of a pair.
        let [first, second] = SIDES.map(|half| pull_back(own, half, column.min(own.problem().columns() - 1)));
        let (first, second) = (first?, second?);
        let rows = own.problem().marginal(Side::Source).len();
        let dimension = across.len() / rows;
        let mut gradient = Vec::with_capacity(across.len());
        for row in 0..rows {
            for index in (0..dimension).map(|axis| axis * rows + row) {
                gradient.push(B::Elem::from_f64(first[index] + second[index] - 2.0 * across[index]));
            }
        }
        Ok(gradient)
    }
}

/// sum_ij a_i b_j dk_ij / dpoints of one side, coordinate by coordinate.
fn pull_back<B: Backend>(sums: &PairSums<B>, side: Side, column: usize) -> Result<Vec<f64>, Error> {
    let backend = sums.problem().backend();
    let parameter = CostParameter::Points(side);
    let mut kernel = sums.problem().bind()?;
    backend.scope(|| {
        let missing = Error::MissingCapability("derivative of the cost in its points");
        let derivative = kernel.cost_derivative().ok_or(missing.clone())?;
        let (rows, dimension) = derivative.shape(parameter).ok_or(missing)?;
        let mut out = backend.alloc(rows, dimension)?;
        let pairs = WeightedPlan { plan: sums.plan(), weight: PairWeight::constant(sums.slope()), column };
        derivative.pull_back(pairs, parameter, &mut out)?;
        Ok(backend.download(&[&out])?.swap_remove(0).into_iter().map(Scalar::to_f64).collect())
    })
}
