//! Costs of pairs in f64, row by row, made as they are asked for.

use ot_core::{
    CostBetween, Error, GroundCost, MatrixView, PointsView, Scalar, Support,
    cost::{CostHandle, check_bound, check_row},
};

use super::boxes::PairBoxes;

/// Costs C_ij that are read row by row.
pub(super) trait CostRows: Sync {
    /// n and m.
    fn shape(&self) -> (usize, usize);

    /// Do all rows lie in memory, so that no buffer is needed?
    fn are_stored(&self) -> bool;

    /// Row i: where it lies, or written to the buffer, which then has m places.
    fn row<'b>(&'b self, i: usize, buffer: &'b mut [f64]) -> &'b [f64];

    /// Refuses a row with entries that are no costs.
    ///
    /// # Errors
    /// [`Error::Cost`] for NaN and minus infinity, [`Error::CostOverflow`] for an infinite cost that forbids no pair.
    fn check_row(&self, i: usize, row: &[f64]) -> Result<(), Error>;

    /// C_ij.
    fn pair(&self, i: usize, j: usize) -> f64;

    /// Boxes that tell which pairs may matter, where looking at them can pay.
    fn boxes(&self) -> Option<PairBoxes<'_>> {
        None
    }
}

/// Fewer pairs than this are sooner looked at than boxes.
const FEWEST_PAIRS: usize = 1 << 22;

/// The costs C_ij between some atoms of a source and some of a target. Infinite costs forbid pairs.
///
/// Memory O((n + m) d) for points; a matrix is borrowed.
#[derive(Debug)]
pub(super) struct PairCosts<'a> {
    kind: Kind<'a>,
    rows: usize,
    columns: usize,
    /// Is the last atom of a side one where mass rests?
    rests: [bool; 2],
    /// Is an infinite cost an overflow that no bound has ruled out, since the cost forbids no pair?
    may_overflow: bool,
    /// What larger costs are told as.
    level: f64,
}

