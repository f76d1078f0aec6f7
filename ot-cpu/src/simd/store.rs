//! Entries of a Gibbs kernel as they are stored: rounded to the stored type, the tiny ones to zero.
//!
//! Products with subnormal numbers run at a fraction of the speed, so that no entry near them is kept.

use super::{
    VectorMath,
    element::Element,
    level::{Level, dispatch},
};

/// A type whose entries can be stored as `S`.
pub trait Stored<S>: VectorMath {
    /// `out[j] ← x[j]` rounded, and 0 below `floor`, over the common length, at the given level. Returns the largest
    /// of what is stored, 0 for nothing.
    fn store_at(level: Level, floor: S, x: &[Self], out: &mut [S]) -> S;

    /// [`store_at`](Self::store_at) the detected level.
    #[inline]
    fn store(floor: S, x: &[Self], out: &mut [S]) -> S {
        Self::store_at(Level::detected(), floor, x, out)
    }
}

macro_rules! implement_stored {
    ($($type:ty => $stored:ty),*) => {$(
        impl Stored<$stored> for $type {
            fn store_at(level: Level, floor: $stored, x: &[$type], out: &mut [$stored]) -> $stored {
                dispatch!(level, elements body::store::<$type, $stored>(
                    floor: $stored, x: &[$type], out: &mut [$stored]
                ) -> $stored)
            }
        }
    )*};
}

implement_stored!(f32 => f32, f64 => f32, f64 => f64);

mod body {
    use super::Element;

    /// Elements to a chunk.
    const LANES: usize = 16;

    #[inline(always)]
    pub(super) fn store<T: Element, S: Element, const FUSED: bool>(floor: S, x: &[T], out: &mut [S]) -> S {
        let length = x.len().min(out.len());
        let (x, x_tail) = x[..length].as_chunks::<LANES>();
        let (out, out_tail) = out[..length].as_chunks_mut::<LANES>();
        let zero = S::NEUTRAL_OF_SUM;
        let mut largest = [zero; LANES];
        for (x, out) in x.iter().zip(out) {
            for lane in 0..LANES {
                let rounded = S::of_double(x[lane].as_double());
                let kept = if rounded < floor { zero } else { rounded };
                largest[lane] = if kept > largest[lane] { kept } else { largest[lane] };
                out[lane] = kept;
            }
        }
        for (x, out) in x_tail.iter().zip(out_tail) {
            let rounded = S::of_double(x.as_double());
            let kept = if rounded < floor { zero } else { rounded };
            largest[0] = if kept > largest[0] { kept } else { largest[0] };
            *out = kept;
        }
        largest.into_iter().fold(zero, |a, b| if b > a { b } else { a })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_rounded_and_tiny_ones_are_zero() {
        let x: Vec<f64> = (0..37).map(|j| 10_f64.powi(3 - j) / 3.0).collect();
        for level in Level::available() {
            let mut single = vec![9.0_f32; 40];
            assert_eq!(f64::store_at(level, 1e-30, &x, &mut single), (1000.0 / 3.0) as f32);
            for (j, x) in x.iter().enumerate() {
                assert_eq!(single[j], if *x < 1e-30 { 0.0 } else { *x as f32 }, "{x}");
            }
            assert_eq!(single[37..], [9.0; 3]);
            let mut full = vec![0.0_f64; 37];
            assert_eq!(f64::store_at(level, 0.0, &x, &mut full), 1000.0 / 3.0);
            assert_eq!(full, x);
            assert_eq!(f32::store_at(level, 0.5, &[0.25, f32::NAN], &mut single), 0.0);
            assert!(single[0] == 0.0 && single[1].is_nan());
        }
    }
}
