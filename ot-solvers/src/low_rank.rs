//! Couplings of low rank (Scetbon, Cuturi, Peyre 2021): exact transport restricted to plans that are products of thin factors.
//!
//! ```text
//! min <P, C>    over    P = Q diag(1/g) R^T,    Q in Pi(a, g),    R in Pi(b, g),    g of r entries
//! ```
//!
//! Mass moves through r components: k couples a part Q_k of the source and a part R_k of the target, of one mass g_k, independently.
//! With squared distances it is a joint k-means of both clouds, and P costs O((n + m) r d) an iteration, in memory O((n + m) r).
//!
//! | part | what it does |
//! |---|---|
//! | `coupling` | the factors, and passes over their rows |
//! | `costs` | the cost of a coupling and its gradients |
//! | `step` | mirror descent, projection and rounding |
//! | `bound` | lower bounds of exact transport |
//! | `solution` | the coupling found |

mod bound;
mod costs;
mod coupling;
mod solution;
mod step;

use ot_core::{
    Backend, CostBetween, CostForm, Error, GroundCost, Host, HostBackend, Measure, Observer, Phase, PointsView,
    Progress, Random, Scalar, Status,
    host::try_zeros,
    power_of_two::{binary_exponent, times_power_of_two},
};

pub use self::solution::LowRankCoupling;
use self::{
    costs::{ComponentCosts, Squares, Table, value},
    coupling::{Coupling, Parallel},
    step::{Gradients, Multipliers, project, step},
};
use crate::{
    exact::{balanced_weights, single_weights},
    history::History,
    limits::Limits,
    unit::invertible_power_of_two,
};

/// The relative fall of the cost in a step that counts as none, by default.
const TOLERANCE: f64 = 1e-5;
/// So many steps that move nothing end a solve.
const QUIET_STEPS: usize = 5;
/// Length of the first step, over the range of the gradients.
const FIRST_STEP: f64 = 10.0;
/// How a step grows after one that lowered the cost, and shrinks after one that did not.
const GROWTH: f64 = 1.5;
const SHRINKAGE: f64 = 0.5;
/// Steps are at most this long, so that factors of a step are numbers.
const LONGEST_STEP: f64 = 250.0;
/// Steps are not shorter than this part of the first.
const SHORTEST_STEP: f64 = 1e-6;
/// The stream of the seeds of components, among others of a seed.
const SEEDS: u32 = 0x4c52;

/// Settings of transport by couplings of low rank.
///
/// **What is found.** A feasible plan: [`transport_cost`](LowRankCoupling::transport_cost) is an *upper bound* of exact transport, and
/// [`lower_bound`](LowRankCoupling::lower_bound) lies below it. The problem is not convex: the coupling is a stationary point that depends on the
/// start, neither the best of its rank nor the exact plan, and its [`gap`](LowRankCoupling::gap) is to exact transport. Rank 1 is the product
/// coupling; from rank min(n, m) on the exact plan is among the couplings.
///
/// **How.** Mirror descent in the entropy of Q, R and g, with steps that grow while the cost falls and shrink where it would not. Every
/// iterate is a coupling up to rounding, and the cost never rises. The start are components around targets that a seed draws, for
/// squared distances far apart (Arthur, Vassilvitskii 2007). The same seed gives the same bits, for any number of threads.
///
/// **Cost.** (n + m) r exponentials an iteration, at most 50 alternating projections of 4 (n + m) r operations, and the gradients:
/// O((n + m) r d) for squared distances, whose table is never made; O(n m r), and n m stored costs, for any other cost. Three copies of the
/// factors: 24 (n + m) r bytes.
///
/// ```
/// use ot_core::{PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{ExactTransport, LowRankTransport};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// // Two groups of points, each of which moves by (0, 3).
/// let a = PointCloud::uniform(vec![0.0, 0.0, 0.1, 0.0, 9.0, 0.0, 9.1, 0.0], 2)?;
/// let b = PointCloud::uniform(vec![0.0, 3.0, 0.1, 3.0, 9.0, 3.0, 9.1, 3.0], 2)?;
/// let coupling = LowRankTransport::new(2).solve(&backend, &a, &b, &SqEuclidean)?;
///
/// let exact = ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean)?.transport_cost();
/// assert!(coupling.lower_bound() <= exact && exact <= coupling.transport_cost());
/// assert!(coupling.gap() < 0.01 && coupling.inner_weights().len() == 2);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct LowRankTransport {
    rank: usize,
    seed: u64,
    limits: Limits,
}

