//! Thin factors of a kernel, and products with it from logarithms to logarithms.

use std::sync::Arc;

use ot_core::{
    Error, HostBackend, Side,
    host::{for_each_chunk, try_zeros},
};

use crate::{
    backend::CpuBackend,
    geometry::{
        CpuScalar,
        log_kernel::{DARK, LogOperator, Untold},
    },
    simd::VectorMath,
};

/// The most tasks that the atoms of a side are cut into.
const TASKS: usize = 32;
/// The fewest features, over all its atoms, that are worth a task.
const TASK_ENTRIES: usize = 1 << 13;
/// Rows whose largest exponents are found before one of them is exponentiated.
const BLOCK: usize = 32;

/// K_ij = sum_k F_ik G_jk, with F (n x r) and G (m x r) row by row.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    pub(super) rank: usize,
    /// F and G, or their logarithms.
    pub(super) sides: [Arc<Vec<f64>>; 2],
    pub(super) entries: Entries,
}

/// What is kept of factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entries {
    /// Logarithms, of positive factors.
    Logarithms,
    /// The numbers themselves, of any sign, where entries of K are known to be positive and far above their rounding.
    Values,
}

impl Factors {
    pub(super) fn len(&self, side: Side) -> usize {
        side.of([&self.sides[0], &self.sides[1]]).len() / self.rank
    }

    fn rows(&self, side: Side) -> &[f64] {
        side.of([&self.sides[0], &self.sides[1]])
    }

    pub(super) fn row(&self, side: Side, atom: usize) -> &[f64] {
        &self.rows(side)[atom * self.rank..][..self.rank]
    }

    /// A bound of |log K_ij| over all pairs, from the ends of the logarithms of each feature.
    pub(super) fn largest_log_entry(&self) -> f64 {
        let ends = |side: Side| {
            let mut ends = vec![[f64::INFINITY, f64::NEG_INFINITY]; self.rank];
            for row in self.rows(side).chunks_exact(self.rank) {
                ends.iter_mut().zip(row).for_each(|([low, high], log)| {
                    (*low, *high) = (low.min(*log), high.max(*log));
                });
            }
            ends
        };
        let [low, high] = ends(Side::Source)
            .iter()
            .zip(&ends(Side::Target))
            .fold([f64::NEG_INFINITY; 2], |[low, high], (own, other)| {
                [low.max(own[0] + other[0]), high.max(own[1] + other[1])]
            });
        low.abs().max((high + (self.rank as f64).ln()).abs())
    }

    /// What rounding makes of an entry, relatively, where no logarithm of one is beyond a bound.
    pub(super) fn rounding(&self, log_bound: f64) -> f64 {
        let units = match self.entries {
            // Logarithms of features, of which those of entries may be small differences.
            Entries::Logarithms => {
                let logarithms = self.sides.iter().flat_map(|side| side.iter());
                2.0 * logarithms.fold(0.0_f64, |largest, log| largest.max(log.abs()))
            }
            // Rows are of length one at most, and sums of their products go by eight at least.
            Entries::Values => (8.0 + self.rank as f64 / 8.0) * log_bound.exp(),
        };
        f64::EPSILON * units
    }

    /// log sum_k F_ik G_jk of two rows; `terms` is scratch space.
    pub(super) fn log_entry(&self, own: &[f64], other: &[f64], terms: &mut [f64]) -> f64 {
        match self.entries {
            Entries::Logarithms => {
                terms.iter_mut().zip(own.iter().zip(other)).for_each(|(term, (x, y))| *term = x + y);
                log_sum(terms)
            }
            Entries::Values => f64::dot(own, other).ln(),
        }
    }
}

/// log sum_k exp(x_k) of finite numbers, which are used up.
fn log_sum(x: &mut [f64]) -> f64 {
    let top = <f64 as VectorMath>::max(x);
    x.iter_mut().for_each(|x| *x -= top);
    top + f64::exp_shifted_sum(x).ln()
}

/// Factors in the hands of one solve.
#[derive(Debug)]
pub(super) struct ThinProducts<T> {
    pub(super) backend: CpuBackend<T>,
    pub(super) factors: Factors,
    /// For each task: largest exponents, sums, scales and terms of all features.
    partial: Vec<f64>,
    /// What the other side sends to each feature.
    sent: Vec<f64>,
    products: Vec<f64>,
    /// What rounding of the factors makes of an entry.
    rounding: f64,
}

impl<T: CpuScalar> ThinProducts<T> {
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn new(backend: CpuBackend<T>, factors: Factors, rounding: f64) -> Result<Self, Error> {
        let what = "sums of features";
        let partial = try_zeros(TASKS * (3 + BLOCK) * factors.rank, what)?;
        Ok(Self { backend, sent: try_zeros(factors.rank, what)?, partial, factors, products: Vec::new(), rounding })
    }

    /// Rows of one task, by the shape alone.
    fn task_rows(&self, side: Side) -> usize {
        self.factors.len(side).div_ceil(TASKS).max(TASK_ENTRIES / self.factors.rank).next_multiple_of(BLOCK)
    }

