//! Gibbs kernels that are products of thin factors: linear time and memory in the number of atoms.
//!
//! | part | what it does |
//! |---|---|
//! | `factors` | products with K = F G^T, from logarithms to logarithms |
//! | `gaussian` | random positive features of the Gaussian kernel |
//! | `nystrom` | its partial Cholesky factor, with a bound on every entry |

mod factors;
mod gaussian;
mod nystrom;

use std::sync::Arc;

use ot_core::{
    Backend, CostBetween, CostForm, Elem, Epsilon, Error, Geometry, GeometryBuilder, GroundCost, Host, HostBackend,
    KernelOp, PointsView, Side, SqEuclidean, Support, check_epsilon, cost::check_bound, host::for_each_chunk,
};

use self::factors::{Entries, Factors, ThinProducts};
use super::{CpuScalar, log_kernel::LogKernel};
use crate::backend::CpuBackend;

/// Logarithms of features lie within this of zero.
const LARGEST_LOGARITHM: f64 = 1e15;
/// The smallest entry of a Nystrom kernel that its rounding leaves eight digits.
const LEAST_ENTRY: f64 = 1e-8;
/// Rows of one task of a pass over all pairs.
const ROWS: usize = 64;

/// A kernel K = F G^T of rank r between two supports, at one epsilon: O((n + m) r) time for each softmin, and as much memory.
///
/// **What is solved.** The ground cost is C^ = -epsilon log K: an *estimate* of the squared distance, not that distance. All that
/// a solution tells (plan, primal, dual, gap) is certified for C^. As values of transport move no more than costs do,
///
/// ```text
/// |OT_epsilon(a, b, C^) - OT_epsilon(a, b, C)|  <=  mass  max_ij |C^_ij - C_ij|
/// ```
///
/// and [`measured_cost_error`](Self::measured_cost_error) computes that maximum, by one pass over all pairs. Epsilon is fixed: nothing is
/// annealed and there is no <P, C>.
///
/// **[Random positive features](Self::gaussian)** (Scetbon, Cuturi 2020): for any density rho that is positive
///
/// ```text
/// exp(-|x - y|^2 / epsilon) = E_(u ~ rho) [phi(x, u) phi(y, u)],
/// phi(x, u)^2 = (4 / (pi epsilon))^(d/2) exp(-4 |x - u|^2 / epsilon) / rho(u)
/// ```
///
/// so K_ij = sum_k phi(x_i, u_k) phi(y_j, u_k) / r for r draws u_k is positive, unbiased, and symmetric positive semi-definite on the
/// union of the supports: its Sinkhorn divergences are not negative. rho is normal around the centre c, of variance q epsilon / 4. One
/// feature then has the relative variance
///
/// ```text
/// (4 q^2 / (4 q - 1))^(d/2) exp(8 |(x + y) / 2 - c|^2 / (epsilon (4 q - 1))) - 1
/// ```
///
/// and q minimises its largest value over the midpoints; [`relative_deviation`](Self::relative_deviation) is the root of that value over r. It
/// grows like (R^2 / (d epsilon))^(d/2) as epsilon falls: features are for few dimensions or large epsilon. Logarithms are what is
/// kept and summed, so that no range of numbers ends.
///
/// **[Nystrom](Self::nystrom)** (Altschuler, Bach, Rudi, Niles-Weed 2019): columns of a partial Cholesky factor. Entries of such a kernel may be
/// negative, and then no potentials exist. Here they are known not to be: what is left of the kernel is positive semi-definite, so
/// |K - K^|_ij <= delta for the geometric mean delta of the largest diagonals left, and the factor is refused unless delta is at most
/// half of exp(-D^2 / epsilon), a bound of the smallest entry. That needs an epsilon of at least an eighteenth of the largest
/// squared distance D^2; C^ is then off by at most [`cost_error`](Self::cost_error), without a pass over the pairs.
///
/// ```
/// use ot_core::{Geometry, Measure, PointCloud, Problem};
/// use ot_cpu::{CpuBackend, FeatureGeometry};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 0.1, 0.5, 0.9], 1)?;
/// let b = PointCloud::uniform(vec![0.2, 0.4, 0.7], 1)?;
///
/// let features = FeatureGeometry::gaussian(&backend, a.points(), b.points(), 0.5, 400, 7)?;
/// assert!(features.relative_deviation().is_some_and(|deviation| deviation < 0.1));
/// let problem = Problem::new(features.shared(), &a, &b, features.epsilon())?;
/// assert_eq!(problem.epsilon(), 0.5);
///
/// let nystrom = FeatureGeometry::nystrom(&backend, a.points(), b.points(), 0.5, 7)?;
/// let (bound, measured) = (nystrom.cost_error(), nystrom.measured_cost_error()?);
/// assert!(measured <= bound && bound.is_some_and(|bound| bound < 1e-6));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FeatureGeometry<T> {
    backend: CpuBackend<T>,
    epsilon: f64,
    factors: Factors,
    points: Option<Clouds<T>>,
    relative_deviation: Option<f64>,
    cost_error: Option<f64>,
    cost_bound: f64,
}

