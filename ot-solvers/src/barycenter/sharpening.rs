//! Barycenters of bounded entropy (Solomon et al. 2015): sharper than the entropy of the plans leaves them.
//!
//! ```text
//! min over p   sum_k lambda_k min_P <P, C_k> + epsilon KL(P | a_k m^T)     with   -sum_j p_j log p_j <= bound
//! ```
//!
//! for p relative to its mass. The set of such p is not convex. After each projection whose mean p' has more entropy than
//! allowed, p is the power p'^beta of mass one that has just as much: the nearest in the divergence of the projection.

mod iteration;
mod power;

use ot_core::{Device, End, Error, JointProblem, JointSolution, Observer, Scalar, Side};

use self::{iteration::Iteration, power::Power};
use super::{group::Group, inputs::require_inputs, unknown::Unknown};
use crate::{entropic::Start, history::History, limits::Limits};

/// How much entropy a barycenter may have.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum EntropyBound {
    /// No more than the input that has most: for inputs on the support of the barycenter.
    #[default]
    OfInputs,
    /// These numbers, one that serves all columns or one for each, at least 0.
    At(Vec<f64>),
}

/// Settings of the barycenter of bounded entropy: iterative Bregman projections, each followed by one onto the bound.
///
/// Steps are not over-relaxed, and there is no dual to guard them: the bound is not convex. What is returned is a fixed point
/// if it converged, each of whose plans has the marginals a_k and p. The certificate is that of the transports to p: `primal` and
/// `dual` bound the objective at p, and nothing tells how much better another p of this entropy is.
///
/// Where the bound takes much away, that is where epsilon is large beside the shapes, many iterations may lead to fixed points that
/// have lost the symmetries of the inputs. From a converged barycenter ([`BoundedEntropyRun::start`]) some ten iterations sharpen it;
/// [`max_iterations`](Self::max_iterations) stops them.
///
/// Cost: as [`BregmanProjections`](super::BregmanProjections), and six sums over p an iteration.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{Barycenter, BoundedEntropy, BregmanProjections};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let points: Vec<f64> = (0..31).map(f64::from).collect();
/// let block = |first: usize| (0..31).map(|i| f64::from(u8::from((first..first + 5).contains(&i)))).collect::<Vec<_>>();
/// let [left, right] = [4, 20].map(|first| PointCloud::new(&points, 1, block(first)).map(PointCloud::normalized));
/// let (left, right, support) = (left?, right?, PointCloud::uniform(&points, 1)?);
/// let problem = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(8.0))
///     .inputs(&[&left, &right], &[0.5, 0.5])?
///     .problem()?;
/// let entropy = |p: &[f64]| -p.iter().map(|p| if *p > 0.0 { p * p.ln() } else { 0.0 }).sum::<f64>();
/// let blurred = BregmanProjections::new().solve(&problem)?.measure(0)?;
/// let sharp = BoundedEntropy::new().solve(&problem)?.measure(0)?;
/// assert!(entropy(&blurred) > 2.0 && (entropy(&sharp) - 5_f64.ln()).abs() < 1e-6);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BoundedEntropy {
    limits: Limits,
    bound: EntropyBound,
}

impl Default for BoundedEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl BoundedEntropy {
    /// The bound of the inputs, tolerance 1e-6 in f64 and 1e-4 in f32, at most 1000 iterations, a check every 5.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits::new("max_iterations", 1000).check_interval(5);
        Self { limits, bound: EntropyBound::OfInputs }
    }

    /// How much entropy p may have.
    #[must_use]
    pub fn bound(self, bound: EntropyBound) -> Self {
        Self { bound, ..self }
    }

    /// The marginal error that counts as converged, as for [`BregmanProjections`](super::BregmanProjections).
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Solves a problem of one unknown measure.
    ///
    /// # Errors
    /// Those of [`BoundedEntropyRun::solve`].
    pub fn solve<D: Device>(&self, problem: &JointProblem<D>) -> Result<JointSolution<D>, Error> {
        self.run(problem).solve()
    }

    /// A run to which a start and an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(&'a self, problem: &'a JointProblem<D>) -> BoundedEntropyRun<'a, D> {
        BoundedEntropyRun { settings: self, problem, start: None, observer: None }
    }
}

