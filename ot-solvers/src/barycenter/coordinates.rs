//! Barycentric coordinates of a histogram among others (Bonneel, Peyre, Cuturi 2016):
//!
//! ```text
//! min over lambda in the simplex   loss(p(lambda), q)
//! ```
//!
//! where p(lambda) is the barycenter after a fixed number of iterations. Their reverse mode gives the gradient, and lambda is the softmax
//! of what L-BFGS climbs over.

mod loss;
mod unrolled;

use std::ops::ControlFlow;

use ot_core::{Backend, Device, Error, JointProblem, Phase, Progress, Scalar, Side, Status};

pub use self::loss::CoordinateLoss;
use self::unrolled::Unrolled;
use super::inputs::require_inputs;
use crate::{
    ascent::{ConcaveObjective, Lbfgs},
    limits::{Limits, at_least_one},
};

/// Settings of the search for coordinates.
///
/// Cost of an evaluation: four passes over each kernel for each iteration that is unrolled. Memory: two vectors of each term for
/// each of them.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{Barycenter, BarycentricCoordinates, BregmanProjections};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let points: Vec<f64> = (0..21).map(|i| 0.05 * f64::from(i)).collect();
/// let bump = |centre: f64| points.iter().map(|x| (-80.0 * (x - centre) * (x - centre)).exp()).collect::<Vec<_>>();
/// let [left, right] = [0.3, 0.7].map(|centre| PointCloud::new(&points, 1, bump(centre)).map(PointCloud::normalized));
/// let (left, right, support) = (left?, right?, PointCloud::uniform(&points, 1)?);
/// let between = |weights: &[f64]| {
///     let barycenter = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(0.05));
///     barycenter.inputs(&[&left, &right], weights)?.problem()
/// };
/// // A barycenter finds its own weights.
/// let known = BregmanProjections::new().tolerance(1e-9).solve(&between(&[0.3, 0.7])?)?.measure(0)?;
/// let found = BarycentricCoordinates::new().solve(&between(&[0.5, 0.5])?, &known)?;
/// assert!((found.weights()[0] - 0.3).abs() < 1e-3, "{:?}", found.weights());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BarycentricCoordinates {
    loss: CoordinateLoss,
    unrolled: usize,
    limits: Limits,
}

impl Default for BarycentricCoordinates {
    fn default() -> Self {
        Self::new()
    }
}

impl BarycentricCoordinates {
    /// The squared loss, 50 iterations unrolled, at most 200 steps, to a gradient of 1e-6 of the first loss.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits::new("max_iterations", 200).tolerance(1e-6);
        Self { loss: CoordinateLoss::Squared, unrolled: 50, limits }
    }

    /// What is small where p is near q.
    #[must_use]
    pub fn loss(self, loss: CoordinateLoss) -> Self {
        Self { loss, ..self }
    }

    /// Iterations that make a barycenter.
    #[must_use]
    pub fn unrolled(self, unrolled: usize) -> Self {
        Self { unrolled, ..self }
    }

    /// The sum of the absolute gradient, over the first loss, that counts as converged.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most steps of L-BFGS.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// The coordinates of `histogram`, the masses of q on the support of the barycenter, from the weights of the problem. Those of
    /// zero start at a small share, since no softmax is zero.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, several unknown measures, and terms that are not from a given source to the
    /// unknown measure; [`Error::BatchMismatch`] for a batch; [`Error::Length`] and [`Error::Weight`] for a histogram that does not
    /// fit; [`Error::MassUnderflow`] for masses whose squares are no numbers; [`Error::OutOfMemory`], a failure of the device.
    pub fn solve<D: Device>(&self, problem: &JointProblem<D>, histogram: &[D::Elem]) -> Result<Coordinates<D>, Error> {
        self.limits.check()?;
        at_least_one("unrolled iterations", self.unrolled)?;
        check(problem, histogram)?;
        let backend = problem.terms()[0].problem.backend();
        backend.scope(|| self.search(problem, backend, histogram))
    }

    /// The loss at weights lambda, and its gradient in them as if they were free numbers of sum one.
    ///
    /// # Errors
    /// Those of [`solve`](Self::solve), and [`Error::Length`] for weights of another number than terms.
    pub fn value_and_gradient<D: Device>(
        &self,
        problem: &JointProblem<D>,
        histogram: &[D::Elem],
        weights: &[f64],
    ) -> Result<(f64, Vec<f64>), Error> {
        at_least_one("unrolled iterations", self.unrolled)?;
        check(problem, histogram)?;
        if weights.len() != problem.terms().len() {
            let (expected, found) = (problem.terms().len(), weights.len());
            return Err(Error::Length { what: "weights of the inputs", expected, found });
        }
        Unrolled::new(problem, &self.loss, histogram, self.unrolled)?.value_and_gradient(weights)
    }

    fn search<D: Device>(
        &self,
        problem: &JointProblem<D>,
        backend: &dyn Backend<D>,
        histogram: &[D::Elem],
    ) -> Result<Coordinates<D>, Error> {
        /// The share that a weight of zero starts with.
        const SMALLEST_SHARE: f64 = 1e-3;

        let total: f64 = problem.terms().iter().map(|term| term.weight(0)).sum();
        let start: Vec<D::Elem> = problem
            .terms()
            .iter()
            .map(|term| D::Elem::from_f64((term.weight(0) / total).max(SMALLEST_SHARE).ln()))
            .collect();
        let unrolled = Unrolled::new(problem, &self.loss, histogram, self.unrolled)?;
        let ones = backend.filled(1.0, start.len(), 1)?;
        let mut objective = Objective { unrolled, backend, ones };
        let (first, _) = objective.unrolled.value_and_gradient(&softmax(&widened(&start)))?;
        let unit = if first.is_finite() && first > 0.0 { first } else { 1.0 };
        let tolerance = self.limits.tolerance_or(1e-6) * unit;
        if !tolerance.is_normal() {
            let (mass, least) = (histogram.iter().map(|mass| mass.to_f64()).sum(), f64::MIN_POSITIVE.sqrt());
            return Err(Error::MassUnderflow { column: 0, mass, least, element: D::Elem::NAME });
        }
        let mut history = Vec::new();
        let mut watch = |iteration: usize, values: &[f64], _: &[f64]| {
            let progress = Progress { of: Some(self.limits.most), ..Progress::new(Phase::Iterations, iteration) };
            history.push(Progress { dual: values.first().copied(), ..progress });
            ControlFlow::Continue(())
        };
        let lbfgs = Lbfgs::new().max_iterations(self.limits.most).tolerance(tolerance);
        let start = backend.upload(&start, 1)?;
        let end = lbfgs.maximize(&mut objective, vec![start], 1.0 / unit, &mut watch)?;
        let theta = backend.download(&[&end.point[0]])?.swap_remove(0);
        let weights = softmax(&widened(&theta));
        let (loss, _) = objective.unrolled.value_and_gradient(&weights)?;
        let barycenter = objective.unrolled.barycenter()?;
        Ok(Coordinates { weights, loss, barycenter, status: end.statuses[0], iterations: end.iterations, history })
    }
}

