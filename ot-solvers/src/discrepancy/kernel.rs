//! Sums of a kernel over pairs, as functionals of the plan between free marginals.
//!
//! At potentials of zero the plan is P_ij = a_i b_j exp(-C_ij / epsilon). For squared distances its mass is that of a
//! Gaussian kernel; at an epsilon beyond all costs it is a b^T, whose cost is that of an energy kernel.

use std::sync::Arc;

use ot_core::{
    Backend, Balanced, CostParameter, CostTangent, Epsilon, Error, Free, GroundCost, KernelOp, Measure, PairWeight,
    PlanSide, PlanView, Potentials, Problem, Regularizer, Scalar, Side, WeightedPlan,
};

use super::{SIDES, pairing};

/// An epsilon beyond all costs, of which either element type holds the reciprocal.
const BEYOND_ALL_COSTS: f64 = 1e30;

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
pub(super) struct PairSums<B: Backend> {
    problem: Problem<B>,
    zeros: Arc<Potentials<B>>,
    summand: Summand,
}

impl<B: Backend> Clone for PairSums<B> {
    fn clone(&self) -> Self {
        Self { problem: self.problem.clone(), zeros: Arc::clone(&self.zeros), summand: self.summand }
    }
}

impl<B: Backend> PairSums<B> {
    /// -C_ij, between measures of equal mass.
    pub(super) fn energy(
        backend: &B,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        Self::new(backend, [source, target], cost, BEYOND_ALL_COSTS, Arc::new(Balanced), Summand::Cost)
    }

    /// exp(-C_ij / epsilon).
    pub(super) fn gaussian(
        backend: &B,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        cost: &dyn GroundCost,
        epsilon: f64,
    ) -> Result<Self, Error> {
        Self::new(backend, [source, target], cost, epsilon, Arc::new(Free), Summand::Gibbs)
    }

    fn new(
        backend: &B,
        [source, target]: [&dyn Measure<B::Elem>; 2],
        cost: &dyn GroundCost,
        epsilon: f64,
        law: Arc<dyn Regularizer>,
        summand: Summand,
    ) -> Result<Self, Error> {
        let geometry = backend.geometry(source.support(), target.support(), cost)?;
        let problem = Problem::relaxed(geometry, source, target, Epsilon::Absolute(epsilon), Arc::clone(&law), law)?;
        let zeros = |side| {
            let zeros = vec![B::Elem::from_f64(0.0); problem.marginal(side).len() * problem.columns()];
            backend.upload(&zeros, problem.columns())
        };
        let zeros = Potentials { source: zeros(Side::Source)?, target: zeros(Side::Target)?, epsilon };
        Ok(Self { problem, zeros: Arc::new(zeros), summand })
    }

    pub(super) fn problem(&self) -> &Problem<B> {
        &self.problem
    }

    /// The plan P_ij = a_i b_j exp(-C_ij / epsilon).
    pub(super) fn plan(&self) -> PlanView<'_, B> {
        self.problem.view(&self.zeros)
    }

    /// The factor that turns P_ij dC_ij into a_i b_j dk_ij.
    pub(super) fn slope(&self) -> f64 {
        match self.summand {
            Summand::Cost => -1.0,
            Summand::Gibbs => -1.0 / self.problem.epsilon(),
        }
    }

    /// sum_ij a_i b_j k_ij of each column.
    pub(super) fn total(&self) -> Result<Vec<f64>, Error> {
        let backend = self.problem.backend();
        let mut kernel = self.problem.bind()?;
        let mut total = backend.alloc_reduced(self.problem.columns())?;
        backend.scope(|| match self.summand {
            Summand::Cost => {
                let [a, b] = SIDES.map(|side| self.problem.marginal(side).weights());
                let cost = kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?;
                cost.rank_one_cost(a, b, &mut total)?;
                Ok(backend.read(&[&total])?.swap_remove(0).into_iter().map(|cost| -cost).collect())
            }
            Summand::Gibbs => {
                let sums = self.sums(kernel.as_mut(), Side::Source)?;
                let marginal = self.problem.marginal(Side::Source);
                pairing(backend, marginal.weights(), &sums, marginal.len(), &mut total)?;
                Ok(backend.read(&[&total])?.swap_remove(0))
            }
        })
    }

    /// sum_j k_ij b_j for the atoms i of `side`, on the host, column after column.
    pub(super) fn potential(&self, side: Side) -> Result<Vec<B::Elem>, Error> {
        let backend = self.problem.backend();
        let mut kernel = self.problem.bind()?;
        backend.scope(|| Ok(backend.download(&[&self.sums(kernel.as_mut(), side)?])?.swap_remove(0)))
    }

    /// sum_j k_ij b_j for the atoms i of `side`.
    fn sums(&self, kernel: &mut dyn KernelOp<B>, side: Side) -> Result<B::Vector, Error> {
        let (backend, columns) = (self.problem.backend(), self.problem.columns());
        let (rows, others) = (kernel.len(side), kernel.len(side.opposite()));
        let constant = |len: usize, value: f64| backend.upload(&vec![B::Elem::from_f64(value); len], 1);
        // Weights of one: the sum for an atom, not for its mass.
        let (ones, log_ones) = (constant(rows, 1.0)?, constant(rows, 0.0)?);
        let mut plan = self.plan();
        let own = PlanSide { potential: plan.side(side).potential, weights: &ones, log_weights: &log_ones };
        match side {
            Side::Source => plan.source = own,
            Side::Target => plan.target = own,
        }
        let mut sums = backend.alloc(rows, columns)?;
        match self.summand {
            Summand::Gibbs => {
                let values = backend.upload(&vec![B::Elem::from_f64(1.0); others * columns], columns)?;
                kernel.apply(side, plan, &values, &mut sums)?;
            }
            Summand::Cost => {
                let missing = Error::MissingCapability("derivative of the cost in its scale");
                let derivative = kernel.cost_derivative().ok_or(missing)?;
                // Where lambda scales the cost, dC / dlambda = C.
                let scale = backend.upload(&vec![B::Elem::from_f64(1.0); columns], columns)?;
                let tangent = CostTangent { parameter: CostParameter::Scale, values: &scale };
                for column in 0..columns {
                    let pairs = WeightedPlan { plan, weight: PairWeight::constant(-1.0), column };
                    derivative.push_forward(side, pairs, tangent, &mut sums)?;
                }
            }
        }
        Ok(sums)
    }
}