/// The points that features were made of.
#[derive(Clone, Debug)]
struct Clouds<T> {
    coordinates: [Arc<Vec<T>>; 2],
    dimension: usize,
}

impl<T: CpuScalar> Clouds<T> {
    fn of(points: [PointsView<'_, T>; 2]) -> Self {
        Self {
            coordinates: points.map(|points| Arc::new(points.coordinates().to_vec())),
            dimension: points[0].dimension(),
        }
    }

    fn view(&self, side: Side) -> Result<PointsView<'_, T>, Error> {
        PointsView::new(&self.coordinates[side.index()], self.dimension)
    }
}

impl<T: CpuScalar> FeatureGeometry<T> {
    /// Random positive features of exp(-|x - y|^2 / epsilon), so many of them. The same seed gives the same bits.
    ///
    /// Costs O((n + m) r d) once.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::Coordinate`], [`Error::DimensionMismatch`]; [`Error::Epsilon`]; [`Error::CostOverflow`];
    /// [`Error::Parameter`] for no feature, and for an epsilon below 1e-14 of the squared distances; [`Error::OutOfMemory`].
    pub fn gaussian(
        backend: &CpuBackend<T>,
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        epsilon: f64,
        features: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        largest_exponent([source, target], epsilon)?;
        at_least_one("features", features)?;
        let (factors, deviation) = gaussian::gaussian([source, target], epsilon, features, seed)?;
        let points = Some(Clouds::of([source, target]));
        let log_bound = factors.largest_log_entry();
        check_bound::<T>(epsilon * log_bound)?;
        Ok(Self {
            points,
            relative_deviation: Some(deviation),
            ..Self::assembled(backend, epsilon, factors, log_bound)
        })
    }

    /// The Nystrom approximation of exp(-|x - y|^2 / epsilon) by at most so many columns, fewer if no more are needed to be exact up
    /// to rounding. Columns are chosen by what is left; nothing is random.
    ///
    /// Costs O((n + m) r (r + d)) once.
    ///
    /// # Errors
    /// Those of [`gaussian`](Self::gaussian); [`Error::Parameter`] for an epsilon so small that entries may be below 1e-8, and
    /// where so many columns leave errors of more than half of the smallest entry.
    pub fn nystrom(
        backend: &CpuBackend<T>,
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        // One kernel for both clouds together, so that pairs within one are met too.
        let mut largest = largest_exponent([source, target], epsilon)?;
        for cloud in [source, target] {
            largest = match largest_exponent([cloud, cloud], epsilon) {
                // Of a cloud that is a point beside its distance to the other.
                Err(Error::CostUnderflow { .. }) => largest,
                own => largest.max(own?),
            };
        }
        let least = (-largest).exp();
        at_least_one("columns", columns)?;
        if least < LEAST_ENTRY {
            let expected = "at least 1e-8: a larger epsilon, or positive features";
            return Err(Error::Parameter { name: "the smallest entry of the kernel", value: least, expected });
        }
        let (factors, bound) = nystrom::nystrom([source, target], epsilon, columns, 1e-15)?;
        let error = bound / least;
        if error > 0.5 {
            let name = "the largest error of an entry over the smallest entry";
            return Err(Error::Parameter {
                name,
                value: error,
                expected: "at most 1/2: more columns, or a larger epsilon",
            });
        }
        let points = Some(Clouds::of([source, target]));
        // Where an entry falls the logarithm moves more than where it rises.
        let cost_error = Some(-epsilon * (-error).ln_1p());
        let log_bound = std::f64::consts::LN_2 - least.ln();
        Ok(Self { points, cost_error, ..Self::assembled(backend, epsilon, factors, log_bound) })
    }

