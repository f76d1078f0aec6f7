//! The kernel of any regularizer but entropy, over a cost given by its rows.
//!
//! ```text
//! P_ij = a_i b_j h*'((f_i + g_j - C_ij) / epsilon)
//! ```
//!
//! A c-transform is found row by row: the differences g_j - C_ij of a block of rows are written to memory that a cache
//! holds, and every density that the [equation of a row](ot_core::regularizer::c_transform_of_row) asks for is a pass
//! over them. For [`SquaredL2`](ot_core::SquaredL2) that is a vector loop of additions; other regularizers run their
//! programs. Marginals of both sides come from one pass over the rows, with the column sums of each task apart and
//! folded in order, so that the bits do not depend on the threads.

mod squares;

use std::{
    array,
    cell::Cell,
    iter,
    ops::Range,
    sync::{Arc, Mutex},
};

use ot_core::{
    ActiveColumns, Backend, Binding, CTransform, CappedPlan, CostDerivative, Entering, Error, HardTransform, Host,
    HostBackend, KernelOp, LOG_ZERO, PlanOperator, PlanRounding, PlanView, RecordedPenalty, RecordedRegularizer,
    RegularizerKind, RoundedFactors, RoundedValue, Side, TransportCost,
    host::{HostReduced, HostVector, for_each_chunk},
    power_of_two::{binary_exponent, times_power_of_two},
    program::{BlockInput, Registers},
    regularizer::{RowDensity, c_transform_of_row},
};

use super::{
    CpuScalar,
    functionals::Functionals,
    instead::multiply,
    memory::{Pool, zeroed},
    rows::{BLOCK, CostRows, TASKS, TILE, most_tasks, pieces, task_atoms},
    sweep::{CappedRows, or_none},
};
use crate::{
    backend::{CpuBackend, VectorisedMath},
    simd::SquareChange,
};

/// An epsilon up to which, and a reciprocal of one down to which, squares of what is some thousands of it are in range.
const LARGEST_SQUARED: f64 = 1e130;

/// A kernel over stored or streamed costs.
#[derive(Debug)]
pub(super) struct GeneralKernel<T, R> {
    functionals: Functionals<T, R>,
    regularizer: RecordedRegularizer,
    /// Column sums of each task.
    sums: Vec<f64>,
    /// Sums over all pairs of each task.
    totals: [f64; TASKS],
    workspaces: Pool<Box<Workspace<T>>>,
}

/// What a thread works with while it is at a task.
#[derive(Debug)]
struct Workspace<T> {
    /// Differences of a block of rows.
    rows: Vec<T>,
    registers: Registers<T>,
    /// Inputs and outputs of a program over a tile.
    lanes: [[T; TILE]; 3],
}

impl<T: CpuScalar, R: CostRows<T>> GeneralKernel<T, R> {
    /// Binds a cost.
    pub(super) fn new(
        backend: &CpuBackend<T>,
        cost: &Arc<R>,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let (rows, others, what) = (cost.len(Side::Source), cost.len(Side::Target), "scratch of a kernel");
        let functionals = Functionals {
            backend: backend.clone(),
            cost: Arc::clone(cost),
            binding: Binding::new([rows, others], columns, epsilon)?,
            regularizer: Some(regularizer.clone()),
        };
        let mut workspaces = Vec::with_capacity(backend.threads());
        for _ in 0..backend.threads() {
            workspaces.push(Box::new(Workspace {
                rows: zeroed(BLOCK * rows.max(others), what)?,
                registers: Registers::new(),
                lanes: [[T::default(); TILE]; 3],
            }));
        }
        Ok(Self {
            functionals,
            regularizer: regularizer.clone(),
            sums: zeroed(most_tasks(others) * others, what)?,
            totals: [0.0; TASKS],
            workspaces: Pool(Mutex::new(workspaces)),
        })
    }