/// One run of [`BoundedEntropy`] on one problem.
pub struct BoundedEntropyRun<'a, D: Device> {
    settings: &'a BoundedEntropy,
    problem: &'a JointProblem<D>,
    start: Option<&'a JointSolution<D>>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> BoundedEntropyRun<'a, D> {
    /// The solution to start from: that without a bound, say.
    #[must_use]
    pub fn start(self, solution: &'a JointSolution<D>) -> Self {
        Self { start: Some(solution), ..self }
    }

    /// The observer of every check; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, for several unknown measures, for terms that are not from a given source to
    /// the unknown measure, and for a bound that is no number >= 0; [`Error::Length`] for a start that does not fit, for bounds of another number than columns, and for
    /// [`EntropyBound::OfInputs`] where inputs have other supports; [`Error::MissingCapability`] where all inputs are penalised;
    /// [`Error::OutOfMemory`], a failure of the device.
    pub fn solve(self) -> Result<JointSolution<D>, Error> {
        let Self { settings, problem, start, observer } = self;
        settings.limits.check()?;
        require_inputs(problem)?;
        if !problem.has_balanced_end() {
            return Err(Error::MissingCapability("bound of the entropy of a measure whose mass no input prescribes"));
        }
        let bounds = bounds(problem, &settings.bound)?;
        let backend = problem.terms()[0].problem.backend();
        backend.scope(|| {
            let groups = Group::of_problem(problem, |term| {
                let own = start.and_then(|start| start.potentials().get(term));
                own.map_or(Start::Zero, |potentials| Start::Warm(potentials))
            })?;
            let unknown = Unknown::new(problem, &groups, 0)?;
            let power = Power::new(backend, problem.unknown()[0], &bounds)?;
            let limits = settings.limits;
            Iteration { limits, problem, backend, groups, unknown, power }.run(History::new(observer))
        })
    }
}

/// The bound of each column.
fn bounds<D: Device>(problem: &JointProblem<D>, bound: &EntropyBound) -> Result<Vec<f64>, Error> {
    let columns = problem.columns();
    match bound {
        EntropyBound::At(bounds) => {
            if bounds.len() != 1 && bounds.len() != columns {
                return Err(Error::Length { what: "bounds of entropy", expected: columns, found: bounds.len() });
            }
            if let Some(&value) = bounds.iter().find(|bound| !(bound.is_finite() && **bound >= 0.0)) {
                return Err(Error::Parameter { name: "bound of entropy", value, expected: "a finite number >= 0" });
            }
            Ok((0..columns).map(|column| bounds[column.min(bounds.len() - 1)]).collect())
        }
        EntropyBound::OfInputs => {
            let mut largest = vec![0.0_f64; columns];
            for term in problem.terms() {
                for side in Side::BOTH.into_iter().filter(|side| side.of(term.ends) == End::Given) {
                    let marginal = term.problem.marginal(side);
                    let (expected, found) = (problem.unknown()[0], marginal.len());
                    if expected != found {
                        return Err(Error::Length { what: "an input whose entropy is the bound", expected, found });
                    }
                    let weights = term.problem.backend().download(&[marginal.weights()])?.swap_remove(0);
                    let histograms: Vec<_> = weights.chunks_exact(found).collect();
                    for (column, largest) in largest.iter_mut().enumerate() {
                        let (own, mass) = (histograms[column.min(histograms.len() - 1)], marginal.mass(column));
                        let parts = own.iter().map(|weight| weight.to_f64() / mass).filter(|part| *part > 0.0);
                        // Nothing is asked by an input without weight.
                        if term.weight(column) > 0.0 {
                            *largest = largest.max(-parts.map(|part| part * part.ln()).sum::<f64>());
                        }
                    }
                }
            }
            Ok(largest)
        }
    }
}
