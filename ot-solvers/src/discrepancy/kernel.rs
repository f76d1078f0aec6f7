//! Sums of a kernel over pairs, as functionals of the plan between free marginals.
//!
//! At potentials of zero the plan is P_ij = a_i b_j exp(-C_ij / epsilon). For squared distances its mass is that of a
//! Gaussian kernel; at an epsilon beyond all costs it is a b^T, whose cost is that of an energy kernel.

use std::sync::Arc;

use ot_core::{
    Balanced, CostParameter, CostTangent, Device, Epsilon, Error, Fold, Free, GeometryBuilder, GroundCost, KernelOp,
    MarginalPenalty, Measure, Operand, PairWeight, PlanSide, PlanView, Potentials, Problem, Program, Side,
    WeightedPlan,
};

/// An epsilon beyond all costs, of which either element type holds the reciprocal.
pub(super) const BEYOND_ALL_COSTS: f64 = 1e30;

/// What a sum over pairs sums up.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Summand {
    /// -C_ij.
    Cost,
    /// exp(-C_ij / epsilon).
    Gibbs,
}

/// The kernel of a discrepancy between two measures.
#[derive(Debug)]
pub(super) struct PairSums<D: Device> {
    problem: Problem<D>,
    zeros: Arc<Potentials<D>>,
    summand: Summand,
}

impl<D: Device> Clone for PairSums<D> {
    fn clone(&self) -> Self {
        Self { problem: self.problem.clone(), zeros: Arc::clone(&self.zeros), summand: self.summand }
    }
}

impl<D: Device> PairSums<D> {
    /// -C_ij, between measures of equal mass.
    pub(super) fn energy(
        builder: &dyn GeometryBuilder<Device = D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        Self::new(builder, [source, target], cost, BEYOND_ALL_COSTS, &Balanced, Summand::Cost)
    }

    /// exp(-C_ij / epsilon).
    pub(super) fn gaussian(
        builder: &dyn GeometryBuilder<Device = D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
        epsilon: f64,
    ) -> Result<Self, Error> {
        Self::new(builder, [source, target], cost, epsilon, &Free, Summand::Gibbs)
    }

    fn new(
        builder: &dyn GeometryBuilder<Device = D>,
        [source, target]: [&dyn Measure<D::Elem>; 2],
        cost: &dyn GroundCost,
        epsilon: f64,
        penalty: &impl MarginalPenalty,
        summand: Summand,
    ) -> Result<Self, Error> {
        let geometry = builder.geometry(source.support(), target.support(), cost)?;
        let problem = Problem::unbalanced(geometry, source, target, Epsilon::Absolute(epsilon), penalty, penalty)?;
        let zeros = |side| problem.backend().filled(0.0, problem.marginal(side).len(), problem.columns());
        let zeros = Potentials { source: zeros(Side::Source)?, target: zeros(Side::Target)?, epsilon };
        Ok(Self { problem, zeros: Arc::new(zeros), summand })
    }

    pub(super) fn problem(&self) -> &Problem<D> {
        &self.problem
    }

    /// The plan P_ij = a_i b_j exp(-C_ij / epsilon).
    pub(super) fn plan(&self) -> PlanView<'_, D> {
        self.problem.view(&self.zeros)
    }

    /// The factor that turns P_ij dC_ij into a_i b_j dk_ij.
    pub(super) fn slope(&self) -> f64 {
        match self.summand {
            Summand::Cost => -1.0,
            Summand::Gibbs => -1.0 / self.problem.epsilon(),
        }
    }

    /// A kernel for sums over pairs: the objective of a problem, which masses may take out of the range, is not asked for.
    fn bind(&self) -> Result<Box<dyn KernelOp<D>>, Error> {
        let problem = &self.problem;
        problem.geometry().bind(problem.regularizer(), problem.epsilon(), problem.columns())
    }

    /// sum_ij a_i b_j k_ij of each column.
    pub(super) fn total(&self) -> Result<Vec<f64>, Error> {
        let backend = self.problem.backend();
        let mut kernel = self.bind()?;
        let mut total = backend.alloc_reduced(self.problem.columns())?;
        backend.scope(|| match self.summand {
            Summand::Cost => {
                let [a, b] = Side::BOTH.map(|side| self.problem.marginal(side).weights());
                let cost = kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?;
                cost.rank_one_cost(a, b, &mut total)?;
                Ok(backend.read(&[&total])?.swap_remove(0).into_iter().map(|cost| -cost).collect())
            }
            Summand::Gibbs => {
                let sums = self.sums(kernel.as_mut(), Side::Source)?;
                let marginal = self.problem.marginal(Side::Source);
                let product = Program::record(|[weight, value]| [weight * value])?;
                let operands = [Operand::Vector(marginal.weights()), Operand::Vector(&sums)];
                backend.reduce(&product, Fold::Sum, marginal.len(), &operands, &mut [&mut total])?;
                Ok(backend.read(&[&total])?.swap_remove(0))
            }
        })
    }

    /// sum_j k_ij b_j for the atoms i of `side`, on the host, column after column.
    pub(super) fn potential(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let backend = self.problem.backend();
        let mut kernel = self.bind()?;
        backend.scope(|| Ok(backend.download(&[&self.sums(kernel.as_mut(), side)?])?.swap_remove(0)))
    }

    /// sum_j k_ij b_j for the atoms i of `side`.
    fn sums(&self, kernel: &mut dyn KernelOp<D>, side: Side) -> Result<D::Vector, Error> {
        let (backend, columns) = (self.problem.backend(), self.problem.columns());
        let (rows, others) = (kernel.len(side), kernel.len(side.opposite()));
        // Weights of one: the sum for an atom, not for its mass.
        let (weights, log_weights) = (&backend.filled(1.0, rows, 1)?, &backend.filled(0.0, rows, 1)?);
        let potential = self.plan().side(side).potential;
        let plan = self.plan().with_side(side, PlanSide { potential, weights, log_weights });
        let mut sums = backend.alloc(rows, columns)?;
        match self.summand {
            Summand::Gibbs => {
                let values = backend.filled(1.0, others, columns)?;
                kernel.apply(side, plan, &values, &mut sums)?;
            }
            Summand::Cost => {
                let missing = Error::MissingCapability("derivative of the cost in its scale");
                let derivative = kernel.cost_derivative().ok_or(missing)?;
                // Where lambda scales the cost, dC / dlambda = C.
                let scale = backend.filled(1.0, 1, 1)?;
                let tangent = CostTangent { parameter: CostParameter::Scale, values: &scale };
                let pairs = WeightedPlan { plan, weight: PairWeight::constant(-1.0) };
                derivative.push_forward(side, pairs, tangent, &mut sums)?;
            }
        }
        Ok(sums)
    }
}
