//! Costs of listed pairs: rows and columns of arcs, and nothing for the pairs that are not listed.

mod capability;
mod kernel;

use std::sync::Arc;

use ot_core::{
    Backend, CostStatistics, Error, Geometry, Host, KernelOp, Side,
    cost::{SparseView, check_bound},
    measure::WeightsView,
};

use self::kernel::ArcsKernel;
use super::CpuScalar;
use crate::backend::CpuBackend;

/// A cost of listed pairs; all others are forbidden. Memory 24 bytes a pair, and a pass looks at the pairs alone: twice as long
/// for each as over a stored matrix, so that it pays from one pair in ten on, and where no matrix has room.
///
/// The kernel is accurate to the element type at any epsilon. It has the transport cost, the hard transform with its arcs, products in
/// one pass, and derivatives in the scale of the cost, and so in epsilon; a derivative in all entries of a matrix would have n x m numbers.
/// Made by [`CpuBackend`] for a cost that [lists its pairs](ot_core::GroundCost::pairs) between indices.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_core::{Epsilon, Histogram, Problem, cost::SparseView};
/// use ot_cpu::{ArcsGeometry, CpuBackend};
///
/// // Two sources, two targets, and no way from the second source to the first target.
/// let pairs = SparseView::new(2, &[0, 2, 3], &[0, 1, 1], &[0.0, 1.0, 0.0])?;
/// let geometry = ArcsGeometry::new(&CpuBackend::<f64>::new(1)?, pairs)?;
/// let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![0.25, 0.75])?);
/// let problem = Problem::new(Arc::new(geometry), &a, &b, Epsilon::Absolute(0.1))?;
/// assert!(problem.geometry().may_forbid());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ArcsGeometry<T> {
    backend: CpuBackend<T>,
    /// The arcs of each source, and of each target.
    arcs: Arc<[Incidence; 2]>,
    bound: f64,
    forbids: bool,
}

/// The arcs of each atom of one side.
#[derive(Debug, Default)]
struct Incidence {
    starts: Vec<usize>,
    others: Vec<u32>,
    costs: Vec<f64>,
}

impl Incidence {
    /// Atoms of this side.
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The atoms of the other side that one has arcs to, ascending, and their costs.
    fn of(&self, atom: usize) -> impl Iterator<Item = (usize, f64)> + Clone + '_ {
        let range = self.starts[atom]..self.starts[atom + 1];
        self.others[range.clone()].iter().map(|&other| other as usize).zip(self.costs[range].iter().copied())
    }

    /// The same arcs, of the other side's atoms.
    fn transposed(&self, others: usize) -> Self {
        let mut starts = vec![0; others + 1];
        self.others.iter().for_each(|&other| starts[other as usize + 1] += 1);
        for atom in 0..others {
            starts[atom + 1] += starts[atom];
        }
        let mut next = starts.clone();
        let (mut back, mut costs) = (vec![0; self.others.len()], vec![0.0; self.others.len()]);
        for atom in 0..self.len() {
            for (other, cost) in self.of(atom) {
                (back[next[other]], costs[next[other]]) = (atom as u32, cost);
                next[other] += 1;
            }
        }
        Self { starts, others: back, costs }
    }
}

impl<T: CpuScalar> ArcsGeometry<T> {
    /// The geometry of listed pairs. A listed pair of infinite cost is forbidden too.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] for no sources or no targets, [`Error::CostOverflow`] for a cost beyond the range of the element
    /// type.
    pub fn new(backend: &CpuBackend<T>, pairs: SparseView<'_>) -> Result<Self, Error> {
        if pairs.rows() == 0 || pairs.columns() == 0 {
            return Err(Error::EmptyMeasure);
        }
        let mut of_source = Incidence { starts: vec![0], ..Incidence::default() };
        for source in 0..pairs.rows() {
            let (targets, costs) = pairs.row(source);
            for (target, cost) in targets.iter().zip(costs).filter(|(_, cost)| cost.is_finite()) {
                of_source.others.push(*target);
                of_source.costs.push(*cost);
            }
            of_source.starts.push(of_source.others.len());
        }
        let bound = of_source.costs.iter().fold(0.0_f64, |bound, cost| bound.max(cost.abs()));
        check_bound::<T>(bound)?;
        let forbids = of_source.others.len() < pairs.rows() * pairs.columns();
        let of_target = of_source.transposed(pairs.columns());
        Ok(Self { backend: backend.clone(), arcs: Arc::new([of_source, of_target]), bound, forbids })
    }

    /// Number of pairs that are not forbidden.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.arcs[0].others.len()
    }
}

impl<T: CpuScalar> Geometry<Host<T>> for ArcsGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.arcs[side.index()].len()
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        Ok(Box::new(ArcsKernel::new(&self.backend, &self.arcs, epsilon, columns)?))
    }

    fn may_forbid(&self) -> bool {
        self.forbids
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(self.bound)
    }

    fn cost_statistics(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostStatistics, Error> {
        let weights = [source, target];
        for (side, what) in [(Side::Source, "source weights"), (Side::Target, "target weights")] {
            let (expected, found) = (self.len(side), weights[side.index()].len());
            if expected != found {
                return Err(Error::Length { what, expected, found });
            }
        }
        self.refuse_stranded(weights)?;
        let [a, b] = weights.map(|weights| weights.shares());
        // In units of the bound, so that nothing leaves the range.
        let unit = if self.bound > 0.0 { self.bound } else { 1.0 };
        let pairs = || {
            let of_source = |i: usize| self.arcs[0].of(i).map(move |(j, cost)| (i, j, cost));
            (0..self.arcs[0].len()).flat_map(of_source).map(|(i, j, cost)| (a[i] * b[j], cost / unit))
        };
        let weight: f64 = pairs().map(|(weight, _)| weight).sum();
        let over = |sum: f64| if weight > 0.0 { sum / weight } else { 0.0 };
        let mean = over(pairs().map(|(weight, cost)| weight * cost).sum());
        let variance = over(pairs().map(|(weight, cost)| weight * (cost - mean).powi(2)).sum());
        let costs = &self.arcs[0].costs;
        Ok(CostStatistics {
            mean: mean * unit,
            deviation: variance.sqrt() * unit,
            minimum: costs.iter().copied().fold(f64::INFINITY, f64::min),
            maximum: costs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            forbidden: self.forbids,
        })
    }
}

impl<T: CpuScalar> ArcsGeometry<T> {
    /// Fails for an atom with mass that has no arc to one with mass, in any column.
    fn refuse_stranded(&self, weights: [WeightsView<'_, T>; 2]) -> Result<(), Error> {
        for column in 0..weights[0].columns().max(weights[1].columns()) {
            let [a, b] = weights.map(|weights| weights.column(column.min(weights.columns() - 1)));
            for (side, own, other) in [(Side::Source, a, b), (Side::Target, b, a)] {
                let arcs = &self.arcs[side.index()];
                let is_stranded = |atom: &usize| {
                    own[*atom].to_f64() > 0.0 && !arcs.of(*atom).any(|(partner, _)| other[partner].to_f64() > 0.0)
                };
                if let Some(index) = (0..own.len()).find(is_stranded) {
                    return Err(Error::Stranded { side, index, column });
                }
            }
        }
        Ok(())
    }
}
