//! Vectorised elementary functions and reductions over slices of `f32` and `f64`.
//!
//! The inner loops of every transport solver are a few passes over long rows: exponentiate a row
//! of scaled costs, sum it, take a logarithm, accumulate a product. This room provides those
//! passes, in place, without allocation and without a panic on any input.
//!
//! | operation                        | result                            | bits                    |
//! |----------------------------------|-----------------------------------|-------------------------|
//! | [`VectorMath::exp_in_place`]     | `x[i] ← exp(x[i])`                | one per class of level  |
//! | [`VectorMath::ln_in_place`]      | `x[i] ← ln(x[i])`                 | one per class of level  |
//! | [`VectorMath::exp_shifted_sum`]  | `x[i] ← exp(x[i])`, returns `Σ`   | one per class of level  |
//! | [`VectorMath::dot`]              | `Σ x[i]·y[i]` in `f64`            | the same everywhere     |
//! | [`VectorMath::axpy`]             | `out[i] ← out[i] + α·x[i]`        | the same everywhere     |
//! | [`VectorMath::max`]              | `max x[i]`                        | the same everywhere     |
//! | [`VectorMath::largest_difference`] | `max (x[i] − y[i])`             | the same everywhere     |
//! | [`VectorMath::point_costs`]      | `C[r, j] = c(x[r], y[j])`         | one per class of level  |
//! | [`VectorMath::point_entries`]    | `exp((f[r] + g[j] − C[r, j])/ε)`, adds `Σ_j` of it times `w[j]` | one per class of level |
//! | [`VectorMath::gibbs`]            | `c[j] ← exp((f + g[j] − c[j])/ε)` | one per class of level  |
//! | [`VectorMath::gibbs_sum`]        | the same, returns `Σ c[j]·w[j]`   | one per class of level  |
//! | [`VectorMath::gibbs_sum_into`]   | the same, costs kept              | one per class of level  |
//! | [`VectorMath::accumulate`]       | `out[j] ← out[j] + Σ_r a[r]·k[r, j]` | one per class of level |
//! | [`VectorMath::row_sums`]         | `out[r] = Σ_j k[r, j]·w[j]`       | one per class of level  |
//! | [`VectorMath::add_row_products`] | the same for 16 columns, added    | one per class of level  |
//! | [`VectorMath::add_column_products`] | `out[j, k] ← out[j, k] + Σ_r a[r, k]·k[r, j]` | one per class of level |
//! | [`VectorMath::differences_from`]  | `c[j] ← g[j] − c[j]`             | the same everywhere     |
//! | [`VectorMath::positive_sums`]    | `Σ w[j]·t[j]`, `Σ w[j]` where `t[j] = max(f + d[j], 0) > 0` | the same everywhere |
//! | [`VectorMath::positive_parts`]   | `d[j] ← t[j]`, returns `Σ w[j]·t[j]`, `Σ w[j]·t[j]²` | the same everywhere |
//! | [`Stored::store`]                | entries rounded to a stored type, tiny ones to zero | the same everywhere |
//!
//! # How it is vectorised
//!
//! Each body is written once and compiled once per instruction-set [`Level`]. Most are branch-free scalar
//! Rust over fixed chunks, and the compiler does the vectorising; costs and entries, where several rows go
//! side by side, are written over vectors of 512 bits, which are registers at each level and an array in the scalar
//! twin. The level is chosen at run time from what the machine reports ([`Level::detected`]);
//! [`Level::BASELINE`] is the scalar twin that the others are tested against.
//!
//! # Determinism
//!
//! - An elementwise result depends on the element alone: not on its position, nor on the length or
//!   the alignment of the slice.
//! - A reduction sums into a fixed number of lanes and folds the lanes in a fixed order. Its bits
//!   depend on the values and the length alone.
//! - "One per class of level": the levels that have a fused multiply-add
//!   ([`Level::is_fused`]: AVX2, AVX-512, NEON) return the same bits as one another. The x86-64
//!   baseline has none and may differ from them, within the bounds below.
//!
//! Every thread of one machine detects the same level, so bits never depend on a thread count.
//!
//! # Accuracy
//!
//! Errors in units in the last place (ulp) of the exact result: the bound that the tests of this
//! room hold every level to, and in brackets the worst that was seen in sweeps of three million
//! arguments (`f64`, against a double-double reference) and of every 61st number (`f32`, against
//! `f64`).
//!
//! | function   | fused levels     | without fused multiply-add |
//! |------------|------------------|----------------------------|
//! | `exp` f64  | ≤ 1 ulp (0.91)   | ≤ 1.5 ulp (1.18)           |
//! | `exp` f32  | ≤ 1 ulp (0.89)   | ≤ 1.5 ulp (1.14)           |
//! | `ln` f64   | ≤ 1 ulp (0.93)   | ≤ 1 ulp (0.93)             |
//! | `ln` f32   | ≤ 1 ulp (0.89)   | ≤ 1 ulp (0.89)             |
//!
//! A cost c in d dimensions is within `(4 + d/4 + 3/2·|ln c|)` times 2⁻²³ (`f32`) or 2⁻⁵² (`f64`), relative, of its
//! formula in `f64`; the logarithm counts for powers that are no half-integers. An entry carries the rounding of the
//! terms of its exponent, and four such units of its own.

