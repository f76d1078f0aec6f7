//! The cost between two supports: what fits what, and its rows.

use std::{ops::Deref, sync::Arc};

use super::{CostForm, CostSummary, GroundCost, MatrixView, Periodic, check_bound, summary::is_cost};
use crate::{
    error::Error,
    host::try_zeros,
    measure::{BoundingBox, PointsView, Support},
    scalar::Scalar,
};

/// The costs C_ij between the atoms i of a source and j of a target, checked to exist and read row by row. What a
/// backend starts from when it builds a geometry.
///
/// | cost | supports | C_ij |
/// |---|---|---|
/// | of form [`CostForm::Matrix`] | indices, as many as rows and columns | entry (i, j) |
/// | of form [`CostForm::Generic`], for one coordinate | indices | c(i, j): an index is a point of one coordinate |
/// | any but a matrix | points or grids of one dimension, that of the cost | c(x_i, y_j) |
/// | a power of a norm | the same, a grid of periodic axes among them | the [cost of the nearest images](Periodic) |
///
/// The nodes of a grid are read as points, which the grid keeps. Nothing else is copied, and nothing evaluated before it
/// is asked for.
///
/// ```
/// use ot_core::{CostBetween, CostSummary, Error, PointsView, SqEuclidean, Support};
///
/// let points = [0.0, 1.0, 3.0];
/// let points = Support::Points(PointsView::new(&points, 1)?);
/// let costs = CostBetween::new(points, points, &SqEuclidean)?;
/// assert_eq!(costs.shape(), (3, 3));
/// assert!(costs.bound()?.is_some_and(|bound| bound >= 9.0));
///
/// let (mut row, mut summary) = ([0.0; 3], CostSummary::default());
/// costs.row(1, &mut row);
/// summary.look_at(1, 0, &row);
/// summary.check::<f64>()?;
/// assert_eq!((row, summary.bound()), ([1.0, 0.0, 4.0], 4.0));
///
/// let refused = CostBetween::new(points, Support::Indices(3), &SqEuclidean).err();
/// assert_eq!(refused, Some(Error::UnsupportedSupport { what: "a cost between points", found: "indices" }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CostBetween<'a, T> {
    cost: CostHandle<'a>,
    atoms: Atoms<'a, T>,
}

/// A cost that is borrowed, or kept.
#[derive(Clone, Debug)]
pub enum CostHandle<'a> {
    /// The cost that was given.
    Borrowed(&'a dyn GroundCost),
    /// A cost made of it.
    Shared(Arc<dyn GroundCost>),
}

impl<'a> Deref for CostHandle<'a> {
    type Target = dyn GroundCost + 'a;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Borrowed(cost) => *cost,
            Self::Shared(cost) => cost.as_ref(),
        }
    }
}

/// The atoms of both sides, at least one of each.
#[derive(Clone, Copy, Debug)]
enum Atoms<'a, T> {
    Points { source: PointsView<'a, T>, target: PointsView<'a, T> },
    Indices { rows: usize, columns: usize },
}

impl<'a, T: Scalar> CostBetween<'a, T> {
    /// Pairs two supports with a cost. O((n + m) d) for points and grids, else O(1).
    ///
    /// # Errors
    /// [`Error::UnsupportedSupport`] for a support that is not in the table above; [`Error::EmptyMeasure`];
    /// [`Error::PeriodMismatch`] for two grids of different periods, and [`Error::MissingCapability`] for a cost without
    /// periodic form between supports of which one has periods; [`Error::OutOfMemory`] for the nodes of a grid;
    /// [`Error::Coordinate`] for one that is not finite; [`Error::DimensionMismatch`]; [`Error::Length`] for a matrix of
    /// another shape, and for points of another dimension than the cost [asks for](GroundCost::dimension).
    pub fn new(source: Support<'a, T>, target: Support<'a, T>, cost: &'a dyn GroundCost) -> Result<Self, Error> {
        let refused = |what, found: Support<'_, T>| Err(Error::UnsupportedSupport { what, found: found.kind() });
        let mut handle = CostHandle::Borrowed(cost);
        let atoms = match (source, target, cost.form()) {
            (_, _, CostForm::Implied) => {
                return Err(Error::MissingCapability("entries: an implied cost is known to its own geometry"));
            }
            (Support::Indices(rows), Support::Indices(columns), CostForm::Matrix(matrix)) => {
                check_shape(rows, columns, matrix)?;
                Atoms::Indices { rows, columns }
            }
            (Support::Indices(_), other, CostForm::Matrix(_)) | (other, _, CostForm::Matrix(_)) => {
                return refused("a cost matrix", other);
            }
            (source, target, _) if source.has_coordinates() && target.has_coordinates() => {
                let [x, y] = [nodes_or_points(source)?, nodes_or_points(target)?];
                check_points(x, y, cost)?;
                if let Some(periods) = common_periods(source, target)? {
                    let cost = cost.shared().ok_or(Error::MissingCapability("periodic form: it cannot be shared"))?;
                    handle = CostHandle::Shared(Arc::new(Periodic::new(cost, periods)?));
                }
                Atoms::Points { source: x, target: y }
            }
            (Support::Indices(rows), Support::Indices(columns), CostForm::Generic) if cost.dimension() == Some(1) => {
                if rows == 0 || columns == 0 {
                    return Err(Error::EmptyMeasure);
                }
                Atoms::Indices { rows, columns }
            }
            (source, other, _) if source.has_coordinates() => return refused("a cost between points", other),
            (other, ..) => return refused("a cost between points", other),
        };
        Ok(Self { cost: handle, atoms })
    }

