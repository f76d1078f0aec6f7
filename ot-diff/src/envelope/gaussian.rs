//! The gradient of the squared Wasserstein distance between Gaussians (Bures 1969; Takatsu 2011).

use ot_core::Error;
use ot_solvers::Gaussian;

/// W_2^2 between two Gaussians, and its gradient in mean and covariance of the first:
///
/// ```text
/// d/dm_a = 2 (m_a - m_b)      d/dA = I - T,     T the linear part of the optimal map from a to b
/// ```
///
/// T is symmetric, so that d/dA is: the derivative along symmetric changes of A.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianGradient {
    /// W_2^2.
    pub value: f64,
    /// In the mean: d numbers.
    pub mean: Vec<f64>,
    /// In the covariance: d x d numbers, row by row.
    pub covariance: Vec<f64>,
}

/// The gradient of W_2^2(a, b) in the Gaussian a. O(d^3).
///
/// ```
/// use ot_diff::gaussian_gradient;
/// use ot_solvers::Gaussian;
///
/// let (a, b) = (Gaussian::new([0.0], [4.0])?, Gaussian::new([3.0], [1.0])?);
/// let gradient = gaussian_gradient(&a, &b)?;
/// // 3^2 + (2 - 1)^2, and d(sqrt(A) - 1)^2 / dA = 1 - 1 / sqrt(A).
/// assert!((gradient.value - 10.0).abs() < 1e-12 && (gradient.covariance[0] - 0.5).abs() < 1e-12);
/// assert_eq!(gradient.mean, [-6.0]);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Gaussian::wasserstein`] and [`Gaussian::map_to`]: where the first is flat in a direction in which the second is
/// not, there is no gradient.
pub fn gaussian_gradient(a: &Gaussian, b: &Gaussian) -> Result<GaussianGradient, Error> {
    let distance = a.wasserstein(b)?;
    let dimension = a.dimension();
    let mut covariance: Vec<f64> = a.map_to(b)?.linear().into_iter().map(|entry| -entry).collect();
    (0..dimension).for_each(|axis| covariance[axis * dimension + axis] += 1.0);
    let mean = a.mean().iter().zip(b.mean()).map(|(a, b)| 2.0 * (a - b)).collect();
    Ok(GaussianGradient { value: distance * distance, mean, covariance })
}
