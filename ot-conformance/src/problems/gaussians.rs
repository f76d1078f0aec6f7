//! Normal distributions.

use std::f64::consts::PI;

use ot_core::{Error, PointCloud, Scalar};

use crate::seeded::elements;

/// How many deviations a grid reaches to either side of the mean: what is left out weighs 1e-15.
const REACH: f64 = 8.0;

/// Two normal distributions N(m, s^2) and N(n, t^2) on the line, with the squared distance as cost and both
/// marginals prescribed. The optimal plan is normal; its covariance k solves 2 k^2 + epsilon k = 2 s^2 t^2.
///
/// On a grid much finer than the deviations and than sqrt(epsilon), sums equal integrals to all digits
/// (the trapezoidal rule converges exponentially for such functions), so that discrete problems have
/// these values too.
///
/// ```
/// use ot_conformance::problems::Gaussians;
///
/// let problem = Gaussians { means: [0.0, 1.0], deviations: [0.5, 1.0], epsilon: 1e-9 };
/// // Without entropy, the squared distance of the means and of the deviations.
/// assert!((problem.transport_cost() - 1.25).abs() < 1e-8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussians {
    /// m and n.
    pub means: [f64; 2],
    /// s and t.
    pub deviations: [f64; 2],
    /// epsilon.
    pub epsilon: f64,
}

impl Gaussians {
    /// The covariance k of the optimal plan.
    #[must_use]
    pub fn covariance(&self) -> f64 {
        let (product, epsilon) = (self.deviations[0] * self.deviations[1], self.epsilon);
        // The positive root, without its cancellation.
        4.0 * product * product / (epsilon + (epsilon * epsilon + 16.0 * product * product).sqrt())
    }

    /// <P, C> = (m - n)^2 + s^2 + t^2 - 2 k.
    #[must_use]
    pub fn transport_cost(&self) -> f64 {
        let ([m, n], [s, t]) = (self.means, self.deviations);
        (m - n).powi(2) + s * s + t * t - 2.0 * self.covariance()
    }

    /// The optimal value <P, C> - epsilon / 2 log(1 - k^2 / (s t)^2).
    #[must_use]
    pub fn value(&self) -> f64 {
        let correlation = self.covariance() / (self.deviations[0] * self.deviations[1]);
        self.transport_cost() - 0.5 * self.epsilon * (-correlation * correlation).ln_1p()
    }

    /// The mean of y under the plan given x: n + (k / s^2) (x - m), the entropic map.
    #[must_use]
    pub fn map(&self, x: f64) -> f64 {
        self.means[1] + self.covariance() / self.deviations[0].powi(2) * (x - self.means[0])
    }

    /// The source on a grid of `len` points.
    ///
    /// # Errors
    /// What [`PointCloud::new`] refuses.
    pub fn source<T: Scalar>(&self, len: usize) -> Result<PointCloud<'static, T>, Error> {
        grid(self.means[0], self.deviations[0], 1.0, len)
    }

    /// The target on a grid of `len` points.
    ///
    /// # Errors
    /// What [`PointCloud::new`] refuses.
    pub fn target<T: Scalar>(&self, len: usize) -> Result<PointCloud<'static, T>, Error> {
        grid(self.means[1], self.deviations[1], 1.0, len)
    }
}

/// Two normal distributions of any masses on the line, with the squared distance as cost and a Kullback-Leibler
/// penalty of strength rho on either marginal. Optimal potentials are quadratic, and their coefficients the
/// fixed point of an iteration on six numbers, in which all integrals are closed forms.
///
/// ```
/// use ot_conformance::problems::UnbalancedGaussians;
///
/// let problem =
///     UnbalancedGaussians { means: [0.0, 0.0], deviations: [1.0, 1.0], masses: [1.0, 2.0], rho: 1.0, epsilon: 0.5 };
/// let mass = problem.mass();
/// assert!(mass > 1.0 && mass < 2.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnbalancedGaussians {
    /// Means of source and target.
    pub means: [f64; 2],
    /// Their standard deviations.
    pub deviations: [f64; 2],
    /// Their masses.
    pub masses: [f64; 2],
    /// The strength of both penalties.
    pub rho: f64,
    /// epsilon.
    pub epsilon: f64,
}

impl UnbalancedGaussians {
    /// The mass of the optimal plan: that of its marginal exp(-f / rho) a.
    #[must_use]
    pub fn mass(&self) -> f64 {
        let [[constant, linear, square], _] = self.potentials();
        let (mean, deviation) = (self.means[0], self.deviations[0]);
        let slope = -linear / self.rho;
        let curvature = 1.0 / deviation.powi(2) + 2.0 * square / self.rho;
        let centre = mean / deviation.powi(2) + slope;
        let exponent = -constant / self.rho + 0.5 * (centre * centre / curvature - (mean / deviation).powi(2));
        self.masses[0] / (deviation * curvature.sqrt()) * exponent.exp()
    }

