//! The kernel of a plan that is not entropic, over a cost given by its rows.
//!
//! ```text
//! P_ij = a_i b_j h*'((f_i + g_j - C_ij) / epsilon)
//! ```
//!
//! A response is found row by row: the differences g_j - C_ij of a block of rows are written to memory that a cache
//! holds, and every density that the [equation of a row](ot_core::plan_regularizer::respond) asks for is a pass over
//! them. For [`SquaredL2`](ot_core::SquaredL2) that is a vector loop of additions; other regularizers run their
//! programs. Marginals of both sides come from one pass over the rows, with the column sums of each task apart and
//! folded in order, so that the bits do not depend on the threads.

use std::{
    array,
    ops::Range,
    sync::{Arc, Mutex},
};

use ot_core::{
    ActiveColumns, Balanced, CostDerivative, Error, HardTransform, HostBackend, KernelOp, LawPrograms, PairSum,
    PlanFamily, PlanKind, PlanPrograms, PlanRegularizer, PlanView, Response, RoundedFactors, Side, SoftMin, Sweep,
    TransportCost,
    family::two_responses,
    host::{HostReduced, HostVector, for_each_chunk},
    plan_regularizer::{RowDensity, respond},
    program::{BlockInput, Registers},
};

use super::{
    dense::zeroed,
    kernel::GibbsKernel,
    rows::{BLOCK, CostRows, TASKS, TILE, column_of, column_of_mut, most_tasks, pieces, task_atoms},
    sweep::Pool,
};
use crate::{
    backend::{CpuBackend, CpuScalar, VectorisedMath},
    simd::{SquareChange, Stored},
};

/// A kernel over stored or streamed costs. What asks for functionals of the plan is answered by the walks of
/// the Gibbs kernel, which read densities in the place of exponentials.
#[derive(Debug)]
pub(super) struct FamilyKernel<T, R> {
    functionals: GibbsKernel<T, R, T>,
    programs: PlanPrograms,
    /// The law of a softmin.
    balanced: LawPrograms,
    /// Weights of a softmin.
    weights: Vec<T>,
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

impl<T: CpuScalar + Stored<T>, R: CostRows<T>> FamilyKernel<T, R> {
    /// Binds a cost.
    pub(super) fn new(
        backend: &CpuBackend<T>,
        cost: &Arc<R>,
        regularizer: &dyn PlanRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let (rows, others, what) = (cost.len(Side::Source), cost.len(Side::Target), "scratch of a kernel");
        let programs = PlanPrograms::record(regularizer)?;
        let mut functionals = GibbsKernel::new(backend, cost, epsilon, columns)?;
        functionals.family = Some(programs.clone());
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
            programs,
            balanced: LawPrograms::record(&Balanced)?,
            weights: zeroed(rows.max(others), what)?,
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
                    &mut Row { programs: &self.programs, epsilon: self.epsilon(), differences, registers, lanes },
                );
            }
            finish(block, rows);
        }
        self.workspaces.put(workspace);
    }

    /// The responses of one column.
    fn respond_column(&self, side: Side, law: &LawPrograms, [potential, weights, shift]: [&[T]; 3], out: &mut [T]) {
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
                let respond = |atom: usize, row: &mut Row<'_, T>| {
                    let mut row = WeightedRow { row, weights, mass };
                    out[atom - start] = T::from_f64(respond::<T>(law, epsilon, shift[atom].to_f64(), &mut row));
                };
                self.visit_rows(side, atoms, potential, respond, |_, _| ());
            },
        );
    }
}

impl<T: CpuScalar + Stored<T>, R: CostRows<T>> KernelOp<CpuBackend<T>> for FamilyKernel<T, R> {
    fn len(&self, side: Side) -> usize {
        self.functionals.len(side)
    }

    fn columns(&self) -> usize {
        self.functionals.columns()
    }

    fn epsilon(&self) -> f64 {
        self.functionals.epsilon()
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.functionals.rebind(epsilon)
    }

    /// Does nothing: there is no centre.
    fn recenter(&mut self, _: PlanView<'_, CpuBackend<T>>) -> Result<(), Error> {
        Ok(())
    }

    /// The response under a balanced law.
    fn softmin(&mut self, request: SoftMin<'_, CpuBackend<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let SoftMin { side, potential, log_weights, shift, active } = request;
        let mut weights = std::mem::take(&mut self.weights);
        for &column in active.indices() {
            let log_weights = column_of(log_weights, column);
            let weights = &mut weights[..log_weights.len()];
            weights.copy_from_slice(log_weights);
            T::exp_in_place(weights);
            let terms = [column_of(potential, column), &*weights, column_of(shift, column)];
            self.respond_column(side, &self.balanced, terms, column_of_mut(out, column));
        }
        self.weights = weights;
        Ok(())
    }

