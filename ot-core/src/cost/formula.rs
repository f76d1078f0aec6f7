//! Costs written as formulas: one body for evaluation, derivatives and device code.

use std::{array, fmt::Debug, sync::Arc};

use super::{
    CostForm, GroundCost,
    lanes::Lanes,
    range::{Extremes, ScaledPair, mend_row},
    separable::axis_cost_of,
};
use crate::{
    dual::Dual,
    instructions::{Loops, run_widest},
    measure::BoundingBox,
    program::{Program, ProgramError},
    real::{Number, Real},
    scalar::Scalar,
};

/// A cost written once over a generic scalar; a blanket implementation makes it a [`GroundCost`]. What is told about a
/// formula has names of its own, so that both traits can be in scope.
///
/// * Rows are evaluated several points at a time, by the widest vectors of the machine, bit for bit as point by point.
/// * The gradient reads the formula with dual numbers, four coordinates at a time, the second
///   derivative with nested ones. Both cost about d / 2 evaluations.
/// * Of the [forms](Self::known_form) that are read off squares (powers of the Euclidean distance, cosines), points whose squares
///   leave the range of the element type are divided by powers of two first. The program squares what it is given.
/// * Up to 16 coordinates per point nothing is allocated; beyond, each call allocates a buffer or two.
/// * The program is the formula read with a recorder.
///
/// ```
/// use ot_core::{CostFormula, GroundCost, Real};
///
/// /// A squared distance that charges climbing (the last axis) ten times.
/// #[derive(Clone, Debug)]
/// struct Hills;
///
/// impl CostFormula for Hills {
///     fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
///         let (across, up) = (x[0] - y[0], x[1] - y[1]);
///         across * across + 10.0 * up * up
///     }
///     fn fixed_dimension(&self) -> Option<usize> {
///         Some(2)
///     }
/// }
///
/// let cost: &dyn GroundCost = &Hills;
/// let mut gradient = [0.0; 4];
/// cost.gradient(&[1.0, 1.0], &[0.0, 0.0], &mut gradient);
/// assert_eq!(gradient, [2.0, 20.0, -2.0, -20.0]);
/// let program = cost.program(2).expect("a formula has a program")?;
/// assert_eq!((program.inputs(), program.outputs()), (4, 1));
/// # Ok::<(), ot_core::ProgramError>(())
/// ```
pub trait CostFormula: Clone + Debug + Send + Sync + 'static {
    /// c(x, y), written with the operations of [`Real`]. Both slices have the same length, which is
    /// [`fixed_dimension`](Self::fixed_dimension) where that is told.
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R;

    /// See [`GroundCost::form`]; by default a generic one.
    fn known_form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    /// See [`GroundCost::dimension`]; by default any.
    fn fixed_dimension(&self) -> Option<usize> {
        None
    }

    /// See [`GroundCost::may_forbid`]; by default no.
    fn forbids_pairs(&self) -> bool {
        false
    }

    /// See [`GroundCost::bound`]; by default what the form knows.
    fn bound_between(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        self.known_form().bound(source, target)
    }

    /// See [`GroundCost::least`]; by default what the form knows.
    fn least_between(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        self.known_form().least(source, target)
    }

    /// See [`GroundCost::axis_cost`]; by default what the form knows.
    fn cost_along(&self, axis: usize) -> Option<Arc<dyn GroundCost>> {
        let fits = self.fixed_dimension().is_none_or(|dimension| axis < dimension);
        if fits { axis_cost_of(self.known_form()) } else { None }
    }
}

