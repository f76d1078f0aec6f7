//! Derivatives of the barycenter of measures on a fixed support, by the implicit function theorem.
//!
//! At the fixed point of iterative Bregman projections, with weights lambda of sum one,
//!
//! ```text
//! f_k = step_k(s~_k)     s~_k the softmin of g_k under m       g_k = s_k - s     s = sum_k lambda_k s_k
//! s_k the softmin of f_k under a_k                             p = m exp(-s / epsilon)
//! ```
//!
//! Let r_k be the change of s_k while g_k rests, and A_k = S_k sigma_k T_k the response of s_k to g_k by way of f_k (see
//! [`Linearised`]). Then
//!
//! ```text
//! (1 - A_k) dg_k + ds = r_k        sum_k lambda_k dg_k = -sum_k dlambda_k g_k
//! ```
//!
//! Each A_k is self-adjoint in L2(p). So the system is self-adjoint and non-negative on the tuples with sum_k lambda_k h_k = 0, in
//! sum_k lambda_k <h_k, h'_k>_p, and ds is the multiplier of the constraint. It is zero on constants c_k with sum_k lambda_k c_k = 0
//! where the inputs are prescribed.
//!
//! Other barycenters have g_k = s_k + l with another l = epsilon log(p / m), and (1 - A_k) dg_k = r_k + dl: see
//! [`sharpened`] and [`debiased`].

mod debiased;
mod forward;
mod reverse;
mod sharpened;
mod system;

use std::sync::Arc;

use ot_core::{
    Device, End, Error, JointProblem, JointSolution, JointTerm, Operand, Potentials, Side, Solution, Status,
};
use ot_solvers::DebiasedSolution;

pub use self::{
    forward::{BarycenterChange, BarycenterTangent},
    reverse::BarycenterCotangent,
};
use crate::{
    LinearSolver, Linearised,
    algebra::{host, vector},
    optimum::Optimum,
};
use sharpened::Sharpening;

/// A barycenter p with the derivatives of all its half-steps there: an owned state, like [`Linearised`].
///
/// | barycenter | made by | its derivative |
/// |---|---|---|
/// | of [`BregmanProjections`](ot_solvers::BregmanProjections) | [`new`](Self::new) | that of a strictly convex problem |
/// | of [`BoundedEntropy`](ot_solvers::BoundedEntropy) | [`new`](Self::new) | along measures whose entropy is the bound, which rests unless it is [named](BarycenterTangent::entropy_bound); that of the barycenter without a bound where the bound does not bind |
/// | of [`DebiasedBarycenter`](ot_solvers::DebiasedBarycenter) | [`debiased`](Self::debiased) | at atoms with mass; as ill-conditioned as p itself, where epsilon blurs more than neighbouring atoms are apart |
///
/// [`push_forward`](Self::push_forward) takes a tangent of weights lambda, inputs, supports, costs and epsilon to the change of p;
/// [`pull_back`](Self::pull_back) takes the gradient of a function of p to gradients in all of these. Each solves one linear system by
/// conjugate gradients, of two products with the plan of each input a step, and tells its residual, steps and status. The systems of
/// sharpened and debiased barycenters are symmetric and indefinite, and solved by minimal residuals.
///
/// When to use it: for converged barycenters. A given number of iterations is differentiated in lambda by
/// [`BarycentricCoordinates`](ot_solvers::BarycentricCoordinates::value_and_gradient). A solve that stopped early is linearised as if it
/// had converged.
///
/// Source of the iteration: Benamou, Carlier, Cuturi, Nenna, Peyre 2015; of its reverse mode for a fixed number of steps: Bonneel,
/// Peyre, Cuturi 2016.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::{BarycenterTangent, LinearisedBarycenter};
/// use ot_solvers::{Barycenter, BregmanProjections};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let points: Vec<f64> = (0..21).map(|i| 0.05 * f64::from(i)).collect();
/// let bump = |centre: f64| points.iter().map(|x| (-80.0 * (x - centre) * (x - centre)).exp()).collect::<Vec<_>>();
/// let [left, right] = [0.3, 0.7].map(|centre| PointCloud::new(&points, 1, bump(centre)).map(PointCloud::normalized));
/// let (left, right, support) = (left?, right?, PointCloud::uniform(&points, 1)?);
/// let problem = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(0.05))
///     .inputs(&[&left, &right], &[0.5, 0.5])?
///     .problem()?;
/// let solution = BregmanProjections::new().tolerance(1e-10).solve(&problem)?;
///
/// // The mean of p moves to the right as the right input gains weight.
/// let mut barycenter = LinearisedBarycenter::new(&solution)?;
/// let change = barycenter.push_forward(&BarycenterTangent::new().lambda(vec![-1.0, 1.0]))?;
/// let moved: f64 = change.measure()?.iter().zip(&points).map(|(change, x)| change * x).sum();
/// let mut gradient = barycenter.pull_back(&points)?;
/// let lambda = gradient.lambda();
/// assert!((lambda[1] - lambda[0] - moved).abs() < 1e-9 && (moved - 0.4).abs() < 0.05);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct LinearisedBarycenter<D: Device> {
    problem: JointProblem<D>,
    terms: Vec<Linearised<D>>,
    /// lambda of each term over their sum, for each column.
    parts: Vec<Vec<f64>>,
    /// The same on the device.
    parts_on_device: Vec<D::Reduced>,
    /// The sums of lambda, for each column.
    totals: Vec<f64>,
    /// l = epsilon log(p / m).
    logarithm: D::Vector,
    form: Form<D>,
    /// p, as the solution tells it.
    measure: Arc<D::Vector>,
    solver: LinearSolver,
    status: Status,
}

