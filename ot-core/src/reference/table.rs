//! The stored cost matrix, with what its derivatives need.

use std::{fmt, sync::Arc};

use crate::{
    backend::Side,
    cost::{CostForm, GroundCost, MatrixView},
    error::Error,
    host::try_zeros,
    measure::{PointsView, Support},
    scalar::Scalar,
};

/// C_ij, row-major, and the points and the cost that it was evaluated from, if it was.
pub(super) struct CostTable<T> {
    rows: usize,
    columns: usize,
    entries: Vec<T>,
    origin: Option<Origin>,
    /// (factor, exponent) of the epsilon of a blur, factor sigma^exponent.
    blur: Option<(f64, f64)>,
    bound: f64,
    forbids: bool,
}

/// The points of both sides, point-major, and the cost between them where it can be kept.
pub(super) struct Origin {
    pub(super) dimension: usize,
    source: Vec<f64>,
    target: Vec<f64>,
    pub(super) cost: Option<Arc<dyn GroundCost>>,
}

impl Origin {
    /// The points x_i and y_j.
    pub(super) fn pair(&self, i: usize, j: usize) -> (&[f64], &[f64]) {
        let coordinates = |index: usize| index * self.dimension..(index + 1) * self.dimension;
        (&self.source[coordinates(i)], &self.target[coordinates(j)])
    }
}

impl<T: Scalar> CostTable<T> {
    /// Evaluates or copies all entries and checks them.
    pub(super) fn new(source: Support<'_, T>, target: Support<'_, T>, cost: &dyn GroundCost) -> Result<Self, Error> {
        let mut table = match (cost.form(), source, target) {
            (CostForm::Matrix(matrix), _, _) => Self::of_matrix(matrix, source, target)?,
            (_, Support::Points(x), Support::Points(y)) => Self::of_points(x, y, cost)?,
            (_, Support::Points(_), other) | (_, other, _) => return Err(unsupported(other)),
        };
        let finite = |entry: &&T| entry.is_finite();
        table.bound = table.entries.iter().filter(finite).fold(0.0, |bound, entry| entry.to_f64().abs().max(bound));
        table.forbids = table.entries.iter().any(|entry| !entry.is_finite());
        table.blur = blur(cost.form());
        match table.bound {
            bound if bound > T::LARGEST_COST => Err(overflow::<T>(bound)),
            _ => Ok(table),
        }
    }

    /// The entries of a cost matrix, rounded to the element type.
    fn of_matrix(matrix: MatrixView<'_>, source: Support<'_, T>, target: Support<'_, T>) -> Result<Self, Error> {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        for (what, support, expected) in
            [("source atoms of a cost matrix", source, rows), ("target atoms of a cost matrix", target, columns)]
        {
            match support.len() {
                None => return Err(unsupported(support)),
                Some(found) if found != expected => return Err(Error::Length { what, expected, found }),
                Some(_) => {}
            }
        }
        Self::filled(rows, columns, |i, row| matrix.copy_row(i, row), |i, j| matrix.get(i, j), true)
    }

    /// Rows of a cost between points, computed in the element type.
    fn of_points(x: PointsView<'_, T>, y: PointsView<'_, T>, cost: &dyn GroundCost) -> Result<Self, Error> {
        x.validate()?;
        y.validate()?;
        let dimension = x.dimension();
        if y.dimension() != dimension {
            return Err(Error::DimensionMismatch { source_dimension: dimension, target_dimension: y.dimension() });
        }
        if let Some(expected) = cost.dimension().filter(|&expected| expected != dimension) {
            return Err(Error::Length { what: "coordinates of a point", expected, found: dimension });
        }
        let wide = |points: PointsView<'_, T>| points.coordinates().iter().map(|value| value.to_f64()).collect();
        let origin = Origin { dimension, source: wide(x), target: wide(y), cost: cost.shared() };
        let in_f64 = |i: usize, j: usize| {
            let (mut value, (x, y)) = ([0.0], origin.pair(i, j));
            cost.costs_f64(x, y, &mut value);
            value[0]
        };
        let row = |i: usize, row: &mut [T]| T::costs(cost, x.point(i), y.coordinates(), row);
        let table = Self::filled(x.len(), y.len(), row, in_f64, cost.may_forbid())?;
        Ok(Self { origin: Some(origin), ..table })
    }

