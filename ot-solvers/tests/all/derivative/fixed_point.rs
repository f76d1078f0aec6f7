//! The fixed point of Sinkhorn's iteration, linearised.
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

use ot_core::{
    ActiveColumns, Backend, Balanced, CTransform, CostParameter, CostTangent, Device, Dual, Error, KernelOp, Operand,
    PairWeight, PlanSide, PlanView, Potentials, Problem, Program, Real, RecordedPenalty, Side, WeightedPlan,
};

use super::{
    algebra::{Sided, pairing, sum, sum_of_columns, update, vector},
    conjugate_gradient::ConjugateGradient,
};

/// A direction in which the parameters of the cost move.
pub type CostDirection<D> = [(CostParameter, <D as Device>::Vector)];

/// A direction in which the data of a problem move.
#[derive(Debug)]
pub struct Tangent<'a, D: Device> {
    /// Parameters of the cost and how each moves.
    pub cost: &'a CostDirection<D>,
    /// da and db. Sums of da and db must be equal where both marginals are prescribed.
    pub weights: Sided<Option<&'a D::Vector>>,
    /// d epsilon.
    pub epsilon: f64,
}

impl<D: Device> Default for Tangent<'_, D> {
    fn default() -> Self {
        Self { cost: &[], weights: Sided { source: None, target: None }, epsilon: 0.0 }
    }
}

/// A converged pair of potentials and the derivatives of both steps there.
#[derive(Debug)]
pub struct FixedPoint<'a, D: Device> {
    pub(super) problem: &'a Problem<D>,
    pub(super) potentials: &'a Potentials<D>,
    /// The direction in which the cost grows in proportion to itself, dC = C: what a derivative in epsilon needs,
    /// because potentials are homogeneous, f(lambda C, lambda epsilon) = lambda f(C, epsilon).
    pub(super) scale: [(CostParameter, D::Vector); 1],
    /// s and t.
    pub(super) softmins: Sided<D::Vector>,
    /// sigma.
    pub(super) slopes: Sided<D::Vector>,
    /// d step / d epsilon at a softmin that rests.
    pub(super) drifts: Sided<D::Vector>,
    /// omega = sigma times the marginal of the plan.
    pub(super) inner_weights: Sided<D::Vector>,
    /// Weights of one, and their logarithms.
    unit: Sided<[D::Vector; 2]>,
    product: Program,
}

impl<'a, D: Device> FixedPoint<'a, D> {
    /// Linearises the fixed point at potentials that solve `problem`, with a kernel bound to its epsilon.
    pub fn linearise<K: KernelOp<D> + ?Sized>(
        kernel: &mut K,
        problem: &'a Problem<D>,
        potentials: &'a Potentials<D>,
    ) -> Result<Self, Error> {
        let backend = problem.backend();
        let scale = [(CostParameter::Scale, backend.filled(1.0, 1, 1)?)];
        kernel.recenter(problem.view(potentials))?;
        let active = ActiveColumns::all(problem.columns());
        // Under a prescribed marginal, a c-transform is a softmin.
        let prescribed = RecordedPenalty::new(&Balanced)?;
        let softmins = Sided::try_new(|side| {
            let mut out = unwritten(problem, side)?;
            let plan = problem.view(potentials);
            let request = CTransform { side, plan, penalty: &prescribed, active: &active };
            kernel.c_transform(backend, request, &mut out, None)?;
            Ok(out)
        })?;
        let derivative_of_step = |side: Side, by: [f64; 2]| {
            let step = problem.marginal(side).penalty().step();
            let derivative = Program::try_record(|[softmin, epsilon]| {
                let [ds, depsilon] = by.map(Real::constant);
                let [stepped] = step.call([Dual::new(softmin, ds), Dual::new(epsilon, depsilon)])?;
                Ok([stepped.derivative])
            })?;
            let mut out = unwritten(problem, side)?;
            let at = [Operand::Vector(&softmins[side]), Operand::Constant(problem.epsilon())];
            backend.map(&derivative, &at, &mut [&mut out])?;
            Ok(out)
        };
        let slopes = Sided::try_new(|side| derivative_of_step(side, [1.0, 0.0]))?;
        let drifts = Sided::try_new(|side| derivative_of_step(side, [0.0, 1.0]))?;
        let inner_weights = Sided::try_new(|side| {
            let [f, s, sigma] = [potentials.side(side), &softmins[side], &slopes[side]].map(Operand::Vector);
            let a = Operand::Vector(problem.marginal(side).weights());
            let operands = [f, s, sigma, a, Operand::Constant(problem.epsilon())];
            vector(backend, shape(problem, side), operands, |[f, s, sigma, a, epsilon]| {
                sigma * a * ((f - s) / epsilon).exp()
            })
        })?;
        let unit = Sided::try_new(|side| {
            let rows = problem.marginal(side).len();
            Ok([backend.filled(1.0, rows, 1)?, backend.filled(0.0, rows, 1)?])
        })?;
        let product = Program::record(|[x, y]| [x * y])?;
        Ok(Self { problem, potentials, scale, softmins, slopes, drifts, inner_weights, unit, product })
    }

