//! Where an iteration starts from.

use ot_core::{
    Backend, CostBetween, CostForm, Error, Fold, GroundCost, Measure, Operand, PointsView, Potentials, Problem,
    Program, Scalar, Side,
};

use crate::gaussian::{Gaussian, Matrix, Vector, optimal_map};

/// The first potentials of a solve.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Start<'a, B: Backend> {
    /// f = g = 0.
    #[default]
    Zero,
    /// Potentials on the device: those of an earlier solution, for a warm start.
    Warm(&'a Potentials<B>),
    /// Potentials on the device that the start owns: those of clusters, extended (see
    /// [`multiscale`](Self::multiscale)).
    Owned(Potentials<B>),
    /// Potentials on the host, column after column; one column serves all.
    Host {
        /// f, n x columns or n.
        source: Vec<B::Elem>,
        /// g, m x columns or m.
        target: Vec<B::Elem>,
    },
}

impl<B: Backend> Start<'_, B> {
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
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
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
    pub(super) fn epsilon(&self) -> Option<f64> {
        match self {
            Start::Warm(potentials) => Some(potentials.epsilon),
            Start::Owned(potentials) => Some(potentials.epsilon),
            Start::Zero | Start::Host { .. } => None,
        }
    }

    /// Potentials on the device, of the shapes of a problem.
    ///
    /// # Errors
    /// [`Error::Length`] for potentials that do not fit, [`Error::Parameter`] for one that is not
    /// finite; a failure of the device.
    pub(crate) fn potentials(&self, problem: &Problem<B>) -> Result<Potentials<B>, Error> {
        let backend = problem.backend();
        let side = |side: Side| -> Result<B::Vector, Error> {
            let (rows, columns) = (problem.marginal(side).len(), problem.columns());
            let zero = || vec![B::Elem::from_f64(0.0); rows * columns];
            let what = match side {
                Side::Source => "source potential of the warm start",
                Side::Target => "target potential of the warm start",
            };
            let expected = rows * columns;
            match self {
                Start::Zero => backend.upload(&zero(), columns),
                Start::Warm(Potentials { source, target, .. }) | Start::Owned(Potentials { source, target, .. }) => {
                    let given = if side == Side::Source { source } else { target };
                    let (given_rows, given_columns) = backend.shape(given);
                    if (given_rows, given_columns) != (rows, columns) {
                        return Err(Error::Length { what, expected, found: given_rows * given_columns });
                    }
                    check_finite(backend, given, what)?;
                    let mut copy = backend.alloc(rows, columns)?;
                    backend.copy(given, &mut copy)?;
                    Ok(copy)
                }
                Start::Host { source, target } => {
                    let given = if side == Side::Source { source } else { target };
                    if let Some(index) = given.iter().position(|value| !value.is_finite()) {
                        return Err(Error::Parameter {
                            name: what,
                            value: given[index].to_f64(),
                            expected: "finite numbers",
                        });
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

/// Refuses a vector with an entry that is no finite number: x - x is 0 for those that are.
fn check_finite<B: Backend>(backend: &B, vector: &B::Vector, what: &'static str) -> Result<(), Error> {
    let (rows, columns) = backend.shape(vector);
    let difference = Program::record(|[x, y]| [x - y])?;
    let mut sums = backend.alloc_reduced(columns)?;
    let operands = [Operand::Vector(vector), Operand::Vector(vector)];
    backend.reduce(&difference, Fold::Sum, rows, &operands, &mut [&mut sums])?;
    match backend.read(&[&sums])?[0].iter().find(|sum| sum.is_nan()) {
        Some(&value) => Err(Error::Parameter { name: what, value, expected: "finite numbers" }),
        None => Ok(()),
    }
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
