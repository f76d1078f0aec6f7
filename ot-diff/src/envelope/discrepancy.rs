//! Gradients of maximum mean discrepancies: closed forms, no solve at all.

use ot_core::{Device, Error, Scalar, Side};
use ot_solvers::Discrepancy;

/// The gradient of MMD^2 = <a - b, k (a - b)>, by name.
///
/// | block | formula | costs |
/// |---|---|---|
/// | weights | 2 w at the source, -2 w at the target, w the witness | two passes over pairs |
/// | points | 2 a_i grad w(x_i) | three passes |
///
/// ```
/// use ot_core::{PointCloud, Side};
/// use ot_cpu::CpuBackend;
/// use ot_diff::DiscrepancyGradient;
/// use ot_solvers::MaximumMeanDiscrepancy;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![3.0], 1)?;
/// let energy = MaximumMeanDiscrepancy::energy(1.0)?.between(&backend, &a, &b)?;
/// // 2 E|X - Y| - E|X - X'|: the mean distance falls as either point moves right, the spread is that of 0 and 1.
/// assert_eq!(DiscrepancyGradient::of(&energy).points(Side::Source)?, [-0.5, -1.5]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug)]
pub struct DiscrepancyGradient<'a, D: Device> {
    discrepancy: &'a Discrepancy<D>,
}

impl<'a, D: Device> DiscrepancyGradient<'a, D> {
    /// That of a discrepancy.
    #[must_use]
    pub fn of(discrepancy: &'a Discrepancy<D>) -> Self {
        Self { discrepancy }
    }

    /// MMD^2 of each column.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        self.discrepancy.squared_of_columns()
    }

    /// The gradient in the points of a side, point by point, one column after the other.
    ///
    /// # Errors
    /// Those of [`Discrepancy::gradient`].
    pub fn points(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        self.discrepancy.gradient(side)
    }

    /// The gradient in the weights of a side, column after column. Any tangent is legal under a Gaussian kernel; under the
    /// energy kernel those that keep the difference of the masses.
    ///
    /// # Errors
    /// Those of [`Discrepancy::witness`].
    pub fn weights(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let factor = side.of([2.0, -2.0]);
        let witness = self.discrepancy.witness(side)?;
        Ok(witness.into_iter().map(|value| D::Elem::from_f64(factor * value.to_f64())).collect())
    }
}
