//! The table of passes, from which [`VectorMath`] and its implementations for `f32` and `f64` are made.
//!
//! To add a pass, write its body in a module beside this one, and one entry in the table below:
//!
//! ```text
//! /// What the pass does.
//! fn shift_at, shift(x: &mut [$T], by: f64) -> f64 = elements map::shift;
//! ```
//!
//! - `shift_at` is the method that takes a [`Level`] before the arguments. `shift` is the method at
//!   [`Level::detected`]; it may be left out.
//! - `$T` stands for the element type.
//! - `map::shift` is the body. The word before it says how the body is written:
//!
//! | word       | body                                                                                     |
//! |------------|------------------------------------------------------------------------------------------|
//! | `elements` | `fn shift<T: Element, const FUSED: bool>(x: &mut [T], …)`: loops over elements           |
//! | `vectors`  | `fn shift<V: Vector>(x: &mut [V::Element], …)`: loops over vectors of 512 bits           |
//! | `passes`   | `fn shift<T: VectorMath>(level: Level, x: &mut [T], …)`: made of other passes at a level |
//!
//! Bodies of elements and vectors, and all that they call, are `#[inline(always)]`: [`dispatch`] compiles them once
//! for every level.

use super::costs::{self, Fold, PointCost, PointPairs};
use super::gibbs::{self, GibbsTerms};
use super::level::{Level, dispatch};
use super::lines::{self, Distances, LineCost, LineCounts, LineScratch, Squares};
use super::positive::{self, PositiveRows, SquareChange};
use super::product::{self, NARROW_LANES, PRODUCT_LANES};
use super::vector::Vectors;
use super::{map, reduce, wide};

