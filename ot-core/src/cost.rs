//! Ground costs: c(x, y), the price of moving a unit of mass from x to y.
//!
//! A cost that can be written as a formula is written once, as a [`CostFormula`] over a generic
//! scalar; a blanket implementation makes it a [`GroundCost`] with rows at vectorised speed, gradient,
//! second derivative and the recorded program that a device compiles. A cost that is no formula (a
//! matrix, a closure, a table of geodesics) implements [`GroundCost`] by hand.
//!
//! | cost | c(x, y) | form |
//! |---|---|---|
//! | [`SqEuclidean`] | sum_k (x_k - y_k)^2 | `SqEuclidean { scale: 1 }` |
//! | [`HalfSqEuclidean`] | half of it | `SqEuclidean { scale: 1/2 }` |
//! | [`Euclidean`] | its square root | `PowerOfNorm { norm: 2, exponent: 1 }` |
//! | [`PowerOfDistance`] | the distance to the power p > 0 | `PowerOfNorm { norm: 2, exponent: p }` |
//! | [`Manhattan`] | sum_k abs(x_k - y_k) | `PowerOfNorm { norm: 1, exponent: 1 }` |
//! | [`Chebyshev`] | max_k abs(x_k - y_k) | `PowerOfNorm { norm: inf, exponent: 1 }` |
//! | [`PNorm`] | (sum_k abs(x_k - y_k)^p)^(1/p), p in [1, inf] | `PowerOfNorm { norm: p, exponent: 1 }` |
//! | [`SumOfPowers`] | sum_k abs(x_k - y_k)^p, p > 0 | `PowerOfNorm { norm: p, exponent: p }` |
//! | [`Separable`] | sum_k c_k(x_k, y_k), a cost for each axis | that of the axes, if they share one |
//! | [`Periodic`] | the cost of the nearest images on a torus | `Generic` |
//! | [`Cosine`] | 1 - cos(x, y) | `Cosine` |
//! | [`CostMatrix`] | C_ij | `Matrix` |
//! | [`CostFunction`] | any closure | `Generic` |
//!
//! An infinite cost forbids the pair. NaN and minus infinity are no costs.
//!
//! Who reads a cost between two supports, to build a geometry or a table, starts from [`CostBetween`], which refuses
//! supports that do not fit the cost and reads rows; [`CostSummary`] refuses entries that are no costs, or too large, and
//! [`Blur`] makes an epsilon of a width.

mod between;
mod blur;
mod cosine;
mod distance;
mod form;
mod formula;
mod function;
mod grid;
mod implied;
mod lanes;
mod matrix;
mod norm;
mod parameters;
mod periodic;
mod range;
mod separable;
mod sparse;
mod summary;

use std::{fmt::Debug, sync::Arc};

pub use self::{
    between::{CostBetween, CostHandle},
    blur::Blur,
    cosine::Cosine,
    distance::{Euclidean, HalfSqEuclidean, PowerOfDistance, SqEuclidean},
    form::CostForm,
    formula::CostFormula,
    function::CostFunction,
    grid::{AxisCost, AxisPair, GridCosts},
    implied::ImpliedCost,
    matrix::{CostMatrix, MatrixValues, MatrixView, SharedEntries, SharedMatrix, StridedMatrix},
    norm::{Chebyshev, Manhattan, PNorm},
    parameters::CostParameters,
    periodic::Periodic,
    separable::{Separable, SumOfPowers},
    sparse::SparseView,
    summary::{CostSummary, check_bound, check_row},
};
use crate::{
    measure::BoundingBox,
    program::{Program, ProgramError},
    scalar::{Floats, FloatsMut, Scalar},
};

/// A cost c(x, y) between two supports, and what is known of it.
///
/// Object-safe: backends take `&dyn GroundCost`, match on [`form`](Self::form) for what they do
/// specially and fall back to rows of evaluations or to the recorded [`program`](Self::program).
///
/// Points are given as slices of d = `x.len()` coordinates, several of them point-major (point j at
/// `j * d..(j + 1) * d`). Shapes are the caller's duty: where slices disagree, the points and outputs
/// that exist on both sides are paired and the others left as they are.
///
/// ```
/// use ot_core::{CostForm, GroundCost, SqEuclidean};
///
/// let cost: &dyn GroundCost = &SqEuclidean;
/// let mut row = [0.0; 3];
/// cost.costs_f64(&[0.0, 0.0], &[1.0, 0.0, 1.0, 2.0, 3.0, 4.0], &mut row);
/// assert_eq!(row, [1.0, 5.0, 25.0]);
/// assert!(matches!(cost.form(), CostForm::SqEuclidean { scale: 1.0 }));
///
/// let mut gradient = [0.0; 4];
/// assert!(cost.gradient(&[0.0, 0.0], &[1.0, 2.0], &mut gradient));
/// assert_eq!(gradient, [-2.0, -4.0, 2.0, 4.0]);
/// ```
pub trait GroundCost: Debug + Send + Sync {
    /// What kind of cost this is. [`CostForm::Generic`] promises nothing; every other form promises
    /// that this cost is that one.
    fn form(&self) -> CostForm<'_>;