    /// Calls `visit(atom, row)` for the rows of some atoms, which hold the differences g_j - C_ij, and `finish(block,
    /// rows)` for each block of rows as visits have left them.
    fn visit_rows(
        &self,
        side: Side,
        atoms: Range<usize>,
        potential: &[T],
        mut visit: impl FnMut(usize, &mut Row<'_, T>),
        mut finish: impl FnMut(Range<usize>, &[T]),
    ) {
        let cost = self.functionals.cost.as_ref();
        let others = cost.len(side.opposite());
        let mut workspace = self.workspaces.take();
        let Workspace { rows, registers, lanes } = workspace.as_mut();
        for block in pieces(atoms, BLOCK) {
            for tile in pieces(0..others, TILE) {
                cost.tile(side, block.clone(), tile.clone(), others, &mut rows[tile.start..]);
            }
            for (atom, differences) in block.clone().zip(rows.chunks_exact_mut(others)) {
                T::differences_from(potential, differences);
                visit(
                    atom,
                    &mut Row { regularizer: &self.regularizer, epsilon: self.epsilon(), differences, registers, lanes },
                );
            }
            finish(block, rows);
        }
        self.workspaces.put(workspace);
    }

    /// The c-transforms of one column.
    fn transform_column(
        &self,
        side: Side,
        penalty: &RecordedPenalty,
        [potential, weights, guess]: [&[T]; 3],
        out: &mut [T],
    ) {
        let (atoms, others) = (out.len(), potential.len());
        let mass = weights.iter().map(|weight| weight.to_f64()).sum();
        let (task, epsilon, backend) = (task_atoms(atoms, others), self.epsilon(), &self.functionals.backend);
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            atoms.div_ceil(task),
            out.chunks_mut(task),
            |index, out| {
                let start = index * task;
                let atoms = start..start + out.len();
                let transform = |atom: usize, row: &mut Row<'_, T>| {
                    let mut row = WeightedRow { row, weights, mass };
                    let best = c_transform_of_row::<T>(penalty, epsilon, guess[atom].to_f64(), &mut row);
                    out[atom - start] = T::from_f64(best);
                };
                self.visit_rows(side, atoms, potential, transform, |_, _| ());
            },
        );
    }
}

