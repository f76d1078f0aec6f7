//! Costs given entry by entry.

use std::{any::Any, borrow::Cow, fmt, sync::Arc};

use super::{CostForm, CostSummary, GroundCost};
use crate::{
    error::Error,
    measure::BoundingBox,
    scalar::{Floats, Scalar},
};

/// A matrix in a slice: entry (i, j) at `i * row_stride + j * column_stride`.
///
/// ```
/// use ot_core::StridedMatrix;
///
/// // [[1, 2, 3], [4, 5, 6]], and its transpose, without moving an entry.
/// let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let matrix = StridedMatrix::new(&values, 2, 3, 3, 1)?;
/// assert_eq!(matrix.row(1), Some(&[4.0, 5.0, 6.0][..]));
/// assert_eq!(matrix.transposed().get(2, 1), Some(6.0));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct StridedMatrix<'a, T> {
    values: &'a [T],
    layout: Layout,
}

/// Where the entries are; the last one lies inside the slice.
#[derive(Clone, Copy, PartialEq)]
struct Layout {
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl Layout {
    /// Checks that there are entries, and that `len` values hold all of them.
    fn check(self, len: usize) -> Result<Self, Error> {
        if self.rows == 0 || self.columns == 0 {
            return Err(Error::EmptyMeasure);
        }
        let last_row = (self.rows - 1).checked_mul(self.row_stride);
        let last_column = (self.columns - 1).checked_mul(self.column_stride);
        let expected = last_row
            .zip(last_column)
            .and_then(|(row, column)| row.checked_add(column)?.checked_add(1))
            .unwrap_or(usize::MAX);
        if len < expected {
            return Err(Error::Length { what: "cost matrix", expected, found: len });
        }
        Ok(self)
    }
}

impl<'a, T: Scalar> StridedMatrix<'a, T> {
    /// Views `values` as a matrix.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMeasure`] without rows or columns; [`Error::Length`] if the slice ends before the
    /// last entry. The entries are not looked at.
    pub fn new(
        values: &'a [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Result<Self, Error> {
        let layout = Layout { rows, columns, row_stride, column_stride };
        layout.check(values.len()).map(|layout| Self { values, layout })
    }

    /// The number of rows: source atoms.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// The number of columns: target atoms.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.layout.columns
    }

    /// From an entry to the one below.
    #[must_use]
    pub fn row_stride(&self) -> usize {
        self.layout.row_stride
    }

    /// From an entry to the one on its right.
    #[must_use]
    pub fn column_stride(&self) -> usize {
        self.layout.column_stride
    }

    /// The slice that holds the entries, and what lies between them.
    #[must_use]
    pub fn values(&self) -> &'a [T] {
        self.values
    }

    /// Entry (`row`, `column`); `None` outside.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> Option<T> {
        let inside = row < self.rows() && column < self.columns();
        inside.then(|| self.values[row * self.row_stride() + column * self.column_stride()])
    }

    /// Row `row` as a slice; `None` outside, or if the entries of a row are not neighbours.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<&'a [T]> {
        let neighbours = self.column_stride() == 1 || self.columns() == 1;
        (neighbours && row < self.rows()).then(|| &self.values[row * self.row_stride()..][..self.columns()])
    }

    /// The entries of row `row` from left to right; none outside.
    pub fn row_entries(&self, row: usize) -> impl ExactSizeIterator<Item = T> + use<'a, T> {
        let (view, count) = (*self, if row < self.rows() { self.columns() } else { 0 });
        (0..count).map(move |column| view.values[row * view.row_stride() + column * view.column_stride()])
    }

    /// The same entries with rows and columns exchanged.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let Layout { rows, columns, row_stride, column_stride } = self.layout;
        Self {
            values: self.values,
            layout: Layout { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride },
        }
    }
}

impl<T> fmt::Debug for StridedMatrix<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StridedMatrix")
            .field("rows", &self.layout.rows)
            .field("columns", &self.layout.columns)
            .field("row_stride", &self.layout.row_stride)
            .field("column_stride", &self.layout.column_stride)
            .finish_non_exhaustive()
    }
}

