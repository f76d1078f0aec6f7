//! The Gibbs kernel of listed pairs: log-sum-exp over the arcs of each atom.

use std::sync::Arc;

use ot_core::{
    Binding, CostDerivative, Error, GibbsKernel, HardTransform, Host, HostBackend, LOG_ZERO, PlanOperator, PlanProduct,
    PlanView, Side, SoftMin, TransportCost, UNREACHABLE,
    host::{HostVector, for_each_chunk},
};

use super::Incidence;
use crate::{backend::CpuBackend, geometry::CpuScalar};

/// Atoms of one task.
const TASK: usize = 64;

/// exp(-C / epsilon) on the arcs.
#[derive(Debug)]
pub(super) struct ArcsKernel<T> {
    backend: CpuBackend<T>,
    pub(super) arcs: Arc<[Incidence; 2]>,
    pub(super) binding: Binding,
}

impl<T: CpuScalar> ArcsKernel<T> {
    pub(super) fn new(
        backend: &CpuBackend<T>,
        arcs: &Arc<[Incidence; 2]>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let binding = Binding::new(arcs.each_ref().map(Incidence::len), columns, epsilon)?;
        Ok(Self { backend: backend.clone(), arcs: Arc::clone(arcs), binding })
    }

    /// out_i = value(i), atoms in parallel.
    pub(super) fn fill(&self, out: &mut [T], value: impl Fn(usize) -> f64 + Sync) {
        let tasks = out.len().div_ceil(TASK);
        let parallel = |tasks: usize, task: &(dyn Fn(usize) + Sync)| self.backend.parallel(tasks, task);
        for_each_chunk(parallel, tasks, out.chunks_mut(TASK), |task, atoms| {
            for (offset, out) in atoms.iter_mut().enumerate() {
                *out = T::from_f64(value(task * TASK + offset).clamp(-T::MAX, T::MAX));
            }
        });
    }

    /// One column of a plan, seen from a side.
    pub(super) fn column<'a>(&'a self, side: Side, plan: PlanView<'a, Host<T>>, column: usize) -> PlanColumn<'a, T> {
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        PlanColumn {
            arcs: &self.arcs[side.index()],
            epsilon: self.binding.epsilon(),
            potentials: [own, other].map(|side| side.potential.column(column)),
            weights: [own, other].map(|side| side.weights.column(column)),
        }
    }
}

/// One column of a plan on the arcs of the atoms of one side.
#[derive(Clone, Copy)]
pub(super) struct PlanColumn<'a, T> {
    pub(super) arcs: &'a Incidence,
    epsilon: f64,
    /// Of this side and of the other.
    potentials: [&'a [T]; 2],
    weights: [&'a [T]; 2],
}

impl<'a, T: CpuScalar> PlanColumn<'a, T> {
    /// The other atom, the entry of the plan and the cost of each arc of an atom.
    pub(super) fn of(self, atom: usize) -> impl Iterator<Item = (usize, f64, f64)> + 'a {
        let [f, g] = self.potentials;
        let (own, weight) = (f[atom].to_f64(), self.weights[0][atom].to_f64());
        self.arcs.of(atom).map(move |(other, cost)| {
            let weight = weight * self.weights[1][other].to_f64();
            let entry =
                if weight == 0.0 { 0.0 } else { weight * ((own + g[other].to_f64() - cost) / self.epsilon).exp() };
            (other, entry, cost)
        })
    }
}

impl<T: CpuScalar> PlanOperator<Host<T>> for ArcsKernel<T> {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.binding.rebind(epsilon)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let (_, channels) = values.shape();
        let per_column = channels / self.binding.columns();
        for channel in 0..channels {
            let (plan, values) = (self.column(side, plan, channel / per_column), values.column(channel));
            let sum = |atom: usize| plan.of(atom).map(|(other, entry, _)| entry * values[other].to_f64()).sum();
            self.fill(out.column_mut(channel), sum);
        }
        Ok(())
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

impl<T: CpuScalar> GibbsKernel<Host<T>> for ArcsKernel<T> {
    /// With an explicit maximum; the shift is not looked at.
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let SoftMin { side, other, active, .. } = request;
        let (arcs, epsilon) = (&self.arcs[side.index()], self.binding.epsilon());
        for &column in active.indices() {
            let (potential, log_weights) = (other.potential.column(column), other.log_weights.column(column));
            let softmin = |atom: usize| {
                let exponents = arcs
                    .of(atom)
                    .filter(|(other, _)| has_mass(log_weights[*other]))
                    .map(|(other, cost)| (potential[other].to_f64() - cost) / epsilon + log_weights[other].to_f64());
                match exponents.clone().reduce(f64::max) {
                    None => UNREACHABLE,
                    Some(largest) => {
                        let sum: f64 = exponents.map(|exponent| (exponent - largest).exp()).sum();
                        (-epsilon * (largest + sum.ln())).clamp(-T::LARGEST_COST, T::LARGEST_COST)
                    }
                }
            };
            self.fill(out.column_mut(column), softmin);
        }
        Ok(())
    }
}

/// Does an atom of this log-weight have mass?
pub(super) fn has_mass<T: CpuScalar>(log_weight: T) -> bool {
    log_weight.to_f64() > LOG_ZERO / 2.0
}