impl LowRankTransport {
    /// Couplings of so many components, seed 0, to a relative fall of 1e-5 a step, in at most 1000 iterations.
    #[must_use]
    pub fn new(rank: usize) -> Self {
        Self { rank, seed: 0, limits: Limits::new("max_iterations", 1000) }
    }

    /// Names the targets around which components start.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The part of the cost by which a step lowers it that counts as none: after five such steps the coupling is stationary. For
    /// squared distances the square between the means is not counted, so that translations change nothing.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Solves between two measures of one histogram each.
    ///
    /// # Errors
    /// Those of [`LowRankRun::solve`].
    pub fn solve<T: Scalar>(
        &self,
        backend: &dyn HostBackend<T>,
        source: &dyn Measure<T>,
        target: &dyn Measure<T>,
        cost: &dyn GroundCost,
    ) -> Result<LowRankCoupling, Error> {
        self.run(backend, source, target, cost).solve()
    }

    /// A run to which an observer can be given.
    #[must_use]
    pub fn run<'a, T: Scalar>(
        &'a self,
        backend: &'a dyn HostBackend<T>,
        source: &'a dyn Measure<T>,
        target: &'a dyn Measure<T>,
        cost: &'a dyn GroundCost,
    ) -> LowRankRun<'a, T> {
        LowRankRun { settings: self, backend, source, target, cost, observer: None }
    }
}

/// One run of [`LowRankTransport`].
pub struct LowRankRun<'a, T: Scalar> {
    settings: &'a LowRankTransport,
    backend: &'a dyn HostBackend<T>,
    source: &'a dyn Measure<T>,
    target: &'a dyn Measure<T>,
    cost: &'a dyn GroundCost,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, T: Scalar> LowRankRun<'a, T> {
    /// The observer of every iteration; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for rank 0, a rank above the number of atoms with mass of either side, and settings out of range;
    /// [`Error::MassMismatch`], [`Error::BatchMismatch`] and [`Error::Length`] for batches, [`Error::Weight`], [`Error::Mass`];
    /// [`Error::MissingCapability`] for a cost that forbids pairs, [`Error::SumOverflow`]; those of [`CostBetween::new`],
    /// [`CostBetween::bound`] and [`CostBetween::table_f64`]; [`Error::OutOfMemory`].
    pub fn solve(self) -> Result<LowRankCoupling, Error> {
        let backend: &dyn Backend<Host<T>> = self.backend;
        backend.scope(|| self.solve_inside())
    }

    fn solve_inside(self) -> Result<LowRankCoupling, Error> {
        let Self { settings, backend, source, target, cost, observer } = self;
        settings.limits.check()?;
        let parallel: Parallel<'_> = &|tasks, job| backend.parallel(tasks, job);
        let (a, b) = balanced_weights::<T>(single_weights(source, target)?)?;
        check_rank(settings.rank, [&a, &b])?;
        let largest = a.iter().copied().fold(0.0, f64::max);
        let unit = invertible_power_of_two(largest);
        let mass: f64 = a.iter().map(|weight| weight / unit).sum();
        let probabilities = |weights: &[f64]| -> Vec<f64> {
            let total: f64 = weights.iter().map(|weight| weight / unit).sum();
            weights.iter().map(|weight| weight / unit / total).collect()
        };
        let (p, q) = (probabilities(&a), probabilities(&b));
        let weights = [&p[..], &q[..]];
        let costs = CostBetween::new(source.support(), target.support(), cost)?;
        let mut history = History::new(observer);
        let descent = Descent { settings, weights, parallel };
        // One power of two for costs and masses: a cost alone may be no normal number.
        let of_masses = binary_exponent(unit);
        let in_units = |[scale, exponent]: [f64; 2]| {
            move |value: f64| times_power_of_two(value * scale * mass, exponent + of_masses)
        };
        let (found, units) = match (costs.cost().form(), costs.points()) {
            (CostForm::SqEuclidean { scale }, Some(points)) => {
                costs.bound()?;
                let centred = Centred::of(points, weights);
                let squares = centred.points.each_ref().map(Vec::as_slice);
                // Values of transport between the centred clouds are less by the square between the means.
                let fixed = centred.shift.iter().map(|x| x * x).sum::<f64>();
                let least = bound::of_squares(squares, centred.dimension, weights);
                let squares = Squares::new(squares, centred.dimension, weights);
                let units = [scale, 2.0 * centred.exponent];
                (descent.run(squares, [fixed, least], &in_units(units), &mut history)?, units)
            }
            _ => {
                let (table, summary) = costs.table_f64()?;
                if summary.forbids() {
                    return Err(Error::MissingCapability("couplings of low rank: the cost forbids pairs"));
                }
                let exponent = binary_exponent(summary.bound());
                let table: Vec<f64> = table.iter().map(|cost| times_power_of_two(*cost, -exponent)).collect();
                let least = bound::of_table(&table, weights);
                let units = [1.0, exponent];
                (descent.run(Table::new(&table, weights), [0.0, least], &in_units(units), &mut history)?, units)
            }
        };
        LowRankCoupling::new(found, [&a, &b], in_units(units), history.into_told())
    }
}

