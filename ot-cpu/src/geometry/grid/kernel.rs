//! The Gibbs kernel of one solve on grids.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use ot_core::{
    Backend, Binding, CostDerivative, Error, GibbsKernel, HardTransform, Host, LOG_ZERO, PenaltyKind, PlanOperator,
    PlanSide, PlanView, Side, SoftMin, Sweep, TransportCost, UNREACHABLE,
    host::{HostReduced, HostVector},
    kernel::half_step,
};

use super::{
    Grids,
    axis::Lines,
    pass::{DARK, Pass, Workspace},
};
use crate::{
    backend::CpuBackend,
    geometry::{
        CpuScalar,
        memory::{Pool, zeroed},
    },
};

/// Nodes of all tensors that go through a pass together, about.
const GROUP_NODES: usize = 1 << 17;

/// A kernel over two grids.
#[derive(Debug)]
pub(super) struct GridKernel<T> {
    pub(super) backend: CpuBackend<T>,
    pub(super) grids: Arc<Grids<T>>,
    binding: Binding,
    /// The cost of each axis, seen from either side.
    lines: Arc<Lines<T>>,
    /// What passes read and write in turn.
    buffers: [Vec<T>; 2],
    /// Sums of the tensors that go together; none before they are asked for.
    sums: Vec<T>,
    workspaces: Pool<Workspace<T>>,
}

impl<T: CpuScalar> GridKernel<T> {
    /// Binds two grids.
    pub(super) fn new(
        backend: &CpuBackend<T>,
        grids: &Arc<Grids<T>>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let lens = grids.sides.each_ref().map(|grid| grid.len());
        let binding = Binding::new(lens, columns, epsilon)?;
        let largest = Side::BOTH.into_iter().map(|side| largest_tensor(grids, side)).max().unwrap_or(1);
        let group = (GROUP_NODES / largest).clamp(1, columns);
        let longest = |side: Side| grids.costs.axes().iter().map(|axis| axis.len(side)).max().unwrap_or(1);
        let longest = longest(Side::Source).max(longest(Side::Target));
        let workspaces = (0..backend.threads()).map(|_| Workspace::new(longest, longest)).collect();
        Ok(Self {
            backend: backend.clone(),
            lines: grids.lines(epsilon),
            grids: Arc::clone(grids),
            binding,
            buffers: [zeroed(group * largest, "tensors of a grid")?, zeroed(group * largest, "tensors of a grid")?],
            sums: Vec::new(),
            workspaces: Pool(Mutex::new(workspaces)),
        })
    }

    /// Tensors that go through a pass together.
    fn group(&self) -> usize {
        let largest = Side::BOTH.into_iter().map(|side| largest_tensor(&self.grids, side)).max().unwrap_or(1);
        (self.buffers[0].len() / largest).max(1)
    }