#[derive(Debug)]
enum Kind<'a> {
    /// Coordinates of the atoms, point after point.
    Points { cost: CostHandle<'a>, dimension: usize, source: Vec<f64>, target: Vec<f64> },
    /// Places of the atoms in the matrix; `whole` if the columns are all of them in their order.
    Matrix { matrix: MatrixView<'a>, rows: Vec<u32>, columns: Vec<u32>, whole: bool },
}

impl<'a> PairCosts<'a> {
    /// The costs between all atoms.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`], and of [`CostBetween::bound_in`] f64 between points; [`Error::Length`] for more atoms than
    /// indices; [`Error::OutOfMemory`].
    pub(super) fn new<T: Scalar>(
        source: Support<'a, T>,
        target: Support<'a, T>,
        cost: &'a dyn GroundCost,
    ) -> Result<Self, Error> {
        let all = |support: &Support<'_, T>| {
            let (expected, found) = (u32::MAX as usize, support.len().unwrap_or(0));
            let len = u32::try_from(found);
            let len = len.map_err(|_| Error::Length { what: "atoms of a measure, at most", expected, found })?;
            Ok::<_, Error>((0..len).collect::<Vec<_>>())
        };
        let atoms = [all(&source)?, all(&target)?];
        Self::between(source, target, cost, [&atoms[0], &atoms[1]])
    }

    /// The costs between the atoms named, in the order named.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), [`Error::CostOverflow`] for points so far apart that their costs may be beyond the range.
    pub(super) fn between<T: Scalar>(
        source: Support<'a, T>,
        target: Support<'a, T>,
        cost: &'a dyn GroundCost,
        atoms: [&[u32]; 2],
    ) -> Result<Self, Error> {
        let [rows, columns] = atoms.map(<[u32]>::len);
        let costs = CostBetween::new(source, target, cost)?;
        // In f64, whatever the element type.
        let bound = if costs.points().is_some() { costs.bound_in::<f64>()? } else { None };
        let may_overflow = costs.points().is_some() && bound.is_none() && !cost.may_forbid();
        let kind = match (costs.points(), costs.matrix()) {
            (Some([x, y]), _) => {
                let (source, target) = (gathered(x, atoms[0])?, gathered(y, atoms[1])?);
                Kind::Points { cost: costs.into_cost(), dimension: x.dimension(), source, target }
            }
            (None, Some(matrix)) => {
                let is_place = |(place, &j): (usize, &u32)| place == j as usize;
                let whole = columns == costs.shape().1 && atoms[1].iter().enumerate().all(is_place);
                Kind::Matrix { matrix, rows: atoms[0].to_vec(), columns: atoms[1].to_vec(), whole }
            }
            // An index is a point of one coordinate.
            (None, None) => {
                let [source, target] = atoms.map(|atoms| atoms.iter().map(|&atom| f64::from(atom)).collect());
                Kind::Points { cost: costs.into_cost(), dimension: 1, source, target }
            }
        };
        Ok(Self { kind, rows, columns, rests: [false; 2], may_overflow, level: f64::INFINITY })
    }

    /// The costs with one more atom on a side, the last: what it sends or receives costs nothing and stays where it is.
    /// Two of them do not meet.
    pub(super) fn with_rests(self, rests: [bool; 2]) -> Self {
        let [rows, columns] = rests.map(usize::from);
        Self { rows: self.rows + rows, columns: self.columns + columns, rests, ..self }
    }

    /// The costs with none above a level, but for those that forbid.
    pub(super) fn clipped_above(self, level: f64) -> Self {
        Self { level, ..self }
    }

    /// n and m.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Is this the atom where mass rests?
    fn is_rest(&self, side: usize, atom: usize) -> bool {
        self.rests[side] && atom + 1 == [self.rows, self.columns][side]
    }

    /// Refuses a row with entries that are no costs.
    ///
    /// # Errors
    /// [`Error::Cost`] for NaN and minus infinity, [`Error::CostOverflow`] for an infinite cost that forbids no pair.
    pub(super) fn check_row(&self, i: usize, row: &[f64]) -> Result<(), Error> {
        check_row(i, row)?;
        let moving = self.columns - usize::from(self.rests[1]);
        if self.may_overflow && !self.is_rest(0, i) && row[..moving].contains(&f64::INFINITY) {
            return check_bound::<f64>(f64::INFINITY);
        }
        Ok(())
    }

    /// Row i: in the matrix itself if it lies there, else written to the buffer, which has m places.
    pub(super) fn row<'b>(&'b self, i: usize, buffer: &'b mut [f64]) -> &'b [f64] {
        if self.is_rest(0, i) {
            buffer.fill(0.0);
            if self.rests[1] {
                buffer[self.columns - 1] = f64::INFINITY;
            }
            return buffer;
        }
        if self.rests[1] {
            let moving = self.columns - 1;
            let (entries, rest) = buffer.split_at_mut(moving);
            if let Some(kept) = self.moving_row(i, entries) {
                entries.copy_from_slice(kept);
            }
            rest.fill(0.0);
            return buffer;
        }
        match self.moving_row(i, buffer) {
            Some(kept) => kept,
            None => buffer,
        }
    }

    /// Row i without rests: where it lies, or written to the buffer.
    fn moving_row(&self, i: usize, buffer: &mut [f64]) -> Option<&[f64]> {
        match &self.kind {
            Kind::Points { cost, dimension, source, target } => {
                cost.costs_f64(&source[i * dimension..][..*dimension], target, buffer);
            }
            Kind::Matrix { matrix, rows, columns, whole } => {
                let row = rows[i] as usize;
                if let (MatrixView::F64(matrix), true, f64::INFINITY) = (matrix, whole, self.level)
                    && let Some(entries) = matrix.row(row)
                {
                    return Some(entries);
                }
                if *whole {
                    matrix.copy_row(row, buffer);
                } else {
                    for (out, &j) in buffer.iter_mut().zip(columns) {
                        *out = matrix.get(row, j as usize);
                    }
                }
            }
        }
        if self.level < f64::INFINITY {
            buffer.iter_mut().for_each(|cost| *cost = self.clipped(*cost));
        }
        None
    }

    /// A cost as it is told.
    fn clipped(&self, cost: f64) -> f64 {
        if cost > self.level && cost < f64::INFINITY { self.level } else { cost }
    }

    /// Boxes around the points, where the cost is one that they tell of: it forbids no pair, does not overflow, is not clipped.
    pub(super) fn boxes_of_any_size(&self) -> Option<PairBoxes<'_>> {
        match &self.kind {
            Kind::Points { cost, dimension, source, target }
                if !(self.may_overflow
                    || cost.may_forbid()
                    || self.rests != [false; 2]
                    || self.level < f64::INFINITY) =>
            {
                PairBoxes::new(&**cost, *dimension, [source, target])
            }
            _ => None,
        }
    }

    /// C_ij.
    pub(super) fn pair(&self, i: usize, j: usize) -> f64 {
        match [self.is_rest(0, i), self.is_rest(1, j)] {
            [true, true] => return f64::INFINITY,
            [false, false] => {}
            _ => return 0.0,
        }
        match &self.kind {
            Kind::Points { cost, dimension, source, target } => {
                let mut out = [f64::INFINITY];
                let (x, y) = (&source[i * dimension..][..*dimension], &target[j * dimension..][..*dimension]);
                cost.costs_f64(x, y, &mut out);
                self.clipped(out[0])
            }
            Kind::Matrix { matrix, rows, columns, .. } => {
                self.clipped(matrix.get(rows[i] as usize, columns[j] as usize))
            }
        }
    }
}

impl CostRows for PairCosts<'_> {
    fn shape(&self) -> (usize, usize) {
        PairCosts::shape(self)
    }

    fn are_stored(&self) -> bool {
        false
    }

    fn row<'b>(&'b self, i: usize, buffer: &'b mut [f64]) -> &'b [f64] {
        PairCosts::row(self, i, buffer)
    }

    fn check_row(&self, i: usize, row: &[f64]) -> Result<(), Error> {
        PairCosts::check_row(self, i, row)
    }

    fn pair(&self, i: usize, j: usize) -> f64 {
        PairCosts::pair(self, i, j)
    }

    fn boxes(&self) -> Option<PairBoxes<'_>> {
        let are_few = self.rows.saturating_mul(self.columns) < FEWEST_PAIRS;
        if are_few { None } else { self.boxes_of_any_size().filter(PairBoxes::pay) }
    }
}

/// The coordinates of some points, in f64.
fn gathered<T: Scalar>(points: PointsView<'_, T>, atoms: &[u32]) -> Result<Vec<f64>, Error> {
    let mut out = ot_core::host::try_zeros(atoms.len() * points.dimension(), "points")?;
    for (out, &atom) in out.chunks_exact_mut(points.dimension()).zip(atoms) {
        out.iter_mut().zip(points.point(atom as usize)).for_each(|(out, coordinate)| *out = coordinate.to_f64());
    }
    Ok(out)
}
