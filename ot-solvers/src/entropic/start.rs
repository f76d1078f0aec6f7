//! Where an iteration starts from.

use ot_core::{
    Backend, CostBetween, CostForm, Device, Error, Fold, GroundCost, Measure, Operand, PointsView, Potentials, Problem,
    Program, Real, Scalar, Side,
};

use super::relaxation::rate_at;
use crate::gaussian::{Gaussian, Matrix, Vector, optimal_map};

/// The first potentials of a solve.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Start<'a, D: Device> {
    /// f = g = 0.
    #[default]
    Zero,
    /// Potentials on the device: those of an earlier solution, for a warm start; or those of the same measures under a kernel of
    /// linear time, such as one of features, which are off by no more than its cost is.
    Warm(&'a Potentials<D>),
    /// Potentials of clusters, extended (see [`multiscale`](Self::multiscale)).
    Clusters {
        /// On the device, at the epsilon of the clusters.
        potentials: Potentials<D>,
        /// The rate of the plain iteration between the clusters, if it was observed.
        rate: Option<f64>,
    },
    /// Potentials on the host, column after column; one column serves all.
    Host {
        /// f, n x columns or n.
        source: Vec<D::Elem>,
        /// g, m x columns or m.
        target: Vec<D::Elem>,
    },
}

impl<D: Device> Start<'_, D> {
    /// The potentials of transport between the Gaussians of the same means and covariances, for
    /// squared distances between point clouds: with A the linear part of the optimal map
    /// (Olkin, Pukelsheim 1982) and c = s |x - y|^2,
    ///
    /// ```text
    /// f(x) = s (|x|^2 - (x - m_a)^T A (x - m_a) - 2 m_b^T x)
    /// g(y) = s (|y|^2 - (y - m_b)^T A^-1 (y - m_b) - 2 m_a^T (y - m_b))
    /// ```
    ///
    /// Pays where clouds are far apart or of different spread and epsilon is small. The first
    /// histogram of a batch speaks for all. Costs O((n + m) d^2 + d^3).
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a cost that is no squared distance; those of [`CostBetween::new`] and
    /// [`Gaussian::of`].
    pub fn gaussian(
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        let CostForm::SqEuclidean { scale } = cost.form() else {
            return Err(Error::MissingCapability("Gaussian initialiser: the cost is no squared distance"));
        };
        let Some([sources, targets]) = CostBetween::new(source.support(), target.support(), cost)?.points() else {
            return Err(Error::MissingCapability("Gaussian initialiser: the atoms have no coordinates"));
        };
        let (x, y) = (Gaussian::of(source, 0)?, Gaussian::of(target, 0)?);
        let (map, _) = optimal_map(&x.covariance, &y.covariance);
        let (inverse, _) = optimal_map(&y.covariance, &x.covariance);
        Ok(Start::Host {
            source: quadratic_potential(sources, &x.mean, &y.mean, &map, scale, 0.0),
            target: quadratic_potential(targets, &y.mean, &x.mean, &inverse, scale, 2.0 * scale * x.mean.dot(&y.mean)),
        })
    }

    /// The epsilon that the potentials belong to, if it is known.
    pub(crate) fn epsilon(&self) -> Option<f64> {
        match self {
            Start::Warm(potentials) => Some(potentials.epsilon),
            Start::Clusters { potentials, .. } => Some(potentials.epsilon),
            Start::Zero | Start::Host { .. } => None,
        }
    }

    /// The rate of the plain iteration that is to be expected at an epsilon, if anything is known of it.
    pub(super) fn rate_at(&self, epsilon: f64) -> Option<f64> {
        match self {
            Start::Clusters { potentials, rate } => Some(rate_at((*rate)?, epsilon / potentials.epsilon)),
            _ => None,
        }
    }

    /// Potentials on the device, of the shapes of a problem.
    ///
    /// # Errors
    /// [`Error::Length`] for potentials that do not fit, [`Error::Parameter`] for one that is not
    /// finite; a failure of the device.
    pub(crate) fn potentials(&self, problem: &Problem<D>) -> Result<Potentials<D>, Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let side = |side: Side| -> Result<D::Vector, Error> {
            let rows = problem.marginal(side).len();
            let what = side.of(["source potential of the warm start", "target potential of the warm start"]);
            let expected = rows * columns;
            match self {
                Start::Zero => backend.filled(0.0, rows, columns),
                Start::Warm(Potentials { source, target, .. })
                | Start::Clusters { potentials: Potentials { source, target, .. }, .. } => {
                    let given = side.of([source, target]);
                    let shape = backend.shape(given);
                    if shape != (rows, columns) {
                        return Err(Error::Length { what, expected, found: shape.0 * shape.1 });
                    }
                    check_finite(backend, given, what)?;
                    backend.copied(given)
                }
                Start::Host { source, target } => {
                    let given = side.of([source, target]);
                    if let Some(index) = given.iter().position(|value| !value.is_finite()) {
                        return Err(not_finite(what, given[index].to_f64()));
                    }
                    match given.len() {
                        len if len == expected => backend.upload(given, columns),
                        len if len == rows => backend.upload(&given.repeat(columns), columns),
                        found => Err(Error::Length { what, expected, found }),
                    }
                }
            }
        };
        Ok(Potentials { source: side(Side::Source)?, target: side(Side::Target)?, epsilon: problem.epsilon() })
    }
}

/// Refuses a vector with an entry that is no finite number.
fn check_finite<D: Device>(backend: &dyn Backend<D>, vector: &D::Vector, what: &'static str) -> Result<(), Error> {
    let (rows, columns) = backend.shape(vector);
    // A comparison with NaN is never true.
    let is_broken = Program::record(|[x]| [(D::Elem::MAX - x.abs()).select(0.0, 1.0)])?;
    let mut broken = backend.alloc_reduced(columns)?;
    backend.reduce(&is_broken, Fold::Sum, rows, &[Operand::Vector(vector)], &mut [&mut broken])?;
    match backend.read(&[&broken])?[0].iter().any(|&count| count > 0.0) {
        true => Err(not_finite(what, f64::NAN)),
        false => Ok(()),
    }
}

fn not_finite(name: &'static str, value: f64) -> Error {
    Error::Parameter { name, value, expected: "finite numbers" }
}

/// s (|x|^2 - (x - mean)^T A (x - mean) - 2 other^T x) + constant at these points.
fn quadratic_potential<T: Scalar>(
    points: PointsView<'_, T>,
    mean: &Vector,
    other: &Vector,
    map: &Matrix,
    scale: f64,
    constant: f64,
) -> Vec<T> {
    let value = |i: usize| {
        let x = Vector::from_iterator(points.dimension(), points.point(i).iter().map(|x| x.to_f64()));
        let centred = &x - mean;
        scale * (x.norm_squared() - centred.dot(&(map * &centred)) - 2.0 * other.dot(&x)) + constant
    };
    (0..points.len()).map(|i| T::from_f64(value(i))).collect()
}
