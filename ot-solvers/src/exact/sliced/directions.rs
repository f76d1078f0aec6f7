//! Even sets of directions, turned at random.
//!
//! A fixed set in which the sphere is covered evenly, under a rotation of the Haar measure, is a sample of uniform directions whose
//! mean has far less variance than that of independent ones. W_p of projections is even in the direction, so that half a
//! sphere is enough. The sets:
//!
//! * d = 2: equal angles over half a turn;
//! * d = 3: the spherical Fibonacci lattice (Swinbank, Purser 2006), which Nguyen, Bariletto, Ho (2024) found best for slices;
//! * d >= 4: orthonormal frames, exact for quadratic integrands (Rowland et al. 2019).

use std::f64::consts::PI;

use nalgebra::{DMatrix, DVector};
use ot_core::Error;

/// Sets drawn, each with a rotation of its own.
pub(super) const GROUPS: usize = 8;

/// At least `count` directions in dimension `dimension`, in `GROUPS` sets of one size (or as many sets as directions).
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(super) fn draw(dimension: usize, count: usize, seed: u64) -> Result<Vec<f64>, Error> {
    let groups = count.min(GROUPS);
    let size = count.div_ceil(groups);
    // Frames are whole, where there is more than one in a set.
    let frames =
        if dimension >= 4 && size > dimension { size.div_ceil(dimension).saturating_mul(dimension) } else { size };
    let (size, mut random, mut directions) = (frames, Random(seed), Vec::new());
    let len = size.saturating_mul(groups).saturating_mul(dimension);
    let bytes = (len as u64).saturating_mul(size_of::<f64>() as u64);
    directions.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what: "directions", bytes })?;
    for _ in 0..groups {
        match dimension {
            1 => directions.extend(std::iter::repeat_n(1.0, size)),
            2 | 3 => {
                let rotation = random.frame(dimension, dimension);
                for k in 0..size {
                    let direction = if dimension == 2 { equal_angle(k, size) } else { fibonacci(k, size) };
                    let turned = &rotation * DVector::from_column_slice(&direction[..dimension]);
                    directions.extend(turned.iter());
                }
            }
            _ => {
                for start in (0..size).step_by(dimension) {
                    let frame = random.frame(dimension, dimension.min(size - start));
                    directions.extend(frame.iter());
                }
            }
        }
    }
    Ok(directions)
}

/// Direction k of `size` over half a turn.
fn equal_angle(k: usize, size: usize) -> [f64; 3] {
    let (sin, cos) = (PI * k as f64 / size as f64).sin_cos();
    [cos, sin, 0.0]
}

/// Point k of a Fibonacci lattice of `size` points on the upper half of the sphere: heights in equal steps, so that bands have
/// equal areas, and turns by the golden angle.
fn fibonacci(k: usize, size: usize) -> [f64; 3] {
    let height = (k as f64 + 0.5) / size as f64;
    let (sin, cos) = (PI * (3.0 - 5_f64.sqrt()) * k as f64).sin_cos();
    let radius = (1.0 - height * height).sqrt();
    [radius * cos, radius * sin, height]
}

/// A seeded generator (SplitMix64 of Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    /// A uniform number in (0, 1].
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A standard normal number (Box, Muller 1958).
    fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * self.uniform().ln()).sqrt(), 2.0 * PI * self.uniform());
        radius * angle.cos()
    }

    /// `count` orthonormal vectors of the Haar measure, as columns: those of a Gaussian matrix, made orthonormal with the signs
    /// that make the triangular factor positive (Mezzadri 2007).
    fn frame(&mut self, dimension: usize, count: usize) -> DMatrix<f64> {
        let gaussian = DMatrix::from_fn(dimension, count, |_, _| self.normal());
        let factors = gaussian.qr();
        let (mut frame, triangle) = (factors.q(), factors.r());
        for (mut column, sign) in frame.column_iter_mut().zip(triangle.diagonal().iter()) {
            if *sign < 0.0 {
                column.neg_mut();
            }
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_unit_vectors_and_cover_the_sphere() {
        for dimension in [1, 2, 3, 4, 7] {
            let size = 8 * 56;
            let directions = draw(dimension, size, 3).unwrap();
            assert_eq!(directions.len(), size * dimension);
            // The mean of u u^T is the identity over d.
            for row in 0..dimension {
                for column in 0..dimension {
                    let products = directions.chunks_exact(dimension).map(|u| u[row] * u[column]);
                    let mean = products.sum::<f64>() / size as f64;
                    let expected = if row == column { 1.0 / dimension as f64 } else { 0.0 };
                    let tolerance = if dimension == 3 { 1e-2 } else { 1e-12 };
                    assert!((mean - expected).abs() < tolerance, "d = {dimension}: {mean} is not {expected}");
                }
            }
        }
        assert_eq!(draw(5, 3, 1).unwrap().len(), 15);
        assert_eq!(draw(2, 3, 1), draw(2, 3, 1));
        assert_ne!(draw(2, 3, 1), draw(2, 3, 2));
        assert!(matches!(draw(4, usize::MAX, 1), Err(Error::OutOfMemory { bytes: u64::MAX, .. })));
    }
}
