//! What all derivatives of a problem are computed in: its data, weights of one, and sums under plans.

use ot_core::{
    Backend, CostParameter, CostTangent, Device, Error, KernelOp, Operand, PairWeight, PlanSide, PlanView, Problem,
    Side, WeightedPlan,
};

use crate::algebra::{Sided, add, scaled, sum, sum_of_blocks, sum_of_channels, times, update, vector};

/// A direction in which parameters of the cost move.
pub(crate) type CostDirection<D> = [(CostParameter, <D as Device>::Vector)];

/// A kernel without derivatives of its cost.
pub(crate) const NO_DERIVATIVE: Error = Error::MissingCapability("derivative of the cost");

/// A problem with vectors that every derivative needs.
#[derive(Debug)]
pub(crate) struct Frame<D: Device> {
    pub(crate) problem: Problem<D>,
    /// Weights of one, and their logarithms.
    unit: Sided<[D::Vector; 2]>,
    /// The direction in which the cost grows in proportion to itself, dC = C.
    scale: [(CostParameter, D::Vector); 1],
}

/// One softmin and what it is taken of:
///
/// ```text
/// s_i = -epsilon log sum_j w_j exp((g_j - C_ij) / epsilon)
/// ```
#[derive(Debug)]
pub(crate) struct HalfStep<'a, D: Device> {
    /// The side of s.
    pub(crate) side: Side,
    /// s.
    pub(crate) softmin: &'a D::Vector,
    /// g and w.
    pub(crate) other: PlanSide<'a, D>,
}

impl<D: Device> Copy for HalfStep<'_, D> {}
impl<D: Device> Clone for HalfStep<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device> Frame<D> {
    /// The frame of a problem.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for another regularizer than entropy.
    pub(crate) fn new(problem: Problem<D>) -> Result<Self, Error> {
        problem.require_entropy()?;
        let backend = problem.backend();
        let unit = Sided::try_new(|side| {
            let rows = problem.marginal(side).len();
            Ok([backend.filled(1.0, rows, 1)?, backend.filled(0.0, rows, 1)?])
        })?;
        let scale = [(CostParameter::Scale, backend.filled(1.0, 1, 1)?)];
        Ok(Self { unit, scale, problem })
    }

    /// Where the vectors live.
    pub(crate) fn backend(&self) -> &dyn Backend<D> {
        self.problem.backend()
    }

    /// Columns of the batch.
    pub(crate) fn columns(&self) -> usize {
        self.problem.columns()
    }

    /// Number of atoms.
    pub(crate) fn len(&self, side: Side) -> usize {
        self.problem.marginal(side).len()
    }

    /// epsilon.
    pub(crate) fn epsilon(&self) -> f64 {
        self.problem.epsilon()
    }

    /// The weights of a side.
    pub(crate) fn weights(&self, side: Side) -> &D::Vector {
        self.problem.marginal(side).weights()
    }

    /// Histograms of a side: one that serves all columns, or one for each.
    pub(crate) fn histograms(&self, side: Side) -> usize {
        self.backend().shape(self.weights(side)).1
    }

    /// The direction dC = C.
    pub(crate) fn scale(&self) -> &CostDirection<D> {
        &self.scale
    }

    /// The shape of a potential.
    pub(crate) fn shape(&self, side: Side) -> (usize, usize) {
        (self.len(side), self.columns())
    }

    /// A vector of the shape of a potential.
    pub(crate) fn unwritten(&self, side: Side) -> Result<D::Vector, Error> {
        let (rows, columns) = self.shape(side);
        self.backend().alloc(rows, columns)
    }

    /// A vector of one number.
    pub(crate) fn filled(&self, side: Side, value: f64) -> Result<D::Vector, Error> {
        let (rows, columns) = self.shape(side);
        self.backend().filled(value, rows, columns)
    }

    /// A vector of one column or of all, with all columns.
    pub(crate) fn in_all_columns(&self, side: Side, values: &D::Vector) -> Result<D::Vector, Error> {
        vector(self.backend(), self.shape(side), [Operand::Vector(values)], |[value]| value)
    }

    /// The mass of one side, column by column.
    pub(crate) fn mass(&self, side: Side) -> Result<D::Reduced, Error> {
        sum(self.backend(), self.shape(side), [Operand::Vector(self.weights(side))], |[weight]| weight)
    }