    /// Solves ds + T sigma_b dt = rho, dt + S sigma_a ds = tau. Up to a constant, (1, -1), if both marginals are
    /// prescribed.
    pub fn solve<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        explicit: Sided<D::Vector>,
    ) -> Result<Sided<D::Vector>, Error> {
        let backend = self.backend();
        let Sided { source: rho, target: tau } = explicit;
        let mut scratch = Sided::try_new(|side| unwritten(self.problem, side))?;
        let [mut ds, mut response] = [unwritten(self.problem, Side::Source)?, unwritten(self.problem, Side::Target)?];

        self.respond(kernel, Side::Target, &rho, &mut scratch, &mut response)?;
        let subtract = Program::record(|[x, y]| [x - y])?;
        let reduced =
            vector(backend, self.shape(Side::Target), [&tau, &response].map(Operand::Vector), |[x, y]| x - y)?;

        let solver = ConjugateGradient {
            backend,
            weights: &self.inner_weights.target,
            constants_vanish: self.problem.is_balanced(),
        };
        let dt = solver.solve(&reduced, |dt, out| {
            self.respond(kernel, Side::Source, dt, &mut scratch, &mut ds)?;
            self.respond(kernel, Side::Target, &ds, &mut scratch, out)?;
            backend.map(&subtract, &[Operand::Vector(dt), Operand::Output(0)], &mut [out])
        })?;

        self.respond(kernel, Side::Source, &dt, &mut scratch, &mut ds)?;
        backend.map(&subtract, &[Operand::Vector(&rho), Operand::Output(0)], &mut [&mut ds])?;
        Ok(Sided { source: ds, target: dt })
    }

    /// out = the conditional expectation, given the atoms of `side`, of sigma times the change of the other softmin.
    fn respond<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        side: Side,
        change: &D::Vector,
        scratch: &mut Sided<D::Vector>,
        out: &mut D::Vector,
    ) -> Result<(), Error> {
        let other = side.opposite();
        let operands = [&self.slopes[other], change].map(Operand::Vector);
        self.backend().map(&self.product, &operands, &mut [&mut scratch[other]])?;
        kernel.apply(side, self.conditional(side), &scratch[other], out)
    }

    /// The change of both softmins while the potentials rest:
    ///
    /// ```text
    /// rho = (T o dC) 1 - epsilon K db + (d epsilon / epsilon) (s + T g - (T o C) 1),    T = K diag(b)
    /// ```
    pub fn explicit<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        tangent: &Tangent<'_, D>,
    ) -> Result<Sided<D::Vector>, Error> {
        Sided::try_new(|side| {
            let (backend, other) = (self.backend(), side.opposite());
            let mut change = self.cost_rows(kernel, side, self.conditional(side), tangent.cost)?;
            if let Some(weights) = tangent.weights[other] {
                // A histogram may serve all columns; the values under a plan may not.
                let weights = vector(backend, self.shape(other), [Operand::Vector(weights)], |[weight]| weight)?;
                let density = self.apply(kernel, side, self.density(side), &weights)?;
                let operands = [Operand::Vector(&density), Operand::Constant(self.problem.epsilon())];
                update(backend, &mut change, operands, |change, [density, epsilon]| change - epsilon * density)?;
            }
            if tangent.epsilon != 0.0 {
                let cost = self.cost_rows(kernel, side, self.conditional(side), &self.scale)?;
                let mean = self.apply(kernel, side, self.conditional(side), self.potentials.side(other))?;
                let [s, mean, cost] = [&self.softmins[side], &mean, &cost].map(Operand::Vector);
                let relative = Operand::Constant(tangent.epsilon / self.problem.epsilon());
                update(backend, &mut change, [relative, s, mean, cost], |change, [relative, s, mean, cost]| {
                    change + relative * (s + mean - cost)
                })?;
            }
            Ok(change)
        })
    }

    /// out_i = sum_j P_ij dC_ij, given the atoms i of `side`.
    pub fn cost_rows<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        side: Side,
        plan: PlanView<'_, D>,
        direction: &CostDirection<D>,
    ) -> Result<D::Vector, Error> {
        let (backend, (rows, columns)) = (self.backend(), self.shape(side));
        let mut total = backend.filled(0.0, rows, columns)?;
        let mut rows = backend.alloc(rows, columns)?;
        for (parameter, values) in direction {
            let (tangent, weight) = (CostTangent { parameter: *parameter, values }, PairWeight::constant(1.0));
            let derivative = kernel.cost_derivative().ok_or(Error::MissingCapability("derivative of the cost"))?;
            derivative.push_forward(side, WeightedPlan { plan, weight }, tangent, &mut rows)?;
            update(backend, &mut total, [Operand::Vector(&rows)], |total, [rows]| total + rows)?;
        }
        Ok(total)
    }

    /// sum_ij P_ij w_ij dC_ij / dtheta, summed over the columns of the batch.
    pub fn cost_sums<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        pairs: WeightedPlan<'_, D>,
        parameter: CostParameter,
    ) -> Result<D::Vector, Error> {
        let missing = Error::MissingCapability("derivative of the cost");
        let derivative = kernel.cost_derivative().ok_or(missing.clone())?;
        let (rows, columns) = derivative.shape(parameter).ok_or(missing)?;
        let mut sums = self.backend().alloc(rows, columns * self.problem.columns())?;
        derivative.pull_back(pairs, parameter, &mut sums)?;
        sum_of_columns(self.backend(), &sums, columns)
    }

    /// What a change of exponents (f_i + g_j - C_ij) / epsilon means for potentials.
    pub fn over_epsilon(&self, pair: &Sided<D::Vector>) -> Result<Sided<D::Vector>, Error> {
        let epsilon = Operand::Constant(self.problem.epsilon());
        Sided::try_new(|side| {
            let operands = [Operand::Vector(&pair[side]), epsilon];
            vector(self.backend(), self.shape(side), operands, |[x, epsilon]| x / epsilon)
        })
    }

    /// A new vector: the product of a plan with values of the other side.
    pub fn apply<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        side: Side,
        plan: PlanView<'_, D>,
        values: &D::Vector,
    ) -> Result<D::Vector, Error> {
        let mut out = unwritten(self.problem, side)?;
        kernel.apply(side, plan, values, &mut out)?;
        Ok(out)
    }

    /// P.
    pub fn plan(&self) -> PlanView<'_, D> {
        self.problem.view(self.potentials)
    }

    /// The distributions of the other side's atoms given those of `side`: T for `Source`, the transpose of S for `Target`.
    pub fn conditional(&self, side: Side) -> PlanView<'_, D> {
        let other = side.opposite();
        self.gibbs().with_side(other, self.plan().side(other))
    }

    /// The densities of [`conditional`](Self::conditional) in the weights: K for `Source`.
    pub fn density(&self, side: Side) -> PlanView<'_, D> {
        let other = side.opposite();
        self.gibbs().with_side(other, self.unweighted(other, self.potential(other)))
    }

    /// exp((s_i + t_j - C_ij) / epsilon).
    pub fn gibbs(&self) -> PlanView<'_, D> {
        let of = |side: Side| self.unweighted(side, &self.softmins[side]);
        PlanView { source: of(Side::Source), target: of(Side::Target) }
    }

    /// A potential with weights of one.
    fn unweighted<'s>(&'s self, side: Side, potential: &'s D::Vector) -> PlanSide<'s, D> {
        let [weights, log_weights] = &self.unit[side];
        PlanSide { potential, weights, log_weights }
    }

    /// Where the vectors live.
    pub fn backend(&self) -> &'a dyn Backend<D> {
        self.problem.backend()
    }

    /// The potential of a side.
    pub fn potential(&self, side: Side) -> &'a D::Vector {
        self.potentials.side(side)
    }

    /// The weights of a side.
    pub fn weights(&self, side: Side) -> &'a D::Vector {
        self.problem.marginal(side).weights()
    }

    /// The shape of a potential.
    pub fn shape(&self, side: Side) -> (usize, usize) {
        shape(self.problem, side)
    }

    /// The mass of one side, column by column.
    pub(super) fn mass(&self, side: Side) -> Result<D::Reduced, Error> {
        sum(self.backend(), self.shape(side), [Operand::Vector(self.weights(side))], |[weight]| weight)
    }

    /// <weights, potential> of one side.
    pub(super) fn weighted(&self, side: Side, potential: &D::Vector) -> Result<D::Reduced, Error> {
        pairing(self.backend(), self.shape(side), self.problem.marginal(side).weights(), potential)
    }
}

/// A vector of the shape of a potential.
fn unwritten<D: Device>(problem: &Problem<D>, side: Side) -> Result<D::Vector, Error> {
    let (rows, columns) = shape(problem, side);
    problem.backend().alloc(rows, columns)
}

/// The shape of a potential.
fn shape<D: Device>(problem: &Problem<D>, side: Side) -> (usize, usize) {
    (problem.marginal(side).len(), problem.columns())
}
