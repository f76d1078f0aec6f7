//! The costs of all pairs, each evaluated once.

use ot_core::{
    CostBetween, Error, MatrixView, PointsView, Scalar,
    cost::{check_bound, check_row},
    scalar::Floats,
};

use super::{super::costs::CostRows, distances::Distances, scan::LANES};

/// The costs of all pairs, row after row: in the matrix itself, or evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct AllCosts<'a> {
    entries: &'a [f64],
    stride: usize,
    shape: (usize, usize),
    /// Is an infinite cost an overflow, since the cost forbids no pair?
    may_overflow: bool,
}

/// Memory of evaluated costs.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    entries: Vec<f64>,
    coordinates: [Vec<f64>; 2],
    axes: Vec<f64>,
}

impl<'a> AllCosts<'a> {
    /// The costs between two supports.
    pub(super) fn of<T: Scalar>(costs: &CostBetween<'a, T>, memory: &'a mut Evaluated) -> Self {
        let shape @ (n, m) = costs.shape();
        if let Some(MatrixView::F64(matrix)) = costs.matrix()
            && matrix.row(0).is_some()
        {
            return Self { entries: matrix.values(), stride: matrix.row_stride(), shape, may_overflow: false };
        }
        let Evaluated { entries, coordinates, axes } = memory;
        entries.clear();
        entries.resize(n * m, 0.0);
        if let Some(matrix) = costs.matrix() {
            entries.chunks_exact_mut(m).enumerate().for_each(|(i, row)| matrix.copy_row(i, row));
        } else {
            let [source, target] = coordinates.each_mut();
            let (dimension, x, y) = match costs.points() {
                Some([x, y]) => (x.dimension(), wide(x, source), wide(y, target)),
                // An index is a point of one coordinate.
                None => (1, indices(n, source), indices(m, target)),
            };
            let distances = Distances::of(costs.cost().form(), dimension, y, axes);
            for (x, row) in x.chunks_exact(dimension).zip(entries.chunks_exact_mut(m)) {
                if !distances.as_ref().is_some_and(|distances| distances.row(x, row)) {
                    costs.cost().costs_f64(x, y, row);
                }
            }
        }
        let may_overflow = costs.points().is_some() && !costs.cost().may_forbid();
        Self { entries, stride: m, shape, may_overflow }
    }
}

impl CostRows for AllCosts<'_> {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn are_stored(&self) -> bool {
        true
    }

    fn row<'b>(&'b self, i: usize, _: &'b mut [f64]) -> &'b [f64] {
        &self.entries[i * self.stride..][..self.shape.1]
    }

    fn check_row(&self, i: usize, row: &[f64]) -> Result<(), Error> {
        check_row(i, row)?;
        let is_infinite = |any: bool, cost: &f64| any | (*cost == f64::INFINITY);
        if self.may_overflow && row.iter().fold(false, is_infinite) {
            return check_bound::<f64>(f64::INFINITY);
        }
        Ok(())
    }

    fn pair(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.stride + j]
    }
}

/// Coordinates in f64: where they lie, or copied to a buffer.
fn wide<'b, T: Scalar>(points: PointsView<'b, T>, buffer: &'b mut Vec<f64>) -> &'b [f64] {
    match T::floats(points.coordinates()) {
        Floats::F64(coordinates) => coordinates,
        Floats::F32(coordinates) => {
            buffer.clear();
            buffer.extend(coordinates.iter().map(|&coordinate| f64::from(coordinate)));
            buffer
        }
    }
}

fn indices(len: usize, buffer: &mut Vec<f64>) -> &[f64] {
    buffer.clear();
    buffer.extend((0..len).map(|index| index as f64));
    buffer
}

/// The costs between the atoms that have mass: rows padded by infinite costs to whole vectors.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<f64>,
    stride: usize,
    columns: usize,
}

impl Table {
    /// Copies the costs between some atoms of either side. The largest size of a cost comes back: infinite or NaN if one
    /// is not finite.
    pub(super) fn copy(&mut self, costs: &AllCosts<'_>, [sources, targets]: [&[u32]; 2]) -> f64 {
        (self.columns, self.stride) = (targets.len(), targets.len().next_multiple_of(LANES));
        self.entries.clear();
        self.entries.resize(sources.len() * self.stride, f64::INFINITY);
        let is_whole = targets.len() == costs.shape().1;
        let mut sizes = [0.0_f64; LANES];
        for (&source, out) in sources.iter().zip(self.entries.chunks_exact_mut(self.stride)) {
            let (row, out) = (costs.row(source as usize, &mut []), &mut out[..targets.len()]);
            if is_whole {
                out.copy_from_slice(row);
            } else {
                out.iter_mut().zip(targets).for_each(|(out, &target)| *out = row[target as usize]);
            }
            let (chunks, rest) = out.as_chunks::<LANES>();
            for chunk in chunks {
                for lane in 0..LANES {
                    let size = chunk[lane].abs();
                    // A NaN is kept.
                    sizes[lane] = if size <= sizes[lane] { sizes[lane] } else { size };
                }
            }
            for cost in rest {
                sizes[0] = if cost.abs() <= sizes[0] { sizes[0] } else { cost.abs() };
            }
        }
        sizes.into_iter().fold(0.0, |largest, size| if size <= largest { largest } else { size })
    }

    /// Entries from one row to the next, a multiple of [`LANES`].
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// All rows.
    pub(super) fn entries(&self) -> &[f64] {
        &self.entries
    }

    /// A padded row.
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.entries[i * self.stride..][..self.stride]
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.entries.len() / self.stride
    }
}
