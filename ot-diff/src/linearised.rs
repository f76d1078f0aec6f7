//! The fixed point of Sinkhorn's iteration, linearised: derivatives of what is read off a solution, by the implicit function
//! theorem.
//!
//! ```text
//! f = step_a(s),  s_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)
//! g = step_b(t),  t_j = -epsilon log sum_i a_i exp((f_i - C_ij) / epsilon)
//! ```
//!
//! The derivative of a softmin is a conditional expectation: with T_ij = b_j exp((s_i + g_j - C_ij) / epsilon),
//! whose rows sum to 1, and S_ji = a_i exp((f_i + t_j - C_ij) / epsilon) likewise,
//!
//! ```text
//! ds = rho - T sigma_b dt        sigma_a = step_a'(s)      df = sigma_a ds
//! dt = tau - S sigma_a ds        sigma_b = step_b'(t)      dg = sigma_b dt
//! ```
//!
//! where rho and tau are the changes of the softmins while the potentials rest. Both sides prescribed
//! have sigma = 1, and the system is diag(a) df + P dg = a rho, P^T df + diag(b) dg = b tau (Cuturi, Teboul,
//! Berthet, Niles-Weed, Vert 2020), divided by weights that may be zero. Eliminating ds leaves
//!
//! ```text
//! (1 - S sigma_a T sigma_b) dt = tau - S sigma_a rho,
//! ```
//!
//! self-adjoint and non-negative in L2(omega_b), omega_b = sigma_b P^T 1, and zero on constants if both sides are
//! prescribed: (f + c, g - c) has the same plan.

mod channels;
mod coupling;
mod forward;
mod functional;
mod output;
mod reverse;
mod second_order;

use std::slice;

use ot_core::{Certificate, Device, Dual, Error, Fold, KernelOp, Operand, Program, Real, Side, Solution, Status};

pub use self::{
    forward::Change,
    output::Output,
    reverse::{Cotangent, Seed},
    second_order::HessianProduct,
};
use crate::{
    LinearSolve, LinearSolver, Preconditioner,
    algebra::{Sided, add, pairing, scaled, times, update, vector},
    conjugate_gradient::ConjugateGradient,
    optimum::Optimum,
    space::{Space, WithoutConstants},
    tangent::DeviceTangent,
};

pub(crate) use self::coupling::Coupling;

/// Half the distance, in units of epsilon, over which the slope of a penalty's step must not jump.
const KINK: f64 = 1e-6;

/// A jump of a slope that is none.
const SMOOTH: f64 = 1e-3;

/// A solution with the derivatives of both half-steps there: an owned state, to be kept, sent to another thread, stored
/// behind a foreign-function boundary and asked again and again.
///
/// Three verbs: [`push_forward`](Self::push_forward) from a tangent of the data to the change of every output,
/// [`pull_back`](Self::pull_back) from cotangents of outputs to all data, [`hessian_vector`](Self::hessian_vector) of the
/// optimal value. Each solves one linear system by conjugate gradients, of two products with the plan a step, and tells
/// its residual, steps and status.
///
/// When to use which mode: forward for few data and many outputs, reverse for few outputs and many data.
/// [`value_and_gradient`](crate::value_and_gradient) needs no system where the optimal value itself is differentiated;
/// [`Unrolled`](crate::Unrolled) differentiates a given number of iterations. A solve that stopped early is linearised as
/// if it had converged: the derivative is off by a multiple of the [`marginal_error`](Self::marginal_error).
///
/// ```
/// use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::{Gradient, Linearised, Output, Tangent};
/// use ot_solvers::transport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let source = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0], 2)?;
/// let target = PointCloud::uniform(vec![0.0, 3.0, 1.0, 3.0], 2)?;
/// let solution = transport(&backend, &source, &target, &SqEuclidean, Epsilon::Absolute(0.5))?;
/// let mut linearised = Linearised::new(&solution)?;
///
/// // The transport cost <P, C>, as a tangent moves the first source point up, and as its gradient says.
/// let tangent = Tangent::new().points(Side::Source, vec![0.0, 1.0, 0.0, 0.0]);
/// let forward = linearised.push_forward(&tangent)?.of(&Output::TransportCost)?[0];
/// let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])])?;
/// assert!((cotangent.along(&tangent)? - forward).abs() < 1e-9 && (forward + 3.0).abs() < 1e-6);
/// assert!(cotangent.solve().status.is_converged());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Linearised<D: Device> {
    pub(crate) optimum: Optimum<D>,
    pub(crate) kernel: Box<dyn KernelOp<D>>,
    /// sigma.
    slopes: Sided<D::Vector>,
    /// d step / d epsilon at a softmin that rests.
    drifts: Sided<D::Vector>,
    /// omega = sigma times the marginal of the plan.
    pub(crate) inner_weights: Sided<D::Vector>,
    solver: LinearSolver,
    preconditioner: Option<Box<dyn Preconditioner<D>>>,
    /// The solutions of the last systems, forward and reverse.
    last: [Option<D::Vector>; 2],
}

