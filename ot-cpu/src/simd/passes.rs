//! The passes that costs and entries are made of, each compiled once for every level.

use super::costs::{self, Fold, PointPairs};
use super::gibbs::{self, GibbsTerms};
use super::level::{Level, dispatch};
use super::vector::{Vectors, dispatch_vectors};

/// The passes of one element type.
pub trait Passes: Vectors {
    /// Folds of the differences between points: see `costs::fold_differences`.
    fn fold_differences_at(
        level: Level,
        fold: Fold,
        pairs: PointPairs<'_, Self>,
        columns: usize,
        width: usize,
        out: &mut [Self],
    );

    /// See `costs::roots`.
    fn roots_at(level: Level, degree: u32, x: &mut [Self]);

    /// See `costs::are_within`.
    fn are_within_at(level: Level, low: Self, high: Self, x: &[Self]) -> bool;

    /// See `costs::half_integer_power`.
    fn half_integer_power_at(level: Level, twice: u32, x: &mut [Self]);

    /// See `costs::scale`.
    fn scale_at(level: Level, factor: Self, x: &mut [Self]);

    /// See `costs::multiply`.
    fn multiply_at(level: Level, x: &[Self], out: &mut [Self]);

    /// See `costs::scaled_differences`.
    fn scaled_differences_at(level: Level, x: Self, y: &[Self], largest: &[Self], out: &mut [Self]);

    /// See `gibbs::square_entries`.
    fn square_entries_at(
        level: Level,
        scale: f64,
        pairs: PointPairs<'_, Self>,
        terms: GibbsTerms<'_, Self>,
        width: usize,
        out: &mut [Self],
        sums: &mut [f64],
    );
}

/// Implements [`Passes`] for one type.
macro_rules! implement_passes {
    ($type:ty) => {
        impl Passes for $type {
            fn fold_differences_at(
                level: Level,
                fold: Fold,
                pairs: PointPairs<'_, $type>,
                columns: usize,
                width: usize,
                out: &mut [$type],
            ) {
                dispatch_vectors!(level, costs::fold_differences::<$type>(
                    fold: Fold, pairs: PointPairs<'_, $type>, columns: usize, width: usize, out: &mut [$type]
                ) -> ())
            }

            fn roots_at(level: Level, degree: u32, x: &mut [$type]) {
                dispatch_vectors!(level, costs::roots::<$type>(degree: u32, x: &mut [$type]) -> ())
            }

            fn are_within_at(level: Level, low: $type, high: $type, x: &[$type]) -> bool {
                dispatch!(level, costs::are_within::<$type>(low: $type, high: $type, x: &[$type]) -> bool)
            }

            fn half_integer_power_at(level: Level, twice: u32, x: &mut [$type]) {
                dispatch!(level, costs::half_integer_power::<$type>(twice: u32, x: &mut [$type]) -> ())
            }

            fn scale_at(level: Level, factor: $type, x: &mut [$type]) {
                dispatch!(level, costs::scale::<$type>(factor: $type, x: &mut [$type]) -> ())
            }

            fn multiply_at(level: Level, x: &[$type], out: &mut [$type]) {
                dispatch!(level, costs::multiply::<$type>(x: &[$type], out: &mut [$type]) -> ())
            }

            fn scaled_differences_at(level: Level, x: $type, y: &[$type], largest: &[$type], out: &mut [$type]) {
                dispatch!(level, costs::scaled_differences::<$type>(
                    x: $type, y: &[$type], largest: &[$type], out: &mut [$type]
                ) -> ())
            }

            fn square_entries_at(
                level: Level,
                scale: f64,
                pairs: PointPairs<'_, $type>,
                terms: GibbsTerms<'_, $type>,
                width: usize,
                out: &mut [$type],
                sums: &mut [f64],
            ) {
                dispatch_vectors!(level, gibbs::square_entries::<$type>(
                    scale: f64,
                    pairs: PointPairs<'_, $type>,
                    terms: GibbsTerms<'_, $type>,
                    width: usize,
                    out: &mut [$type],
                    sums: &mut [f64]
                ) -> ())
            }
        }
    };
}

implement_passes!(f32);
implement_passes!(f64);
