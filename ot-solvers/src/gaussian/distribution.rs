//! A Gaussian distribution.

use ot_core::{Error, Measure, Scalar, cost::check_bound};

use super::{
    AffineMap, Matrix, Vector,
    roots::{aligned, optimal_map, root},
};
use crate::unit::norm;

/// Asymmetry and negative eigenvalues up to this, relative to the largest entry or eigenvalue, are rounding.
const ROUNDING: f64 = 1e-10;
/// The smallest positive number.
const SMALLEST: f64 = 5e-324;
/// Spread of the target, relative, that a map may miss: the root of what counts as rounding of a covariance.
const UNREACHED: f64 = 1e-5;

/// N(m, S): a mean and a covariance, which may be singular: eigenvalues within rounding of the largest count zero.
///
/// Also stands for any elliptical distribution of these moments: see the [module](crate::gaussian).
///
/// ```
/// use ot_solvers::Gaussian;
///
/// let a = Gaussian::new(vec![0.0, 0.0], vec![1.0, 0.0, 0.0, 4.0])?;
/// let b = Gaussian::new(vec![3.0, 0.0], vec![9.0, 0.0, 0.0, 4.0])?;
/// assert!((a.wasserstein(&b)?.powi(2) - (9.0 + 4.0)).abs() < 1e-12);
///
/// let map = a.map_to(&b)?;
/// let image = map.images(&[1.0, 1.0])?;
/// assert!((image[0] - 6.0).abs() < 1e-12 && (image[1] - 1.0).abs() < 1e-12);
///
/// let half = a.interpolation(&b, 0.5)?;
/// assert!((half.covariance()[0] - 4.0).abs() < 1e-12);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    pub(crate) mean: Vector,
    pub(crate) covariance: Matrix,
}

impl Gaussian {
    /// The distribution of a mean (d numbers) and a covariance (d x d, row by row).
    ///
    /// # Errors
    /// [`Error::ZeroDimension`], [`Error::Length`]; [`Error::Coordinate`] for a mean and [`Error::Parameter`] for a
    /// covariance that is not finite, symmetric and positive semi-definite up to rounding.
    pub fn new(mean: impl Into<Vec<f64>>, covariance: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let (mean, covariance) = (mean.into(), covariance.into());
        let dimension = mean.len();
        if dimension == 0 {
            return Err(Error::ZeroDimension);
        }
        if covariance.len() != dimension * dimension {
            let expected = dimension * dimension;
            return Err(Error::Length { what: "covariance", expected, found: covariance.len() });
        }
        if let Some(axis) = mean.iter().position(|value| !value.is_finite()) {
            return Err(Error::Coordinate { point: 0, axis, value: mean[axis] });
        }
        let refused = |name, value, expected| Err(Error::Parameter { name, value, expected });
        if let Some(&value) = covariance.iter().find(|value| value.is_nan() || value.abs() > f64::MAX / 1e10) {
            return refused("an entry of a covariance", value, "a finite number below 1e298");
        }
        let covariance = Matrix::from_vec(dimension, dimension, covariance);
        let largest = covariance.amax();
        let asymmetry = (&covariance - covariance.transpose()).amax();
        if asymmetry > ROUNDING * largest + SMALLEST {
            return refused("the largest difference of a covariance and its transpose", asymmetry, "zero");
        }
        let covariance = 0.5 * (&covariance + covariance.transpose());
        if largest > 0.0 {
            let lowest = (&covariance / largest).symmetric_eigenvalues().min();
            // Entries are known to the smallest number at best.
            let rounding = ROUNDING + dimension as f64 * (SMALLEST / largest);
            if lowest < -rounding {
                return refused("the smallest eigenvalue of a covariance", lowest * largest, "a number >= 0");
            }
        }
        Ok(Self { mean: Vector::from_vec(mean), covariance })
    }