    /// The number of coordinates that a point must have, if the cost fixes it. The default does not.
    fn dimension(&self) -> Option<usize> {
        None
    }

    /// A row of the cost: `out[j]` = c(x, y_j) for the `points` y_0, y_1, ...
    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]);

    /// A row of the cost as [`costs_f64`](Self::costs_f64), in single precision.
    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]);

    /// The gradient of c at (x, y): `out` = (dc/dx, dc/dy), 2d numbers. Returns false, leaving `out`
    /// as it is, if the cost does not know it or the shapes do not fit.
    ///
    /// At a kink it is an element of the generalised gradient; at coincident points of a distance, 0. The default knows none.
    fn gradient(&self, x: &[f64], y: &[f64], out: &mut [f64]) -> bool {
        let _ = (x, y, out);
        false
    }

    /// The second derivative of c at (x, y) along `direction` (2d numbers, for x then y): `out` =
    /// Hessian times direction, 2d numbers. Returns false, leaving `out` as it is, if the cost does not
    /// know it or the shapes do not fit. The default knows none.
    fn second_derivative(&self, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) -> bool {
        let _ = (x, y, direction, out);
        false
    }

    /// The formula recorded for points of `dimension` coordinates: 2d inputs, x then y, one output.
    /// `None`, the default, if the cost is no formula.
    ///
    /// # Errors
    ///
    /// What the recorder refuses: a formula too long, or with too many intermediate values.
    fn program(&self, dimension: usize) -> Option<Result<Program, ProgramError>> {
        let _ = dimension;
        None
    }

    /// The cost as a function in WGSL, the shader language of WebGPU, for points of `dimension` coordinates: what a GPU computes of a
    /// cost that is no formula. The text declares `fn cost(x: Point, y: Point) -> f32`, and what it calls; `Point` is `f32` for one
    /// coordinate, `vec2<f32>` to `vec4<f32>` for two to four, else `array<f32, d>`. A forbidden pair costs 3e38 or more. At most 16 KiB and
    /// 128 coordinates; no variables of the module, and no names that kernels have. The default has none.
    fn wgsl(&self, dimension: usize) -> Option<String> {
        let _ = dimension;
        None
    }

    /// The pairs of finite cost between indices, of a cost that lists them. Backends may then look at these alone. The default
    /// lists none.
    fn pairs(&self) -> Option<SparseView<'_>> {
        None
    }

    /// May the cost be infinite (a forbidden pair) at finite points? `true` is always safe to say; the default is no.
    fn may_forbid(&self) -> bool {
        false
    }

    /// An upper bound of |c| over pairs of points in two boxes, forbidden pairs left out; `None` if the
    /// cost knows none cheaply. Meant for scales, overflow checks and certificates. The default is what the
    /// [form](Self::form) knows.
    fn bound(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        self.form().bound(source, target)
    }

    /// A lower bound of c over pairs of points in two boxes; `None` if the cost knows none cheaply. It is what leaves out pairs
    /// of points that are too far apart to matter, many at once: the closer the better, and never above the cost of a pair. The
    /// default is what the [form](Self::form) knows.
    fn least(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        self.form().least(source, target)
    }

    /// This cost, to be kept by a geometry that evaluates it again and again; `None`, the default, from a cost that
    /// is better stored as a matrix.
    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        None
    }

    /// The cost c_k between coordinates k alone, if this cost is a sum over the axes, c(x, y) = sum_k c_k(x_k, y_k): its
    /// [form](Self::form) tells what a kernel on a grid can do. `None` for an axis beyond the
    /// [dimension](Self::dimension). The default is what the form knows.
    fn axis_cost(&self, axis: usize) -> Option<Arc<dyn GroundCost>> {
        let fits = self.dimension().is_none_or(|dimension| axis < dimension);
        if fits { separable::axis_cost_of(self.form()) } else { None }
    }

    /// The matrix that this cost is, if its entries are kept and lie row after row: a geometry that stores costs takes
    /// it over without a copy. The default is none.
    fn shared_matrix(&self) -> Option<SharedMatrix> {
        None
    }
}

impl dyn GroundCost + '_ {
    /// A row of the cost in either element type: [`costs_f32`](GroundCost::costs_f32) or
    /// [`costs_f64`](GroundCost::costs_f64), which generic code cannot name.
    #[inline]
    pub fn costs<T: Scalar>(&self, x: &[T], points: &[T], out: &mut [T]) {
        match (T::floats(x), T::floats(points), T::floats_mut(out)) {
            (Floats::F32(x), Floats::F32(points), FloatsMut::F32(out)) => self.costs_f32(x, points, out),
            (Floats::F64(x), Floats::F64(points), FloatsMut::F64(out)) => self.costs_f64(x, points, out),
            _ => unreachable!("slices of one element type"),
        }
    }
}

#[cfg(test)]
mod tests;
