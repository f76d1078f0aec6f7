//! Rows of the shipped costs, from coordinates that lie axis after axis.
//!
//! | cost                  | c(x, y)                                                    |
//! |-----------------------|------------------------------------------------------------|
//! | [`PointCost::Square`] | `scale·Σ_k (x_k − y_k)²`                                   |
//! | [`PointCost::Power`]  | `(Σ_k \|x_k − y_k\|^norm)^(exponent/norm)`, norm in [1, ∞] |
//! | [`PointCost::PowerInUnits`] | `factor·(Σ_k (x_k − y_k)²)^(exponent/2)`                   |
//!
//! All are made of differences, never of expanded squares, so that close points keep their distance to full relative
//! accuracy. A few rows go side by side: a coordinate is loaded once for all of them, and their sums hide each
//! other's latency. Columns are cut into strips whose coordinates stay in the first-level cache while
//! all rows pass over them.
//!
//! Roots and powers of one and a half are taken in registers; other powers are a pass of their own over a strip.
//! Norms other than 1, 2 and ∞ are scaled by the largest difference m, `m·(Σ_k (|z_k|/m)^p)^(1/p)`, so that no
//! power overflows or vanishes (Blue 1978). The norms 3 and 4 try the plain sum first, whose [`root`](super::root)
//! takes no logarithm, and scale only the pairs whose sum comes near either end of the range. The norm 2 does neither:
//! where squares may leave the range, whose coordinates these are gives them in [units](PointCost::PowerInUnits).

use ot_core::CostForm;

use super::element::Element;
use super::root::root;
use super::vector::{MOST_LANES, Vector};
use super::{Level, VectorMath};

/// Rows that go side by side.
pub(super) const ROWS: usize = 4;

/// The most columns of a strip.
const STRIP: usize = 512;

/// Bytes of coordinates of a strip.
const STRIP_BYTES: usize = 1 << 14;

/// A cost between points that is made of the differences of their coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PointCost {
    /// A squared Euclidean distance.
    Square {
        /// The factor.
        scale: f64,
    },
    /// A power of a norm.
    Power {
        /// In [1, ∞].
        norm: f64,
        /// Positive and finite.
        exponent: f64,
    },
    /// A power of the Euclidean norm, of coordinates that have been divided by a unit.
    PowerInUnits {
        /// Positive and finite.
        exponent: f64,
        /// The power of the unit.
        factor: f64,
    },
}

impl PointCost {
    /// The loop of a cost of this form, if it has one: that of a cosine is the one between directions x/|x|, half
    /// the squared distance of which is 1 − cos without its cancellation.
    #[must_use]
    pub fn of(form: CostForm<'_>) -> Option<Self> {
        match form {
            CostForm::SqEuclidean { scale } => Some(Self::Square { scale }),
            CostForm::PowerOfNorm { norm, exponent } => Some(Self::Power { norm, exponent }),
            CostForm::Cosine => Some(Self::Square { scale: 0.5 }),
            _ => None,
        }
    }
}

/// Some points, and the run of others that they are paired with.
#[derive(Clone, Copy, Debug)]
pub struct PointPairs<'a, T> {
    /// Coordinates of the points, one point after the other.
    pub points: &'a [T],
    /// Coordinates of a point.
    pub dimension: usize,
    /// Coordinates of the others, axis after axis: coordinate `k` of point `j` at `axes[k·stride + j]`.
    pub axes: &'a [T],
    /// From one axis to the next.
    pub stride: usize,
}

impl<T> PointPairs<'_, T> {
    /// The same points, and the others from `start` on.
    pub(super) fn from(self, start: usize) -> Self {
        Self { axes: &self.axes[start..], ..self }
    }

    /// Columns of a strip.
    pub(super) fn strip(&self) -> usize {
        let columns = STRIP_BYTES / (self.dimension.max(1) * size_of::<T>());
        (columns - columns % MOST_LANES).clamp(MOST_LANES, STRIP)
    }
}

/// What is made of the differences of two points in one pass.
#[derive(Clone, Copy, Debug)]
pub enum Fold {
    /// The sum of squares.
    Squares,
    /// Its square root.
    Distances,
    /// The square root of that.
    RootsOfDistances,
    /// The distance times its square root.
    ThreeHalves,
    /// The sum of absolute values.
    Magnitudes,
    /// The largest absolute value.
    Largest,
    /// The sum of absolute cubes.
    Cubes,
    /// The sum of fourth powers.
    Fourths,
}