/// What makes p of the softmins.
#[derive(Debug)]
enum Form<D: Device> {
    /// l = -s.
    Mean,
    /// l = -beta s + (beta - 1) epsilon log m + c, of a given entropy.
    Sharpened(Sharpening<D>),
    /// l = h - s, with the potential h of the transport of p to itself.
    Debiased(Box<Linearised<D>>),
}

/// A barycenter, and the state that pulls gradients of functions of it back to its data: [`value_and_pullback`](crate::value_and_pullback)
/// of barycenters. The masses are those of the support, column after column.
///
/// # Errors
/// Those of [`LinearisedBarycenter::new`].
pub fn barycenter_and_pullback<D: Device>(
    solution: &JointSolution<D>,
) -> Result<(Vec<D::Elem>, LinearisedBarycenter<D>), Error> {
    let barycenter = LinearisedBarycenter::new(solution)?;
    Ok((barycenter.measure()?, barycenter))
}

/// [`barycenter_and_pullback`] of a debiased barycenter.
///
/// # Errors
/// Those of [`LinearisedBarycenter::debiased`].
pub fn debiased_barycenter_and_pullback<D: Device>(
    solution: &DebiasedSolution<D>,
) -> Result<(Vec<D::Elem>, LinearisedBarycenter<D>), Error> {
    Ok((solution.measure().to_vec(), LinearisedBarycenter::debiased(solution)?))
}

impl<D: Device> LinearisedBarycenter<D> {
    /// Linearises the fixed point at a barycenter, sharpened or not. Costs two softmins for each input.
    ///
    /// Where the entropy of a barycenter just reaches its bound ([`powers`](JointSolution::powers) of 1), the derivative is that
    /// without a bound, and one-sided.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a joint problem of another form than that of
    /// [`Barycenter`](ot_solvers::Barycenter): one unknown measure, as the target of every term; those of [`Linearised::new`].
    pub fn new(solution: &JointSolution<D>) -> Result<Self, Error> {
        let problem = solution.problem();
        if !problem.terms().iter().all(|term| term.ends == [End::Given, End::Unknown(0)]) {
            return Err(Error::MissingCapability("derivatives of several unknown measures"));
        }
        let status = solution.status();
        let term = |(term, potentials): (&JointTerm<D>, &Arc<_>)| {
            let (optimum, kernel) = Optimum::at(&term.problem, Arc::clone(potentials), Vec::new(), status)?;
            Linearised::of(optimum, kernel)
        };
        let terms = problem.terms().iter().zip(solution.potentials()).map(term).collect::<Result<Vec<_>, Error>>()?;
        let measure = Arc::clone(&solution.measures()[0]);
        let mut barycenter = Self::of_terms(problem.clone(), terms, measure, status)?;
        if let Some(powers) = solution.powers().filter(|powers| powers.iter().any(|power| *power > 1.0)) {
            barycenter.form = Form::Sharpened(Sharpening::new(&barycenter, powers)?);
        }
        Ok(barycenter)
    }