    /// The numbers of atoms, n and m, neither of them zero.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        match self.atoms {
            Atoms::Points { source, target } => (source.len(), target.len()),
            Atoms::Indices { rows, columns } => (rows, columns),
        }
    }

    /// The cost itself: that of the nearest images, where a grid has periods.
    #[must_use]
    pub fn cost(&self) -> &dyn GroundCost {
        &*self.cost
    }

    /// The cost itself, to be kept.
    #[must_use]
    pub fn into_cost(self) -> CostHandle<'a> {
        self.cost
    }

    /// The points of the source and of the target, if the atoms are points. All coordinates are finite.
    #[must_use]
    pub fn points(&self) -> Option<[PointsView<'a, T>; 2]> {
        match self.atoms {
            Atoms::Points { source, target } => Some([source, target]),
            Atoms::Indices { .. } => None,
        }
    }

    /// The matrix, n x m, if the cost is one.
    #[must_use]
    pub fn matrix(&self) -> Option<MatrixView<'a>> {
        match self.cost {
            CostHandle::Borrowed(cost) => match cost.form() {
                CostForm::Matrix(matrix) => Some(matrix),
                _ => None,
            },
            CostHandle::Shared(_) => None,
        }
    }

    /// An upper bound of the finite |C_ij| that needs no look at pairs, if the [cost](GroundCost::bound) tells one.
    /// O((n + m) d).
    ///
    /// # Errors
    /// [`Error::CostOverflow`] for one beyond [`Scalar::LARGEST_COST`]; [`Error::CostUnderflow`] for the power of a norm
    /// between points that differ, if it is below [`Scalar::TINY`].
    pub fn bound(&self) -> Result<Option<f64>, Error> {
        self.bound_in::<T>()
    }

    /// [`bound`](Self::bound), for costs that are computed with in another element type.
    ///
    /// # Errors
    /// Those of [`bound`](Self::bound), with the limits of `S`.
    pub fn bound_in<S: Scalar>(&self) -> Result<Option<f64>, Error> {
        let indices = |len: usize| PointsView::new(&[0.0, (len - 1) as f64], 1).map(BoundingBox::of);
        let [source, target] = match self.atoms {
            Atoms::Points { source, target } => [BoundingBox::of(source), BoundingBox::of(target)],
            Atoms::Indices { rows, columns } => [indices(rows)?, indices(columns)?],
        };
        let bound = self.cost.bound(&source, &target);
        bound.map_or(Ok(()), check_bound::<S>)?;
        let is_power = matches!(self.cost.form(), CostForm::SqEuclidean { .. } | CostForm::PowerOfNorm { .. });
        match bound.filter(|&bound| is_power && bound < S::TINY && source.reach(&target).any(|reach| reach > 0.0)) {
            Some(bound) => Err(Error::CostUnderflow { bound, element: S::NAME, limit: S::TINY }),
            None => Ok(bound),
        }
    }

    /// Writes row i, which must be below n, into the m numbers of `out`: computed in the element type between points,
    /// else rounded to it.
    ///
    /// A finite cost that the element type does not hold, and an infinite one of a cost that
    /// [forbids no pair](GroundCost::may_forbid), is written as ±[`Scalar::MAX`]: [`CostSummary::check`] then tells an
    /// overflow, where an infinity would forbid the pair. NaN and minus infinity are written as they are. To tell the
    /// two apart, what f32 gives as infinite between points is evaluated once more in f64.
    pub fn row(&self, i: usize, out: &mut [T]) {
        match (self.atoms, self.matrix()) {
            (Atoms::Points { source, target }, _) => {
                self.cost().costs(source.point(i), target.coordinates(), out);
                self.mark_overflow(source.point(i), target, out);
            }
            (_, Some(matrix)) => matrix.copy_row(i, out),
            (_, None) => {
                let (mut exact, forbids) = (vec![0.0; out.len()], self.cost.may_forbid());
                self.row_f64(i, &mut exact);
                for (out, exact) in out.iter_mut().zip(exact) {
                    *out = if exact.abs() <= T::MAX { T::from_f64(exact) } else { substitute(exact, forbids) };
                }
            }
        }
    }

    /// Writes row i, which must be below n, into the m numbers of `out`, evaluated in f64 whatever the element type.
    pub fn row_f64(&self, i: usize, out: &mut [f64]) {
        match (self.atoms, self.matrix()) {
            (Atoms::Points { source, target }, _) => {
                self.cost.costs_f64(&T::wide(source.point(i)), &T::wide(target.coordinates()), out);
            }
            (_, Some(matrix)) => matrix.copy_row(i, out),
            (_, None) => {
                let points: Vec<f64> = (0..out.len()).map(|j| j as f64).collect();
                self.cost.costs_f64(&[i as f64], &points, out);
            }
        }
    }

    /// All costs as [`row`](Self::row) writes them, row after row, and what they are. O(n m).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; those of [`CostSummary::check`].
    pub fn table(&self) -> Result<(Vec<T>, CostSummary), Error> {
        let (entries, summary) = self.filled(|i, row| self.row(i, row))?;
        summary.check::<T>()?;
        Ok((entries, summary))
    }

    /// All costs as [`row_f64`](Self::row_f64) writes them, row after row, and what they are. O(n m).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; those of [`CostSummary::check_entries`].
    pub fn table_f64(&self) -> Result<(Vec<f64>, CostSummary), Error> {
        let (entries, summary) = self.filled(|i, row| self.row_f64(i, row))?;
        summary.check_entries()?;
        Ok((entries, summary))
    }

    /// A table of rows, looked at.
    fn filled<S: Scalar>(&self, fill: impl Fn(usize, &mut [S])) -> Result<(Vec<S>, CostSummary), Error> {
        let (rows, columns) = self.shape();
        let mut entries = try_zeros::<S>(rows.saturating_mul(columns), "a table of costs")?;
        let mut summary = CostSummary::default();
        for (i, row) in entries.chunks_exact_mut(columns).enumerate() {
            fill(i, row);
            summary.look_at(i, 0, row);
        }
        Ok((entries, summary))
    }

    /// Substitutes what the element type does not hold, in the row of the point x.
    fn mark_overflow(&self, x: &[T], target: PointsView<'_, T>, row: &mut [T]) {
        let (is_f64, forbids) = (T::MAX == f64::MAX, self.cost.may_forbid());
        if is_f64 && forbids || row.iter().fold(true, |are_finite, cost| are_finite & cost.is_finite()) {
            return;
        }
        let places: Vec<usize> = (0..row.len()).filter(|&j| !row[j].is_finite()).collect();
        let mut exact: Vec<f64> = places.iter().map(|&j| row[j].to_f64()).collect();
        if !is_f64 {
            let points: Vec<T> = places.iter().flat_map(|&j| target.point(j)).copied().collect();
            self.cost.costs_f64(&T::wide(x), &T::wide(&points), &mut exact);
        }
        for (j, exact) in places.into_iter().zip(exact) {
            row[j] = substitute(exact, forbids);
        }
    }
}