/// `passes!(make, T)` gives the table to the macro `make`, for the element type `T`.
macro_rules! passes {
    ($make:ident, $T:ty) => { $make! { $T;

        // The same bits at every level.

        /// The inner product `Σ x[i]·y[i]`.
        ///
        /// Summed in `f64` over 16 lanes; products of `f32` are exact, products of `f64` are rounded once. Where the
        /// lengths differ, the longer slice is read up to the length of the shorter.
        fn dot_at, dot(x: &[$T], y: &[$T]) -> f64 = elements reduce::dot;

        /// The largest entry; `−∞` for an empty slice.
        ///
        /// NaN entries are passed over. Where the largest entry is a zero present with both signs, which of the two is
        /// returned is fixed by their positions.
        fn max_at, max(x: &[$T]) -> $T = elements reduce::max;

        /// The largest difference `x[i] − y[i]`; `−∞` if there is none.
        ///
        /// NaN differences are passed over. Where the lengths differ, the longer slice is read up to the length of the
        /// shorter.
        fn largest_difference_at, largest_difference(x: &[$T], y: &[$T]) -> $T = elements reduce::largest_difference;

        /// Adds `alpha·x[i]` to `out[i]`.
        ///
        /// Product and sum are each rounded. Where the lengths differ, the entries beyond the shorter are left alone.
        fn axpy_at, axpy(alpha: $T, x: &[$T], out: &mut [$T]) = elements map::axpy;

        /// Replaces costs by differences from potentials, `costs[j] ← g[j] − costs[j]`.
        fn differences_from_at, differences_from(g: &[$T], costs: &mut [$T]) = elements positive::differences_from;

        /// `Σ w[j]·t[j]` and `Σ w[j]` over `t[j] > 0`, where `t[j] = max(f + d[j], 0)`.
        ///
        /// Summed in `f64` over 16 lanes. Where the lengths differ, the longer slice is read up to the length of the
        /// shorter.
        fn positive_sums_at, positive_sums(f: $T, d: &[$T], weights: &[$T]) -> [f64; 2]
            = elements positive::positive_sums;

        /// Replaces differences by their positive parts, `d[j] ← t[j] = max(f + d[j], 0)`, and returns `Σ w[j]·t[j]`
        /// and `Σ w[j]·t[j]²`, summed as [`positive_sums_at`](Self::positive_sums_at) sums.
        fn positive_parts_at, positive_parts(f: $T, d: &mut [$T], weights: &[$T]) -> [f64; 2]
            = elements positive::positive_parts;

        /// The sum `Σ w[j]·(p'²/2 + p²/2 − p'·z)` of the Fenchel gaps of half squares, with `z = (f + d[j])/ε`,
        /// `p = max(z, 0)` and p' as [`SquareChange`] says. NaN where a difference is minus infinity.
        ///
        /// Evaluated as `(p' − p)²/2 + p'·(p − z)`, which does not cancel where p' is near p. Summed in `f64` over 16 lanes.
        /// Panics if a slice is shorter than the differences.
        fn square_fenchel_gap_at, square_fenchel_gap(
            f: $T, d: &[$T], weights: &[$T], change: SquareChange<'_, $T>
        ) -> f64 = elements positive::square_fenchel_gap;

        /// `x ← factor·x`.
        fn scale_at(factor: $T, x: &mut [$T]) = elements costs::scale;

        /// `out ← out·x`.
        fn multiply_at(x: &[$T], out: &mut [$T]) = elements costs::multiply;

        /// `x ← x^(twice/2)`, for `twice ≤ 16`.
        fn half_integer_power_at(twice: u32, x: &mut [$T]) = elements costs::half_integer_power;

        /// `out[j] = |x − y[j]|/largest[j]`, and 0 where the largest is.
        fn scaled_differences_at(x: $T, y: &[$T], largest: &[$T], out: &mut [$T])
            = elements costs::scaled_differences;

        /// Are all numbers within bounds?
        fn are_within_at(low: $T, high: $T, x: &[$T]) -> bool = elements costs::are_within;

        // The same bits at every level that fuses.

        /// `out[i] = log Σ_j exp(line[j] − C[i][j]/ε)`, with each term times its cost (over ε, above the least) if asked.
        ///
        /// The line has as many inputs as the cost, followed by [`LINE_PADDING`](super::LINE_PADDING) entries of no mass
        /// (−1e30), which is also what a sum of nothing is. Panics where slices or scratch are shorter than the cost asks for.
        fn log_sums_at, log_sums(
            cost: &LineCost<$T>, line: &[$T], times_cost: bool, out: &mut [$T], scratch: &mut LineScratch<$T>,
            counts: &mut LineCounts
        ) = elements lines::log_sums;

        /// The same along [`lines_of_tile`](super::lines_of_tile) lines at once, or fewer, under squares that
        /// [go side by side](LineCost::goes_side_by_side): in the tile an input of all lines follows another, four entries of no
        /// mass behind the last; in `out` one line follows another.
        fn log_sums_side_by_side_at, log_sums_side_by_side(
            squares: &Squares<$T>, tile: &[$T], times_cost: bool, out: &mut [$T], scratch: &mut LineScratch<$T>,
            counts: &mut LineCounts
        ) = vectors lines::log_sums_side_by_side;

        /// The same under distances, with each term times its cost (over ε) if asked.
        fn log_sums_of_distances_at, log_sums_of_distances(
            distances: &Distances, tile: &[$T], times_cost: bool, out: &mut [$T], scratch: &mut LineScratch<$T>,
            counts: &mut LineCounts
        ) = vectors lines::log_sums_of_distances;

        /// Replaces each entry by its exponential.
        ///
        /// A result that would be subnormal is flushed to zero (arguments below `ln` of the smallest normal number:
        /// about −708.396 for `f64`, −87.3365 for `f32`); one above the largest finite number is `+∞`. `exp(−∞) = 0`,
        /// `exp(+∞) = +∞`, and NaN stays NaN.
        fn exp_in_place_at, exp_in_place(x: &mut [$T]) = elements map::exp_in_place;

        /// Replaces each entry by its natural logarithm.
        ///
        /// Subnormal arguments are treated in full. `ln(±0) = −∞`, `ln(+∞) = +∞`, and the logarithm of a negative
        /// number or of NaN is NaN.
        fn ln_in_place_at, ln_in_place(x: &mut [$T]) = elements map::ln_in_place;

        /// Replaces each entry by its exponential and returns the sum of the results.
        ///
        /// The results are bit for bit those of [`exp_in_place_at`](Self::exp_in_place_at). "Shifted": the caller has
        /// subtracted the maximum, as log-sum-exp does, so the sum is at least 1 and no entry overflows; nothing breaks
        /// if not. Summed in `f64`; the sum of no terms is 0.
        fn exp_shifted_sum_at, exp_shifted_sum(x: &mut [$T]) -> f64 = elements reduce::exp_sum;

        /// Rows of costs `out[r·width + j] = c(points_r, other_j)` for the first `columns` others.
        ///
        /// Panics if coordinates or rows end before the last column.
        fn point_costs_at, point_costs(
            cost: PointCost, pairs: PointPairs<'_, $T>, columns: usize, width: usize, out: &mut [$T]
        ) = passes costs::point_costs;

        /// What [`Fold`] names, of the differences of all points to the first `columns` others, in rows as those of
        /// [`point_costs_at`](Self::point_costs_at).
        fn fold_differences_at(fold: Fold, pairs: PointPairs<'_, $T>, columns: usize, width: usize, out: &mut [$T])
            = vectors costs::fold_differences;

        /// `x ← x^(1/degree)`, the degree being 3 or 4.
        fn roots_at(degree: u32, x: &mut [$T]) = vectors costs::roots;

        /// Rows of Gibbs entries `out[r·width + j] = exp(((f_r + g_j) − c(points_r, other_j))/ε)` for as many columns
        /// as there are potentials `g`; their sums over the columns times weights are added to `sums[r]`.
        ///
        /// Entries below twice the smallest normal number are twice that number; those that overflow are `+∞`. Runs of
        /// 256 products are summed in the element type, 16 to a lane, and the runs in `f64`. Panics if coordinates,
        /// weights or rows end before the last column.
        fn point_entries_at, point_entries(
            cost: PointCost,
            pairs: PointPairs<'_, $T>,
            terms: GibbsTerms<'_, $T>,
            width: usize,
            out: &mut [$T],
            sums: &mut [f64]
        ) = passes gibbs::point_entries;

        /// [`point_entries_at`](Self::point_entries_at) of squared distances in one to four dimensions.
        fn square_entries_at(
            scale: f64,
            pairs: PointPairs<'_, $T>,
            terms: GibbsTerms<'_, $T>,
            width: usize,
            out: &mut [$T],
            sums: &mut [f64]
        ) = vectors gibbs::square_entries;

        /// Replaces a row of costs by Gibbs entries, `costs[j] ← exp(min(((f + g[j]) − costs[j])·inverse, limit))`. An
        /// infinite cost gives 0.
        ///
        /// Where the lengths differ, the entries beyond the shorter are left alone.
        fn gibbs_at, gibbs(f: $T, inverse: $T, limit: $T, g: &[$T], costs: &mut [$T]) = elements gibbs::gibbs;

        /// Replaces a row of costs by Gibbs entries, `costs[j] ← exp(((f + g[j]) − costs[j])/epsilon)`, and returns the
        /// sum of `costs[j]·weights[j]`.
        ///
        /// Entries below twice the smallest normal number are twice that number, those of infinite costs among them;
        /// those that overflow are `+∞`, and the sum is not finite.
        ///
        /// Runs of 256 products are summed in the element type, 16 to a lane, and the runs in `f64`. Where the lengths
        /// differ, the entries beyond the shortest are left alone.
        fn gibbs_sum_at, gibbs_sum(f: $T, epsilon: f64, g: &[$T], weights: &[$T], costs: &mut [$T]) -> f64
            = vectors gibbs::gibbs_sum;

        /// The same as [`gibbs_sum_at`](Self::gibbs_sum_at), bit for bit, from a row of costs that is kept:
        /// `out[j] = exp(((f + g[j]) − costs[j])/epsilon)`.
        fn gibbs_sum_into_at, gibbs_sum_into(
            f: $T, epsilon: f64, g: &[$T], weights: &[$T], costs: &[$T], out: &mut [$T]
        ) -> f64 = vectors gibbs::gibbs_sum_into;

        /// `Σ costs[j]·weights[j]·exp(((f + g[j]) − costs[j])/epsilon)`: what a row of a plan pays, of which no entry is written.
        ///
        /// Not finite where an entry overflows or a cost is infinite. Runs of 256 terms are summed in the element type, 16 to a
        /// lane, and the runs in `f64`. Where the lengths differ, the entries beyond the shortest do not count.
        fn gibbs_cost_at, gibbs_cost(f: $T, epsilon: f64, g: &[$T], weights: &[$T], costs: &[$T]) -> f64
            = vectors gibbs::gibbs_cost;

        /// Positive parts t of some rows of costs, as [`PositiveRows`] says: adds `Σ_j b[j]·t[r][j]` to `sums[r]` and
        /// `Σ_r a[r]·t[r][j]` to `columns[j]`, and returns `Σ a[r]·b[j]·t[r][j]²`.
        ///
        /// Runs of 256 terms of a row are summed in the element type, 16 to a lane, and up to four rows of a column; those sums are
        /// added in `f64`. Panics if something of rows or columns is shorter than these.
        fn positive_marginals_at, positive_marginals(
            rows: PositiveRows<'_, $T>, sums: &mut [f64], columns: &mut [f64]
        ) -> f64 = vectors positive::positive_marginals;

        /// Adds `Σ_r factors[r]·rows[r·stride + j]` to `out[j]`.
        ///
        /// Up to eight rows at a time are summed in the element type, then added in `f64`. Panics if `rows` ends before
        /// the last entry.
        fn accumulate_at, accumulate(factors: &[$T], rows: &[$T], stride: usize, out: &mut [f64])
            = elements gibbs::accumulate;

        /// Sums of rows `sums[r] = Σ_j rows[r·stride + j]·weights[j]`.
        ///
        /// Runs of 256 products are summed in the element type, 16 to a lane, and the runs in `f64`. Numbers that stand behind
        /// the end of a row may enter with weights of zero: an infinite one makes the sum no number. Panics if `rows` ends before
        /// the last entry.
        fn row_sums_at, row_sums(rows: &[$T], stride: usize, weights: &[$T], sums: &mut [f64])
            = vectors product::row_sums;

        /// Sums of rows `sums[r] = Σ_j rows[r·stride + j]·weights[j]`, each product and sum in `f64`, sixteen lanes to a row. The
        /// same bits at every level. Panics if `rows` ends before the last entry.
        fn wide_row_sums_at, wide_row_sums(rows: &[$T], stride: usize, weights: &[f64], sums: &mut [f64])
            = elements wide::row_sums;

        /// Adds `Σ_r factors[r]·rows[r·stride + j]` to `out[j]`, in `f64`. Panics if `rows` ends before the last entry.
        fn wide_accumulate_at, wide_accumulate(factors: &[f64], rows: &[$T], stride: usize, out: &mut [f64])
            = elements wide::accumulate;

        /// `largest[k]`, the largest entry of some rows in the k-th sixteen of their `width` columns; the last may be fewer. NaN is
        /// passed over. Panics if `rows` ends before the last entry.
        fn largest_of_tiles_at, largest_of_tiles(
            rows: &[$T], count: usize, stride: usize, width: usize, largest: &mut [$T]
        ) = elements wide::largest_of_tiles;

        /// Adds the matrix product `Σ_j rows[r·stride + j]·weights[j][k]` to `sums[r][k]`.
        ///
        /// Runs of 256 products are summed in the element type, and the runs in `f64`. Panics if `rows` ends before the
        /// last entry.
        fn add_row_products_at, add_row_products(
            rows: &[$T], stride: usize, weights: &[[$T; PRODUCT_LANES]], sums: &mut [[f64; PRODUCT_LANES]]
        ) = vectors product::add_row_products;

        /// Adds the matrix product `Σ_r factors[r][k]·rows[r·stride + j]` to `sums[j][k]`.
        ///
        /// Runs of 256 rows are summed in the element type, and the runs in `f64`. Panics if `rows` ends before the
        /// last entry.
        fn add_column_products_at, add_column_products(
            rows: &[$T], stride: usize, factors: &[[$T; PRODUCT_LANES]], sums: &mut [[f64; PRODUCT_LANES]]
        ) = vectors product::add_column_products;

        /// [`add_row_products_at`](Self::add_row_products_at) for half as many columns, to the same bits.
        fn add_narrow_row_products_at, add_narrow_row_products(
            rows: &[$T], stride: usize, weights: &[[$T; NARROW_LANES]], sums: &mut [[f64; NARROW_LANES]]
        ) = vectors product::add_narrow_row_products;

        /// [`add_column_products_at`](Self::add_column_products_at) for half as many columns, to the same bits.
        fn add_narrow_column_products_at, add_narrow_column_products(
            rows: &[$T], stride: usize, factors: &[[$T; NARROW_LANES]], sums: &mut [[f64; NARROW_LANES]]
        ) = vectors product::add_narrow_column_products;
    } };
}

/// Declares the trait.
macro_rules! declare {
    ($T:ty; $(
        $(#[$doc:meta])*
        fn $at:ident $(, $plain:ident)? ($($name:ident: $kind:ty),*) $(-> $result:ty)? = $how:ident $module:ident::$body:ident;
    )*) => {
        /// The vectorised passes, for `f32` and `f64`.
        ///
        /// A method whose name ends in `_at` runs at a level of the caller's choice, the one without at
        /// [`Level::detected`]. The trait is sealed: the two implementations are all there will be.
        pub trait VectorMath: Vectors {$(
            $(#[$doc])*
            fn $at(level: Level, $($name: $kind),*) $(-> $result)?;

            declare!(plain $at $(, $plain)? ($($name: $kind),*) $(-> $result)?);
        )*}
    };
    (plain $at:ident ($($name:ident: $kind:ty),*) $(-> $result:ty)?) => {};
    (plain $at:ident, $plain:ident ($($name:ident: $kind:ty),*) $(-> $result:ty)?) => {
        #[doc = concat!("[`", stringify!($at), "`](Self::", stringify!($at), ") at the detected level.")]
        #[inline]
        fn $plain($($name: $kind),*) $(-> $result)? {
            Self::$at(Level::detected(), $($name),*)
        }
    };
}

/// Implements the trait for one element type.
macro_rules! implement {
    ($T:ty; $(
        $(#[$doc:meta])*
        fn $at:ident $(, $plain:ident)? ($($name:ident: $kind:ty),*) $(-> $result:ty)? = $how:ident $module:ident::$body:ident;
    )*) => {
        impl VectorMath for $T {$(
            fn $at(level: Level, $($name: $kind),*) $(-> $result)? {
                dispatch!(level, $how $module::$body::<$T>($($name: $kind),*) $(-> $result)?)
            }
        )*}
    };
}

passes!(declare, Self);
passes!(implement, f32);
passes!(implement, f64);