    /// The optimal value: rho (a + b) + epsilon ab - (2 rho + epsilon) mass, with a and b the masses.
    #[must_use]
    pub fn value(&self) -> f64 {
        let [a, b] = self.masses;
        self.rho * (a + b) + self.epsilon * a * b - (2.0 * self.rho + self.epsilon) * self.mass()
    }

    /// The coefficients (constant, linear, square) of f and g.
    #[must_use]
    pub fn potentials(&self) -> [[f64; 3]; 2] {
        let damping = self.rho / (self.rho + self.epsilon);
        let mut potentials = [[0.0; 3]; 2];
        for _ in 0..100_000 {
            let entering = potentials;
            for side in [0, 1] {
                let softmin = self.softmin(1 - side, potentials[1 - side]);
                potentials[side] = softmin.map(|coefficient| damping * coefficient);
            }
            if potentials == entering {
                break;
            }
        }
        potentials
    }

    /// x to -epsilon log of the integral of exp((g(y) - (x - y)^2) / epsilon) over the distribution of `side`, for
    /// quadratic g: the exponent is -A y^2 / 2 + (b + 2 x / epsilon) y + constants.
    fn softmin(&self, side: usize, [constant, linear, square]: [f64; 3]) -> [f64; 3] {
        let (mean, variance, epsilon) = (self.means[side], self.deviations[side].powi(2), self.epsilon);
        let curvature = 1.0 / variance + 2.0 * (1.0 - square) / epsilon;
        let slope = mean / variance + linear / epsilon;
        let log_mass = (self.masses[side] / (variance * curvature).sqrt()).ln();
        [
            -constant - epsilon * (log_mass + 0.5 * (slope * slope / curvature - mean * mean / variance)),
            -2.0 * slope / curvature,
            1.0 - 2.0 / (epsilon * curvature),
        ]
    }

    /// The source on a grid of `len` points.
    ///
    /// # Errors
    /// What [`PointCloud::new`] refuses.
    pub fn source<T: Scalar>(&self, len: usize) -> Result<PointCloud<'static, T>, Error> {
        grid(self.means[0], self.deviations[0], self.masses[0], len)
    }

    /// The target on a grid of `len` points.
    ///
    /// # Errors
    /// What [`PointCloud::new`] refuses.
    pub fn target<T: Scalar>(&self, len: usize) -> Result<PointCloud<'static, T>, Error> {
        grid(self.means[1], self.deviations[1], self.masses[1], len)
    }
}

/// Two normal distributions in the plane, with the squared distance as cost and no entropy:
///
/// ```text
/// |m - n|^2 + tr A + tr B - 2 tr (A^(1/2) B A^(1/2))^(1/2)
/// ```
///
/// where, for 2 x 2 matrices, tr M^(1/2) = sqrt(tr M + 2 sqrt(det M)).
///
/// ```
/// use ot_conformance::problems::Bures;
///
/// let problem = Bures { means: [[0.0, 0.0], [3.0, 4.0]], covariances: [[1.0, 0.0, 4.0], [9.0, 0.0, 1.0]] };
/// // Deviations 1, 2 and 3, 1 on common axes.
/// assert!((problem.squared_distance() - 30.0).abs() < 1e-14);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bures {
    /// m and n.
    pub means: [[f64; 2]; 2],
    /// A and B, each as [xx, xy, yy].
    pub covariances: [[f64; 3]; 2],
}

impl Bures {
    /// The squared Wasserstein distance of order two.
    #[must_use]
    pub fn squared_distance(&self) -> f64 {
        let ([m, n], [a, b]) = (self.means, self.covariances);
        let determinant = |[xx, xy, yy]: [f64; 3]| xx * yy - xy * xy;
        let trace_of_product = a[0] * b[0] + 2.0 * a[1] * b[1] + a[2] * b[2];
        let root = (trace_of_product + 2.0 * (determinant(a) * determinant(b)).max(0.0).sqrt()).sqrt();
        (m[0] - n[0]).powi(2) + (m[1] - n[1]).powi(2) + a[0] + a[2] + b[0] + b[2] - 2.0 * root
    }
}

/// A normal distribution on a regular grid, of a mass.
fn grid<T: Scalar>(mean: f64, deviation: f64, mass: f64, len: usize) -> Result<PointCloud<'static, T>, Error> {
    let step = 2.0 * REACH / (len.max(2) - 1) as f64;
    let scores: Vec<f64> = (0..len).map(|index| index as f64 * step - REACH).collect();
    let points: Vec<f64> = scores.iter().map(|score| mean + deviation * score).collect();
    let weights: Vec<f64> =
        scores.iter().map(|score| mass * step / (2.0 * PI).sqrt() * (-0.5 * score * score).exp()).collect();
    PointCloud::new(elements(&points), 1, elements(&weights))
}