/// What stands for a cost that the element type does not hold.
fn substitute<T: Scalar>(exact: f64, forbids: bool) -> T {
    let is_forbidden = exact == f64::INFINITY && forbids;
    let is_overflow = is_cost(exact) && !is_forbidden;
    T::from_f64(if is_overflow { T::MAX.copysign(exact) } else { exact })
}

/// Does a matrix have a row for each source atom and a column for each target atom?
fn check_shape(rows: usize, columns: usize, matrix: MatrixView<'_>) -> Result<(), Error> {
    for (what, expected, found) in
        [("rows of the cost matrix", rows, matrix.rows()), ("columns of the cost matrix", columns, matrix.columns())]
    {
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    Ok(())
}

/// The points of a cloud, or the nodes of a grid.
fn nodes_or_points<'a, T: Scalar>(support: Support<'a, T>) -> Result<PointsView<'a, T>, Error> {
    match support {
        Support::Points(points) => Ok(points),
        Support::Grid(grid) => grid.points(),
        other => Err(Error::UnsupportedSupport { what: "a cost between points", found: other.kind() }),
    }
}

/// The periods of the axes of the space that both supports lie in, if there are any: those of its grids.
fn common_periods<T: Scalar>(
    source: Support<'_, T>,
    target: Support<'_, T>,
) -> Result<Option<Vec<Option<f64>>>, Error> {
    let of = |support: Support<'_, T>| match support {
        Support::Grid(grid) => Some(grid.axes().iter().map(|axis| axis.period()).collect::<Vec<_>>()),
        _ => None,
    };
    let periods = match (of(source), of(target)) {
        (Some(source), Some(target)) => {
            if let Some(axis) = (0..source.len()).find(|&axis| source[axis] != target[axis]) {
                return Err(Error::PeriodMismatch { axis, source_period: source[axis], target_period: target[axis] });
            }
            Some(source)
        }
        (source, target) => source.or(target),
    };
    Ok(periods.filter(|periods| periods.iter().any(Option::is_some)))
}