    /// Passes over all axes of some tensors, no more than go together: from `read(tensor, start, row)` to the outputs,
    /// through `finish`. Of the axis named, terms are multiplied by their cost.
    fn passes<'o>(
        &mut self,
        side: Side,
        weighted: Option<usize>,
        read: impl Fn(usize, usize, &mut [T]) + Sync,
        tensors: usize,
        outputs: impl Iterator<Item = &'o mut [T]> + Send,
        finish: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        let lines = side.of(self.lines.each_ref());
        let last = lines.len() - 1;
        let mut size = self.grids.costs.axes().iter().map(|axis| axis.len(side.opposite())).product::<usize>();
        let (mut entering, mut leaving) = {
            let [a, b] = &mut self.buffers;
            (a, b)
        };
        let mut outputs = Some(outputs);
        for (k, cost) in lines.iter().enumerate() {
            let pass = Pass {
                backend: &self.backend,
                workspaces: &self.workspaces,
                counts: &self.grids.counts,
                cost,
                tensors,
                lines: size / cost.inputs(),
                times_cost: weighted == Some(k),
            };
            let next = pass.lines * cost.outputs();
            let before = &entering[..];
            let copy = |tensor: usize, start: usize, row: &mut [T]| {
                row.copy_from_slice(&before[tensor * size + start..][..row.len()]);
            };
            let between = leaving.chunks_exact_mut(next).take(tensors);
            match (k == 0, k == last) {
                (true, true) => pass.run(&read, outputs.take().into_iter().flatten(), &finish),
                (true, false) => pass.run(&read, between, |_, _, _| ()),
                (false, false) => pass.run(copy, between, |_, _, _| ()),
                (false, true) => pass.run(copy, outputs.take().into_iter().flatten(), &finish),
            }
            std::mem::swap(&mut entering, &mut leaving);
            size = next;
        }
    }

    /// The softmins of the active columns: `finish(column, start, softmins)` changes those from place `start` on before they are
    /// left in `out`.
    fn softmins_of(
        &mut self,
        SoftMin { side, other, active, .. }: SoftMin<'_, Host<T>>,
        out: &mut HostVector<T>,
        finish: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        let epsilon = self.binding.epsilon();
        let rows = self.binding.len(side);
        let (scale, half) = (T::from_f64(-epsilon), T::from_f64(0.5 * DARK));
        for group in active.indices().chunks(self.group()) {
            let read = |tensor: usize, start: usize, row: &mut [T]| {
                let column = group[tensor];
                let (potential, log_weights) = (other.potential.column(column), other.log_weights.column(column));
                logs(potential, log_weights, 1.0 / epsilon, start, row);
            };
            let outputs = out.values_mut().chunks_exact_mut(rows).enumerate();
            let outputs = outputs.filter_map(|(column, out)| group.contains(&column).then_some(out));
            self.passes(side, None, read, group.len(), outputs, |tensor, start, sums| {
                for sum in &mut *sums {
                    *sum = if *sum > half { scale * *sum } else { T::from_f64(UNREACHABLE) };
                }
                finish(group[tensor], start, sums);
            });
        }
    }

    /// a_i exp(f_i / epsilon) sum_j b_j exp((g_j - C_ij) / epsilon) |v_j| for some columns, no more than go together, over the j
    /// where v has this sign, terms multiplied by the cost of an axis if one is named; left in `sums`.
    fn sums_of_plan(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        columns: Range<usize>,
        values: Option<(&[T], f64)>,
        weighted: Option<usize>,
    ) -> Result<(), Error> {
        let inverse = 1.0 / self.binding.epsilon();
        let (own, other, first) = (plan.side(side), plan.side(side.opposite()), columns.start);
        let len = self.binding.len(side);
        if self.sums.len() < columns.len() * len {
            self.sums = zeroed(columns.len() * len, "sums of a grid")?;
        }
        let mut sums = std::mem::take(&mut self.sums);
        let read = |tensor: usize, start: usize, row: &mut [T]| {
            let column = first + tensor;
            logs(other.potential.column(column), other.log_weights.column(column), inverse, start, row);
            if let Some((values, sign)) = values {
                for (row, &value) in row.iter_mut().zip(&values[start..]) {
                    let value = sign * value.to_f64();
                    let is_left_out = value <= 0.0 || row.to_f64() <= 0.5 * DARK;
                    *row = T::from_f64(if is_left_out { DARK } else { row.to_f64() + value.ln() });
                }
            }
        };
        let weigh = |tensor: usize, start: usize, sums: &mut [T]| {
            let column = first + tensor;
            let (potential, log_weights) = (own.potential.column(column), own.log_weights.column(column));
            for (sum, (potential, log_weight)) in
                sums.iter_mut().zip(potential[start..].iter().zip(&log_weights[start..]))
            {
                let log_weight = log_weight.to_f64();
                let is_left_out = log_weight <= 0.5 * LOG_ZERO || sum.to_f64() <= 0.5 * DARK;
                let exponent = potential.to_f64() * inverse + log_weight + sum.to_f64();
                *sum = T::from_f64(if is_left_out { DARK } else { exponent.clamp(DARK, -DARK) });
            }
            T::exp_in_place(sums);
        };
        self.passes(side, weighted, read, columns.len(), sums.chunks_exact_mut(len), weigh);
        self.sums = sums;
        Ok(())
    }

    /// The total of the sums of a tensor, in an order that the shape fixes.
    fn total(&self, side: Side, tensor: usize) -> f64 {
        let len = self.binding.len(side);
        let sums = &self.sums[tensor * len..][..len];
        sums.chunks(1 << 10).map(|sums| sums.iter().map(|sum| sum.to_f64()).sum::<f64>()).sum()
    }
}

/// g / epsilon + log b, and the logarithm of no mass where there is none.
fn logs<T: CpuScalar>(potential: &[T], log_weights: &[T], inverse: f64, start: usize, row: &mut [T]) {
    let (inverse, dark) = (T::from_f64(inverse), T::from_f64(DARK));
    let (half, lowest, highest) = (T::from_f64(0.5 * LOG_ZERO), T::from_f64(0.1 * DARK), T::from_f64(-0.1 * DARK));
    let sides = potential[start..].iter().zip(&log_weights[start..]);
    for (row, (&potential, &log_weight)) in row.iter_mut().zip(sides) {
        let log = potential * inverse + log_weight;
        let log = if log > highest { highest } else { log };
        let log = if log < lowest { lowest } else { log };
        *row = if log_weight <= half { dark } else { log };
    }
}

