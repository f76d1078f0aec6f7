//! The barycenter of Gaussians.

use ot_core::{Error, Status};

use super::{
    Gaussian, Matrix, Vector,
    roots::{aligned, root},
};
use crate::unit::power_of_two;

/// The barycenter min_N sum_k w_k W_2^2(N, N_k) of Gaussians (Agueh, Carlier 2011), by the fixed-point iteration of
/// Alvarez-Esteban, del Barrio, Cuesta-Albertos, Matran (2016). With S_k = R_k R_k^T and the current S = Y Y^T it is
///
/// ```text
/// Y <- sum_k w_k R_k U_k,        U_k the polar factor of R_k^T Y:
/// ```
///
/// the mean of the optimal couplings with S. It needs no inverse, so singular covariances are welcome; unless all are, the
/// barycenter is regular and unique. The objective never rises. Convergence is linear: a dozen iterations between
/// well-conditioned covariances, thousands where some are singular. Each iteration costs a d x d singular value
/// decomposition for each Gaussian.
///
/// ```
/// use ot_solvers::{BuresBarycenter, Gaussian};
///
/// let narrow = Gaussian::new(vec![0.0], vec![1.0])?;
/// let wide = Gaussian::new(vec![2.0], vec![9.0])?;
/// let solution = BuresBarycenter::new().solve(&[narrow, wide], &[1.0, 1.0])?;
/// assert!(solution.status().is_converged());
/// // On the line standard deviations are averaged.
/// assert_eq!(solution.barycenter().mean(), [1.0]);
/// assert!((solution.barycenter().covariance()[0] - 4.0).abs() < 1e-12);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BuresBarycenter {
    tolerance: f64,
    max_iterations: usize,
}

impl Default for BuresBarycenter {
    fn default() -> Self {
        Self::new()
    }
}

impl BuresBarycenter {
    /// To a residual of 1e-12, in at most 10 000 iterations.
    #[must_use]
    pub fn new() -> Self {
        Self { tolerance: 1e-12, max_iterations: 10_000 }
    }

    /// The [residual](BuresBarycenterSolution::residual) to reach.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// The iterations allowed.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { max_iterations, ..self }
    }

    /// The barycenter of `gaussians` for `weights`, taken relative to their sum.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] without Gaussians, [`Error::Length`] for weights of another number, [`Error::Weight`],
    /// [`Error::Mass`], [`Error::DimensionMismatch`].
    pub fn solve(&self, gaussians: &[Gaussian], weights: &[f64]) -> Result<BuresBarycenterSolution, Error> {
        let Some(first) = gaussians.first() else { return Err(Error::EmptyMeasure) };
        if weights.len() != gaussians.len() {
            return Err(Error::Length {
                what: "weights of the Gaussians",
                expected: gaussians.len(),
                found: weights.len(),
            });
        }
        ot_core::WeightsView::new(weights, 1)?.validate()?;
        if let Some(other) = gaussians.iter().find(|gaussian| gaussian.dimension() != first.dimension()) {
            return Err(Error::DimensionMismatch {
                source_dimension: first.dimension(),
                target_dimension: other.dimension(),
            });
        }
        let total: f64 = weights.iter().sum();
        let parts: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let roots: Vec<Matrix> = gaussians.iter().map(|gaussian| root(&gaussian.covariance)).collect();
        let unit = power_of_two(roots.iter().map(Matrix::amax).fold(0.0, f64::max));
        let roots: Vec<Matrix> = roots.into_iter().map(|root| root / unit).collect();
        let mix = |terms: &mut dyn Iterator<Item = Matrix>| {
            let zero = Matrix::zeros(first.dimension(), first.dimension());
            parts.iter().zip(terms).fold(zero, |sum, (&part, term)| sum + part * term)
        };

        // The mean of roots is the answer where covariances commute.
        let mut current = mix(&mut roots.iter().cloned());
        let scale = parts.iter().zip(&roots).map(|(part, root)| part * root.norm_squared()).sum::<f64>().sqrt();
        let (mut residual, mut iterations) = (f64::INFINITY, 0);
        while residual > self.tolerance && iterations < self.max_iterations {
            let next = mix(&mut roots.iter().map(|root| aligned(root, &current)));
            residual = if scale > 0.0 { (&next - &current).norm() / scale } else { 0.0 };
            current = next;
            iterations += 1;
        }
        let zero = Vector::zeros(first.dimension());
        let mean = parts.iter().zip(gaussians).fold(zero, |sum, (&part, gaussian)| sum + part * &gaussian.mean);
        let status = if residual <= self.tolerance { Status::Converged } else { Status::IterationLimit };
        let root = unit * current;
        let barycenter = Gaussian { mean, covariance: &root * root.transpose() };
        Ok(BuresBarycenterSolution { barycenter, status, residual, iterations })
    }
}

/// A barycenter of Gaussians, and how well it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct BuresBarycenterSolution {
    barycenter: Gaussian,
    status: Status,
    residual: f64,
    iterations: usize,
}

impl BuresBarycenterSolution {
    /// The barycenter.
    #[must_use]
    pub fn barycenter(&self) -> &Gaussian {
        &self.barycenter
    }

    /// Converged, or out of iterations.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The length of the last step: the norm of sum_k w_k T_k - id in L^2 of the Gaussian before it, T_k the maps to the others,
    /// which vanishes at the barycenter; relative to the root of the mean variance.
    #[must_use]
    pub fn residual(&self) -> f64 {
        self.residual
    }

    /// The iterations done.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }
}
