//! Problems whose unregularised plan is known: translations, and the line.

use ot_core::{Error, PointCloud, Scalar};

use crate::seeded::{Seeded, elements};

/// A random cloud and the same cloud moved by a vector, with the same weights. For squared distances
/// the plan that moves every atom by this vector is optimal, since the map is the gradient of a convex
/// function; so it is for every power p >= 1 of a norm of the difference, by Jensen's inequality.
///
/// ```
/// use ot_conformance::problems::TranslatedCloud;
///
/// let problem = TranslatedCloud::new(20, &[3.0, 4.0], 1);
/// assert_eq!(problem.squared_cost(), 25.0);
/// assert_eq!(problem.target::<f64>()?.points().len(), 20);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TranslatedCloud {
    /// The source points, point-major, in the unit cube.
    pub points: Vec<f64>,
    /// The weights of both sides, of mass one up to rounding; measures are made of mass one.
    pub weights: Vec<f64>,
    /// Where every point goes.
    pub shift: Vec<f64>,
}

impl TranslatedCloud {
    /// `len` random points in the unit cube of the dimension of the shift.
    #[must_use]
    pub fn new(len: usize, shift: &[f64], seed: u64) -> Self {
        let mut seeded = Seeded::new(seed);
        // Coordinates with few digits, so that the moved points are exact.
        let points = (0..len * shift.len()).map(|_| (seeded.bits() % 4096) as f64 / 4096.0).collect();
        Self { points, weights: seeded.weights::<f32>(len, false), shift: shift.to_vec() }
    }

    /// The optimal cost for [`SqEuclidean`](ot_core::SqEuclidean): |t|^2.
    #[must_use]
    pub fn squared_cost(&self) -> f64 {
        self.shift.iter().map(|shift| shift * shift).sum()
    }

    /// The optimal cost for [`Euclidean`](ot_core::Euclidean): |t|.
    #[must_use]
    pub fn distance_cost(&self) -> f64 {
        self.shift.iter().map(|shift| shift * shift).sum::<f64>().sqrt()
    }

    /// The cloud.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] without points, [`Error::ZeroDimension`] for a shift without coordinates.
    pub fn source<T: Scalar>(&self) -> Result<PointCloud<'static, T>, Error> {
        PointCloud::new(elements(&self.points), self.shift.len(), elements(&self.weights)).map(PointCloud::normalized)
    }

    /// The cloud moved.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    pub fn target<T: Scalar>(&self) -> Result<PointCloud<'static, T>, Error> {
        let moved: Vec<f64> = self.points.iter().zip(self.shift.iter().cycle()).map(|(x, t)| x + t).collect();
        PointCloud::new(elements(&moved), self.shift.len(), elements(&self.weights)).map(PointCloud::normalized)
    }
}

/// Two measures on the line, whose optimal plan for any convex cost of the difference matches their
/// quantiles: with the quantile functions F and G, the cost is the integral of c(F(u) - G(u)) over u.
///
/// ```
/// use ot_conformance::problems::Quantiles;
///
/// let problem = Quantiles { source: vec![(0.0, 0.5), (1.0, 0.5)], target: vec![(3.0, 0.25), (1.0, 0.75)] };
/// // A half goes from 0 to 1, a quarter stays at 1, a quarter goes from 1 to 3.
/// assert_eq!(problem.cost(1.0), 1.0);
/// assert_eq!(problem.cost(2.0), 1.5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Quantiles {
    /// Positions and weights of the source.
    pub source: Vec<(f64, f64)>,
    /// Positions and weights of the target, of the same mass.
    pub target: Vec<(f64, f64)>,
}

impl Quantiles {
    /// Random positions in [0, 1) and [0.2, 1.5), unsorted, and random weights of mass one.
    #[must_use]
    pub fn new(source: usize, target: usize, seed: u64) -> Self {
        let mut seeded = Seeded::new(seed);
        let mut atoms = |len: usize, low: f64, high: f64| {
            let positions = seeded.vector::<f32>(len, low, high);
            let weights = seeded.weights::<f64>(len, false);
            let mass: f64 = weights.iter().sum();
            positions.into_iter().zip(weights.into_iter().map(|weight| weight / mass)).collect()
        };
        Self { source: atoms(source, 0.0, 1.0), target: atoms(target, 0.2, 1.5) }
    }

    /// The optimal cost for |x - y|^p, p >= 1: the p-th power of the Wasserstein distance.
    #[must_use]
    pub fn cost(&self, exponent: f64) -> f64 {
        let sorted = |atoms: &[(f64, f64)]| {
            let mut atoms = atoms.to_vec();
            atoms.sort_by(|a, b| a.0.total_cmp(&b.0));
            atoms
        };
        let (mut source, mut target) = (sorted(&self.source).into_iter(), sorted(&self.target).into_iter());
        let (mut left, mut right, mut cost) = (source.next(), target.next(), 0.0);
        while let (Some((x, a)), Some((y, b))) = (left, right) {
            let moved = f64::min(a, b);
            cost += moved * (x - y).abs().powf(exponent);
            left = if a > moved { Some((x, a - moved)) } else { source.next() };
            right = if b > moved { Some((y, b - moved)) } else { target.next() };
        }
        cost
    }

    /// The source.
    ///
    /// # Errors
    /// What [`PointCloud::new`] refuses.
    pub fn source<T: Scalar>(&self) -> Result<PointCloud<'static, T>, Error> {
        cloud(&self.source)
    }

    /// The target.
    ///
    /// # Errors
    /// What [`PointCloud::new`] refuses.
    pub fn target<T: Scalar>(&self) -> Result<PointCloud<'static, T>, Error> {
        cloud(&self.target)
    }
}

/// Atoms on the line.
fn cloud<T: Scalar>(atoms: &[(f64, f64)]) -> Result<PointCloud<'static, T>, Error> {
    let (positions, weights): (Vec<f64>, Vec<f64>) = atoms.iter().copied().unzip();
    PointCloud::new(elements(&positions), 1, elements(&weights))
}