/// The nodes of the largest tensor between the passes for the nodes of a side.
fn largest_tensor<T>(grids: &Grids<T>, side: Side) -> usize {
    let mut size: usize = grids.costs.axes().iter().map(|axis| axis.len(side.opposite())).product();
    let sizes = grids.costs.axes().iter().map(|axis| {
        size = size / axis.len(side.opposite()) * axis.len(side);
        size
    });
    sizes.max().unwrap_or(1)
}

impl<T: CpuScalar> PlanOperator<Host<T>> for GridKernel<T> {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.binding.rebind(epsilon)?;
        self.lines = self.grids.lines(epsilon);
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let (_, channels) = values.shape();
        for channel in 0..channels {
            let column = channel * self.binding.columns() / channels;
            let values = values.column(channel);
            out.column_mut(channel).fill(T::default());
            // Logarithms have no signs: the positive part less the negative one.
            for sign in [1.0, -1.0] {
                if values.iter().any(|value| sign * value.to_f64() > 0.0) {
                    self.sums_of_plan(side, plan, column..column + 1, Some((values, sign)), None)?;
                    for (out, &sum) in out.column_mut(channel).iter_mut().zip(&self.sums) {
                        *out = *out + T::from_f64(sign) * sum;
                    }
                }
            }
        }
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Host<T>>> {
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Host<T>>> {
        Some(self)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Host<T>>> {
        Some(self)
    }
}

impl<T: CpuScalar> GibbsKernel<Host<T>> for GridKernel<T> {
    /// The guess is not needed.
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        self.softmins_of(request, out, |_, _, _| ());
        Ok(())
    }

    /// A prescribed marginal relaxes its softmin where that is made: potentials are read and written once.
    fn fused_half_step(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        side: Side,
        sweep: &mut Sweep<'_, Host<T>>,
    ) -> Result<(), Error> {
        let is_prescribed = sweep.marginal(side).penalty().kind() == PenaltyKind::Balanced;
        let moves_all = sweep.active.indices().len() == self.binding.columns();
        if !(is_prescribed && moves_all) || sweep.by_products.is_some() {
            return half_step(self, backend, side, sweep);
        }
        let Sweep { source, target, potentials, relaxation, active, scratch, .. } = sweep;
        let (opposite, omegas) = (side.opposite(), relaxation.values());
        let other = PlanSide::new(potentials.side(opposite), opposite.of([*source, *target]).device_weights());
        let own = potentials.side(side);
        let request = SoftMin { side, other, shift: own, active };
        self.softmins_of(request, scratch.side_mut(side), |column, start, softmins| {
            let omega = T::from_f64(omegas[column.min(omegas.len() - 1)]);
            let rests = omega == T::default();
            for (softmin, &f) in softmins.iter_mut().zip(&own.column(column)[start..]) {
                *softmin = if rests { f } else { f + omega * (*softmin - f) };
            }
        });
        std::mem::swap(potentials.side_mut(side), scratch.side_mut(side));
        Ok(())
    }
}

impl<T: CpuScalar> TransportCost<Host<T>> for GridKernel<T> {
    fn plan_cost(&mut self, plan: PlanView<'_, Host<T>>, out: &mut HostReduced) -> Result<(), Error> {
        let (side, epsilon) = (Side::Source, self.binding.epsilon());
        let least: f64 = self.lines[0].iter().map(|cost| cost.least_weight()).sum();
        let axes = (0..self.grids.costs.axes().len()).map(|axis| (Some(axis), 1.0));
        let parts: Vec<_> = axes.chain((least != 0.0).then_some((None, least))).collect();
        let group = self.group();
        for (index, out) in out.values_mut().chunks_mut(group).enumerate() {
            out.fill(0.0);
            for &(axis, factor) in &parts {
                self.sums_of_plan(side, plan, index * group..index * group + out.len(), None, axis)?;
                for (tensor, out) in out.iter_mut().enumerate() {
                    *out += epsilon * factor * self.total(side, tensor);
                }
            }
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &HostVector<T>, v: &HostVector<T>, out: &mut HostReduced) -> Result<(), Error> {
        for (column, out) in out.values_mut().iter_mut().enumerate() {
            *out = self.grids.costs.rank_one(u.column(column), v.column(column))?;
        }
        Ok(())
    }
}