/// What a descent ends with, of probability vectors and costs in their units.
struct Found {
    coupling: Coupling,
    value: f64,
    least: f64,
    status: Status,
    iterations: usize,
}

/// What a descent needs to know.
struct Descent<'a> {
    settings: &'a LowRankTransport,
    weights: [&'a [f64]; 2],
    parallel: Parallel<'a>,
}

impl Descent<'_> {
    /// Mirror descent. All values are those of `costs` plus a fixed one, and at least `least` plus it.
    fn run(
        &self,
        mut costs: impl ComponentCosts,
        [fixed, least]: [f64; 2],
        in_units: &dyn Fn(f64) -> f64,
        history: &mut History<'_>,
    ) -> Result<Found, Error> {
        let (weights, parallel, rank) = (self.weights, self.parallel, self.settings.rank);
        let sizes = weights.map(<[f64]>::len);
        let what = "the factors of a coupling";
        let zeros = || -> Result<[Vec<f64>; 2], Error> {
            let [n, m] = sizes.map(|len| len.saturating_mul(rank));
            Ok([try_zeros(n, what)?, try_zeros(m, what)?])
        };
        let mut trial = Coupling { shares: zeros()?, masses: vec![0.0; rank] };
        let mut gradients = Gradients { sides: zeros()?, components: Vec::new() };
        let mut coupling = self.start(&costs)?;
        gradients.components = costs.component_costs(&coupling, parallel);
        costs.gradients(&coupling, parallel, &mut gradients.sides);
        let mut best = value(&coupling, &gradients.components);
        let (tolerance, most) = (self.settings.limits.tolerance_or(TOLERANCE), self.settings.limits.most);
        let mut multipliers = Multipliers::none(rank);
        let (mut iterations, mut quiet, mut length) = (0, 0, FIRST_STEP);
        let status = loop {
            let told = history.tell(Progress {
                of: Some(most),
                dual: Some(in_units(fixed + least)),
                gap: Some(in_units((best - least).max(0.0))),
                ..Progress::new(Phase::Iterations, iterations)
            });
            let range = gradients.range(rank);
            if !range.is_finite() {
                break Status::NotFinite;
            }
            if told.is_break() {
                break Status::Cancelled;
            }
            if quiet >= QUIET_STEPS || range <= 0.0 {
                break Status::Converged;
            }
            if iterations >= most {
                break Status::IterationLimit;
            }
            if length < FIRST_STEP * SHORTEST_STEP {
                break Status::Stalled;
            }
            iterations += 1;
            step(&coupling, &gradients, length / range, weights, parallel, &mut multipliers, &mut trial);
            let components = costs.component_costs(&trial, parallel);
            let found = value(&trial, &components);
            let fall = best - found;
            quiet = if fall.abs() <= tolerance * best.abs() { quiet + 1 } else { 0 };
            if fall >= 0.0 {
                std::mem::swap(&mut coupling, &mut trial);
                costs.gradients(&coupling, parallel, &mut gradients.sides);
                (gradients.components, best) = (components, found);
                length = (length * GROWTH).min(LONGEST_STEP);
            } else {
                length *= SHRINKAGE;
            }
        };
        Ok(Found { coupling, value: fixed + best, least: fixed + least, status, iterations })
    }

    /// Components around drawn targets: sources go to near ones, and the targets follow in the first step.
    fn start(&self, costs: &impl ComponentCosts) -> Result<Coupling, Error> {
        let (rank, sizes) = (self.settings.rank, self.weights.map(<[f64]>::len));
        let mut coupling = Coupling::product(sizes, rank)?;
        if rank == 1 {
            return Ok(coupling);
        }
        let drawn = self.draw(costs);
        let mut column = try_zeros(sizes[0], "a column of costs")?;
        for (k, &j) in drawn.iter().enumerate() {
            costs.column(j, &mut column);
            coupling.shares[0].iter_mut().skip(k).step_by(rank).zip(&column).for_each(|(share, cost)| *share = *cost);
        }
        let spread: f64 = coupling.shares[0]
            .chunks_exact(rank)
            .zip(self.weights[0])
            .map(|(row, weight)| {
                let least = row.iter().copied().fold(f64::INFINITY, f64::min);
                weight * (row.iter().sum::<f64>() / rank as f64 - least)
            })
            .sum();
        let gamma = if spread > 0.0 { FIRST_STEP / spread } else { 0.0 };
        for row in coupling.shares[0].chunks_exact_mut(rank) {
            let least = row.iter().copied().fold(f64::INFINITY, f64::min);
            row.iter_mut().for_each(|share| *share = (-(gamma * (*share - least)).min(FIRST_STEP * FIRST_STEP)).exp());
        }
        coupling.shares[1].fill(1.0);
        project(1.0, self.weights, self.parallel, &mut Multipliers::none(rank), &mut coupling);
        Ok(coupling)
    }

    /// Targets with mass, each at most once.
    fn draw(&self, costs: &impl ComponentCosts) -> Vec<usize> {
        let mut random = Random::new(self.settings.seed, SEEDS, 0);
        let weights = self.weights[1];
        let (mut left, mut nearest) = (weights.to_vec(), vec![f64::MAX; weights.len()]);
        let (mut drawn, mut chances): (Vec<usize>, _) = (Vec::new(), left.clone());
        while drawn.len() < self.settings.rank {
            let mut at = random.uniform() * chances.iter().sum::<f64>();
            let likely = (0..chances.len()).filter(|&j| chances[j] > 0.0);
            let mut last = None;
            for j in likely {
                last = Some(j);
                at -= chances[j];
                if at < 0.0 {
                    break;
                }
            }
            let Some(j) = last else { break };
            left[j] = 0.0;
            drawn.push(j);
            chances.copy_from_slice(&left);
            if costs.lower_to_squares_from(j, &mut nearest) {
                chances.iter_mut().zip(&nearest).for_each(|(chance, square)| *chance *= square);
                // Where all that is left lies on what was drawn, by weight.
                if chances.iter().all(|chance| *chance <= 0.0) {
                    chances.copy_from_slice(&left);
                }
            }
        }
        // Fewer have mass than were asked for only if their weights vanished beside the others.
        while let (true, Some(&first)) = (drawn.len() < self.settings.rank, drawn.first()) {
            drawn.push(first);
        }
        drawn
    }
}