    fn sweep(&mut self, backend: &CpuBackend<T>, sweep: Sweep<'_, CpuBackend<T>>) -> Result<(), Error> {
        let epsilon = self.epsilon();
        two_responses(self, epsilon, backend, sweep)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, CpuBackend<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        if values.shape().1 > self.columns() {
            // Several channels share the entries.
            return self.functionals.apply(side, plan, values, out);
        }
        for column in 0..self.columns() {
            let (values, out) = (column_of(values, column), column_of_mut(out, column));
            match side {
                Side::Source => self.apply_rows(plan, column, values, out),
                Side::Target => self.apply_columns(plan, column, values, out),
            }
        }
        Ok(())
    }

    fn family(&mut self) -> Option<&mut dyn PlanFamily<CpuBackend<T>>> {
        Some(self)
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<CpuBackend<T>>> {
        self.functionals.transport_cost()
    }

    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<CpuBackend<T>>> {
        KernelOp::pair_sum(&mut self.functionals)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<CpuBackend<T>>> {
        self.functionals.cost_derivative()
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<CpuBackend<T>>> {
        self.functionals.hard_transform()
    }
}

impl<T: CpuScalar + Stored<T>, R: CostRows<T>> PlanFamily<CpuBackend<T>> for FamilyKernel<T, R> {
    fn programs(&self) -> &PlanPrograms {
        &self.programs
    }

    fn respond(&mut self, request: Response<'_, CpuBackend<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let Response { side, law, potential, weights, shift, active } = request;
        for &column in active.indices() {
            let terms = [potential, weights, shift].map(|vector| column_of(vector, column));
            self.respond_column(side, law, terms, column_of_mut(out, column));
        }
        Ok(())
    }

    fn marginal(
        &mut self,
        side: Side,
        plan: PlanView<'_, CpuBackend<T>>,
        active: &ActiveColumns,
        density: &mut HostVector<T>,
        mut conjugate: Option<&mut HostReduced>,
    ) -> Result<(), Error> {
        let mut totals = std::mem::replace(&mut self.totals, [0.0; TASKS]);
        for &column in active.indices() {
            totals.fill(0.0);
            let (own, other) = (plan.side(side), plan.side(side.opposite()));
            let [f, a] = [own.potential, own.weights].map(|vector| column_of(vector, column));
            let [g, b] = [other.potential, other.weights].map(|vector| column_of(vector, column));
            let task = task_atoms(f.len(), g.len());
            for_each_chunk(
                |tasks, job| self.functionals.backend.parallel(tasks, job),
                f.len().div_ceil(task),
                column_of_mut(density, column).chunks_mut(task).zip(totals.iter_mut()),
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

    fn marginals(
        &mut self,
        plan: PlanView<'_, CpuBackend<T>>,
        active: &ActiveColumns,
        [source, target]: [&mut HostVector<T>; 2],
        conjugate: &mut HostReduced,
    ) -> Result<(), Error> {
        let mut totals = std::mem::replace(&mut self.totals, [0.0; TASKS]);
        let mut sums = std::mem::take(&mut self.sums);
        for &column in active.indices() {
            totals.fill(0.0);
            sums.fill(0.0);
            let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| column_of(vector, column));
            let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| column_of(vector, column));
            let (task, others) = (task_atoms(f.len(), g.len()), g.len());
            let pieces = column_of_mut(source, column).chunks_mut(task).zip(totals.iter_mut());
            for_each_chunk(
                |tasks, job| self.functionals.backend.parallel(tasks, job),
                f.len().div_ceil(task),
                pieces.zip(sums.chunks_exact_mut(others)),
                |index, ((out, total), sums)| {
                    let start = index * task;
                    let atoms = start..start + out.len();
                    let sum = |atom: usize, row: &mut Row<'_, T>| {
                        let [density, conjugate] = row.densities(f[atom], b);
                        out[atom - start] = T::from_f64(density);
                        *total += weighted(a[atom], conjugate);
                    };
                    let add = |block: Range<usize>, rows: &[T]| T::accumulate(&a[block], rows, others, sums);
                    self.visit_rows(Side::Source, atoms, g, sum, add);
                },
            );
            let scale = self.entry_scale();
            for (j, out) in column_of_mut(target, column).iter_mut().enumerate() {
                *out = T::from_f64(scale * sums.iter().skip(j).step_by(others).sum::<f64>());
            }
            conjugate.values_mut()[column] = totals.iter().sum();
        }
        (self.totals, self.sums) = (totals, sums);
        Ok(())
    }

    fn excess(
        &mut self,
        plan: PlanView<'_, CpuBackend<T>>,
        rounded: RoundedFactors<'_, CpuBackend<T>>,
        out: &mut HostReduced,
    ) -> Result<(), Error> {
        let mut totals = std::mem::replace(&mut self.totals, [0.0; TASKS]);
        for (column, out) in out.values_mut().iter_mut().enumerate() {
            totals.fill(0.0);
            let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| column_of(vector, column));
            let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| column_of(vector, column));
            let sides = [rounded.scaling, rounded.added[0], rounded.added[1]];
            let [own, other] = array::from_fn(|side| sides.map(|pair| column_of(pair[side], column)));
            let task = task_atoms(f.len(), g.len());
            for_each_chunk(
                |tasks, job| self.functionals.backend.parallel(tasks, job),
                f.len().div_ceil(task),
                totals.iter_mut(),
                |index, total| {
                    let start = index * task;
                    let atoms = start..f.len().min(start + task);
                    let sum = |atom: usize, row: &mut Row<'_, T>| {
                        let factors: [f64; 3] = own.map(|vector| vector[atom].to_f64());
                        *total += weighted(a[atom], row.excess(f[atom], b, factors, other));
                    };
                    self.visit_rows(Side::Source, atoms, g, sum, |_, _| ());
                },
            );
            *out = totals.iter().sum();
        }
        self.totals = totals;
        Ok(())
    }
}