/// `out[r·width + j] = c(points_r, other_j)` for the first `columns` others.
pub(super) fn point_costs<T: VectorMath>(
    level: Level,
    cost: PointCost,
    pairs: PointPairs<'_, T>,
    columns: usize,
    width: usize,
    out: &mut [T],
) {
    if pairs.dimension == 0 || width == 0 {
        return;
    }
    let strip = pairs.strip();
    for start in (0..columns).step_by(strip) {
        let (pairs, length, out) = (pairs.from(start), strip.min(columns - start), &mut out[start..]);
        let mut fold = |fold| T::fold_differences_at(level, fold, pairs, length, width, out);
        match cost {
            PointCost::Square { scale } => {
                fold(Fold::Squares);
                if scale != 1.0 {
                    scale_rows(level, scale, pairs, length, width, out);
                }
            }
            PointCost::PowerInUnits { exponent, factor } => {
                point_costs(level, PointCost::Power { norm: 2.0, exponent }, pairs, length, width, out);
                scale_rows(level, factor, pairs, length, width, out);
            }
            PointCost::Power { norm, exponent } => {
                let left = match (norm, exponent) {
                    (2.0, 0.5) => (Fold::RootsOfDistances, 1.0),
                    (2.0, 1.0) => (Fold::Distances, 1.0),
                    (2.0, 1.5) => (Fold::ThreeHalves, 1.0),
                    (2.0, _) => (Fold::Squares, 0.5 * exponent),
                    (1.0, _) => (Fold::Magnitudes, exponent),
                    (3.0, _) => (Fold::Cubes, exponent),
                    (4.0, _) => (Fold::Fourths, exponent),
                    _ => (Fold::Largest, exponent),
                };
                fold(left.0);
                for (point, row) in pairs.points.chunks_exact(pairs.dimension).zip(out.chunks_mut(width)) {
                    let row = &mut row[..length];
                    match left.0 {
                        Fold::Cubes => norms_of_sums::<T, 3>(level, point, pairs, row),
                        Fold::Fourths => norms_of_sums::<T, 4>(level, point, pairs, row),
                        Fold::Largest if norm < f64::INFINITY => norms_of_largest(level, norm, point, pairs, row),
                        _ => {}
                    }
                    power_in_place(level, left.1, row);
                }
            }
        }
    }
}

/// Multiplies the first `length` numbers of each row.
fn scale_rows<T: VectorMath>(
    level: Level,
    factor: f64,
    pairs: PointPairs<'_, T>,
    length: usize,
    width: usize,
    out: &mut [T],
) {
    let rows = out.chunks_mut(width).take(pairs.points.len() / pairs.dimension);
    rows.for_each(|row| T::scale_at(level, T::of_double(factor), &mut row[..length]));
}

/// `x ← x^exponent` for `x ≥ 0`: a product with at most one square root where twice the exponent is an integer up
/// to 16, else `exp(exponent·ln x)`.
fn power_in_place<T: VectorMath>(level: Level, exponent: f64, x: &mut [T]) {
    let twice = 2.0 * exponent;
    if twice == 2.0 {
    } else if twice <= 16.0 && twice.fract() == 0.0 {
        T::half_integer_power_at(level, twice as u32, x);
    } else {
        T::ln_in_place_at(level, x);
        T::scale_at(level, T::of_double(exponent), x);
        T::exp_in_place_at(level, x);
    }
}

