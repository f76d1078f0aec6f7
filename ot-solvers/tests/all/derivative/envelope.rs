//! Derivatives of the optimal value by the envelope theorem (Danskin 1967): the potentials are held, so that no
//! linear system is solved. From the dual
//!
//! ```text
//! D = -sum_i a_i phi*(-f_i) - sum_j b_j psi*(-g_j) - epsilon (sum_ij P_ij - mass(a) mass(b))
//!
//! dD/dtheta   = sum_ij P_ij dC_ij / dtheta
//! dD/da_i     = -phi*(-f_i) - epsilon (P 1)_i / a_i + epsilon mass(b)
//! dD/depsilon = mass(a) mass(b) - sum_ij P_ij + sum_ij P_ij (f_i + g_j - C_ij) / epsilon
//! ```

use ot_core::{CostParameter, Device, Error, KernelOp, Operand, PairWeight, Program, Real, Side, WeightedPlan};

use super::{
    algebra::{Sided, numbers, pairing, sum, vector},
    fixed_point::FixedPoint,
};

impl<D: Device> FixedPoint<'_, D> {
    /// The derivative of the value in a parameter of the cost, summed over the columns of the batch.
    pub fn value_in_cost<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        parameter: CostParameter,
    ) -> Result<D::Vector, Error> {
        let pairs = WeightedPlan { plan: self.plan(), weight: PairWeight::constant(1.0) };
        self.cost_sums(kernel, pairs, parameter)
    }

    /// The derivative of the value in the weights of one side, column by column. If both marginals are prescribed, it
    /// is the potential as a class modulo constants, returned with mean 0.
    pub fn value_in_weights(&self, side: Side) -> Result<D::Vector, Error> {
        let marginal = self.problem.marginal(side);
        let dual = marginal.penalty().dual();
        let derivative = Program::try_record(|[f, s, epsilon, mass]| {
            let [dual] = dual.call([f, Real::constant(1.0)])?;
            Ok([dual - epsilon * ((f - s) / epsilon).exp() + epsilon * mass])
        })?;
        let mass = self.mass(side.opposite())?;
        let [f, s] = [self.potentials.side(side), &self.softmins[side]].map(Operand::Vector);
        let operands = [f, s, Operand::Constant(self.problem.epsilon()), Operand::Reduced(&mass)];
        let (rows, columns) = self.shape(side);
        let mut out = self.backend().alloc(rows, columns)?;
        self.backend().map(&derivative, &operands, &mut [&mut out])?;
        if self.problem.is_balanced() {
            self.centre(side, &mut out)?;
        }
        Ok(out)
    }

    /// The derivative of the value in epsilon, column by column.
    pub fn value_in_epsilon<K: KernelOp<D> + ?Sized>(&self, kernel: &mut K) -> Result<D::Reduced, Error> {
        let (backend, columns) = (self.backend(), self.problem.columns());
        let epsilon = Operand::Constant(self.problem.epsilon());
        let density = |side: Side| {
            let [f, s] = [self.potentials.side(side), &self.softmins[side]].map(Operand::Vector);
            let a = Operand::Vector(self.weights(side));
            vector(backend, self.shape(side), [f, s, a, epsilon], |[f, s, a, epsilon]| a * ((f - s) / epsilon).exp())
        };
        let marginals = Sided::try_new(density)?;
        let pairings =
            Sided::try_new(|side| pairing(backend, self.shape(side), &marginals[side], self.potentials.side(side)))?;
        let plan_mass = sum(backend, self.shape(Side::Source), [Operand::Vector(&marginals.source)], |[mass]| mass)?;
        let mut cost = backend.alloc_reduced(columns)?;
        let transport = kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?;
        transport.plan_cost(self.plan(), &mut cost)?;
        let masses = Sided::try_new(|side| self.mass(side))?;
        let [f, g, cost, mass, a, b] =
            [&pairings.source, &pairings.target, &cost, &plan_mass, &masses.source, &masses.target]
                .map(Operand::Reduced);
        numbers(backend, columns, [f, g, cost, mass, a, b, epsilon], |[f, g, cost, mass, a, b, epsilon]| {
            a * b - mass + (f + g - cost) / epsilon
        })
    }
}