    /// Linearises the optimality of a debiased barycenter. Costs four softmins for each input, and for p itself.
    ///
    /// The derivative is as good as the potentials of the transports of p are: solve them to an
    /// [`inner_tolerance`](ot_solvers::DebiasedBarycenter::inner_tolerance) well below what is asked of it.
    ///
    /// ```
    /// use ot_core::{Epsilon, PointCloud, SqEuclidean};
    /// use ot_cpu::CpuBackend;
    /// use ot_diff::LinearisedBarycenter;
    /// use ot_solvers::{Barycenter, DebiasedBarycenter};
    ///
    /// let backend = CpuBackend::<f64>::new(1)?;
    /// let points: Vec<f64> = (0..21).map(|i| 0.1 * f64::from(i)).collect();
    /// let bump = |centre: f64| points.iter().map(|x| (-20.0 * (x - centre) * (x - centre)).exp()).collect::<Vec<_>>();
    /// let [left, right] = [0.7, 1.3].map(|centre| PointCloud::new(&points, 1, bump(centre)).map(PointCloud::normalized));
    /// let (left, right, support) = (left?, right?, PointCloud::uniform(&points, 1)?);
    /// let problem = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(0.05))
    ///     .inputs(&[&left, &right], &[0.5, 0.5])?
    ///     .problem()?;
    /// let solution = DebiasedBarycenter::new().inner_tolerance(1e-9).solve(&problem)?;
    ///
    /// // The mean of p moves from one centre to the other.
    /// let mut barycenter = LinearisedBarycenter::debiased(&solution)?;
    /// let lambda = barycenter.pull_back(&points)?.lambda();
    /// assert!((lambda[1] - lambda[0] - 0.6).abs() < 1e-3);
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a solution that is not finite; those of [`Linearised::new`].
    pub fn debiased(solution: &DebiasedSolution<D>) -> Result<Self, Error> {
        let Some(own) = solution.own_transport() else {
            return Err(Error::MissingCapability("derivatives of a barycenter that is not finite"));
        };
        let (problem, status) = (solution.problem(), solution.status());
        let terms = solution.transports().iter().map(settled).collect::<Result<Vec<_>, Error>>()?;
        let backend = problem.terms()[0].problem.backend();
        let measure = Arc::new(backend.upload(solution.measure(), problem.columns())?);
        let barycenter = Self::of_terms(problem.clone(), terms, measure, status)?;
        Ok(Self { form: Form::Debiased(Box::new(settled(own)?)), ..barycenter })
    }

    /// That of given terms, with p = m exp(-s / epsilon) for want of something else.
    fn of_terms(
        problem: JointProblem<D>,
        terms: Vec<Linearised<D>>,
        measure: Arc<D::Vector>,
        status: Status,
    ) -> Result<Self, Error> {
        let columns = problem.columns();
        let totals: Vec<f64> =
            (0..columns).map(|column| problem.terms().iter().map(|term| term.weight(column)).sum()).collect();
        let part = |term: &JointTerm<D>| (0..columns).map(|column| term.weight(column) / totals[column]).collect();
        let parts: Vec<Vec<f64>> = problem.terms().iter().map(part).collect();
        let first = &terms[0].optimum;
        let backend = first.frame.backend();
        let operands = [first.potential(Side::Target), &first.softmins.target].map(Operand::Vector);
        Ok(Self {
            parts_on_device: parts.iter().map(|part| backend.upload_reduced(part)).collect::<Result<_, _>>()?,
            logarithm: vector(backend, first.frame.shape(Side::Target), operands, |[g, t]| g - t)?,
            form: Form::Mean,
            solver: LinearSolver::new(),
            problem,
            measure,
            parts,
            totals,
            terms,
            status,
        })
    }

    /// Settings of the linear solves. Each starts from zero.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range.
    pub fn with_solver(self, solver: LinearSolver) -> Result<Self, Error> {
        solver.check()?;
        Ok(Self { solver, ..self })
    }

    /// The masses of the barycenter, column after column.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn measure(&self) -> Result<Vec<D::Elem>, Error> {
        host(self.backend(), &self.measure)
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.terms.len()
    }

    /// Number of atoms of the support.
    #[must_use]
    pub fn atoms(&self) -> usize {
        self.terms[0].atoms(Side::Target)
    }

    /// Is it a debiased one?
    fn is_debiased(&self) -> bool {
        matches!(self.form, Form::Debiased(_))
    }

    /// Is each input prescribed?
    fn prescribed(&self) -> impl Iterator<Item = bool> {
        self.terms.iter().map(|term| term.optimum.frame.problem.is_balanced())
    }

    /// Why the solver of the barycenter stopped.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }
}

/// A transport to p, at the potential of p that has the softmin of the other.
fn settled<D: Device>(solution: &Solution<D>) -> Result<Linearised<D>, Error> {
    let (found, _) = Optimum::new(solution)?;
    let potentials = Potentials {
        source: found.frame.backend().copied(found.potential(Side::Source))?,
        target: found.softmins.target,
        epsilon: found.potentials.epsilon,
    };
    let (optimum, kernel) = Optimum::at(solution.problem(), Arc::new(potentials), Vec::new(), solution.status())?;
    Linearised::of(optimum, kernel)
}