impl<F: CostFormula> GroundCost for F {
    fn form(&self) -> CostForm<'_> {
        self.known_form()
    }

    fn dimension(&self) -> Option<usize> {
        self.fixed_dimension()
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        if fits(self, x.len()) {
            let extremes = run_widest(Row::<_, _, 8> { formula: self, x, points, out: &mut *out });
            mend_row(self, x, points, out, extremes);
        }
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        if fits(self, x.len()) {
            let extremes = run_widest(Row::<_, _, 16> { formula: self, x, points, out: &mut *out });
            mend_row(self, x, points, out, extremes);
        }
    }

    fn gradient(&self, x: &[f64], y: &[f64], out: &mut [f64]) -> bool {
        let fits = fits(self, x.len()) && y.len() == x.len() && out.len() == 2 * x.len();
        match ScaledPair::of(self.known_form(), x, y) {
            _ if !fits => {}
            None => gradient(self, x, y, out),
            Some(pair) => {
                gradient(self, &pair.x, &pair.y, out);
                pair.unscale(out);
            }
        }
        fits
    }

    fn second_derivative(&self, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) -> bool {
        let both = 2 * x.len();
        let fits = fits(self, x.len()) && y.len() == x.len() && direction.len() == both && out.len() == both;
        match ScaledPair::of(self.known_form(), x, y) {
            _ if !fits => {}
            None => second_derivative(self, x, y, direction, out),
            Some(pair) => {
                second_derivative(self, &pair.x, &pair.y, &pair.scaled_direction(direction), out);
                pair.unscale(out);
            }
        }
        fits
    }

    fn program(&self, dimension: usize) -> Option<Result<Program, ProgramError>> {
        if let Some(expected) = self.fixed_dimension()
            && expected != dimension
        {
            return Some(Err(ProgramError::Arity { expected: 2 * expected, found: 2 * dimension }));
        }
        Some(Program::record_dynamic(2 * dimension, |inputs| {
            let (x, y) = inputs.split_at(dimension);
            vec![self.cost(x, y)]
        }))
    }

    fn may_forbid(&self) -> bool {
        self.forbids_pairs()
    }

    fn bound(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        self.bound_between(source, target)
    }

    fn least(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        self.least_between(source, target)
    }

    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        Some(Arc::new(self.clone()))
    }

    fn axis_cost(&self, axis: usize) -> Option<Arc<dyn GroundCost>> {
        self.cost_along(axis)
    }
}

/// Can the formula be read for points of `dimension` coordinates?
fn fits<F: CostFormula>(formula: &F, dimension: usize) -> bool {
    dimension > 0 && formula.fixed_dimension().is_none_or(|expected| expected == dimension)
}

/// out_j = c(x, y_j) for as many points as both sides hold, `N` at a time; what remains, one at a time. Gives the extremes.
struct Row<'a, F, T, const N: usize> {
    formula: &'a F,
    x: &'a [T],
    points: &'a [T],
    out: &'a mut [T],
}

impl<F: CostFormula, T: Scalar, const N: usize> Loops for Row<'_, F, T, N> {
    type Output = Extremes<T>;

    #[inline(always)]
    fn run(self) -> Extremes<T> {
        let Self { formula, x, points, out } = self;
        let len = out.len().min(points.len() / x.len());
        let (points, out) = (&points[..len * x.len()], &mut out[..len]);
        match x.len() {
            1 => row_of_fixed::<_, _, N, 1>(formula, x, points, out),
            2 => row_of_fixed::<_, _, N, 2>(formula, x, points, out),
            3 => row_of_fixed::<_, _, N, 3>(formula, x, points, out),
            _ => row_of_any::<_, _, N>(formula, x, points, out),
        }
    }
}

/// [`Row`] for points of `D` coordinates, so that the loops over coordinates unroll.
#[inline(always)]
fn row_of_fixed<F: CostFormula, T: Scalar, const N: usize, const D: usize>(
    formula: &F,
    x: &[T],
    points: &[T],
    out: &mut [T],
) -> Extremes<T> {
    let mut extremes = Extremes::none();
    let x: [Number<T>; D] = array::from_fn(|axis| Number(x[axis]));
    let splat = x.map(|value| Lanes([value; N]));
    let (points, _) = points.as_chunks::<D>();
    let (tiles, rest) = points.as_chunks::<N>();
    let (outs, out_rest) = out.as_chunks_mut::<N>();
    for (tile, out) in tiles.iter().zip(outs) {
        let mut transposed = splat;
        for (lane, point) in tile.iter().enumerate() {
            for axis in 0..D {
                transposed[axis].0[lane] = Number(point[axis]);
            }
        }
        *out = formula.cost(&splat, &transposed).0.map(|number| number.0);
        extremes.add(out);
    }
    for (y, out) in rest.iter().zip(out_rest) {
        *out = formula.cost(&x, &y.map(Number)).0;
        extremes.add(&[*out]);
    }
    extremes
}

