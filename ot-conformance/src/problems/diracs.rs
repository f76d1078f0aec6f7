//! One atom against another.

use ot_core::{Error, PointCloud, Scalar};

/// An atom of mass a at 0 and one of mass b at a distance, on the line, with the squared distance as
/// cost c. The plan is one number p. With Kullback-Leibler penalties of strengths rho_a and rho_b,
///
/// ```text
/// p c + epsilon (p log(p / ab) - p + ab) + rho_a (p log(p / a) - p + a) + rho_b (p log(p / b) - p + b)
/// ```
///
/// is least where its derivative in p vanishes:
///
/// ```text
/// log p = (epsilon log(ab) + rho_a log a + rho_b log b - c) / (epsilon + rho_a + rho_b)
/// ```
///
/// ```
/// use ot_conformance::problems::Diracs;
///
/// let problem = Diracs { masses: [1.0, 1.0], distance: 0.5, strengths: [2.0, 2.0], epsilon: 0.1 };
/// assert!((problem.mass() - f64::exp(-0.25 / 4.1)).abs() < 1e-15);
/// let [f, g] = problem.potentials();
/// // p = a b exp((f + g - c) / epsilon)
/// assert!((problem.epsilon * problem.mass().ln() - (f + g - 0.25)).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diracs {
    /// a and b.
    pub masses: [f64; 2],
    /// The distance of the atoms.
    pub distance: f64,
    /// rho_a and rho_b.
    pub strengths: [f64; 2],
    /// epsilon.
    pub epsilon: f64,
}

impl Diracs {
    /// The cost between the atoms, the squared distance.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.distance * self.distance
    }

    /// The mass p of the optimal plan.
    #[must_use]
    pub fn mass(&self) -> f64 {
        let ([a, b], [rho_a, rho_b]) = (self.masses, self.strengths);
        let numerator = self.epsilon * (a * b).ln() + rho_a * a.ln() + rho_b * b.ln() - self.cost();
        (numerator / (self.epsilon + rho_a + rho_b)).exp()
    }

    /// The optimal potentials f = -rho_a log(p / a) and g = -rho_b log(p / b).
    #[must_use]
    pub fn potentials(&self) -> [f64; 2] {
        [0, 1].map(|side| -self.strengths[side] * (self.mass() / self.masses[side]).ln())
    }

    /// The optimal value: rho_a a + rho_b b + epsilon ab - (rho_a + rho_b + epsilon) p.
    #[must_use]
    pub fn value(&self) -> f64 {
        let ([a, b], [rho_a, rho_b]) = (self.masses, self.strengths);
        rho_a * a + rho_b * b + self.epsilon * a * b - (rho_a + rho_b + self.epsilon) * self.mass()
    }

    /// The value if both marginals are prescribed, for masses of one: c, whatever epsilon.
    #[must_use]
    pub fn balanced_value(&self) -> f64 {
        self.cost()
    }

    /// The atom at 0.
    ///
    /// # Errors
    /// [`Error::Mass`], [`Error::Weight`].
    pub fn source<T: Scalar>(&self) -> Result<PointCloud<'static, T>, Error> {
        PointCloud::new(vec![T::default()], 1, vec![T::from_f64(self.masses[0])])
    }

    /// The atom at the distance.
    ///
    /// # Errors
    /// [`Error::Mass`], [`Error::Weight`], [`Error::Coordinate`].
    pub fn target<T: Scalar>(&self) -> Result<PointCloud<'static, T>, Error> {
        PointCloud::new(vec![T::from_f64(self.distance)], 1, vec![T::from_f64(self.masses[1])])
    }
}