    /// A potential with weights of one.
    pub(crate) fn unweighted<'s>(&'s self, side: Side, potential: &'s D::Vector) -> PlanSide<'s, D> {
        let [weights, log_weights] = &self.unit[side];
        PlanSide { potential, weights, log_weights }
    }

    /// A potential with the weights of the problem.
    pub(crate) fn weighted<'s>(&'s self, side: Side, potential: &'s D::Vector) -> PlanSide<'s, D> {
        PlanSide::new(potential, self.problem.marginal(side).device_weights())
    }

    /// The distributions of the other side's atoms given those of a half-step's side: rows that sum to 1.
    pub(crate) fn conditional<'s>(&'s self, half: HalfStep<'s, D>) -> PlanView<'s, D> {
        view(half.side, self.unweighted(half.side, half.softmin), half.other)
    }

    /// The densities of [`conditional`](Self::conditional) in the weights.
    pub(crate) fn density<'s>(&'s self, half: HalfStep<'s, D>) -> PlanView<'s, D> {
        let other = half.side.opposite();
        view(half.side, self.unweighted(half.side, half.softmin), self.unweighted(other, half.other.potential))
    }

    /// A new vector: the product of a plan with values of the other side.
    pub(crate) fn apply(
        &self,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
        plan: PlanView<'_, D>,
        values: &D::Vector,
    ) -> Result<D::Vector, Error> {
        let (_, channels) = self.backend().shape(values);
        let mut out = self.backend().alloc(self.len(side), channels)?;
        kernel.apply(side, plan, values, &mut out)?;
        Ok(out)
    }

    /// Rows and columns of a parameter of the cost.
    pub(crate) fn parameter_shape(
        &self,
        kernel: &mut dyn KernelOp<D>,
        parameter: CostParameter,
    ) -> Result<(usize, usize), Error> {
        kernel.cost_derivative().and_then(|derivative| derivative.shape(parameter)).ok_or(NO_DERIVATIVE)
    }

    /// out_i = sum_j P_ij w_ij dC_ij, given the atoms i of `side`.
    pub(crate) fn cost_rows(
        &self,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
        pairs: WeightedPlan<'_, D>,
        direction: &CostDirection<D>,
    ) -> Result<D::Vector, Error> {
        let backend = self.backend();
        let mut total = self.filled(side, 0.0)?;
        let mut rows = self.unwritten(side)?;
        for (parameter, values) in direction {
            let tangent = CostTangent { parameter: *parameter, values };
            kernel.cost_derivative().ok_or(NO_DERIVATIVE)?.push_forward(side, pairs, tangent, &mut rows)?;
            add(backend, &mut total, &rows)?;
        }
        Ok(total)
    }

    /// sum_ij P_ij w_ij dC_ij / dtheta, summed over the columns of the batch.
    pub(crate) fn cost_sums(
        &self,
        kernel: &mut dyn KernelOp<D>,
        pairs: WeightedPlan<'_, D>,
        parameter: CostParameter,
    ) -> Result<D::Vector, Error> {
        let (rows, columns) = self.parameter_shape(kernel, parameter)?;
        let mut sums = self.backend().alloc(rows, columns * self.columns())?;
        kernel.cost_derivative().ok_or(NO_DERIVATIVE)?.pull_back(pairs, parameter, &mut sums)?;
        sum_of_blocks(self.backend(), sums, self.columns())
    }

    /// For the atoms i of `side`: sum_j P_ij w_ij.
    pub(crate) fn sums(
        &self,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
        plan: PlanView<'_, D>,
        weight: &Weight<D>,
    ) -> Result<D::Vector, Error> {
        self.sums_by(kernel, side, plan, weight, |kernel, values| self.apply(kernel, side, plan, values))
    }

    /// [`sums`](Self::sums), where `apply(kernel, values)` is the product of the plan with values of the other side.
    pub(crate) fn sums_by(
        &self,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
        plan: PlanView<'_, D>,
        weight: &Weight<D>,
        apply: impl Fn(&mut dyn KernelOp<D>, &D::Vector) -> Result<D::Vector, Error>,
    ) -> Result<D::Vector, Error> {
        let (backend, other) = (self.backend(), side.opposite());
        let mut total = self.filled(side, 0.0)?;
        if weight.constant != 0.0 || weight.sides[side].is_some() {
            let mass = apply(kernel, &self.filled(other, 1.0)?)?;
            let factor = match &weight.sides[side] {
                Some(own) => Operand::Vector(own),
                None => Operand::Constant(0.0),
            };
            let operands = [Operand::Constant(weight.constant), factor, Operand::Vector(&mass)];
            update(backend, &mut total, operands, |out, [constant, own, mass]| out + (constant + own) * mass)?;
        }
        if let Some(values) = &weight.sides[other] {
            add(backend, &mut total, &apply(kernel, &self.in_all_columns(other, values)?)?)?;
        }
        if let Some(product) = &weight.product {
            let image = apply(kernel, &product[other])?;
            let channels = times(backend, &product[side], &image)?;
            add(backend, &mut total, &sum_of_channels(backend, &channels, self.columns())?)?;
        }
        if weight.cost != 0.0 {
            let pairs = WeightedPlan { plan, weight: PairWeight::constant(weight.cost) };
            add(backend, &mut total, &self.cost_rows(kernel, side, pairs, &self.scale)?)?;
        }
        Ok(total)
    }

