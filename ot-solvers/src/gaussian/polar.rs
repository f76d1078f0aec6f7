//! The orthogonal part of a matrix.

use super::Matrix;

/// Sweeps of rotations; the angles fall quadratically after the first few.
const SWEEPS: usize = 60;

/// An orthogonal U with M = U H, H positive semi-definite: the orthogonal matrix closest to a square M, W V^T for
/// M = W Sigma V^T. Where M is singular it is one of several.
///
/// By the one-sided rotations of Jacobi (Hestenes 1958), which turn the columns of M until they are orthogonal and find
/// small singular values to full accuracy (Demmel, Veselic 1992). Repeated and vanishing ones need no special care.
/// O(d^3), some six sweeps.
pub(super) fn orthogonal_part(matrix: &Matrix) -> Matrix {
    let d = matrix.ncols();
    let largest = matrix.amax();
    let mut turned = if largest > 0.0 { matrix / largest } else { matrix.clone() };
    let mut v = Matrix::identity(d, d);
    let (unit, negligible) = (d as f64 * f64::EPSILON, d as f64 * f64::EPSILON * turned.norm());
    for _ in 0..SWEEPS {
        let mut still = true;
        for p in 0..d {
            for q in p + 1..d {
                let (x, y) = (turned.column(p), turned.column(q));
                let (x_square, y_square, product) = (x.norm_squared(), y.norm_squared(), x.dot(&y));
                let size = (x_square * y_square).sqrt();
                if x_square.min(y_square).sqrt() <= negligible || product.abs() <= unit * size {
                    continue;
                }
                still = false;
                let zeta = (y_square - x_square) / (2.0 * product);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = tangent.hypot(1.0).recip();
                for matrix in [&mut turned, &mut v] {
                    rotate(matrix.as_mut_slice(), d, [p, q], [cosine, cosine * tangent]);
                }
            }
        }
        if still {
            break;
        }
    }
    normalise_columns(&mut turned, negligible);
    turned * v.transpose()
}

/// Columns (x, y) become (cosine x - sine y, sine x + cosine y).
fn rotate(values: &mut [f64], d: usize, [p, q]: [usize; 2], [cosine, sine]: [f64; 2]) {
    let (before, after) = values.split_at_mut(q * d);
    for (x, y) in before[p * d..][..d].iter_mut().zip(&mut after[..d]) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
}

/// Gives orthogonal columns length one, and replaces negligible ones by what completes them to a basis.
fn normalise_columns(matrix: &mut Matrix, negligible: f64) {
    let d = matrix.ncols();
    // What the basis so far leaves of each coordinate vector.
    let mut left = vec![1.0; d];
    let mut missing = Vec::new();
    for q in 0..d {
        let norm = matrix.column(q).norm();
        if norm > negligible {
            matrix.column_mut(q).unscale_mut(norm);
            left.iter_mut().zip(&matrix.column(q)).for_each(|(left, x)| *left -= x * x);
        } else {
            matrix.column_mut(q).fill(0.0);
            missing.push(q);
        }
    }
    for q in missing {
        let best = (0..d).fold(0, |best, k| if left[k] > left[best] { k } else { best });
        let mut column = super::Vector::zeros(d);
        column[best] = 1.0;
        // Twice is enough (Giraud, Langou 2003). Columns still missing are zero.
        for _ in 0..2 {
            let parts = matrix.tr_mul(&column);
            column -= &*matrix * parts;
        }
        column.normalize_mut();
        left.iter_mut().zip(&column).for_each(|(left, x)| *left -= x * x);
        matrix.set_column(q, &column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_any_matrix() {
        let mut state = 5_u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        for round in 0..300 {
            let (d, rank) = (1 + round % 9, round % 4 + usize::from(round % 7 == 0) * 9);
            let rank = rank.min(d);
            let scale = 10_f64.powi(round as i32 % 5 * 60 - 120);
            let left = Matrix::from_fn(d, rank, |_, k| scale * uniform() * 1e-3_f64.powi(k as i32 % 3));
            let matrix = left * Matrix::from_fn(rank, d, |_, _| uniform());
            let u = orthogonal_part(&matrix);
            assert!((u.tr_mul(&u) - Matrix::identity(d, d)).amax() < 1e-13, "round {round}");
            let h = u.tr_mul(&matrix) / scale;
            assert!((&h - h.transpose()).amax() < 1e-13, "round {round}: {h}");
            assert!(h.symmetric_eigenvalues().min() > -1e-13);
        }
    }
}