mod costs;
mod element;
mod exp;
mod gibbs;
mod level;
mod ln;
mod map;
mod passes;
mod positive;
mod product;
mod reduce;
mod root;
mod store;
mod vector;

#[cfg(test)]
mod tests;

pub use costs::{PointCost, PointPairs};
pub use gibbs::GibbsTerms;
pub use level::Level;
pub use positive::SquareChange;
pub use store::Stored;

/// Columns of weights that stand side by side in a matrix product.
pub const PRODUCT_LANES: usize = product::LANES;

use level::dispatch;
use passes::Passes;
use vector::dispatch_vectors;

/// The vectorised passes, for `f32` and `f64`.
///
/// Each comes in two forms: the plain one runs at [`Level::detected`], the `_at` one at a level of
/// the caller's choice. The trait is sealed: the two implementations are all there will be.
pub trait VectorMath: Passes {
    /// Replaces each entry by its exponential, at the given level.
    ///
    /// A result that would be subnormal is flushed to zero (arguments below `ln` of the smallest
    /// normal number: about −708.396 for `f64`, −87.3365 for `f32`); one above the largest finite
    /// number is `+∞`. `exp(−∞) = 0`, `exp(+∞) = +∞`, and NaN stays NaN.
    fn exp_in_place_at(level: Level, x: &mut [Self]);

    /// Replaces each entry by its natural logarithm, at the given level.
    ///
    /// Subnormal arguments are treated in full. `ln(±0) = −∞`, `ln(+∞) = +∞`, and the logarithm of
    /// a negative number or of NaN is NaN.
    fn ln_in_place_at(level: Level, x: &mut [Self]);

    /// Replaces each entry by its exponential and returns the sum of the results, at the given
    /// level.
    ///
    /// The results are bit for bit those of [`exp_in_place_at`](Self::exp_in_place_at). "Shifted":
    /// the caller has subtracted the maximum, as log-sum-exp does, so the sum is at least 1 and no
    /// entry overflows; nothing breaks if not. Summed in `f64`; the sum of no terms is 0.
    fn exp_shifted_sum_at(level: Level, x: &mut [Self]) -> f64;

    /// The inner product `Σ x[i]·y[i]`, at the given level.
    ///
    /// Summed in `f64` over 16 lanes; products of `f32` are exact, products of `f64` are rounded
    /// once. The bits are the same at every level. Where the lengths differ, the longer slice is
    /// read up to the length of the shorter.
    fn dot_at(level: Level, x: &[Self], y: &[Self]) -> f64;

    /// Adds `alpha·x[i]` to `out[i]`, at the given level.
    ///
    /// Product and sum are each rounded, so the bits are the same at every level. Where the lengths
    /// differ, the entries beyond the shorter are left alone.
    fn axpy_at(level: Level, alpha: Self, x: &[Self], out: &mut [Self]);

    /// The largest entry, at the given level; `−∞` for an empty slice.
    ///
    /// NaN entries are passed over. Where the largest entry is a zero present with both signs,
    /// which of the two is returned is fixed by their positions.
    fn max_at(level: Level, x: &[Self]) -> Self;

    /// The largest difference `x[i] − y[i]`, at the given level; `−∞` if there is none.
    ///
    /// NaN differences are passed over. Where the lengths differ, the longer slice is read up to the length of the
    /// shorter.
    fn largest_difference_at(level: Level, x: &[Self], y: &[Self]) -> Self;