    /// The change of a softmin while the potential that it is taken of rests:
    ///
    /// ```text
    /// (T o dC) 1 - epsilon K dw + (d epsilon / epsilon) (s + T g - (T o C) 1),    T = K diag(w)
    /// ```
    pub(crate) fn explicit(
        &self,
        kernel: &mut dyn KernelOp<D>,
        half: HalfStep<'_, D>,
        cost: &CostDirection<D>,
        weights: Option<&D::Vector>,
        epsilon: f64,
    ) -> Result<D::Vector, Error> {
        let (backend, side, conditional) = (self.backend(), half.side, self.conditional(half));
        let even = WeightedPlan { plan: conditional, weight: PairWeight::constant(1.0) };
        let mut change = self.cost_rows(kernel, side, even, cost)?;
        if let Some(weights) = weights {
            let weights = self.in_all_columns(side.opposite(), weights)?;
            let density = self.apply(kernel, side, self.density(half), &weights)?;
            let operands = [Operand::Vector(&density), Operand::Constant(self.epsilon())];
            update(backend, &mut change, operands, |change, [density, epsilon]| change - epsilon * density)?;
        }
        if epsilon != 0.0 {
            let cost = self.cost_rows(kernel, side, even, &self.scale)?;
            let potential = self.in_all_columns(side.opposite(), half.other.potential)?;
            let mean = self.apply(kernel, side, conditional, &potential)?;
            let [s, mean, cost] = [half.softmin, &mean, &cost].map(Operand::Vector);
            let operands = [Operand::Constant(epsilon / self.epsilon()), s, mean, cost];
            update(backend, &mut change, operands, |change, [relative, s, mean, cost]| {
                change + relative * (s + mean - cost)
            })?;
        }
        Ok(change)
    }
}

/// A plan from its sides, of which `own` is that of `side`.
pub(crate) fn view<'a, D: Device>(side: Side, own: PlanSide<'a, D>, other: PlanSide<'a, D>) -> PlanView<'a, D> {
    match side {
        Side::Source => PlanView { source: own, target: other },
        Side::Target => PlanView { source: other, target: own },
    }
}

/// A factor of pairs that owns its vectors: see [`PairWeight`].
#[derive(Debug)]
pub(crate) struct Weight<D: Device> {
    pub(crate) constant: f64,
    pub(crate) sides: Sided<Option<D::Vector>>,
    pub(crate) product: Option<Sided<D::Vector>>,
    pub(crate) cost: f64,
}

impl<D: Device> Default for Weight<D> {
    fn default() -> Self {
        Self { constant: 0.0, sides: Sided { source: None, target: None }, product: None, cost: 0.0 }
    }
}

impl<D: Device> Weight<D> {
    /// As kernels take it.
    pub(crate) fn view(&self) -> PairWeight<'_, D> {
        PairWeight {
            constant: self.constant,
            source: self.sides.source.as_ref(),
            target: self.sides.target.as_ref(),
            product: self.product.as_ref().map(|product| (&product.source, &product.target)),
            cost: self.cost,
        }
    }

    /// A multiple.
    pub(crate) fn scaled(&self, backend: &dyn Backend<D>, factor: f64) -> Result<Self, Error> {
        let times = |vector: &D::Vector| scaled(backend, vector, factor);
        let product = match &self.product {
            Some(product) => Some(Sided { source: times(&product.source)?, target: backend.copied(&product.target)? }),
            None => None,
        };
        Ok(Self {
            constant: factor * self.constant,
            sides: Sided::try_new(|side| self.sides[side].as_ref().map(times).transpose())?,
            product,
            cost: factor * self.cost,
        })
    }
}