/// Are these points, and do they fit each other and the cost?
fn check_points<T: Scalar>(
    source: PointsView<'_, T>,
    target: PointsView<'_, T>,
    cost: &dyn GroundCost,
) -> Result<(), Error> {
    source.validate()?;
    target.validate()?;
    let (source_dimension, target_dimension) = (source.dimension(), target.dimension());
    if source_dimension != target_dimension {
        return Err(Error::DimensionMismatch { source_dimension, target_dimension });
    }
    match cost.dimension() {
        Some(expected) if expected != source_dimension => {
            let what = "coordinates of a point, as many as the cost asks for";
            Err(Error::Length { what, expected, found: source_dimension })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{CostFunction, CostMatrix, Euclidean, SqEuclidean};

    fn refused<T: Scalar>(source: Support<'_, T>, target: Support<'_, T>, cost: &dyn GroundCost) -> Option<Error> {
        CostBetween::new(source, target, cost).err()
    }

    #[test]
    fn supports_that_do_not_fit_are_refused() -> Result<(), Error> {
        let coordinates = [0.0, 1.0, 2.0, 3.0];
        let [line, plane] = [1, 2].map(|dimension| PointsView::new(&coordinates, dimension).map(Support::Points));
        let (line, plane) = (line?, plane?);
        let [two, three] = [2, 3].map(Support::Indices);
        let mesh = Support::Foreign { kind: "mesh", len: Some(2), support: &() };
        let matrix = CostMatrix::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3)?;
        let unsupported = |what, found| Some(Error::UnsupportedSupport { what, found });

        for (source, target, found) in [(line, line, "points"), (two, line, "points"), (mesh, three, "mesh")] {
            assert_eq!(refused(source, target, &matrix), unsupported("a cost matrix", found));
        }
        for (source, target, found) in [(two, two, "indices"), (line, two, "indices"), (line, mesh, "mesh")] {
            assert_eq!(refused(source, target, &SqEuclidean), unsupported("a cost between points", found));
        }
        let length = |what, expected, found| Some(Error::Length { what, expected, found });
        assert_eq!(refused(three, three, &matrix), length("rows of the cost matrix", 3, 2));
        assert_eq!(refused(two, two, &matrix), length("columns of the cost matrix", 2, 3));
        assert_eq!(
            refused(plane, line, &SqEuclidean),
            Some(Error::DimensionMismatch { source_dimension: 2, target_dimension: 1 })
        );
        let flat = CostFunction::new(|x: &[f64], y: &[f64]| x[1] - y[1]).with_dimension(2);
        assert_eq!(refused(line, line, &flat), length("coordinates of a point, as many as the cost asks for", 2, 1));
        let none = Support::Points(PointsView::new(&[], 1)?);
        assert_eq!(refused(line, none, &SqEuclidean), Some(Error::EmptyMeasure));
        Ok(())
    }

    #[test]
    fn rows_of_either_kind_and_precision() -> Result<(), Error> {
        fn rows<T: Scalar>() -> Result<(), Error> {
            let points = [0.0, 1.0, 4.0].map(T::from_f64);
            let points = Support::Points(PointsView::new(&points, 1)?);
            let indices = Support::Indices(3);
            let entries: Vec<f64> = (0..9).map(f64::from).collect();
            let matrix = CostMatrix::new(&entries, 3, 3)?;
            let closure = CostFunction::new(|x: &[f64], y: &[f64]| 3.0 * x[0] + y[0]).with_dimension(1);
            let costs: [(Support<'_, T>, &dyn GroundCost, [f64; 3]); 3] = [
                (points, &SqEuclidean, [1.0, 0.0, 9.0]),
                (indices, &matrix, [3.0, 4.0, 5.0]),
                (indices, &closure, [3.0, 4.0, 5.0]),
            ];
            for (support, cost, expected) in costs {
                let costs = CostBetween::new(support, support, cost)?;
                let (mut row, mut wide) = ([T::default(); 3], [0.0; 3]);
                costs.row(1, &mut row);
                costs.row_f64(1, &mut wide);
                assert_eq!((row.map(T::to_f64), wide), (expected, expected));
                let ((table, summary), (wide, _)) = (costs.table()?, costs.table_f64()?);
                assert_eq!(table.iter().map(|cost| cost.to_f64()).collect::<Vec<_>>(), wide);
                assert_eq!(summary.bound(), wide.iter().copied().fold(0.0, f64::max));
            }
            Ok(())
        }
        rows::<f32>()?;
        rows::<f64>()
    }

    #[test]
    fn bounds_are_those_of_the_cost() -> Result<(), Error> {
        let near = [0.0_f32, 3.0];
        let far = [0.0_f32, 1e30];
        let [near, far] = [&near, &far].map(|points| PointsView::new(points, 1).map(Support::Points));
        let (near, far) = (near?, far?);
        assert!(CostBetween::new(near, near, &Euclidean)?.bound()?.is_some_and(|bound| (3.0..3.1).contains(&bound)));
        assert!(CostBetween::new(near, far, &Euclidean)?.bound()?.is_some());
        let overflow = CostBetween::new(near, far, &SqEuclidean)?.bound();
        assert!(matches!(overflow, Err(Error::CostOverflow { element: "f32", .. })), "{overflow:?}");
        let matrix = CostMatrix::new(vec![1.0, -7.0, f64::INFINITY, 2.0], 2, 2)?;
        let indices = Support::<f32>::Indices(2);
        assert_eq!(CostBetween::new(indices, indices, &matrix)?.bound(), Ok(Some(7.0)));
        Ok(())
    }

    #[test]
    fn a_cost_beyond_the_element_type_is_an_overflow_and_an_infinite_one_forbids() -> Result<(), Error> {
        let points = [0.0_f32, 1.0, 2.0];
        let points = Support::Points(PointsView::new(&points, 1)?);
        let indices = Support::Indices(3);
        let value = |x: f64, y: f64| if x + y > 2.5 { 1e60 } else { 1.0 };
        let large = CostFunction::new(move |x: &[f64], y: &[f64]| value(x[0], y[0])).with_dimension(1);
        let matrix: Vec<f64> = (0..9).map(|k| value(f64::from(k / 3), f64::from(k % 3))).collect();
        let matrix = CostMatrix::new(matrix, 3, 3)?;
        let forbidding = CostFunction::new(|x: &[f64], y: &[f64]| if x[0] < y[0] { f64::INFINITY } else { 1.0 });
        let forbidding = forbidding.with_dimension(1);
        for (support, cost) in [(points, &large as &dyn GroundCost), (indices, &large), (indices, &matrix)] {
            let found = CostBetween::new(support, support, cost)?.table().err();
            assert!(matches!(found, Some(Error::CostOverflow { element: "f32", .. })), "{found:?}");
            assert!(CostBetween::new(support, support, cost)?.table_f64().is_ok());
        }
        for support in [points, indices] {
            let (entries, summary) = CostBetween::new(support, support, &forbidding)?.table()?;
            assert_eq!((entries[1], summary.bound(), summary.forbids()), (f32::INFINITY, 1.0, true));
        }
        // An infinite square is too large, whatever the element type.
        let far = [0.0, 1e200];
        let far = Support::Points(PointsView::new(&far, 1)?);
        let found = CostBetween::new(far, far, &SqEuclidean)?.table().err();
        assert!(matches!(found, Some(Error::CostOverflow { element: "f64", .. })), "{found:?}");
        Ok(())
    }
}
