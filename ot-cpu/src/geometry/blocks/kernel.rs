//! The Gibbs kernel of one solve between clouds in the order of their trees.
//!
//! Vectors come in the order of the user, are placed, and what is found goes back.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, ArcThreshold, Backend, Binding, CostDerivative, CostParameter, CostTangent, Error, GibbsKernel,
    HardTransform, Host, PlanOperator, PlanProduct, PlanView, PricedArc, Side, SoftMin, Sweep, TransportCost,
    WeightedPlan,
    host::{HostReduced, HostVector},
};

use super::{
    cost::BlockCost,
    kept::KeptPlan,
    passes::{Accuracy, Column, Scratch},
    placed::scatter,
};
use crate::{
    backend::CpuBackend,
    geometry::{CpuScalar, functionals::Functionals, rows::CostRows},
};

/// What sweeps may leave out of a density before it is known how far they move.
const FIRST_SWEEP: f64 = 1e-7;

/// What a sweep may leave out of a density after one that moved so far, in units of epsilon: a part of what it moves, and of what
/// the dual gains by that, which is of second order.
fn left_out_after(moved: f64) -> f64 {
    1e-2 * moved * moved.min(0.1)
}

/// A kernel over the pairs of two clouds that matter.
#[derive(Debug)]
pub(super) struct BlockKernel<T> {
    pub(super) functionals: Functionals<T, BlockCost<T>>,
    scratch: Scratch<T>,
    /// The part of a density that c-transforms and densities may leave out.
    left_out: f64,
    /// What the next sweep may leave out of a density, column by column.
    left_out_of_sweeps: Vec<f64>,
    /// The entries of the plan that linear solves were about last.
    pub(super) kept: Option<KeptPlan<T>>,
}

impl<T: CpuScalar> BlockKernel<T> {
    pub(super) fn new(
        backend: &CpuBackend<T>,
        cost: &Arc<BlockCost<T>>,
        left_out: f64,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let binding = Binding::new(Side::BOTH.map(|side| cost.len(side)), columns, epsilon)?;
        Ok(Self {
            functionals: Functionals { backend: backend.clone(), cost: Arc::clone(cost), binding, regularizer: None },
            scratch: Scratch::new(cost.as_ref(), backend.threads())?,
            left_out,
            left_out_of_sweeps: vec![FIRST_SWEEP; columns],
            kept: None,
        })
    }

    /// Makes sure that the entries of a plan are kept, if they are not too many.
    pub(super) fn keep(&mut self, rows: Side, plan: PlanView<'_, Host<T>>) -> Result<(), Error> {
        let binding = &self.functionals.binding;
        if self.kept.as_ref().is_some_and(|kept| kept.is(rows, binding.epsilon(), plan)) {
            return Ok(());
        }
        self.kept = None;
        if binding.columns() == 1 {
            self.kept = Some(KeptPlan::new(&self.functionals, rows, plan)?);
        }
        Ok(())
    }

    fn column(&mut self) -> Column<'_, T> {
        let Self { functionals: Functionals { backend, cost, binding, .. }, scratch, .. } = self;
        Column { backend, cost, epsilon: binding.epsilon(), scratch }
    }
}

impl<T: CpuScalar> PlanOperator<Host<T>> for BlockKernel<T> {
    fn binding(&self) -> &Binding {
        &self.functionals.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.kept = None;
        self.left_out_of_sweeps.fill(FIRST_SWEEP);
        self.functionals.binding.rebind(epsilon)
    }

    fn recenter(&mut self, _: PlanView<'_, Host<T>>) -> Result<(), Error> {
        self.left_out_of_sweeps.fill(FIRST_SWEEP);
        Ok(())
    }