impl<T: CpuScalar + Stored<T>, R: CostRows<T>> FamilyKernel<T, R> {
    /// P v of one column.
    fn apply_rows(&self, plan: PlanView<'_, CpuBackend<T>>, column: usize, values: &[T], out: &mut [T]) {
        let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| column_of(vector, column));
        let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| column_of(vector, column));
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
    fn apply_columns(&mut self, plan: PlanView<'_, CpuBackend<T>>, column: usize, values: &[T], out: &mut [T]) {
        let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| column_of(vector, column));
        let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| column_of(vector, column));
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

    /// What turns the entries that [`Row::densities`] leaves into densities.
    fn entry_scale(&self) -> f64 {
        match self.programs.kind() {
            PlanKind::SquaredL2 => 1.0 / self.epsilon(),
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
    programs: &'a PlanPrograms,
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
        let run = self.programs.response().run_block::<T, VectorisedMath>(&inputs, self.registers, outputs);
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
        if self.programs.kind() == PlanKind::SquaredL2 {
            let [sum, squares] = T::positive_parts(potential, self.differences, weights);
            return [sum / self.epsilon, 0.5 * (squares / self.epsilon) / self.epsilon];
        }
        let mut sums = [0.0; 2];
        for tile in pieces(0..weights.len(), TILE) {
            let (f, epsilon, programs) = (potential.to_f64(), self.epsilon, self.programs);
            for (difference, weight) in self.differences[tile.clone()].iter().zip(&weights[tile.clone()]) {
                if difference.is_finite() && *weight > T::default() {
                    sums[1] += weight.to_f64() * programs.conjugate_at((f + difference.to_f64()) / epsilon);
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
    fn excess(&self, potential: T, weights: &[T], [x, u, s]: [f64; 3], [y, v, t]: [&[T]; 3]) -> f64 {
        if self.programs.kind() == PlanKind::SquaredL2 {
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
            match self.programs.kind() {
                _ if weights[j] <= T::default() => 0.0,
                _ if exponent == f64::NEG_INFINITY => self.programs.excess_at(added, exponent),
                _ => {
                    let changed = kept(self.programs.density_at(exponent)) + added;
                    weights[j].to_f64() * self.programs.excess_at(changed, exponent)
                }
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
        if self.row.programs.kind() == PlanKind::SquaredL2 {
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
        let partners = self.row.differences.iter().zip(self.weights);
        let partners = partners.filter(|(difference, weight)| difference.is_finite() && **weight > T::default());
        let nearest = partners.map(|(difference, _)| -difference.to_f64()).reduce(f64::min)?;
        Some(nearest + self.row.epsilon * self.row.programs.slope_at(density / self.mass))
    }
}

/// (f + d_j) / epsilon, and 0 for forbidden pairs.
fn exponents_of<T: CpuScalar>(potential: T, inverse: T, differences: &[T], out: &mut [T]) {
    for (out, &difference) in out.iter_mut().zip(differences) {
        *out = if difference.is_finite() { (potential + difference) * inverse } else { T::default() };
    }
}

/// Replaces a tile of costs by densities h*'((f + g_j - C_j) / epsilon), zero for forbidden pairs.
pub(super) fn densities_in_place<T: CpuScalar>(programs: &PlanPrograms, f: T, inverse: T, g: &[T], costs: &mut [T]) {
    if programs.kind() == PlanKind::SquaredL2 {
        for (cost, &g) in costs.iter_mut().zip(g) {
            let exponent = ((f + g) - *cost) * inverse;
            *cost = if exponent > T::default() { exponent } else { T::default() };
        }
        return;
    }
    let (mut exponents, mut slopes) = ([T::default(); TILE], [T::default(); TILE]);
    let (exponents, slopes) = (&mut exponents[..costs.len()], &mut slopes[..costs.len()]);
    for ((exponent, &cost), &g) in exponents.iter_mut().zip(costs.iter()).zip(g) {
        *exponent = if cost.is_finite() { ((f + g) - cost) * inverse } else { T::default() };
    }
    let is_forbidden: [bool; TILE] = array::from_fn(|j| j < costs.len() && !costs[j].is_finite());
    let inputs = [BlockInput::Lanes(&*exponents)];
    let run =
        programs.response().run_block::<T, VectorisedMath>(&inputs, &mut Registers::new(), &mut [&mut *costs, slopes]);
    debug_assert!(run.is_ok(), "recorded with one input and two outputs");
    for (density, is_forbidden) in costs.iter_mut().zip(is_forbidden) {
        if is_forbidden {
            *density = T::default();
        }
    }
}
