//! The Nystrom approximation of the Gaussian kernel by a partial Cholesky factor, certified.

use std::sync::Arc;

use ot_core::{Error, PointsView, Scalar, Side, host::try_zeros};

use super::factors::{Entries, Factors};

/// Factors of exp(-|x - y|^2 / epsilon) on both clouds, at most so many columns, and a bound on the error of every entry.
///
/// Pivots are those of the largest diagonal that is left (Fine, Scheinberg 2001), until no entry is off by more than `error`.
pub(super) fn nystrom<T: Scalar>(
    points: [PointsView<'_, T>; 2],
    epsilon: f64,
    most: usize,
    error: f64,
) -> Result<(Factors, f64), Error> {
    let [n, m] = points.map(|points| points.len());
    let point = |atom: usize| if atom < n { points[0].point(atom) } else { points[1].point(atom - n) };
    let mut columns: Vec<Vec<f64>> = Vec::new();
    let mut left = vec![1.0_f64; n + m];
    let mut largest = 1.0_f64;
    while columns.len() < most && largest > error {
        let pivot = (0..n + m).fold(0, |best, atom| if left[atom] > left[best] { atom } else { best });
        let root = left[pivot].sqrt();
        let mut column: Vec<f64> = try_zeros(n + m, "features")?;
        for (atom, entry) in column.iter_mut().enumerate() {
            let square = point(atom).iter().zip(point(pivot)).map(|(x, y)| {
                let difference = x.to_f64() - y.to_f64();
                difference * (difference / epsilon)
            });
            *entry = (-square.sum::<f64>()).exp();
        }
        for earlier in &columns {
            let at_pivot = earlier[pivot];
            column.iter_mut().zip(earlier).for_each(|(entry, earlier)| *entry -= at_pivot * earlier);
        }
        column.iter_mut().for_each(|entry| *entry /= root);
        left.iter_mut().zip(&column).for_each(|(left, entry)| *left = (*left - entry * entry).max(0.0));
        left[pivot] = 0.0;
        largest = left.iter().copied().fold(0.0, f64::max);
        columns.push(column);
    }
    let rank = columns.len();
    let side = |side: Side| {
        let (start, len) = side.of([(0, n), (n, m)]);
        let mut out = try_zeros(len * rank, "features")?;
        for (row, out) in out.chunks_exact_mut(rank).enumerate() {
            out.iter_mut().zip(&columns).for_each(|(out, column)| *out = column[start + row]);
        }
        Ok::<_, Error>(Arc::new(out))
    };
    let sides = [side(Side::Source)?, side(Side::Target)?];
    // |K - K^|_ij <= (K - K^)_ii^1/2 (K - K^)_jj^1/2, as what is left is positive semi-definite; and rounding.
    let rounding = 64.0 * (rank + points[0].dimension()) as f64 * f64::EPSILON;
    Ok((Factors { rank, sides, entries: Entries::Values }, largest + rounding))
}