    /// Takes memory for the vectors in their places.
    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let cost = &self.functionals.cost;
        let (plan, values) = (cost.placed_plan(plan)?, cost.placed(side.opposite(), values)?);
        let (rows, columns) = out.shape();
        let mut placed = HostVector::alloc(rows, columns)?;
        self.functionals.apply(side, plan.view(), &values, &mut placed);
        self.functionals.cost.write_back(side, &placed, out);
        Ok(())
    }

    fn left_out(&self) -> f64 {
        self.left_out
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Host<T>>> {
        Some(self)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Host<T>>> {
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Host<T>>> {
        Some(self)
    }

    fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<Host<T>>> {
        Some(self)
    }
}

impl<T: CpuScalar> GibbsKernel<Host<T>> for BlockKernel<T> {
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let accuracy = Accuracy::new(self.left_out);
        for &column in request.active.indices() {
            self.column().softmin(&request, accuracy, column, out);
        }
        Ok(())
    }

    fn softmins(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        [source, target]: [&mut HostVector<T>; 2],
    ) -> Result<(), Error> {
        let accuracy = Accuracy::new(self.left_out);
        for &column in active.indices() {
            self.column().softmins(plan, accuracy, column, [&mut *source, &mut *target]);
        }
        Ok(())
    }

    fn fused_sweep(&mut self, _: &dyn Backend<Host<T>>, mut sweep: Sweep<'_, Host<T>>) -> Result<(), Error> {
        let least = self.left_out;
        let active = sweep.active;
        // The plan is another one afterwards.
        self.kept = None;
        for &column in active.indices() {
            let accuracy = Accuracy::new(self.left_out_of_sweeps[column].max(least));
            let moved = self.column().sweep(&mut sweep, accuracy, column);
            self.left_out_of_sweeps[column] = left_out_after(moved.min(1.0));
        }
        Ok(())
    }
}

impl<T: CpuScalar> TransportCost<Host<T>> for BlockKernel<T> {
    fn plan_cost(&mut self, plan: PlanView<'_, Host<T>>, out: &mut HostReduced) -> Result<(), Error> {
        let plan = self.functionals.cost.placed_plan(plan)?;
        self.functionals.plan_cost(plan.view(), out)
    }

    fn rank_one_cost(&mut self, u: &HostVector<T>, v: &HostVector<T>, out: &mut HostReduced) -> Result<(), Error> {
        let cost = &self.functionals.cost;
        let (u, v) = (cost.placed(Side::Source, u)?, cost.placed(Side::Target, v)?);
        self.functionals.rank_one_cost(&u, &v, out)
    }
}

impl<T: CpuScalar> HardTransform<Host<T>> for BlockKernel<T> {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        out: &mut HostVector<T>,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (cost, other) = (Arc::clone(&self.functionals.cost), side.opposite());
        let (potential, log_weights) = (cost.placed(other, potential)?, cost.placed(other, log_weights)?);
        let (rows, columns) = out.shape();
        let mut placed = HostVector::alloc(rows, columns)?;
        match argument {
            None => self.functionals.hard_c_transform(side, &potential, &log_weights, &mut placed, None)?,
            Some(argument) => {
                let mut found = Vec::new();
                self.functionals.hard_c_transform(side, &potential, &log_weights, &mut placed, Some(&mut found))?;
                argument.clear();
                argument.resize(rows * columns, u32::MAX);
                for (column, found) in argument.chunks_mut(rows).zip(found.chunks(rows)) {
                    scatter(cost.order(side), found, column);
                }
            }
        }
        cost.write_back(side, &placed, out);
        Ok(())
    }

    fn arcs_below(
        &mut self,
        source_potential: &HostVector<T>,
        target_potential: &HostVector<T>,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let cost = Arc::clone(&self.functionals.cost);
        let [of_source, of_target] = Side::BOTH.map(|side| {
            let order = cost.order(side);
            threshold.atoms.map(|atoms| order.iter().map(|&atom| side.of(atoms)[atom as usize]).collect::<Vec<_>>())
        });
        let atoms = of_source.as_ref().zip(of_target.as_ref()).map(|(source, target)| [&source[..], &target[..]]);
        let (f, g) = (cost.placed(Side::Source, source_potential)?, cost.placed(Side::Target, target_potential)?);
        let placed = ArcThreshold { base: threshold.base, atoms };
        let mut arcs = self.functionals.arcs_below(&f, &g, column, placed, limit)?;
        for arc in &mut arcs {
            arc.source = cost.order(Side::Source)[arc.source as usize];
            arc.target = cost.order(Side::Target)[arc.target as usize];
        }
        arcs.sort_unstable_by_key(|arc| (arc.source, arc.target));
        Ok(arcs)
    }
}

impl<T: CpuScalar> CostDerivative<Host<T>> for BlockKernel<T> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        self.functionals.shape(parameter)
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let pairs = self.functionals.cost.placed_pairs(pairs)?;
        let mut placed = out.clone();
        self.functionals.pull_back(pairs.view(), parameter, &mut placed)?;
        self.functionals.cost.write_parameter(parameter, placed, out);
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let cost = &self.functionals.cost;
        let (pairs, (parameter, values)) = (cost.placed_pairs(pairs)?, cost.placed_parameter(tangent)?);
        let tangent = CostTangent { parameter, values: &values };
        let mut placed = out.clone();
        self.functionals.push_forward(side, pairs.view(), tangent, &mut placed)?;
        self.functionals.cost.write_back(side, &placed, out);
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let cost = &self.functionals.cost;
        let (pairs, (moving, values)) = (cost.placed_pairs(pairs)?, cost.placed_parameter(tangent)?);
        let tangent = CostTangent { parameter: moving, values: &values };
        let mut placed = out.clone();
        self.functionals.curvature(pairs.view(), parameter, tangent, &mut placed)?;
        self.functionals.cost.write_parameter(parameter, placed, out);
        Ok(())
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let cost = &self.functionals.cost;
        let (plan, (moving, values)) = (cost.placed_plan(plan)?, cost.placed_parameter(tangent)?);
        let tangent = CostTangent { parameter: moving, values: &values };
        let mut placed = out.clone();
        self.functionals.gauss_newton(plan.view(), parameter, tangent, &mut placed)?;
        self.functionals.cost.write_parameter(parameter, placed, out);
        Ok(())
    }
}