/// Forward or reverse: which of the last solutions a solve starts from.
#[derive(Copy, Clone, Debug)]
enum Mode {
    Forward,
    Reverse,
}

impl<D: Device> Linearised<D> {
    /// Linearises the fixed point at a solution. Costs two softmins.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for another regularizer than entropy, whose sums under h*'' the formulas here do not
    /// have; [`Error::Parameter`] at a potential where the step of a penalty has a kink (total variation, range), and
    /// potentials no derivative; those of [`Geometry::bind`](ot_core::Geometry::bind).
    pub fn new(solution: &Solution<D>) -> Result<Self, Error> {
        let (optimum, kernel) = Optimum::new(solution)?;
        Self::of(optimum, kernel)
    }

    /// Linearises the fixed point at an optimum. Costs nothing but formulas of vectors.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub(crate) fn of(optimum: Optimum<D>, kernel: Box<dyn KernelOp<D>>) -> Result<Self, Error> {
        let frame = &optimum.frame;
        let backend = frame.backend();
        let slopes = Sided::try_new(|side| step_derivative(&optimum, side, [1.0, 0.0], 0.0))?;
        let drifts = Sided::try_new(|side| step_derivative(&optimum, side, [0.0, 1.0], 0.0))?;
        for side in Side::BOTH {
            check_kinks(&optimum, side)?;
        }
        let inner_weights = Sided::try_new(|side| times(backend, &slopes[side], &optimum.marginals[side]))?;
        let (solver, preconditioner, last) = (LinearSolver::new(), None, [None, None]);
        Ok(Self { optimum, kernel, slopes, drifts, inner_weights, solver, preconditioner, last })
    }

    /// Settings of the linear solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range.
    pub fn with_solver(self, solver: LinearSolver) -> Result<Self, Error> {
        solver.check()?;
        Ok(Self { solver, ..self })
    }

    /// A preconditioner of the linear solves.
    #[must_use]
    pub fn with_preconditioner(self, preconditioner: Box<dyn Preconditioner<D>>) -> Self {
        Self { preconditioner: Some(preconditioner), ..self }
    }

    /// Starts solves from the last ones of the linearisation of a problem nearby: along the path of an optimisation, where
    /// one system resembles the next. [`LinearSolver::warm`] is switched on. Of another shape, it is ignored.
    #[must_use]
    pub fn warm_from(mut self, previous: Self) -> Self {
        let shape = self.optimum.frame.shape(Side::Target);
        let fits = |vector: &D::Vector| self.optimum.frame.backend().shape(vector) == shape;
        self.last = previous.last.map(|last| last.filter(|vector| fits(vector)));
        Self { solver: self.solver.warm(true), ..self }
    }

    /// omega_b = sigma_b P^T 1, the weights of the inner product in which the Schur complement is self-adjoint.
    #[must_use]
    pub fn inner_weights(&self) -> &D::Vector {
        &self.inner_weights.target
    }

    /// Number of atoms of a side.
    #[must_use]
    pub fn atoms(&self, side: Side) -> usize {
        self.optimum.frame.len(side)
    }

    /// What was proven of each column of the solution.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.optimum.certificates
    }

    /// The largest marginal error of all columns: how far the solution is from the fixed point that is linearised.
    #[must_use]
    pub fn marginal_error(&self) -> f64 {
        self.optimum.certificates.iter().map(|certificate| certificate.marginal_error).fold(0.0, f64::max)
    }

    /// Why the solver of the solution stopped.
    #[must_use]
    pub fn status(&self) -> Status {
        self.optimum.status
    }

    /// Solves ds + T sigma_b dt = rho, dt + S sigma_a ds = tau. Up to a constant, (1, -1), if both marginals are
    /// prescribed.
    fn solve(&mut self, explicit: Sided<D::Vector>, mode: Mode) -> Result<(Sided<D::Vector>, LinearSolve), Error> {
        let Self { optimum, kernel, slopes, inner_weights, solver, preconditioner, last, .. } = self;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let mut coupling = Coupling::new(optimum, kernel.as_mut(), slopes, inner_weights)?;
        let subtract = Program::record(|[x, y]| [x - y])?;

        let Sided { source: rho, target: tau } = explicit;
        let [mut ds, mut response] = [frame.unwritten(Side::Source)?, frame.unwritten(Side::Target)?];
        coupling.respond(Side::Target, &rho, &mut response)?;
        let reduced =
            vector(backend, frame.shape(Side::Target), [&tau, &response].map(Operand::Vector), |[x, y]| x - y)?;
        let without_constants = WithoutConstants { backend, weights: &inner_weights.target };
        let conjugate_gradient = ConjugateGradient {
            space: Space {
                backend,
                weights: &inner_weights.target,
                parts: &[],
                projection: if frame.problem.is_balanced() { Some(&without_constants) } else { None },
            },
            settings: solver,
            preconditioner: preconditioner.as_mut().map(|boxed| &mut **boxed as &mut dyn Preconditioner<D>),
        };
        let start = last[mode as usize].as_ref().filter(|_| solver.warm).map(slice::from_ref);
        let (mut solution, report) = conjugate_gradient
            .solve(slice::from_ref(&reduced), start, |dt, out| coupling.complement(&dt[0], &mut out[0]))?;
        let mut dt = solution.swap_remove(0);
        coupling.respond(Side::Source, &dt, &mut ds)?;
        backend.map(&subtract, &[Operand::Vector(&rho), Operand::Output(0)], &mut [&mut ds])?;
        if !frame.problem.is_balanced() {
            // Where sigma is 0 the inner product sees nothing: these softmins follow from the others.
            coupling.respond(Side::Target, &ds, &mut dt)?;
            backend.map(&subtract, &[Operand::Vector(&tau), Operand::Output(0)], &mut [&mut dt])?;
        }
        last[mode as usize] = match solver.warm {
            true => Some(backend.copied(&dt)?),
            false => None,
        };
        Ok((Sided { source: ds, target: dt }, report))
    }

    /// d step / dtheta of the parameters of the penalty of one side, along a tangent; `None` if they rest.
    fn penalty_drift(&self, side: Side, tangent: &[f64]) -> Result<Option<D::Vector>, Error> {
        if tangent.iter().all(|value| *value == 0.0) {
            return Ok(None);
        }
        let (frame, softmin) = (&self.optimum.frame, &self.optimum.softmins[side]);
        let mut total = frame.filled(side, 0.0)?;
        for (index, &value) in tangent.iter().enumerate() {
            let step = frame.problem.marginal(side).penalty().parameter_derivative(index)?.step;
            let operands = [Operand::Vector(softmin), Operand::Constant(frame.epsilon())];
            let mut slope = frame.unwritten(side)?;
            frame.backend().map(&step, &operands, &mut [&mut slope])?;
            let operands = [Operand::Vector(&slope), Operand::Constant(value)];
            update(frame.backend(), &mut total, operands, |out, [slope, value]| out + slope * value)?;
        }
        Ok(Some(total))
    }

    /// <weights, values> of one side.
    fn weighted(&self, side: Side, values: &D::Vector) -> Result<D::Reduced, Error> {
        let frame = &self.optimum.frame;
        pairing(frame.backend(), frame.shape(side), frame.weights(side), values)
    }

    /// How the steps of both sides move while softmins rest.
    pub(crate) fn drift(&self, tangent: &DeviceTangent<D>) -> Result<Sided<D::Vector>, Error> {
        let frame = &self.optimum.frame;
        Sided::try_new(|side| {
            let mut drift = scaled(frame.backend(), &self.drifts[side], tangent.epsilon)?;
            if let Some(of_penalty) = self.penalty_drift(side, &tangent.penalties[side])? {
                add(frame.backend(), &mut drift, &of_penalty)?;
            }
            Ok(drift)
        })
    }
}

