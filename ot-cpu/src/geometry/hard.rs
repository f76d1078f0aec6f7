//! The limit epsilon -> 0 of a softmin, and the arcs of small reduced cost.

use std::{
    borrow::Cow,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use ot_core::{
    ArcThreshold, Error, HardTransform, Host, HostBackend, PricedArc, Side, UNREACHABLE,
    host::{HostVector, for_each_chunk},
};

use super::{
    CpuScalar,
    functionals::Functionals,
    guard::is_left_out,
    rows::{BLOCK, CostRows, Heights, TASKS, TILE, pieces, task_atoms, visit_partners},
};

impl<T: CpuScalar, R: CostRows<T>> HardTransform<Host<T>> for Functionals<T, R> {
    /// An atom without a partner gets [`UNREACHABLE`], and `u32::MAX` as its argument.
    fn hard_c_transform(
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
            let potential = without_left_out(potential.column(column), log_weights.column(column));
            let potential = potential.as_ref();
            let heights = self.cost.heights(side.opposite(), |j| potential[j].to_f64());
            let mut of_column = arguments.chunks_mut(atoms).nth(column).map(|arguments| arguments.chunks_mut(task));
            let chunks = out.column_mut(column).chunks_mut(task);
            let tasks = chunks.map(|chunk| (chunk, of_column.as_mut().and_then(Iterator::next)));
            for_each_chunk(
                |tasks, job| self.backend.parallel(tasks, job),
                atoms.div_ceil(task),
                tasks,
                |index, (out, mut arguments)| {
                    let mut tile = [T::default(); BLOCK * TILE];
                    let mut partners = Vec::new();
                    let start = index * task;
                    for block in pieces(start..start + out.len(), BLOCK) {
                        let mut best = [(f64::INFINITY, u32::MAX); BLOCK];
                        let cost = self.cost.as_ref();
                        let index = |j: usize| cost.index(side.opposite(), j);
                        self.least_partners(side, block.clone(), potential, &heights, &mut tile, &mut partners);
                        visit_partners(cost, side, block.clone(), &partners, &mut tile, |r, others, costs| {
                            for run in pieces(others.clone(), RUN) {
                                let costs = &costs[run.start - others.start..run.end - others.start];
                                if least_reduced(costs, &potential[run.clone()]) > best[r].0 {
                                    continue;
                                }
                                for (j, cost) in run.zip(costs) {
                                    let reduced = cost.to_f64() - potential[j].to_f64();
                                    if reduced == f64::INFINITY {
                                        continue;
                                    }
                                    let (least, first) = best[r];
                                    if reduced < least || (reduced == least && index(j) < first) {
                                        best[r] = (reduced, index(j));
                                    }
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
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let (f, g) = (source_potential.column(column), target_potential.column(column));
        let (atoms, others) = (self.cost.len(Side::Source), self.cost.len(Side::Target));
        let task = task_atoms(atoms, others);
        let of_source = |i: usize| threshold.base + threshold.atoms.map_or(0.0, |[source, _]| source[i]);
        let of_target =
            threshold.atoms.map_or_else(|| Cow::Owned(vec![0.0; others]), |[_, target]| Cow::Borrowed(target));
        let largest_of_target = of_target.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let heights = self.cost.heights(Side::Target, |j| g[j].to_f64() + of_target[j]);
        let mut found: [Vec<PricedArc>; TASKS] = std::array::from_fn(|_| Vec::new());
        let total = AtomicUsize::new(0);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            atoms.div_ceil(task),
            found.iter_mut(),
            |index, found| {
                let mut tile = [T::default(); BLOCK * TILE];
                let mut partners = Vec::new();
                let mut of_rows: [Vec<PricedArc>; BLOCK] = std::array::from_fn(|_| Vec::new());
                let start = index * task;
                for block in pieces(start..atoms.min(start + task), BLOCK) {
                    // One arc over the limit, of whatever tasks, is enough to tell that there are too many.
                    let left = limit.saturating_add(1).saturating_sub(total.load(Ordering::Relaxed));
                    if left == 0 {
                        break;
                    }
                    let of_row = |i: usize| f[i].to_f64() + of_source(i);
                    let highest = block.clone().map(of_row).fold(0.0, |highest: f64, f| highest.max(f.abs()));
                    let (top, level) =
                        (self.cost.top(Side::Source, block.clone(), of_row), -self.rounding_of(highest, &heights));
                    self.cost.partners(Side::Source, block.clone(), &top, &heights, level, &mut partners);
                    let cost = self.cost.as_ref();
                    visit_partners(cost, Side::Source, block.clone(), &partners, &mut tile, |r, others, costs| {
                        let (arcs, f) = (&mut of_rows[r], f[block.start + r].to_f64());
                        let of_source = of_source(block.start + r);
                        // Both subtractions round.
                        let most = of_source + largest_of_target;
                        let highest = most + f + 4.0 * f64::EPSILON * (most.abs() + f.abs());
                        for run in pieces(others.clone(), RUN) {
                            let costs = &costs[run.start - others.start..run.end - others.start];
                            if least_reduced(costs, &g[run.clone()]) > highest {
                                continue;
                            }
                            let reduced = |(cost, g): (&T, &T)| cost.to_f64() - f - g.to_f64();
                            let (g, of_target) = (&g[run.clone()], &of_target[run.clone()]);
                            let (mut places, mut len) = ([0; RUN], 0);
                            for (place, (pair, of_target)) in costs.iter().zip(g).zip(of_target).enumerate() {
                                // Without a branch: the next place overwrites one that is not kept.
                                places[len] = place;
                                len += usize::from(reduced(pair) <= of_source + of_target && pair.0.is_finite());
                            }
                            let source = (block.start + r) as u32;
                            let kept = places[..len].iter().take(left.saturating_sub(arcs.len()));
                            arcs.extend(kept.map(|&place| {
                                let reduced_cost = reduced((&costs[place], &g[place]));
                                PricedArc { source, target: (run.start + place) as u32, reduced_cost }
                            }));
                        }
                    });
                    total.fetch_add(of_rows.iter().map(Vec::len).sum(), Ordering::Relaxed);
                    of_rows.iter_mut().for_each(|of_row| found.append(of_row));
                }
            },
        );
        if total.into_inner() > limit {
            let bytes = (limit as u64).saturating_add(1).saturating_mul(size_of::<PricedArc>() as u64);
            return Err(Error::OutOfMemory { what: "arcs of small reduced cost", bytes });
        }
        // The arcs of a large list are moved once, where there are several tasks.
        let mut found = found.into_iter();
        let mut all = found.next().unwrap_or_default();
        let rest = found.as_slice();
        all.reserve_exact(rest.iter().map(Vec::len).sum());
        found.for_each(|mut found| all.append(&mut found));
        Ok(all)
    }
}

impl<T: CpuScalar, R: CostRows<T>> Functionals<T, R> {
    /// The ranges of the others that the hard c-transform of a block may be attained in.
    fn least_partners(
        &self,
        side: Side,
        block: Range<usize>,
        potential: &[T],
        heights: &Heights,
        tile: &mut [T; BLOCK * TILE],
        out: &mut Vec<Range<usize>>,
    ) {
        let nearest = self.cost.nearest(side, block.clone(), heights);
        let mut best = [f64::INFINITY; BLOCK];
        visit_partners(self.cost.as_ref(), side, block.clone(), &[nearest], tile, |r, others, costs| {
            best[r] = best[r].min(-T::largest_difference(&potential[others], costs).to_f64());
        });
        let highest = best[..block.len()].iter().fold(0.0, |highest: f64, best| highest.max(best.abs()));
        let (top, level) =
            (self.cost.top(side, block.clone(), |atom| best[atom - block.start]), -self.rounding_of(highest, heights));
        self.cost.partners(side, block, &top, heights, level, out);
    }

    /// What rounding to the element type may take from a reduced cost that is near zero.
    fn rounding_of(&self, highest: f64, heights: &Heights) -> f64 {
        let of_costs = f64::EPSILON * self.cost.bound().unwrap_or(0.0);
        16.0 * (T::EPSILON * (highest + heights.largest) + of_costs)
    }
}

/// Costs that are looked at together before one by one.
const RUN: usize = 128;

/// The potential, minus infinity for atoms of no weight: no minimum meets them.
fn without_left_out<'a, T: CpuScalar>(potential: &'a [T], log_weights: &[T]) -> Cow<'a, [T]> {
    if !log_weights.iter().any(|&log_weight| is_left_out(log_weight)) {
        return Cow::Borrowed(potential);
    }
    let of_atom =
        |(&p, &log_weight): (&T, &T)| if is_left_out(log_weight) { T::from_f64(f64::NEG_INFINITY) } else { p };
    Cow::Owned(potential.iter().zip(log_weights).map(of_atom).collect())
}

/// A lower bound on the differences C_j - p_j, which are rounded to the element type here.
fn least_reduced<T: CpuScalar>(costs: &[T], potential: &[T]) -> f64 {
    let least = -T::largest_difference(potential, costs).to_f64();
    least - 2.0 * T::EPSILON * least.abs()
}
