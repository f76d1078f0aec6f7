//! Roots of covariances, turned towards each other.

use super::{Matrix, Vector, polar::orthogonal_part};
use crate::unit::{norm, power_of_two};

/// Eigenvalues below this, relative to the largest, have no inverse.
const NEGLIGIBLE: f64 = 1e-12;

/// The symmetric root of a positive semi-definite matrix. Eigenvalues within rounding of zero count zero, for the root of
/// rounding is large.
pub(super) fn root(matrix: &Matrix) -> Matrix {
    let rounding = 4.0 * matrix.nrows() as f64 * f64::EPSILON;
    spectral(matrix, |value, largest| if value > rounding * largest { value.sqrt() } else { 0.0 })
}

/// S U, with U the orthogonal matrix that brings S U closest to R (Schoenemann 1966): that of the polar form of S^T R.
pub(super) fn aligned(s: &Matrix, r: &Matrix) -> Matrix {
    // Each in a unit of its own, which the orthogonal part does not see.
    let in_unit = |matrix: &Matrix| matrix / power_of_two(matrix.amax());
    s * orthogonal_part(&in_unit(s).tr_mul(&in_unit(r)))
}

/// The linear part of an optimal map from N(., A) to N(., B) with directions that A does not have left out, and how much of
/// the spread of B, as a part of 1, no map reaches from A: S U R^+ for roots R of A and S of B, where R^+ is the
/// pseudo-inverse.
///
/// On the range of A its quadratic form is that of A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2, which it is where A is regular.
pub(crate) fn optimal_map(a: &Matrix, b: &Matrix) -> (Matrix, f64) {
    let (r, s) = (root(a), root(b));
    let turned = aligned(&s, &r);
    let inverse = spectral(a, |value, largest| if value > NEGLIGIBLE * largest { value.sqrt().recip() } else { 0.0 });
    let seen = spectral(a, |value, largest| if value > NEGLIGIBLE * largest { 1.0 } else { 0.0 });
    let (spread, lost) = (norm(&turned), norm(&(&turned - &turned * seen)));
    (turned * inverse, if lost > 0.0 { lost / spread } else { 0.0 })
}

/// f of a symmetric matrix by its eigenvalues, f(value, largest).
fn spectral(matrix: &Matrix, f: impl Fn(f64, f64) -> f64) -> Matrix {
    let eigen = matrix.clone().symmetric_eigen();
    let largest = eigen.eigenvalues.max();
    let values: Vector = eigen.eigenvalues.map(|value| f(value, largest));
    &eigen.eigenvectors * Matrix::from_diagonal(&values) * eigen.eigenvectors.transpose()
}