    /// Rows of costs `out[r·width + j] = c(points_r, other_j)` for the first `columns` others, at the given
    /// level.
    ///
    /// Panics if coordinates or rows end before the last column.
    fn point_costs_at(
        level: Level,
        cost: PointCost,
        pairs: PointPairs<'_, Self>,
        columns: usize,
        width: usize,
        out: &mut [Self],
    );

    /// Rows of Gibbs entries `out[r·width + j] = exp(((f_r + g_j) − c(points_r, other_j))/ε)` for as many columns as
    /// there are potentials `g`, at the given level; their sums over the columns times weights are added to `sums[r]`.
    ///
    /// Entries below twice the smallest normal number are twice that number; those that overflow are `+∞`. Runs of
    /// 256 products are summed in the element type, 16 to a lane, and the runs in `f64`. Panics if
    /// coordinates, weights or rows end before the last column.
    fn point_entries_at(
        level: Level,
        cost: PointCost,
        pairs: PointPairs<'_, Self>,
        terms: GibbsTerms<'_, Self>,
        width: usize,
        out: &mut [Self],
        sums: &mut [f64],
    );

    /// Replaces a row of costs by Gibbs entries, `costs[j] ← exp(min(((f + g[j]) − costs[j])·inverse, limit))`,
    /// at the given level. An infinite cost gives 0.
    ///
    /// Where the lengths differ, the entries beyond the shorter are left alone.
    fn gibbs_at(level: Level, f: Self, inverse: Self, limit: Self, g: &[Self], costs: &mut [Self]);

    /// Replaces a row of costs by Gibbs entries, `costs[j] ← exp(((f + g[j]) − costs[j])/epsilon)`, and returns the
    /// sum of `costs[j]·weights[j]`, at the given level.
    ///
    /// Entries below twice the smallest normal number are twice that number, those of infinite costs among them;
    /// those that overflow are `+∞`, and the sum is not finite.
    ///
    /// Runs of 256 products are summed in the element type, 16 to a lane, and the runs in `f64`. Where the
    /// lengths differ, the entries beyond the shortest are left alone.
    fn gibbs_sum_at(level: Level, f: Self, epsilon: f64, g: &[Self], weights: &[Self], costs: &mut [Self]) -> f64;

    /// The same as [`gibbs_sum_at`](Self::gibbs_sum_at), bit for bit, from a row of costs that is kept:
    /// `out[j] = exp(((f + g[j]) − costs[j])/epsilon)`.
    fn gibbs_sum_into_at(
        level: Level,
        f: Self,
        epsilon: f64,
        g: &[Self],
        weights: &[Self],
        costs: &[Self],
        out: &mut [Self],
    ) -> f64;

    /// Adds `Σ_r factors[r]·rows[r·stride + j]` to `out[j]`, at the given level.
    ///
    /// Up to eight rows at a time are summed in the element type, then added in `f64`. Panics if `rows` ends
    /// before the last entry.
    fn accumulate_at(level: Level, factors: &[Self], rows: &[Self], stride: usize, out: &mut [f64]);

    /// Sums of rows `sums[r] = Σ_j rows[r·stride + j]·weights[j]`, at the given level.
    ///
    /// Runs of 256 products are summed in the element type, 16 to a lane, and the runs in `f64`. Panics if `rows`
    /// ends before the last entry.
    fn row_sums_at(level: Level, rows: &[Self], stride: usize, weights: &[Self], sums: &mut [f64]);

    /// Adds the matrix product `Σ_j rows[r·stride + j]·weights[j][k]` to `sums[r][k]`, at the given level.
    ///
    /// Runs of 256 products are summed in the element type, and the runs in `f64`. Panics if `rows` ends before the
    /// last entry.
    fn add_row_products_at(
        level: Level,
        rows: &[Self],
        stride: usize,
        weights: &[[Self; PRODUCT_LANES]],
        sums: &mut [[f64; PRODUCT_LANES]],
    );

    /// Adds the matrix product `Σ_r factors[r][k]·rows[r·stride + j]` to `sums[j][k]`, at the given level.
    ///
    /// Runs of 256 rows are summed in the element type, and the runs in `f64`. Panics if `rows` ends before the last
    /// entry.
    fn add_column_products_at(
        level: Level,
        rows: &[Self],
        stride: usize,
        factors: &[[Self; PRODUCT_LANES]],
        sums: &mut [[f64; PRODUCT_LANES]],
    );

    /// Replaces costs by differences from potentials, `costs[j] ← g[j] − costs[j]`, at the given level.
    fn differences_from_at(level: Level, g: &[Self], costs: &mut [Self]);

