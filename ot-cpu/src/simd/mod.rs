//! Vectorised elementary functions and reductions over slices of `f32` and `f64`.
//!
//! The inner loops of every transport solver are a few passes over long rows: exponentiate a row of scaled costs, sum
//! it, take a logarithm, accumulate a product. This module provides those passes, in place, without allocation. They
//! are the methods of [`VectorMath`]: [`passes`] lists them all, and says how to add one. A pass panics on no number;
//! those that need slices of some length say so. [`Stored`] rounds entries to the type in which they are kept.
//!
//! # How it is vectorised
//!
//! Each body is written once and compiled once for each instruction-set [`Level`]. Most are branch-free scalar Rust
//! over fixed chunks, and the compiler does the vectorising. Costs and entries, where several rows go side by side, are
//! written over vectors of 512 bits, which are registers at each level and an array in the scalar twin. The level is
//! chosen at run time from what the machine reports ([`Level::detected`]); [`Level::BASELINE`] is the scalar twin that
//! the others are tested against.
//!
//! # Determinism
//!
//! - An elementwise result depends on the element alone: not on its position, nor on the length or
//!   the alignment of the slice.
//! - A reduction sums into a fixed number of lanes and folds the lanes in a fixed order. Its bits
//!   depend on the values and the length alone.
//! - The levels that have a fused multiply-add ([`Level::is_fused`]: AVX2, AVX-512, NEON) return the same bits as one
//!   another. The x86-64 baseline has none and may differ from them, within the bounds below; the passes that never
//!   fuse have the same bits there too.
//!
//! Every thread of one machine detects the same level, so bits never depend on a thread count.
//!
//! # Accuracy
//!
//! Errors in units in the last place (ulp) of the exact result: the bound that the tests of this
//! module hold every level to, and in brackets the worst that was seen in sweeps of three million
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
mod fused;
mod gibbs;
mod level;
mod lines;
mod ln;
mod map;
mod numbers;
mod passes;
mod positive;
mod product;
mod reduce;
mod root;
mod store;
#[cfg(feature = "heat")]
mod substitution;
mod vector;
mod wide;

#[cfg(test)]
mod tests;

pub use costs::{PointCost, PointPairs};
pub use gibbs::GibbsTerms;
pub use level::Level;
pub use lines::{Distances, LINE_PADDING, LineCost, LineCounts, LineScratch, Squares, Table, lines_of_tile};
pub use passes::VectorMath;
pub use positive::{PositiveRows, SquareChange};
pub use product::{NARROW_LANES, PRODUCT_LANES};
pub use store::Stored;
#[cfg(feature = "heat")]
pub use substitution::{PANEL, Panel, Panels, SIDES, backward, forward};
pub use wide::TILE_COLUMNS;