fn check_rank(rank: usize, weights: [&[f64]; 2]) -> Result<(), Error> {
    let atoms = weights.map(|weights| weights.iter().filter(|weight| **weight > 0.0).count());
    if (1..=atoms[0].min(atoms[1])).contains(&rank) {
        return Ok(());
    }
    let expected = "at least 1, at most the atoms with mass of either side";
    Err(Error::Parameter { name: "rank", value: rank as f64, expected })
}

/// Two clouds around their means, in a unit of length that is a power of two.
struct Centred {
    points: [Vec<f64>; 2],
    dimension: usize,
    /// The binary logarithm of the unit.
    exponent: f64,
    /// The difference of the means.
    shift: Vec<f64>,
}

impl Centred {
    fn of<T: Scalar>(points: [PointsView<'_, T>; 2], weights: [&[f64]; 2]) -> Self {
        let d = points[0].dimension();
        // Differences from one point keep the digits of clouds that are far from the origin.
        let origin: Vec<f64> = points[0].point(0).iter().map(|x| x.to_f64()).collect();
        let mut centred = points.map(|points| -> Vec<f64> {
            points.iter().flat_map(|point| point.iter().zip(&origin).map(|(x, o)| x.to_f64() - o)).collect()
        });
        let largest = centred.iter().flatten().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        let exponent = binary_exponent(largest);
        let mut means = [vec![0.0; d], vec![0.0; d]];
        for ((points, weights), mean) in centred.iter_mut().zip(weights).zip(&mut means) {
            points.iter_mut().for_each(|x| *x = times_power_of_two(*x, -exponent));
            for (point, weight) in points.chunks_exact(d).zip(weights) {
                mean.iter_mut().zip(point).for_each(|(mean, x)| *mean += weight * x);
            }
            for point in points.chunks_exact_mut(d) {
                point.iter_mut().zip(&*mean).for_each(|(x, mean)| *x -= mean);
            }
        }
        let shift = means[0].iter().zip(&means[1]).map(|(x, y)| x - y).collect();
        Self { points: centred, dimension: d, exponent, shift }
    }
}