/// Turns sums `Σ_k |x_k − y_k|^P` into norms.
///
/// Where a sum is near either end of the range, terms may have been lost or overflowed: these pairs are
/// scaled, each by itself, in `f64`. Coincident points are among them.
fn norms_of_sums<T: VectorMath, const P: u32>(level: Level, point: &[T], pairs: PointPairs<'_, T>, sums: &mut [T]) {
    // Terms below the normal range are off by less than its lower end each.
    let smallest = T::of_double(T::SMALLEST_NORMAL / T::GAP * pairs.dimension as f64);
    let largest = T::of_double(0.25 / T::SMALLEST_NORMAL);
    if T::are_within_at(level, smallest, largest, sums) {
        T::roots_at(level, P, sums);
        return;
    }
    let mut repaired = [T::NEUTRAL_OF_SUM; STRIP];
    let is_safe = |sum: T| smallest <= sum && sum <= largest;
    for ((j, sum), norm) in sums.iter_mut().enumerate().zip(&mut repaired) {
        if !is_safe(*sum) {
            *norm = scaled_norm(P, point, pairs, j);
            // Told from the others after the roots: a norm is never negative.
            *sum = T::NEUTRAL_OF_SUM - T::ONE;
        }
    }
    let is_repaired: [bool; STRIP] = std::array::from_fn(|j| sums.get(j).is_some_and(|&sum| sum < T::NEUTRAL_OF_SUM));
    T::roots_at(level, P, sums);
    for ((sum, norm), is_repaired) in sums.iter_mut().zip(repaired).zip(is_repaired) {
        *sum = if is_repaired { norm } else { *sum };
    }
}

/// `m·(Σ_k (|z_k|/m)^p)^(1/p)` of one pair; 0 where m is.
fn scaled_norm<T: Element>(p: u32, point: &[T], pairs: PointPairs<'_, T>, column: usize) -> T {
    let differences = || {
        let of_axis = |(axis, x): (usize, &T)| (*x - pairs.axes[axis * pairs.stride + column]).magnitude().as_double();
        point.iter().enumerate().map(of_axis)
    };
    let largest = differences().fold(0.0, f64::max);
    if largest == 0.0 {
        return T::NEUTRAL_OF_SUM;
    }
    let sum: f64 = differences().map(|difference| (difference / largest).powf(f64::from(p))).sum();
    T::of_double(largest * sum.powf(1.0 / f64::from(p)))
}

/// Turns the largest differences m into norms `m·(Σ_k (|z_k|/m)^norm)^(1/norm)`, for at most a strip of them.
fn norms_of_largest<T: VectorMath>(level: Level, norm: f64, point: &[T], pairs: PointPairs<'_, T>, largest: &mut [T]) {
    let (mut sums, mut powers) = ([T::NEUTRAL_OF_SUM; STRIP], [T::NEUTRAL_OF_SUM; STRIP]);
    let (sums, powers) = (&mut sums[..largest.len()], &mut powers[..largest.len()]);
    for (axis, &x) in point.iter().enumerate() {
        T::scaled_differences_at(level, x, &pairs.axes[axis * pairs.stride..], largest, powers);
        power_in_place(level, norm, powers);
        T::axpy_at(level, T::ONE, powers, sums);
    }
    power_in_place(level, 1.0 / norm, sums);
    T::multiply_at(level, sums, largest);
}

/// What is done to each difference, and to what comes out. Not closures: their bodies would be compiled without
/// the instructions of the level.
trait Folding {
    /// With one more difference.
    fn with<V: Vector>(folded: V, difference: V) -> V;

    /// What is made of the fold of all differences.
    fn finish<V: Vector>(folded: V) -> V;
}

