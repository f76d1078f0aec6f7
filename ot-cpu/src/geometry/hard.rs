//! The limit epsilon -> 0 of a softmin, and the arcs of small reduced cost.

use ot_core::{
    Error, HardTransform, HostBackend, PricedArc, Side, UNREACHABLE,
    host::{HostVector, for_each_chunk},
};

use super::{
    guard::is_left_out,
    kernel::GibbsKernel,
    rows::{BLOCK, CostRows, TASKS, TILE, column_of, column_of_mut, pieces, task_atoms, visit_block},
};
use crate::{
    backend::{CpuBackend, CpuScalar},
    simd::Stored,
};

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> HardTransform<CpuBackend<T>> for GibbsKernel<T, R, X> {
    /// An atom without a partner gets [`UNREACHABLE`], and `u32::MAX` as its argument.
    fn c_transform(
        &mut self,
        side: Side,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        out: &mut HostVector<T>,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (atoms, columns) = out.shape();
        let task = task_atoms(atoms, self.cost.len(side.opposite()));
        let mut arguments = Vec::new();
        if argument.is_some() {
            arguments.resize(atoms * columns, u32::MAX);
        }
        for column in 0..columns {
            let (potential, log_weights) = (column_of(potential, column), column_of(log_weights, column));
            let mut of_column = arguments.chunks_mut(atoms).nth(column).map(|arguments| arguments.chunks_mut(task));
            let chunks = column_of_mut(out, column).chunks_mut(task);
            let tasks = chunks.map(|chunk| (chunk, of_column.as_mut().and_then(Iterator::next)));
            for_each_chunk(
                |tasks, job| self.backend.parallel(tasks, job),
                atoms.div_ceil(task),
                tasks,
                |index, (out, mut arguments)| {
                    let mut tile = [T::default(); BLOCK * TILE];
                    let start = index * task;
                    for block in pieces(start..start + out.len(), BLOCK) {
                        let mut best = [(f64::INFINITY, u32::MAX); BLOCK];
                        visit_block(self.cost.as_ref(), side, block.clone(), &mut tile, |r, others, costs| {
                            for (j, cost) in others.zip(costs.iter()) {
                                let reduced = cost.to_f64() - potential[j].to_f64();
                                if reduced < best[r].0 && !is_left_out(log_weights[j]) {
                                    best[r] = (reduced, j as u32);
                                }
                            }
                        });
                        for (atom, (reduced, j)) in block.zip(best) {
                            let reachable = if j == u32::MAX { UNREACHABLE } else { reduced };
                            out[atom - start] = T::from_f64(reachable);
                            if let Some(arguments) = arguments.as_deref_mut() {
                                arguments[atom - start] = j;
                            }
                        }
                    }
                },
            );
        }
        if let Some(argument) = argument {
            *argument = arguments;
        }
        Ok(())
    }

    /// Forbidden pairs are no arcs, whatever the threshold.
    fn arcs_below(
        &mut self,
        source_potential: &HostVector<T>,
        target_potential: &HostVector<T>,
        column: usize,
        threshold: f64,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let (f, g) = (column_of(source_potential, column), column_of(target_potential, column));
        let (atoms, others) = (self.cost.len(Side::Source), self.cost.len(Side::Target));
        let task = task_atoms(atoms, others);
        let mut found: [Vec<PricedArc>; TASKS] = std::array::from_fn(|_| Vec::new());
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            atoms.div_ceil(task),
            found.iter_mut(),
            |index, found| {
                let mut tile = [T::default(); BLOCK * TILE];
                for (atom, f) in f.iter().enumerate().skip(index * task).take(task) {
                    visit_block(self.cost.as_ref(), Side::Source, atom..atom + 1, &mut tile, |_, others, costs| {
                        for (j, cost) in others.zip(costs.iter()) {
                            let reduced_cost = cost.to_f64() - f.to_f64() - g[j].to_f64();
                            // One arc over the limit is enough to tell that there are too many.
                            if reduced_cost <= threshold && cost.is_finite() && found.len() <= limit {
                                found.push(PricedArc { source: atom as u32, target: j as u32, reduced_cost });
                            }
                        }
                    });
                }
            },
        );
        let count: usize = found.iter().map(Vec::len).sum();
        if count > limit {
            let bytes = (count as u64).saturating_mul(size_of::<PricedArc>() as u64);
            return Err(Error::OutOfMemory { what: "arcs of small reduced cost", bytes });
        }
        Ok(found.into_iter().flatten().collect())
    }
}
