//! Derivatives of optimal values by the envelope theorem (Danskin 1967): what was optimised is held, so that no linear
//! system is solved.
//!
//! [`value_and_gradient`] is that of a regularised solution. From the dual
//!
//! ```text
//! D = -sum_i a_i phi*(-f_i) - sum_j b_j psi*(-g_j) - epsilon (sum_ij P_ij - mass(a) mass(b))
//!
//! dD/dtheta   = sum_ij P_ij dC_ij / dtheta
//! dD/da_i     = -phi*(-f_i) - epsilon (P 1)_i / a_i + epsilon mass(b)
//! dD/depsilon = mass(a) mass(b) - sum_ij P_ij + sum_ij P_ij (f_i + g_j - C_ij) / epsilon
//! dD/drho     = sum_i a_i dphi(r_i) / drho,    r_i = (P 1)_i / a_i
//! ```
//!
//! for a parameter theta of the cost and a parameter rho of phi. The theorem speaks of the *optimal value* alone. The
//! transport cost <P, C> of an entropic plan is no optimal value, and its derivative is not sum P dC: that goes through
//! [`Linearised`](crate::Linearised).
//!
//! Divergences, discrepancies and distances without entropy have gradients of the same kind: [`divergence_and_gradient`](crate::divergence_and_gradient),
//! [`DiscrepancyGradient`](crate::DiscrepancyGradient), [`exact_gradient`](crate::exact_gradient),
//! [`sliced_gradient`](crate::sliced_gradient), [`gaussian_gradient`](crate::gaussian_gradient).

pub(crate) mod discrepancy;
pub(crate) mod divergence;
pub(crate) mod exact;
pub(crate) mod gaussian;

use ot_core::{
    CostParameter, Device, Error, Fold, KernelOp, Operand, PairWeight, Plan, Program, Real, Side, Solution,
    WeightedPlan,
};

use crate::{
    Gradient,
    algebra::{Sided, numbers, pairing, sum, total, vector},
    optimum::Optimum,
};

/// The gradient of the optimal value of a regularised problem.
///
/// | block | costs |
/// |---|---|
/// | weights, penalties | O(n + m) |
/// | points, matrix, parameters, epsilon | one pass over the pairs each |
///
/// Accuracy: the error of the potentials, so that of the solve; linear in it, while that of the value is quadratic.
#[derive(Debug)]
pub struct ValueGradient<D: Device> {
    optimum: Optimum<D>,
    kernel: Box<dyn KernelOp<D>>,
}

/// The optimal values of all columns, and their gradient: that of their sum, where columns share data. Costs two softmins;
/// no linear system is solved.
///
/// Any entropic problem, with any penalties: also at kinks of a penalty the value is differentiable in the cost.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::{Gradient, value_and_gradient};
/// use ot_solvers::transport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let source = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0], 2)?;
/// let target = PointCloud::uniform(vec![0.0, 3.0, 1.0, 3.0], 2)?;
/// let solution = transport(&backend, &source, &target, &SqEuclidean, Epsilon::Absolute(0.1))?;
/// let (values, mut gradient) = value_and_gradient(&solution)?;
///
/// assert_eq!(values, [solution.certificate().dual]);
/// // Half of the mass stands on each point, and the target is 3 above: d|x - y|^2 = -6 dy.
/// let points = gradient.points(Side::Source)?;
/// assert!((points[1] + 3.0).abs() < 1e-6 && (points[3] + 3.0).abs() < 1e-6);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::MissingCapability`] for another regularizer than entropy; those of [`Geometry::bind`](ot_core::Geometry::bind).
pub fn value_and_gradient<D: Device>(solution: &Solution<D>) -> Result<(Vec<f64>, ValueGradient<D>), Error> {
    let (optimum, kernel) = Optimum::new(solution)?;
    let values = optimum.certificates.iter().map(|certificate| certificate.dual).collect();
    Ok((values, ValueGradient { optimum, kernel }))
}