impl<T: CpuScalar, R: CostRows<T>> PlanOperator<Host<T>> for GeneralKernel<T, R> {
    fn binding(&self) -> &Binding {
        &self.functionals.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.functionals.binding.rebind(epsilon)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        if values.shape().1 > self.columns() {
            // Several channels share the entries.
            self.functionals.apply(side, plan, values, out);
            return Ok(());
        }
        for column in 0..self.columns() {
            let (values, out) = (values.column(column), out.column_mut(column));
            match side {
                Side::Source => self.apply_rows(plan, column, values, out),
                Side::Target => self.apply_columns(plan, column, values, out),
            }
        }
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Host<T>>> {
        Some(&mut self.functionals)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Host<T>>> {
        Some(&mut self.functionals)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Host<T>>> {
        Some(&mut self.functionals)
    }
}

impl<T: CpuScalar, R: CostRows<T>> KernelOp<Host<T>> for GeneralKernel<T, R> {
    fn c_transform(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        request: CTransform<'_, Host<T>>,
        out: &mut HostVector<T>,
        entering: Option<Entering<'_, Host<T>>>,
    ) -> Result<(), Error> {
        let CTransform { side, plan, penalty, active } = request;
        if let Some(Entering { density, conjugate }) = entering {
            self.density(backend, side, plan, active, density, conjugate)?;
        }
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        for &column in active.indices() {
            let terms = [other.potential, other.weights, own.potential].map(|vector| vector.column(column));
            self.transform_column(side, penalty, terms, out.column_mut(column));
        }
        Ok(())
    }

    fn density(
        &mut self,
        _: &dyn Backend<Host<T>>,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        density: &mut HostVector<T>,
        mut conjugate: Option<&mut HostReduced>,
    ) -> Result<(), Error> {
        let mut totals = std::mem::replace(&mut self.totals, [0.0; TASKS]);
        for &column in active.indices() {
            totals.fill(0.0);
            let (own, other) = (plan.side(side), plan.side(side.opposite()));
            let [f, a] = [own.potential, own.weights].map(|vector| vector.column(column));
            let [g, b] = [other.potential, other.weights].map(|vector| vector.column(column));
            let task = task_atoms(f.len(), g.len());
            for_each_chunk(
                |tasks, job| self.functionals.backend.parallel(tasks, job),
                f.len().div_ceil(task),
                density.column_mut(column).chunks_mut(task).zip(totals.iter_mut()),
                |index, (out, total)| {
                    let start = index * task;
                    let atoms = start..start + out.len();
                    let sum = |atom: usize, row: &mut Row<'_, T>| {
                        let [density, conjugate] = row.densities(f[atom], b);
                        out[atom - start] = T::from_f64(density);
                        *total += weighted(a[atom], conjugate);
                    };
                    self.visit_rows(side, atoms, g, sum, |_, _| ());
                },
            );
            if let Some(out) = &mut conjugate {
                out.values_mut()[column] = totals.iter().sum();
            }
        }
        self.totals = totals;
        Ok(())
    }

    fn densities(
        &mut self,
        _: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        out: [&mut HostVector<T>; 2],
        conjugate: &mut HostReduced,
    ) -> Result<(), Error> {
        match squares::is_moderate(&self.regularizer, self.epsilon(), plan) {
            true => self.square_densities(plan, active, out, conjugate),
            false => self.both_densities(plan, active, out, conjugate, None),
        }
        Ok(())
    }

    fn capped_densities(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        highest: f64,
        active: &ActiveColumns,
        out: CappedPlan<'_, Host<T>>,
        conjugate: &mut HostReduced,
    ) -> Result<(), Error> {
        let CappedPlan { source, target, log_scaling, capped } = out;
        if highest == f64::INFINITY {
            self.both_densities(plan, active, [source, &mut *target], conjugate, None);
            backend.fill(0.0, log_scaling)?;
            return backend.copy(target, capped);
        }
        let capped = CappedRows { log_highest: highest.ln(), log_scaling, columns: capped };
        self.both_densities(plan, active, [source, target], conjugate, Some(capped));
        Ok(())
    }

    fn fenchel_gap(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        rounding: PlanRounding<'_, Host<T>>,
        out: RoundedValue<'_, Host<T>>,
    ) -> Result<(), Error> {
        let rounded = match rounding {
            PlanRounding::Scaled { columns, .. } => RoundedFactors::upload(backend, columns)?,
            PlanRounding::Relative { source, target } => {
                self.relative_gap(plan, [source, target], out);
                return Ok(());
            }
        };
        for column in 0..self.functionals.binding.columns() {
            let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| vector.column(column));
            let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| vector.column(column));
            let parts = [&rounded.scaling, &rounded.added[0], &rounded.added[1]];
            let [own, other] = [0, 1].map(|side| parts.map(|pair| pair[side].column(column)));
            let task = task_atoms(f.len(), g.len());
            let mut totals = [[0.0; 2]; TASKS];
            for_each_chunk(
                |tasks, job| self.functionals.backend.parallel(tasks, job),
                f.len().div_ceil(task),
                totals.iter_mut(),
                |index, [gap, value]| {
                    let start = index * task;
                    let atoms = start..f.len().min(start + task);
                    let sum = |atom: usize, row: &mut Row<'_, T>| {
                        let factors: [f64; 3] = own.map(|vector| vector[atom].to_f64());
                        let of_row = row.fenchel_gap(f[atom], b, factors, other);
                        *gap += weighted(a[atom], of_row);
                        *value += weighted(a[atom], of_row - row.densities(f[atom], b)[1]);
                    };
                    self.visit_rows(Side::Source, atoms, g, sum, |_, _| ());
                },
            );
            out.gap.values_mut()[column] = totals.iter().map(|[gap, _]| gap).sum();
            out.value.values_mut()[column] = totals.iter().map(|[_, value]| value).sum();
        }
        Ok(())
    }
}