/// A matrix of either element type, as a cost hands it out through its object-safe interface.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MatrixView<'a> {
    /// Entries in double precision.
    F64(StridedMatrix<'a, f64>),
    /// Entries in single precision.
    F32(StridedMatrix<'a, f32>),
}

impl<'a> MatrixView<'a> {
    /// A matrix of either element type.
    fn of<T: Scalar>(StridedMatrix { values, layout }: StridedMatrix<'a, T>) -> Self {
        match T::floats(values) {
            Floats::F64(values) => Self::F64(StridedMatrix { values, layout }),
            Floats::F32(values) => Self::F32(StridedMatrix { values, layout }),
        }
    }
}

impl MatrixView<'_> {
    /// The number of rows: source atoms.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::F64(matrix) => matrix.rows(),
            Self::F32(matrix) => matrix.rows(),
        }
    }

    /// The number of columns: target atoms.
    #[must_use]
    pub fn columns(&self) -> usize {
        match self {
            Self::F64(matrix) => matrix.columns(),
            Self::F32(matrix) => matrix.columns(),
        }
    }

    /// Entry (`row`, `column`) in f64; +inf, a forbidden pair, outside.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> f64 {
        match self {
            Self::F64(matrix) => matrix.get(row, column).unwrap_or(f64::INFINITY),
            Self::F32(matrix) => matrix.get(row, column).map_or(f64::INFINITY, f64::from),
        }
    }

    /// Writes row `row` into `out`, rounded to its element type, as far as both reach. A finite entry beyond that type
    /// becomes ±[`Scalar::MAX`]: an overflow, and no forbidden pair.
    pub fn copy_row<T: Scalar>(&self, row: usize, out: &mut [T]) {
        match self {
            Self::F64(matrix) => copy_row(matrix, row, out),
            Self::F32(matrix) => copy_row(matrix, row, out),
        }
    }

    /// The same entries with rows and columns exchanged.
    #[must_use]
    pub fn transposed(&self) -> Self {
        match self {
            Self::F64(matrix) => Self::F64(matrix.transposed()),
            Self::F32(matrix) => Self::F32(matrix.transposed()),
        }
    }
}

/// [`MatrixView::copy_row`] for one element type; neighbours are read as a slice.
fn copy_row<S: Scalar, T: Scalar>(matrix: &StridedMatrix<'_, S>, row: usize, out: &mut [T]) {
    let convert = |value: S| {
        let value = value.to_f64();
        T::from_f64(if value.is_finite() { value.clamp(-T::MAX, T::MAX) } else { value })
    };
    match matrix.row(row) {
        Some(entries) => {
            for (out, entry) in out.iter_mut().zip(entries) {
                *out = convert(*entry);
            }
        }
        None => {
            for (out, entry) in out.iter_mut().zip(matrix.row_entries(row)) {
                *out = convert(entry);
            }
        }
    }
}

/// The entries of a [`CostMatrix`]: borrowed, or shared with whoever keeps them.
///
/// Made from slices, which are borrowed, and from vectors and `Arc`s of vectors, which are shared without a copy.
#[derive(Clone, Debug)]
pub enum MatrixValues<'a, T> {
    /// Of somebody else. A geometry that keeps them makes a copy.
    Borrowed(&'a [T]),
    /// Kept. A geometry of the same element type keeps the same ones.
    Shared(Arc<Vec<T>>),
}

impl<T: Clone> MatrixValues<'_, T> {
    /// The numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::Borrowed(values) => values,
            Self::Shared(values) => values,
        }
    }

    fn into_shared(self) -> Arc<Vec<T>> {
        match self {
            Self::Borrowed(values) => Arc::new(values.to_vec()),
            Self::Shared(values) => values,
        }
    }
}