    /// A kernel whose factors are given, by the logarithms of F (n x r) and G (m x r), row by row. Features of any kernel that is an
    /// expectation of positive ones are such.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::Length`] for rows that are no whole ones, [`Error::Epsilon`], [`Error::Parameter`] for rank 0, and
    /// for a logarithm that is not finite or beyond 1e15; [`Error::CostOverflow`] for epsilon times a logarithm that is no cost.
    pub fn from_logarithms(
        backend: &CpuBackend<T>,
        epsilon: f64,
        source: Vec<f64>,
        target: Vec<f64>,
        rank: usize,
    ) -> Result<Self, Error> {
        check_epsilon::<T>(epsilon)?;
        at_least_one("rank", rank)?;
        for logarithms in [&source, &target] {
            if logarithms.is_empty() {
                return Err(Error::EmptyMeasure);
            }
            if logarithms.len() % rank != 0 {
                let (expected, found) = (logarithms.len().next_multiple_of(rank), logarithms.len());
                return Err(Error::Length { what: "logarithms of features", expected, found });
            }
            if let Some(&value) = logarithms.iter().find(|log| !log.is_finite() || log.abs() > LARGEST_LOGARITHM) {
                return Err(Error::Parameter { name: "the logarithm of a feature", value, expected: "within 1e15" });
            }
        }
        let sides = [source, target].map(Arc::new);
        let factors = Factors { rank, sides, entries: Entries::Logarithms };
        let log_bound = factors.largest_log_entry();
        check_bound::<T>(epsilon * log_bound)?;
        Ok(Self::assembled(backend, epsilon, factors, log_bound))
    }

    fn assembled(backend: &CpuBackend<T>, epsilon: f64, factors: Factors, log_bound: f64) -> Self {
        let (points, relative_deviation, cost_error) = (None, None, None);
        let cost_bound = epsilon * log_bound;
        Self { backend: backend.clone(), epsilon, factors, points, relative_deviation, cost_error, cost_bound }
    }

    /// The only epsilon.
    #[must_use]
    pub fn epsilon(&self) -> Epsilon {
        Epsilon::Absolute(self.epsilon)
    }

    /// r.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.factors.rank
    }

    /// The largest standard deviation of K_ij over exp(-|x_i - y_j|^2 / epsilon), over all midpoints that the supports may have, of random
    /// features. C^ is off by about epsilon times this. Infinite beyond the range of numbers.
    #[must_use]
    pub fn relative_deviation(&self) -> Option<f64> {
        self.relative_deviation
    }

    /// A bound of |C^ - C| over all pairs, of a Nystrom kernel.
    #[must_use]
    pub fn cost_error(&self) -> Option<f64> {
        self.cost_error
    }

    /// The largest |C^ - C| over all pairs, for squared distances C, by one pass over them: O(n m (r + d)). None if factors were given.
    ///
    /// # Errors
    /// None that [`gaussian`](Self::gaussian) has not told.
    pub fn measured_cost_error(&self) -> Result<Option<f64>, Error> {
        let Some(clouds) = &self.points else { return Ok(None) };
        let [x, y] = [clouds.view(Side::Source)?, clouds.view(Side::Target)?];
        let (factors, epsilon) = (&self.factors, self.epsilon);
        let mut largest = vec![0.0_f64; x.len().div_ceil(ROWS)];
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| self.backend.parallel(tasks, job);
        for_each_chunk(parallel, largest.len(), largest.iter_mut(), |task, largest| {
            let mut terms = vec![0.0; factors.rank];
            for i in task * ROWS..x.len().min((task + 1) * ROWS) {
                for (j, y) in y.iter().enumerate() {
                    let square: f64 = x.point(i).iter().zip(y).map(|(x, y)| (x.to_f64() - y.to_f64()).powi(2)).sum();
                    let entry =
                        factors.log_entry(factors.row(Side::Source, i), factors.row(Side::Target, j), &mut terms);
                    *largest = largest.max((square + epsilon * entry).abs());
                }
            }
        });
        Ok(Some(largest.into_iter().fold(0.0, f64::max)))
    }

    /// This geometry for problems, which share it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Geometry<Host<T>>> {
        Arc::new(self.clone())
    }
}