impl<T: CpuScalar, R: CostRows<T>> GeneralKernel<T, R> {
    /// The densities of both marginals in one pass over the rows, and those of the columns with rows capped, if that is asked
    /// for.
    fn both_densities(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        [source, target]: [&mut HostVector<T>; 2],
        conjugate: &mut HostReduced,
        mut capped: Option<CappedRows<'_, T>>,
    ) {
        let mut totals = std::mem::replace(&mut self.totals, [0.0; TASKS]);
        let mut sums = std::mem::take(&mut self.sums);
        let mut sums_of_capped = vec![0.0; if capped.is_some() { sums.len() } else { 0 }];
        let scale = self.entry_scale();
        for &column in active.indices() {
            totals.fill(0.0);
            sums.fill(0.0);
            sums_of_capped.fill(0.0);
            let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| vector.column(column));
            let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| vector.column(column));
            let (task, others) = (task_atoms(f.len(), g.len()), g.len());
            let pieces = source.column_mut(column).chunks_mut(task).zip(totals.iter_mut());
            let pieces_of_capped = capped.as_mut().map(|capped| {
                let scalings = capped.log_scaling.column_mut(column).chunks_mut(task);
                iter::repeat(capped.log_highest).zip(scalings.zip(sums_of_capped.chunks_exact_mut(others)))
            });
            for_each_chunk(
                |tasks, job| self.functionals.backend.parallel(tasks, job),
                f.len().div_ceil(task),
                pieces.zip(sums.chunks_exact_mut(others)).zip(or_none(pieces_of_capped)),
                |index, (((out, total), sums), capped)| {
                    let start = index * task;
                    let atoms = start..start + out.len();
                    let (mut caps, mut sums_of_capped) = match capped {
                        Some((log_highest, (caps, sums))) => (Some((log_highest, caps)), Some(sums)),
                        None => (None, None),
                    };
                    // The weights of a block of rows, capped: known when its rows have been met.
                    let weights: [Cell<T>; BLOCK] = array::from_fn(|_| Cell::new(T::default()));
                    let sum = |atom: usize, row: &mut Row<'_, T>| {
                        let [density, conjugate] = row.densities(f[atom], b);
                        out[atom - start] = T::from_f64(density);
                        *total += weighted(a[atom], conjugate);
                        if let Some((log_highest, caps)) = &mut caps {
                            let cap = (*log_highest - density.ln()).clamp(LOG_ZERO, 0.0);
                            caps[atom - start] = T::from_f64(cap);
                            weights[(atom - start) % BLOCK].set(T::from_f64(weighted(a[atom], cap.exp())));
                        }
                    };
                    let add = |block: Range<usize>, rows: &[T]| {
                        T::accumulate(&a[block.clone()], rows, others, sums);
                        if let Some(sums) = &mut sums_of_capped {
                            let weights = weights.each_ref().map(Cell::get);
                            T::accumulate(&weights[..block.len()], rows, others, sums);
                        }
                    };
                    self.visit_rows(Side::Source, atoms, g, sum, add);
                },
            );
            let fold = |sums: &[f64], out: &mut [T]| {
                for (j, out) in out.iter_mut().enumerate() {
                    *out = T::from_f64(scale * sums.iter().skip(j).step_by(others).sum::<f64>());
                }
            };
            fold(&sums, target.column_mut(column));
            if let Some(capped) = &mut capped {
                fold(&sums_of_capped, capped.columns.column_mut(column));
            }
            conjugate.values_mut()[column] = totals.iter().sum();
        }
        (self.totals, self.sums) = (totals, sums);
    }

    /// P v of one column.
    fn apply_rows(&self, plan: PlanView<'_, Host<T>>, column: usize, values: &[T], out: &mut [T]) {
        let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| vector.column(column));
        let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| vector.column(column));
        let (task, scale) = (task_atoms(f.len(), g.len()), self.entry_scale());
        for_each_chunk(
            |tasks, job| self.functionals.backend.parallel(tasks, job),
            f.len().div_ceil(task),
            out.chunks_mut(task),
            |index, out| {
                let start = index * task;
                let atoms = start..start + out.len();
                let sum = |atom: usize, row: &mut Row<'_, T>| {
                    row.densities(f[atom], b);
                    for (entry, &weight) in row.differences.iter_mut().zip(b) {
                        *entry = *entry * weight;
                    }
                    out[atom - start] = T::from_f64(weighted(a[atom], scale * T::dot(row.differences, values)));
                };
                self.visit_rows(Side::Source, atoms, g, sum, |_, _| ());
            },
        );
    }

    /// P^T v of one column: row by row too, the sums of all columns being added to.
    fn apply_columns(&mut self, plan: PlanView<'_, Host<T>>, column: usize, values: &[T], out: &mut [T]) {
        let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| vector.column(column));
        let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| vector.column(column));
        let (task, others) = (task_atoms(f.len(), g.len()), g.len());
        let mut sums = std::mem::take(&mut self.sums);
        sums.fill(0.0);
        for_each_chunk(
            |tasks, job| self.functionals.backend.parallel(tasks, job),
            f.len().div_ceil(task),
            sums.chunks_exact_mut(others),
            |index, sums| {
                let atoms = index * task..f.len().min((index + 1) * task);
                let make = |atom: usize, row: &mut Row<'_, T>| {
                    row.densities(f[atom], b);
                };
                let add = |block: Range<usize>, rows: &[T]| {
                    let mut factors = [T::default(); BLOCK];
                    for ((factor, &weight), &value) in
                        factors.iter_mut().zip(&a[block.clone()]).zip(&values[block.clone()])
                    {
                        *factor = weight * value;
                    }
                    T::accumulate(&factors[..block.len()], rows, others, sums);
                };
                self.visit_rows(Side::Source, atoms, g, make, add);
            },
        );
        let scale = self.entry_scale();
        for ((j, out), &weight) in out.iter_mut().enumerate().zip(b) {
            let sum = sums.iter().skip(j).step_by(others).sum::<f64>();
            *out = T::from_f64(weighted(weight, scale * sum));
        }
        self.sums = sums;
    }

    /// The Fenchel gap of P_ij (1 + x_j - y_i), for each column.
    fn relative_gap(&self, plan: PlanView<'_, Host<T>>, [y, x]: [&HostVector<T>; 2], out: RoundedValue<'_, Host<T>>) {
        for column in 0..self.functionals.binding.columns() {
            let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| vector.column(column));
            let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| vector.column(column));
            let (x, y) = (x.column(column), y.column(column));
            let [mut gap, mut value] = [0.0; 2];
            let sum = |atom: usize, row: &mut Row<'_, T>| {
                let of_row = row.relative_gap(f[atom], b, y[atom].to_f64(), x);
                gap += weighted(a[atom], of_row);
                value += weighted(a[atom], of_row - row.densities(f[atom], b)[1]);
            };
            self.visit_rows(Side::Source, 0..f.len(), g, sum, |_, _| ());
            (out.gap.values_mut()[column], out.value.values_mut()[column]) = (gap, value);
        }
    }

    /// What turns the entries that [`Row::densities`] leaves into densities.
    fn entry_scale(&self) -> f64 {
        match self.regularizer.kind() {
            RegularizerKind::SquaredL2 => 1.0 / self.epsilon(),
            _ => 1.0,
        }
    }
}