    /// log sum_j G_jk exp(x_j) for each feature k; or the sums themselves over exp(top) for factors that are kept as such.
    fn send(&mut self, from: Side, exponents: &[f64], top: f64) {
        let (rank, rows, entries) = (self.factors.rank, self.task_rows(from), self.factors.entries);
        let (all, parallel) = (self.factors.rows(from), |tasks: usize, job: &(dyn Fn(usize) + Sync)| {
            self.backend.parallel(tasks, job);
        });
        let tasks = exponents.len().div_ceil(rows);
        let partial = &mut self.partial[..tasks * (3 + BLOCK) * rank];
        for_each_chunk(parallel, tasks, partial.chunks_exact_mut((3 + BLOCK) * rank), |task, space| {
            let (tops, space) = space.split_at_mut(rank);
            let (sums, space) = space.split_at_mut(rank);
            let (scales, terms) = space.split_at_mut(rank);
            tops.fill(f64::NEG_INFINITY);
            sums.fill(0.0);
            let atoms = task * rows..exponents.len().min((task + 1) * rows);
            for start in atoms.clone().step_by(BLOCK) {
                let block = start..atoms.end.min(start + BLOCK);
                let lit = block.filter(|&atom| exponents[atom] > DARK);
                match entries {
                    Entries::Values => lit.for_each(|atom| {
                        f64::axpy((exponents[atom] - top).exp(), &all[atom * rank..][..rank], sums);
                    }),
                    Entries::Logarithms => add_block(lit, all, exponents, [tops, sums, scales, terms]),
                }
            }
        });
        let parts = partial.chunks_exact((3 + BLOCK) * rank);
        for (k, sent) in self.sent.iter_mut().enumerate() {
            let parts = parts.clone().map(|part| (part[k], part[rank + k]));
            *sent = match entries {
                Entries::Values => parts.map(|(_, sum)| sum).sum(),
                Entries::Logarithms => {
                    let top = parts.clone().map(|(top, _)| top).fold(f64::NEG_INFINITY, f64::max);
                    let scaled = parts.filter(|(top, _)| top.is_finite()).map(|(own, sum)| (own - top).exp() * sum);
                    top + scaled.sum::<f64>().ln()
                }
            };
        }
    }

    /// What the atoms of a side receive.
    fn receive(&mut self, to: Side, top: f64, out: &mut [f64]) {
        let (rank, rows, factors) = (self.factors.rank, self.task_rows(to), &self.factors);
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| self.backend.parallel(tasks, job);
        let (tasks, sent) = (out.len().div_ceil(rows), &self.sent);
        let pieces = out.chunks_mut(rows).zip(self.partial.chunks_exact_mut((3 + BLOCK) * rank));
        for_each_chunk(parallel, tasks, pieces, |task, (out, space)| {
            for (row, out) in out.iter_mut().enumerate() {
                let own = factors.row(to, task * rows + row);
                *out = match factors.entries {
                    Entries::Values => top + f64::dot(own, sent).max(f64::MIN_POSITIVE).ln(),
                    Entries::Logarithms => factors.log_entry(own, sent, &mut space[..rank]),
                };
            }
        });
    }
}

/// Adds exp(log G_jk + x_j) of some atoms to sums over exp(tops).
fn add_block(
    atoms: impl Iterator<Item = usize>,
    all: &[f64],
    exponents: &[f64],
    [tops, sums, scales, terms]: [&mut [f64]; 4],
) {
    let rank = tops.len();
    let mut count = 0;
    for atom in atoms {
        let place = &mut terms[count * rank..][..rank];
        for (place, log) in place.iter_mut().zip(&all[atom * rank..][..rank]) {
            *place = log + exponents[atom];
        }
        count += 1;
    }
    if count == 0 {
        return;
    }
    let terms = &mut terms[..count * rank];
    scales.copy_from_slice(tops);
    for row in terms.chunks_exact(rank) {
        tops.iter_mut().zip(row).for_each(|(top, term)| *top = top.max(*term));
    }
    scales.iter_mut().zip(&*tops).for_each(|(scale, top)| *scale -= top);
    f64::exp_in_place(scales);
    sums.iter_mut().zip(&*scales).for_each(|(sum, scale)| *sum *= scale);
    for row in terms.chunks_exact_mut(rank) {
        row.iter_mut().zip(&*tops).for_each(|(term, top)| *term -= top);
        f64::exp_in_place(row);
        sums.iter_mut().zip(&*row).for_each(|(sum, term)| *sum += term);
    }
}

impl<T: CpuScalar> LogOperator<T> for ThinProducts<T> {
    fn rounding(&self) -> f64 {
        self.rounding
    }

    fn log_products(&mut self, side: Side, exponents: &mut Vec<f64>, untold: &mut Vec<Untold>) -> Result<(), Error> {
        let (n, m) = (self.factors.len(side), self.factors.len(side.opposite()));
        let requests = exponents.len() / m;
        let mut products = std::mem::take(&mut self.products);
        products.clear();
        products.resize(requests * n, f64::NEG_INFINITY);
        for (request, (exponents, out)) in exponents.chunks_exact(m).zip(products.chunks_exact_mut(n)).enumerate() {
            let top = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if top <= DARK {
                untold.extend((0..n).map(|atom| Untold { request, atom, bound: None }));
                continue;
            }
            self.send(side.opposite(), exponents, top);
            self.receive(side, top, out);
        }
        std::mem::swap(exponents, &mut products);
        self.products = products;
        Ok(())
    }
}