fn at_least_one(name: &'static str, value: usize) -> Result<(), Error> {
    match value {
        0 => Err(Error::Parameter { name, value: 0.0, expected: "at least 1" }),
        _ => Ok(()),
    }
}

/// A bound of |x - y|^2 / epsilon over all pairs.
fn largest_exponent<T: CpuScalar>([x, y]: [PointsView<'_, T>; 2], epsilon: f64) -> Result<f64, Error> {
    check_epsilon::<T>(epsilon)?;
    let costs = CostBetween::new(Support::Points(x), Support::Points(y), &SqEuclidean)?;
    let bound = costs.bound()?.unwrap_or(f64::INFINITY) / epsilon;
    if bound <= 1e-1 * LARGEST_LOGARITHM {
        return Ok(bound);
    }
    let name = "the largest squared distance over epsilon";
    Err(Error::Parameter { name, value: bound, expected: "at most 1e14" })
}

impl<T: CpuScalar> Geometry<Host<T>> for FeatureGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.factors.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        let atoms = Side::BOTH.map(|side| self.factors.len(side));
        let rounding = self.factors.rounding(self.cost_bound / self.epsilon);
        let products = ThinProducts::new(self.backend.clone(), self.factors.clone(), rounding)?;
        Ok(Box::new(LogKernel::new(products, atoms, columns, self.epsilon, epsilon)?))
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        Some(self.epsilon)
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.points.as_ref().map(|_| 2.0 * sigma * sigma)
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(self.cost_bound)
    }
}

/// One kernel for all measures on the two clouds, under the [`ImpliedCost`](ot_core::ImpliedCost): pairs within one cloud have the
/// same features, so that the divergences of a kernel are those of a positive semi-definite one.
impl<T: CpuScalar> GeometryBuilder for FeatureGeometry<T> {
    type Device = Host<T>;

    fn geometry(
        &self,
        source: Support<'_, Elem<Self>>,
        target: Support<'_, Elem<Self>>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
        if !matches!(cost.form(), CostForm::Implied) {
            return Err(Error::MissingCapability("cost but its own: expected ImpliedCost"));
        }
        let Some(clouds) = &self.points else {
            return Err(Error::MissingCapability("points of features that were given"));
        };
        let own = |asked: Support<'_, T>| {
            for side in Side::BOTH {
                if asked.is_same(&Support::Points(clouds.view(side)?)) {
                    return Ok(side.index());
                }
            }
            Err(Error::UnsupportedSupport { what: "the features of other points", found: asked.kind() })
        };
        let [x, y] = [own(source)?, own(target)?];
        let sides = [x, y].map(|side| Arc::clone(&self.factors.sides[side]));
        let coordinates = [x, y].map(|side| Arc::clone(&clouds.coordinates[side]));
        let factors = Factors { sides, ..self.factors.clone() };
        let log_bound = match factors.entries {
            Entries::Logarithms => factors.largest_log_entry(),
            Entries::Values => self.cost_bound / self.epsilon,
        };
        let points = Some(Clouds { coordinates, ..clouds.clone() });
        let geometry = Self::assembled(&self.backend, self.epsilon, factors, log_bound);
        Ok(Arc::new(Self { points, ..geometry }))
    }
}
