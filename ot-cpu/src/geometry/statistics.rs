//! Statistics of a cost under the product of two measures.
//!
//! Means and sums of squared deviations of tiles are merged (Chan, Golub, LeVeque 1983), in units of a bound on the
//! cost, and weights as shares of all mass, so that neither cancellation nor the ends of the range touch the
//! deviation.

use ot_core::{CostStatistics, Error, HostBackend, Side, host::for_each_chunk, measure::WeightsView};

use super::CpuScalar;
use super::rows::{BLOCK, CostRows, TASKS, TILE, pieces, task_atoms, visit_block};
use crate::backend::CpuBackend;

/// The statistics of a cost under a x b, where a and b are the sums of the columns of the weights.
pub(super) fn cost_statistics<T: CpuScalar, R: CostRows<T>>(
    backend: &CpuBackend<T>,
    cost: &R,
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
) -> Result<CostStatistics, Error> {
    for (side, what, weights) in [(Side::Source, "source weights", source), (Side::Target, "target weights", target)] {
        let (expected, found) = (cost.len(side), weights.len());
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    let scale = cost.bound().filter(|&bound| bound > 0.0 && bound.is_finite()).unwrap_or(1.0);
    let (a, b) = (source.shares(), target.shares());
    let (atoms, others) = (a.len(), b.len());
    let task = task_atoms(atoms, others);
    let mut found = [Moments::default(); TASKS];
    for_each_chunk(
        |tasks, job| backend.parallel(tasks, job),
        atoms.div_ceil(task),
        found.iter_mut(),
        |index, moments| {
            let mut tile = [T::default(); BLOCK * TILE];
            let start = index * task;
            for block in pieces(start..atoms.min(start + task), BLOCK) {
                visit_block(cost, Side::Source, block.clone(), &mut tile, |r, others, costs| {
                    moments.merge(Moments::of_row(costs, a[block.start + r], &b[others], scale));
                });
            }
        },
    );
    let moments = found.into_iter().fold(Moments::default(), |mut moments, other| {
        moments.merge(other);
        moments
    });
    if moments.forbidden {
        check_partners(backend, cost, source, target)?;
    }
    let deviation = if moments.weight > 0.0 { (moments.squares / moments.weight).sqrt() } else { 0.0 };
    Ok(CostStatistics {
        mean: moments.mean * scale,
        deviation: deviation * scale,
        minimum: moments.minimum,
        maximum: moments.maximum,
        forbidden: moments.forbidden,
    })
}

/// The moments of some pairs, costs in units of a scale.
#[derive(Clone, Copy)]
struct Moments {
    weight: f64,
    mean: f64,
    /// Sum of weighted squared deviations from the mean.
    squares: f64,
    minimum: f64,
    maximum: f64,
    forbidden: bool,
}

impl Default for Moments {
    fn default() -> Self {
        let (minimum, maximum) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { weight: 0.0, mean: 0.0, squares: 0.0, minimum, maximum, forbidden: false }
    }
}

impl Moments {
    /// The moments of a piece of a row, of weight `a`.
    fn of_row<T: CpuScalar>(costs: &[T], a: f64, b: &[f64], scale: f64) -> Self {
        let mut moments = Self::default();
        let mut sum = 0.0;
        for (cost, b) in costs.iter().zip(b) {
            let cost = cost.to_f64();
            if cost.is_finite() {
                moments.minimum = moments.minimum.min(cost);
                moments.maximum = moments.maximum.max(cost);
                moments.weight += b;
                sum += b * (cost / scale);
            } else {
                moments.forbidden = true;
            }
        }
        if moments.weight > 0.0 {
            moments.mean = sum / moments.weight;
            let pairs = costs.iter().zip(b).filter(|(cost, _)| cost.is_finite());
            moments.squares = pairs.map(|(cost, b)| b * (cost.to_f64() / scale - moments.mean).powi(2)).sum();
        }
        moments.weight *= a;
        moments.squares *= a;
        moments
    }

    /// Adds other pairs.
    fn merge(&mut self, other: Self) {
        let weight = self.weight + other.weight;
        if other.weight > 0.0 {
            let (difference, share) = (other.mean - self.mean, other.weight / weight);
            self.squares += other.squares + difference * difference * self.weight * share;
            self.mean += difference * share;
        }
        self.weight = weight;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.forbidden |= other.forbidden;
    }
}

/// Has every atom with mass a partner with mass at finite cost, in every column?
fn check_partners<T: CpuScalar, R: CostRows<T>>(
    backend: &CpuBackend<T>,
    cost: &R,
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
) -> Result<(), Error> {
    let at = |weights: WeightsView<'_, T>, column: usize| column.min(weights.columns() - 1);
    for column in 0..source.columns().max(target.columns()) {
        let (a, b) = (source.column(at(source, column)), target.column(at(target, column)));
        for (side, own, others) in [(Side::Source, a, b), (Side::Target, b, a)] {
            if let Some(index) = first_stranded(backend, cost, side, own, others) {
                return Err(Error::Stranded { side, index, column });
            }
        }
    }
    Ok(())
}

/// The first atom of a side that has mass, and no partner with mass at finite cost.
fn first_stranded<T: CpuScalar, R: CostRows<T>>(
    backend: &CpuBackend<T>,
    cost: &R,
    side: Side,
    own: &[T],
    others: &[T],
) -> Option<usize> {
    let zero = T::default();
    let task = task_atoms(own.len(), others.len());
    let mut stranded = [None; TASKS];
    for_each_chunk(
        |tasks, job| backend.parallel(tasks, job),
        own.len().div_ceil(task),
        stranded.iter_mut(),
        |index, stranded| {
            let mut tile = [T::default(); BLOCK * TILE];
            let start = index * task;
            for block in pieces(start..own.len().min(start + task), BLOCK) {
                let mut reached = [false; BLOCK];
                visit_block(cost, side, block.clone(), &mut tile, |r, range, costs| {
                    let partners = costs.iter().zip(&others[range]);
                    reached[r] |= partners.into_iter().any(|(cost, &weight)| weight > zero && cost.is_finite());
                });
                let mut atoms = block.zip(reached);
                let of_block = atoms.find(|&(atom, reached)| own[atom] > zero && !reached);
                *stranded = stranded.or(of_block.map(|(atom, _)| atom));
            }
        },
    );
    stranded.into_iter().flatten().next()
}