/// a x, and 0 for an atom without weight, whatever x.
fn weighted<T: CpuScalar>(weight: T, value: f64) -> f64 {
    if weight > T::default() { weight.to_f64() * value } else { 0.0 }
}

/// The differences g_j - C_ij of one atom, and what programs need.
struct Row<'a, T> {
    regularizer: &'a RecordedRegularizer,
    epsilon: f64,
    differences: &'a mut [T],
    registers: &'a mut Registers<T>,
    lanes: &'a mut [[T; TILE]; 3],
}

impl<T: CpuScalar> Row<'_, T> {
    /// h*'(z_j) and h*''(z_j) for the partners of a tile, zero for forbidden ones.
    fn responses(&mut self, potential: T, tile: Range<usize>) -> [&[T]; 2] {
        let [exponents, densities, slopes] = self.lanes;
        let differences = &self.differences[tile.clone()];
        let len = differences.len();
        exponents_of(potential, T::from_f64(1.0 / self.epsilon), differences, &mut exponents[..len]);
        let outputs = &mut [&mut densities[..len], &mut slopes[..len]];
        let inputs = [BlockInput::Lanes(&exponents[..len])];
        let run = self.regularizer.density_and_slope().run_block::<T, VectorisedMath>(&inputs, self.registers, outputs);
        debug_assert!(run.is_ok(), "recorded with one input and two outputs");
        for ((density, slope), difference) in densities.iter_mut().zip(slopes.iter_mut()).zip(differences) {
            if !difference.is_finite() {
                (*density, *slope) = (T::default(), T::default());
            }
        }
        [&densities[..len], &slopes[..len]]
    }

    /// sum_j b_j h*'(z_j) and sum_j b_j (h*(z_j) + h(0)). Leaves h*'(z_j), or epsilon times it for squared L2, in the
    /// place of the differences.
    fn densities(&mut self, potential: T, weights: &[T]) -> [f64; 2] {
        if self.regularizer.kind() == RegularizerKind::SquaredL2 {
            let is_squared_in_range = (1.0 / LARGEST_SQUARED..LARGEST_SQUARED).contains(&self.epsilon);
            let unit = if is_squared_in_range { 0.0 } else { binary_exponent(self.epsilon) };
            let (epsilon, mut potential) = (times_power_of_two(self.epsilon, -unit), [potential]);
            if unit != 0.0 {
                multiply(self.differences, -unit);
                multiply(&mut potential, -unit);
            }
            let [sum, squares] = T::positive_parts(potential[0], self.differences, weights);
            if unit != 0.0 {
                multiply(self.differences, unit);
            }
            return [sum / epsilon, 0.5 * (squares / epsilon) / epsilon];
        }
        let mut sums = [0.0; 2];
        for tile in pieces(0..weights.len(), TILE) {
            let (f, epsilon, regularizer) = (potential.to_f64(), self.epsilon, self.regularizer);
            for (difference, weight) in self.differences[tile.clone()].iter().zip(&weights[tile.clone()]) {
                if difference.is_finite() && *weight > T::default() {
                    sums[1] += weight.to_f64() * regularizer.conjugate_at((f + difference.to_f64()) / epsilon);
                }
            }
            let [densities, _] = self.responses(potential, tile.clone());
            sums[0] += T::dot(densities, &weights[tile.clone()]);
            let len = densities.len();
            self.differences[tile].copy_from_slice(&self.lanes[1][..len]);
        }
        sums
    }

    /// sum_j b_j (h(p'_j) + h*(z_j) - z_j p'_j) at p'_j = x p_j y_j + u v_j + s t_j.
    fn fenchel_gap(&self, potential: T, weights: &[T], [x, u, s]: [f64; 3], [y, v, t]: [&[T]; 3]) -> f64 {
        if self.regularizer.kind() == RegularizerKind::SquaredL2 {
            let change = SquareChange { factors: [x, u, s], columns: [y, v, t], epsilon: self.epsilon };
            let sum = T::square_fenchel_gap(potential, self.differences, weights, change);
            if sum.is_finite() {
                return sum;
            }
        }
        let term = |j: usize| {
            let exponent = (potential.to_f64() + self.differences[j].to_f64()) / self.epsilon;
            let added = u * v[j].to_f64() + s * t[j].to_f64();
            let kept = |density: f64| x * y[j].to_f64() * density;
            match self.regularizer.kind() {
                _ if weights[j] <= T::default() => 0.0,
                _ if exponent == f64::NEG_INFINITY => self.regularizer.fenchel_gap_at(added, exponent),
                _ => {
                    let changed = kept(self.regularizer.density_at(exponent)) + added;
                    weights[j].to_f64() * self.regularizer.fenchel_gap_at(changed, exponent)
                }
            }
        };
        (0..weights.len()).map(term).sum()
    }
}