/// Declares foldings.
macro_rules! foldings {
    ($($(#[$doc:meta])* $name:ident: |$folded:ident, $difference:ident| $with:expr, |$all:ident| $finish:expr;)*) => {$(
        $(#[$doc])*
        struct $name;

        impl Folding for $name {
            #[inline(always)]
            fn with<V: Vector>($folded: V, $difference: V) -> V {
                $with
            }

            #[inline(always)]
            fn finish<V: Vector>($all: V) -> V {
                $finish
            }
        }
    )*};
}

foldings! {
    /// [`Fold::Squares`].
    Squares: |sum, z| z.multiply_add(z, sum), |sum| sum;
    /// [`Fold::Distances`].
    Distances: |sum, z| z.multiply_add(z, sum), |sum| sum.square_root();
    /// [`Fold::RootsOfDistances`].
    RootsOfDistances: |sum, z| z.multiply_add(z, sum), |sum| sum.square_root().square_root();
    /// [`Fold::ThreeHalves`].
    ThreeHalves: |sum, z| z.multiply_add(z, sum), |sum| {
        let distance = sum.square_root();
        distance.square_root().times(distance)
    };
    /// [`Fold::Magnitudes`].
    Magnitudes: |sum, z| sum.plus(z.magnitude()), |sum| sum;
    /// [`Fold::Largest`].
    Largest: |largest, z| z.magnitude().larger(largest), |largest| largest;
    /// [`Fold::Cubes`].
    Cubes: |sum, z| z.times(z).multiply_add(z.magnitude(), sum), |sum| sum;
    /// [`Fold::Fourths`].
    Fourths: |sum, z| {
        let square = z.times(z);
        square.multiply_add(square, sum)
    }, |sum| sum;
}

/// Folds the differences of all points to the first `columns` others.
#[inline(always)]
pub(super) fn fold_differences<V: Vector>(
    fold: Fold,
    pairs: PointPairs<'_, V::Element>,
    columns: usize,
    width: usize,
    out: &mut [V::Element],
) {
    match fold {
        Fold::Squares => fold_rows::<V, Squares>(pairs, columns, width, out),
        Fold::Distances => fold_rows::<V, Distances>(pairs, columns, width, out),
        Fold::RootsOfDistances => fold_rows::<V, RootsOfDistances>(pairs, columns, width, out),
        Fold::ThreeHalves => fold_rows::<V, ThreeHalves>(pairs, columns, width, out),
        Fold::Magnitudes => fold_rows::<V, Magnitudes>(pairs, columns, width, out),
        Fold::Largest => fold_rows::<V, Largest>(pairs, columns, width, out),
        Fold::Cubes => fold_rows::<V, Cubes>(pairs, columns, width, out),
        Fold::Fourths => fold_rows::<V, Fourths>(pairs, columns, width, out),
    }
}

/// Folds differences from the first axis to the last, beginning with zero, and finishes what comes out.
#[inline(always)]
fn fold_rows<V: Vector, F: Folding>(
    pairs: PointPairs<'_, V::Element>,
    columns: usize,
    width: usize,
    out: &mut [V::Element],
) {
    let dimension = pairs.dimension;
    let rows = pairs.points.len() / dimension;
    let together = rows - rows % ROWS;
    for first in (0..together).step_by(ROWS) {
        let points = &pairs.points[first * dimension..][..ROWS * dimension];
        fold_side_by_side::<V, F, ROWS>(points, pairs, columns, width, &mut out[first * width..]);
    }
    for first in together..rows {
        let point = &pairs.points[first * dimension..][..dimension];
        fold_side_by_side::<V, F, 1>(point, pairs, columns, width, &mut out[first * width..]);
    }
}

/// [`fold_rows`] for `R` rows. The last vectors overlap those before.
#[inline(always)]
fn fold_side_by_side<V: Vector, F: Folding, const R: usize>(
    points: &[V::Element],
    pairs: PointPairs<'_, V::Element>,
    columns: usize,
    width: usize,
    out: &mut [V::Element],
) {
    let mut start = 0;
    if V::REGISTERS == 1 {
        while start + 2 * V::LEN <= columns {
            fold_vectors::<V, F, R, 2>(points, pairs, start, width, out);
            start += 2 * V::LEN;
        }
    }
    while start + V::LEN <= columns {
        fold_vectors::<V, F, R, 1>(points, pairs, start, width, out);
        start += V::LEN;
    }
    if start < columns && columns >= V::LEN {
        fold_vectors::<V, F, R, 1>(points, pairs, columns - V::LEN, width, out);
    } else if start < columns {
        let mut folded = [V::splat(V::Element::NEUTRAL_OF_SUM); R];
        for axis in 0..pairs.dimension {
            let y: V = load_some(&pairs.axes[axis * pairs.stride..][..columns]);
            for row in 0..R {
                let x = V::splat(points[row * pairs.dimension + axis]);
                folded[row] = F::with(folded[row], x.minus(y));
            }
        }
        for row in 0..R {
            store_some(F::finish(folded[row]), &mut out[row * width..][..columns]);
        }
    }
}

/// `W` vectors of columns of [`fold_side_by_side`], in registers.
#[inline(always)]
fn fold_vectors<V: Vector, F: Folding, const R: usize, const W: usize>(
    points: &[V::Element],
    pairs: PointPairs<'_, V::Element>,
    start: usize,
    width: usize,
    out: &mut [V::Element],
) {
    let dimension = pairs.dimension;
    let mut x: [&[V::Element]; R] = [&[]; R];
    for (row, x) in x.iter_mut().enumerate() {
        *x = &points[row * dimension..][..dimension];
    }
    let mut folded = [[V::splat(V::Element::NEUTRAL_OF_SUM); W]; R];
    for axis in 0..dimension {
        let y = &pairs.axes[axis * pairs.stride + start..][..W * V::LEN];
        for row in 0..R {
            let x = V::splat(x[row][axis]);
            for vector in 0..W {
                let difference = x.minus(V::load(&y[vector * V::LEN..]));
                folded[row][vector] = F::with(folded[row][vector], difference);
            }
        }
    }
    for row in 0..R {
        let out = &mut out[row * width + start..][..W * V::LEN];
        for vector in 0..W {
            F::finish(folded[row][vector]).store(&mut out[vector * V::LEN..]);
        }
    }
}

/// Fewer numbers than there are lanes, and zeros.
#[inline(always)]
pub(super) fn load_some<V: Vector>(values: &[V::Element]) -> V {
    let mut lanes = [V::Element::NEUTRAL_OF_SUM; MOST_LANES];
    lanes[..values.len()].copy_from_slice(values);
    V::load(&lanes)
}

/// Writes as many lanes as the slice holds.
#[inline(always)]
pub(super) fn store_some<V: Vector>(vector: V, out: &mut [V::Element]) {
    let mut lanes = [V::Element::NEUTRAL_OF_SUM; MOST_LANES];
    vector.store(&mut lanes);
    out.copy_from_slice(&lanes[..out.len()]);
}

/// `x ← x^(1/degree)`, the degree being 3 or 4.
#[inline(always)]
pub(super) fn roots<V: Vector>(degree: u32, x: &mut [V::Element]) {
    match degree {
        3 => roots_of_degree::<V, 3>(x),
        _ => roots_of_degree::<V, 4>(x),
    }
}

/// [`roots`] of one degree.
#[inline(always)]
fn roots_of_degree<V: Vector, const P: u32>(x: &mut [V::Element]) {
    let mut chunks = x.chunks_exact_mut(V::LEN);
    for chunk in &mut chunks {
        root::<V, P>(V::load(chunk)).store(chunk);
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        store_some(root::<V, P>(load_some(rest)), rest);
    }
}

/// Are all numbers within bounds?
#[inline(always)]
pub(super) fn are_within<T: Element, const FUSED: bool>(low: T, high: T, x: &[T]) -> bool {
    x.iter().fold(true, |all, x| all & (low <= *x) & (*x <= high))
}

/// `x ← x^(twice/2)` by repeated squaring, times a square root if `twice` is odd, for `twice ≤ 16`.
#[inline(always)]
pub(super) fn half_integer_power<T: Element, const FUSED: bool>(twice: u32, x: &mut [T]) {
    match twice {
        1 => x.iter_mut().for_each(|x| *x = x.square_root()),
        3 => x.iter_mut().for_each(|x| *x = x.square_root() * *x),
        _ => {
            for x in x {
                let mut product = if twice % 2 == 1 { x.square_root() } else { T::ONE };
                let mut square = *x;
                for bit in 1..5 {
                    product = product * if (twice >> bit) % 2 == 1 { square } else { T::ONE };
                    square = square * square;
                }
                *x = product;
            }
        }
    }
}

/// `x ← factor·x`.
#[inline(always)]
pub(super) fn scale<T: Element, const FUSED: bool>(factor: T, x: &mut [T]) {
    x.iter_mut().for_each(|x| *x = *x * factor);
}

/// `out ← out·x`.
#[inline(always)]
pub(super) fn multiply<T: Element, const FUSED: bool>(x: &[T], out: &mut [T]) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = *out * x);
}

/// `out[j] = |x − y[j]|/largest[j]`, and 0 where the largest is.
#[inline(always)]
pub(super) fn scaled_differences<T: Element, const FUSED: bool>(x: T, y: &[T], largest: &[T], out: &mut [T]) {
    for ((out, &y), &largest) in out.iter_mut().zip(y).zip(largest) {
        *out = (x - y).magnitude() / if largest > T::NEUTRAL_OF_SUM { largest } else { T::ONE };
    }
}
