//! Costs given for some pairs only.

use ot_core::{CostForm, Error, GroundCost, cost::SparseView};

/// Up to so many sources for each pair, the pairs are listed row by row too.
const ROWS_OF_PAIR: usize = 16;

/// Costs of a list of pairs between atoms known by their indices; all other pairs are forbidden. Memory O(pairs).
///
/// For exact transport, and for entropic transport on kernels that look at the pairs alone where a backend has them
/// (`ArcsGeometry` of `ot-cpu`).
///
/// As in a [`CostMatrix`](ot_core::CostMatrix), an index is a point of one coordinate. A row takes a pass over its pairs
/// and the points asked for.
///
/// ```
/// use ot_core::Histogram;
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{ExactTransport, SparseCosts};
///
/// let cost = SparseCosts::new(2, 2, vec![(0, 0, 1.0), (0, 1, 2.0), (1, 1, 1.0)])?;
/// let (a, b) = (Histogram::new(vec![0.75, 0.25])?, Histogram::new(vec![0.5, 0.5])?);
/// let solution = ExactTransport::new().solve(&CpuBackend::<f64>::new(1)?, &a, &b, &cost)?;
/// assert_eq!(solution.certificate().primal, 0.5 * 1.0 + 0.25 * 2.0 + 0.25 * 1.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SparseCosts {
    columns: usize,
    /// The sources that have pairs, increasing.
    sources: Vec<u32>,
    /// Where the pairs of each of them begin, and where the last ones end.
    starts: Vec<usize>,
    /// The same of all sources; empty where these are many more than the pairs.
    rows: Vec<usize>,
    targets: Vec<u32>,
    costs: Vec<f64>,
}

impl SparseCosts {
    /// The costs of pairs (source, target, cost); of equal pairs the least counts.
    ///
    /// # Errors
    /// [`Error::Length`] for an index outside the shape, [`Error::Cost`] for a cost that is NaN or minus infinity.
    pub fn new(sources: usize, targets: usize, mut pairs: Vec<(u32, u32, f64)>) -> Result<Self, Error> {
        for &(source, target, value) in &pairs {
            for (what, index, len) in [("source of a pair", source, sources), ("target of a pair", target, targets)] {
                if index as usize >= len {
                    return Err(Error::Length { what, expected: len, found: index as usize + 1 });
                }
            }
            if value.is_nan() || value == f64::NEG_INFINITY {
                let (source_index, target_index) = (source as usize, target as usize);
                return Err(Error::Cost { source_index, target_index, value });
            }
        }
        pairs.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)).then(one.2.total_cmp(&other.2)));
        pairs.dedup_by_key(|pair| (pair.0, pair.1));
        let (mut with_pairs, mut starts) = (Vec::new(), Vec::new());
        for (place, &(source, ..)) in pairs.iter().enumerate() {
            if with_pairs.last() != Some(&source) {
                with_pairs.push(source);
                starts.push(place);
            }
        }
        starts.push(pairs.len());
        let mut rows = Vec::new();
        if sources <= ROWS_OF_PAIR * pairs.len() {
            rows.push(0);
            for source in 0..sources {
                rows.push(rows[source] + pairs[rows[source]..].partition_point(|pair| pair.0 as usize <= source));
            }
        }
        let (of_targets, costs) = pairs.into_iter().map(|(_, target, cost)| (target, cost)).unzip();
        Ok(Self { columns: targets, sources: with_pairs, starts, rows, targets: of_targets, costs })
    }

    /// The pairs of the source that a coordinate names.
    fn of(&self, source: f64) -> (&[u32], &[f64]) {
        let place = self.sources.partition_point(|known| f64::from(*known) < source);
        let is_known = self.sources.get(place).is_some_and(|known| f64::from(*known) == source);
        let range = if is_known { self.starts[place]..self.starts[place + 1] } else { 0..0 };
        (&self.targets[range.clone()], &self.costs[range])
    }
}

impl GroundCost for SparseCosts {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn dimension(&self) -> Option<usize> {
        Some(1)
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        let &[source] = x else { return };
        let (targets, costs) = self.of(source);
        let mut place = 0;
        for (point, out) in points.iter().zip(out) {
            // Points mostly ascend.
            if place > 0 && f64::from(targets[place - 1]) >= *point {
                place = targets.partition_point(|target| f64::from(*target) < *point);
            }
            while targets.get(place).is_some_and(|target| f64::from(*target) < *point) {
                place += 1;
            }
            let is_pair = targets.get(place).is_some_and(|target| f64::from(*target) == *point);
            *out = if is_pair { costs[place] } else { f64::INFINITY };
        }
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        let &[source] = x else { return };
        let (targets, costs) = self.of(f64::from(source));
        for (point, out) in points.iter().zip(out) {
            let point = f64::from(*point);
            let place = targets.partition_point(|target| f64::from(*target) < point);
            let is_pair = targets.get(place).is_some_and(|target| f64::from(*target) == point);
            *out = if is_pair { costs[place] as f32 } else { f32::INFINITY };
        }
    }

    fn pairs(&self) -> Option<SparseView<'_>> {
        SparseView::new(self.columns, &self.rows, &self.targets, &self.costs).ok()
    }

    fn may_forbid(&self) -> bool {
        true
    }
}