impl<T: PartialEq + Clone> PartialEq for MatrixValues<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<'a, T> From<&'a [T]> for MatrixValues<'a, T> {
    fn from(values: &'a [T]) -> Self {
        Self::Borrowed(values)
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for MatrixValues<'a, T> {
    fn from(values: &'a [T; N]) -> Self {
        Self::Borrowed(values)
    }
}

impl<'a, T> From<&'a Vec<T>> for MatrixValues<'a, T> {
    fn from(values: &'a Vec<T>) -> Self {
        Self::Borrowed(values)
    }
}

impl<T> From<Vec<T>> for MatrixValues<'_, T> {
    fn from(values: Vec<T>) -> Self {
        Self::Shared(Arc::new(values))
    }
}

impl<T> From<Arc<Vec<T>>> for MatrixValues<'_, T> {
    fn from(values: Arc<Vec<T>>) -> Self {
        Self::Shared(values)
    }
}

impl<'a, T: Clone> From<Cow<'a, [T]>> for MatrixValues<'a, T> {
    fn from(values: Cow<'a, [T]>) -> Self {
        match values {
            Cow::Borrowed(values) => Self::Borrowed(values),
            Cow::Owned(values) => values.into(),
        }
    }
}

/// The entries of a [`CostMatrix`] that keeps them row after row, with what it has found out about them.
#[derive(Clone, Debug)]
pub struct SharedMatrix {
    entries: SharedEntries,
    rows: usize,
    columns: usize,
    summary: CostSummary,
}

impl SharedMatrix {
    /// The entries, none of which is NaN or minus infinity.
    #[must_use]
    pub fn entries(&self) -> &SharedEntries {
        &self.entries
    }

    /// The entries as a view.
    #[must_use]
    pub fn view(&self) -> MatrixView<'_> {
        let layout = Layout { rows: self.rows, columns: self.columns, row_stride: self.columns, column_stride: 1 };
        match &self.entries {
            SharedEntries::F32(values) => MatrixView::F32(StridedMatrix { values, layout }),
            SharedEntries::F64(values) => MatrixView::F64(StridedMatrix { values, layout }),
        }
    }

    /// What the entries are; none of them is invalid.
    #[must_use]
    pub fn summary(&self) -> CostSummary {
        self.summary
    }
}

/// Entries of either element type.
#[derive(Clone, Debug)]
pub enum SharedEntries {
    /// Single precision.
    F32(Arc<Vec<f32>>),
    /// Double precision.
    F64(Arc<Vec<f64>>),
}

impl SharedEntries {
    /// Entries of an element type.
    fn of<T: Scalar>(entries: Arc<Vec<T>>) -> Option<Self> {
        let entries: Arc<dyn Any + Send + Sync> = entries;
        match entries.downcast::<Vec<f64>>() {
            Ok(entries) => Some(Self::F64(entries)),
            Err(entries) => entries.downcast::<Vec<f32>>().ok().map(Self::F32),
        }
    }

    /// The entries, if they are of this element type.
    #[must_use]
    pub fn downcast<T: Scalar>(&self) -> Option<Arc<Vec<T>>> {
        let entries: Arc<dyn Any + Send + Sync> = match self {
            Self::F32(entries) => Arc::clone(entries) as _,
            Self::F64(entries) => Arc::clone(entries) as _,
        };
        entries.downcast().ok()
    }
}

/// A cost given by its matrix, owned or borrowed, validated when built: C_ij is the cost from source
/// atom i to target atom j, and +inf forbids the pair.
///
/// Its form is [`CostForm::Matrix`], which backends read directly. For generic code that only evaluates
/// rows, an index is a point of one coordinate: x = \[i\], points = \[j_0, j_1, ...\]; an index outside
/// the matrix costs +inf.
///
/// ```
/// use ot_core::{CostMatrix, GroundCost};
///
/// let values = [0.0, 1.0, 2.0, f64::INFINITY, 0.5, 3.0];
/// let cost = CostMatrix::new(&values, 2, 3)?;
/// assert!(cost.may_forbid());
/// let mut row = [0.0; 2];
/// cost.costs_f64(&[1.0], &[2.0, 0.0], &mut row);
/// assert_eq!(row, [3.0, f64::INFINITY]);
/// assert!(CostMatrix::new(&[0.0, f64::NAN], 1, 2).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct CostMatrix<'a, T: Scalar> {
    values: MatrixValues<'a, T>,
    layout: Layout,
    summary: CostSummary,
}