    /// `Σ w[j]·t[j]` and `Σ w[j]` over `t[j] > 0`, where `t[j] = max(f + d[j], 0)`, at the given level.
    ///
    /// Summed in `f64` over 16 lanes; the bits are the same at every level. Where the lengths differ, the longer slice
    /// is read up to the length of the shorter.
    fn positive_sums_at(level: Level, f: Self, d: &[Self], weights: &[Self]) -> [f64; 2];

    /// Replaces differences by their positive parts, `d[j] ← t[j] = max(f + d[j], 0)`, and returns `Σ w[j]·t[j]` and
    /// `Σ w[j]·t[j]²`, at the given level; summed as [`positive_sums_at`](Self::positive_sums_at) sums.
    fn positive_parts_at(level: Level, f: Self, d: &mut [Self], weights: &[Self]) -> [f64; 2];

    /// `Σ w[j]·((p' − p)²/2 + p'·(p − z))` with `z = (f + d[j])/ε`, `p = max(z, 0)` and p' as [`SquareChange`] says,
    /// at the given level; no number where a difference is minus infinity.
    ///
    /// Summed in `f64` over 16 lanes; the bits are the same at every level. Panics if a slice is shorter than the
    /// differences.
    fn square_excess_at(level: Level, f: Self, d: &[Self], weights: &[Self], change: SquareChange<'_, Self>) -> f64;

    /// [`square_excess_at`](Self::square_excess_at) the detected level.
    #[inline]
    fn square_excess(f: Self, d: &[Self], weights: &[Self], change: SquareChange<'_, Self>) -> f64 {
        Self::square_excess_at(Level::detected(), f, d, weights, change)
    }

    /// [`differences_from_at`](Self::differences_from_at) the detected level.
    #[inline]
    fn differences_from(g: &[Self], costs: &mut [Self]) {
        Self::differences_from_at(Level::detected(), g, costs);
    }

    /// [`positive_sums_at`](Self::positive_sums_at) the detected level.
    #[inline]
    fn positive_sums(f: Self, d: &[Self], weights: &[Self]) -> [f64; 2] {
        Self::positive_sums_at(Level::detected(), f, d, weights)
    }

    /// [`positive_parts_at`](Self::positive_parts_at) the detected level.
    #[inline]
    fn positive_parts(f: Self, d: &mut [Self], weights: &[Self]) -> [f64; 2] {
        Self::positive_parts_at(Level::detected(), f, d, weights)
    }

    /// [`row_sums_at`](Self::row_sums_at) the detected level.
    #[inline]
    fn row_sums(rows: &[Self], stride: usize, weights: &[Self], sums: &mut [f64]) {
        Self::row_sums_at(Level::detected(), rows, stride, weights, sums);
    }

    /// [`add_row_products_at`](Self::add_row_products_at) the detected level.
    #[inline]
    fn add_row_products(
        rows: &[Self],
        stride: usize,
        weights: &[[Self; PRODUCT_LANES]],
        sums: &mut [[f64; PRODUCT_LANES]],
    ) {
        Self::add_row_products_at(Level::detected(), rows, stride, weights, sums);
    }

    /// [`add_column_products_at`](Self::add_column_products_at) the detected level.
    #[inline]
    fn add_column_products(
        rows: &[Self],
        stride: usize,
        factors: &[[Self; PRODUCT_LANES]],
        sums: &mut [[f64; PRODUCT_LANES]],
    ) {
        Self::add_column_products_at(Level::detected(), rows, stride, factors, sums);
    }

    /// [`largest_difference_at`](Self::largest_difference_at) the detected level.
    #[inline]
    fn largest_difference(x: &[Self], y: &[Self]) -> Self {
        Self::largest_difference_at(Level::detected(), x, y)
    }

    /// [`point_costs_at`](Self::point_costs_at) the detected level.
    #[inline]
    fn point_costs(cost: PointCost, pairs: PointPairs<'_, Self>, columns: usize, width: usize, out: &mut [Self]) {
        Self::point_costs_at(Level::detected(), cost, pairs, columns, width, out);
    }

    /// [`point_entries_at`](Self::point_entries_at) the detected level.
    #[inline]
    fn point_entries(
        cost: PointCost,
        pairs: PointPairs<'_, Self>,
        terms: GibbsTerms<'_, Self>,
        width: usize,
        out: &mut [Self],
        sums: &mut [f64],
    ) {
        Self::point_entries_at(Level::detected(), cost, pairs, terms, width, out, sums);
    }

    /// [`gibbs_at`](Self::gibbs_at) the detected level.
    #[inline]
    fn gibbs(f: Self, inverse: Self, limit: Self, g: &[Self], costs: &mut [Self]) {
        Self::gibbs_at(Level::detected(), f, inverse, limit, g, costs);
    }

    /// [`gibbs_sum_at`](Self::gibbs_sum_at) the detected level.
    #[inline]
    fn gibbs_sum(f: Self, epsilon: f64, g: &[Self], weights: &[Self], costs: &mut [Self]) -> f64 {
        Self::gibbs_sum_at(Level::detected(), f, epsilon, g, weights, costs)
    }

    /// [`gibbs_sum_into_at`](Self::gibbs_sum_into_at) the detected level.
    #[inline]
    fn gibbs_sum_into(f: Self, epsilon: f64, g: &[Self], weights: &[Self], costs: &[Self], out: &mut [Self]) -> f64 {
        Self::gibbs_sum_into_at(Level::detected(), f, epsilon, g, weights, costs, out)
    }

    /// [`accumulate_at`](Self::accumulate_at) the detected level.
    #[inline]
    fn accumulate(factors: &[Self], rows: &[Self], stride: usize, out: &mut [f64]) {
        Self::accumulate_at(Level::detected(), factors, rows, stride, out);
    }

    /// [`exp_in_place_at`](Self::exp_in_place_at) the detected level.
    #[inline]
    fn exp_in_place(x: &mut [Self]) {
        Self::exp_in_place_at(Level::detected(), x);
    }

    /// [`ln_in_place_at`](Self::ln_in_place_at) the detected level.
    #[inline]
    fn ln_in_place(x: &mut [Self]) {
        Self::ln_in_place_at(Level::detected(), x);
    }

    /// [`exp_shifted_sum_at`](Self::exp_shifted_sum_at) the detected level.
    #[inline]
    fn exp_shifted_sum(x: &mut [Self]) -> f64 {
        Self::exp_shifted_sum_at(Level::detected(), x)
    }

    /// [`dot_at`](Self::dot_at) the detected level.
    #[inline]
    fn dot(x: &[Self], y: &[Self]) -> f64 {
        Self::dot_at(Level::detected(), x, y)
    }

    /// [`axpy_at`](Self::axpy_at) the detected level.
    #[inline]
    fn axpy(alpha: Self, x: &[Self], out: &mut [Self]) {
        Self::axpy_at(Level::detected(), alpha, x, out);
    }

    /// [`max_at`](Self::max_at) the detected level.
    #[inline]
    fn max(x: &[Self]) -> Self {
        Self::max_at(Level::detected(), x)
    }
}

/// Implements [`VectorMath`] for one type: each operation is its body, dispatched on the level.
macro_rules! implement_vector_math {
    ($type:ty) => {
        impl VectorMath for $type {
            fn exp_in_place_at(level: Level, x: &mut [$type]) {
                dispatch!(level, map::exp_in_place::<$type>(x: &mut [$type]) -> ())
            }

            fn ln_in_place_at(level: Level, x: &mut [$type]) {
                dispatch!(level, map::ln_in_place::<$type>(x: &mut [$type]) -> ())
            }

            fn exp_shifted_sum_at(level: Level, x: &mut [$type]) -> f64 {
                dispatch!(level, reduce::exp_sum::<$type>(x: &mut [$type]) -> f64)
            }

            fn dot_at(level: Level, x: &[$type], y: &[$type]) -> f64 {
                dispatch!(level, reduce::dot::<$type>(x: &[$type], y: &[$type]) -> f64)
            }

            fn axpy_at(level: Level, alpha: $type, x: &[$type], out: &mut [$type]) {
                dispatch!(level, map::axpy::<$type>(alpha: $type, x: &[$type], out: &mut [$type]) -> ())
            }

            fn max_at(level: Level, x: &[$type]) -> $type {
                dispatch!(level, reduce::max::<$type>(x: &[$type]) -> $type)
            }

            fn largest_difference_at(level: Level, x: &[$type], y: &[$type]) -> $type {
                dispatch!(level, reduce::largest_difference::<$type>(x: &[$type], y: &[$type]) -> $type)
            }

            fn point_costs_at(
                level: Level,
                cost: PointCost,
                pairs: PointPairs<'_, $type>,
                columns: usize,
                width: usize,
                out: &mut [$type],
            ) {
                costs::point_costs(level, cost, pairs, columns, width, out);
            }

            fn point_entries_at(
                level: Level,
                cost: PointCost,
                pairs: PointPairs<'_, $type>,
                terms: GibbsTerms<'_, $type>,
                width: usize,
                out: &mut [$type],
                sums: &mut [f64],
            ) {
                gibbs::point_entries(level, cost, pairs, terms, width, out, sums);
            }

            fn gibbs_at(level: Level, f: $type, inverse: $type, limit: $type, g: &[$type], costs: &mut [$type]) {
                dispatch!(level, gibbs::gibbs::<$type>(
                    f: $type, inverse: $type, limit: $type, g: &[$type], costs: &mut [$type]
                ) -> ())
            }

            fn gibbs_sum_at(
                level: Level,
                f: $type,
                epsilon: f64,
                g: &[$type],
                weights: &[$type],
                costs: &mut [$type],
            ) -> f64 {
                dispatch_vectors!(level, gibbs::gibbs_sum::<$type>(
                    f: $type, epsilon: f64, g: &[$type], weights: &[$type], costs: &mut [$type]
                ) -> f64)
            }

            fn gibbs_sum_into_at(
                level: Level,
                f: $type,
                epsilon: f64,
                g: &[$type],
                weights: &[$type],
                costs: &[$type],
                out: &mut [$type],
            ) -> f64 {
                dispatch_vectors!(level, gibbs::gibbs_sum_into::<$type>(
                    f: $type, epsilon: f64, g: &[$type], weights: &[$type], costs: &[$type], out: &mut [$type]
                ) -> f64)
            }

            fn row_sums_at(level: Level, rows: &[$type], stride: usize, weights: &[$type], sums: &mut [f64]) {
                dispatch_vectors!(level, product::row_sums::<$type>(
                    rows: &[$type], stride: usize, weights: &[$type], sums: &mut [f64]
                ) -> ())
            }

            fn add_row_products_at(
                level: Level,
                rows: &[$type],
                stride: usize,
                weights: &[[$type; PRODUCT_LANES]],
                sums: &mut [[f64; PRODUCT_LANES]],
            ) {
                dispatch_vectors!(level, product::add_row_products::<$type>(
                    rows: &[$type], stride: usize, weights: &[[$type; PRODUCT_LANES]], sums: &mut [[f64; PRODUCT_LANES]]
                ) -> ())
            }

            fn add_column_products_at(
                level: Level,
                rows: &[$type],
                stride: usize,
                factors: &[[$type; PRODUCT_LANES]],
                sums: &mut [[f64; PRODUCT_LANES]],
            ) {
                dispatch_vectors!(level, product::add_column_products::<$type>(
                    rows: &[$type], stride: usize, factors: &[[$type; PRODUCT_LANES]], sums: &mut [[f64; PRODUCT_LANES]]
                ) -> ())
            }

            fn differences_from_at(level: Level, g: &[$type], costs: &mut [$type]) {
                dispatch!(level, positive::differences_from::<$type>(g: &[$type], costs: &mut [$type]) -> ())
            }

            fn positive_sums_at(level: Level, f: $type, d: &[$type], weights: &[$type]) -> [f64; 2] {
                dispatch!(level, positive::positive_sums::<$type>(f: $type, d: &[$type], weights: &[$type]) -> [f64; 2])
            }

            fn square_excess_at(
                level: Level,
                f: $type,
                d: &[$type],
                weights: &[$type],
                change: SquareChange<'_, $type>,
            ) -> f64 {
                dispatch!(level, positive::square_excess::<$type>(
                    f: $type, d: &[$type], weights: &[$type], change: SquareChange<'_, $type>
                ) -> f64)
            }

            fn positive_parts_at(level: Level, f: $type, d: &mut [$type], weights: &[$type]) -> [f64; 2] {
                dispatch!(level, positive::positive_parts::<$type>(
                    f: $type, d: &mut [$type], weights: &[$type]
                ) -> [f64; 2])
            }

            fn accumulate_at(level: Level, factors: &[$type], rows: &[$type], stride: usize, out: &mut [f64]) {
                dispatch!(level, gibbs::accumulate::<$type>(
                    factors: &[$type], rows: &[$type], stride: usize, out: &mut [f64]
                ) -> ())
            }
        }
    };
}

implement_vector_math!(f32);
implement_vector_math!(f64);