impl<D: Device> ValueGradient<D> {
    /// The gradient in the matrix of costs, as an operator: the plan. [`Gradient::matrix`] lists its entries.
    ///
    /// # Errors
    /// Those of [`Geometry::bind`](ot_core::Geometry::bind).
    pub fn plan(&self) -> Result<Plan<D>, Error> {
        Plan::new(self.optimum.frame.problem.clone(), self.optimum.potentials.clone())
    }
}

impl<D: Device> Gradient<D> for ValueGradient<D> {
    fn cost(&mut self, parameter: CostParameter) -> Result<Vec<D::Elem>, Error> {
        let Self { optimum, kernel } = self;
        let frame = &optimum.frame;
        frame.backend().scope(|| {
            let pairs = WeightedPlan { plan: optimum.plan(), weight: PairWeight::constant(1.0) };
            frame.on_host(parameter, frame.cost_sums(kernel.as_mut(), pairs, parameter)?)
        })
    }

    fn weights(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let optimum = &self.optimum;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let dual = frame.problem.marginal(side).penalty().dual();
        let derivative = Program::try_record(|[f, s, epsilon, mass]| {
            let [dual] = dual.call([f, Real::constant(1.0)])?;
            Ok([dual - epsilon * ((f - s) / epsilon).exp() + epsilon * mass])
        })?;
        let mass = frame.mass(side.opposite())?;
        let [f, s] = [optimum.potential(side), &optimum.softmins[side]].map(Operand::Vector);
        let operands = [f, s, Operand::Constant(frame.epsilon()), Operand::Reduced(&mass)];
        let mut out = frame.unwritten(side)?;
        backend.map(&derivative, &operands, &mut [&mut out])?;
        frame.of_histograms(side, out)
    }

    fn epsilon(&mut self) -> Result<f64, Error> {
        let Self { optimum, kernel } = self;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        backend.scope(|| {
            let epsilon = Operand::Constant(frame.epsilon());
            let marginals = Sided::try_new(|side| {
                let [f, s] = [optimum.potential(side), &optimum.softmins[side]].map(Operand::Vector);
                let a = Operand::Vector(frame.weights(side));
                vector(backend, frame.shape(side), [f, s, a, epsilon], |[f, s, a, epsilon]| {
                    a.select(a * ((f - s) / epsilon).exp(), 0.0)
                })
            })?;
            let pairings =
                Sided::try_new(|side| pairing(backend, frame.shape(side), &marginals[side], optimum.potential(side)))?;
            let mass = sum(backend, frame.shape(Side::Source), [Operand::Vector(&marginals.source)], |[mass]| mass)?;
            let mut cost = backend.alloc_reduced(frame.columns())?;
            let transport = kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?;
            transport.plan_cost(optimum.plan(), &mut cost)?;
            let masses = Sided::try_new(|side| frame.mass(side))?;
            let [f, g, cost, mass, a, b] =
                [&pairings.source, &pairings.target, &cost, &mass, &masses.source, &masses.target]
                    .map(Operand::Reduced);
            let derivative = numbers(
                backend,
                frame.columns(),
                [f, g, cost, mass, a, b, epsilon],
                |[f, g, cost, mass, a, b, epsilon]| a * b - mass + (f + g - cost) / epsilon,
            )?;
            total(backend, &derivative)
        })
    }

    fn penalty(&mut self, side: Side) -> Result<Vec<f64>, Error> {
        let optimum = &self.optimum;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        frame.for_penalty_parameters(side, |index| {
            let value = frame.problem.marginal(side).penalty().parameter_derivative(index)?.value;
            let program = Program::try_record(|[f, s, a, epsilon]| {
                let [slope] = value.call([((f - s) / epsilon).exp()])?;
                Ok([a.select(a * slope, 0.0)])
            })?;
            let mut out = backend.alloc_reduced(frame.columns())?;
            let [f, s, a] =
                [optimum.potential(side), &optimum.softmins[side], frame.weights(side)].map(Operand::Vector);
            let operands = [f, s, a, Operand::Constant(frame.epsilon())];
            backend.reduce(&program, Fold::Sum, frame.len(side), &operands, &mut [&mut out])?;
            total(backend, &out)
        })
    }

    fn atoms(&self, side: Side) -> usize {
        self.optimum.frame.len(side)
    }
}