/// The derivative of the step of one side along (ds, d epsilon), at a softmin moved by so many epsilons.
fn step_derivative<D: Device>(optimum: &Optimum<D>, side: Side, by: [f64; 2], moved: f64) -> Result<D::Vector, Error> {
    let frame = &optimum.frame;
    let step = frame.problem.marginal(side).penalty().step();
    let derivative = Program::try_record(|[softmin, epsilon, moved]| {
        let [ds, depsilon] = by.map(Real::constant);
        let [stepped] = step.call([Dual::new(softmin + moved * epsilon, ds), Dual::new(epsilon, depsilon)])?;
        Ok([stepped.derivative])
    })?;
    let mut out = frame.unwritten(side)?;
    let at = [Operand::Vector(&optimum.softmins[side]), Operand::Constant(frame.epsilon()), Operand::Constant(moved)];
    frame.backend().map(&derivative, &at, &mut [&mut out])?;
    Ok(out)
}

/// Refuses potentials at which the step of a penalty has a kink.
fn check_kinks<D: Device>(optimum: &Optimum<D>, side: Side) -> Result<(), Error> {
    let frame = &optimum.frame;
    if frame.problem.marginal(side).penalty().kind() == ot_core::PenaltyKind::Balanced {
        return Ok(());
    }
    let [below, above] = [-KINK, KINK].map(|moved| step_derivative(optimum, side, [1.0, 0.0], moved));
    let (below, above) = (below?, above?);
    let jump = Program::record(|[below, above]| [(above - below).abs()])?;
    let mut largest = frame.backend().alloc_reduced(frame.columns())?;
    let operands = [Operand::Vector(&below), Operand::Vector(&above)];
    frame.backend().reduce(&jump, Fold::Max, frame.len(side), &operands, &mut [&mut largest])?;
    let largest = frame.backend().read(&[&largest])?[0].iter().fold(0.0_f64, |a, &b| a.max(b));
    match largest > SMOOTH {
        true => Err(Error::Parameter {
            name: "the jump of the slope of a penalty's step at an atom",
            value: largest,
            expected: "zero: at a kink potentials have no derivative",
        }),
        false => Ok(()),
    }
}

/// The sign with which (lambda, -lambda) moves the potential of a side.
fn sign(side: Side) -> f64 {
    side.of([1.0, -1.0])
}