    /// The table of `fill(i, row i)`, where what is infinite must be so in f64 as well (`in_f64`), and
    /// may be (`may_forbid`).
    fn filled(
        rows: usize,
        columns: usize,
        fill: impl Fn(usize, &mut [T]),
        in_f64: impl Fn(usize, usize) -> f64,
        may_forbid: bool,
    ) -> Result<Self, Error> {
        let mut entries = try_zeros::<T>(rows.saturating_mul(columns), "a cost matrix")?;
        for (i, row) in entries.chunks_exact_mut(columns).enumerate() {
            fill(i, row);
            for (j, entry) in row.iter().enumerate().filter(|(_, entry)| !entry.is_finite()) {
                let exact = in_f64(i, j);
                if exact.is_nan() || exact == f64::NEG_INFINITY || entry.to_f64().is_nan() {
                    return Err(Error::Cost { source_index: i, target_index: j, value: exact });
                }
                if exact.is_finite() || !may_forbid {
                    return Err(overflow::<T>(exact.abs()));
                }
            }
        }
        Ok(Self { rows, columns, entries, origin: None, blur: None, bound: 0.0, forbids: false })
    }

    /// C_ij.
    pub(super) fn cost(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.columns + j].to_f64()
    }

    /// The cost between atom `own` of a side and atom `other` of the opposite one.
    pub(super) fn of(&self, side: Side, own: usize, other: usize) -> f64 {
        let (i, j) = pair(side, own, other);
        self.cost(i, j)
    }

    /// Number of atoms of a side.
    pub(super) fn len(&self, side: Side) -> usize {
        match side {
            Side::Source => self.rows,
            Side::Target => self.columns,
        }
    }

    /// The points and the cost between them, if there are points.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// max |C_ij| over the pairs that are not forbidden.
    pub(super) fn bound(&self) -> f64 {
        self.bound
    }

    /// Is any pair forbidden?
    pub(super) fn forbids(&self) -> bool {
        self.forbids
    }

    /// The epsilon that a Gaussian blur stands for.
    pub(super) fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.blur.map(|(factor, exponent)| factor * sigma.powf(exponent))
    }
}

impl<T> fmt::Debug for CostTable<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CostTable")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("cost", &self.origin.as_ref().and_then(|origin| origin.cost.as_ref()))
            .field("bound", &self.bound)
            .field("forbids", &self.forbids)
            .finish_non_exhaustive()
    }
}

/// (source index, target index) of atom `own` of a side and atom `other` of the opposite one.
pub(super) fn pair(side: Side, own: usize, other: usize) -> (usize, usize) {
    match side {
        Side::Source => (own, other),
        Side::Target => (other, own),
    }
}

/// Gibbs kernels exp(-c / epsilon) as blurs: exp(-|z|^2 / (2 sigma^2)) for squares, else
/// exp(-(|z| / sigma)^p).
fn blur(form: CostForm<'_>) -> Option<(f64, f64)> {
    match form {
        CostForm::SqEuclidean { scale } => Some((2.0 * scale, 2.0)),
        CostForm::PowerOfNorm { norm: 2.0, exponent: 2.0 } => Some((2.0, 2.0)),
        CostForm::PowerOfNorm { exponent, .. } => Some((1.0, exponent)),
        _ => None,
    }
}

/// The refusal of a support that has no points.
fn unsupported<T: Scalar>(support: Support<'_, T>) -> Error {
    Error::UnsupportedSupport { what: "a dense cost", found: support.kind() }
}

/// The refusal of a finite cost that is too large.
fn overflow<T: Scalar>(bound: f64) -> Error {
    Error::CostOverflow { bound, element: T::NAME, limit: T::LARGEST_COST }
}