impl<'a, T: Scalar> CostMatrix<'a, T> {
    /// A row-major matrix: entry (i, j) at `i * columns + j`.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMeasure`] without rows or columns; [`Error::Length`] unless there are rows times
    /// columns entries; [`Error::Cost`] for an entry that is NaN or minus infinity.
    pub fn new(values: impl Into<MatrixValues<'a, T>>, rows: usize, columns: usize) -> Result<Self, Error> {
        let values = values.into();
        let entries = rows.saturating_mul(columns);
        if values.as_slice().len() > entries && entries > 0 {
            return Err(Error::Length { what: "cost matrix", expected: entries, found: values.as_slice().len() });
        }
        Self::strided(values, rows, columns, columns, 1)
    }

    /// A matrix with entry (i, j) at `i * row_stride + j * column_stride`: column-major with strides
    /// (1, rows), or a part of a larger matrix.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), but the slice may be longer than the entries need.
    pub fn strided(
        values: impl Into<MatrixValues<'a, T>>,
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Result<Self, Error> {
        let values = values.into();
        let layout = Layout { rows, columns, row_stride, column_stride };
        let layout = layout.check(values.as_slice().len())?;
        let summary = summary_of(&StridedMatrix { values: values.as_slice(), layout });
        summary.check_entries()?;
        Ok(Self { values, layout, summary })
    }

    /// The entries.
    #[must_use]
    pub fn matrix(&self) -> StridedMatrix<'_, T> {
        StridedMatrix { values: self.values.as_slice(), layout: self.layout }
    }

    /// The same cost, owning what it borrowed.
    #[must_use]
    pub fn into_owned(self) -> CostMatrix<'static, T> {
        CostMatrix {
            values: MatrixValues::Shared(self.values.into_shared()),
            layout: self.layout,
            summary: self.summary,
        }
    }

    /// `out[j]` = C(x, points_j) for indices given as coordinates of any element type.
    fn costs<S: Scalar>(&self, x: &[S], points: &[S], out: &mut [S]) {
        let ([x], matrix) = (x, self.matrix()) else {
            return;
        };
        for (y, out) in points.iter().zip(out) {
            let pair = index_of(*x).zip(index_of(*y));
            let entry = pair.and_then(|(row, column)| matrix.get(row, column));
            *out = S::from_f64(entry.map_or(f64::INFINITY, T::to_f64));
        }
    }
}

/// The index that a coordinate holds, if it holds one.
fn index_of<S: Scalar>(coordinate: S) -> Option<usize> {
    let value = coordinate.to_f64();
    (value >= 0.0 && value.fract() == 0.0).then_some(value as usize)
}

/// A scan of all entries, in the order of the memory.
fn summary_of<T: Scalar>(matrix: &StridedMatrix<'_, T>) -> CostSummary {
    let by_columns = matrix.row_stride() < matrix.column_stride();
    let lines = if by_columns { matrix.transposed() } else { *matrix };
    let (mut summary, mut scattered) = (CostSummary::default(), Vec::new());
    for line in 0..lines.rows() {
        match lines.row(line) {
            Some(entries) => summary.look_at(line, 0, entries),
            None => {
                scattered.clear();
                scattered.extend(lines.row_entries(line));
                summary.look_at(line, 0, &scattered);
            }
        }
    }
    if by_columns { summary.transposed() } else { summary }
}