    /// The Gaussian with the mean and the covariance of one column of a cloud: weighted, divided by the mass. O(n d^2). A
    /// spread of less than 1e-162 counts none: no number of f64 is its square.
    ///
    /// # Errors
    /// [`Error::UnsupportedSupport`] for a measure without points, [`Error::Length`] for a column that is not there;
    /// [`Error::Coordinate`], [`Error::Weight`], [`Error::Mass`] for numbers that are none, [`Error::Parameter`] for a
    /// covariance that overflows.
    pub fn of<T: Scalar>(measure: &dyn Measure<T>, column: usize) -> Result<Self, Error> {
        let (Some(points), Some(weights)) = (measure.support().points()?, measure.weights()) else {
            return Err(Error::UnsupportedSupport { what: "moments", found: measure.support().kind() });
        };
        points.validate()?;
        weights.validate()?;
        if weights.columns() <= column {
            return Err(Error::Length { what: "columns of the batch", expected: column + 1, found: weights.columns() });
        }
        if weights.len() != points.len() {
            return Err(Error::Length { what: "weights", expected: points.len(), found: weights.len() });
        }
        let (dimension, mass) = (points.dimension(), weights.mass(column));
        let parts = || points.iter().zip(weights.column(column)).map(|(point, weight)| (point, weight.to_f64() / mass));
        let mut mean = vec![0.0; dimension];
        for (point, part) in parts() {
            for (mean, coordinate) in mean.iter_mut().zip(point) {
                *mean += part * coordinate.to_f64();
            }
        }
        let mut covariance = vec![0.0; dimension * dimension];
        let mut centred = vec![0.0; dimension];
        for (point, part) in parts() {
            for ((centred, coordinate), mean) in centred.iter_mut().zip(point).zip(&mean) {
                *centred = coordinate.to_f64() - mean;
            }
            for (row, x) in covariance.chunks_exact_mut(dimension).zip(&centred) {
                for (entry, y) in row.iter_mut().zip(&centred) {
                    *entry += part * x * y;
                }
            }
        }
        Self::new(mean, covariance)
    }

    /// d.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        self.mean.as_slice()
    }

    /// The covariance, d x d, symmetric.
    #[must_use]
    pub fn covariance(&self) -> &[f64] {
        self.covariance.as_slice()
    }

    /// W_2, accurate for close Gaussians too. O(d^3), as everything here.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::CostOverflow`] for a distance beyond the range.
    pub fn wasserstein(&self, other: &Self) -> Result<f64, Error> {
        let bures = self.bures(other)?;
        let distance = norm(&(&self.mean - &other.mean)).hypot(bures);
        check_bound::<f64>(distance)?;
        Ok(distance)
    }

    /// The distance of Bures (1969) between the covariances: W_2 without the means.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`].
    pub fn bures(&self, other: &Self) -> Result<f64, Error> {
        self.check_dimension(other)?;
        let (r, s) = (root(&self.covariance), root(&other.covariance));
        Ok(norm(&(&r - aligned(&s, &r))))
    }

    /// The optimal map to another Gaussian, affine; the covariance may be singular where the target asks for nothing beyond it.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`]; [`Error::Parameter`] if the target spreads where this Gaussian has no mass to spread, so that
    /// only a plan, and no map, leads there, or if the map leaves the range of f64.
    pub fn map_to(&self, other: &Self) -> Result<AffineMap, Error> {
        self.check_dimension(other)?;
        let (linear, unreached) = optimal_map(&self.covariance, &other.covariance);
        if unreached > UNREACHED {
            let name = "the part of the target's spread in directions that the source is flat in";
            return Err(Error::Parameter { name, value: unreached, expected: "zero, for a map to exist" });
        }
        if let Some(&value) = linear.iter().find(|entry| !entry.is_finite()) {
            return Err(Error::Parameter { name: "an entry of the map", value, expected: "a finite number" });
        }
        Ok(AffineMap { linear, source_mean: self.mean.clone(), target_mean: other.mean.clone() })
    }

    /// The Gaussian at time t of the displacement interpolation (McCann 1997) from this one (t = 0) to another (t = 1), of mean
    /// (1 - t) m_a + t m_b and covariance L L^T, L = (1 - t) R + t S U: along the optimal coupling, which exists for any pair.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`]; [`Error::Parameter`] for a time outside [0, 1].
    pub fn interpolation(&self, other: &Self, t: f64) -> Result<Self, Error> {
        self.check_dimension(other)?;
        if !(0.0..=1.0).contains(&t) {
            return Err(Error::Parameter { name: "time", value: t, expected: "a number in [0, 1]" });
        }
        let (r, s) = (root(&self.covariance), root(&other.covariance));
        let root = (1.0 - t) * &r + t * aligned(&s, &r);
        Ok(Self { mean: (1.0 - t) * &self.mean + t * &other.mean, covariance: &root * root.transpose() })
    }

    fn check_dimension(&self, other: &Self) -> Result<(), Error> {
        let (source_dimension, target_dimension) = (self.dimension(), other.dimension());
        if source_dimension == target_dimension {
            Ok(())
        } else {
            Err(Error::DimensionMismatch { source_dimension, target_dimension })
        }
    }
}