/// Is there one unknown measure, at the target of every term, and a histogram on its support?
fn check<D: Device>(problem: &JointProblem<D>, histogram: &[D::Elem]) -> Result<(), Error> {
    require_inputs(problem)?;
    if !problem.terms().iter().all(|term| term.problem.is_balanced()) {
        return Err(Error::MissingCapability("coordinates among penalised inputs"));
    }
    if problem.columns() != 1 {
        return Err(Error::BatchMismatch { source_columns: problem.columns(), target_columns: 1 });
    }
    let (expected, found) = (problem.terms()[0].problem.marginal(Side::Target).len(), histogram.len());
    if expected != found {
        return Err(Error::Length { what: "the histogram", expected, found });
    }
    ot_core::WeightsView::new(histogram, 1)?.validate()
}

fn widened<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

fn softmax(theta: &[f64]) -> Vec<f64> {
    let largest = theta.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = theta.iter().map(|theta| (theta - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

/// Minus the loss over the exponents of a softmax.
#[derive(Debug)]
struct Objective<'a, D: Device> {
    unrolled: Unrolled<'a, D>,
    backend: &'a dyn Backend<D>,
    ones: D::Vector,
}

impl<D: Device> ConcaveObjective<D> for Objective<'_, D> {
    fn backend(&self) -> &dyn Backend<D> {
        self.backend
    }

    fn columns(&self) -> usize {
        1
    }

    fn weights(&self, _: usize) -> &D::Vector {
        &self.ones
    }

    fn evaluate(
        &mut self,
        point: &[D::Vector],
        gradient: &mut [D::Vector],
        value: &mut D::Reduced,
    ) -> Result<(), Error> {
        let theta = self.backend.download(&[&point[0]])?.swap_remove(0);
        let lambda = softmax(&widened(&theta));
        let (loss, slopes) = self.unrolled.value_and_gradient(&lambda)?;
        let mean: f64 = lambda.iter().zip(&slopes).map(|(lambda, slope)| lambda * slope).sum();
        let slope = |(lambda, slope): (&f64, &f64)| D::Elem::from_f64(-lambda * (slope - mean));
        let slopes: Vec<D::Elem> = lambda.iter().zip(&slopes).map(slope).collect();
        self.backend.write(&slopes, &mut gradient[0])?;
        self.backend.write_reduced(&[-loss], value)
    }
}

/// The coordinates of a histogram, and how near their barycenter comes to it.
#[derive(Clone, Debug)]
pub struct Coordinates<D: Device> {
    weights: Vec<f64>,
    loss: f64,
    barycenter: Vec<D::Elem>,
    status: Status,
    iterations: usize,
    history: Vec<Progress>,
}

impl<D: Device> Coordinates<D> {
    /// lambda, of sum one.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The loss there.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The masses of p(lambda).
    #[must_use]
    pub fn barycenter(&self) -> &[D::Elem] {
        &self.barycenter
    }

    /// Why the search ended. The loss is not convex in lambda: what converged is stationary.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Steps of L-BFGS.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What was seen at each step: minus the loss, as the dual.
    #[must_use]
    pub fn history(&self) -> &[Progress] {
        &self.history
    }
}