impl<T: Scalar> GroundCost for CostMatrix<'_, T> {
    fn shared_matrix(&self) -> Option<SharedMatrix> {
        let Layout { rows, columns, row_stride, column_stride } = self.layout;
        let MatrixValues::Shared(values) = &self.values else { return None };
        let is_row_major = column_stride == 1 && row_stride == columns && values.len() == rows * columns;
        let entries = SharedEntries::of(Arc::clone(values))?;
        is_row_major.then_some(SharedMatrix { entries, rows, columns, summary: self.summary })
    }

    fn form(&self) -> CostForm<'_> {
        CostForm::Matrix(MatrixView::of(self.matrix()))
    }

    fn dimension(&self) -> Option<usize> {
        Some(1)
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        self.costs(x, points, out);
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        self.costs(x, points, out);
    }

    /// Whether an entry is +inf.
    fn may_forbid(&self) -> bool {
        self.summary.forbids()
    }

    /// The largest |C_ij| that is finite, whatever the boxes.
    fn bound(&self, _source: &BoundingBox, _target: &BoundingBox) -> Option<f64> {
        Some(self.summary.bound())
    }
}

impl<T: Scalar> fmt::Debug for CostMatrix<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CostMatrix").field("matrix", &self.matrix()).field("summary", &self.summary).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    fn refused(values: &[f64], rows: usize, columns: usize) -> Option<Error> {
        CostMatrix::new(values, rows, columns).err()
    }

    fn too_short(expected: usize, found: usize) -> Option<Error> {
        Some(Error::Length { what: "cost matrix", expected, found })
    }

    #[test]
    fn strides_address_the_entries() -> Result<(), Error> {
        // Every second column of the first and last row of a 3 x 4 matrix.
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let part = StridedMatrix::new(&values, 2, 2, 8, 2)?;
        let entries = |matrix: &StridedMatrix<'_, f64>| {
            let rows = (0..matrix.rows()).map(|row| matrix.row_entries(row).collect::<Vec<_>>());
            rows.collect::<Vec<_>>()
        };
        assert_eq!(entries(&part), [[0.0, 2.0], [8.0, 10.0]]);
        assert_eq!(entries(&part.transposed()), [[0.0, 8.0], [2.0, 10.0]]);
        assert_eq!(part.row(0), None);
        assert_eq!(part.get(1, 1), Some(10.0));
        assert_eq!((part.get(2, 0), part.get(0, 2)), (None, None));
        assert_eq!(part.row_entries(2).len(), 0);
        let column_major = StridedMatrix::new(&VALUES, 3, 2, 1, 3)?;
        assert_eq!(entries(&column_major), [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
        assert_eq!(column_major.transposed().row(1), Some(&[4.0, 5.0, 6.0][..]));
        assert_eq!(column_major.transposed().row(2), None);
        Ok(())
    }

    #[test]
    fn rows_are_copied_in_any_layout_and_type() -> Result<(), Error> {
        let single = VALUES.map(|value| value as f32 + 0.1);
        for (row_stride, column_stride) in [(3, 1), (1, 2)] {
            let wide = MatrixView::F64(StridedMatrix::new(&VALUES, 2, 3, row_stride, column_stride)?);
            let narrow = MatrixView::F32(StridedMatrix::new(&single, 2, 3, row_stride, column_stride)?);
            for row in 0..2 {
                let (mut doubles, mut singles) = ([0.0_f64; 3], [0.0_f32; 3]);
                wide.copy_row(row, &mut singles);
                narrow.copy_row(row, &mut doubles);
                for column in 0..3 {
                    let at = row * row_stride + column * column_stride;
                    assert_eq!(singles[column], VALUES[at] as f32);
                    assert_eq!(doubles[column], f64::from(single[at]));
                    assert_eq!(wide.get(row, column), VALUES[at]);
                    assert_eq!(narrow.transposed().get(column, row), f64::from(single[at]));
                }
            }
            assert_eq!((wide.rows(), narrow.columns()), (2, 3));
            assert_eq!(wide.get(2, 0), f64::INFINITY);
            let mut untouched = [7.0_f64];
            wide.copy_row(2, &mut untouched);
            assert_eq!(untouched, [7.0]);
        }
        Ok(())
    }

    #[test]
    fn a_matrix_borrows_and_tells_its_form() -> Result<(), Error> {
        let cost = CostMatrix::new(&VALUES, 2, 3)?;
        let CostForm::Matrix(MatrixView::F64(view)) = cost.form() else {
            panic!("a matrix of f64");
        };
        assert_eq!(view.values().as_ptr(), VALUES.as_ptr());
        assert_eq!((view.rows(), view.columns()), (2, 3));
        assert!(!cost.may_forbid());
        assert_eq!(cost.dimension(), Some(1));
        let owned: CostMatrix<'static, f64> = cost.clone().into_owned();
        assert_eq!(owned, cost);
        assert_ne!(owned.matrix().values().as_ptr(), VALUES.as_ptr());
        let single = CostMatrix::new(vec![1.0_f32, -2.0], 1, 2)?;
        assert!(matches!(single.form(), CostForm::Matrix(MatrixView::F32(_))));
        Ok(())
    }

    #[test]
    fn an_index_is_a_point_of_one_coordinate() -> Result<(), Error> {
        fn rows<T: Scalar>() -> Result<(), Error> {
            let cost = CostMatrix::new(&VALUES, 2, 3)?;
            let number = T::from_f64;
            let points = [2.0, 0.0, 3.0, -1.0, 0.5, 1.0].map(number);
            let mut out = [number(0.0); 6];
            let dynamic: &dyn GroundCost = &cost;
            dynamic.costs(&[number(1.0)], &points, &mut out);
            let outside = f64::INFINITY;
            assert_eq!(out.map(T::to_f64), [6.0, 4.0, outside, outside, outside, 5.0]);
            Ok(())
        }
        rows::<f32>()?;
        rows::<f64>()
    }

    #[test]
    fn bounds_leave_forbidden_pairs_out() -> Result<(), Error> {
        let none: [f64; 0] = [];
        let nowhere = BoundingBox::of(crate::measure::PointsView::new(&none, 1)?);
        let cost = CostMatrix::new(vec![1.0, -7.0, f64::INFINITY, 2.0], 2, 2)?;
        assert_eq!(cost.bound(&nowhere, &nowhere), Some(7.0));
        assert!(cost.may_forbid());
        Ok(())
    }

    #[test]
    fn what_was_asked_wrongly_is_refused() {
        assert_eq!(refused(&[], 0, 3), Some(Error::EmptyMeasure));
        assert_eq!(refused(&[1.0], 1, 0), Some(Error::EmptyMeasure));
        assert_eq!(refused(&VALUES, 2, 4), too_short(8, 6));
        assert_eq!(refused(&VALUES, 2, 2), too_short(4, 6));
        assert_eq!(refused(&VALUES, usize::MAX, 3), too_short(usize::MAX, 6));
        assert_eq!(CostMatrix::strided(&VALUES, 2, 3, 4, 1).err(), too_short(7, 6));
        assert_eq!(CostMatrix::strided(&VALUES, 2, 2, usize::MAX, 1).err(), too_short(usize::MAX, 6));
        assert_eq!(
            refused(&[1.0, 2.0, 3.0, f64::NEG_INFINITY], 2, 2),
            Some(Error::Cost { source_index: 1, target_index: 1, value: f64::NEG_INFINITY })
        );
        assert!(matches!(
            refused(&[1.0, f64::NAN], 1, 2),
            Some(Error::Cost { source_index: 0, target_index: 1, value }) if value.is_nan()
        ));
        // The same entry in a column-major matrix.
        assert!(matches!(
            CostMatrix::strided(&[1.0, 2.0, f64::NAN, 4.0], 2, 2, 1, 2).err(),
            Some(Error::Cost { source_index: 0, target_index: 1, value }) if value.is_nan()
        ));
        // What lies between the entries is not read.
        assert!(CostMatrix::strided(&[1.0, f64::NAN, 2.0], 1, 2, 1, 2).is_ok());
    }
}