/// [`Row`] for points of any dimension.
#[inline(always)]
fn row_of_any<F: CostFormula, T: Scalar, const N: usize>(
    formula: &F,
    x: &[T],
    points: &[T],
    out: &mut [T],
) -> Extremes<T> {
    let (dimension, mut extremes) = (x.len(), Extremes::none());
    let (outs, out_rest) = out.as_chunks_mut::<N>();
    let (tiles, rest) = points.split_at(outs.len() * N * dimension);
    with_buffer(2 * dimension, |buffer: &mut [Lanes<Number<T>, N>]| {
        let (splat, transposed) = buffer.split_at_mut(dimension);
        for (lanes, value) in splat.iter_mut().zip(x) {
            *lanes = Lanes([Number(*value); N]);
        }
        for (tile, out) in tiles.chunks_exact(N * dimension).zip(outs) {
            for (lane, y) in tile.chunks_exact(dimension).enumerate() {
                for (lanes, value) in transposed.iter_mut().zip(y) {
                    lanes.0[lane] = Number(*value);
                }
            }
            *out = formula.cost(splat, transposed).0.map(|number| number.0);
            extremes.add(out);
        }
    });
    if rest.is_empty() {
        return extremes;
    }
    with_buffer(2 * dimension, |buffer: &mut [Number<T>]| {
        let (own, other) = buffer.split_at_mut(dimension);
        let read = |reals: &mut [Number<T>], values: &[T]| {
            for (real, value) in reals.iter_mut().zip(values) {
                *real = Number(*value);
            }
        };
        read(own, x);
        for (y, out) in rest.chunks_exact(dimension).zip(out_rest) {
            read(other, y);
            *out = formula.cost(own, other).0;
            extremes.add(&[*out]);
        }
    });
    extremes
}

/// out_i = dc/dz_i for z = (x, y): the formula read with dual numbers.
fn gradient<F: CostFormula>(formula: &F, x: &[f64], y: &[f64], out: &mut [f64]) {
    along_axes(
        out,
        |first, out: &mut [f64; DIRECTIONS]| {
            *out =
                read(formula, x, y, |index, value| Dual::new(Lanes::constant(value), unit(first, index))).derivative.0;
        },
        |first| read(formula, x, y, |index, value| Dual::new(value, f64::from(index == first))).derivative,
    );
}

/// out_i = sum_j d^2c/dz_i dz_j direction_j for z = (x, y): the formula read with dual numbers of dual
/// numbers, the inner ones along `direction`, the outer ones along the axes.
fn second_derivative<F: CostFormula>(formula: &F, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) {
    along_axes(
        out,
        |first, out: &mut [f64; DIRECTIONS]| {
            *out = read(formula, x, y, |index, value| {
                let inner = Dual::new(Lanes::constant(value), Lanes::constant(direction[index]));
                Dual::new(inner, Dual::constant(unit(first, index)))
            })
            .derivative
            .derivative
            .0;
        },
        |first| {
            read(formula, x, y, |index, value| {
                let inner = Dual::new(value, direction[index]);
                Dual::new(inner, Dual::constant(f64::from(index == first)))
            })
            .derivative
            .derivative
        },
    );
}

/// How many axes are followed at once.
const DIRECTIONS: usize = 4;

/// Fills `out` by `together(first, lanes)`, the derivatives along axes `first..first + DIRECTIONS`.
///
/// A lane whose derivative is zero cannot be told from its neighbours, so that it may meet 0 * inf
/// where a [`Dual`] alone drops the term: what is not finite is asked again, `alone(axis)`.
fn along_axes(out: &mut [f64], together: impl Fn(usize, &mut [f64; DIRECTIONS]), alone: impl Fn(usize) -> f64) {
    let mut lanes = [0.0; DIRECTIONS];
    for (group, out) in out.chunks_mut(DIRECTIONS).enumerate() {
        let first = group * DIRECTIONS;
        together(first, &mut lanes);
        for (offset, (out, lane)) in out.iter_mut().zip(lanes).enumerate() {
            *out = if lane.is_finite() { lane } else { alone(first + offset) };
        }
    }
}

/// One in the lane that follows axis `index`, if any does.
fn unit(first: usize, index: usize) -> Lanes<f64, DIRECTIONS> {
    Lanes(array::from_fn(|lane| f64::from(first + lane == index)))
}

/// Reads the formula at (x, y), every coordinate (2d of them, x then y) turned into `R` by `lift`.
fn read<F: CostFormula, R: Real>(formula: &F, x: &[f64], y: &[f64], lift: impl Fn(usize, f64) -> R) -> R {
    with_buffer(x.len() + y.len(), |buffer| {
        for (index, (slot, value)) in buffer.iter_mut().zip(x.iter().chain(y)).enumerate() {
            *slot = lift(index, *value);
        }
        let (x, y) = buffer.split_at(x.len());
        formula.cost(x, y)
    })
}

/// Runs `job` with `len` numbers of scratch: on the stack up to two points of 16 coordinates.
#[inline(always)]
fn with_buffer<R: Real, O>(len: usize, job: impl FnOnce(&mut [R]) -> O) -> O {
    const SMALL: usize = 8;
    const LARGE: usize = 32;
    let zero = R::constant(0.0);
    if len <= SMALL {
        job(&mut [zero; SMALL][..len])
    } else if len <= LARGE {
        job(&mut [zero; LARGE][..len])
    } else {
        job(&mut vec![zero; len])
    }
}