impl<T: CpuScalar> Row<'_, T> {
    /// sum_j b_j (h(p'_j) + h*(z_j) - z_j p'_j) at p'_j = p_j (1 + x_j - y).
    fn relative_gap(&self, potential: T, weights: &[T], y: f64, x: &[T]) -> f64 {
        let term = |j: usize| match (potential.to_f64() + self.differences[j].to_f64()) / self.epsilon {
            _ if weights[j] <= T::default() => 0.0,
            f64::NEG_INFINITY => 0.0,
            exponent => {
                let changed = self.regularizer.density_at(exponent) * (1.0 + x[j].to_f64() - y);
                weights[j].to_f64() * self.regularizer.fenchel_gap_at(changed, exponent)
            }
        };
        (0..weights.len()).map(term).sum()
    }
}

/// A row with the weights of its partners, and their mass.
struct WeightedRow<'a, 'b, T> {
    row: &'a mut Row<'b, T>,
    weights: &'a [T],
    mass: f64,
}

impl<T: CpuScalar> RowDensity for WeightedRow<'_, '_, T> {
    fn at(&mut self, potential: f64) -> [f64; 2] {
        let (potential, epsilon) = (T::from_f64(potential), self.row.epsilon);
        let mut sums = [0.0; 2];
        if self.row.regularizer.kind() == RegularizerKind::SquaredL2 {
            sums = T::positive_sums(potential, self.row.differences, self.weights);
            return [sums[0] / epsilon, sums[1] / epsilon];
        }
        for tile in pieces(0..self.weights.len(), TILE) {
            let weights = &self.weights[tile.clone()];
            let [densities, slopes] = self.row.responses(potential, tile);
            sums[0] += T::dot(densities, weights);
            sums[1] += T::dot(slopes, weights) / epsilon;
        }
        sums
    }

    fn reach(&mut self, density: f64) -> Option<f64> {
        let nearest = self.distances().reduce(f64::min)?;
        Some(nearest + self.row.epsilon * self.row.regularizer.slope_at(density / self.mass))
    }

    fn saturation(&mut self, density: f64) -> Option<f64> {
        let farthest = self.distances().reduce(f64::max)?;
        Some(farthest + self.row.epsilon * self.row.regularizer.slope_at(density / self.mass))
    }
}

impl<T: CpuScalar> WeightedRow<'_, '_, T> {
    /// C_j - g_j of the partners that have weight.
    fn distances(&self) -> impl Iterator<Item = f64> {
        let partners = self.row.differences.iter().zip(self.weights);
        let partners = partners.filter(|(difference, weight)| difference.is_finite() && **weight > T::default());
        partners.map(|(difference, _)| -difference.to_f64())
    }
}

/// (f + d_j) / epsilon, and 0 for forbidden pairs.
fn exponents_of<T: CpuScalar>(potential: T, inverse: T, differences: &[T], out: &mut [T]) {
    for (out, &difference) in out.iter_mut().zip(differences) {
        *out = if difference.is_finite() { (potential + difference) * inverse } else { T::default() };
    }
}
