//! Maximum mean discrepancies: kernel distances between measures, without any transport.
//!
//! With a kernel k and the signed measure a - b,
//!
//! ```text
//! MMD^2 = sum_ii' a_i a_i' k(x_i, x_i') - 2 sum_ij a_i b_j k(x_i, y_j) + sum_jj' b_j b_j' k(y_j, y_j')
//! w(z) = sum_i a_i k(z, x_i) - sum_j b_j k(z, y_j)
//! ```
//!
//! (Gretton et al. 2012). w is the witness: the function of the unit ball of k that tells the measures apart best is
//! proportional to it. Twice w and minus twice w are the derivatives of MMD^2 in the weights a and b.
//!
//! | kernel | k(x, y) | geometry met |
//! |---|---|---|
//! | energy | -abs(x - y)^p, 0 < p < 2 | the cost of a b^T under [`PowerOfDistance`] |
//! | Gaussian | exp(-abs(x - y)^2 / (2 sigma^2)) | the mass of a b^T exp(-C / epsilon), epsilon = 2 sigma^2, under [`SqEuclidean`] |
//!
//! Either is a sum over the plan between free marginals, so that every backend and every geometry of points has it, and
//! one that streams stores no pairs.

mod gradient;
mod kernel;
mod outcome;
mod units;

use ot_core::{Device, Error, GeometryBuilder, Measure, PowerOfDistance, SqEuclidean};

pub use self::outcome::Discrepancy;
use self::{kernel::PairSums, units::Units};

/// A maximum mean discrepancy: a loss between measures of points.
///
/// ```
/// use ot_core::PointCloud;
/// use ot_cpu::CpuBackend;
/// use ot_solvers::MaximumMeanDiscrepancy;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![3.0], 1)?;
/// // 2 E|X - Y| - E|X - X'| - E|Y - Y'| = 2 * 2.5 - 0.5 - 0
/// let energy = MaximumMeanDiscrepancy::energy(1.0)?.between(&backend, &a, &b)?;
/// assert_eq!(energy.squared(), 4.5);
/// assert!(MaximumMeanDiscrepancy::energy(2.0).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct MaximumMeanDiscrepancy {
    kernel: DiscrepancyKernel,
}

/// The kernel of a discrepancy.
#[derive(Copy, Clone, Debug, PartialEq)]
enum DiscrepancyKernel {
    Energy(PowerOfDistance),
    Gaussian { epsilon: f64 },
}

impl MaximumMeanDiscrepancy {
    /// The energy distance of an exponent p: k = -|x - y|^p (Szekely, Rizzo 2004). It has no scale, and is meant for
    /// measures of equal mass.
    ///
    /// # Errors
    /// [`Error::Parameter`] if p is not within (0, 2): at 2 means alone are told apart.
    pub fn energy(exponent: f64) -> Result<Self, Error> {
        if exponent > 0.0 && exponent < 2.0 {
            Ok(Self { kernel: DiscrepancyKernel::Energy(PowerOfDistance::new(exponent)?) })
        } else {
            let expected = "a number within (0, 2)";
            Err(Error::Parameter { name: "exponent of the energy distance", value: exponent, expected })
        }
    }

    /// The Gaussian kernel exp(-|x - y|^2 / (2 sigma^2)) of a deviation sigma, for measures of any masses.
    ///
    /// # Errors
    /// [`Error::Parameter`] if sigma is not finite and positive, or its square leaves the range of numbers.
    pub fn gaussian(deviation: f64) -> Result<Self, Error> {
        let epsilon = 2.0 * deviation * deviation;
        if deviation > 0.0 && epsilon.is_normal() {
            Ok(Self { kernel: DiscrepancyKernel::Gaussian { epsilon } })
        } else {
            let expected = "a finite number > 0, and so its square";
            Err(Error::Parameter { name: "deviation of the Gaussian kernel", value: deviation, expected })
        }
    }

    /// The discrepancy between two measures of points, column by column of a batch.
    ///
    /// Costs three passes over pairs: of the source with itself, of the target with itself, and across.
    ///
    /// Points and weights near the ends of the range are met in units of powers of two.
    ///
    /// # Errors
    /// [`Error::SumOverflow`] for a discrepancy that f64 does not hold, [`Error::MassMismatch`] for an energy distance between unequal masses, [`Error::Epsilon`] for a deviation that the
    /// element type does not hold; those of [`GeometryBuilder::geometry`] and [`Problem::unbalanced`](ot_core::Problem::unbalanced).
    pub fn between<D: Device>(
        &self,
        builder: &dyn GeometryBuilder<Device = D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
    ) -> Result<Discrepancy<D>, Error> {
        let degree = match self.kernel {
            DiscrepancyKernel::Energy(cost) => Some(cost.exponent()),
            DiscrepancyKernel::Gaussian { .. } => None,
        };
        let units = Units::of([source, target], degree)?;
        let (source, target) = (units.measure(source)?, units.measure(target)?);
        let sums = |one: &dyn Measure<D::Elem>, other: &dyn Measure<D::Elem>| match self.kernel {
            DiscrepancyKernel::Energy(cost) => PairSums::energy(builder, one, other, &cost),
            DiscrepancyKernel::Gaussian { epsilon } => PairSums::gaussian(builder, one, other, &SqEuclidean, epsilon),
        };
        let cross = sums(&source, &target)?;
        Discrepancy::new(cross, [sums(&source, &source)?, sums(&target, &target)?], units)
    }
}
